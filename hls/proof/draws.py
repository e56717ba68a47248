"""Events without end for a proof: real ones again and again, changed at random, and ones made to break firmware.

Chunk k of a seed is the same whenever it is drawn, so that a proof that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.proof.adversarial import MASK, ORDER, InputRange, adversarial, permutations, ranges, uniform
from qformers.files import sha256_of_arrays

Inputs = dict[str, NDArray[np.float32]]

EACH = 16  # adversarial events per case, of which a chunk takes some
REAL, MADE = 0.7, 0.15  # shares of a chunk: from real events, and adversarial; all others are even over the ranges
AS_THEY_ARE = 0.25  # of those from real events
LARGEST_JITTER = 8  # bits: changes of up to 2^8 steps


@dataclass(frozen=True)
class Draws:
    """Where a proof takes its events from.

    Attributes:
        model: a quantised Keras model.
        pool: real events, model input -> (n, ...); None for a model whose inputs no data set gives.
        seed: of all draws.
    """

    model: Any
    pool: Mapping[str, NDArray[np.float32]] | None
    seed: int

    @cached_property
    def spans(self) -> dict[str, InputRange]:
        """Ranges and steps of the inputs."""
        return ranges(self.model)

    @property
    def content(self) -> str:
        """SHA-256 of the real events; "" without such."""
        return "" if self.pool is None else sha256_of_arrays(self.pool[name] for name in sorted(self.pool))

    def chunk(self, number: int, count: int) -> tuple[Inputs, dict[str, int]]:
        """Events of a chunk, and how many there are of each kind.

        Args:
            number: of the chunk, from 0.
            count: events.

        Returns:
            Model input -> (count, ...); kind -> events. Their order is random.
        """
        random = np.random.default_rng([self.seed, number])
        real = 0 if self.pool is None else round(REAL * count)
        made = round(MADE * count)
        unchanged = round(AS_THEY_ARE * real)
        kinds = {
            "real": (unchanged, self._real),
            "real, changed": (real - unchanged, self._changed),
            "adversarial": (made, self._adversarial),
            "even over the ranges": (count - real - made, self._even),
        }
        parts = [draw(size, random) for size, draw in kinds.values() if size]
        order = random.permutation(count)
        inputs = {name: np.concatenate([part[name] for part in parts])[order] for name in self.spans}
        return inputs, {kind: size for kind, (size, _) in kinds.items()}

    def _real(self, count: int, random: np.random.Generator) -> Inputs:
        pool = self.pool or {}
        rows = random.integers(0, len(next(iter(pool.values()))), count)
        return {name: np.asarray(pool[name][rows], np.float32) for name in self.spans}

    def _changed(self, count: int, random: np.random.Generator) -> Inputs:
        """Real events: moved by some steps, with slots of other events, of another multiplicity, or all of these."""
        events, others = self._real(count, random), self._real(count, random)
        asked = random.random((3, count)) < 0.5
        changes: tuple[Callable[[Inputs, Inputs, NDArray[np.bool_], np.random.Generator], None], ...] = (
            self._crossed, self._moved, self._cut,
        )  # fmt: skip
        for change, chosen in zip(changes, asked, strict=True):
            change(events, others, chosen, random)
        return events

    def _moved(self, events: Inputs, others: Inputs, chosen: NDArray[np.bool_], random: np.random.Generator) -> None:
        """By whole and half steps; how many differs from event to event."""
        for name, span in self.spans.items():
            if name in (MASK, ORDER):
                continue
            values = events[name]
            shape = (len(values), *[1] * (values.ndim - 1))
            most = 2 ** random.integers(0, LARGEST_JITTER + 1, shape)
            steps = random.integers(-2 * most, 2 * most + 1, values.shape) / 2.0
            moved = (values + steps * span.step).astype(np.float32)
            events[name] = np.where(chosen.reshape(shape), moved, values)

    def _crossed(self, events: Inputs, others: Inputs, chosen: NDArray[np.bool_], random: np.random.Generator) -> None:
        """Slots of another event; what the mask says of a slot goes with it."""
        slots = {events[name].shape[1] for name in events if name != ORDER and events[name].ndim > 1}
        if len(slots) != 1:
            return  # inputs without slots, or with different ones
        count = len(chosen)
        taken = (random.random((count, slots.pop())) < 0.5) & chosen[:, None]
        for name, values in events.items():
            if name != ORDER:
                events[name] = np.where(taken.reshape(*taken.shape, *[1] * (values.ndim - 2)), others[name], values)

    def _cut(self, events: Inputs, others: Inputs, chosen: NDArray[np.bool_], random: np.random.Generator) -> None:
        """Fewer particles, or more than there are: the mask says another number, the slots stay."""
        if MASK in events:
            slots = events[MASK].shape[1]
            first = np.arange(slots) < random.integers(0, slots + 1, (len(chosen), 1))
            events[MASK] = np.where(chosen[:, None], first.astype(np.float32), events[MASK])
        if ORDER in events:
            other = permutations(self.spans[ORDER], len(chosen), random)
            events[ORDER] = np.where(chosen.reshape(-1, *[1] * (other.ndim - 1)), other, events[ORDER])

    def _adversarial(self, count: int, random: np.random.Generator) -> Inputs:
        events = adversarial(self.model, int(random.integers(2**31)), EACH, self.spans)
        rows = random.permutation(len(events))
        rows = np.resize(rows, count)
        return {name: events.inputs[name][rows] for name in self.spans}

    def _even(self, count: int, random: np.random.Generator) -> Inputs:
        return uniform(self.model, count, int(random.integers(2**31)), self.spans)
