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

The keys of attention can be folded as well: a layer that works on pairs of N points then takes T points and K of their
keys per clock, and a phase with such layers has N / K beats for each beat of points. What it makes of keys comes on in
the same beats, or row by row, when the last keys of a row have come:

- ``keyed``: values of the keys of the points, one beat after the other again (memory of two events);
- ``row_sums``: sums over the keys of each row (accumulators, and a memory of the rows of two events);
- ``row_largest``: the largest value of the keys of each row (likewise).

A softmax over folded keys is computed in steps (`STEPS`): its largest value, exponentials, their sum, its inverse,
products.

Weights that differ from point to point come with the beat, from a ROM (``Work.rom``). A triangle of pairs i > j is
computed by rows: beat i makes its pairs with all j, each pair twice, which needs no memory of pairs and the arithmetic
of T * N pairs instead of N (N - 1) / 2 (`Triangle`).

Blocks of S points come in whole: T is a multiple of S, and what counts blocks counts beats as well (T / S of them in
each). Outputs are those of an event, or come beat by beat as they are made.

Which axis of a tensor counts the points follows from the letters of the equations and the roles that an architecture
declares for them (`qformers.nn.memory`). Symbols: N points, T of them per clock, B = N / T beats; K keys per clock,
C = N / K of such parts.
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
from qformers.nn.index.ball_slots import ONE_ORDER, TreeOrder
from qformers.nn.index.lsh import FromBlocks, GivenOrder, ToBlocks
from qformers.nn.index.rounded_pairs import QSymmetricFill
from qformers.nn.index.select import Largest
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.index.sorted_tree import SortedTree
from qformers.nn.memory import Memory, inputs_of, memory_of

Array = NDArray[np.float64]

POINTS = ("point", "pair")  # roles of axes along which an event is taken apart
BLOCKS = "block"  # role of an axis of blocks of points
BY_VALUE = (QAdd, QSubtract, QUnaryFunctionLUT, Quantizer)  # layers that do the same to every value
OF_ALL = (SortedOrder, SortedTree)  # layers that need all points at once
MOST_TERMS = 2  # of a sum that is made of all points at once, since its terms differ from point to point
MOVED = ("gathered", "scattered", "places")  # stores in which an order moves rows
BY_ROW = ("row_sums", "row_largest")  # stores that keep one value for all keys of a row
CARRIED = ("streamed", "keyed", "filled", "running", "held", "spread", *MOVED, *BY_ROW)
COMING = ("streamed", "keyed", "spread", "gathered", "scattered", *BY_ROW)  # stores of which a beat reads its own part
STEPS = ("top", "exp", "sum", "inverse", "product")  # of a softmax over folded keys
TOGETHER = "firmware.points_per_clock"  # a refusal of it is one of this T alone
SAME = "use quant.granularity: channel or tensor, or backend: alkaid"
ELSE = "use backend: alkaid, which takes all points at once"
NUMBERS = "set firmware.moved_rows: registers, which takes the numbers of the order"
ALL_KEYS = "leave firmware.keys_per_clock out, which takes all keys at once"


@dataclass(frozen=True)
class Place:
    """Where a tensor is computed: in which phase, and along which axis (without the event's) it comes beat by beat.

    `axis` None: a value of the event, the same for all beats. `keys`: along which axis keys come, K of them at a time;
    None where all come at once. Pairs of a triangle come by rows and keys along one axis.
    """

    phase: int
    axis: int | None
    keys: int | None = None


@dataclass(frozen=True)
class Use:
    """How a layer reads an input: `axis` as it comes, or None for all of it.

    `store`: one of `MOVED` where it is read in front of the boundary before the layer, which moves it; "" elsewhere.
    `keys`: axis of which it reads K values at a time; None where it reads all.
    """

    tensor: str
    axis: int | None
    store: str = ""
    keys: int | None = None


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
        keys: axis of the output along which keys come, K of them at a time; None where all come at once.
        key_cut: axis of the kernel that counts keys, along which it is cut as well.
        step: of a softmax over folded keys, one of `STEPS`; "" elsewhere.
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
    keys: int | None = None
    key_cut: int | None = None
    step: str = ""

    @property
    def by_row(self) -> str:
        """The store that keeps what it makes of the keys of a row; "" where it makes no such thing."""
        if not self.sums or self.axis is None:
            return ""
        return "row_largest" if self.step == "top" or isinstance(self.layer, Largest) else "row_sums"


