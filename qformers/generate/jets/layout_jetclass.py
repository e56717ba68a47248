"""Jets to the branches of a JetClass file, and the ROOT file itself.

Particles are flat here (``part_*``, jet after jet, ``counts`` per jet) and jagged in the file.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from qformers.generate.jets import candidates as cand
from qformers.generate.jets.clustering import Declustering, Jets
from qformers.generate.jets.processes import JETCLASS
from qformers.generate.jets.truth import Match
from qformers.generate.record import Arrays, wrap_phi

LABELS = tuple(process.label for process in JETCLASS.processes)  # the public order
SPECIES = {
    "isChargedHadron": cand.CHARGED_HADRON,
    "isNeutralHadron": cand.NEUTRAL_HADRON,
    "isPhoton": cand.PHOTON,
    "isElectron": cand.ELECTRON,
    "isMuon": cand.MUON,
}
TAU_ORDERS = [1, 2, 3, 4]


def label_type(label: str) -> type[np.generic]:
    """The types of the public files differ from label to label."""
    if label == "QCD":
        return np.float32
    return np.bool_ if label.startswith("H") else np.int32


def arrays(jets: Jets, match: Match, label: str, radius: float) -> Arrays:
    """All branches of jets of one class."""
    parts, n_jets = jets.constituents, len(jets.event)
    jet_of = np.repeat(np.arange(n_jets), jets.counts)
    jet_eta, jet_phi = jets.eta[jet_of], jets.phi[jet_of]
    # sign(eta): the forward side of every jet looks the same way
    deta = np.where(jet_eta >= 0, 1.0, -1.0) * (parts.eta - jet_eta)
    floats: dict[str, Any] = {
        "part_px": parts.px,
        "part_py": parts.py,
        "part_pz": parts.pz,
        "part_energy": parts.energy,
        "part_deta": deta,
        "part_dphi": wrap_phi(parts.phi - jet_phi),
        "part_d0val": parts.d0,
        "part_d0err": parts.d0_error,
        "part_dzval": parts.dz,
        "part_dzerr": parts.dz_error,
        "part_charge": parts.charge,
        "jet_pt": jets.pt,
        "jet_eta": jets.eta,
        "jet_phi": jets.phi,
        "jet_energy": jets.energy,
        "jet_nparticles": jets.counts,
        "aux_genpart_eta": match.eta,
        "aux_genpart_phi": match.phi,
        "aux_genpart_pid": match.pid,
        "aux_genpart_pt": match.pt,
        "aux_truth_match": match.code,
    }
    declustered = Declustering(jets, radius)
    floats["jet_sdmass"] = declustered.soft_drop_mass()
    for order, tau in zip(TAU_ORDERS, declustered.subjettiness(TAU_ORDERS).T, strict=True):
        floats[f"jet_tau{order}"] = tau
    result: Arrays = {name: np.asarray(values, dtype=np.float32) for name, values in floats.items()}
    for name, species in SPECIES.items():
        result[f"part_{name}"] = (parts.species == species).astype(np.int32)
    for one in LABELS:
        result[f"label_{one}"] = np.full(n_jets, one == label, dtype=label_type(one))
    result["counts"] = jets.counts
    return result


def _compression(name: str) -> Any:
    import uproot

    return {"lz4": uproot.LZ4(4), "zlib": uproot.ZLIB(5), "lzma": uproot.LZMA(9)}[name]


def write_root(path: Path, branches: Arrays, compression: str) -> None:
    """Write one TTree ``tree``; the file appears under its name when complete."""
    import awkward as ak
    import uproot

    particles = {name.removeprefix("part_"): a for name, a in branches.items() if name.startswith("part_")}
    # An awkward record with mktree: assigning a dict would write an RNTuple, which JetClass readers cannot read.
    jagged = ak.unflatten(ak.zip(particles), branches["counts"])
    scalars = {n: a for n, a in branches.items() if not n.startswith("part_") and n != "counts"}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with uproot.recreate(temporary, compression=_compression(compression)) as file:
            types = {"part": jagged.type.content, **{name: a.dtype for name, a in scalars.items()}}
            file.mktree("tree", types).extend({"part": jagged, **scalars})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
