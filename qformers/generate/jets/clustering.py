"""Anti-kT jets of a batch of events, and what declustering them shows. FastJet is imported at use."""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from qformers.generate.jets.candidates import Candidates
from qformers.generate.jets.processes import Preset, require
from qformers.generate.record import Bools, Floats, Ints, pseudorapidity

CA_RADIUS = 1000.0  # larger than any jet: Cambridge/Aachen keeps all constituents in one jet


@dataclass(frozen=True)
class Jets:
    """Selected jets and, end to end, their constituents (pT-descending in each jet)."""

    event: Ints  # (jets,)
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    counts: Ints  # (jets,) constituents of each jet
    constituents: Candidates  # (sum of counts,)

    @property
    def pt(self) -> Floats:
        """(jets,) transverse momentum, GeV."""
        return np.hypot(self.px, self.py)

    @property
    def eta(self) -> Floats:
        """(jets,) pseudorapidity."""
        return pseudorapidity(self.px, self.py, self.pz)

    @property
    def phi(self) -> Floats:
        """(jets,) azimuth."""
        return np.arctan2(self.py, self.px)

    @property
    def mass(self) -> Floats:
        """(jets,) invariant mass, GeV."""
        return np.sqrt(np.maximum(self.energy**2 - self.px**2 - self.py**2 - self.pz**2, 0.0))

    def take(self, which: Bools) -> "Jets":
        """The jets where ``which`` is true."""
        kept = np.repeat(which, self.counts)
        return Jets(
            event=self.event[which],
            px=self.px[which],
            py=self.py[which],
            pz=self.pz[which],
            energy=self.energy[which],
            counts=self.counts[which],
            constituents=self.constituents.take(kept),
        )


def _momenta(candidates: Candidates, counts: Ints) -> ak.Array:
    """Candidates as the jagged record array FastJet reads."""
    flat = ak.zip({"px": candidates.px, "py": candidates.py, "pz": candidates.pz, "E": candidates.energy})
    return ak.unflatten(flat, counts)


def _numbers(array: ak.Array) -> Any:
    return np.asarray(ak.to_numpy(ak.flatten(array, axis=None)))


def find_jets(candidates: Candidates, n_events: int, preset: Preset) -> Jets:
    """Cluster every event and keep the jets in the preset's window, or the leading one where it is in it."""
    fastjet = require("fastjet")
    counts = candidates.per_event(n_events)
    starts = np.cumsum(counts) - counts
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, preset.radius)
    sequence = fastjet.ClusterSequence(_momenta(candidates, counts), definition)
    clustered = sequence.inclusive_jets(preset.pt_min)
    index = sequence.constituent_index(preset.pt_min)

    event = np.repeat(np.arange(n_events), _numbers(ak.num(clustered, axis=1)))
    n_constituents = _numbers(ak.num(index, axis=2)).astype(np.int64)
    jet_of = np.repeat(np.arange(len(event)), n_constituents)
    chosen = starts[event[jet_of]] + _numbers(index).astype(np.int64)
    chosen = chosen[np.lexsort((-candidates.pt[chosen], jet_of))]

    jets = Jets(
        event=event,
        px=_numbers(clustered.px),
        py=_numbers(clustered.py),
        pz=_numbers(clustered.pz),
        energy=_numbers(clustered.E),
        counts=n_constituents,
        constituents=candidates.take(chosen),
    )
    if preset.leading:
        jets = jets.take(_leading(jets))
    window = (jets.pt >= preset.pt_min) & (jets.pt <= preset.pt_max) & (np.abs(jets.eta) < preset.abs_eta_max)
    return jets.take(window)


def _leading(jets: Jets) -> Bools:
    """(jets,) True for the jet with the largest pT of its event."""
    order = np.lexsort((-jets.pt, jets.event))
    leads = np.zeros(len(order), dtype=np.bool_)
    leads[order[np.diff(jets.event[order], prepend=-1) > 0]] = True
    return leads


class Declustering:
    """The jets re-clustered with Cambridge/Aachen: soft drop and N-subjettiness."""

    def __init__(self, jets: Jets, radius: float) -> None:
        self.radius = radius
        fastjet = require("fastjet")
        definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, CA_RADIUS)
        self._n_jets = len(jets.counts)
        self._sequence = fastjet.ClusterSequence(_momenta(jets.constituents, jets.counts), definition)

    def soft_drop_mass(self, beta: float = 0.0) -> Floats:
        """(jets,) mass after soft drop with z_cut = 0.1, GeV."""
        if self._n_jets == 0:
            return np.zeros(0)
        groomed = self._sequence.exclusive_jets_softdrop_grooming(njets=1, beta=beta, symmetry_cut=0.1, R0=self.radius)
        return np.asarray(ak.to_numpy(groomed.msoftdrop), dtype=np.float64)

    def subjettiness(self, orders: list[int], beta: float = 1.0) -> Floats:
        """(jets, orders) normalised tau_N."""
        if self._n_jets == 0:
            return np.zeros((0, len(orders)))
        taus = self._sequence.njettiness(njets=orders, beta=beta, R0=self.radius)
        return np.asarray(ak.to_numpy(taus), dtype=np.float64).reshape(self._n_jets, len(orders))
