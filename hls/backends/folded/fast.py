"""Kernels and stores of folded firmware as a program of compiled arithmetic: what each beat reads, and what it writes.

Nothing is copied between kernels: a store is the places that the kernel in front has written, seen in the order in
which the kernel behind reads them. Only sums over the points are made on the way, and rows that an order moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.compiled import Forms, Program, Step, out_fractions
from hls.backends.folded.kernels import Group, Kernel, kept_shape
from qformers.quant.phases import BY_ROW, Folding

Numbers = NDArray[np.int64]
NARROW = ("gathered", "scattered", "spread")  # stores that give all beats, or all rows, the same format


@dataclass
class _Memory:
    """Places of vectors that are given away one after the other."""

    size: int = 0

    def take(self, *shape: int) -> Numbers:
        """So many new places."""
        count = int(np.prod(shape))
        self.size += count
        return (self.size - count + np.arange(count)).reshape(shape)


@dataclass
class _Moves:
    """Rows of `Step`: gathers, scatters and slots."""

    gathers: list[Numbers] = field(default_factory=list)
    scatters: list[Numbers] = field(default_factory=list)
    slots: list[Numbers] = field(default_factory=list)


@dataclass(frozen=True)
class _Boundary:
    """Between two kernels.

    Attributes:
        fold: how an event comes.
        kernel, behind: the one in front and the one behind.
        outs: (beats, values), where the outputs of the one in front stand.
        fractions: (values,), their fraction bits.
        orders: input of the host -> (O, N), where its numbers stand.
        memory: for what is made here.
    """

    fold: Folding
    kernel: Kernel
    behind: Kernel
    outs: Numbers
    fractions: Numbers
    orders: dict[str, Numbers]
    memory: _Memory

    def ins(self, totals: Mapping[str, Numbers], moves: _Moves) -> Numbers:
        """(beats, inputs): where the inputs of the kernel behind stand, but for those of its ROM.

        Args:
            totals: store -> (1 or B, values), places of sums and of largest values.
            moves: takes what moves rows.
        """
        parts = []
        for group in self.behind.ins:
            if group.kind == "rom":
                continue
            part = self._part(group, totals, moves)
            if group.keys is not None:
                part = self._keys(group, part)
            elif 1 < len(part) < self.behind.beats:
                part = np.repeat(part, self.behind.beats // len(part), axis=0)  # the same for all keys
            parts.append(np.broadcast_to(part, (self.behind.beats, group.size)))
        return np.concatenate(parts, axis=1)

    def _part(self, group: Group, totals: Mapping[str, Numbers], moves: _Moves) -> Numbers:
        """Of a group of inputs: (1, B or B C, values) places, all keys of them."""
        source, _, made = self._written(group.tensor, group.kind)
        rows = _of_rows(made, self.fold)
        if group.kind == "keyed":
            return made
        if group.kind == "streamed":
            return rows
        if group.kind == "filled":
            beats = [row.reshape(source.shape) for row in rows]
            return np.concatenate(beats, axis=self.fold.axes[group.tensor] or 0).reshape(1, -1)
        if group.kind in totals:
            columns = _columns(self.kernel.outs, group.kind).tolist()
            start = columns.index(_spans(self.kernel.outs)[group.tensor, group.kind][1])
            return totals[group.kind][:, start : start + source.size]
        if group.kind == "spread":
            return self._spread(source, made)
        if group.kind == "gathered":
            return self._gathered(group, made, moves)
        if group.kind == "scattered":
            return self._scattered(group, made, moves)
        return made[:1]

    def _keys(self, group: Group, part: Numbers) -> Numbers:
        """(1 or B, all keys) as (B C, K keys of them)."""
        shape = kept_shape(self.fold, self._written(group.tensor, group.kind)[0])
        cut = np.split(part.reshape(len(part), *shape), self.fold.chunks, axis=(group.keys or 0) + 1)
        keys = np.stack([one.reshape(len(part), -1) for one in cut], axis=1)
        return np.broadcast_to(keys, (self.fold.beats, *keys.shape[1:])).reshape(self.fold.interval, -1)

    def _written(self, tensor: str, kind: str) -> tuple[Group, int, Numbers]:
        """An output of the kernel in front: its group, its first column, and (beats, values) its places."""
        group, start = _spans(self.kernel.outs)[tensor, kind]
        return group, start, self.outs[:, start : start + group.size]

    def _spread(self, source: Group, made: Numbers) -> Numbers:
        rows = np.split(made[0].reshape(source.shape), self.fold.beats, axis=self.fold.spread[source.tensor])
        return np.stack([row.ravel() for row in rows])

    def _gathered(self, group: Group, made: Numbers, moves: _Moves) -> Numbers:
        """Rows (T, H, E) of slots; each beat reads (O, H, T, E), by the numbers of its places."""
        orders, heads, channels = group.shape[0], group.shape[1], group.shape[-1]
        numbers, shift = self._numbers(group, ("streamed", "spread"))  # (B, O, T)
        beats, _, together = numbers.shape
        rows = made.reshape(-1, heads, channels)  # (N, H, E)
        places = self.memory.take(beats, orders, heads, together, channels)
        for head, channel in np.ndindex(heads, channels):
            moves.slots.append(rows[:, head, channel])
            own = places[:, :, head, :, channel]
            row = np.full(own.size, len(moves.slots) - 1)
            moves.gathers.append(np.stack([own.ravel(), numbers.ravel(), np.full(own.size, shift), row], axis=1))
        return places.reshape(beats, -1)

    def _scattered(self, group: Group, made: Numbers, moves: _Moves) -> Numbers:
        """Rows (O, H, T / S, S, E) of places; each goes to the slot (O, H, T, E) whose number stands there."""
        orders, heads, together, channels = group.shape
        numbers, shift = self._numbers(group, ("places",))  # (B, O, T)
        beats = len(numbers)
        rows = made.reshape(beats, orders, heads, together, channels)
        places = self.memory.take(beats, orders, heads, together, channels)
        for order, head, channel in np.ndindex(orders, heads, channels):
            moves.slots.append(places[:, order, head, :, channel].ravel())  # (N,)
            own = rows[:, order, head, :, channel]
            row = np.full(own.size, len(moves.slots) - 1)
            given = numbers[:, order]
            moves.scatters.append(np.stack([own.ravel(), given.ravel(), np.full(own.size, shift), row], axis=1))
        return places.reshape(beats, -1)

    def _numbers(self, group: Group, kinds: Sequence[str]) -> tuple[Numbers, int]:
        """Where the numbers of an order stand, (B, O, T), and how many bits they have behind the point."""
        move, orders = self.fold.moves[group.tensor], group.shape[0]
        if move.banks:
            host = self.orders[move.order]
            return np.moveaxis(host.reshape(orders, self.fold.beats, -1), 0, 1), 0
        spans = _spans(self.kernel.outs)
        kind = next(kind for kind in kinds if (move.order, kind) in spans)
        source, start, made = self._written(move.order, kind)
        places = self._spread(source, made) if kind == "spread" else made
        return places.reshape(len(places), orders, -1), int(self.fractions[start])


def program_of(fold: Folding, kernels: Sequence[Kernel]) -> Program:
    """The program of a machine.

    Args:
        fold: how an event comes.
        kernels: in order. The values of an event are those of the beats of the first one, one beat after the other,
            then the orders (O, N) that the host gives as banks.
    """
    memory, first = _Memory(), kernels[0]
    outside = tuple(group for group in first.ins if group.kind != "rom")
    ins = memory.take(first.beats, sum(group.size for group in outside))
    forms = [_forms(outside)] * first.beats
    orders = {name: memory.take(count, fold.points) for name, count in _orders(fold, kernels).items()}
    forms += [_counting(places.size, fold.points) for places in orders.values()]
    nothing = memory.take(1)
    steps, constants = [], [(nothing, np.zeros(1, np.int64))]
    outs, fractions, before = ins, out_fractions(first.comb), np.zeros(0, np.int64)
    for number, kernel in enumerate(kernels):
        rom = memory.take(*kernel.rom.shape)
        constants.append((rom.ravel(), _whole(kernel).ravel()))
        ins = np.concatenate([rom, ins], axis=1)
        outs, own = memory.take(kernel.beats, kernel.comb.shape[1]), out_fractions(kernel.comb)
        tables, left, moves = {"ins": ins, "outs": outs}, np.zeros_like(own), _Moves()
        given = _given(kernel, kernels[number - 1], before) if number else _forms(kernel.ins)
        terms = {kind: _terms(fold, outs[:, _columns(kernel.outs, kind)], kind) for kind in ("running", *BY_ROW)}
        totals = {kind: memory.take(*some.shape[:2]) for kind, some in terms.items()}
        if number + 1 < len(kernels):
            behind = kernels[number + 1]
            left = _left(fold, kernel, behind, own)
            ins = _Boundary(fold, kernel, behind, outs, own + left, orders, memory).ins(totals, moves)
        fractions, before = own + left, left
        added = [_flat(terms[kind]) for kind in ("running", "row_sums")]
        tables |= {"sums": _side_by_side(added, int(nothing[0])), "largest": _flat(terms["row_largest"])}
        tables["totals"] = np.concatenate([totals[kind].ravel() for kind in ("running", "row_sums")])
        tables |= {"tops": totals["row_largest"].ravel(), "slots": _stacked(moves.slots, fold.points)}
        tables |= {"gathers": _rows(moves.gathers), "scatters": _rows(moves.scatters)}
        narrow = {name: table.astype(np.int32) for name, table in tables.items()}
        steps.append(Step(kernel.comb, given, left=left, **narrow))
    every = Forms(*(np.concatenate([getattr(form, part) for form in forms]) for part in Forms.__dataclass_fields__))
    where, what = (np.concatenate(parts) for parts in zip(*constants, strict=True))
    outputs, fractions = _outputs(fold, kernels[-1], outs, fractions)
    return Program(tuple(steps), memory.size, every, outputs.astype(np.int32), fractions, where.astype(np.int32), what)


def _outputs(fold: Folding, last: Kernel, outs: Numbers, fractions: Numbers) -> tuple[Numbers, Numbers]:
    """Where the outputs of the model stand, one after the other, and their fraction bits."""
    places, bits = list[Numbers](), list[Numbers]()
    for group, start in _spans(last.outs).values():
        made, axis = outs[:, start : start + group.size], fold.axes.get(group.tensor)
        own = np.broadcast_to(fractions[start : start + group.size], made.shape)
        for parts, table in ((places, made), (bits, own)):
            rows = [row.reshape(group.shape) for row in table]
            parts.append(np.ravel(rows[0] if axis is None else np.concatenate(rows, axis=axis)))
    return np.concatenate(places), np.concatenate(bits)


def _orders(fold: Folding, kernels: Sequence[Kernel]) -> dict[str, int]:
    """Input of the host -> how many orders it is."""
    read = [(group, fold.moves.get(group.tensor)) for kernel in kernels for group in kernel.ins]
    counts = {move.order: group.shape[0] for group, move in read if move is not None and move.banks}
    return {name: counts[name] for name in fold.host_orders}


def _counting(values: int, points: int) -> Forms:
    """Of numbers of points."""
    zeros = np.zeros(values, np.int64)
    return Forms(zeros, zeros + max((points - 1).bit_length(), 1), zeros)


def _stacked(slots: Sequence[Numbers], points: int) -> Numbers:
    return np.stack(slots) if slots else np.zeros((0, points), np.int64)


def _rows(moves: Sequence[Numbers]) -> Numbers:
    return np.concatenate(moves) if moves else np.zeros((0, 4), np.int64)


def _whole(kernel: Kernel) -> Numbers:
    """The ROM of a kernel in the steps of its formats."""
    fractions = [np.ravel(group.kif[2]).astype(np.float64) for group in kernel.ins if group.kind == "rom"]
    return (kernel.rom * 2.0 ** np.concatenate([np.zeros(0), *fractions])).astype(np.int64)


def _forms(groups: Sequence[Group]) -> Forms:
    return Forms.of([np.concatenate([np.ravel(group.kif[part]) for group in groups]) for part in range(3)])


def _spans(groups: Sequence[Group]) -> dict[tuple[str, str], tuple[Group, int]]:
    """Tensor and store -> its group, and where its values begin."""
    starts = np.cumsum([0, *(group.size for group in groups)]).tolist()
    return {(group.tensor, group.kind): (group, start) for group, start in zip(groups, starts, strict=False)}


def _of_rows(made: Numbers, fold: Folding) -> Numbers:
    """(1, B or B C, values) as (1 or B, values): what is the same for all keys, as it is with the last of them."""
    chunks = fold.chunks_in(len(made))
    return made[chunks - 1 :: chunks]


def _terms(fold: Folding, made: Numbers, kind: str) -> Numbers:
    """(1 or B, values, terms): places of what is summed up, or compared, of the event or of each row."""
    if kind == "running":
        return _of_rows(made, fold).T[None]
    if not made.shape[1]:
        return np.zeros((0, 0, 1), np.int64)
    return np.moveaxis(made.reshape(fold.beats, -1, made.shape[1]), 1, 2)


def _flat(terms: Numbers) -> Numbers:
    """As (sums, terms)."""
    return terms.reshape(-1, terms.shape[2])


def _side_by_side(tables: Sequence[Numbers], nothing: int) -> Numbers:
    """Sums of several numbers of terms; `nothing` is the place of a zero."""
    terms = max(table.shape[1] for table in tables)
    filled = [np.pad(one, ((0, 0), (0, terms - one.shape[1])), constant_values=nothing) for one in tables]
    return np.concatenate(filled)


def _given(kernel: Kernel, before: Kernel, left: Numbers) -> Forms:
    """Formats of what stands at the inputs of a kernel: of values that `before` has shifted, finer ones."""
    forms, spans, shifts = _forms(kernel.ins), _spans(before.outs), []
    for group in kernel.ins:
        shift = np.zeros(group.size, np.int64)
        if group.keys is None and group.kind in ("streamed", "filled", "held"):
            source, start = spans[group.tensor, group.kind]
            own = left[start : start + source.size].reshape(source.shape)
            parts = [size // mine for size, mine in zip(group.shape, source.shape, strict=True)]
            shift = np.tile(own, parts).ravel()
        shifts.append(shift)
    return Forms(forms.signed, forms.integer, forms.fraction + np.concatenate(shifts))


def _columns(groups: Sequence[Group], kind: str) -> Numbers:
    """Values of the groups of a kind."""
    parts = [start + np.arange(group.size) for group, start in _spans(groups).values() if group.kind == kind]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _left(fold: Folding, kernel: Kernel, behind: Kernel, own: Numbers) -> Numbers:
    """Shifts of the outputs of a kernel: what has one format for all beats or rows comes in the steps of the finest."""
    left, read = np.zeros_like(own), _spans(behind.ins)
    for (tensor, kind), (group, start) in _spans(kernel.outs).items():
        if kind not in NARROW:
            continue
        steps, columns = read[tensor, kind][0].kif[2].astype(np.int64), slice(start, start + group.size)
        if kind == "spread":
            keys = read[tensor, kind][0].keys
            steps = steps if keys is None else np.concatenate([steps] * fold.chunks, axis=keys)
            steps = np.concatenate([steps] * fold.beats, axis=fold.spread[tensor])
        elif kind == "gathered":  # read: (O, H, T / S, S, E), given: (T, H, E)
            steps = np.broadcast_to(steps[0, :, 0, 0], group.shape)
        else:  # read: (O, H, T, E), given: (O, H, T / S, S, E)
            steps = np.broadcast_to(steps[:, :, 0, None, None], group.shape)
        left[columns] = np.ravel(steps) - own[columns]
    spans = _spans(kernel.outs)
    for one in (one for one in behind.ins if one.keys is not None and one.kind != "spread"):
        group, start = spans[one.tensor, one.kind]
        steps = np.concatenate([one.kif[2].astype(np.int64)] * fold.chunks, axis=one.keys)
        if one.kind == "filled":  # the same for all beats
            axis = fold.axes[one.tensor] or 0
            steps = np.take(steps, range(group.shape[axis]), axis=axis)
        columns = slice(start, start + group.size)
        left[columns] = np.ravel(steps) - own[columns]
    return left
