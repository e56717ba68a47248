"""Events that the stages simulate: those of the build, or numbers over the whole range of a model that takes none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hls.errors import HlsError
from hls.proof.adversarial import uniform
from qformers.builds.build import Build
from qformers.builds.nouns import nouns_of
from qformers.builds.own_events import is_own, own_events
from qformers.data import Events, open_split
from qformers.data.clouds import PointEvents, joined
from qformers.data.jets.pieces import join
from qformers.models.inputs import host_inputs, takes_events

SPLITS: tuple[Literal["test", "val", "train"], ...] = ("test", "val", "train")


@dataclass(frozen=True)
class Sample:
    """n events.

    Attributes:
        inputs: model input -> (n, ...).
        jets: the jets, or windows of points, that they were made from; None for a model whose inputs no event of a
            data set gives, such as an imported one.
        source: where they come from, for messages and reports.
        places, of: of a model of one's own: which of the events of its file these are, and how many it has.
    """

    inputs: dict[str, NDArray[np.float32]]
    jets: Events | PointEvents | None
    source: str
    places: NDArray[np.int64] | None = None
    of: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def what(self) -> str:
        """The word for them: jets, sequences, windows or events."""
        if self.jets is None:
            return "events"
        return "windows" if isinstance(self.jets, PointEvents) else self.jets.held.unit


def sample(build: Build, model: Any, wanted: int) -> Sample:
    """`wanted` events for a model: those of the build where it takes them, else numbers drawn over the input formats.

    Args:
        build: data and seed.
        model: a quantised Keras model.
        wanted: how many; fewer if all splits together have fewer.

    Raises:
        HlsError: fewer than one event is wanted.
    """
    if is_own(build):
        return _own_sample(build, model, wanted)
    if takes_events(model):
        jets, splits = load_jets(build, wanted)
        return Sample(host_inputs(model, jets), jets, splits)
    refuse_none(build, wanted)
    return Sample(uniform(model, wanted, build.seed), None, "random over the range of the input formats")


def _own_sample(build: Build, model: Any, wanted: int) -> Sample:
    """Of a model of one's own: from the file that its build names, in random order, or drawn."""
    refuse_none(build, wanted)
    given = own_events(build, model)
    if given is None:
        return Sample(uniform(model, wanted, build.seed), None, "random over the range of the input formats")
    count = len(next(iter(given.values())))
    order = np.random.default_rng(build.seed).permutation(count)[:wanted]
    some = {name: array[order] for name, array in given.items()}
    return Sample(some, None, f"{count} in {build.data.test[0]}", order, count)


def load_jets(build: Build, wanted: int) -> tuple[Any, str]:
    """`wanted` jets of the test split in random order; where it has fewer, of all splits. Second: which splits.

    Of a data set of points, windows (`PointEvents`) instead of jets (`Events`).

    Raises:
        HlsError: fewer than one is wanted.
    """
    refuse_none(build, wanted)
    loaded: list[Any] = [open_split(build.data, "test").load()]
    if len(loaded[0]) < wanted:
        loaded += [open_split(build.data, split).load() for split in SPLITS[1:]]
    every = joined(loaded) if isinstance(loaded[0], PointEvents) else join(loaded)
    order = np.random.default_rng(build.seed).permutation(len(every))[:wanted]
    names = "test split" if len(loaded) == 1 else f"test split has {len(loaded[0])}, so test, val and train"
    return every[order], names


def refuse_none(build: Build, wanted: int) -> None:
    """Refuse what is no number of events.

    Raises:
        HlsError: no whole number, or less than one.
    """
    if not isinstance(wanted, int) or wanted < 1:
        raise HlsError(f"at least one {nouns_of(build).event} is needed: set --events. Received: {wanted!r}")
