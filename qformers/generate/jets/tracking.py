"""Tracker response: efficiency, momentum resolution, impact parameters (values of the CMS card).

Momenta in GeV, lengths in mm.
"""

import numpy as np

from qformers.generate.jets.candidates import ELECTRON, MUON
from qformers.generate.record import Floats, Ints

TRACKER_ABS_ETA = 2.5
_TRACK_PT_MIN = 0.1
_IMPACT_PT_MIN = 0.18


def log_normal(mean: Floats, sigma: Floats, rng: np.random.Generator) -> Floats:
    """Log-normal numbers with the given mean and standard deviation; 0 where the mean is 0."""
    positive = mean > 0
    safe = np.where(positive, mean, 1.0)
    b2 = np.log1p((sigma / safe) ** 2)
    drawn = np.exp(np.log(safe) - b2 / 2 + np.sqrt(b2) * rng.standard_normal(len(mean)))
    return np.where(positive, drawn, 0.0)


def efficiency(pt: Floats, entry_abs_eta: Floats, species: Ints) -> Floats:
    """Probability that a charged particle has a track; |eta| is that of the calorimeter entry."""
    central, soft = entry_abs_eta < 1.5, pt < 1.0

    def table(low: float, high: float, low_forward: float, high_forward: float) -> Floats:
        return np.where(central, np.where(soft, low, high), np.where(soft, low_forward, high_forward))

    hadron = table(0.70, 0.95, 0.60, 0.85)
    electron = np.where(pt > 100.0, np.where(central, 0.99, 0.90), table(0.73, 0.95, 0.50, 0.83))
    muon = table(0.75, 0.99, 0.70, 0.98)
    chosen = np.select([species == ELECTRON, species == MUON], [electron, muon], hadron)
    return np.where((entry_abs_eta > TRACKER_ABS_ETA) | (pt < _TRACK_PT_MIN), 0.0, chosen)


def momentum_resolution(pt: Floats, abs_eta: Floats, species: Ints) -> Floats:
    """Relative pT resolution of tracks."""
    region = np.searchsorted([0.5, 1.5], abs_eta, side="right")
    hadron = np.hypot(np.array([0.06, 0.10, 0.25])[region], np.array([1.3e-3, 1.7e-3, 3.1e-3])[region] * pt)
    electron = np.hypot(np.array([0.03, 0.05, 0.15])[region], np.array([1.3e-3, 1.7e-3, 3.1e-3])[region] * pt)
    muon = np.hypot(np.array([0.01, 0.015, 0.025])[region], np.array([1.0e-3, 1.5e-3, 3.5e-4])[region] * pt)
    return np.select([species == ELECTRON, species == MUON], [electron, muon], hadron)


# Resolution of d0 and dz in micrometres at these pT, per region |eta| < 0.9, 1.4, 2.5; between them
# log-log interpolation (arXiv:1405.6569, figure 15).
_IMPACT_PT = np.array([0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 100.0])
_IMPACT_ETA_EDGES = (0.9, 1.4)
_D0_UM = np.array(
    [
        [350.0, 160.0, 75.0, 49.0, 28.0, 20.0, 14.0, 10.0],
        [460.0, 180.0, 93.0, 52.0, 31.0, 22.0, 14.0, 10.0],
        [700.0, 310.0, 160.0, 84.0, 42.0, 27.0, 20.0, 13.0],
    ]
)
_DZ_UM = np.array(
    [
        [370.0, 210.0, 110.0, 74.0, 48.0, 40.0, 32.0, 28.0],
        [710.0, 350.0, 200.0, 110.0, 70.0, 53.0, 41.0, 34.0],
        [2200.0, 1300.0, 670.0, 350.0, 180.0, 120.0, 98.0, 82.0],
    ]
)


def impact_resolution(pt: Floats, abs_eta: Floats) -> tuple[Floats, Floats]:
    """Resolution of d0 and dz in mm; 0 where no track's impact parameter is measured."""
    measured = (pt > _IMPACT_PT_MIN) & (abs_eta < TRACKER_ABS_ETA)
    region = np.searchsorted(_IMPACT_ETA_EDGES, abs_eta, side="right")
    log_pt = np.log(np.maximum(pt, 1e-6))
    results = []
    for table in (_D0_UM, _DZ_UM):
        per_region = np.stack([np.interp(log_pt, np.log(_IMPACT_PT), np.log(row)) for row in table])
        microns = np.exp(per_region[np.minimum(region, len(table) - 1), np.arange(len(pt))])
        results.append(np.where(measured, microns / 1000, 0.0))
    return results[0], results[1]
