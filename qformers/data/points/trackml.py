"""Reader of TrackML events: hits, truth and particles, with the cells and modules where the features need them.

Files of an event: ``event000001000-hits.csv`` (or ``.csv.gz``) with ``-truth``, ``-particles`` and ``-cells`` beside
it; ``detectors.csv`` in the same folder or one above. Our generator adds ``-vertices`` (particle_id, vertex_id).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import PointCloud, PointLayout
from qformers.data.points import hit_features
from qformers.data.points.csv_table import FLOAT, INT, Columns, Table, names_of, read_table
from qformers.data.points.hit_cloud import Hits, hit_cloud, layer_index, refuse_none_chosen, refuse_places
from qformers.data.points.joins import required, rows_of, sorted_by
from qformers.data.points.options import require_known
from qformers.errors import DataError

Ints = NDArray[np.int64]


def even(count: int) -> tuple[int, ...]:
    """2, 4, 6, ...: numbers of `count` layers; odd ones are the gaps between them."""
    return tuple(range(2, 2 * count + 1, 2))


PIXEL_VOLUMES = {7: even(7), 8: even(4), 9: even(7)}  # volume -> its layers
ALL_VOLUMES = PIXEL_VOLUMES | {12: even(6), 13: even(4), 14: even(6), 16: even(6), 17: even(2), 18: even(6)}
LAYERS = {"pixel": PIXEL_VOLUMES, "all": ALL_VOLUMES}
CLASSES = {"tracking": ("noise", "particle"), "pileup": ("pileup", "hard_scatter")}

HITS: Columns = {"hit_id": INT, "x": FLOAT, "y": FLOAT, "z": FLOAT, "volume_id": INT, "layer_id": INT, "module_id": INT}
TRUTH: Columns = {"hit_id": INT, "particle_id": INT}
PARTICLES: Columns = {"particle_id": INT, "px": FLOAT, "py": FLOAT, "pz": FLOAT}
VERTICES: Columns = {"particle_id": INT, "vertex_id": INT}
CELLS: Columns = {"hit_id": INT, "ch0": INT, "ch1": INT, "value": FLOAT}
MODULES: Columns = {"volume_id": INT, "layer_id": INT, "module_id": INT}
MODULES |= dict.fromkeys(("module_t", "pitch_u", "pitch_v"), FLOAT)
MODULES |= {f"rot_{x}{u}": FLOAT for x in "xyz" for u in "uvw"}
TABLES = ("truth", "particles", "vertices", "cells")  # beside the hits of an event
POSITIVE = ("module_t", "pitch_u", "pitch_v")  # mm; ACTS writes -1 where it does not know them
STRAIGHT = 1e-3  # how far the axes of a module may be from unit vectors at right angles
# a module's three numbers are one key of 64 bits, so each has to stay below these
SIZES = {"volume_id": 10**9, "layer_id": 1000, "module_id": 100_000}


@dataclass(frozen=True)
class TrackmlOptions:
    """What is made of the tables.

    Attributes:
        features: ``tracking`` (15, as tracking-6k/60k; needs cells and detectors.csv) or ``place`` (7).
        layers: ``pixel`` (volumes 7-9, layers 0-17) or ``all`` (48 layers).
        task: ``tracking`` (label 1 = of a particle) or ``pileup`` (label 1 = of the hard scatter; generated events).
        noise: keep hits of no particle.
    """

    features: str = "tracking"
    layers: str = "pixel"
    task: Literal["tracking", "pileup"] = "tracking"
    noise: bool = True

    def __post_init__(self) -> None:
        require_known("TrackML has", "data.features", self.features, hit_features.FEATURE_SETS)
        require_known("TrackML has", "data.points.layers", self.layers, LAYERS)
        require_known("TrackML has", "data.points.task", self.task, CLASSES)

    @property
    def layout(self) -> PointLayout:
        """Names of what `read_event` returns."""
        return PointLayout(hit_features.FEATURE_SETS[self.features], hit_features.COORDS, CLASSES[self.task])


def event_number(path: Path) -> int:
    """Number of the event that a hits file belongs to, or a `DataError`."""
    match = re.fullmatch(r"event([0-9]{1,12})-hits\.csv(\.gz)?", path.name)
    if not match:
        raise DataError(f"{path}: an event of TrackML or ACTS is named by its hits, e.g. event000001000-hits.csv")
    return int(match[1])


def beside(hits: Path, table: str) -> Path:
    """Path of another table of the same event."""
    return hits.with_name(hits.name.replace("-hits.csv", f"-{table}.csv"))


def read_event(hits_path: Path, options: TrackmlOptions) -> PointCloud:
    """Read one event; its points are in ascending order of hit_id.

    Reconstructable: of a particle with hits in at least three of the chosen layers.

    Args:
        hits_path: its hits file.
        options: layers, features and task.

    Raises:
        DataError: a file is missing or wrong, ids do not match between files, no hit is left; the message names the
            file.
    """
    number = event_number(hits_path)
    hits, layer, particle = _chosen(hits_path, options)
    momentum, particles_path = _momenta(hits_path, particle)
    labels = particle != 0
    if options.task == "pileup":
        labels &= _of_hard_scatter(hits_path, particle, particles_path)
    clusters = _clusters(hits_path, hits) if options.features == "tracking" else {}
    return hit_cloud(Hits(hits_path, number, hits, layer, particle, momentum, labels), options.layout, clusters)


def sources(hits_path: Path) -> list[Path]:
    """The files that an event is read from, those of them that are there."""
    paths = [hits_path, *(beside(hits_path, table) for table in TABLES), detectors_of(hits_path)]
    return [path for path in paths if path is not None and path.exists()]


def is_trackml(path: Path) -> bool:
    """Whether a file called as hits holds TrackML's columns."""
    return "hit_id" in names_of(path)


