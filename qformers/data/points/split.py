"""`PointSplit`: one split of a data set of points, as a whole or as a stream of shuffled batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qformers.data.cache import ArrayCache
from qformers.data.clouds import POINT_FIELDS, PointCloud, PointEvents, PointLayout, stack
from qformers.data.events import FeatureSet
from qformers.data.points.readers import PointReader
from qformers.data.split import of_split
from qformers.data.stream import Prefetch, refuse_batch_size
from qformers.errors import DataError
from qformers.progress import Reporter, Silent

CACHED = (*POINT_FIELDS, "lengths", "events")  # points of all clouds of a file, one after the other; and of each cloud


@dataclass(frozen=True)
class PointOptions:
    """How a split is put into arrays.

    Attributes:
        num_points: N, slots per cloud.
        overflow: what happens to a cloud of more points: ``refuse`` or ``cut``.
        max_files: files used at most, the first ones; None = all.
        cache: folder of decoded events; None = decode each time.
        shuffle_clouds: clouds mixed in memory at a time (bounds the memory of a stream).
    """

    num_points: int
    overflow: Literal["refuse", "cut"] = "refuse"
    max_files: int | None = None
    cache: Path | None = None
    shuffle_clouds: int = 2000


def feature_set_of(layout: PointLayout) -> FeatureSet:
    """Names of the features; their standardisation is the readers' own."""
    names, size = layout.features, len(layout.features)
    return FeatureSet(names, (0.0,) * size, (1.0,) * size, (-np.inf,) * size, (np.inf,) * size)


class PointSplit:
    """Clouds of one split.

    Memory: one file and `shuffle_clouds` clouds without padding while streaming; `load` holds all of them, padded.
    """

    def __init__(
        self,
        reader: PointReader,
        paths: Sequence[Path],
        options: PointOptions,
        split: str = "data",
        reporter: Reporter | None = None,
    ) -> None:
        """
        Args:
            reader: knows the files.
            paths: files of the split, in order.
            options: see `PointOptions`.
            split: its name, for messages.
            reporter: told how far loading is.

        Raises:
            DataError: no file, or numbers that must be positive are not.
        """
        self.layout = reader.layout
        self.class_names = reader.layout.classes
        self.options = options
        self.paths = tuple(paths)[: options.max_files]
        self._reader = reader
        self._split = split
        self._reporter = reporter or Silent()
        self._cache = ArrayCache(options.cache, reader.key(), CACHED) if options.cache else None
        if not self.paths:
            raise DataError(f"data.{split}: no file; name some, or make them with qformers generate tracks")
        if options.num_points < 1 or options.shuffle_clouds < 1:
            raise DataError(
                f"data.{split}: num_points and shuffle_clouds must be positive. Received: "
                f"num_points={options.num_points}, shuffle_clouds={options.shuffle_clouds}"
            )

    @property
    def feature_set(self) -> FeatureSet:
        """Names of the features; their standardisation is the readers' own."""
        return feature_set_of(self.layout)

    def __len__(self) -> int:
        """Clouds of the split; nothing is read for it."""
        return len(self.paths) * self._reader.per_file

    def clouds(self, path: Path) -> list[PointCloud]:
        """The clouds of one file, from the cache where there is one."""
        if self._cache is None:
            return self._read(path)
        others = [other for other in self._reader.sources(path) if other != path]
        folder = self._cache.folder(path, self._reader.per_file, others)
        if self._cache.valid(folder, self._reader.per_file):
            return _unpacked(self._cache.read(folder), self.layout)
        clouds = self._read(path)
        self._cache.write(path, folder, [_packed(clouds)], len(clouds), None)
        return clouds

    def _read(self, path: Path) -> list[PointCloud]:
        """The clouds of a file, none of them larger than there are slots."""
        with of_split(self._split):
            clouds = self._reader.read(path)
            widest = max(map(len, clouds), default=0)
            if widest > self.options.num_points and self.options.overflow == "refuse":
                raise DataError(
                    f"{path}: has more points than slots: raise data.num_particles, cut the event into regions "
                    f"(data.points.phi_sectors, eta_edges), or take too_many: cut. Received: {widest} points, "
                    f"num_points={self.options.num_points}"
                )
        return clouds

    def load(self) -> PointEvents:
        """All clouds, in the order of the files.

        Raises:
            DataError: a file cannot be used, or a cloud does not fit.
        """
        clouds, tick = [], self._reporter.task(f"load {self._split}", len(self.paths))
        for path in self.paths:
            clouds += self.clouds(path)
            tick()
        return self._stacked(clouds)

    def stream(self, batch_size: int, seed: int, epoch: int, drop_last: bool = True) -> Prefetch[PointEvents]:
        """Batches of one epoch, each cloud exactly once, in an order that depends on (seed, epoch) alone.

        Args:
            batch_size: clouds per batch.
            seed: of the training.
            epoch: its number, counted from 0.
            drop_last: leave out the last batch when it is shorter.

        Raises:
            DataError: fewer clouds than one batch; from the iterator: a file cannot be used, a cloud does not fit.
        """
        refuse_batch_size(batch_size, len(self), drop_last, f"data.{self._split}: has {len(self)} events or regions")
        return Prefetch(lambda: self._batches(batch_size, np.random.default_rng([seed, epoch]), drop_last))

    def _batches(self, batch_size: int, rng: np.random.Generator, drop_last: bool) -> Iterator[PointEvents]:
        waiting: list[PointCloud] = []
        for cloud in self._mixed(rng):
            waiting.append(cloud)
            if len(waiting) == batch_size:
                yield self._stacked(waiting)
                waiting = []
        if waiting and not drop_last:
            yield self._stacked(waiting)

    def _mixed(self, rng: np.random.Generator) -> Iterator[PointCloud]:
        """Files in random order; their clouds leave a pool of `shuffle_clouds` at random."""
        pool: list[PointCloud] = []
        for i in rng.permutation(len(self.paths)):
            for cloud in self.clouds(self.paths[i]):
                if len(pool) < self.options.shuffle_clouds:
                    pool.append(cloud)
                    continue
                place = int(rng.integers(len(pool)))
                chosen, pool[place] = pool[place], cloud
                yield chosen
        for i in rng.permutation(len(pool)):
            yield pool[i]

    def _stacked(self, clouds: list[PointCloud]) -> PointEvents:
        with of_split(self._split):
            return stack(clouds, self.options.num_points, self.options.overflow)


def _packed(clouds: list[PointCloud]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {
        name: np.concatenate([getattr(cloud, name) for cloud in clouds]) for name in POINT_FIELDS
    }
    return {
        **arrays,
        "lengths": np.array([len(cloud) for cloud in clouds]),
        "events": np.array([cloud.event for cloud in clouds]),
    }


def _unpacked(arrays: dict[str, NDArray[Any]], layout: PointLayout) -> list[PointCloud]:
    ends = np.cumsum(arrays["lengths"])
    return [
        PointCloud(**{name: arrays[name][end - length : end] for name in POINT_FIELDS}, event=int(event), layout=layout)
        for end, length, event in zip(ends, arrays["lengths"], arrays["events"], strict=True)
    ]
