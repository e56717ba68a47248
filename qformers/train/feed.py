"""From a data set to batches of model inputs, in an order that is a function of (seed, epoch) alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
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

    inputs: Inputs  # arrays of the host, or of the accelerator where the split lies there
    labels: Any  # array (n,) of jets, or `PointEvents`
    targets: NDArray[Any] | None = None
    known_broken: tuple[str, ...] | None = None  # `broken`, where it is known without a look

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def broken(self) -> tuple[str, ...]:
        """Inputs that hold NaN or infinity."""
        if self.known_broken is not None:
            return self.known_broken
        return tuple(name for name, array in self.inputs.items() if not np.isfinite(array).all())

    def part(self, start: int, events: int) -> Batch:
        """`events` of them from number `start` on."""
        rows = slice(start, start + events)
        inputs = {name: array[rows] for name, array in self.inputs.items()}
        return Batch(inputs, self.labels[rows], None if self.targets is None else self.targets[rows])

    def on_host(self) -> Inputs:
        """The inputs as arrays of the host."""
        from keras import ops

        return {name: ops.convert_to_numpy(array) for name, array in self.inputs.items()}


@dataclass(frozen=True)
class OnDevice:
    """The inputs of a whole split on the accelerator, from which batches are gathered there."""

    inputs: dict[str, Any]  # arrays of the accelerator, (n, ...)
    finite: Mapping[str, NDArray[np.bool_]]  # (n,), of the same names: True where all numbers of an event are finite

    @classmethod
    def of(cls, inputs: Inputs) -> OnDevice:
        """A copy of arrays of the host."""
        from keras import ops

        finite = {name: np.array([np.isfinite(event).all() for event in x], bool) for name, x in inputs.items()}
        return cls({name: ops.convert_to_tensor(array) for name, array in inputs.items()}, finite)

    def picked(self, rows: NDArray[np.int64], labels: Any) -> Batch:
        """A batch of these rows, the same numbers as of the arrays on the host."""
        from keras import ops

        index = rows.astype(np.int32)
        inputs = {name: ops.take(array, index, axis=0) for name, array in self.inputs.items()}
        broken = tuple(name for name, finite in self.finite.items() if not finite[rows].all())
        return Batch(inputs, labels, known_broken=broken)


def accelerated() -> bool:
    """Whether the backend of Keras computes elsewhere than in the memory of the host."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_logical_devices("GPU"))
    if keras.backend.backend() == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    return False


class Feed:
    """Batches of one split.

    A split whose prepared inputs fit `memory_bytes` is decoded and prepared once and then only indexed. Where there is
    an accelerator it is copied there once, and the batches of `epoch` are gathered there, bit for bit those that the
    host would gather: no input crosses the bus. A larger split is streamed, and prepared in the background thread.

    Args:
        split: where the events come from.
        prepare: the inputs of the model from events (`qformers.models.inputs.host_inputs` bound to a model).
        bytes_per_jet: size of one jet's prepared inputs.
        memory_bytes: see above.
        on_device: whether to gather batches on the device of the backend; None = where that is an accelerator.

    Attributes:
        targets: from labels, seed and epoch to what the loss takes; set by the trainer, None = not wanted.
    """

    def __init__(
        self,
        split: Split,
        prepare: Callable[[AnyEvents], Inputs],
        bytes_per_jet: int,
        memory_bytes: int = MEMORY_BYTES,
        on_device: bool | None = None,
    ) -> None:
        self.split = split
        self.prepare = prepare
        self.targets: Callable[[Any, int, int], NDArray[Any]] | None = None
        self.waited_s = 0.0  # time that the reader of `epoch` spent waiting for data
        self.in_memory = len(split) * bytes_per_jet <= memory_bytes
        self._whole = Resident(self._prepared)
        self.on_device = self.in_memory and (accelerated() if on_device is None else on_device)
        self._device = Resident(lambda: OnDevice.of(self.kept().inputs))

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
        device = self._device.kept() if self.on_device else None
        for pick in picks(len(whole), batch_size, np.random.default_rng([seed, epoch]))[start:]:
            labels = whole.labels[pick]
            if device is not None:
                yield self._aimed(device.picked(pick, labels), seed, epoch)
                continue
            yield self._aimed(Batch({name: array[pick] for name, array in whole.inputs.items()}, labels), seed, epoch)

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
                f"an epoch needs at least one full batch: lower batch_size, or give more training events. "
                f"Received: batch_size={batch_size}, events={jets}"
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
        return next(self.epoch(min(jets, len(self)), seed, 0)).on_host()


def known(events: AnyEvents) -> Any:
    """The labels of a `Batch`: of jets the class numbers (n,), of points the events themselves."""
    return events.labels if isinstance(events, Events) else events


def bytes_per_jet(model: Any) -> int:
    """Size of one jet's inputs of a Keras model, in bytes."""
    return sum(4 * math.prod(int(size) for size in tensor.shape[1:]) for tensor in model.inputs)
