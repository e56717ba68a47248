"""Pythia's event record as flat NumPy arrays: one array per quantity, all events end to end.

Momenta and energies in GeV, production vertices in mm.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from qformers.errors import DataError, shown
from qformers.files import unreadable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Arrays = dict[str, npt.NDArray[Any]]  # name -> array, as they are written

CALORIMETER_RADIUS_MM = 1290.0
NEUTRINO_IDS = (12, 14, 16)  # PDG
CALORIMETER_HALF_LENGTH_MM = 3000.0


@dataclass(frozen=True)
class Record:
    """The particles of a batch of events; every array but ``counts`` has one entry per particle."""

    counts: Ints  # (events,) particles per event
    pid: Ints
    status: Ints  # > 0: final
    daughter1: Ints  # indices within the event, 0: none
    daughter2: Ints
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    mass: Floats
    vx: Floats  # mm
    vy: Floats
    vz: Floats

    @property
    def starts(self) -> Ints:
        """(events,) index of each event's first particle."""
        return np.cumsum(self.counts) - self.counts

    @property
    def event(self) -> Ints:
        """(particles,) the event a particle belongs to."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def eta(self) -> Floats:
        """(particles,) pseudorapidity."""
        return pseudorapidity(self.px, self.py, self.pz)


def pseudorapidity(px: Floats, py: Floats, pz: Floats) -> Floats:
    """Pseudorapidity; a particle along the beam gets a large finite value."""
    pt = np.maximum(np.hypot(px, py), 1e-12)
    eta: Floats = np.arcsinh(pz / pt)
    return eta


def wrap_phi(dphi: Floats) -> Floats:
    """Bring angles into [-pi, pi)."""
    wrapped: Floats = (dphi + np.pi) % (2 * np.pi) - np.pi
    return wrapped


def manifest_of(path: Path, form: Any) -> Any:
    """The content of a manifest, which names files that are read and written: so every name in it is looked at.

    Args:
        path: a JSON file.
        form: a `TypedDict` with the constraints of its values.

    Raises:
        DataError: missing, no JSON, or of another form; names the key.
    """
    if reason := unreadable(path):
        raise DataError(f"{path}: {reason}; generate into this folder first, or name another")
    try:
        loaded = json.loads(path.read_text())
        TypeAdapter(form).validate_python(loaded)
    except ValidationError as error:
        wrong = [one for one in error.errors() if one["type"] != "missing"]
        if not wrong:
            lacking = ", ".join(sorted(str(one["loc"][-1]) for one in error.errors()))
            raise DataError(f"{path} is not a manifest: it lacks {lacking}; use another folder") from error
        place = ".".join(str(part) for part in wrong[0]["loc"]) or "its content"
        words = wrong[0]["msg"].replace("Input should", "must", 1).replace("String should", "must", 1)
        raise DataError(
            f"{path} is not a manifest: {place} {words}; use another folder. Received: {shown(wrong[0]['input'])}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a manifest ({error}); generate into another folder") from error
    return loaded


def from_pythia(batch: Any) -> Record:
    """Flatten what ``Pythia.nextBatch`` returns (an awkward array)."""
    import awkward as ak

    particles = batch.prt
    flat = ak.flatten(particles, axis=1)

    def column(array: Any) -> npt.NDArray[Any]:
        return np.asarray(ak.to_numpy(array))

    def vertex(axis: str) -> Floats:  # Pythia gives None for particles born at the origin
        return np.asarray(ak.to_numpy(ak.fill_none(flat.vProd[axis], 0.0)), dtype=np.float64)

    return Record(
        counts=column(ak.num(particles, axis=1)).astype(np.int64),
        pid=column(flat.id).astype(np.int64),
        status=column(flat.status).astype(np.int64),
        daughter1=column(flat.daughter1).astype(np.int64),
        daughter2=column(flat.daughter2).astype(np.int64),
        px=column(flat.p.px),
        py=column(flat.p.py),
        pz=column(flat.p.pz),
        energy=column(flat.p.e),
        mass=column(flat.m),
        vx=vertex("px"),
        vy=vertex("py"),
        vz=vertex("pz"),
    )


def charges(pid: Ints, particle_data: Any) -> Floats:
    """Electric charge in units of e, asked once per distinct particle id."""
    distinct, inverse = np.unique(pid, return_inverse=True)
    values = np.array([particle_data.charge(int(one)) for one in distinct], dtype=np.float64)
    return values[inverse]


def detectable(record: Record) -> Bools:
    """Final particles but neutrinos, |eta| < 5, born inside the tracker's cylinder."""
    inside = (np.hypot(record.vx, record.vy) < CALORIMETER_RADIUS_MM) & (np.abs(record.vz) < CALORIMETER_HALF_LENGTH_MM)
    visible = (record.status > 0) & ~np.isin(np.abs(record.pid), NEUTRINO_IDS)
    return visible & inside & (np.abs(record.eta) < 5.0)
