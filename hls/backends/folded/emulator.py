"""The machine of folded firmware in Python, clock by clock: a statement of its own of what ``machine.v`` does.

Nothing that moves through the machine decides where it moves: valid beats, banks, copies and credits follow from the
interface alone. So the clocks are emulated first, with a **token** in place of each value: the number of the beat that
a kernel has taken. A register holds the token that was written to it, a copy the tokens of an event, an accumulator
those that it has added up; a kernel that takes a beat notes the tokens that stand at its inputs. What the tokens are
is computed afterwards, kernel by kernel, for all beats at once, by alkaid's interpreter. Were a store read too early or
written too late, a token of the wrong event would stand there, and the outputs would be wrong as they are in hardware.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.trace import predict
from hls.backends.folded.kernels import Group, Kernel
from hls.backends.folded.stream import Array, Script, Streamed, refuse_unfinished
from hls.errors import HlsError
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent
from qformers.quant.phases import Folding

NOTHING = -1  # token of a register that was never written
VALUES = 1 << 22  # at the inputs of a kernel, computed at once

Tokens = NDArray[np.int64]


class Beat(NamedTuple):
    """A beat on its way through a kernel; registers beside it shift it on."""

    token: int
    first: bool
    last: bool


class Seen(NamedTuple):
    """What stands at the inputs of a kernel when it takes a beat, as tokens of the kernel in front."""

    streamed: int
    filled: tuple[int, ...]
    running: tuple[int, ...]
    event: int
    beat: int


@dataclass
class _Kernel:
    """A kernel and its control.

    Attributes:
        beats: of an event.
        way: what is on its way, the newest first; None for a clock in which nothing was taken.
        beat: number of the beat that it takes next.
        runs: it works through an event that the stores in front hold (all but the first kernel).
        seen: inputs of each beat that it took; the token of a beat is its place here.
    """

    beats: int
    way: deque[Beat | None]
    beat: int = 0
    runs: bool = False
    seen: list[Seen] = field(default_factory=list)

    def edge(self, taken: Seen | None) -> None:
        """A clock edge; `taken` is what it takes in, None for nothing."""
        self.way.pop()
        if taken is None:
            self.way.appendleft(None)
            return
        self.way.appendleft(Beat(len(self.seen), self.beat == 0, self.beat == self.beats - 1))
        self.seen.append(taken)
        self.beat = (self.beat + 1) % self.beats

    def reset(self) -> None:
        """Forget all that is on its way."""
        self.way.extend([None] * len(self.way))  # a deque of that length: the old ones fall out
        self.beat, self.runs = 0, False


@dataclass
class _Store:
    """Between two kernels. What the kernel in front makes is written beat by beat; the last beat completes an event.

    Attributes:
        banks: of the memory: one is written, the other one read.
        bank: that is written.
        beat: number of the beat that is written next.
        filling, filled: beats of the event that comes, and of the one that is complete.
        adding, added: the same of what accumulators have added up.
        event: last beat of the event that is complete.
    """

    banks: tuple[list[int], list[int]]
    bank: int = 0
    beat: int = 0
    filling: list[int] = field(default_factory=list)
    filled: tuple[int, ...] = ()
    adding: tuple[int, ...] = ()
    added: tuple[int, ...] = ()
    event: int = NOTHING

    @classmethod
    def of(cls, beats: int) -> _Store:
        """Empty, behind a kernel that makes so many beats per event."""
        return cls(([NOTHING] * beats, [NOTHING] * beats), filling=[NOTHING] * beats, filled=(NOTHING,) * beats)

    def read(self, beat: int) -> Seen:
        """What the kernel behind sees at a beat."""
        memory = self.banks[1 - self.bank]
        return Seen(memory[beat] if beat < len(memory) else NOTHING, self.filled, self.added, self.event, beat)

    def edge(self, made: Beat | None) -> None:
        """A clock edge; `made` is what comes out of the kernel in front."""
        if made is None:
            return
        self.banks[self.bank][self.beat] = self.filling[self.beat] = made.token
        self.adding = (made.token,) if made.first else (*self.adding, made.token)
        self.beat += 1
        if made.last:
            self.filled, self.added, self.event = tuple(self.filling), self.adding, made.token
            self.bank, self.beat = 1 - self.bank, 0

    def reset(self) -> None:
        """Start over; what was stored stays and is written over before it is read."""
        self.bank = self.beat = 0


@dataclass
class _Machine:
    """All of it, and the queue of outputs.

    Attributes:
        kernels, stores: in order.
        places: of the queue.
        under_way: events that have a place in it, from their first beat on.
        waiting: tokens of the last kernel, the oldest first.
    """

    kernels: list[_Kernel]
    stores: list[_Store]
    places: int
    under_way: int = 0
    waiting: deque[int] = field(default_factory=deque)

    @classmethod
    def of(cls, kernels: Sequence[Kernel], depths: Sequence[int], places: int) -> _Machine:
        """As it is behind a reset."""
        made = [
            _Kernel(kernel.beats, deque([None] * (depth + 1), depth + 1))
            for kernel, depth in zip(kernels, depths, strict=True)
        ]
        return cls(made, [_Store.of(kernel.beats) for kernel in made[:-1]], places)

    @property
    def ready(self) -> bool:
        """Whether a beat is let in: one of an event that has begun, or of a new one while there is a place for it."""
        return self.kernels[0].beat > 0 or self.under_way < self.places

    def edge(self, beat: int | None, given: bool) -> None:
        """A clock edge: `beat` is the number of the beat that is taken, None for none; `given`: an output goes."""
        made = [kernel.way[-1] for kernel in self.kernels]
        entered = beat is not None and self.kernels[0].beat == 0
        seen: list[Seen | None] = [None if beat is None else Seen(beat, (), (), NOTHING, self.kernels[0].beat)]
        for store, kernel in zip(self.stores, self.kernels[1:], strict=True):
            seen.append(store.read(kernel.beat) if kernel.runs else None)
        for kernel, taken in zip(self.kernels, seen, strict=True):
            kernel.edge(taken)
        for before, store, kernel, taken in zip(made[:-1], self.stores, self.kernels[1:], seen[1:], strict=True):
            store.edge(before)
            ended = taken is not None and kernel.beat == 0
            kernel.runs = (before is not None and before.last) or (kernel.runs and not ended)
        if given:
            self.waiting.popleft()
        if (end := made[-1]) is not None and end.last:
            self.waiting.append(end.token)
        self.under_way += entered - given

    def reset(self) -> None:
        """A clock edge with the reset: no event is left."""
        for kernel in self.kernels:
            kernel.reset()
        for store in self.stores:
            store.reset()
        self.waiting.clear()
        self.under_way = 0


@dataclass(frozen=True)
class Emulator:
    """The machine of a project.

    Attributes:
        fold: how an event comes.
        kernels: in order.
        depths: of them, in clocks.
        places: of the queue of outputs.
    """

    fold: Folding
    kernels: tuple[Kernel, ...]
    depths: tuple[int, ...]
    places: int

    def play(self, rows: Array, script: Script, quiet: int, reporter: Reporter | None = None) -> Streamed:
        """Play a stream.

        Args:
            rows: (n, beats, values of a beat), in the formats of the ports.
            script: what the world does.
            quiet: clock edges behind the last output, in which nothing else may come.
            reporter: told of events whose output has come.

        Raises:
            HlsError: an output that belongs to no event, or a store that is read before it was written.
        """
        machine = _Machine.of(self.kernels, self.depths, self.places)
        events, beats = rows.shape[:2]
        taken, given, tokens = (np.full(events, NOTHING, np.int64) for _ in range(3))
        tick = (reporter or Silent()).task("emulator", events)
        offered, wanted, reset = (part.tolist() for part in (script.offered, script.wanted, script.reset))
        coming = due = 0  # number of the next beat, and of the event whose output comes next
        for now in range(len(script)):
            if due == events:
                break
            if reset[now]:
                machine.reset()
                coming = -(-coming // beats) * beats
                tick(coming // beats - due)
                due = coming // beats
                continue
            gives = bool(machine.waiting) and wanted[now]
            takes = coming < events * beats and offered[now] and machine.ready
            if gives:
                if coming < (due + 1) * beats:
                    raise HlsError(f"an output came at edge {now}, and no event is complete that it could be of")
                tokens[due], given[due] = machine.waiting[0], now
                due += 1
                tick()
            if takes and coming % beats == 0:
                taken[coming // beats] = now
            machine.edge(coming if takes else None, gives)
            coming += takes
        refuse_unfinished(due, events, len(script))
        for _ in range(quiet):
            machine.edge(None, False)
        if machine.waiting:
            raise HlsError(f"{len(machine.waiting)} outputs came behind the last event")
        answers = self._outputs(machine, rows.reshape(events * beats, -1))
        outputs = np.full((events, sum(group.size for group in self.kernels[-1].outs)), np.nan)
        came = given >= 0
        outputs[came] = answers[tokens[came]]
        return Streamed(outputs, taken, given)

    def _outputs(self, machine: _Machine, rows: Array) -> Array:
        """What the last kernel made of each beat that it took."""
        made, before = rows, tuple(group for group in self.kernels[0].ins if group.kind != "rom")  # from outside
        for number, kernel in enumerate(self.kernels):
            seen = machine.kernels[number].seen
            size = max(VALUES // kernel.comb.shape[0], 1)
            parts = [np.zeros((0, kernel.comb.shape[1]))]
            for start in range(0, len(seen), size):
                parts.append(predict(kernel.comb, self._given(kernel, before, made, seen[start : start + size])))
            made, before = np.concatenate(parts), kernel.outs
        return made

    def _given(self, kernel: Kernel, before: Sequence[Group], made: Array, seen: Sequence[Seen]) -> Array:
        """Inputs (beats, values) of a kernel, of what the one in front made and the tokens that stood there."""
        ends = np.cumsum([group.size for group in before]).tolist()
        columns = {
            (group.tensor, group.kind): (group, made[:, end - group.size : end])
            for group, end in zip(before, ends, strict=True)
        }
        read = [
            self._read(group, *columns[group.tensor, group.kind], seen) for group in kernel.ins if group.kind != "rom"
        ]
        return np.concatenate([kernel.rom[[beat.beat for beat in seen]], *read], axis=1)

    def _read(self, group: Group, source: Group, made: Array, seen: Sequence[Seen]) -> Array:
        """What a group of inputs reads: (beats, values)."""
        if group.kind == "streamed":
            return made[_written([beat.streamed for beat in seen], group)]
        if group.kind == "filled":
            parts = made[_written([beat.filled for beat in seen], group)]  # (beats, beats of an event, values)
            axis = self.fold.axes[group.tensor]
            if axis is None:
                raise HlsError(f"tensor {group.tensor}: a copy of all points is kept of what has none")
            points = [parts[:, number].reshape(-1, *source.shape) for number in range(parts.shape[1])]
            return np.concatenate(points, axis=axis + 1).reshape(len(seen), -1)
        if group.kind == "running":
            return _wrapped(made[_written([beat.running for beat in seen], group)].sum(axis=1), group)
        event = made[_written([beat.event for beat in seen], group)]
        if group.kind == "held":
            return event
        parts = np.stack(
            np.split(event.reshape(-1, *source.shape), self.fold.beats, self.fold.spread[group.tensor] + 1)
        )
        return parts[[beat.beat for beat in seen], np.arange(len(seen))].reshape(len(seen), -1)


def _written(tokens: Sequence[int] | Sequence[tuple[int, ...]], group: Group) -> Tokens:
    """Tokens as an array.

    Raises:
        HlsError: of a register that was not written.
    """
    lengths = {np.size(one) for one in tokens}
    made = np.array(tokens, np.int64) if len(lengths) == 1 else np.array([NOTHING])
    if not made.size or made.min() < 0:
        raise HlsError(f"tensor {group.tensor}: its store ({group.kind}) is read before an event was complete in it")
    return made


def _wrapped(values: Array, group: Group) -> Array:
    """Sums in the bits that the accumulators have."""
    columns = zip(values.T, *(np.ravel(part) for part in group.kif), strict=True)
    return np.stack(
        [Fixed(bool(k), int(i), int(f), "TRN", "WRAP").quantise(column) for column, k, i, f in columns], axis=1
    )
