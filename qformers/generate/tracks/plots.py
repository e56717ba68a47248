"""Control plots of a folder of tracker events, from the written files: do the layers, spectra and errors look right?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.points.csv_table import FLOAT, INT, Table, read_table
from qformers.data.points.trackml import HITS, beside
from qformers.errors import DataError
from qformers.files import write_json
from qformers.generate.tracks.geometry import DETECTORS, Detector
from qformers.generate.tracks.propagate import State, advance, to_cylinder, to_plane
from qformers.generate.tracks.run import load_manifest
from qformers.tasks.plots.jets import canvas

EVENTS = 20  # drawn at most: plenty for a histogram, and bounded memory
TRUTH = {"hit_id": INT, "particle_id": INT, **dict.fromkeys(("tx", "ty", "tz", "tpx", "tpy", "tpz"), FLOAT)}
PARTICLES = {"particle_id": INT, **dict.fromkeys(("vx", "vy", "vz", "px", "py", "pz", "q"), FLOAT), "nhits": INT}
Values = NDArray[Any]


def draw(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw the events of a folder (at most 20) into ``<folder>/plots``; returns the files, ``summary.json`` last.

    Raises:
        DataError: the folder holds no finished event.
    """
    manifest = load_manifest(folder)
    detector = DETECTORS[manifest["settings"]["detector"]]
    end = "-hits.csv.gz" if manifest["packed"] else "-hits.csv"
    listed = list(manifest["events"].items())[:EVENTS]
    if not listed:
        raise DataError(f"{folder}: its manifest lists no finished event; generate some first")
    paths = [folder / entry["split"] / f"event{int(event):09d}{end}" for event, entry in listed]
    hits = _joined([read_table(path, HITS) for path in paths])
    truth = _joined([read_table(beside(path, "truth"), TRUTH) for path in paths])
    known = _joined([read_table(beside(path, "particles"), PARTICLES) for path in paths])
    out = out or folder / "plots"
    title = f"synthetic, {detector.name}, pile-up {manifest['settings']['pileup']:g}, {len(paths)} events"
    written = [
        _occupancy(hits, truth, out / "occupancy_rz.png", title),
        _per_layer(hits, truth, len(paths), out / "layers.png", title),
        *_particles(known, out, title),
    ]
    residuals = measured_minus_true(hits, truth)
    helix = off_helix(detector, truth, known)
    written += [_residuals(residuals, out / "residuals.png", title), _helix(helix, out / "off_helix.png", title)]
    summary = {
        "events": len(paths),
        "hits_per_event": len(hits["x"]) / len(paths),
        "noise_share": float((truth["particle_id"] == 0).mean()),
        "mean_pt_gev": float(np.hypot(known["px"], known["py"]).mean()),
        "positive_share": float((known["q"] > 0).mean()),
        "hits_per_particle": float(known["nhits"].mean()),
        "residual_rphi_um": float(1000 * residuals["rphi"].std()),
        "residual_along_um": float(1000 * residuals["along"].std()),
    }
    write_json(out / "summary.json", summary)
    return [*written, out / "summary.json"]


def _joined(tables: list[Table]) -> Table:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def measured_minus_true(hits: Table, truth: Table) -> dict[str, Values]:
    """Residuals of true hits, mm: ``rphi`` across, ``along`` z (barrel) or r (discs)."""
    real = truth["particle_id"] != 0
    x, y, z = (hits[name][real] for name in "xyz")
    tx, ty, tz = (truth[name][real] for name in ("tx", "ty", "tz"))
    r = np.hypot(tx, ty)
    dz, dr = z - tz, np.hypot(x, y) - r
    return {"rphi": (y * tx - x * ty) / r, "along": np.where(np.abs(dz) > np.abs(dr), dz, dr)}


def off_helix(detector: Detector, truth: Table, known: Table) -> dict[str, Values]:
    """How far true hits lie from the helix of their particle at birth, by multiple scattering.

    Returns:
        ``pt`` (GeV) and ``distance`` (mm, across), of hits on surfaces that the helix meets.
    """
    real = np.flatnonzero(truth["particle_id"] != 0)
    order = np.argsort(known["particle_id"])
    row = order[np.searchsorted(known["particle_id"][order], truth["particle_id"][real])]
    birth = np.stack([known[name][row] for name in ("vx", "vy", "vz")], axis=1)
    momentum = np.stack([known[name][row] for name in ("px", "py", "pz")], axis=1)
    state = State(birth, momentum, known["q"][row])
    place = np.stack([truth[name][real] for name in ("tx", "ty", "tz")], axis=1)
    r, z = np.hypot(place[:, 0], place[:, 1]), place[:, 2]
    path = np.full(len(real), np.nan)
    for disc in detector.discs:
        on = np.abs(z - disc.z) < 1e-3
        path[on] = to_plane(State(birth[on], momentum[on], state.charge[on]), disc.z, detector.field_tesla)
    for barrel in detector.barrels:
        on = (np.abs(r - barrel.radius) < 1e-3) & (np.abs(z) < barrel.half_length)
        path[on] = to_cylinder(State(birth[on], momentum[on], state.charge[on]), barrel.radius, detector.field_tesla)
    met = ~np.isnan(path)
    ideal = advance(state, np.where(met, path, 0.0), detector.field_tesla).position
    across = (place[:, 1] * ideal[:, 0] - place[:, 0] * ideal[:, 1]) / r
    return {"pt": np.hypot(momentum[:, 0], momentum[:, 1])[met], "distance": across[met]}