def hit_ids(hits_path: Path, options: TrackmlOptions) -> Ints:
    """(n,), hit_id of the points that `read_event` gives, in their order."""
    return np.asarray(_chosen(hits_path, options)[0]["hit_id"])


def _chosen(hits_path: Path, options: TrackmlOptions) -> tuple[Table, Ints, Ints]:
    """Hits by ascending hit_id in the chosen layers, the layer and the particle of each; at least one."""
    hits = _hits(hits_path)
    layer = layer_index(hits["volume_id"], hits["layer_id"], LAYERS[options.layers])
    truth_path = required(beside(hits_path, "truth"), "the particle of each hit")
    truth = sorted_by(read_table(truth_path, TRUTH), "hit_id", truth_path)
    particle = truth["particle_id"][rows_of(truth["hit_id"], hits["hit_id"], truth_path, "hit_id", hits_path)]
    if len(truth["hit_id"]) != len(hits["hit_id"]):
        strange = truth["hit_id"][~np.isin(truth["hit_id"], hits["hit_id"])]
        raise DataError(
            f"{hits_path}: lacks {len(strange)} hits that {truth_path.name} lists, the first is hit_id {strange[0]}; "
            f"is the file cut short? Download or generate both again"
        )
    if (particle < 0).any():
        raise DataError(
            f"{truth_path}: column 'particle_id': must be 0 (noise) or the positive id of a particle; mend it. "
            f"Received: {particle[particle < 0][0]}"
        )
    refuse_none_chosen(hits_path, layer, options.layers, LAYERS[options.layers])
    keep = (layer >= 0) & ((particle != 0) | options.noise)
    if not keep.any():
        raise DataError(
            f"{hits_path}: all of its {int((layer >= 0).sum())} hits in the chosen layers are noise, which is left "
            f"out; leave the event out, or keep noise"
        )
    return {name: values[keep] for name, values in hits.items()}, layer[keep], particle[keep]


def _hits(path: Path) -> Table:
    """The hits by ascending hit_id: at least one, none on the beam axis."""
    if "geometry_id" in (names := names_of(path)) and "hit_id" not in names:
        raise DataError(
            f"{path}: column 'hit_id' is missing and 'geometry_id' is there: these are simulated hits of ACTS, which "
            f"data.dataset: acts_odd or acts_generic reads"
        )
    hits = sorted_by(read_table(path, HITS), "hit_id", path)
    refuse_places(path, hits)
    return hits


def _refuse_modules(table: Table, path: Path) -> None:
    for name, size in SIZES.items():
        wrong = (table[name] < 0) | (table[name] >= size)
        if wrong.any():
            raise DataError(f"{path}: column '{name}': must be 0 to {size - 1}. Received: {table[name][wrong][0]}")


def detectors_of(hits: Path) -> Path | None:
    """The table of modules that belongs to an event: beside its hits or in the folder above, packed or not."""
    folders = (hits.parent, hits.parent.parent)
    names = ("detectors.csv", "detectors.csv.gz")
    return next((path for folder in folders for name in names if (path := folder / name).exists()), None)


