"""Events that the stages simulate: jets of the build, or numbers over the whole range of a model that takes no jets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hls.adversarial import uniform
from hls.errors import HlsError
from qformers.config import Build
from qformers.data import Events, open_split
from qformers.models.inputs import host_inputs, takes_events

SPLITS: tuple[Literal["test", "val", "train"], ...] = ("test", "val", "train")


@dataclass(frozen=True)
class Sample:
    """n events.

    Attributes:
        inputs: model input -> (n, ...).
        jets: the jets that they were made from; None for a model whose inputs no jet gives, such as an imported one.
        source: where they come from, for messages and reports.
    """

    inputs: dict[str, NDArray[np.float32]]
    jets: Events | None
    source: str

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def what(self) -> str:
        """The word for them: jets or events."""
        return "events" if self.jets is None else "jets"


def sample(build: Build, model: Any, wanted: int) -> Sample:
    """`wanted` events for a model: jets of the build where it takes them, else numbers drawn over the input formats.

    Args:
        build: data and seed.
        model: a quantised Keras model.
        wanted: how many; fewer if all splits together have fewer jets.

    Raises:
        HlsError: fewer than one event is wanted.
    """
    if takes_events(model):
        jets, splits = load_jets(build, wanted)
        return Sample(host_inputs(model, jets), jets, splits)
    _refuse_none(wanted)
    return Sample(uniform(model, wanted, build.seed), None, "random over the range of the input formats")


def load_jets(build: Build, wanted: int) -> tuple[Events, str]:
    """`wanted` jets of the test split in random order; where it has fewer, of all splits. Second: which splits.

    Raises:
        HlsError: fewer than one jet is wanted.
    """
    _refuse_none(wanted)
    loaded = [open_split(build.data, "test").load()]
    if len(loaded[0]) < wanted:
        loaded += [open_split(build.data, split).load() for split in SPLITS[1:]]
    every = Events(
        np.concatenate([part.features for part in loaded]),
        np.concatenate([part.vectors for part in loaded]),
        np.concatenate([part.mask for part in loaded]),
        np.concatenate([part.labels for part in loaded]),
        loaded[0].class_names,
        loaded[0].feature_set,
    )
    order = np.random.default_rng(build.seed).permutation(len(every))[:wanted]
    names = "test split" if len(loaded) == 1 else f"test split has {len(loaded[0])}, so test, val and train"
    return every[order], names


def _refuse_none(wanted: int) -> None:
    if wanted < 1:
        raise HlsError(f"at least one jet is needed: set --events. Received: {wanted}")