def _occupancy(hits: Table, truth: Table, path: Path, title: str) -> Path:
    some = np.random.default_rng(0).permutation(len(hits["x"]))[:40_000]
    r, noise = np.hypot(hits["x"], hits["y"]), truth["particle_id"] == 0
    with canvas(path) as axes:
        for chosen, colour, label in ((some[~noise[some]], "C0", "true hits"), (some[noise[some]], "C1", "noise")):
            axes.scatter(hits["z"][chosen], r[chosen], s=0.4, c=colour, label=label, rasterized=True)
        axes.set(xlabel="z [mm]", ylabel="r [mm]", ylim=(0, None))
        axes.set_title(title, fontsize=12)
        axes.legend(markerscale=15, loc="lower right")
    return path


def _per_layer(hits: Table, truth: Table, events: int, path: Path, title: str) -> Path:
    pairs = np.stack([hits["volume_id"], hits["layer_id"]], axis=1)
    layers, index = np.unique(pairs, axis=0, return_inverse=True)
    noise = truth["particle_id"] == 0
    with canvas(path) as axes:
        places = np.arange(len(layers))
        true = np.bincount(index[~noise], minlength=len(layers)) / events
        axes.bar(places, true, label="true hits")
        axes.bar(places, np.bincount(index[noise], minlength=len(layers)) / events, bottom=true, label="noise")
        axes.set_xticks(places, [f"{v}/{n}" for v, n in layers], rotation=90, fontsize=10)
        axes.set(xlabel="volume / layer", ylabel="hits per event")
        axes.set_title(title, fontsize=12)
        axes.legend()
    return path


def _particles(known: Table, out: Path, title: str) -> list[Path]:
    pt = np.hypot(known["px"], known["py"])
    seen = known["nhits"] >= 3
    quantities = {
        "pt": (pt, np.geomspace(0.05, 100, 61), "particle $p_T$ [GeV]", "log"),
        "eta": (np.arcsinh(known["pz"] / pt), np.linspace(-5, 5, 51), r"particle $\eta$", "linear"),
        "hits_per_track": (known["nhits"], np.arange(-0.5, 20.5), "hits per particle", "linear"),
        "vertex_r": (np.hypot(known["vx"], known["vy"]), np.geomspace(1e-3, 1e3, 61), "birth radius [mm]", "log"),
    }
    paths = []
    for name, (values, bins, label, scale) in quantities.items():
        path = out / f"{name}.png"
        with canvas(path) as axes:
            axes.hist(values, bins, histtype="step", label="all particles")
            axes.hist(values[seen], bins, histtype="step", label="at least 3 hits")
            axes.set(xlabel=label, ylabel="particles", xscale=scale)
            if scale == "log":
                axes.set_yscale("log")
            axes.set_title(title, fontsize=12)
            axes.legend()
        paths.append(path)
    return paths


def _residuals(residuals: dict[str, Values], path: Path, title: str) -> Path:
    with canvas(path) as axes:
        for name, label in (("rphi", r"$r\phi$"), ("along", "z (barrel) or r (discs)")):
            width = 1000 * residuals[name].std()
            bins = np.linspace(-100, 100, 101)
            axes.hist(1000 * residuals[name], bins, histtype="step", label=f"{label}: {width:.1f} µm")
        axes.set(xlabel="measured - true [µm]", ylabel="hits")
        axes.set_title(title, fontsize=12)
        axes.legend()
    return path


def _helix(helix: dict[str, Values], path: Path, title: str) -> Path:
    with canvas(path) as axes:
        for low, high in ((0.1, 0.2), (0.5, 1.0), (2.0, 50.0)):
            values = helix["distance"][(helix["pt"] >= low) & (helix["pt"] < high)]
            bins = np.linspace(-5, 5, 101)
            axes.hist(values, bins, histtype="step", density=True, label=f"{low:g} to {high:g} GeV")
        axes.set(xlabel="true hit - helix at birth, across [mm]", ylabel="density", yscale="log")
        axes.set_title(title, fontsize=12)
        axes.legend()
    return path