def _momenta(hits_path: Path, particle: Ints) -> tuple[NDArray[np.float64], Path]:
    """(hits, 3) momentum of the particle of each hit, 0 for noise."""
    path = required(beside(hits_path, "particles"), "the momentum of each particle")
    table = sorted_by(read_table(path, PARTICLES), "particle_id", path)
    momentum = np.zeros((len(particle), 3))
    real = particle != 0
    row = rows_of(table["particle_id"], particle[real], path, "particle_id", beside(hits_path, "truth"))
    momentum[real] = np.stack([table[name][row] for name in ("px", "py", "pz")], axis=1)
    return momentum, path


def _of_hard_scatter(hits_path: Path, particle: Ints, particles_path: Path) -> NDArray[np.bool_]:
    path = beside(hits_path, "vertices")
    if not path.exists():
        raise DataError(
            f"{path} is missing: TrackML's own events do not tell pile-up from the hard scatter; take events of "
            f"qformers generate tracks, or task: tracking"
        )
    table = sorted_by(read_table(path, VERTICES), "particle_id", path)
    result = np.zeros(len(particle), bool)
    real = particle != 0
    row = rows_of(table["particle_id"], particle[real], path, "particle_id", particles_path)
    result[real] = table["vertex_id"][row] == 0
    return result


def _clusters(hits_path: Path, hits: Table) -> dict[str, NDArray[np.float64]]:
    way_out = "what the cluster features are made of; add it, or take features: place"
    cells_path = required(beside(hits_path, "cells"), way_out)
    modules_path = detectors_of(hits_path)
    if modules_path is None:
        raise DataError(
            f"{hits_path.parent}: detectors.csv is missing here and in the folder above (so is detectors.csv.gz): it "
            f"holds {way_out}"
        )
    cells, modules = read_table(cells_path, CELLS), _modules(required(modules_path, way_out))
    _refuse_modules(hits, hits_path)
    cells = {name: values[np.isin(cells["hit_id"], hits["hit_id"])] for name, values in cells.items()}
    rows_of(np.unique(cells["hit_id"]), hits["hit_id"], cells_path, "hit_id", hits_path)
    strange = ~np.isin(_key(hits), modules["key"])
    if strange.any():
        count = len(np.unique(_key(hits)[strange]))
        raise DataError(
            f"{modules_path}: column 'module_id': lacks {count} ids of modules that were hit, the first is "
            f"{_words(hits, strange)} (hit_id {hits['hit_id'][strange][0]} of {hits_path.name}); take the file that "
            f"belongs to these events"
        )
    row = np.searchsorted(modules["key"], _key(hits))
    return hit_features.cluster(hits, cells, modules, row)


def _key(table: Table) -> Ints:
    return (table["volume_id"] * 1000 + table["layer_id"]) * 100_000 + table["module_id"]


def _modules(path: Path) -> Table:
    """The table of modules, read again when the file has changed."""
    stat = path.stat()
    return _read_modules(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _read_modules(path: Path, size: int, changed_ns: int) -> Table:
    """Modules by ascending ``key``; size and time of change are there to tell one content of the file from another."""
    table = read_table(path, MODULES)
    _refuse_modules(table, path)
    table = {**table, "key": _key(table)}
    order = np.argsort(table["key"], kind="stable")
    table = {name: values[order] for name, values in table.items()}
    twice = np.append(np.diff(table["key"]) == 0, False)
    if twice.any():
        raise DataError(
            f"{path}: a module must be there once; drop one of the lines. Received: {_words(table, twice)} twice"
        )
    _refuse_shapes(table, path)
    return table


def _words(table: Table, chosen: NDArray[np.bool_]) -> str:
    """The first chosen row as its three numbers, e.g. ``volume_id 8, layer_id 2, module_id 1``."""
    return ", ".join(f"{name} {table[name][chosen][0]}" for name in SIZES)


def _refuse_shapes(table: Table, path: Path) -> None:
    """Raise for modules without thickness or pitch, or whose axes are not unit vectors at right angles."""
    for name in POSITIVE:
        wrong = table[name] <= 0
        if wrong.any():
            raise DataError(
                f"{path}: column '{name}': must be positive, in mm; take the file that belongs to these events, or "
                f"features: place, which need none. Received: {table[name][wrong][0]:g} of {_words(table, wrong)}"
            )
    turn = hit_features.rotations(table)
    skew = np.abs(np.einsum("mij,mik->mjk", turn, turn) - np.eye(3)).max(axis=(1, 2)) > STRAIGHT
    if skew.any():
        raise DataError(
            f"{path}: columns 'rot_xu' to 'rot_zw' must hold unit vectors at right angles; is a column misnamed? Take "
            f"the file that belongs to these events. Received: {_words(table, skew)}, and {int(skew.sum())} in all"
        )
