"""Write jets in the HDF5 layout of the public hls4ml LHC jet set (Zenodo 3602260).

Momenta in GeV, angles in rad. Padded constituents are all zero.
"""

import os
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

PARTICLE_FEATURES = (
    *("j1_px", "j1_py", "j1_pz", "j1_e", "j1_erel", "j1_pt", "j1_ptrel", "j1_eta", "j1_etarel", "j1_etarot"),
    *("j1_phi", "j1_phirel", "j1_phirot", "j1_deltaR", "j1_costheta", "j1_costhetarel"),
)
LABELS = ("j_g", "j_q", "j_w", "j_z", "j_t")
_SHAPES = (
    *("j_tau1_b1", "j_tau2_b1", "j_tau3_b1", "j_tau1_b2", "j_tau2_b2", "j_tau3_b2", "j_tau32_b1", "j_tau32_b2"),
    *("j_zlogz", "j_c1_b0", "j_c1_b1", "j_c1_b2", "j_c2_b1", "j_c2_b2", "j_d2_b1", "j_d2_b2"),
    *("j_d2_a1_b1", "j_d2_a1_b2", "j_m2_b1", "j_m2_b2", "j_n2_b1", "j_n2_b2"),
)
JET_FEATURES = (
    *("j_ptfrac", "j_pt", "j_eta", "j_mass"),
    *_SHAPES,
    *(f"{name}_mmdt" for name in _SHAPES if name != "j_zlogz"),
    *("j_mass_trim", "j_mass_mmdt", "j_mass_prun", "j_mass_sdb2", "j_mass_sdm1", "j_multiplicity"),
    *LABELS,
    "j_undef",
)


def _principal_axis(weight: Floats, deta: Floats, dphi: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of each jet's pT-weighted principal axis in the (eta, phi) plane, (n, 1) each."""
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    a, b = (
        (deta - (weight * deta).sum(1, keepdims=True) / total),
        (dphi - (weight * dphi).sum(1, keepdims=True) / total),
    )
    aa, bb, ab = ((weight * u * v).sum(1, keepdims=True) for u, v in ((a, a), (b, b), (a, b)))
    angle = 0.5 * np.arctan2(2 * ab, aa - bb)
    return np.cos(angle), np.sin(angle)


def constituent_columns(px: Floats, py: Floats, pz: Floats, e: Floats, jet_p4: Floats) -> npt.NDArray[np.float32]:
    """The 16 columns from constituent momenta (n, P), zero padded, and jet momenta (n, 4) = (px, py, pz, E).

    ``etarot``/``phirot`` are etarel/phirel turned so that the jet's pT-weighted principal axis lies along
    ``etarot`` with the leading constituent at etarot >= 0; ``costhetarel`` is the cosine of the angle
    between constituent and jet.
    """
    if px.ndim != 2 or jet_p4.shape != (px.shape[0], 4):
        raise ValueError(
            f"expected px of shape (n, P) and jet_p4 of shape (n, 4). Received: {px.shape} and {jet_p4.shape}"
        )
    jx, jy, jz, je = (jet_p4[:, i : i + 1] for i in range(4))  # (n, 1)
    jet_pt, jet_p = np.hypot(jx, jy), np.sqrt(jx**2 + jy**2 + jz**2)
    pt, p = np.hypot(px, py), np.sqrt(px**2 + py**2 + pz**2)
    safe_pt, safe_p = np.where(pt > 0, pt, 1.0), np.where(p > 0, p, 1.0)
    eta, phi = np.arcsinh(pz / safe_pt), np.arctan2(py, px)
    deta = np.where(pt > 0, eta - np.arcsinh(jz / jet_pt), 0.0)
    dphi = np.where(pt > 0, (phi - np.arctan2(jy, jx) + np.pi) % (2 * np.pi) - np.pi, 0.0)
    cos, sin = _principal_axis(pt, deta, dphi)
    flip = np.where(cos[:, 0] * deta[:, 0] + sin[:, 0] * dphi[:, 0] < 0, -1.0, 1.0)[:, None]
    etarot, phirot = flip * (cos * deta + sin * dphi), flip * (cos * dphi - sin * deta)
    cos_jet = (px * jx + py * jy + pz * jz) / (safe_p * jet_p)
    columns = (
        *(px, py, pz, e, e / je, pt, pt / jet_pt, eta, deta, etarot, phi, dphi, phirot),
        *(np.hypot(deta, dphi), pz / safe_p, cos_jet),
    )
    real = (pt > 0)[..., None]
    return np.where(real, np.stack(columns, axis=-1), 0.0).astype(np.float32)


def _check(constituents: Floats, jets: Floats, jet_feature_names: tuple[str, ...] | list[str]) -> None:
    n_columns = len(PARTICLE_FEATURES)
    if constituents.ndim != 3 or constituents.shape[2] != n_columns:
        raise ValueError(f"constituents must have shape (n, P, {n_columns}). Received: {constituents.shape}")
    if jets.shape != (len(constituents), len(jet_feature_names)):
        raise ValueError(
            f"jets must have shape ({len(constituents)}, {len(jet_feature_names)}): one row per jet, one column "
            f"per name. Received: {jets.shape}"
        )
    if tuple(jet_feature_names[-6:-1]) != LABELS:
        raise ValueError(f"columns -6:-1 of jets must be {LABELS}. Received: {tuple(jet_feature_names[-6:-1])}")
    if not np.isfinite(constituents).all() or not np.isfinite(jets).all():
        raise ValueError("constituents and jets must be finite. Received: NaN or infinity")


def write(
    path: str | Path,
    constituents: Floats,
    jets: Floats,
    jet_feature_names: tuple[str, ...] | list[str] = JET_FEATURES,
) -> None:
    """Write one file: constituents (n, P, 16), jets (n, 59). It appears under its name when complete."""
    _check(constituents, jets, jet_feature_names)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            for name, array in (("jetConstituentList", constituents), ("jets", jets)):
                # Blocks of whole jets: readers take rows, and shuffled bytes compress better.
                chunk = (max(1, min(len(array), 500)), *array.shape[1:])
                file.create_dataset(
                    name,
                    data=array.astype(np.float32),
                    chunks=chunk,
                    compression="gzip",
                    compression_opts=4,
                    shuffle=True,
                )
            file["particleFeatureNames"] = np.array(PARTICLE_FEATURES, dtype="S")
            file["jetFeatureNames"] = np.array(jet_feature_names, dtype="S")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
