"""The machine of folded firmware in Python, clock by clock: a statement of its own of what ``machine.v`` does.

Nothing that moves through the machine decides when it moves: valid beats, banks, copies and credits follow from the
interface alone. So the clocks are emulated first, with a **token** in place of each value: the number of the beat that
a kernel has taken. A register holds the token that was written to it, a copy the tokens of an event, an accumulator
those that it has added up; a kernel that takes a beat notes the tokens that stand at its inputs. What the tokens are
is computed afterwards, kernel by kernel, for all beats at once, by alkaid's interpreter; then the numbers of orders are
known too, by which rows move. Were a store read too early or written too late, a token of the wrong event would stand
there, and the outputs would be wrong as they are in hardware.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.trace import predict
from hls.backends.folded.kernels import Group, Kernel, kept_shape
from hls.backends.folded.orders import WORDS
from hls.backends.folded.stream import Array, Script, Words, refuse_unfinished
from hls.errors import HlsError
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent
from qformers.quant.phases import Folding

NOTHING = -1  # token of a register that was never written
VALUES = 1 << 22  # at the inputs of a kernel, computed at once

Tokens = NDArray[np.int64]


class Beat(NamedTuple):
    """A beat on its way through a kernel; registers beside it shift it on.

    Attributes:
        token: of it.
        first: it is of the first points of an event.
        last: it is the last one of an event.
        opens, turns: it has the first keys of its points, and the last ones.
    """

    token: int
    first: bool
    last: bool
    opens: bool = True
    turns: bool = True


class Seen(NamedTuple):
    """What stands at the inputs of a kernel when it takes a beat, as tokens of the kernel in front.

    Attributes:
        streamed: of the beat in the memory.
        filled: of all beats of the event.
        running: of those that were added up.
        event: of the last beat of the event.
        beat: number of the beat, as points are counted.
        key: number of the beat among those of the same points.
        keyed: of the beat with the same keys, in the memory.
        by_row: of those that accumulators of the row have taken.
        banked: of the beats in the memory banks.
        written, read: of the input: the words that said where these were written, and that say where they are read.
    """

    streamed: int
    filled: tuple[int, ...]
    running: tuple[int, ...]
    event: int
    beat: int
    key: int = 0
    keyed: int = NOTHING
    by_row: tuple[int, ...] = ()
    banked: tuple[int, ...] = ()
    written: tuple[int, ...] = ()
    read: int = NOTHING


@dataclass
class _Kernel:
    """A kernel and its control.

    Attributes:
        rows: beats of points of an event.
        chunks: beats for each of these.
        way: what is on its way, the newest first; None for a clock in which nothing was taken.
        pace: clocks between two beats.
        beat, key: numbers of the beat that it takes next.
        rest: clocks until it takes one.
        runs: it works through an event that the stores in front hold (all but the first kernel).
        seen: inputs of each beat that it took; the token of a beat is its place here.
    """

    rows: int
    chunks: int
    way: deque[Beat | None]
    pace: int = 1
    beat: int = 0
    key: int = 0
    rest: int = 0
    runs: bool = False
    seen: list[Seen] = field(default_factory=list)

    @property
    def new(self) -> bool:
        """Whether the beat that it takes next is the first one of an event."""
        return self.beat == 0 and self.key == 0

    def edge(self, taken: Seen | None) -> None:
        """A clock edge; `taken` is what it takes in, None for nothing."""
        self.way.pop()
        self.rest = max(self.rest - 1, 0)
        if taken is None:
            self.way.appendleft(None)
            return
        turns, first = self.key == self.chunks - 1, self.beat == 0
        last = turns and self.beat == self.rows - 1
        self.way.appendleft(Beat(len(self.seen), first, last, self.key == 0, turns))
        self.seen.append(taken)
        self.key = (self.key + 1) % self.chunks
        self.beat = (self.beat + turns) % self.rows
        self.rest = self.pace - 1

    def reset(self) -> None:
        """Forget all that is on its way."""
        self.way.extend([None] * len(self.way))  # a deque of that length: the old ones fall out
        self.beat = self.key = self.rest = 0
        self.runs = False


@dataclass
class _Ways:
    """Words of the host that say where rows lie in memory banks, kept while their event is inside.

    Attributes:
        tokens: of the input, by place of the event and beat.
        event: number of the event that comes in, as far as it counts: modulo the places.
    """

    tokens: list[list[int]]
    event: int = 0

    def edge(self, token: int, beat: int, last: bool) -> None:
        """A beat is taken."""
        self.tokens[self.event][beat] = token
        self.event = (self.event + last) % len(self.tokens)


@dataclass
class _Store:
    """Between two kernels. What the kernel in front makes is written beat by beat; the last beat completes an event.

    Attributes:
        banks: of the memory: one is written, the other one read.
        keys: likewise, of what each beat has of its keys.
        by_row: likewise, of what accumulators have taken of the keys of a row.
        bank: that is written.
        beat, key: numbers of the beat that is written next.
        row: what accumulators have taken of the keys of the row that comes.
        filling, filled: beats of the event that comes, and of the one that is complete.
        adding, added: the same of what accumulators have added up.
        event: last beat of the event that is complete.
        ways: where rows lie in memory banks; None where there are none.
        rows: by the lowest bit of an event's number: what the banks hold, and the words by which it was written.
        writing, reading: numbers of the events that are written and read.
    """

    banks: tuple[list[int], list[int]]
    ways: _Ways | None
    rows: tuple[list[tuple[int, int]], list[tuple[int, int]]]
    keys: tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]]
    by_row: tuple[list[tuple[int, ...]], list[tuple[int, ...]]]
    bank: int = 0
    beat: int = 0
    key: int = 0
    row: tuple[int, ...] = ()
    filling: list[int] = field(default_factory=list)
    filled: tuple[int, ...] = ()
    adding: tuple[int, ...] = ()
    added: tuple[int, ...] = ()
    event: int = NOTHING
    writing: int = 0
    reading: int = 0

    @classmethod
    def of(cls, beats: int, ways: _Ways | None) -> _Store:
        """Empty, behind a kernel that makes so many beats per event."""
        empty, rows = [NOTHING] * beats, [(NOTHING, NOTHING)] * beats
        sums = [()] * beats
        return cls(
            (list(empty), list(empty)),
            ways,
            (list(rows), list(rows)),
            ({}, {}),
            (list[tuple[int, ...]](sums), list[tuple[int, ...]](sums)),
            filling=list(empty),
            filled=tuple(empty),
        )

    def read(self, beat: int, key: int) -> Seen:
        """What the kernel behind sees at a beat."""
        bank = 1 - self.bank
        memory, sums = self.banks[bank], self.by_row[bank]
        streamed, by_row = (memory[beat], sums[beat]) if beat < len(memory) else (NOTHING, ())
        seen = Seen(streamed, self.filled, self.added, self.event, beat, key, self.keys[bank].get((beat, key), NOTHING))
        if self.ways is None:
            return seen._replace(by_row=by_row)
        banked, written = zip(*self.rows[self.reading % 2], strict=True)
        return seen._replace(banked=banked, written=written, read=self.ways.tokens[self.reading][beat])

    def edge(self, made: Beat | None, ended: bool) -> None:
        """A clock edge; `made` is what comes out of the kernel in front, `ended`: the one behind has taken its last."""
        if self.ways is not None:
            if made is not None:
                self.rows[self.writing % 2][self.beat] = made.token, self.ways.tokens[self.writing][self.beat]
                self.writing = (self.writing + made.last) % len(self.ways.tokens)
            self.reading = (self.reading + ended) % len(self.ways.tokens)
        if made is None:
            return
        self.banks[self.bank][self.beat] = self.filling[self.beat] = made.token
        self.keys[self.bank][self.beat, self.key] = made.token
        self.row = (made.token,) if made.opens else (*self.row, made.token)
        self.key += 1
        if not made.turns:
            return
        self.by_row[self.bank][self.beat] = self.row
        self.adding = (made.token,) if made.first else (*self.adding, made.token)
        self.beat, self.key = self.beat + 1, 0
        if made.last:
            self.filled, self.added, self.event = tuple(self.filling), self.adding, made.token
            self.bank, self.beat = 1 - self.bank, 0

    def reset(self) -> None:
        """Start over; what was stored stays and is written over before it is read."""
        self.bank = self.beat = self.key = self.writing = self.reading = 0


@dataclass
class _Machine:
    """All of it, and the queue of outputs.

    Attributes:
        kernels, stores: in order.
        places: of the queue, in events.
        by_beat: each beat of the last kernel is an output, else the last one of an event.
        ways: see `_Ways`.
        under_way: events that have a place in the queue, from their first beat on.
        waiting: what the last kernel made, the oldest first.
    """

    kernels: list[_Kernel]
    stores: list[_Store]
    places: int
    by_beat: bool
    ways: _Ways
    under_way: int = 0
    waiting: deque[Beat] = field(default_factory=deque)

    @property
    def ready(self) -> bool:
        """Whether a beat is let in: one of an event that has begun, or of a new one while there is a place for it; and
        not before all keys of the one before have had their clocks."""
        first = self.kernels[0]
        return first.rest == 0 and (not first.new or self.under_way < self.places)

    def edge(self, token: int | None, given: bool) -> None:
        """A clock edge: `token` is that of the beat that is taken, None for none; `given`: an output goes."""
        made, first = [kernel.way[-1] for kernel in self.kernels], self.kernels[0]
        seen: list[Seen | None] = [None if token is None else Seen(token, (), (), NOTHING, first.beat)]
        for store, kernel in zip(self.stores, self.kernels[1:], strict=True):
            seen.append(store.read(kernel.beat, kernel.key) if kernel.runs else None)
        entered = token is not None and first.new
        if token is not None:
            self.ways.edge(token, first.beat, first.beat == first.rows - 1)
        for kernel, taken in zip(self.kernels, seen, strict=True):
            kernel.edge(taken)
        for before, store, kernel, taken in zip(made[:-1], self.stores, self.kernels[1:], seen[1:], strict=True):
            ended = taken is not None and kernel.new
            store.edge(before, ended)
            kernel.runs = (before is not None and before.last) or (kernel.runs and not ended)
        gone = given and self.waiting.popleft().last
        if (end := made[-1]) is not None and (end.last or (self.by_beat and end.turns)):
            self.waiting.append(end)
        self.under_way += entered - gone

    def reset(self) -> None:
        """A clock edge with the reset: no event is left."""
        for kernel in self.kernels:
            kernel.reset()
        for store in self.stores:
            store.reset()
        self.waiting.clear()
        self.under_way = self.ways.event = 0


@dataclass(frozen=True)
class Emulator:
    """The machine of a project.

    Attributes:
        fold: how an event comes.
        kernels: in order.
        depths: of them, in clocks, the one included in which memory banks are read.
        places: of the queue of outputs, in events.
        by_beat: outputs come beat by beat, else one of each event.
        quiet: clock edges behind the last output, in which nothing else may come.
    """

    fold: Folding
    kernels: tuple[Kernel, ...]
    depths: tuple[int, ...]
    places: int
    by_beat: bool
    quiet: int

    def play(self, rows: Array, script: Script, reporter: Reporter | None = None) -> Words:
        """Play a stream.

        Args:
            rows: (n, beats, values of a beat), in the formats of the ports.
            script: what the world does.
            reporter: told of events whose output has come.

        Raises:
            HlsError: an output that belongs to no event, a store that is read before it was written, or no end.
        """
        machine, (events, beats) = self._machine(), rows.shape[:2]
        each = beats if self.by_beat else 1
        taken, given = (np.full(events, NOTHING, np.int64) for _ in range(2))
        tokens = np.full(events * each, NOTHING, np.int64)
        tick = (reporter or Silent()).task("emulator", events)
        offered, wanted, reset = (part.tolist() for part in (script.offered, script.wanted, script.reset))
        coming = came = 0  # numbers of the next beat, and of the output that comes next
        for now in range(len(script)):
            if came == events * each:
                break
            if reset[now]:
                machine.reset()
                coming = -(-coming // beats) * beats
                tick(coming // beats - came // each)
                came = coming // beats * each
                continue
            gives = bool(machine.waiting) and wanted[now]
            takes = coming < events * beats and offered[now] and machine.ready
            if gives:
                event, word = divmod(came, each)
                if coming < event * beats + (word + 1 if self.by_beat else beats):
                    raise HlsError(f"an output came at edge {now}, and no event is complete that it could be of")
                if machine.waiting[0].last != (word == each - 1):
                    raise HlsError(f"the output at edge {now} is number {word} of its event, and not the last one")
                tokens[came] = machine.waiting[0].token
                if word == each - 1:
                    given[event] = now
                    tick()
                came += 1
            if takes and coming % beats == 0:
                taken[coming // beats] = now
            machine.edge(coming if takes else None, gives)
            coming += takes
        refuse_unfinished(came // each, events, len(script))
        for _ in range(self.quiet):
            machine.edge(None, False)
        if machine.waiting:
            raise HlsError(f"{len(machine.waiting)} outputs came behind the last event")
        answers = self._outputs(machine, rows.reshape(events * beats, -1))
        values = np.full((events, each, answers.shape[1]), np.nan)
        whole = given >= 0
        values[whole] = answers[tokens.reshape(events, each)[whole]]
        return Words(values, taken, given)

    def _machine(self) -> _Machine:
        """As it is behind a reset."""
        chunks = [self.fold.chunks_in(kernel.beats) for kernel in self.kernels]
        rows = [kernel.beats // count for kernel, count in zip(self.kernels, chunks, strict=True)]
        ways = _Ways([[NOTHING] * rows[0] for _ in range(self.places)])
        made = [
            _Kernel(count, parts, deque([None] * (depth + 1), depth + 1))
            for count, parts, depth in zip(rows, chunks, self.depths, strict=True)
        ]
        made[0].pace = self.fold.chunks
        moves = [[self.fold.moves.get(group.tensor) for group in kernel.outs] for kernel in self.kernels[:-1]]
        banked = [any(move is not None and move.banks for move in some) for some in moves]
        stores = [_Store.of(count, ways if some else None) for count, some in zip(rows, banked, strict=False)]
        return _Machine(made, stores, self.places, self.by_beat, ways)

    @property
    def _orders(self) -> dict[str, int]:
        """Input of the host -> how many orders it is."""
        read = [(group, self.fold.moves.get(group.tensor)) for kernel in self.kernels for group in kernel.ins]
        counts = {move.order: group.shape[0] for group, move in read if move is not None and move.banks}
        return {name: counts[name] for name in self.fold.host_orders}

    def _outputs(self, machine: _Machine, rows: Array) -> Array:
        """What the last kernel made of each beat that it took."""
        before = tuple(group for group in self.kernels[0].ins if group.kind != "rom")  # from outside
        made = rows[:, : sum(group.size for group in before)]
        for number, kernel in enumerate(self.kernels):
            seen, chunks = machine.kernels[number].seen, machine.kernels[number].chunks
            size = max(VALUES // (kernel.comb.shape[0] + made.shape[1]), 1)
            parts = [np.zeros((0, kernel.comb.shape[1]))]
            for start in range(0, len(seen), size):
                read = _Read(self.fold, self._orders, before, made, rows, seen[start : start + size])
                given = [read.values(group) for group in kernel.ins if group.kind != "rom"]
                rom = kernel.rom[[beat.beat * chunks + beat.key for beat in read.seen]]
                parts.append(predict(kernel.comb, np.concatenate([rom, *given], axis=1)))
            made, before = np.concatenate(parts), kernel.outs
        return made


@dataclass(frozen=True)
class _Read:
    """Values of beats that a kernel takes, by the tokens that stand at its inputs.

    Attributes:
        fold: of the plan.
        orders: input of the host -> how many orders it is.
        before: outputs of the kernel in front.
        made: (tokens, values), what it made.
        rows: (tokens, values of a beat), what came from outside.
        seen: of each beat.
    """

    fold: Folding
    orders: Mapping[str, int]
    before: Sequence[Group]
    made: Array
    rows: Array
    seen: Sequence[Seen]

    def values(self, group: Group) -> Array:
        """What a group of inputs reads: (beats, values)."""
        if group.keys is not None:
            return self._keys(group)
        source, columns = self._columns(group.tensor, group.kind)
        made = self.made[:, columns]
        if group.kind in ("streamed", "keyed"):
            return made[self._tokens(group.kind, group)]
        if group.kind == "row_sums":
            return _wrapped(made[self._tokens("by_row", group)].sum(axis=1), group)
        if group.kind == "row_largest":
            return np.asarray(made[self._tokens("by_row", group)].max(axis=1))
        if group.kind == "filled":
            parts = made[self._tokens("filled", group)]  # (beats, beats of an event, values)
            points = [parts[:, number].reshape(-1, *source.shape) for number in range(parts.shape[1])]
            return np.concatenate(points, axis=self._axis(group.tensor) + 1).reshape(len(self.seen), -1)
        if group.kind == "running":
            return _wrapped(made[self._tokens("running", group)].sum(axis=1), group)
        if group.kind == "spread":
            return self._own(made[self._tokens("event", group)], source)
        if group.kind == "held":
            return made[self._tokens("event", group)]
        return self._moved(group, source, made)

    def _keys(self, group: Group) -> Array:
        """K keys of what stands there for all of them."""
        source, _ = self._columns(group.tensor, group.kind)
        whole = self.values(replace(group, keys=None)).reshape(len(self.seen), *kept_shape(self.fold, source))
        parts = np.stack(np.split(whole, self.fold.chunks, axis=int(group.keys or 0) + 1))
        return parts[[beat.key for beat in self.seen], np.arange(len(self.seen))].reshape(len(self.seen), -1)

    def _columns(self, tensor: str, kind: str) -> tuple[Group, slice]:
        """A group of what the kernel in front made, and where its values stand."""
        start = 0
        for group in self.before:
            if (group.tensor, group.kind) == (tensor, kind):
                return group, slice(start, start + group.size)
            start += group.size
        raise HlsError(f"tensor {tensor}: no kernel writes what a store ({kind}) is to keep of it")

    def _tokens(self, what: str, group: Group) -> Tokens:
        """Tokens of all beats; see `Seen`.

        Raises:
            HlsError: a register was not written.
        """
        tokens = [getattr(beat, what) for beat in self.seen]
        made = np.array(tokens, np.int64) if len({np.size(one) for one in tokens}) == 1 else np.array([NOTHING])
        if not made.size or made.min() < 0:
            raise HlsError(f"tensor {group.tensor}: its store ({group.kind}) is read before an event is complete in it")
        return made

    def _axis(self, tensor: str) -> int:
        axis = self.fold.axes[tensor]
        if axis is None:
            raise HlsError(f"tensor {tensor}: a copy of all points is kept of what has none")
        return axis

    def _own(self, event: Array, source: Group) -> Array:
        """Of values of the event those that each beat reads."""
        axis = self.fold.spread[source.tensor]
        parts = np.stack(np.split(event.reshape(-1, *source.shape), self.fold.beats, axis + 1))
        return parts[[beat.beat for beat in self.seen], np.arange(len(self.seen))].reshape(len(self.seen), -1)

    def _moved(self, group: Group, source: Group, made: Array) -> Array:
        """Rows of points that an order moves: for each row of the beat the beat and lane that it was written in.

        Symbols: n beats, O orders, H heads, T lanes, E channels.
        """
        gathered, move = group.kind == "gathered", self.fold.moves[group.tensor]
        heads, channels = group.shape[1], group.shape[-1]
        rows = made.reshape(len(made), -1, heads, channels)  # gathered: a row of each lane
        if not gathered:  # (O, H, T / S, S, E)
            rows = np.moveaxis(made.reshape(len(made), group.shape[0], heads, -1, channels), 2, 3)
        if move.banks:
            tokens, lanes = self._banked(group)
        else:
            beats, lanes = self._numbered(group) if gathered else self._landed(group)
            filled = self._tokens("filled", group)
            tokens = np.take_along_axis(filled, beats.reshape(len(filled), -1), 1).reshape(beats.shape)
        found = rows[tokens, lanes] if gathered else rows[tokens, np.arange(group.shape[0])[:, None], lanes]
        return np.moveaxis(found, 2, 3).reshape(len(self.seen), -1)  # (n, O, T, H, E) by heads

    def _numbered(self, group: Group) -> tuple[Tokens, Tokens]:
        """Of gathered rows: beat and lane (n, O, T) of the slots that the order names."""
        order = self.fold.moves[group.tensor].order
        kind = next(one.kind for one in self.before if one.tensor == order and one.kind in ("streamed", "spread"))
        source, columns = self._columns(order, kind)
        made = self.made[:, columns][self._tokens("streamed" if kind == "streamed" else "event", group)]
        numbers = made if kind == "streamed" else self._own(made, source)
        return np.divmod(numbers.astype(np.int64).reshape(len(numbers), group.shape[0], -1), self.fold.together)

    def _landed(self, group: Group) -> tuple[Tokens, Tokens]:
        """Of scattered rows: beat and lane (n, O, T) of the places that the slots of a beat were written from."""
        _, columns = self._columns(self.fold.moves[group.tensor].order, "places")
        numbers = self.made[:, columns][self._tokens("filled", group)]  # (n, beats of an event, O T)
        numbers = np.moveaxis(numbers.reshape(*numbers.shape[:2], group.shape[0], -1), 2, 1)
        places = np.argsort(numbers.reshape(*numbers.shape[:2], -1), axis=2)
        own = np.array([beat.beat for beat in self.seen])[:, None] * self.fold.together + np.arange(self.fold.together)
        chosen = np.take_along_axis(places, np.broadcast_to(own[:, None], (*places.shape[:2], own.shape[1])), 2)
        return np.divmod(chosen, self.fold.together)

    def _banked(self, group: Group) -> tuple[Tokens, Tokens]:
        """Of rows in memory banks: token and lane (n, O, T) that the words of the host lead to."""
        lanes, blocks, banks = WORDS[group.kind]
        written = self._words(group, lanes, self._tokens("written", group))  # (n, beats of an event, O, T): of a bank
        read = self._tokens("read", group)
        bank = self._words(group, banks, read)  # (n, O, T): of a lane
        block = np.take_along_axis(self._words(group, blocks, read), bank, 2)
        number, order = np.ogrid[: len(bank), : bank.shape[1]]
        lane = written[number[..., None], block, order[..., None], bank]
        tokens = np.take_along_axis(self._tokens("banked", group), block.reshape(len(block), -1), 1)
        return tokens.reshape(block.shape), lane

    def _words(self, group: Group, kind: str, tokens: Tokens) -> Tokens:
        """A kind of words of the host for all orders, of beats from outside: (..., O, T)."""
        kinds, together = [word for some in WORDS.values() for word in some], self.fold.together
        widths = {name: count * len(kinds) * together for name, count in self.orders.items()}
        start = self.rows.shape[1] - sum(widths.values())
        for name, width in widths.items():
            if name == self.fold.moves[group.tensor].order:
                words = self.rows[:, start : start + width].reshape(len(self.rows), -1, len(kinds), together)
                return words[:, :, kinds.index(kind)][tokens].astype(np.int64)
            start += width
        raise HlsError(f"tensor {group.tensor}: the host gives no words for its order")


def _wrapped(values: Array, group: Group) -> Array:
    """Sums in the bits that the accumulators have."""
    columns = zip(values.T, *(np.ravel(part) for part in group.kif), strict=True)
    return np.stack(
        [Fixed(bool(k), int(i), int(f), "TRN", "WRAP").quantise(column) for column, k, i, f in columns], axis=1
    )
