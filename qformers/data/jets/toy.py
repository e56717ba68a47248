"""Random numbers in files of the public layouts: for tests and benchmarks, without any physics in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.hls4ml_lhc import CLASSES as FIVE_CLASSES
from qformers.data.jets.hls4ml_lhc import COLUMNS
from qformers.data.jets.jetclass import CLASSES as TEN_CLASSES
from qformers.data.jets.jetclass import TREE

Branches = dict[str, Any]  # branch -> awkward array (jagged, per particle) or NumPy array (per jet)

LABEL_DTYPES = ("f4", "?", "?", "?", "?", "?", "i4", "i4", "i4", "i4")  # of JetClass, in the order of its classes
_FLAGS = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
_EXTRA_COLUMNS = 53  # `jets` has 59 columns; the last six are labels and j_undef


def jetclass_branches(jets: int, seed: int = 0, most_particles: int = 40, label: int | None = None) -> Branches:
    """All branches of a JetClass file, particles in falling pT.

    Args:
        jets: number of jets.
        seed: of the random numbers.
        most_particles: multiplicities are uniform in [1, most_particles].
        label: class of all jets; None = random.
    """
    import awkward as ak

    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most_particles + 1, jets)
    total = int(counts.sum())
    owner = np.repeat(np.arange(jets), counts)
    pt = np.exp(rng.normal(2.0, 1.2, total))
    pt = pt[np.lexsort((-pt, owner))]
    deta, dphi = rng.normal(0, 0.2, (2, total))
    eta, phi = deta + rng.uniform(-2, 2, jets)[owner], dphi + rng.uniform(-3, 3, jets)[owner]
    kind = rng.integers(0, len(_FLAGS), total)
    charge = np.where(np.isin(kind, (0, 3, 4)), rng.choice([-1.0, 1.0], total), 0.0)
    flat: dict[str, NDArray[Any]] = {
        "part_px": pt * np.cos(phi),
        "part_py": pt * np.sin(phi),
        "part_pz": pt * np.sinh(eta),
        "part_energy": pt * np.cosh(eta) * 1.001,
        "part_deta": deta,
        "part_dphi": dphi,
        "part_charge": charge,
        "part_d0val": np.where(charge != 0, rng.normal(0, 0.5, total), 0.0),
        "part_d0err": np.where(charge != 0, rng.uniform(0, 1.5, total), 0.0),
        "part_dzval": np.where(charge != 0, rng.normal(0, 0.5, total), 0.0),
        "part_dzerr": np.where(charge != 0, rng.uniform(0, 1.5, total), 0.0),
    }
    branches: Branches = {name: ak.unflatten(values.astype(np.float32), counts) for name, values in flat.items()}
    for number, flag in enumerate(_FLAGS):
        branches[f"part_{flag}"] = ak.unflatten((kind == number).astype(np.int32), counts)
    labels = rng.integers(0, len(TEN_CLASSES), jets) if label is None else np.full(jets, label)
    for number, (name, dtype) in enumerate(zip(TEN_CLASSES, LABEL_DTYPES, strict=True)):
        branches[f"label_{name}"] = (labels == number).astype(dtype)
    branches["jet_pt"] = np.bincount(owner, flat["part_energy"] / np.cosh(eta), jets).astype(np.float32)
    branches["jet_energy"] = np.bincount(owner, flat["part_energy"], jets).astype(np.float32)
    return branches


def write_tree(path: Path, branches: Branches, tree: str = TREE, jets_per_basket: int = 1000) -> Path:
    """Write branches as a TTree that JetClass readers can read (not as an RNTuple); returns `path`."""
    import awkward as ak
    import uproot

    jagged = {name[len("part_") :]: values for name, values in branches.items() if isinstance(values, ak.Array)}
    flat = {name: values for name, values in branches.items() if not isinstance(values, ak.Array)}
    content: Branches = {**({"part": ak.zip(jagged)} if jagged else {}), **flat}
    types = {name: a.type.content if isinstance(a, ak.Array) else a.dtype for name, a in content.items()}
    jets = len(next(iter(content.values())))
    with uproot.recreate(path) as file:
        writer = file.mktree(tree, types)
        for start in range(0, jets, jets_per_basket):
            writer.extend({name: a[start : start + jets_per_basket] for name, a in content.items()})
    return path


def hls4ml_lhc_arrays(jets: int, seed: int = 0, particles: int = 30) -> dict[str, NDArray[Any]]:
    """All data sets of an hls4ml LHC jet file: `jetConstituentList`, `jets`, `particleFeatureNames`.

    Args:
        jets: number of jets, classes at random.
        seed: of the random numbers.
        particles: S, slots per jet; a jet fills between 1 and S of them, in falling pT.
    """
    rng = np.random.default_rng(seed)
    real = np.arange(particles)[None, :] < rng.integers(1, particles + 1, jets)[:, None]  # (n, S)
    pt = -np.sort(-np.exp(rng.normal(3.0, 1.0, (jets, particles))), axis=1)
    values = {name: rng.normal(0, 0.3, (jets, particles)) for name in COLUMNS}
    phi, eta = rng.uniform(-3, 3, (2, jets, particles))
    values |= {"j1_pt": pt, "j1_px": pt * np.cos(phi), "j1_py": pt * np.sin(phi)}
    values |= {"j1_pz": pt * np.sinh(eta), "j1_e": pt * np.cosh(eta)}
    labels = rng.integers(0, len(FIVE_CLASSES), jets)
    one_hot = np.eye(len(FIVE_CLASSES) + 1)[labels]  # the last column is j_undef
    return {
        "jetConstituentList": np.stack([np.where(real, values[name], 0) for name in COLUMNS], axis=-1),
        "jets": np.concatenate([rng.normal(size=(jets, _EXTRA_COLUMNS)), one_hot], axis=1),
        "particleFeatureNames": np.array([*COLUMNS, "j1_pdgid"], dtype="S16"),
    }


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    """Write arrays as data sets of an HDF5 file; returns `path`."""
    import h5py

    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
    return path
