"""From a data set to batches of model inputs, in an order that is a function of (seed, epoch) alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.cache import Resident
from qformers.data.events import Events
from qformers.data.split import AnyEvents, Split
from qformers.data.stream import Prefetch, picks
from qformers.errors import TrainingError

Inputs = dict[str, NDArray[Any]]
MEMORY_BYTES = 2 << 30  # a split whose prepared inputs are smaller is kept in memory; a constant, so that resumes agree
CHUNK = 8192  # jets prepared at a time
DEPTH = 4  # batches prepared ahead


@dataclass(frozen=True)
class Batch:
    """Inputs of the model by name, each (n, ...), what is known of the n events, and what a loss takes of that."""

    inputs: Inputs
    labels: Any  # array (n,) of jets, or `PointEvents`
    targets: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.labels)


class Feed:
    """Batches of one split.

    A split whose prepared inputs fit `memory_bytes` is decoded and prepared once and then only indexed; a larger one is
    streamed, and prepared in the background thread.

    Args:
        split: where the events come from.
        prepare: the inputs of the model from events (`qformers.models.inputs.host_inputs` bound to a model).
        bytes_per_jet: size of one jet's prepared inputs.
        memory_bytes: see above.

    Attributes:
        targets: from labels, seed and epoch to what the loss takes; set by the trainer, None = not wanted.
    """

    def __init__(
        self, split: Split, prepare: Callable[[AnyEvents], Inputs], bytes_per_jet: int, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self.split = split
        self.prepare = prepare
        self.targets: Callable[[Any, int, int], NDArray[Any]] | None = None
        self.waited_s = 0.0  # time that the reader of `epoch` spent waiting for data
        self.in_memory = len(split) * bytes_per_jet <= memory_bytes
        self._whole = Resident(self._prepared)

    def __len__(self) -> int:
        return len(self.split)

    def kept(self) -> Batch:
        """The whole split in memory, prepared on the first call."""
        return self._whole.kept()

    def _prepared(self) -> Batch:
        events = self.split.load()
        parts = [self.prepare(events[at : at + CHUNK]) for at in range(0, len(events), CHUNK)]
        inputs = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
        return Batch(inputs, known(events))

    def _picked(self, batch_size: int, seed: int, epoch: int, start: int) -> Iterator[Batch]:
        whole = self.kept()
        for pick in picks(len(whole), batch_size, np.random.default_rng([seed, epoch]))[start:]:
            inputs = {name: array[pick] for name, array in whole.inputs.items()}
            yield self._aimed(Batch(inputs, whole.labels[pick]), seed, epoch)

    def _skipping(self, batches: Iterator[AnyEvents], start: int, seed: int, epoch: int) -> Iterator[Batch]:
        for position, events in enumerate(batches):
            if position >= start:  # skipped batches are decoded, but not prepared
                yield self._aimed(Batch(self.prepare(events), known(events)), seed, epoch)

    def _aimed(self, batch: Batch, seed: int, epoch: int) -> Batch:
        if self.targets is None:
            return batch
        return replace(batch, targets=self.targets(batch.labels, seed, epoch))

    def steps(self, batch_size: int, jets_per_epoch: int | None = None) -> int:
        """Full batches in an epoch.

        Raises:
            TrainingError: not even one batch.
        """
        jets = min(len(self), jets_per_epoch or len(self))
        if jets < batch_size:
            raise TrainingError(
                f"an epoch needs at least one full batch: lower batch_size, or give more training jets. "
                f"Received: batch_size={batch_size}, jets={jets}"
            )
        return jets // batch_size

    def epoch(self, batch_size: int, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Full batches of one epoch, from batch number `start` on."""
        ahead = Prefetch(lambda: self._batches(batch_size, seed, epoch, start), DEPTH)
        try:
            while True:
                before = time.perf_counter()
                batch = next(ahead, None)
                self.waited_s += time.perf_counter() - before
                if batch is None:
                    return
                yield batch
        finally:
            ahead.close()

    def _batches(self, batch_size: int, seed: int, epoch: int, start: int) -> Iterator[Batch]:
        if self.in_memory:
            return self._picked(batch_size, seed, epoch, start)
        return self._skipping(self.split.stream(batch_size, seed, epoch, drop_last=True), start, seed, epoch)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All jets once, the last batch shorter, in a fixed order (that of the files for a split in memory)."""
        if not self.in_memory:
            for events in self.split.stream(batch_size, 0, 0, drop_last=False):
                yield Batch(self.prepare(events), known(events))
            return
        whole = self.kept()
        for at in range(0, len(whole), batch_size):
            part = slice(at, at + batch_size)
            yield Batch({name: array[part] for name, array in whole.inputs.items()}, whole.labels[part])

    def sample(self, jets: int, seed: int) -> Inputs:
        """Inputs of `jets` jets drawn at random (all of them if there are fewer), e.g. for a calibration."""
        return next(self.epoch(min(jets, len(self)), seed, 0)).inputs


def known(events: AnyEvents) -> Any:
    """The labels of a `Batch`: of jets the class numbers (n,), of points the events themselves."""
    return events.labels if isinstance(events, Events) else events


def bytes_per_jet(model: Any) -> int:
    """Size of one jet's inputs of a Keras model, in bytes."""
    return sum(4 * math.prod(int(size) for size in tensor.shape[1:]) for tensor in model.inputs)
