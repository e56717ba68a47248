"""`Source`: one split of a data set, as a whole or as a stream of shuffled batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from tqdm import tqdm

from qformers.config.sections import DataConfig
from qformers.data.events import Events
from qformers.data.jets.cache import Cache
from qformers.data.jets.reader import Reader
from qformers.data.stream import Piece, Prefetch, batches, empty, interleave, merged, mixed, put, refuse_batch_size
from qformers.errors import DataError

PIECES_IN_POOL = 64  # the shuffle pool mixes about so many pieces, from as many files as there are
SMALLEST_PIECE, LARGEST_PIECE = 128, 4096
LONGEST_RUN = 8192  # jets decoded at once when a file is read from end to end


@dataclass(frozen=True)
class Plan:
    """What of a file is used: its pieces cut down to max_jets."""

    path: Path
    pieces: tuple[Piece, ...]

    @property
    def jets(self) -> int:
        """Jets used of this file."""
        return sum(piece.jets for piece in self.pieces)


class Source:
    """Jets of one split.

    A split that fits in `shuffle_jets` is decoded once and kept; a larger one is read piece by piece in every epoch
    (from the cache where there is one), with at most `shuffle_jets` jets and a few batches in memory. A cache pays:
    without one, each piece decompresses every basket or chunk of the file that it touches.
    """

    def __init__(self, config: DataConfig, reader: Reader, paths: Sequence[Path], split: str = "data") -> None:
        """
        Args:
            config: the data section of a build.
            reader: knows the files.
            paths: files of the split, in order.
            split: its name, for messages.

        Raises:
            DataError: a file cannot be used, or no jet is left.
        """
        self.class_names = reader.class_names
        self.feature_set = reader.feature_set
        self.paths = tuple(paths)
        self._config = config
        self._reader = reader
        self._split = split
        self._lock = Lock()  # two streams of one source may prepare it at the same time
        self._resident: Events | None = None
        key = f"{config.dataset}|{config.features}|{config.num_particles}|{config.padding}|{config.classes}"
        self._cache = Cache(Path(config.cache), key, self.class_names, self.feature_set) if config.cache else None
        self._folders: dict[Path, Path] | None = None  # source file -> its decoded form, once checked
        self._plans = self._plan()
        self._jets = sum(plan.jets for plan in self._plans)
        if not self._jets:
            wanted = f" of the classes {', '.join(self.class_names)}" if config.classes else ""
            raise DataError(f"data.{split}: no jet{wanted} in {len(self.paths)} files, the first is {self.paths[0]}")

    def __len__(self) -> int:
        """Jets of the split, after the choice of classes and max_jets."""
        return self._jets

    def load(self) -> Events:
        """All jets, in the order of the files.

        Raises:
            DataError: a file cannot be used.
        """
        with self._lock:
            return self._load()

    def stream(self, batch_size: int, seed: int, epoch: int, drop_last: bool = True) -> Prefetch:
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
        runs: Iterator[Events]
        if len(self) <= self._config.shuffle_jets:
            with self._lock:
                if self._resident is None:
                    self._resident = self._load()
            order = rng.permutation(len(self))
            resident = self._resident
            runs = (resident[order[i : i + batch_size]] for i in range(0, len(order), batch_size))
        else:
            with self._lock:
                self._prepare_cache()
            pool = empty(self._config.shuffle_jets, self._config.num_particles, self.class_names, self.feature_set)
            pieces = interleave([piece for plan in self._plans for piece in plan.pieces], rng)
            runs = mixed((self._read(piece) for piece in pieces), pool, rng)
        yield from batches(runs, batch_size, drop_last)

    def _load(self) -> Events:
        if self._resident is not None:
            return self._resident
        self._prepare_cache()
        events = empty(len(self), self._config.num_particles, self.class_names, self.feature_set)
        row = 0
        with tqdm(total=len(self), desc=f"load {self._split}", unit="jet", unit_scale=True, disable=None) as bar:
            for plan in self._plans:
                for piece in self._runs(plan):
                    put(events, slice(row, row + piece.jets), self._read(piece))
                    row += piece.jets
                    bar.update(piece.jets)
        return events

    def _runs(self, plan: Plan) -> Iterator[Piece]:
        return merged(plan.pieces, min(LONGEST_RUN, self._config.shuffle_jets))

    def _read(self, piece: Piece) -> Events:
        if self._cache is not None and self._folders is not None:
            return self._cache.read(self._folders[piece.path], piece.row, piece.jets)
        return self._decode(piece)

    def _decode(self, piece: Piece) -> Events:
        events = self._reader.read(piece.path, piece.start, piece.stop)
        if len(events) < piece.jets:
            raise DataError(
                f"{piece.path}: has changed while it was being used, {len(events)} jets instead of {piece.jets}"
            )
        return events[: piece.jets]

    def _prepare_cache(self) -> None:
        """Check the decoded form of every file and make what is missing, cut short or damaged."""
        if self._cache is None or self._folders is not None:
            return
        cache = self._cache
        folders = {}
        with tqdm(total=len(self), desc=f"decode {self._split}", unit="jet", unit_scale=True, disable=None) as bar:
            for plan in self._plans:
                folder = folders[plan.path] = cache.folder(plan.path, plan.jets)
                if not cache.valid(folder, plan.jets):
                    cache.write(plan.path, folder, (self._decode(piece) for piece in self._runs(plan)), plan.jets)
                bar.update(plan.jets)
        self._folders = folders

    def _plan(self) -> list[Plan]:
        """Count the kept jets of every file and share max_jets among the files."""
        size = min(max(self._config.shuffle_jets // PIECES_IN_POOL, SMALLEST_PIECE), LARGEST_PIECE)
        size = min(size, self._config.shuffle_jets)
        counted: list[list[tuple[int, int, int]]] = []  # per file: start, stop, kept jets
        for path in tqdm(self.paths, desc=f"count {self._split}", unit="file", disable=None, leave=False):
            kept = self._reader.kept(path)
            starts = range(0, len(kept), size)
            counted.append([(i, min(i + size, len(kept)), int(kept[i : i + size].sum())) for i in starts])
        shares = share([sum(jets for _, _, jets in file) for file in counted], self._config.max_jets)
        return [_cut(path, file, jets) for path, file, jets in zip(self.paths, counted, shares, strict=True) if jets]


def _cut(path: Path, file: list[tuple[int, int, int]], jets: int) -> Plan:
    pieces: list[Piece] = []
    row = 0
    for start, stop, kept in file:
        taken = min(kept, jets - row)
        if taken:
            pieces.append(Piece(path, start, stop, row, taken))
            row += taken
    return Plan(path, tuple(pieces))


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
