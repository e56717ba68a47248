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

from qformers.data.clouds import NO_PARTICLE, PointCloud, PointLayout
from qformers.data.jets.standardise import LARGEST
from qformers.data.points import hit_features
from qformers.data.points.csv_table import FLOAT, INT, Columns, Table, read_table
from qformers.errors import DataError, nearest
from qformers.files import unreadable

Ints = NDArray[np.int64]

PIXEL_VOLUMES = {7: 7, 8: 4, 9: 7}  # volume -> layers, numbered 2, 4, 6, ...
ALL_VOLUMES = {**PIXEL_VOLUMES, 12: 6, 13: 4, 14: 6, 16: 6, 17: 2, 18: 6}
LAYERS = {"pixel": PIXEL_VOLUMES, "all": ALL_VOLUMES}
FEWEST_LAYERS = 3  # of a reconstructable particle
CLASSES = {"tracking": ("noise", "particle"), "pileup": ("pileup", "hard_scatter")}

HITS: Columns = {"hit_id": INT, "x": FLOAT, "y": FLOAT, "z": FLOAT, "volume_id": INT, "layer_id": INT, "module_id": INT}
TRUTH: Columns = {"hit_id": INT, "particle_id": INT}
PARTICLES: Columns = {"particle_id": INT, "px": FLOAT, "py": FLOAT, "pz": FLOAT}
VERTICES: Columns = {"particle_id": INT, "vertex_id": INT}
CELLS: Columns = {"hit_id": INT, "ch0": INT, "ch1": INT, "value": FLOAT}
MODULES: Columns = {"volume_id": INT, "layer_id": INT, "module_id": INT}
MODULES |= dict.fromkeys(("module_t", "pitch_u", "pitch_v"), FLOAT)
MODULES |= {f"rot_{x}{u}": FLOAT for x in "xyz" for u in "uvw"}
SMALLEST_RADIUS_MM = 0.01  # a hit nearer to the beam axis has no direction, and lies in no detector
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
        for name, known in (("features", hit_features.FEATURE_SETS), ("layers", LAYERS), ("task", CLASSES)):
            value = getattr(self, name)
            if value not in known:
                raise DataError(f"data.{name}: TrackML has no {name} '{value}'{nearest(value, known)}")

    @property
    def layout(self) -> PointLayout:
        """Names of what `read_event` returns."""
        return PointLayout(hit_features.FEATURE_SETS[self.features], hit_features.COORDS, CLASSES[self.task])


