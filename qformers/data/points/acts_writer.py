"""Write simulated hits in the CSV layout of ACTS's examples (Examples/Io/Csv of acts-project/acts)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.points.acts import BARCODE, GEOMETRY, packed, parts
from qformers.files import replacing

HITS = (
    "particle_id", "geometry_id", "tx", "ty", "tz", "tt", "tpx", "tpy", "tpz", "te",
    "deltapx", "deltapy", "deltapz", "deltae", "index",
)  # fmt: skip
PARTICLES = ("particle_id", "particle_type", "process", "vx", "vy", "vz", "vt", "px", "py", "pz", "m", "q")

Arrays = dict[str, NDArray[Any]]


def write(folder: Path, event: int, hits: Arrays, particles: Arrays, in_parts: bool = False) -> Path:
    """Write the hits and the simulated particles of an event.

    Args:
        folder: of the files; made when missing.
        event: its number.
        hits: ``particle_id``, ``volume``, ``layer``, ``sensitive`` (from 1), ``tx``, ``ty``, ``tz`` (mm), (n,) each;
            other columns are 0 where they are not given.
        particles: ``particle_id``, ``px``, ``py``, ``pz`` (GeV), (p,) each; others as above.
        in_parts: particle ids as five columns, as newer versions of ACTS write them.

    Returns:
        the file of the hits.

    Raises:
        ValueError: a part of a geometry_id does not fit its bits.
    """
    surface = {name: np.asarray(hits[name], np.int64) for name in ("volume", "layer", "sensitive")}
    hits = {**hits, "geometry_id": packed(surface, GEOMETRY)}
    folder.mkdir(parents=True, exist_ok=True)
    for stem, names, table in (("hits", HITS, hits), ("particles_simulated", PARTICLES, particles)):
        _write(folder / f"event{event:09d}-{stem}.csv", names, table, in_parts)
    return folder / f"event{event:09d}-hits.csv"


def _write(path: Path, names: tuple[str, ...], table: Arrays, in_parts: bool) -> None:
    columns = {name: table.get(name, np.zeros(len(table["particle_id"]), np.int64)) for name in names}
    if in_parts:
        columns = {**parts(columns.pop("particle_id"), BARCODE), **columns}
    with replacing(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
