"""Random numbers in files of the public layouts: for tests and benchmarks, without any physics in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets import quark_gluon_writer, top_landscape_writer
from qformers.data.jets.hls4ml_lhc import CLASSES as FIVE_CLASSES
from qformers.data.jets.hls4ml_lhc import COLUMNS
from qformers.data.jets.inputs import FLAGS
from qformers.data.jets.jetclass import CLASSES as TEN_CLASSES
from qformers.data.jets.jetclass import TREE
from qformers.data.jets.particles import from_pt_eta_phi
from qformers.files import replacing

Branches = dict[str, Any]  # branch -> awkward array (jagged, per particle) or NumPy array (per jet)

LABEL_DTYPES = ("f4", "?", "?", "?", "?", "?", "i4", "i4", "i4", "i4")  # of JetClass, in the order of its classes
_IDS = (22, 130, 211, -211, 11, -13, 2112, 321, -2212)
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
    kind = rng.integers(0, len(FLAGS), total)
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
    for number, flag in enumerate(FLAGS):
        branches[f"part_{flag}"] = ak.unflatten((kind == number).astype(np.int32), counts)
    labels = rng.integers(0, len(TEN_CLASSES), jets) if label is None else np.full(jets, label)
    for number, (name, dtype) in enumerate(zip(TEN_CLASSES, LABEL_DTYPES, strict=True)):
        branches[f"label_{name}"] = (labels == number).astype(dtype)
    branches["jet_pt"] = np.bincount(owner, flat["part_energy"] / np.cosh(eta), jets).astype(np.float32)
    branches["jet_energy"] = np.bincount(owner, flat["part_energy"], jets).astype(np.float32)
    return branches


def write_tree(path: Path, branches: Branches, tree: str = TREE, entries_per_basket: int = 1000) -> Path:
    """Write branches as a TTree that JetClass readers can read (not as an RNTuple); returns `path`.

    Jagged branches whose names begin alike, up to the first underscore, are one collection with one counter.
    """
    import awkward as ak
    import uproot

    collections: dict[str, Branches] = {}
    flat: Branches = {}
    for name, values in branches.items():
        collection, _, field = name.partition("_")
        target, key = (collections.setdefault(collection, {}), field) if isinstance(values, ak.Array) else (flat, name)
        target[key] = values
    content: Branches = {**{name: ak.zip(fields) for name, fields in collections.items()}, **flat}
    types = {name: a.type.content if isinstance(a, ak.Array) else a.dtype for name, a in content.items()}
    entries = len(next(iter(content.values())))
    with replacing(path) as temporary, uproot.recreate(temporary) as file:
        writer = file.mktree(tree, types)
        for start in range(0, entries, entries_per_basket):
            writer.extend({name: a[start : start + entries_per_basket] for name, a in content.items()})
    return path


def zero_padded_momenta(jets: int, seed: int = 0, slots: int = 30) -> tuple[NDArray[Any], NDArray[Any]]:
    """Jets along random axes, and their classes.

    Args:
        jets: n.
        seed: of the random numbers.
        slots: S, of a jet; between 1 and S of them are particles, in falling pT.

    Returns:
        (n, S, 4) pT in GeV, pseudorapidity, azimuth in rad and PDG id, 0 where there is no particle; (n,) 0 or 1.
    """
    rng = np.random.default_rng(seed)
    real = np.arange(slots)[None, :] < rng.integers(1, slots + 1, jets)[:, None]  # (n, S)
    pt = -np.sort(-np.exp(rng.normal(2.0, 1.2, (jets, slots))), axis=1)
    eta = rng.normal(0, 0.2, (jets, slots)) + rng.uniform(-2, 2, (jets, 1))
    phi = rng.normal(0, 0.2, (jets, slots)) + rng.uniform(-3, 3, (jets, 1))
    ids = rng.choice(_IDS, (jets, slots))
    return np.where(real[..., None], np.stack([pt, eta, phi, ids], axis=-1), 0.0), rng.integers(0, 2, jets)


def write_top_jets(path: Path, jets: int, seed: int = 0, slots: int = 200) -> Path:
    """Random jets as a file of the top landscape set; returns `path`."""
    jet, flags = zero_padded_momenta(jets, seed, slots)
    momenta = from_pt_eta_phi(*(jet[:, :, place] for place in range(3)))
    return top_landscape_writer.write(path, np.stack(momenta[:4], axis=-1), flags)


def write_quark_gluon_jets(path: Path, jets: int, seed: int = 0, slots: int = 60) -> Path:
    """Random jets as a file of the quark/gluon set; returns `path`."""
    return quark_gluon_writer.write(path, *zero_padded_momenta(jets, seed, slots))


def nanoaod_branches(events: int, seed: int = 0, most_jets: int = 3, most_candidates: int = 20) -> Branches:
    """All branches of a NanoAOD file with candidates that its reader knows, and FatJet_hadronFlavour.

    Args:
        events: number of events; each has up to `most_jets` jets, perhaps none.
        seed: of the random numbers.
        most_jets: of an event.
        most_candidates: of a jet, at least one; an event has some that are of no jet, and its candidates are shuffled.
    """
    import awkward as ak

    rng = np.random.default_rng(seed)
    jets_in = rng.integers(0, most_jets + 1, events)
    jets = int(jets_in.sum())
    owned = rng.integers(1, most_candidates + 1, jets)  # candidates of each jet
    jet_of = np.repeat(np.arange(jets), owned)
    event_of_jet = np.repeat(np.arange(events), jets_in)
    axis_eta, axis_phi = rng.uniform(-2, 2, jets), rng.uniform(-3, 3, jets)
    loose = rng.integers(0, 5, events)  # candidates of no jet
    event_of = np.concatenate([event_of_jet[jet_of], np.repeat(np.arange(events), loose)])
    total = len(event_of)
    eta, phi = rng.normal(0, 0.2, (2, total))
    eta[: len(jet_of)] += axis_eta[jet_of]
    phi[: len(jet_of)] += axis_phi[jet_of]
    order = np.lexsort((rng.random(total), event_of))  # by event, at random within
    candidates_in = np.bincount(event_of, minlength=events)
    place = np.empty(total, int)
    place[order] = np.arange(total)
    place -= (np.cumsum(candidates_in) - candidates_in)[event_of]
    ids = rng.choice(_IDS, total)
    charge = np.sign(ids) * np.isin(np.abs(ids), (211, 321, 2212)) - np.sign(ids) * np.isin(np.abs(ids), (11, 13))
    track = (charge != 0) & (rng.random(total) < 0.9)
    pt = np.exp(rng.normal(2.0, 1.2, total))
    fields = {
        "pt": pt, "eta": eta, "phi": (phi + np.pi) % (2 * np.pi) - np.pi, "mass": rng.uniform(0, 0.2, total),
        **{name: np.where(track, rng.normal(0, 0.05, total), -1.0) for name in ("d0", "dz")},
        **{name: np.where(track, rng.uniform(0, 0.1, total), -1.0) for name in ("d0Err", "dzErr")},
    }  # fmt: skip
    numbers = {name: values.astype(np.float32) for name, values in fields.items()}
    numbers |= {"charge": charge.astype(np.int32), "pdgId": ids.astype(np.int32)}
    links_in = np.bincount(event_of_jet[jet_of], minlength=events)
    jet_fields = {
        "pt": np.bincount(jet_of, pt[: len(jet_of)], jets), "eta": axis_eta, "phi": axis_phi,
        "mass": rng.uniform(5, 150, jets),
    }  # fmt: skip
    flat = {name: values.astype(np.float32) for name, values in jet_fields.items()}
    flat["hadronFlavour"] = rng.choice([0, 4, 5], jets).astype(np.int32)
    first = np.cumsum(jets_in) - jets_in
    return {
        **{f"FatJet_{name}": ak.unflatten(values, jets_in) for name, values in flat.items()},
        "FatJetPFCands_jetIdx": ak.unflatten((jet_of - first[event_of_jet[jet_of]]).astype(np.int32), links_in),
        "FatJetPFCands_pFCandsIdx": ak.unflatten(place[: len(jet_of)].astype(np.int32), links_in),
        **{f"PFCands_{name}": ak.unflatten(values[order], candidates_in) for name, values in numbers.items()},
    }


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
