"""`PointSource`: one split of a per-point data set, as a whole or as a stream of shuffled batches.

The counterpart of `qformers.data.jets.source.Source`: `len`, `load()`, `stream(batch_size, seed, epoch, drop_last)`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from qformers.data.events import FeatureSet
from qformers.data.points.events import POINT_FIELDS, PointCloud, PointEvents, stack
from qformers.data.points.readers import PointReader
from qformers.data.stream import refuse_batch_size
from qformers.errors import DataError
from qformers.files import replacing

CACHE_FORMAT = 1  # raise when the layout or the decoding changes


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


class PointSource:
    """Clouds of one split.

    Memory: one file and `shuffle_clouds` clouds without padding while streaming; `load` holds all of them, padded.
    """

    def __init__(self, reader: PointReader, paths: Sequence[Path], options: PointOptions, split: str = "data") -> None:
        """
        Args:
            reader: knows the files.
            paths: files of the split, in order.
            options: see `PointOptions`.
            split: its name, for messages.

        Raises:
            DataError: no file, or numbers that must be positive are not.
        """
        self.layout = reader.layout
        self.class_names = reader.layout.classes
        self.options = options
        self.paths = tuple(paths)[: options.max_files]
        self._reader = reader
        self._split = split
        if not self.paths:
            raise DataError(f"data.{split}: no file; name some, or make them with scripts/generate_data.py tracks")
        if options.num_points < 1 or options.shuffle_clouds < 1:
            raise DataError(
                f"data.{split}: num_points and shuffle_clouds must be positive. Received: "
                f"num_points={options.num_points}, shuffle_clouds={options.shuffle_clouds}"
            )

    @property
    def feature_set(self) -> FeatureSet:
        """Names of the features; their standardisation is the readers' own."""
        names, size = self.layout.features, len(self.layout.features)
        return FeatureSet(names, (0.0,) * size, (1.0,) * size, (-np.inf,) * size, (np.inf,) * size)

    def __len__(self) -> int:
        """Clouds of the split; nothing is read for it."""
        return len(self.paths) * self._reader.per_file

    def clouds(self, path: Path) -> list[PointCloud]:
        """The clouds of one file, from the cache where there is one."""
        if self.options.cache is None:
            return self._reader.read(path)
        stat = path.stat()
        text = f"{CACHE_FORMAT}|{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{self._reader.key()}"
        name = f"{path.name.split('.')[0]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
        stored = self.options.cache / name
        try:
            return _unpacked(stored, self._reader)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):  # none yet, or cut short
            found = self._reader.read(path)
            _pack(stored, found)
            return found

    def load(self) -> PointEvents:
        """All clouds, in the order of the files.

        Raises:
            DataError: a file cannot be used, or a cloud does not fit.
        """
        paths = tqdm(self.paths, desc=f"load {self._split}", unit="file", disable=None)
        return self._stacked([cloud for path in paths for cloud in self.clouds(path)])

    def stream(self, batch_size: int, seed: int, epoch: int, drop_last: bool = True) -> Iterator[PointEvents]:
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
        return self._batches(batch_size, np.random.default_rng([seed, epoch]), drop_last)

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
        return stack(clouds, self.options.num_points, self.options.overflow)


def _pack(path: Path, clouds: list[PointCloud]) -> None:
    arrays: dict[str, Any] = {name: np.concatenate([getattr(c, name) for c in clouds]) for name in POINT_FIELDS}
    arrays["lengths"] = np.array([len(cloud) for cloud in clouds])
    arrays["events"] = np.array([cloud.event for cloud in clouds])
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _unpacked(path: Path, reader: PointReader) -> list[PointCloud]:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in (*POINT_FIELDS, "lengths", "events")}
    ends = np.cumsum(arrays["lengths"])
    if len(ends) != reader.per_file:
        raise ValueError("made for other regions")
    return [
        PointCloud(
            **{name: arrays[name][end - length : end] for name in POINT_FIELDS}, event=int(event), layout=reader.layout
        )
        for end, length, event in zip(ends, arrays["lengths"], arrays["events"], strict=True)
    ]
