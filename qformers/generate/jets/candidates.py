"""What a detector (or none) makes of an event: the candidates that jets are built from.

Momenta in GeV, impact parameters in mm.
"""

from dataclasses import dataclass, fields

import numpy as np

from qformers.generate.record import Bools, Floats, Ints, Record, pseudorapidity

CHARGED_HADRON, NEUTRAL_HADRON, PHOTON, ELECTRON, MUON = range(5)
N_SPECIES = 5


@dataclass(frozen=True)
class Candidates:
    """Flat arrays, one entry per candidate, ordered by event."""

    event: Ints
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    species: Ints  # CHARGED_HADRON ... MUON
    charge: Floats
    d0: Floats
    d0_error: Floats
    dz: Floats
    dz_error: Floats

    @property
    def pt(self) -> Floats:
        """(candidates,) transverse momentum."""
        return np.hypot(self.px, self.py)

    @property
    def eta(self) -> Floats:
        """(candidates,) pseudorapidity."""
        return pseudorapidity(self.px, self.py, self.pz)

    @property
    def phi(self) -> Floats:
        """(candidates,) azimuth."""
        return np.arctan2(self.py, self.px)

    def take(self, which: Ints | Bools) -> "Candidates":
        """The candidates at ``which``."""
        return Candidates(*(getattr(self, f.name)[which] for f in fields(self)))

    def per_event(self, n_events: int) -> Ints:
        """(events,) number of candidates of each event."""
        return np.bincount(self.event, minlength=n_events)


def join(parts: list[Candidates]) -> Candidates:
    """Put several sets together, ordered by event (stable, so the order is repeatable)."""
    joined = Candidates(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Candidates)))
    return joined.take(np.argsort(joined.event, kind="stable"))


def species_of(pid: Ints, charge: Floats) -> Ints:
    """Species by true particle id and charge."""
    kind = np.where(charge != 0, CHARGED_HADRON, NEUTRAL_HADRON)
    for one, species in ((22, PHOTON), (11, ELECTRON), (13, MUON)):
        kind = np.where(np.abs(pid) == one, species, kind)
    return kind.astype(np.int64)


def particle_level(record: Record, which: Ints, charge: Floats) -> Candidates:
    """The particles themselves, impact parameters 0 (``which``: indices, ``charge``: theirs)."""
    zero = np.zeros(len(which))
    return Candidates(
        event=record.event[which],
        px=record.px[which],
        py=record.py[which],
        pz=record.pz[which],
        energy=record.energy[which],
        species=species_of(record.pid[which], charge),
        charge=charge,
        d0=zero,
        d0_error=zero,
        dz=zero,
        dz_error=zero,
    )
