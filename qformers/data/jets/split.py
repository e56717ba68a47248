"""`JetSplit`: one split of a data set of jets, as a whole or as a stream of shuffled batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.cache import ArrayCache, Resident
from qformers.data.events import Events, FeatureSet, Held, Target, no_vectors
from qformers.data.jets.pieces import Piece, batches, empty, interleave, merged, mixed, put
from qformers.data.jets.reader import JetReader
from qformers.data.split import SplitName, of_split, split_files
from qformers.data.stream import Prefetch, picks, refuse_batch_size
from qformers.errors import DataError
from qformers.progress import Reporter, Silent

PIECES_IN_POOL = 64  # the shuffle pool mixes about so many pieces, from as many files as there are
SMALLEST_PIECE, LARGEST_PIECE = 128, 4096
LONGEST_RUN = 8192  # jets decoded at once when a file is read from end to end


@dataclass(frozen=True)
class JetDataset:
    """A data set of jets.

    Attributes:
        reader: knows the files, made from the data section of a build.
        files: patterns of the names of its files.
        known: name of each feature set -> its numbers.
        holds: whether a file is of this data set, by what is in it; other data sets may have files of such names.
        learns: key of `qformers.tasks.TASKS`.
        momenta: whether particles have any; tokens have none, and their vectors take neither memory nor disk.
        coords: numbers of a place that particles have; 0 = none besides what follows from momenta.
        targets: what is to be predicted instead of a class.
    """

    reader: Callable[[DataConfig], JetReader]
    files: tuple[str, ...]
    known: Mapping[str, FeatureSet]
    holds: Callable[[Path], bool] = lambda path: True
    learns: str = "jet_tagging"
    momenta: bool = True
    coords: int = 0
    targets: tuple[Target, ...] = ()

    @property
    def held(self) -> Held:
        """The arrays of its events."""
        return Held(self.momenta, self.coords, len(self.targets))

    @property
    def feature_sets(self) -> Mapping[str, int]:
        """Name of each feature set -> numbers per particle."""
        return {name: len(numbers.names) for name, numbers in self.known.items()}

    @property
    def unit(self) -> str:
        """See `Dataset.unit`."""
        return self.held.unit

    def open(self, config: DataConfig, split: SplitName, reporter: Reporter | None = None) -> JetSplit:
        """One split of the data set.

        Raises:
            DataError: an unknown feature set or class, a section `points`, a file that cannot be used, no jet.
        """
        return JetSplit(config, self._reader_of(config), split_files(config, split), split, reporter, self.held)

    def numbers(self, config: DataConfig) -> tuple[FeatureSet, tuple[str, ...]]:
        """See `Dataset.numbers`."""
        reader = self._reader_of(config)
        return reader.feature_set, reader.class_names

    def _reader_of(self, config: DataConfig) -> JetReader:
        if config.points is not None:
            raise DataError(
                f"data.points: '{config.dataset}' is a data set of jets, which has no points; leave the section out. "
                f"Received: points with task {config.points.task}"
            )
        return self.reader(config)

    def task(self, config: DataConfig) -> str:
        """The one that its labels are for."""
        return self.learns


@dataclass(frozen=True)
class FilePlan:
    """What of a file is used: its pieces cut down to max_jets."""

    path: Path
    pieces: tuple[Piece, ...]

    @property
    def jets(self) -> int:
        """Jets used of this file."""
        return sum(piece.jets for piece in self.pieces)


class JetSplit:
    """Jets of one split.

    A split that fits in `shuffle_jets` is decoded once and kept; a larger one is read piece by piece in every epoch
    (from the cache where there is one), with at most `shuffle_jets` jets and a few batches in memory. A cache pays:
    without one, each piece decompresses every basket or chunk of the file that it touches.
    """

    def __init__(
        self,
        config: DataConfig,
        reader: JetReader,
        paths: Sequence[Path],
        split: str = "data",
        reporter: Reporter | None = None,
        held: Held | None = None,
    ) -> None:
        """
        Args:
            config: the data section of a build.
            reader: knows the files.
            paths: files of the split, in order.
            split: its name, for messages.
            reporter: told how far counting, decoding and loading are.
            held: the arrays of the events; None = momenta and classes.

        Raises:
            DataError: a file cannot be used, or no jet is left.
        """
        self.class_names = reader.class_names
        self.feature_set = reader.feature_set
        self.paths = tuple(paths)
        self._config = config
        self._reader = reader
        self._split = split
        self._reporter = reporter or Silent()
        self._held = held or Held()
        self._resident = Resident(self._load)
        self._folders = Resident(self._decoded_files)  # source file -> its decoded form
        key = f"{config.dataset}|{config.features}|{config.num_particles}|{config.padding}|{config.classes}"
        key = f"{key}|{self.class_names}|{self.feature_set}"
        key = f"{key}|{config.labels}" if config.labels else key  # without, caches of before there were labels fit
        self._cache = ArrayCache(Path(config.cache), key, tuple(self._held.dtypes)) if config.cache else None
        self._plans = self._plan()
        self._jets = sum(plan.jets for plan in self._plans)
        if not self._jets:
            wanted = f" of the classes {', '.join(self.class_names)}" if config.classes else ""
            one = self._held.unit.removesuffix("s")
            raise DataError(f"data.{split}: no {one}{wanted} in {len(self.paths)} files, the first is {self.paths[0]}")

    def __len__(self) -> int:
        """Jets of the split, after the choice of classes and max_jets."""
        return self._jets

    def load(self) -> Events:
        """All jets, in the order of the files.

        Raises:
            DataError: a file cannot be used.
        """
        return self._resident.value()

    def stream(self, batch_size: int, seed: int, epoch: int, drop_last: bool = True) -> Prefetch[Events]:
        """Batches of one epoch, each jet exactly once, in an order that depends on (seed, epoch) alone.

        Args:
            batch_size: jets per batch.
            seed: of the training.
            epoch: its number, counted from 0.
            drop_last: leave out the last batch when it is shorter.

        Raises:
            DataError: fewer jets than one batch; from the iterator: a file cannot be used.
        """
        refuse_batch_size(batch_size, len(self), drop_last, f"data.{self._split}: has {len(self)} jets")
        return Prefetch(lambda: self._epoch(batch_size, np.random.default_rng([seed, epoch]), drop_last))

    def _epoch(self, batch_size: int, rng: np.random.Generator, drop_last: bool) -> Iterator[Events]:
        if len(self) <= self._config.shuffle_jets:
            resident = self._resident.kept()
            for pick in picks(len(self), batch_size, rng, drop_last):
                yield resident[pick]
            return
        self._prepare_cache()
        pool = self._empty(self._config.shuffle_jets)
        pieces = interleave([piece for plan in self._plans for piece in plan.pieces], rng)
        runs = mixed((self._read(piece) for piece in pieces), pool, rng)
        yield from batches(runs, batch_size, drop_last)

    def _load(self) -> Events:
        self._prepare_cache()
        events = self._empty(len(self))
        row, tick = 0, self._reporter.task(f"load {self._split}", len(self))
        for plan in self._plans:
            for piece in self._runs(plan):
                put(events, slice(row, row + piece.jets), self._read(piece))
                row += piece.jets
                tick(piece.jets)
        return events

    def _empty(self, jets: int) -> Events:
        return empty(jets, self._config.num_particles, self.class_names, self.feature_set, self._held)

    def _runs(self, plan: FilePlan) -> Iterator[Piece]:
        return merged(plan.pieces, min(LONGEST_RUN, self._config.shuffle_jets))

    def _read(self, piece: Piece) -> Events:
        if self._cache is not None:
            arrays = self._cache.read(self._folders.kept()[piece.path], piece.row, piece.jets)
            if not self._held.momenta:
                arrays["vectors"] = no_vectors(piece.jets, self._config.num_particles)
            return Events(**arrays, class_names=self.class_names, feature_set=self.feature_set)
        return self._decode(piece)

    def _decode(self, piece: Piece) -> Events:
        with of_split(self._split):
            events = self._reader.read(piece.path, piece.start, piece.stop)
        if len(events) < piece.jets:
            raise DataError(
                f"{piece.path}: has changed while it was being used, {len(events)} jets instead of {piece.jets}"
            )
        return events[: piece.jets]

    def _prepare_cache(self) -> None:
        if self._cache is not None:
            self._folders.kept()

    def _decoded_files(self) -> dict[Path, Path]:
        """Check the decoded form of every file and make what is missing, cut short or damaged."""
        folders: dict[Path, Path] = {}
        tick = self._reporter.task(f"decode {self._split}", len(self))
        for plan in self._plans:
            if self._cache is not None:
                folder = folders[plan.path] = self._cache.folder(plan.path, plan.jets)
                if not self._cache.valid(folder, plan.jets):
                    blocks = (self._stored(self._decode(piece)) for piece in self._runs(plan))
                    self._cache.write(plan.path, folder, blocks, plan.jets, plan.jets)
            tick(plan.jets)
        return folders

    def _stored(self, events: Events) -> dict[str, NDArray[Any]]:
        return {name: np.asarray(getattr(events, name), dtype) for name, dtype in self._held.dtypes.items()}

    def _plan(self) -> list[FilePlan]:
        """Count the kept jets of every file and share max_jets among the files."""
        size = min(max(self._config.shuffle_jets // PIECES_IN_POOL, SMALLEST_PIECE), LARGEST_PIECE)
        size = min(size, self._config.shuffle_jets)
        counted: list[list[tuple[int, int, int]]] = []  # per file: start, stop, kept jets
        tick = self._reporter.task(f"count {self._split}", len(self.paths))
        for path in self.paths:
            with of_split(self._split):
                kept = self._reader.kept(path)
            tick()
            starts = range(0, len(kept), size)
            counted.append([(i, min(i + size, len(kept)), int(kept[i : i + size].sum())) for i in starts])
        shares = share([sum(jets for _, _, jets in file) for file in counted], self._config.max_jets)
        return [_cut(path, file, jets) for path, file, jets in zip(self.paths, counted, shares, strict=True) if jets]


def _cut(path: Path, file: list[tuple[int, int, int]], jets: int) -> FilePlan:
    pieces: list[Piece] = []
    row = 0
    for start, stop, kept in file:
        taken = min(kept, jets - row)
        if taken:
            pieces.append(Piece(path, start, stop, row, taken))
            row += taken
    return FilePlan(path, tuple(pieces))


def share(counts: Sequence[int], limit: int | None) -> list[int]:
    """Jets taken of each file so that the sum is `limit`: the first ones of every file, as evenly as the files allow.

    A plain "first max_jets jets" would see one class only where every file holds one class.
    """
    if limit is None or limit >= sum(counts):
        return list(counts)
    taken = [0] * len(counts)
    left = limit
    # smallest files first: what they cannot give is shared among the larger ones
    for done, i in enumerate(sorted(range(len(counts)), key=lambda i: counts[i])):
        taken[i] = min(counts[i], -(-left // (len(counts) - done)))
        left -= taken[i]
    return taken