@dataclass(frozen=True)
class Choice:
    """Values of a row (t, j) that are one of a few sums, and which one depends on the row.

    Attributes:
        sums: factors of the row's own value and of value j.
        which: (B, T * N) number of the sum; with folded keys (B * C, T * K).
        order: of values that leave the rows, axes of the output as places among row, column and the other axes of a
            value of a pair; () where they stay in rows.
    """

    sums: tuple[tuple[float, float], ...]
    which: NDArray[np.int64]
    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class Triangle:
    """Pairs i > j along one axis that are computed row by row.

    Attributes:
        index: (N, N) place of the pair (i, j) along the axis; -1 where there is none.
        axes: tensor -> its axis of pairs.
        fills: layer that spreads the pairs over rows and columns -> axes of its output as in `Choice.order`.
    """

    index: NDArray[np.int64]
    axes: Mapping[str, int]
    fills: Mapping[str, tuple[int, ...]]


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
    keyed: tuple[str, ...] = ()
    row_sums: tuple[str, ...] = ()
    row_largest: tuple[str, ...] = ()


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
        keys: K; None where no keys are folded.
        key_axes: tensor that comes K keys at a time -> axis of them.
    """

    points: int
    together: int
    axes: Mapping[str, int | None]
    spread: Mapping[str, int] = field(default_factory=dict)
    moves: Mapping[str, Move] = field(default_factory=dict)
    keys: int | None = None
    key_axes: Mapping[str, int] = field(default_factory=dict)

    @property
    def beats(self) -> int:
        """B."""
        return self.points // self.together

    @property
    def chunks(self) -> int:
        """C, parts in which the keys of a beat come."""
        return 1 if self.keys is None else self.points // self.keys

    @property
    def parts(self) -> tuple[int, int]:
        """B and C: into how many parts points and keys are cut."""
        return self.beats, self.chunks

    @property
    def interval(self) -> int:
        """Clocks from an event to the next one, at best: B C."""
        return self.beats * self.chunks

    def chunks_in(self, beats: int) -> int:
        """Beats for each beat of points, of a phase with so many beats per event: C of B C, else 1."""
        return max(beats // self.beats, 1)

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
        """Beats of a phase: B C where keys come one after the other, B, or 1 where nothing comes point by point."""
        before = self.boundaries[phase - 1] if phase else None
        if self.chunks_of(phase) > 1:
            return self.fold.interval
        comes = before is None or any(getattr(before, kind) for kind in COMING)
        return self.fold.beats if comes or any(work.rom for work in self.works[phase]) else 1

    def chunks_of(self, phase: int) -> int:
        """Beats of a phase for each beat of points: C where keys come one after the other, else 1."""
        works = self.works[phase]
        keyed = any(work.keys is not None or any(use.keys is not None for use in work.uses) for work in works)
        return self.fold.chunks if keyed or (phase and self.boundaries[phase - 1].keyed) else 1

    def beat_shape(self, tensor: str, axis: int | None, keys: int | None = None) -> tuple[int, ...]:
        """Shape of what a beat brings of a tensor that comes along `axis`, or of all of it; of `keys` K at a time."""
        shape = list(self.shapes[tensor])
        if any(tensor in triangle.axes for triangle in self.triangles) and axis is not None:
            shape[axis] = self.fold.together * (
                self.fold.points if keys is None else self.fold.points // self.fold.chunks
            )
            return tuple(shape)
        if axis is not None:
            shape[axis] //= self.fold.beats
        if keys is not None:
            shape[keys] //= self.fold.chunks
        return tuple(shape)


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
    """What the sum over points of a beat is called, and of all beats so far; or over keys, or the largest of them."""
    return f"{tensor}/sum"


def step_of(softmax: str, step: str) -> str:
    """What a step of a softmax over folded keys gives is called."""
    return softmax if step == "product" else f"{softmax}/{step}"


def _refuse(layer: Any, reason: str, way_out: str) -> Unfolded:
    return Unfolded(layer.name, type(layer).__name__, reason, way_out)


@dataclass
class _Planner:
    """Goes through the layers in order and says in which phase each is computed."""

    model: Any
    points: int
    together: int
    letters: Mapping[str, str]
    chunks: int = 1
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
            self._softmax(layer, tensors[0])
        elif isinstance(layer, Largest):
            self._largest(layer, tensors[0])
        elif isinstance(layer, QSymmetricFill):
            self._fill(layer, tensors[0])
        elif isinstance(layer, keras.layers.Reshape):
            self._reshape(layer, tensors[0])
        elif isinstance(layer, keras.layers.Concatenate):
            self._concatenate(layer, tensors)
        elif isinstance(layer, GivenOrder | TreeOrder):
            self._given_order(layer, tensors)
        elif isinstance(layer, ToBlocks | FromBlocks):
            self._move(layer, tensors)
        elif isinstance(layer, OF_ALL) or all(self.places[named(tensor)].axis is None for tensor in tensors):
            self._add(Work(layer, 0, tuple(Use(named(tensor), None) for tensor in tensors), layer.name, None))
        else:
            raise _refuse(layer, "it is not known how it works on points that come one after the other", ELSE)

    def _einsum(self, layer: Any, tensors: Sequence[Any]) -> None:
        spelled, out = layer.equation.split("->")
        terms = spelled.split(",")
        kernel = terms.pop() if isinstance(layer, QEinsumDense) else ""
        terms, out = [term[1:] for term in terms], out[1:]  # without the event's axis, which comes first
        if self._into_rows(layer, terms, kernel) or self._out_of_rows(layer):
            return
        comes = {
            index: term[place.axis]
            for index, (term, tensor) in enumerate(zip(terms, tensors, strict=True))
            if (place := self.places[named(tensor)]).axis is not None
        }
        sizes = dict(zip(out, layer.output.shape[1:], strict=True))
        blocks = (a for a in comes.values() if self.letters.get(a) == BLOCKS and a in out)
        rows = (a for a in out if self.letters.get(a) in POINTS and sizes[a] == self.points)
        fewer = (a for a in comes.values() if a in out)  # slots that stand for several points: of a pooled level
        row = next(blocks, None) or next(rows, None) or next(fewer, None)
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
        key = None if letter is None or sums else self._key(layer, terms, letter, tensors)
        uses = []
        for index, (term, tensor) in enumerate(zip(terms, tensors, strict=True)):
            axis = term.index(letter) if letter is not None and letter in term else None
            if axis is not None and comes.get(index, letter) != letter and self.beats > 1:
                raise _refuse(layer, "it reads along one axis of points what comes along another one", ELSE)
            uses.append(Use(named(tensor), axis, keys=term.index(key) if key is not None and key in term else None))
        cut = kernel.index(letter) if letter is not None and letter in kernel else None
        axis = out.index(letter) if letter is not None and not sums else None
        work = Work(layer, 0, tuple(uses), layer.name, axis, cut, sums)
        if key is not None:
            work = replace(
                work,
                keys=out.index(key) if key in out else None,
                key_cut=kernel.index(key) if key in kernel else None,
                sums=key not in out,
            )
        self._add(work)

    def _key(self, layer: Any, terms: Sequence[str], row: str, tensors: Sequence[Any]) -> str | None:
        """The letter of the keys that are folded: another axis of N points, beside that of the rows."""
        if self.chunks == 1:
            return None
        if any(layer.name in triangle.axes for triangle in self.triangles):
            return row  # pairs come by rows and keys along one axis
        sizes = {
            letter: int(size)
            for term, tensor in zip(terms, tensors, strict=True)
            for letter, size in zip(term, tensor.shape[1:], strict=True)
        }
        found = [a for a, size in sizes.items() if a != row and self.letters.get(a) in POINTS and size == self.points]
        if len(found) > 1:
            raise _refuse(layer, "it works on more than two axes of points", ALL_KEYS)
        return found[0] if found else None

    def _into_rows(self, layer: Any, terms: Sequence[str], kernel: str) -> bool:
        """Values of points as pairs of a row: sums of the row's own value and of value j."""
        tensor = named(inputs_of(layer)[0])
        triangle = next((one for one in self.triangles if layer.name in one.axes and tensor not in one.axes), None)
        if triangle is None:
            return False
        axis = terms[0].index(kernel[0])
        which = _choice(layer, triangle, self.beats, self.chunks)
        row, keys = triangle.axes[layer.name], triangle.axes[layer.name] if self.chunks > 1 else None
        others = Use(tensor, None, keys=axis if self.chunks > 1 else None)
        self._add(Work(layer, 0, (others, Use(tensor, axis)), layer.name, row, choice=which, keys=keys))
        return True

    def _out_of_rows(self, layer: Any) -> bool:
        """Pairs of a row into columns; nothing where there is no pair."""
        triangle = next((one for one in self.triangles if layer.name in one.fills), None)
        if triangle is None:
            return False
        tensor, order = named(inputs_of(layer)[0]), triangle.fills[layer.name]
        there = _by_beat((triangle.index >= 0).astype(int), self.beats, self.chunks)
        rows, columns = order.index(0), order.index(1)
        axis, keys = triangle.axes[tensor], triangle.axes[tensor] if self.chunks > 1 else None
        choice = Choice(((0.0, 0.0), (0.0, 1.0)), there, order)
        column = columns if self.chunks > 1 else None
        self._add(Work(layer, 0, (Use(tensor, axis, keys=keys),), layer.name, rows, choice=choice, keys=column))
        return True

    def _fill(self, layer: Any, tensor: Any) -> None:
        """Of pairs that do not come by rows, all at once: wires cost nothing."""
        if not self._out_of_rows(layer):
            self._add(Work(layer, 0, (Use(named(tensor), None),), layer.name, None))

    def _by_value(self, layer: Any, tensors: Sequence[Any]) -> None:
        places = [self.places[named(tensor)] for tensor in tensors]
        axes = {place.axis for place in places if place.axis is not None}
        ranks = {len(tensor.shape) for tensor in tensors}
        if (len(axes) > 1 and self.beats > 1) or len(ranks) > 1:
            raise _refuse(layer, "its inputs come along different axes", ELSE)
        keyed = {place.keys for place in places if place.keys is not None}
        if len(keyed) > 1:
            raise _refuse(layer, "the keys of its inputs come along different axes", ALL_KEYS)
        axis, keys = axes.pop() if axes else None, keyed.pop() if keyed else None
        pairs = any(layer.name in triangle.axes for triangle in self.triangles)
        uses = []
        for tensor, place in zip(tensors, places, strict=True):
            along = place.axis is not None or (not pairs and _as_long(tensor, layer.output, axis))
            comes = place.keys is not None or (not pairs and _as_long(tensor, layer.output, keys))
            uses.append(Use(named(tensor), axis if along else None, keys=keys if comes else None))
        self._add(Work(layer, 0, tuple(uses), layer.name, axis, keys=keys))

    def _over(self, layer: Any, tensor: Any, axes: Sequence[int]) -> None:
        """A layer that looks at all values along some axes, counted from the event's: over points it waits for all."""
        place = self.places[named(tensor)]
        axis = None if place.axis in axes else place.axis
        self._add(Work(layer, 0, (Use(named(tensor), axis, keys=place.keys),), layer.name, axis, keys=place.keys))

    def _largest(self, layer: Any, tensor: Any) -> None:
        place, over = self.places[named(tensor)], layer.axis % len(tensor.shape) - 1
        if place.keys is None or place.keys != over:
            self._over(layer, tensor, (over,))
            return
        self._add(Work(layer, 0, (Use(named(tensor), place.axis, keys=over),), layer.name, place.axis, sums=True))

    def _softmax(self, layer: Any, tensor: Any) -> None:
        """Over folded keys it is computed in steps, else at once."""
        place, over = self.places[named(tensor)], [number % len(tensor.shape) - 1 for number in layer.axes]
        if place.keys is None or place.keys not in over:
            self._over(layer, tensor, over)
            return
        if over != [place.keys]:
            raise _refuse(layer, "its softmax goes over more than the keys", ALL_KEYS)
        scores, keys, axis = named(tensor), place.keys, place.axis
        top, exp, inverse = (step_of(layer.name, step) for step in ("top", "exp", "inverse"))
        given = [Use(scores, axis, keys=keys)]
        if layer.stable:
            self._add(Work(layer, 0, tuple(given), top, axis, sums=True, step="top"))
            given.insert(0, Use(top, axis))
        self._add(Work(layer, 0, tuple(given), exp, axis, keys=keys, step="exp"))
        self._add(Work(layer, 0, (Use(exp, axis, keys=keys),), inverse, axis, sums=True, step="sum"))
        product = Use(exp, axis, keys=keys), Use(inverse, axis)
        self._add(Work(layer, 0, product, layer.name, axis, keys=keys, step="product"))

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
            same = [number for number in there if after[number] == before[axis]]  # of length 1: any axis of it
            place = axis if axis in same else (same or there)[-1]
            self._refuse_cut_blocks(layer, after[place])
        self._add(Work(layer, 0, (Use(named(tensor), axis),), layer.name, place))

    def _refuse_cut_blocks(self, layer: Any, blocks: int) -> None:
        """Refuse beats that cut blocks of S points in two."""
        if blocks % self.beats:
            size = self.points // blocks  # of a pooled level: the points that its slots stand for
            reason = f"must be a multiple of the {size} points of a block (layer {layer.name})"
            raise Unfolded(TOGETHER, "setting", f"{reason}. Received: {self.together}", "take another one")

    def _concatenate(self, layer: Any, tensors: Sequence[Any]) -> None:
        axes = {place.axis for tensor in tensors if (place := self.places[named(tensor)]).axis is not None}
        joined = layer.axis % len(layer.output.shape) - 1
        if joined in axes and self.beats > 1:
            raise _refuse(layer, "it joins points with others, and they come one after the other", ELSE)
        if any(self.places[named(tensor)].keys == joined for tensor in tensors):
            raise _refuse(layer, "it joins keys with others, and they come one after the other", ALL_KEYS)
        self._by_value(layer, tensors)

    def _given_order(self, layer: Any, tensors: Sequence[Any]) -> None:
        """The numbers of the places of a beat, as they come; the mask gives nothing but N."""
        if isinstance(layer, TreeOrder) and int(layer.input.shape[1]) > 1:
            raise _refuse(layer, "it is one of several orders of trees", ONE_ORDER)
        if self.banks:
            if self.host_orders:
                raise _refuse(layer, "it is a second order of the host", NUMBERS)
            self.host_orders[layer.name] = named(tensors[0])
            return
        axis = self.places[named(tensors[0])].axis
        place = None if axis is None else len(layer.output.shape) - 2
        uses = tuple(Use(named(tensor), self.places[named(tensor)].axis) for tensor in tensors)
        self._add(Work(layer, 0, uses, layer.name, place))

    def _move(self, layer: Any, tensors: Sequence[Any]) -> None:
        """Rows into the blocks of an order, or back: the boundary in front of the layer does it."""
        rows, order = map(named, tensors)
        sides, _, heads, _ = tensors[1].shape[1:]
        if (sides, heads) != (1, 1):
            raise _refuse(layer, f"it needs an order of its own for {sides} sides and {heads} heads", ELSE)
        gathers = isinstance(layer, ToBlocks)
        come, block_axis = self.places[rows].axis, 2
        blocks = (layer.output if gathers else tensors[0]).shape[block_axis + 1]
        self._refuse_cut_blocks(layer, blocks)
        if come != (0 if gathers else block_axis):
            raise _refuse(layer, "it moves rows of points that come in another way", ELSE)
        uses = [Use(rows, come, "gathered" if gathers else "scattered")]
        if order not in self.host_orders:
            uses.append(Use(order, len(tensors[1].shape) - 2, "" if gathers else "places"))
        self._add(Work(layer, 0, tuple(uses), layer.name, 2))
        self.moves[layer.name] = Move(rows, self.host_orders.get(order, order), order in self.host_orders)

    def _add(self, work: Work) -> None:
        """Find the phase of one more work, that of its layer or of a step of it; a sum ends in the phase behind."""
        phase = 0
        for use in work.uses:
            place = self.places[use.tensor]
            if place.keys is not None and use.keys is None:
                raise _refuse(work.layer, "it needs all keys of a row at once", ALL_KEYS)
            waits = (use.axis is None) != (place.axis is None) or (use.keys is None) != (place.keys is None)
            phase = max(phase, place.phase + waits + bool(use.store))
        whole, tensor = work.tensor, partial(work.tensor) if work.sums else work.tensor
        self.works.append(replace(work, phase=phase, tensor=tensor))
        self.places[tensor] = Place(phase, work.axis, work.keys)
        if work.sums:
            step = "inverse" if work.step == "sum" else work.step
            use = Use(tensor, work.axis)
            self.works.append(Work(work.layer, phase + 1, (use,), whole, work.axis, ends=True, step=step))
            self.places[whole] = Place(phase + 1, work.axis)


