"""From the columns of an event's hits to its `PointCloud`: what all sets of tracker hits have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import NO_PARTICLE, PointCloud, PointLayout
from qformers.data.jets.standardise import LARGEST
from qformers.data.points import hit_features
from qformers.data.points.csv_table import Table
from qformers.errors import DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FEWEST_LAYERS = 3  # of a reconstructable particle
SMALLEST_RADIUS_MM = 0.01  # a hit nearer to the beam axis has no direction, and lies in no detector


@dataclass(frozen=True)
class Hits:
    """The chosen hits of one event.

    Attributes:
        path: file they come from, for messages.
        event: its number.
        place: columns ``hit_id``, ``x``, ``y`` and ``z`` (mm), (n,) each.
        layer: (n,), from 0.
        particle: (n,), 0 = of none.
        momentum: (n, 3), of the particle, GeV; 0 = of none.
        labels: (n,), whether the hit is of class 1.
    """

    path: Path
    event: int
    place: Table
    layer: Ints
    particle: Ints
    momentum: Floats
    labels: NDArray[np.bool_]


def hit_cloud(hits: Hits, layout: PointLayout, more: dict[str, Floats] | None = None) -> PointCloud:
    """The cloud of an event, its points in the order of the hits.

    Reconstructable: of a particle with hits in at least three of the chosen layers.

    Args:
        hits: see there.
        layout: which columns are features.
        more: columns that do not follow from place and layer, (n,) each.

    Raises:
        DataError: a number made of the tables is not finite or too large.
    """
    columns = {**hit_features.place(hits.place), "layer": hits.layer.astype(np.float64), **(more or {})}
    _refuse_columns(hits.path, hits.place["hit_id"], columns)
    real = hits.particle != 0
    pt = np.where(real, np.hypot(hits.momentum[:, 0], hits.momentum[:, 1]), 0.0)
    return PointCloud(
        features=hit_features.scaled(columns, layout.features),
        coords=hit_features.coordinates(columns),
        labels=hits.labels.astype(np.int64),
        particle_ids=np.where(real, hits.particle, NO_PARTICLE),
        pt=pt.astype(np.float32),
        eta=np.where(real, hit_features.pseudorapidity(pt, hits.momentum[:, 2]), 0.0).astype(np.float32),
        reconstructable=real & (layers_hit(hits.particle, hits.layer) >= FEWEST_LAYERS),
        layers=hits.layer,
        event=hits.event,
        layout=layout,
    )


def layers_hit(particle: Ints, layer: Ints) -> Ints:
    """(n,), number of distinct layers with hits of the particle of each hit."""
    pairs = np.unique(np.stack([particle, layer], axis=1), axis=0)
    ids, counts = np.unique(pairs[:, 0], return_counts=True)
    return counts[np.searchsorted(ids, particle)] if len(ids) else np.zeros(0, np.int64)


def layer_index(volume: Ints, layer: Ints, volumes: dict[int, tuple[int, ...]]) -> Ints:
    """(n,), number of each hit's layer in the order of volume and layer, from 0; -1 = not among `volumes`.

    Args:
        volume, layer: (n,), as in the files.
        volumes: volume -> its layers.
    """
    index = np.full(len(volume), -1)
    first = 0
    for number, layers in sorted(volumes.items()):
        for place, one in enumerate(layers):
            index[(volume == number) & (layer == one)] = first + place
        first += len(layers)
    return index


def refuse_places(path: Path, table: Table) -> None:
    """Raise for an event without hits, or with one where no detector is.

    Args:
        path: of the hits.
        table: columns ``hit_id``, ``x``, ``y``.
    """
    if not len(table["hit_id"]):
        raise DataError(f"{path}: holds no hit; leave the event out, or download it again")
    at_axis = np.hypot(table["x"], table["y"]) < SMALLEST_RADIUS_MM
    if at_axis.any():
        place = int(np.argmax(at_axis))
        raise DataError(
            f"{path}: hit_id {table['hit_id'][place]} lies on the beam axis, where no detector is; mend or drop it. "
            f"Received: x={table['x'][place]:g}, y={table['y'][place]:g}"
        )


def refuse_none_chosen(path: Path, layer: Ints, layers: str, volumes: dict[int, tuple[int, ...]]) -> None:
    """Raise where no hit (n,) has a layer, -1 = none; `layers` and `volumes` are what was asked for."""
    if not (layer >= 0).any():
        raise DataError(
            f"{path}: none of its hits lies in the layers that data.points.layers: {layers} takes "
            f"(volumes {', '.join(map(str, volumes))}); leave the event out, or take other layers"
        )


def _refuse_columns(path: Path, hit_id: Ints, columns: dict[str, Floats]) -> None:
    """Raise where a number made of the tables is not finite, or so large that float32 loses its square."""
    for name, values in columns.items():
        bad = ~(np.abs(values) <= LARGEST)
        if bad.any():
            raise DataError(
                f"{path}: feature '{name}' of hit_id {hit_id[bad][0]} is {values[bad][0]:g}: its tables hold numbers "
                f"that no detector gives; mend or drop the hit"
            )