def event_number(path: Path) -> int:
    """Number of the event that a hits file belongs to, or a `DataError`."""
    match = re.fullmatch(r"event([0-9]{1,12})-hits\.csv(\.gz)?", path.name)
    if not match:
        raise DataError(f"{path}: a TrackML event is named by its hits, e.g. event000001000-hits.csv")
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
        DataError: a file is missing or wrong, ids do not match between files; the message names the file.
    """
    number = event_number(hits_path)
    hits, layer, particle = _chosen(hits_path, options)
    if not len(layer):
        raise DataError(
            f"{hits_path}: none of its hits lies in the layers that data.points.layers: {options.layers} takes "
            f"(volumes {', '.join(map(str, LAYERS[options.layers]))}); leave the event out, or take other layers"
        )
    momentum, particles_path = _momenta(hits_path, particle)
    columns = {**hit_features.place(hits), "layer": layer.astype(np.float64)}
    if options.features == "tracking":
        columns |= _clusters(hits_path, hits)
    _refuse_columns(hits_path, hits["hit_id"], columns)
    labels = particle != 0
    if options.task == "pileup":
        labels &= _of_hard_scatter(hits_path, particle, particles_path)
    real = particle != 0
    pt = np.where(real, np.hypot(momentum[:, 0], momentum[:, 1]), 0.0)
    return PointCloud(
        features=hit_features.scaled(columns, options.layout.features),
        coords=hit_features.coordinates(columns),
        labels=labels.astype(np.int64),
        particle_ids=np.where(real, particle, NO_PARTICLE),
        pt=pt.astype(np.float32),
        eta=np.where(real, hit_features.pseudorapidity(pt, momentum[:, 2]), 0.0).astype(np.float32),
        reconstructable=real & (layers_hit(particle, layer) >= FEWEST_LAYERS),
        layers=layer,
        event=number,
        layout=options.layout,
    )


def _refuse_columns(path: Path, hit_id: Ints, columns: dict[str, NDArray[np.float64]]) -> None:
    """Raise where a number made of the tables is not finite, or so large that float32 loses its square."""
    for name, values in columns.items():
        bad = ~(np.abs(values) <= LARGEST)
        if bad.any():
            raise DataError(
                f"{path}: feature '{name}' of hit_id {hit_id[bad][0]} is {values[bad][0]:g}: its tables hold numbers "
                f"that no detector gives; mend or drop the hit"
            )


def hit_ids(hits_path: Path, options: TrackmlOptions) -> Ints:
    """(n,), hit_id of the points that `read_event` gives, in their order."""
    return np.asarray(_chosen(hits_path, options)[0]["hit_id"])


def _chosen(hits_path: Path, options: TrackmlOptions) -> tuple[Table, Ints, Ints]:
    """Hits by ascending hit_id in the chosen layers, the layer and the particle of each."""
    hits = _hits(hits_path)
    layer = _layer_index(hits, LAYERS[options.layers])
    truth_path = _required(beside(hits_path, "truth"), "the particle of each hit")
    truth = _sorted(read_table(truth_path, TRUTH), "hit_id", truth_path)
    particle = truth["particle_id"][_rows(truth["hit_id"], hits["hit_id"], truth_path, "hit_id")]
    if len(truth["hit_id"]) != len(hits["hit_id"]):
        strange = truth["hit_id"][~np.isin(truth["hit_id"], hits["hit_id"])]
        raise DataError(
            f"{hits_path}: lacks {len(strange)} hits that {truth_path.name} lists, the first is hit_id {strange[0]}; "
            f"is the file cut short? Download or generate both again"
        )
    keep = (layer >= 0) & ((particle != 0) | options.noise)
    return {name: values[keep] for name, values in hits.items()}, layer[keep], particle[keep]


def _hits(path: Path) -> Table:
    """The hits by ascending hit_id: at least one, none on the beam axis, modules with numbers that can be."""
    hits = _sorted(read_table(path, HITS), "hit_id", path)
    if not len(hits["hit_id"]):
        raise DataError(f"{path}: holds no hit; leave the event out, or download it again")
    at_axis = np.hypot(hits["x"], hits["y"]) < SMALLEST_RADIUS_MM
    if at_axis.any():
        place = int(np.argmax(at_axis))
        raise DataError(
            f"{path}: hit_id {hits['hit_id'][place]} lies on the beam axis, where no detector is; mend or drop it. "
            f"Received: x={hits['x'][place]:g}, y={hits['y'][place]:g}"
        )
    return hits


def _refuse_modules(table: Table, path: Path) -> None:
    for name, size in SIZES.items():
        wrong = (table[name] < 0) | (table[name] >= size)
        if wrong.any():
            raise DataError(f"{path}: column '{name}': must be 0 to {size - 1}. Received: {table[name][wrong][0]}")


def layers_hit(particle: Ints, layer: Ints) -> Ints:
    """(n,), number of distinct layers with hits of the particle of each hit."""
    pairs = np.unique(np.stack([particle, layer], axis=1), axis=0)
    ids, counts = np.unique(pairs[:, 0], return_counts=True)
    return counts[np.searchsorted(ids, particle)] if len(ids) else np.zeros(0, np.int64)


def _required(path: Path, why: str) -> Path:
    if not path.exists():
        raise DataError(f"{path} is missing: it holds {why}")
    if reason := unreadable(path):
        raise DataError(f"{path}: {reason}: it holds {why}")
    return path


def detectors_of(hits: Path) -> Path | None:
    """The table of modules that belongs to an event: beside its hits or in the folder above, packed or not."""
    folders = (hits.parent, hits.parent.parent)
    names = ("detectors.csv", "detectors.csv.gz")
    return next((path for folder in folders for name in names if (path := folder / name).exists()), None)


def _sorted(table: Table, key: str, path: Path) -> Table:
    """A table by ascending, unique key."""
    order = np.argsort(table[key], kind="stable")
    ordered = {name: values[order] for name, values in table.items()}
    same = np.flatnonzero(np.diff(ordered[key]) == 0)
    if len(same):
        raise DataError(f"{path}: column '{key}': must be unique. Received: {ordered[key][same[0]]} twice")
    return ordered


def _rows(known: Ints, wanted: Ints, path: Path, key: str) -> Ints:
    """Rows of the ids `wanted` in the sorted ids `known` of a file."""
    row = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    missing = np.ones(len(wanted), bool) if not len(known) else known[row] != wanted
    if missing.any():
        raise DataError(f"{path}: column '{key}': lacks {int(missing.sum())} ids, the first is {wanted[missing][0]}")
    return row


def _layer_index(hits: Table, volumes: dict[int, int]) -> Ints:
    """(hits,), index of the layer in the order of volume and layer, -1 = not among `volumes`."""
    index = np.full(len(hits["hit_id"]), -1)
    first = 0
    for volume, count in sorted(volumes.items()):
        inside = (hits["volume_id"] == volume) & np.isin(hits["layer_id"], 2 * np.arange(1, count + 1))
        index[inside] = first + hits["layer_id"][inside] // 2 - 1
        first += count
    return index


def _momenta(hits_path: Path, particle: Ints) -> tuple[NDArray[np.float64], Path]:
    """(hits, 3) momentum of the particle of each hit, 0 for noise."""
    path = _required(beside(hits_path, "particles"), "the momentum of each particle")
    table = _sorted(read_table(path, PARTICLES), "particle_id", path)
    momentum = np.zeros((len(particle), 3))
    real = particle != 0
    row = _rows(table["particle_id"], particle[real], path, "particle_id")
    momentum[real] = np.stack([table[name][row] for name in ("px", "py", "pz")], axis=1)
    return momentum, path


def _of_hard_scatter(hits_path: Path, particle: Ints, particles_path: Path) -> NDArray[np.bool_]:
    path = beside(hits_path, "vertices")
    if not path.exists():
        raise DataError(
            f"{path} is missing: TrackML's own events do not tell pile-up from the hard scatter; take events of "
            f"qformers generate tracks, or task: tracking"
        )
    table = _sorted(read_table(path, VERTICES), "particle_id", path)
    result = np.zeros(len(particle), bool)
    real = particle != 0
    result[real] = table["vertex_id"][_rows(table["particle_id"], particle[real], path, "particle_id")] == 0
    return result


def _clusters(hits_path: Path, hits: Table) -> dict[str, NDArray[np.float64]]:
    way_out = "what the cluster features are made of; add it, or take features: place"
    cells_path = _required(beside(hits_path, "cells"), way_out)
    modules_path = detectors_of(hits_path)
    if modules_path is None:
        raise DataError(
            f"{hits_path.parent}: detectors.csv is missing here and in the folder above (so is detectors.csv.gz): it "
            f"holds {way_out}"
        )
    cells, modules = read_table(cells_path, CELLS), _modules(_required(modules_path, way_out))
    _refuse_modules(hits, hits_path)
    cells = {name: values[np.isin(cells["hit_id"], hits["hit_id"])] for name, values in cells.items()}
    _rows(np.unique(cells["hit_id"]), hits["hit_id"], cells_path, "hit_id")
    strange = ~np.isin(_key(hits), modules["key"])
    if strange.any():
        words = ", ".join(f"{name} {hits[name][strange][0]}" for name in SIZES)
        raise DataError(
            f"{modules_path}: column 'module_id': lacks {len(np.unique(_key(hits)[strange]))} ids of modules that were "
            f"hit, the first is {words} (hit_id {hits['hit_id'][strange][0]} of {hits_path.name}); take the file that "
            f"belongs to these events"
        )
    row = np.searchsorted(modules["key"], _key(hits))
    return hit_features.cluster(hits, cells, modules, row)


def _key(table: Table) -> Ints:
    return (table["volume_id"] * 1000 + table["layer_id"]) * 100_000 + table["module_id"]


@lru_cache(maxsize=4)
def _modules(path: Path) -> Table:
    table = read_table(path, MODULES)
    _refuse_modules(table, path)
    return _sorted({**table, "key": _key(table)}, "key", path)
