"""A plan of folded firmware: which layers work on the points as they come, and where all points are needed first.

The points of an event come T at a time, in N / T beats. A layer whose output at a point needs that point alone is part
of a **kernel**, which does the same for every beat. Where a layer needs more than that (keys and values of attention, a
sum over points) the event has to be complete: the model is cut there into **phases**. Phase 0 takes the points from
outside; phase p + 1 takes what phase p has left in the stores of the boundary between them:

- ``streamed``: values of the points, one beat after the other again (memory of two events);
- ``filled``: values of all points at once (registers, and a second copy that the next event does not touch);
- ``running``: sums over the points (accumulators);
- ``held``: values of the event, which a later phase needs again (registers);
- ``spread``: values of the event of which a beat reads its own part (registers, and a selection by the beat);
- ``gathered``: rows of all points, of which a beat reads those that the numbers of an order name (registers, and
  multiplexers; or memory banks, where the host says in which bank each row lies);
- ``scattered``: rows that are written where the numbers of an order say, and come beat by beat again (likewise);
- ``places``: these numbers, which lead rows to their places and are not kept.

A value that is needed some phases later passes through the kernels and stores in between.

Weights that differ from point to point come with the beat, from a ROM (``Work.rom``). A triangle of pairs i > j is
computed by rows: beat i makes its pairs with all j, each pair twice, which needs no memory of pairs and the arithmetic
of T * N pairs instead of N (N - 1) / 2 (`Triangle`).

Blocks of S points come in whole: T is a multiple of S, and what counts blocks counts beats as well (T / S of them in
each). Outputs are those of an event, or come beat by beat as they are made.

Which axis of a tensor counts the points follows from the letters of the equations and the roles that an architecture
declares for them (`qformers.nn.memory`). Symbols: N points, T of them per clock, B = N / T beats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from hgq.layers import QAdd, QEinsum, QEinsumDense, QSoftmax, QSubtract, QUnaryFunctionLUT
from hgq.quantizer import Quantizer
from numpy.typing import NDArray

from qformers.errors import ConfigError
from qformers.nn.index.lsh import FromBlocks, GivenOrder, ToBlocks
from qformers.nn.index.select import Largest
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.memory import Memory, inputs_of, memory_of

Array = NDArray[np.float64]

POINTS = ("point", "pair")  # roles of axes along which an event is taken apart
BLOCKS = "block"  # role of an axis of blocks of points
BY_VALUE = (QAdd, QSubtract, QUnaryFunctionLUT, Quantizer)  # layers that do the same to every value
OF_ALL = (SortedOrder,)  # layers that need all points at once
MOST_TERMS = 2  # of a sum that is made of all points at once, since its terms differ from point to point
MOVED = ("gathered", "scattered", "places")  # stores in which an order moves rows
CARRIED = ("streamed", "filled", "running", "held", "spread", *MOVED)
SAME = "use quant.granularity: channel or tensor, or backend: alkaid"
ELSE = "use backend: alkaid, which takes all points at once"
NUMBERS = "set firmware.moved_rows: registers, which takes the numbers of the order"


@dataclass(frozen=True)
class Place:
    """Where a tensor is computed: in which phase, and along which axis (without the event's) it comes beat by beat.

    `axis` None: a value of the event, the same for all beats.
    """

    phase: int
    axis: int | None


@dataclass(frozen=True)
class Use:
    """How a layer reads an input: `axis` as it comes, or None for all of it.

    `store`: one of `MOVED` where it is read in front of the boundary before the layer, which moves it; "" elsewhere.
    """

    tensor: str
    axis: int | None
    store: str = ""


@dataclass(frozen=True)
class Work:
    """A layer in a phase.

    Attributes:
        layer: of the Keras model.
        phase: in which it is computed.
        uses: its inputs.
        tensor: its output; `partial` of it for a sum over the points.
        axis: along which the output comes; None for a value of the event.
        cut: axis of the kernel that counts points, along which it is cut into beats; None where it has none.
        sums: a sum over points: of a beat here, of the event in the accumulator behind. No bias, no activation.
        ends: what is left of a sum over points in the phase behind: bias, activation, rounding of the output.
        rom: "kernel" or "bias" -> (B, ...), the part of each beat, where these differ; what is not here is the same for
            all beats.
        choice: how values are picked into and out of rows of a triangle; None elsewhere.
    """

    layer: Any
    phase: int
    uses: tuple[Use, ...]
    tensor: str
    axis: int | None
    cut: int | None = None
    sums: bool = False
    ends: bool = False
    rom: Mapping[str, Array] = field(default_factory=dict)
    choice: Choice | None = None


@dataclass(frozen=True)
class Choice:
    """Values of a row (t, j) that are one of a few sums, and which one depends on the row.

    Attributes:
        sums: factors of the row's own value and of value j.
        which: (B, T * N) number of the sum.
    """

    sums: tuple[tuple[float, float], ...]
    which: NDArray[np.int64]


@dataclass(frozen=True)
class Triangle:
    """Pairs i > j along one axis that are computed row by row.

    Attributes:
        index: (N, N) place of the pair (i, j) along the axis; -1 where there is none.
        axes: tensor -> its axis of pairs.
        fills: layers that spread the pairs over rows and columns.
    """

    index: NDArray[np.int64]
    axes: Mapping[str, int]
    fills: frozenset[str]


@dataclass(frozen=True)
class Boundary:
    """What lies between two phases: names of tensors by the store that keeps them."""

    streamed: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()
    gathered: tuple[str, ...] = ()
    scattered: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Move:
    """What moves rows of points between two phases.

    Attributes:
        rows: the tensor whose rows move.
        order: (1, O, 1, N), the slot that stands at each place; of banks the input (O, N) of the model.
        banks: the host says in which memory bank each row lies.
    """

    rows: str
    order: str
    banks: bool = False


@dataclass(frozen=True)
class Folding:
    """How an event comes.

    Attributes:
        points: N.
        together: T.
        axes: tensor -> axis along which it comes, None for a value of the event.
        spread: tensor of the event -> axis along which beats read it.
        moves: layer that gathers or scatters -> what it moves.
    """

    points: int
    together: int
    axes: Mapping[str, int | None]
    spread: Mapping[str, int] = field(default_factory=dict)
    moves: Mapping[str, Move] = field(default_factory=dict)

    @property
    def beats(self) -> int:
        """B."""
        return self.points // self.together

    @property
    def host_orders(self) -> tuple[str, ...]:
        """Inputs of the model that no kernel reads: the host gives banks in their place."""
        return tuple(dict.fromkeys(move.order for move in self.moves.values() if move.banks))


@dataclass(frozen=True)
class Plan:
    """All phases of a model.

    Attributes:
        model: the Keras model.
        fold: how an event comes.
        works: per phase its layers, in order.
        boundaries: behind each phase but the last.
        shapes: tensor -> its shape without the event's axis.
        triangles: of pairs that are computed by rows.
    """

    model: Any
    fold: Folding
    works: tuple[tuple[Work, ...], ...]
    boundaries: tuple[Boundary, ...]
    shapes: Mapping[str, tuple[int, ...]]
    triangles: tuple[Triangle, ...] = ()

    def beats_of(self, phase: int) -> int:
        """Beats of a phase: B, or 1 where nothing comes point by point."""
        before = self.boundaries[phase - 1] if phase else None
        comes = before is None or before.streamed or before.spread or before.gathered or before.scattered
        return self.fold.beats if comes or any(work.rom for work in self.works[phase]) else 1

    def beat_shape(self, tensor: str, axis: int | None) -> tuple[int, ...]:
        """Shape of what a beat brings of a tensor that comes along `axis`, or of all of it."""
        shape = self.shapes[tensor]
        if axis is None:
            return shape
        rows = any(tensor in triangle.axes for triangle in self.triangles)
        length = self.fold.together * self.fold.points if rows else shape[axis] // self.fold.beats
        return (*shape[:axis], length, *shape[axis + 1 :])


class Unfolded(ConfigError):
    """A layer or a setting that cannot be folded.

    Attributes:
        name, kind: of the layer and its class, or of the setting.
        reason, way_out: why, and what to do instead.
    """

    def __init__(self, name: str, kind: str, reason: str, way_out: str) -> None:
        super().__init__(f"firmware.backend: folded: {name} ({kind}): {reason}; {way_out}")
        self.name, self.kind, self.reason, self.way_out = name, kind, reason, way_out


def named(tensor: Any) -> str:
    """A tensor is called by the layer that makes it, or as the input of the model."""
    return str(tensor._keras_history.operation.name)


def partial(tensor: str) -> str:
    """What the sum over points of a beat is called, and of all beats so far."""
    return f"{tensor}/sum"


def _refuse(layer: Any, reason: str, way_out: str) -> Unfolded:
    return Unfolded(layer.name, type(layer).__name__, reason, way_out)


@dataclass
class _Planner:
    """Goes through the layers in order and says in which phase each is computed."""

    model: Any
    points: int
    together: int
    letters: Mapping[str, str]
    triangles: Sequence[Triangle] = ()
    places: dict[str, Place] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)
    moves: dict[str, Move] = field(default_factory=dict)
    banks: bool = False
    host_orders: dict[str, str] = field(default_factory=dict)  # order that the host gives as banks -> the input

    @property
    def beats(self) -> int:
        """B."""
        return self.points // self.together

    def take(self, layer: Any) -> None:
        """One more layer."""
        tensors = inputs_of(layer)
        if any(named(tensor) in self.host_orders for tensor in tensors) and not isinstance(
            layer, ToBlocks | FromBlocks
        ):
            raise _refuse(layer, "it reads the numbers of an order", NUMBERS)
        if isinstance(layer, QEinsum | QEinsumDense):
            self._einsum(layer, tensors)
        elif isinstance(layer, BY_VALUE):
            self._by_value(layer, tensors)
        elif isinstance(layer, QSoftmax):
            self._over(layer, tensors[0], layer.axes)
        elif isinstance(layer, Largest):
            self._over(layer, tensors[0], (layer.axis,))
        elif isinstance(layer, keras.layers.Reshape):
            self._reshape(layer, tensors[0])
        elif isinstance(layer, keras.layers.Concatenate):
            self._concatenate(layer, tensors)
        elif isinstance(layer, GivenOrder):
            self._given_order(layer, tensors)
        elif isinstance(layer, ToBlocks | FromBlocks):
            self._move(layer, tensors)
        elif isinstance(layer, OF_ALL) or all(self.places[named(tensor)].axis is None for tensor in tensors):
            self._add(layer, [Use(named(tensor), None) for tensor in tensors], None)
        else:
            raise _refuse(layer, "it is not known how it works on points that come one after the other", ELSE)

    def _einsum(self, layer: Any, tensors: Sequence[Any]) -> None:
        spelled, out = layer.equation.split("->")
        terms = spelled.split(",")
        kernel = terms.pop() if isinstance(layer, QEinsumDense) else ""
        terms, out = [term[1:] for term in terms], out[1:]  # without the event's axis, which comes first
        if self._into_rows(layer, terms, out, kernel) or self._out_of_rows(layer, terms, out):
            return
        comes = {
            index: term[place.axis]
            for index, (term, tensor) in enumerate(zip(terms, tensors, strict=True))
            if (place := self.places[named(tensor)]).axis is not None
        }
        sizes = dict(zip(out, layer.output.shape[1:], strict=True))
        blocks = (a for a in comes.values() if self.letters.get(a) == BLOCKS and a in out)
        rows = (a for a in out if self.letters.get(a) in POINTS and sizes[a] == self.points)
        row = next(blocks, None) or next(rows, None)
        for triangle in self.triangles:
            row = out[triangle.axes[layer.name]] if layer.name in triangle.axes else row
        if row is None:
            summed = set(comes.values())
            if len(summed) > 1:
                raise _refuse(layer, "it sums over two axes of points", ELSE)
            letter = summed.pop() if summed else None
            sums = letter is not None
        else:
            letter, sums = row, False
        if letter is not None and letter in kernel and _few_terms(layer, kernel.index(letter)):
            letter, sums = None, False  # of all points at once it costs next to nothing
        uses = []
        for index, (term, tensor) in enumerate(zip(terms, tensors, strict=True)):
            axis = term.index(letter) if letter is not None and letter in term else None
            if axis is not None and comes.get(index, letter) != letter and self.beats > 1:
                raise _refuse(layer, "it reads along one axis of points what comes along another one", ELSE)
            uses.append(Use(named(tensor), axis))
        cut = kernel.index(letter) if letter is not None and letter in kernel else None
        axis = out.index(letter) if letter is not None and not sums else None
        self._add(layer, uses, axis, cut, sums)

    def _into_rows(self, layer: Any, terms: Sequence[str], out: str, kernel: str) -> bool:
        """Values of points as pairs of a row: sums of the row's own value and of value j."""
        tensor = named(inputs_of(layer)[0])
        triangle = next((one for one in self.triangles if layer.name in one.axes and tensor not in one.axes), None)
        if triangle is None:
            return False
        axis = terms[0].index(kernel[0])
        choice = _choice(layer, triangle, self.points // self.together)
        self._add(layer, [Use(tensor, None), Use(tensor, axis)], triangle.axes[layer.name], choice=choice)
        return True

    def _out_of_rows(self, layer: Any, terms: Sequence[str], out: str) -> bool:
        """Pairs of a row into columns; nothing where there is no pair."""
        triangle = next((one for one in self.triangles if layer.name in one.fills), None)
        if triangle is None:
            return False
        tensor = named(inputs_of(layer)[0])
        there = (triangle.index >= 0).astype(int).reshape(self.points // self.together, -1)
        rows = next(place for place, letter in enumerate(out) if letter not in terms[0])
        self._add(layer, [Use(tensor, triangle.axes[tensor])], rows, choice=Choice(((0.0, 0.0), (0.0, 1.0)), there))
        return True

    def _by_value(self, layer: Any, tensors: Sequence[Any]) -> None:
        places = [self.places[named(tensor)] for tensor in tensors]
        axes = {place.axis for place in places if place.axis is not None}
        ranks = {len(tensor.shape) for tensor in tensors}
        if (len(axes) > 1 and self.beats > 1) or len(ranks) > 1:
            raise _refuse(layer, "its inputs come along different axes", ELSE)
        axis = axes.pop() if axes else None
        pairs = any(layer.name in triangle.axes for triangle in self.triangles)
        length = 1 if axis is None or pairs else int(layer.output.shape[axis + 1])
        uses = []
        for tensor, place in zip(tensors, places, strict=True):
            size = 1 if axis is None else int(tensor.shape[axis + 1])
            along = place.axis is not None or size == length > 1
            uses.append(Use(named(tensor), axis if along else None))
        self._add(layer, uses, axis)

    def _over(self, layer: Any, tensor: Any, axes: Sequence[int]) -> None:
        """A layer that looks at all values along some axes, counted from the event's: over points it waits for all."""
        axis = self.places[named(tensor)].axis
        over = [number % len(tensor.shape) - 1 for number in axes]
        axis = None if axis in over else axis
        self._add(layer, [Use(named(tensor), axis)], axis)

    def _reshape(self, layer: Any, tensor: Any) -> None:
        """The values of a beat stay side by side, as many axes as they have; points become blocks, or blocks points."""
        before, after = tuple(tensor.shape[1:]), tuple(layer.output.shape[1:])
        axis = self.places[named(tensor)].axis
        place = None
        if axis is not None:
            outer = math.prod(before[:axis])
            there = [number for number in range(len(after)) if math.prod(after[:number]) == outer]
            if not there:
                raise _refuse(layer, f"it joins other values with the axis of points. Received: {before}", ELSE)
            place = axis if axis in there and after[axis] == before[axis] else there[-1]
            self._refuse_cut_blocks(layer, after[place], before[axis] // after[place])
        self._add(layer, [Use(named(tensor), axis)], place)

    def _refuse_cut_blocks(self, layer: Any, blocks: int, size: int) -> None:
        """Refuse beats that cut blocks of S points in two."""
        if blocks % self.beats:
            whole = [n for n in range(size, self.points + 1, size) if self.points % n == 0]
            raise Unfolded(
                "firmware.points_per_clock",
                "setting",
                f"must be a multiple of the {size} points of a block (layer {layer.name}). Received: {self.together}",
                f"take one of {', '.join(map(str, whole))}",
            )

    def _concatenate(self, layer: Any, tensors: Sequence[Any]) -> None:
        axes = {place.axis for tensor in tensors if (place := self.places[named(tensor)]).axis is not None}
        joined = layer.axis % len(layer.output.shape) - 1
        if joined in axes and self.beats > 1:
            raise _refuse(layer, "it joins points with others, and they come one after the other", ELSE)
        self._by_value(layer, tensors)

    def _given_order(self, layer: Any, tensors: Sequence[Any]) -> None:
        """The numbers of the places of a beat, as they come; the mask gives nothing but N."""
        if self.banks:
            if self.host_orders:
                raise _refuse(layer, "it is a second order of the host", NUMBERS)
            self.host_orders[layer.name] = named(tensors[0])
            return
        axis = self.places[named(tensors[0])].axis
        place = None if axis is None else len(layer.output.shape) - 2
        self._add(layer, [Use(named(tensor), self.places[named(tensor)].axis) for tensor in tensors], place)

    def _move(self, layer: Any, tensors: Sequence[Any]) -> None:
        """Rows into the blocks of an order, or back: the boundary in front of the layer does it."""
        rows, order = map(named, tensors)
        sides, _, heads, _ = tensors[1].shape[1:]
        if (sides, heads) != (1, 1):
            raise _refuse(layer, f"it needs an order of its own for {sides} sides and {heads} heads", ELSE)
        gathers = isinstance(layer, ToBlocks)
        come, block_axis = self.places[rows].axis, 2
        blocks, size = (layer.output if gathers else tensors[0]).shape[block_axis + 1 : block_axis + 3]
        self._refuse_cut_blocks(layer, blocks, size)
        if come != (0 if gathers else block_axis):
            raise _refuse(layer, "it moves rows of points that come in another way", ELSE)
        uses = [Use(rows, come, "gathered" if gathers else "scattered")]
        if order not in self.host_orders:
            uses.append(Use(order, len(tensors[1].shape) - 2, "" if gathers else "places"))
        self._add(layer, uses, 2)
        self.moves[layer.name] = Move(rows, self.host_orders.get(order, order), order in self.host_orders)

    def _add(
        self,
        layer: Any,
        uses: Sequence[Use],
        axis: int | None,
        cut: int | None = None,
        sums: bool = False,
        choice: Choice | None = None,
    ) -> None:
        phase = 0
        for use in uses:
            place = self.places[use.tensor]
            waits = (use.axis is None) != (place.axis is None)
            phase = max(phase, place.phase + waits + bool(use.store))
        tensor = partial(layer.name) if sums else layer.name
        self.works.append(Work(layer, phase, tuple(uses), tensor, axis, cut, sums, choice=choice))
        self.places[tensor] = Place(phase, axis)
        if sums:
            self.works.append(Work(layer, phase + 1, (Use(tensor, None),), layer.name, None, ends=True))
            self.places[layer.name] = Place(phase + 1, None)


def points_of(model: Any) -> int:
    """N of a model with a memory (`qformers.nn.memory`).

    Raises:
        Unfolded: it has none, or its inputs have not the same points.
    """
    return _comes(model)[1]


def _comes(model: Any) -> tuple[Memory, int, dict[str, int | None]]:
    """The memory of a model, its N, and the axis of each input that counts points."""
    memory = memory_of(model)
    if memory is None:
        raise _refuse(model, "its file does not say which axes count points", "train it again, or build it anew")
    roles = {named(tensor): tuple(memory.inputs[named(tensor)][1:]) for tensor in model.inputs}
    axes = {name: next((i for i, role in enumerate(kinds) if role in POINTS), None) for name, kinds in roles.items()}
    places = [(tensor, axes[named(tensor)]) for tensor in model.inputs]
    sizes = {int(tensor.shape[axis + 1]) for tensor, axis in places if axis is not None}
    if None in axes.values() or len(sizes) != 1:
        raise _refuse(model, f"all inputs must have the same points. Received: {roles}", ELSE)
    return memory, sizes.pop(), axes


def plan(model: Any, together: int, banks: bool = False) -> Plan:
    """Cut a quantised model into phases.

    Args:
        model: with a memory (`qformers.nn.memory`).
        together: T, divides N.
        banks: rows that an order of the host moves lie in memory banks that the host names, not in registers.

    Raises:
        Unfolded: a layer that cannot be folded.
    """
    memory, points, axes = _comes(model)
    if points % together:
        raise Unfolded(
            "firmware.points_per_clock",
            "setting",
            f"must divide the {points} points of an event. Received: {together}",
            f"take one of {', '.join(str(n) for n in range(1, points + 1) if points % n == 0)}",
        )
    beats = points // together
    triangles = (
        [one for one in _triangles(model, points) if together * points < one.index.max() + 1] if beats > 1 else []
    )
    planner = _Planner(model, points, together, memory.roles, triangles, banks=banks)
    planner.places.update({name: Place(0, axis) for name, axis in axes.items()})
    for layer in model.operations:
        if not isinstance(layer, keras.layers.InputLayer):
            planner.take(layer)
    made = _plan(planner, together)
    if beats == 1:
        return made
    for work in (work for works in made.works for work in works):
        _refuse_uneven(made, work)
    return replace(made, works=tuple(tuple(_with_rom(made, work) for work in works) for works in made.works))


def _triangles(model: Any, points: int) -> list[Triangle]:
    """Axes of pairs that a layer of wires spreads over N rows and N columns, and all that is computed along them.

    One of them whose values are used in another way is left out: it is computed for all pairs at once.
    """
    found: list[Triangle] = []
    for layer in model.operations:
        terms, _, out = getattr(layer, "equation", "").partition("->")
        if not isinstance(layer, QEinsumDense) or len(set(out) - set(terms.split(",")[0])) != 2:
            continue
        given, kernel = terms.split(",")
        values = np.asarray(keras.ops.convert_to_numpy(layer.qkernel))
        there = values.sum(axis=0)
        one_each = np.isin(values, (0, 1)).all() and (there <= 1).all()
        if values.shape[1:] != (points, points) or not one_each or kernel[0] not in given:
            continue
        index = np.where(there > 0, values.argmax(axis=0), -1)
        tensor = inputs_of(layer)[0]
        axes = _along(tensor, given.index(kernel[0]) - 1)
        same = next((one for one in found if one.axes == axes and (one.index == index).all()), None)
        if same is not None:
            found[found.index(same)] = replace(same, fills=same.fills | {layer.name})
        elif axes is not None:
            found.append(Triangle(index, axes, frozenset({layer.name})))
    return [one for one in found if all(_stays(layer, one) for layer in model.operations)]


def _along(tensor: Any, axis: int) -> dict[str, int] | None:
    """All tensors that this one is made of along an axis, back to where values of points become pairs; None if a
    layer is met that is not known to work pair by pair."""
    layer = tensor._keras_history.operation
    inputs = inputs_of(layer)
    if isinstance(layer, QEinsumDense):
        terms, out = layer.equation.split("->")
        given, kernel = terms.split(",")
        letter = out[axis + 1]
        if letter in kernel:  # points become pairs here
            wires = kernel[1:] == letter and kernel[0] in given and given.replace(kernel[0], letter) == out
            return {layer.name: axis} if wires else None
        ways = [(inputs[0], given.index(letter) - 1)] if letter in given else []
    elif isinstance(layer, BY_VALUE) and all(len(one.shape) == len(tensor.shape) for one in inputs):
        ways = [(one, axis) for one in inputs]
    else:
        return None
    axes = {layer.name: axis}
    for one, place in ways:
        behind = _along(one, place)
        if behind is None:
            return None
        axes |= behind
    return axes if ways else None


def _stays(layer: Any, triangle: Triangle) -> bool:
    """Whether a layer that reads pairs of a triangle also makes such, or spreads them."""
    if isinstance(layer, keras.layers.InputLayer) or layer.name in triangle.axes or layer.name in triangle.fills:
        return True
    return not any(named(tensor) in triangle.axes for tensor in inputs_of(layer))


def _choice(layer: Any, triangle: Triangle, beats: int) -> Choice:
    """The sums of a layer of wires (N, P) by rows."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.qkernel), np.float64)
    points = len(kernel)
    sums: dict[tuple[float, float], int] = {}
    which = np.zeros((points, points), np.int64)
    for row, column in zip(*np.nonzero(triangle.index >= 0), strict=True):
        factors = kernel[:, triangle.index[row, column]]
        if set(np.flatnonzero(factors)) - {row, column} or row == column:
            raise _refuse(layer, "a pair is made of other points than its two", ELSE)
        pair = float(factors[row]), float(factors[column])
        which[row, column] = sums.setdefault(pair, len(sums))
    return Choice(tuple(sums), which.reshape(beats, -1))


def shares(plan: Plan) -> dict[str, float]:
    """Layer -> its copies in hardware over those in the model, by which EBOPs of folded hardware are counted.

    T / N of what is computed, or summed, beat by beat; T N of the pairs of a triangle by rows; 1 of what is
    computed for the whole event at once.
    """
    return {work.layer.name: _share(plan, work) for works in plan.works for work in works if not work.ends}


def _share(plan: Plan, work: Work) -> float:
    if work.sums:
        return plan.fold.together / plan.fold.points
    if work.axis is None:
        return 1.0
    return plan.beat_shape(work.tensor, work.axis)[work.axis] / plan.shapes[work.tensor][work.axis]


def _few_terms(layer: Any, axis: int) -> bool:
    """Whether a kernel that differs along `axis` has `MOST_TERMS` entries per output at most: wires, or differences."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.qkernel))
    if (kernel == np.take(kernel, [0], axis=axis)).all():
        return False
    terms, out = layer.equation.split("->")
    summed = tuple(place for place, letter in enumerate(terms.split(",")[1]) if letter not in out)
    return bool((np.count_nonzero(kernel, axis=summed) <= MOST_TERMS).all()) if summed else True


def counting_axis(plan: Plan, work: Work, name: str, shape: Sequence[int]) -> int | None:
    """The axis of a layer's kernel or bias that counts points; None where there is none."""
    if name == "kernel":
        return work.cut
    if work.axis is None:
        return None
    axis = work.axis + len(shape) - len(plan.shapes[work.tensor])  # a bias may have fewer axes than the output
    return axis if axis >= 0 and shape[axis] == plan.shapes[work.tensor][work.axis] > 1 else None


def _with_rom(plan: Plan, work: Work) -> Work:
    """With weights that differ from beat to beat."""
    rom = {}
    for name in ("kernel", "bias"):
        weights = getattr(work.layer, f"q{name}", None) if isinstance(work.layer, QEinsumDense) else None
        if weights is None or (work.choice is not None and name == "kernel"):
            continue
        values = np.asarray(keras.ops.convert_to_numpy(weights), np.float64)
        axis = counting_axis(plan, work, name, values.shape)
        if axis is None:
            continue
        if any(work.tensor in triangle.axes for triangle in plan.triangles):
            if (values != np.take(values, [0], axis=axis)).any():
                raise _refuse(work.layer, f"its {name} differs from pair to pair", ELSE)
            continue
        parts = np.stack(np.split(values, plan.fold.beats, axis=axis))
        if (parts != parts[:1]).any():
            rom[name] = parts
    return replace(work, rom=rom)


def _refuse_uneven(plan: Plan, work: Work) -> None:
    """Refuse a layer whose formats differ along the points that share its hardware."""
    layer = work.layer
    held = layer.iq if getattr(layer, "enable_iq", False) else ()
    readers = list(held) if hasattr(held, "__iter__") else [held]  # of several inputs, or of one
    seen = {id(one): named(tensor) for one, tensor in zip(readers, inputs_of(layer), strict=False) if one is not None}
    weights = {id(getattr(layer, name, None)) for name in ("_kq", "_bq")}  # constants: each value is what it is
    for quantiser in layer._flatten_layers(include_self=True):
        if not isinstance(quantiser, Quantizer) or id(quantiser) in weights:
            continue
        tensor = seen.get(id(quantiser))
        axes = [work.axis] if tensor is None else [use.axis for use in work.uses if use.tensor == tensor]
        shapes = {tuple(variable.shape) for variable in quantiser.quantizer.variables}  # with the event's axis, or ()
        if any(axis is not None and len(shape) > axis + 1 and shape[axis + 1] > 1 for axis in axes for shape in shapes):
            raise _refuse(layer, "its formats differ from point to point", SAME)


def _plan(planner: _Planner, together: int) -> Plan:
    ends = [named(tensor) for tensor in planner.model.outputs]
    places, works = planner.places, planner.works
    if len({places[name].axis is None for name in ends}) > 1:
        name = next(name for name in ends if places[name].axis is not None)
        raise _refuse(planner.model.get_layer(name), "it has an output for each point, and others are of events", ELSE)
    last = max(max(work.phase for work in works), *(places[name].phase for name in ends))
    uses = [(work.phase - bool(use.store), use) for work in works for use in work.uses]
    uses += [(last, Use(name, places[name].axis)) for name in ends]
    summed = {work.tensor for work in works if work.sums}
    spread: dict[str, int] = {}
    stores: list[dict[str, dict[str, None]]] = [{kind: {} for kind in CARRIED} for _ in range(last)]
    for phase, use in uses:
        place = places[use.tensor]
        for boundary in range(place.phase, phase):
            if use.tensor in summed:
                kind = "running"
            elif place.axis is None and use.axis is not None and boundary == phase - 1:
                kind, spread[use.tensor] = "spread", use.axis
            elif place.axis is None or (use.axis is None and boundary > place.phase):
                kind = "held"
            else:
                kind = "streamed" if use.axis is not None else "filled"
            stores[boundary][kind][use.tensor] = None
    for work in works:
        for use in work.uses:
            if use.store:
                stores[work.phase - 1][use.store][use.tensor if use.store == "places" else work.tensor] = None
    carried = {name for store in stores for names in store.values() for name in names}
    for layer in planner.model.operations:
        if any(layer.name in carried and layer.name in triangle.axes for triangle in planner.triangles):
            raise _refuse(layer, "its pairs are needed in a later phase than the one that makes them", ELSE)
    axes = {name: place.axis for name, place in places.items()}
    tensors = {named(tensor): tensor for layer in planner.model.operations for tensor in _outputs(layer)}
    return Plan(
        model=planner.model,
        fold=Folding(planner.points, together, axes, spread, planner.moves),
        works=tuple(tuple(work for work in works if work.phase == phase) for phase in range(last + 1)),
        boundaries=tuple(Boundary(**{kind: tuple(names) for kind, names in store.items()}) for store in stores),
        shapes={
            spelled: tuple(tensor.shape[1:]) for name, tensor in tensors.items() for spelled in (name, partial(name))
        },
        triangles=tuple(planner.triangles),
    )


def _outputs(layer: Any) -> list[Any]:
    output = layer.output
    return list(output) if isinstance(output, list | tuple) else [output]