def _as_long(tensor: Any, output: Any, axis: int | None) -> bool:
    """Whether an input of a layer has as many values along an axis (without the event's) as the output: more than 1."""
    return axis is not None and int(tensor.shape[axis + 1]) == int(output.shape[axis + 1]) > 1


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


def plan(model: Any, together: int, banks: bool = False, keys: int | None = None) -> Plan:
    """Cut a quantised model into phases.

    Args:
        model: with a memory (`qformers.nn.memory`).
        together: T, divides N.
        banks: rows that an order of the host moves lie in memory banks that the host names, not in registers.
        keys: K, divides N; None = all keys at once.

    Raises:
        Unfolded: a layer that cannot be folded; a T that this model does not take, with all that it does.
    """
    try:
        return _cut(model, together, banks, keys)
    except Unfolded as refusal:
        if refusal.name != TOGETHER:
            raise
        way_out = f"take one of {', '.join(map(str, _taken(model, banks, keys)))}"
        raise Unfolded(refusal.name, refusal.kind, refusal.reason, way_out) from None


def _taken(model: Any, banks: bool, keys: int | None) -> list[int]:
    """Every T that a model can be folded with.

    Raises:
        Unfolded: there is none; another setting or a layer is the reason.
    """
    points = points_of(model)
    found = []
    for together in _divisors(points):
        try:
            _cut(model, together, banks, keys)
        except Unfolded:
            if together == points:
                raise
        else:
            found.append(together)
    return found


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _cut(model: Any, together: int, banks: bool, keys: int | None) -> Plan:
    """`plan`, without advice on T."""
    memory, points, axes = _comes(model)
    for name, number in ((TOGETHER, together), ("firmware.keys_per_clock", points if keys is None else keys)):
        if points % number:
            reason = f"must divide the {points} points of an event. Received: {number}"
            raise Unfolded(name, "setting", reason, f"take one of {', '.join(map(str, _divisors(points)))}")
    beats, chunks = points // together, 1 if keys is None else points // keys
    triangles = [one for one in _triangles(model, points) if together * points // chunks < one.index.max() + 1]
    triangles = triangles if beats * chunks > 1 else []
    planner = _Planner(model, points, together, memory.roles, chunks, triangles, banks=banks)
    planner.places.update({name: Place(0, axis) for name, axis in axes.items()})
    for layer in model.operations:
        if not isinstance(layer, keras.layers.InputLayer):
            planner.take(layer)
    if chunks > 1 and all(place.keys is None for place in planner.places.values()):
        reason = f"no layer of this model works on pairs of its {points} points. Received: {keys}"
        raise Unfolded("firmware.keys_per_clock", "setting", reason, "leave it out")
    made = _plan(planner, together)
    if beats * chunks == 1:
        return made
    for work in (work for works in made.works for work in works):
        _refuse_uneven(made, work)
    return replace(made, works=tuple(tuple(_with_rom(made, work) for work in works) for works in made.works))


@dataclass(frozen=True)
class _Fill:
    """What a layer does that spreads pairs over rows and columns; `index` and `order` as of `Triangle` and `Choice`."""

    index: NDArray[np.int64]
    axis: int  # of pairs in its input
    order: tuple[int, ...]


def _fill_of(layer: Any, points: int) -> _Fill | None:
    """Of a layer that spreads pairs of N points; None of any other."""
    if isinstance(layer, QSymmetricFill):
        return _Fill(layer.index, 0, (2, 0, 1)) if layer.particles == points else None
    return _wired_fill(layer, points)


def _wired_fill(layer: Any, points: int) -> _Fill | None:
    """Of wires with an entry for each pair, row and column, which models had before there was `QSymmetricFill`."""
    terms, _, out = getattr(layer, "equation", "").partition("->")
    if not isinstance(layer, QEinsumDense) or len(set(out) - set(terms.split(",")[0])) != 2:
        return None
    given, kernel = terms.split(",")
    if tuple(layer._kernel.shape[1:]) != (points, points) or kernel[0] not in given:
        return None
    values = np.asarray(keras.ops.convert_to_numpy(layer.qkernel))
    there = values.sum(axis=0)
    if not np.isin(values, (0, 1)).all() or (there > 1).any():
        return None
    axes = kernel[1:] + given[1:].replace(kernel[0], "")
    index = np.where(there > 0, values.argmax(axis=0), -1)
    return _Fill(index, given.index(kernel[0]) - 1, tuple(axes.index(letter) for letter in out[1:]))


def _triangles(model: Any, points: int) -> list[Triangle]:
    """Axes of pairs that a layer spreads over N rows and N columns, and all that is computed along them.

    One of them whose values are used in another way is left out: it is computed for all pairs at once.
    """
    found: list[Triangle] = []
    for layer in model.operations:
        fill = _fill_of(layer, points)
        if fill is None:
            continue
        axes = _along(inputs_of(layer)[0], fill.axis)
        alike = (place for place, one in enumerate(found) if one.axes == axes and (one.index == fill.index).all())
        if (same := next(alike, None)) is not None:
            found[same] = replace(found[same], fills={**found[same].fills, layer.name: fill.order})
        elif axes is not None:
            found.append(Triangle(fill.index, axes, {layer.name: fill.order}))
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


def _by_beat(values: NDArray[Any], beats: int, chunks: int) -> NDArray[Any]:
    """(N, N) by rows and keys as (B * C, T * K): what each beat has."""
    points = len(values)
    parts = values.reshape(beats, points // beats, chunks, points // chunks)
    return parts.transpose(0, 2, 1, 3).reshape(beats * chunks, -1)


def _choice(layer: Any, triangle: Triangle, beats: int, chunks: int) -> Choice:
    """The sums of a layer of wires (N, P) by rows."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.qkernel), np.float64)
    rows, columns = np.nonzero(triangle.index >= 0)
    pairs = triangle.index[rows, columns]
    factors = np.stack([kernel[rows, pairs], kernel[columns, pairs]], axis=1)  # of the two points of each pair
    if (rows == columns).any() or (np.count_nonzero(factors, axis=1) != np.count_nonzero(kernel, axis=0)[pairs]).any():
        raise _refuse(layer, "a pair is made of other points than its two", ELSE)
    found, first, numbers = np.unique(factors, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # sums in the order in which they are met
    which = np.zeros((len(kernel), len(kernel)), np.int64)
    which[rows, columns] = np.argsort(order)[numbers.ravel()]
    sums = tuple((own, other) for own, other in found[order].tolist())
    return Choice(sums, _by_beat(which, beats, chunks))


def shares(plan: Plan) -> dict[str, float]:
    """Layer -> its copies in hardware over those in the model, by which EBOPs of folded hardware are counted.

    T / N of what is computed, or summed, beat by beat; T N of the pairs of a triangle by rows; K / N of that where keys
    are folded; 1 of what is computed for the whole event at once.
    """
    return {work.layer.name: _share(plan, work) for works in plan.works for work in works if not work.ends}


def _share(plan: Plan, work: Work) -> float:
    by_keys = work.keys is not None or any(use.keys is not None for use in work.uses)
    parts = plan.fold.chunks if by_keys else 1
    if work.sums:
        return plan.fold.together / plan.fold.points / (parts if work.axis is not None else 1)
    if work.axis is None:
        return 1.0
    if any(work.tensor in triangle.axes for triangle in plan.triangles):
        return plan.beat_shape(work.tensor, work.axis, work.keys)[work.axis] / plan.shapes[work.tensor][work.axis]
    return plan.beat_shape(work.tensor, work.axis)[work.axis] / plan.shapes[work.tensor][work.axis] / parts


def _few_terms(layer: Any, axis: int) -> bool:
    """Whether a kernel that differs along `axis` has `MOST_TERMS` entries per output at most: wires, or differences."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.qkernel))
    if (kernel == np.take(kernel, [0], axis=axis)).all():
        return False
    terms, out = layer.equation.split("->")
    summed = tuple(place for place, letter in enumerate(terms.split(",")[1]) if letter not in out)
    return bool((np.count_nonzero(kernel, axis=summed) <= MOST_TERMS).all()) if summed else True


def counting_axes(plan: Plan, work: Work, name: str, shape: Sequence[int]) -> tuple[int | None, int | None]:
    """The axes of a layer's kernel or bias that count points, and keys that are folded; None where there is none."""
    if name == "kernel":
        return work.cut, work.key_cut

    def counts(along: int | None) -> int | None:
        if along is None:
            return None
        axis = along + len(shape) - len(plan.shapes[work.tensor])  # a bias may have fewer axes than the output
        return axis if axis >= 0 and shape[axis] == plan.shapes[work.tensor][along] > 1 else None

    return counts(work.axis), counts(work.keys)


def _with_rom(plan: Plan, work: Work) -> Work:
    """With weights that differ from beat to beat."""
    rom = {}
    for name in ("kernel", "bias"):
        weights = getattr(work.layer, f"q{name}", None) if isinstance(work.layer, QEinsumDense) else None
        if weights is None or (work.choice is not None and name == "kernel"):
            continue
        values = np.asarray(keras.ops.convert_to_numpy(weights), np.float64)
        axis, keys = counting_axes(plan, work, name, values.shape)
        if axis is None and keys is None:
            continue
        if any(work.tensor in triangle.axes for triangle in plan.triangles):
            if axis is not None and (values != np.take(values, [0], axis=axis)).any():
                raise _refuse(work.layer, f"its {name} differs from pair to pair", ELSE)
            continue
        rows = [values] * plan.fold.beats if axis is None else np.split(values, plan.fold.beats, axis=axis)
        if keys is not None:
            rows = [part for row in rows for part in np.split(row, plan.fold.chunks, axis=keys)]
        parts = np.stack(rows)
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
        read = [use for use in work.uses if use.tensor == tensor]
        rows = [work.axis] if tensor is None else [use.axis for use in read]
        keys = [work.keys] if tensor is None else [use.keys for use in read]
        shapes = {tuple(variable.shape) for variable in quantiser.quantizer.variables}  # with the event's axis, or ()
        if plan.fold.beats > 1 and any(_differs(shape, axis) for axis in rows for shape in shapes):
            raise _refuse(layer, "its formats differ from point to point", SAME)
        if plan.fold.chunks > 1 and any(_differs(shape, axis) for axis in keys for shape in shapes):
            raise _refuse(layer, "its formats differ from key to key", ALL_KEYS)


def _differs(shape: Sequence[int], axis: int | None) -> bool:
    return axis is not None and len(shape) > axis + 1 and shape[axis + 1] > 1


def _plan(planner: _Planner, together: int) -> Plan:
    ends = [named(tensor) for tensor in planner.model.outputs]
    places, works = planner.places, planner.works
    if len({places[name].axis is None for name in ends}) > 1:
        name = next(name for name in ends if places[name].axis is not None)
        raise _refuse(planner.model.get_layer(name), "it has an output for each point, and others are of events", ELSE)
    last = max(max(work.phase for work in works), *(places[name].phase for name in ends))
    uses = [(work.phase - bool(use.store), use) for work in works for use in work.uses]
    uses += [(last, Use(name, places[name].axis)) for name in ends]
    for name in ends:
        if places[name].keys is not None:
            raise _refuse(planner.model.get_layer(name), "its outputs are of pairs of points", ALL_KEYS)
    summed = {work.tensor: work.by_row or "running" for work in works if work.sums}
    spread: dict[str, int] = {}
    stores: list[dict[str, dict[str, None]]] = [{kind: {} for kind in CARRIED} for _ in range(last)]
    for phase, use in uses:
        place = places[use.tensor]
        for boundary in range(place.phase, phase):
            if use.tensor in summed:
                kind = summed[use.tensor]
            elif place.axis is None and use.axis is not None and boundary == phase - 1:
                kind, spread[use.tensor] = "spread", use.axis
            elif place.keys is not None:
                kind = "keyed"
            elif place.axis is None:
                kind = "held"
            else:  # what is needed of all points comes point by point up to the last boundary
                kind = "filled" if use.axis is None and boundary == phase - 1 else "streamed"
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
        fold=Folding(
            planner.points,
            together,
            axes,
            spread,
            planner.moves,
            planner.points // planner.chunks if planner.chunks > 1 else None,
            {name: place.keys for name, place in places.items() if place.keys is not None},
        ),
        works=tuple(tuple(work for work in works if work.phase == phase) for phase in range(last + 1)),
        boundaries=tuple(Boundary(**{kind: tuple(names) for kind, names in store.items()}) for store in stores),
        shapes={
            spelled: tuple(tensor.shape[1:]) for name, tensor in tensors.items() for spelled in (name, partial(name))
        }
        | _step_shapes(works),
        triangles=tuple(planner.triangles),
    )


def _outputs(layer: Any) -> list[Any]:
    output = layer.output
    return list(output) if isinstance(output, list | tuple) else [output]


def _step_shapes(works: Sequence[Work]) -> dict[str, tuple[int, ...]]:
    """Shapes of the steps of softmax layers over folded keys, without the event's axis."""
    shapes: dict[str, tuple[int, ...]] = {}
    for work in works:
        if work.step and work.step != "product":
            whole = tuple(int(size) for size in work.layer.output.shape[1:])
            over = {number % (len(whole) + 1) - 1 for number in work.layer.axes}
            one = tuple(1 if axis in over else size for axis, size in enumerate(whole))
            shapes[work.tensor] = whole if work.step == "exp" else one
    return shapes
