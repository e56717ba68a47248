"""Sanity plots of a generated folder, one PNG per quantity: do the peaks stand where physics has them?

Reads the written files, not the generator's arrays, so that it also checks the writers.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qformers.errors import DataError
from qformers.generate.jets import manifest as manifests
from qformers.generate.jets.layout_jetclass import LABELS
from qformers.generate.jets.processes import preset

MAX_JETS_PER_FILE_SET = 50_000  # plenty for a histogram, and bounded memory
Values = npt.NDArray[Any]
Sample = dict[str, Values]  # quantity -> values, of one class

_MASSES = {"W": 80.4, "Z": 91.2, "H": 125.0, "t": 173.0}
_QUANTITIES: dict[str, tuple[str, Values, bool]] = {  # axis label, bin edges, log scale
    "jet_mass": ("jet mass [GeV]", np.linspace(0, 250, 101), False),
    "jet_sdmass": ("soft-drop jet mass [GeV]", np.linspace(0, 250, 101), False),
    "multiplicity": ("particles per jet", np.linspace(0, 140, 71), False),
    "jet_pt": ("jet $p_T$ [GeV]", np.linspace(400, 1700, 131), False),
    "particle_dr": (r"particle $\Delta R$ to the jet axis", np.linspace(0, 1, 101), True),
    "particle_pt": ("particle $p_T$ [GeV]", np.geomspace(0.05, 1000, 101), True),
}


def read_root(paths: list[Path]) -> dict[str, Sample]:
    """The quantities of JetClass files, per label."""
    import awkward as ak
    import uproot

    scalars = ["jet_pt", "jet_eta", "jet_energy", "jet_sdmass", "jet_nparticles", *(f"label_{x}" for x in LABELS)]
    jagged = ["part_px", "part_py", "part_deta", "part_dphi"]
    samples: dict[str, list[Sample]] = {}
    for path in paths:
        with uproot.open(path) as file:
            table = file["tree"].arrays([*scalars, *jagged])
        one = {name: np.asarray(table[name], dtype=np.float64) for name in scalars}
        label = LABELS[int(np.argmax([one[f"label_{x}"][0] for x in LABELS]))]
        flat = {name: np.asarray(ak.flatten(table[name]), dtype=np.float64) for name in jagged}
        mass2 = one["jet_energy"] ** 2 - (one["jet_pt"] * np.cosh(one["jet_eta"])) ** 2
        sample = {
            "jet_mass": np.sqrt(np.maximum(mass2, 0.0)),
            "jet_sdmass": one["jet_sdmass"],
            "multiplicity": one["jet_nparticles"],
            "jet_pt": one["jet_pt"],
            "particle_dr": np.hypot(flat["part_deta"], flat["part_dphi"]),
            "particle_pt": np.hypot(flat["part_px"], flat["part_py"]),
        }
        samples.setdefault(label, []).append(sample)
    return {label: _join(parts) for label, parts in samples.items()}


def read_h5(paths: list[Path]) -> dict[str, Sample]:
    """The quantities of five-class files, per label."""
    import h5py

    samples: dict[str, list[Sample]] = {}
    for path in paths:
        with h5py.File(path) as file:
            names = [name.decode() for name in file["jetFeatureNames"][:]]
            columns = [name.decode() for name in file["particleFeatureNames"][:]]
            jets, particles = file["jets"][:], file["jetConstituentList"][:]
        for label in names[-6:-1]:
            chosen = jets[:, names.index(label)] == 1
            rows, parts = jets[chosen], particles[chosen]
            real = parts[..., columns.index("j1_pt")] > 0
            sample = {
                "jet_mass": rows[:, names.index("j_mass")],
                "jet_sdmass": rows[:, names.index("j_mass_mmdt")],
                "multiplicity": rows[:, names.index("j_multiplicity")],
                "jet_pt": rows[:, names.index("j_pt")],
                "particle_dr": parts[..., columns.index("j1_deltaR")][real],
                "particle_pt": parts[..., columns.index("j1_pt")][real],
            }
            samples.setdefault(label.removeprefix("j_"), []).append(sample)
    return {label: _join(parts) for label, parts in samples.items() if sum(len(p["jet_pt"]) for p in parts)}


def _join(parts: list[Sample]) -> Sample:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _chosen_files(folder: Path) -> tuple[str, list[Path]]:
    """Preset and files of a folder; the last chunks are left out of very large sets."""
    if not (folder / manifests.NAME).exists():
        raise DataError(f"no {manifests.NAME} in {str(folder)!r}; generate jets there first, or name their folder")
    manifest = manifests.load(folder)
    total, paths = 0, []
    for name, entry in sorted(manifest["files"].items(), key=lambda item: Path(item[0]).stem.rsplit("_", 1)[-1]):
        if total < MAX_JETS_PER_FILE_SET:
            paths.append(folder / name)
            total += entry["jets"]
    if not paths:
        raise DataError(f"{folder / manifests.NAME} lists no finished file; let the generation finish a chunk")
    return preset(str(manifest["settings"]["preset"])).name, paths


def _figure(quantity: str, samples: dict[str, Sample], path: Path) -> None:
    import matplotlib
    from matplotlib import pyplot as plt

    label, edges, log = _QUANTITIES[quantity]
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    figure, axes = plt.subplots(figsize=(9, 7), layout="constrained")
    for colour, (name, sample) in zip(colours, samples.items(), strict=False):
        heights, _ = np.histogram(np.clip(sample[quantity], edges[0], edges[-1]), edges)
        density = heights / max(heights.sum(), 1)
        axes.stairs(density, edges, label=f"{name} ({len(sample['jet_pt'])})", color=colour, linewidth=1.6)
    if quantity == "jet_pt":
        edges = edges[edges <= 1.1 * max(float(sample["jet_pt"].max()) for sample in samples.values())]
    if "mass" in quantity:
        for name, mass in _MASSES.items():
            axes.axvline(mass, color="grey", linewidth=0.8, linestyle=":")
            axes.text(mass, 1.0, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=12)
    if quantity == "particle_pt":
        axes.set_xscale("log")
    if log:
        axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("share per bin")
    axes.set_xlim(float(edges[0]), float(edges[-1]))
    axes.legend(fontsize=12, ncols=2)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def summary(samples: dict[str, Sample]) -> dict[str, dict[str, float]]:
    """Numbers beside the plots: jets, medians and means, and the fullest 5 GeV bin of the soft-drop mass."""
    rows: dict[str, dict[str, float]] = {}
    for label, sample in samples.items():
        heights, edges = np.histogram(sample["jet_sdmass"], np.arange(20.0, 255.0, 5.0))
        rows[label] = {
            "jets": len(sample["jet_pt"]),
            "multiplicity_mean": round(float(sample["multiplicity"].mean()), 2),
            "multiplicity_rms": round(float(sample["multiplicity"].std()), 2),
            "jet_mass_median_gev": round(float(np.median(sample["jet_mass"])), 2),
            "jet_sdmass_median_gev": round(float(np.median(sample["jet_sdmass"])), 2),
            "jet_sdmass_mode_gev": float(edges[heights.argmax()] + 2.5),
            "jet_pt_median_gev": round(float(np.median(sample["jet_pt"])), 1),
        }
    return rows


def draw(folder: Path, target: Path | None = None) -> list[Path]:
    """Draw every quantity of a generated folder into ``target`` (default its ``plots/``); returns the files written."""
    import matplotlib

    matplotlib.use("Agg")
    import mplhep
    from matplotlib import pyplot as plt

    name, paths = _chosen_files(folder)
    samples = read_root(paths) if name == "jetclass" else read_h5(paths)
    target = target or folder / "plots"
    target.mkdir(parents=True, exist_ok=True)
    written = []
    with plt.style.context(mplhep.style.CMS):
        for quantity in _QUANTITIES:
            written.append(target / f"{quantity}.png")
            _figure(quantity, samples, written[-1])
    written.append(target / "summary.json")
    written[-1].write_text(json.dumps(summary(samples), indent=1) + "\n")
    return written
