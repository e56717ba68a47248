"""`PointCloud`, one event of any number of points, and `PointEvents`, a batch of them padded to one size.

The per-point counterpart of `qformers.data.events.Events`: the label, the particle and the momentum belong to a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qformers.errors import DataError

NO_PARTICLE = -1  # particle id of noise, fakes and padding; TrackML's 0 is translated
Index = slice | NDArray[np.int64] | NDArray[np.bool_]


@dataclass(frozen=True)
class PointLayout:
    """What the numbers of a point are, in order."""

    features: tuple[str, ...]
    coords: tuple[str, ...]
    classes: tuple[str, ...]  # of the per-point label
    only_reconstructable: bool = False  # whether the label is judged of the reconstructable points alone, else of all


@dataclass(frozen=True)
class PointCloud:
    """One event (or a region of one): n points, F features, C coordinates."""

    features: NDArray[np.float32]  # (n, F)
    coords: NDArray[np.float32]  # (n, C)
    labels: NDArray[np.int64]  # (n,), index into layout.classes
    particle_ids: NDArray[np.int64]  # (n,), NO_PARTICLE = of no particle
    pt: NDArray[np.float32]  # (n,), of the particle, GeV; 0 = of no particle
    eta: NDArray[np.float32]  # (n,), of the particle's momentum; 0 = of no particle
    reconstructable: NDArray[np.bool_]  # (n,), whether its particle counts in metrics and as a positive pair
    layers: NDArray[np.int64]  # (n,), detector layer, from 0
    event: int  # its number in the data set
    layout: PointLayout

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Index) -> PointCloud:
        """The points picked by a slice, indices or a boolean mask."""
        return replace(self, **{name: getattr(self, name)[index] for name in POINT_FIELDS})


POINT_FIELDS = ("features", "coords", "labels", "particle_ids", "pt", "eta", "reconstructable", "layers")
_PADDING = {"particle_ids": NO_PARTICLE, "layers": -1}  # others are padded with 0 (False)


@dataclass(frozen=True)
class PointEvents:
    """Events in memory: n events, N point slots."""

    features: NDArray[np.float32]  # (n, N, F); padded slots zero
    coords: NDArray[np.float32]  # (n, N, C); padded slots zero
    mask: NDArray[np.float32]  # (n, N), 1 = a point, 0 = padding
    labels: NDArray[np.int64]  # (n, N), index into layout.classes; padding 0
    particle_ids: NDArray[np.int64]  # (n, N), NO_PARTICLE = of no particle, or padding
    pt: NDArray[np.float32]  # (n, N), GeV
    eta: NDArray[np.float32]  # (n, N)
    reconstructable: NDArray[np.bool_]  # (n, N)
    layers: NDArray[np.int64]  # (n, N); padding -1
    events: NDArray[np.int64]  # (n,), number of each in the data set
    layout: PointLayout

    def __len__(self) -> int:
        return len(self.events)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the per-point labels."""
        return self.layout.classes

    def __getitem__(self, index: Index) -> PointEvents:
        """Events picked by a slice, indices or a boolean mask."""
        return replace(self, **{name: getattr(self, name)[index] for name in (*POINT_FIELDS, "mask", "events")})

    def same_as(self, other: PointEvents) -> bool:
        """Whether these are the same events, number by number."""
        names = (*POINT_FIELDS, "mask", "events")
        same = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)
        return self.layout == other.layout and same

    def cloud(self, row: int) -> PointCloud:
        """Event `row` without its padding."""
        real = self.mask[row] > 0
        points = {name: getattr(self, name)[row][real] for name in POINT_FIELDS}
        return PointCloud(**points, event=int(self.events[row]), layout=self.layout)


def stack(
    clouds: Sequence[PointCloud], num_points: int | None = None, overflow: Literal["refuse", "cut"] = "refuse"
) -> PointEvents:
    """Pad events to one number of points.

    Args:
        clouds: events of one layout.
        num_points: N; None = those of the largest event.
        overflow: what happens to an event of more points: an error, or only its first N are kept.

    Raises:
        DataError: no event, different layouts, an event of more than `num_points` points.
    """
    if not clouds:
        raise DataError("no event to stack: give at least one")
    layout = clouds[0].layout
    for cloud in clouds:
        if cloud.layout != layout:
            raise DataError(f"event {cloud.event} has another layout. Received: {cloud.layout}, wanted: {layout}")
    size = max(len(cloud) for cloud in clouds) if num_points is None else num_points
    widest = max(clouds, key=len)
    if len(widest) > size and overflow == "refuse":
        raise DataError(
            f"event {widest.event} has more points than slots: raise num_points, cut the event into regions, or allow "
            f"it to be cut. Received: {len(widest)} points, num_points={size}"
        )
    arrays = {}
    for name in POINT_FIELDS:
        parts = [getattr(cloud, name)[:size] for cloud in clouds]
        padded = np.full((len(parts), size, *parts[0].shape[1:]), _PADDING.get(name, 0), parts[0].dtype)
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = part
        arrays[name] = padded
    lengths = np.array([min(len(cloud), size) for cloud in clouds])
    mask = (np.arange(size)[None, :] < lengths[:, None]).astype(np.float32)
    return PointEvents(**arrays, mask=mask, events=np.array([cloud.event for cloud in clouds]), layout=layout)


def joined(parts: Sequence[PointEvents]) -> PointEvents:
    """Batches of one layout and one N as one batch."""
    names = (*POINT_FIELDS, "mask", "events")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **arrays)
