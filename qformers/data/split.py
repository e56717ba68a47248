"""`Split`, what a data set hands over, and `Dataset`, what a line of `qformers.data.DATASETS` is.

Streams, caches and shuffling of the two kinds of data are in `qformers.data.jets` and `qformers.data.points`; training,
calibration and metrics know no more of either than stands here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Literal, Protocol

from qformers.config.sections import DataConfig
from qformers.data.clouds import PointEvents
from qformers.data.events import Events, FeatureSet
from qformers.errors import DataError
from qformers.files import unreadable
from qformers.progress import Reporter

SplitName = Literal["train", "val", "test"]
AnyEvents = Events | PointEvents  # jets, or events of points
# name of a data set -> what makes files of its layout here; files of all others come from elsewhere
MADE_JETS = {
    "jetclass": "jets with qformers generate jetclass",
    "hls4ml_lhc": "jets with qformers generate lhc5",
}
MADE_OTHERS = {  # the same of what has no jets and no points
    "listops": "expressions with qformers generate listops",
    "token_rows": "some with qformers generate digits",
    "clusters": "clusters with qformers generate clusters",
}
MADE_EVENTS = {
    "trackml": "events with qformers generate tracks",
    "line_segments": "events with qformers generate tracks, and their segments with qformers generate tracks segments",
    "candidates": "events with qformers generate tracks candidates",
}


class Split(Protocol):
    """One split of a data set, as a whole or as a stream of shuffled batches."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order, or of the numbers that are to be predicted."""

    @property
    def feature_set(self) -> FeatureSet:
        """The F numbers of a particle or point."""

    def __len__(self) -> int:
        """Jets or events in the split."""

    def load(self) -> AnyEvents:
        """All of them, in the order of the files.

        Raises:
            DataError: a file cannot be used.
        """

    def stream(self, batch_size: int, seed: int, epoch: int, drop_last: bool = True) -> Iterator[AnyEvents]:
        """Batches of one epoch, each event exactly once, in an order that depends on (seed, epoch) alone.

        Args:
            batch_size: events per batch.
            seed: of the training.
            epoch: its number, counted from 0.
            drop_last: leave out the last batch when it is shorter.

        Raises:
            DataError: fewer events than one batch; from the iterator: a file cannot be used.
        """


class Dataset(Protocol):
    """A data set: how its files are opened, and what its labels are good for."""

    @property
    def files(self) -> tuple[str, ...]:
        """Patterns of the names of its files of events."""

    @property
    def feature_sets(self) -> Mapping[str, int]:
        """Name of each feature set -> numbers per particle or point."""

    @property
    def unit(self) -> str:
        """The word for its events, for messages: jets, sequences or windows."""

    def open(self, config: DataConfig, split: SplitName, reporter: Reporter | None = None) -> Split:
        """One split; its files (`split_files`) are opened to be counted, nothing is decoded yet.

        Args:
            config: the data section of a build.
            split: which of its three globs.
            reporter: told how far counting, decoding and loading are.

        Raises:
            DataError: settings that do not go with the data set, no file, a file that cannot be used.
        """

    def numbers(self, config: DataConfig) -> tuple[FeatureSet, tuple[str, ...]]:
        """The F numbers of a particle or point, and the names of the classes in label order.

        No file is opened, but for `token_rows` where the build does not name the classes.

        Raises:
            DataError: settings that do not go with the data set.
        """

    def task(self, config: DataConfig) -> str:
        """What a model learns from the labels, a key of `qformers.tasks.TASKS`."""


@contextmanager
def of_split(split: str) -> Iterator[None]:
    """Errors of the block begin with the split, since one file may stand in several.

    Raises:
        DataError: as the block.
    """
    try:
        yield
    except DataError as error:
        if f"data.{split}:" in str(error):
            raise
        raise DataError(f"data.{split}: {error}") from error


def split_files(config: DataConfig, split: SplitName) -> list[Path]:
    """The files that the globs of a split match, in their order.

    Raises:
        DataError: no glob is given, or one matches nothing, or something that is no file which can be read.
    """
    globs: tuple[str, ...] = getattr(config, split)
    if not globs:
        raise DataError(f"data.{split}: no glob is given; name the files, e.g. [data/{split}/*.root]")
    files: dict[Path, None] = {}  # ordered, and each file once even where two globs match it
    for pattern in globs:
        matches = sorted(glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not matches:
            raise DataError(
                f"data.{split}: no file matches '{pattern}' (looked from {Path.cwd()}); correct the glob, or "
                f"{_ways_to_files(config)}"
            )
        files.update(dict.fromkeys(Path(match) for match in matches))
    for path in files:
        if reason := unreadable(path):
            raise DataError(f"data.{split}: {path}: {reason}")
    return list(files)


def _ways_to_files(config: DataConfig) -> str:
    """Where files of a data set come from, in words."""
    made = {**MADE_JETS, **MADE_EVENTS, **MADE_OTHERS}.get(config.dataset)
    if made is not None:
        return f"make {made} (docs/data.md says where public files are)"
    others = MADE_JETS if config.points is None else MADE_EVENTS
    return (
        f"fetch the files: docs/data.md says where those of '{config.dataset}' are, and qformers generate makes none; "
        f"what it makes is read with data.dataset: {' or '.join(others)}"
    )
