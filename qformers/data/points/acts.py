"""Reader of the CSV files of ACTS's examples: simulated hits of the Open Data Detector or of the generic detector.

Files of an event: ``event000000000-hits.csv`` (or ``.csv.gz``) with ``-particles_simulated``, ``-particles_initial`` or
``-particles`` beside it. A point is a simulated hit, at its true place: measurements (``-measurements``, ``-cells``,
``-measurement-simhit-map``) hold coordinates on their surface, which these files alone do not turn into x, y, z, so
that they are not read. There is no noise, no resolution and no hit that belongs to two particles.

Columns follow Examples/Io/Csv of acts-project/acts (compared with its sources of August 2026, 6fd7277), volumes and
layers its first kind of geometry, which its scripts still take by default. The newer one of the Open Data Detector,
"Gen3", numbers them otherwise; hits in volumes or layers that the first kind does not have are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import PointCloud, PointLayout
from qformers.data.points import hit_features, trackml
from qformers.data.points.csv_table import FLOAT, INT, Columns, Table, names_of, read_table
from qformers.data.points.hit_cloud import Hits, hit_cloud, layer_index, refuse_none_chosen, refuse_places
from qformers.data.points.joins import required, rows_of, sorted_by
from qformers.data.points.options import require_known
from qformers.data.points.trackml import beside, even, event_number
from qformers.errors import DataError

Ints = NDArray[np.int64]
Bits = dict[str, tuple[int, int]]  # part of a number of 64 bits -> how many bits, first of them

FEATURE_SETS = {"place": hit_features.FEATURE_SETS["place"]}  # there are no cells
GEOMETRY: Bits = {
    "volume": (8, 56),
    "boundary": (8, 48),
    "layer": (12, 36),
    "approach": (8, 28),
    "sensitive": (20, 8),
    "extra": (8, 0),
}
# one column particle_id, or, in newer files, one for each of its parts: primary vertex, secondary vertex, particle,
# generation, descendant
# (there these have 16, 16, 32, 8 and 32 bits; numbers that do not fit these are refused)
BARCODE: Bits = {
    "particle_id_pv": (12, 52),
    "particle_id_sv": (12, 40),
    "particle_id_part": (16, 24),
    "particle_id_gen": (8, 16),
    "particle_id_subpart": (16, 0),
}
HARD_SCATTER = 1  # its primary vertex: the scripts of ACTS make the hard process first, then pile-up

Volumes = dict[int, tuple[int, ...]]  # volume -> its layers
ODD_PIXEL: Volumes = {16: even(8)[1:], 17: even(4), 18: even(7)}  # endcap, barrel, endcap
ODD_STRIPS: Volumes = {23: even(6), 24: even(4), 25: even(6), 28: even(6), 29: even(2), 30: even(6)}
DETECTORS: dict[str, dict[str, Volumes]] = {
    "odd": {"pixel": ODD_PIXEL, "all": ODD_PIXEL | ODD_STRIPS},
    "generic": trackml.LAYERS,  # TrackML's
}

HITS: Columns = {"geometry_id": INT, "tx": FLOAT, "ty": FLOAT, "tz": FLOAT}
MOMENTA: Columns = {"px": FLOAT, "py": FLOAT, "pz": FLOAT}
PARTICLES = ("particles_simulated", "particles_initial", "particles")  # the first that is there


@dataclass(frozen=True)
class ActsOptions:
    """What is made of the tables.

    Attributes:
        detector: a key of `DETECTORS`.
        features: ``place`` (7).
        layers: ``pixel`` (18 layers of either detector) or ``all`` (48).
        task: ``tracking`` (label 1 = of a particle) or ``pileup`` (label 1 = of primary vertex 1).
    """

    detector: str
    features: str = "place"
    layers: str = "pixel"
    task: Literal["tracking", "pileup"] = "tracking"

    def __post_init__(self) -> None:
        who_has = "simulated hits of ACTS have"
        require_known(who_has, "detector", self.detector, DETECTORS)
        require_known(who_has, "data.features", self.features, FEATURE_SETS)
        require_known(who_has, "data.points.layers", self.layers, trackml.LAYERS)
        require_known(who_has, "data.points.task", self.task, trackml.CLASSES)

    @property
    def layout(self) -> PointLayout:
        """Names of what `read_event` returns."""
        return PointLayout(FEATURE_SETS[self.features], hit_features.COORDS, trackml.CLASSES[self.task])


def parts(number: Ints, bits: Bits) -> dict[str, Ints]:
    """The parts of numbers (n,), by name."""
    return {name: (number >> first) & (2**count - 1) for name, (count, first) in bits.items()}


def packed(values: dict[str, Ints], bits: Bits) -> Ints:
    """Numbers (n,) from their parts, (n,) each; parts that are not named are 0.

    Raises:
        ValueError: a part does not fit its bits; the topmost bit of all is the sign and stays 0.
    """
    result: Ints = np.zeros(len(next(iter(values.values()))), np.int64)
    for name, value in values.items():
        count, first = bits[name]
        limit = 2 ** min(count, 63 - first)
        wrong = (value < 0) | (value >= limit)
        if wrong.any():
            raise ValueError(f"'{name}': must be 0 to {limit - 1}. Received: {value[wrong][0]}")
        result = result | (value.astype(np.int64) << first)
    return result


def read_event(hits_path: Path, options: ActsOptions) -> PointCloud:
    """Read one event; its points are in the order of the file.

    Reconstructable: of a particle with hits in at least three of the chosen layers.

    Args:
        hits_path: its hits file.
        options: detector, layers and task.

    Raises:
        DataError: a file is missing or wrong, a hit of another detector, a particle that no table lists, no hit in the
            chosen layers.
    """
    number = event_number(hits_path)
    table, rows, layer = _chosen(hits_path, options)
    particle = table["particle_id"][rows]
    momentum = _momenta(hits_path, particle)
    labels = particle != 0
    if options.task == "pileup":
        labels &= parts(particle, BARCODE)["particle_id_pv"] == HARD_SCATTER
    place = {"hit_id": rows} | {x: table[f"t{x}"][rows] for x in "xyz"}
    return hit_cloud(Hits(hits_path, number, place, layer, particle, momentum, labels), options.layout)


def sources(hits_path: Path) -> list[Path]:
    """The files that an event is read from, those of them that are there."""
    return [path for path in (hits_path, particles_of(hits_path)) if path.exists()]


def is_acts(path: Path) -> bool:
    """Whether a file called as hits holds the columns of ACTS."""
    return set(HITS) <= set(names_of(path))


def hit_rows(hits_path: Path, options: ActsOptions) -> Ints:
    """(n,), row in the file, from 0, of the points that `read_event` gives, in their order."""
    return _chosen(hits_path, options)[1]


def particles_of(hits_path: Path) -> Path:
    """The table of particles of an event: the first of `PARTICLES` that is there, else the first."""
    paths = [beside(hits_path, name) for name in PARTICLES]
    return next((path for path in paths if path.exists()), paths[0])


def _chosen(path: Path, options: ActsOptions) -> tuple[Table, Ints, Ints]:
    """All hits with a column particle_id, the rows of those in the chosen layers, and the layer of each of these."""
    if "hit_id" in (names := names_of(path)) and "geometry_id" not in names:
        raise DataError(
            f"{path}: column 'geometry_id' is missing and 'hit_id' is there: these are hits of TrackML, which "
            f"data.dataset: trackml reads"
        )
    table = _with_barcodes(path, HITS)
    place = {"hit_id": np.arange(len(table["tx"])), "x": table["tx"], "y": table["ty"]}
    refuse_places(path, place)
    volumes, surface = DETECTORS[options.detector], parts(table["geometry_id"], GEOMETRY)
    strange = (table["geometry_id"] < 0) | (layer_index(surface["volume"], surface["layer"], volumes["all"]) < 0)
    if strange.any():
        row = int(np.argmax(strange))
        raise DataError(
            f"{path}: column 'geometry_id', line {row + 2}: names volume {surface['volume'][row]} and layer "
            f"{surface['layer'][row]}, which the detector '{options.detector}' does not have (volumes "
            f"{', '.join(map(str, volumes['all']))}); take the data set of the detector that was simulated. "
            f"Received: {table['geometry_id'][row]}, and {int(strange.sum())} such hits in all"
        )
    layer = layer_index(surface["volume"], surface["layer"], volumes[options.layers])
    refuse_none_chosen(path, layer, options.layers, volumes[options.layers])
    rows = np.flatnonzero(layer >= 0)
    return table, rows, layer[rows]


def _with_barcodes(path: Path, columns: Columns) -> Table:
    """Columns of a table, and particle_id, which newer files have in parts."""
    if not set(BARCODE) & set(names_of(path)):
        table = read_table(path, {"particle_id": INT} | columns)
        negative = table["particle_id"] < 0
        if negative.any():
            raise DataError(
                f"{path}: column 'particle_id', line {int(np.argmax(negative)) + 2}: must be 0 or positive. "
                f"Received: {table['particle_id'][negative][0]}"
            )
        return table
    table = read_table(path, dict.fromkeys(BARCODE, INT) | columns)
    try:
        ids = packed({name: table[name] for name in BARCODE}, BARCODE)
    except ValueError as error:
        raise DataError(f"{path}: column {error}; particles with such numbers cannot be told apart here") from error
    return {"particle_id": ids, **{name: table[name] for name in columns}}


def _momenta(hits_path: Path, particle: Ints) -> NDArray[np.float64]:
    """(n, 3) momentum of the particle of each hit, 0 where there is none."""
    path = required(particles_of(hits_path), f"the momentum of each particle (so may {', '.join(PARTICLES[1:])})")
    table = sorted_by(_with_barcodes(path, MOMENTA), "particle_id", path)
    momentum = np.zeros((len(particle), 3))
    real = particle != 0
    row = rows_of(table["particle_id"], particle[real], path, "particle_id", hits_path)
    momentum[real] = np.stack([table[name][row] for name in MOMENTA], axis=1)
    return momentum
