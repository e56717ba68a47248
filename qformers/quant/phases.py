"""A plan of folded firmware: which layers work on the points as they come, and where all points are needed first.

The points of an event come T at a time, in N / T beats. A layer whose output at a point needs that point alone is part
of a **kernel**, which does the same for every beat. Where a layer needs more than that (keys and values of attention, a
sum over points) the event has to be complete: the model is cut there into **phases**. Phase 0 takes the points from
outside; phase p + 1 takes what phase p has left in the stores of the boundary between them:

- ``streamed``: values of the points, one beat after the other again (memory of two events);
- ``filled``: values of all points at once (registers, and a second copy that the next event does not touch);
- ``running``: sums over the points (accumulators);
- ``held``: values of the event, which a later phase needs again (registers);
- ``spread``: values of the event of which a beat reads its own part (registers, and a selection by the beat).

A value that is needed some phases later passes through the kernels and stores in between.

Which axis of a tensor counts the points follows from the letters of the equations and the roles that an architecture
declares for them (`qformers.nn.memory`). Symbols: N points, T of them per clock, B = N / T beats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from hgq.layers import QAdd, QEinsum, QEinsumDense, QSoftmax, QSubtract, QUnaryFunctionLUT
from hgq.quantizer import Quantizer

from qformers.errors import ConfigError
from qformers.nn.memory import inputs_of, memory_of

POINTS = ("point", "pair")  # roles of axes along which an event is taken apart
BY_VALUE = (QAdd, QSubtract, QUnaryFunctionLUT, Quantizer)  # layers that do the same to every value
MOST_TERMS = 2  # of a sum that is made of all points at once, since its terms differ from point to point
CARRIED = ("streamed", "filled", "running", "held", "spread")
SAME = "use quant.granularity: channel or tensor, or backend: alkaid"
ELSE = "use backend: alkaid, which takes all points at once"


@dataclass(frozen=True)
class Place:
    """Where a tensor is computed: in which phase, and along which axis (without the event's) it comes beat by beat.

    `axis` None: a value of the event, the same for all beats.
    """

    phase: int
    axis: int | None


@dataclass(frozen=True)
class Use:
    """How a layer reads an input: `axis` as it comes, or None for all of it."""

    tensor: str
    axis: int | None


@dataclass(frozen=True)
class Work:
    """A layer in a phase.

    Attributes:
        layer: of the Keras model.
        phase: in which it is computed.
        uses: its inputs.
        tensor: its output.
        axis: along which the output comes; None for a value of the event.
        cut: axis of the kernel that counts points, along which its weights are the same; None where it has none.
        sums: a sum over points: of a beat here, of the event in the accumulator behind.
    """

    layer: Any
    phase: int
    uses: tuple[Use, ...]
    tensor: str
    axis: int | None
    cut: int | None = None
    sums: bool = False


@dataclass(frozen=True)
class Boundary:
    """What lies between two phases: names of tensors by the store that keeps them."""

    streamed: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Folding:
    """How an event comes.

    Attributes:
        points: N.
        together: T.
        axes: tensor -> axis along which it comes, None for a value of the event.
        spread: tensor of the event -> axis along which beats read it.
    """

    points: int
    together: int
    axes: Mapping[str, int | None]
    spread: Mapping[str, int] = field(default_factory=dict)

    @property
    def beats(self) -> int:
        """B."""
        return self.points // self.together


@dataclass(frozen=True)
class Plan:
    """All phases of a model.

    Attributes:
        model: the Keras model.
        fold: how an event comes.
        works: per phase its layers, in order.
        boundaries: behind each phase but the last.
        shapes: tensor -> its shape without the event's axis.
    """

    model: Any
    fold: Folding
    works: tuple[tuple[Work, ...], ...]
    boundaries: tuple[Boundary, ...]
    shapes: Mapping[str, tuple[int, ...]]

    def beats_of(self, phase: int) -> int:
        """Beats of a phase: B, or 1 where nothing comes point by point."""
        before = self.boundaries[phase - 1] if phase else None
        return self.fold.beats if before is None or before.streamed or before.spread else 1


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


def _refuse(layer: Any, reason: str, way_out: str) -> Unfolded:
    return Unfolded(layer.name, type(layer).__name__, reason, way_out)


@dataclass
class _Planner:
    """Goes through the layers in order and says in which phase each is computed."""

    model: Any
    points: int
    letters: Mapping[str, str]
    places: dict[str, Place] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)

    def take(self, layer: Any) -> None:
        """One more layer."""
        tensors = inputs_of(layer)
        if isinstance(layer, QEinsum | QEinsumDense):
            self._einsum(layer, tensors)
        elif isinstance(layer, BY_VALUE):
            self._by_value(layer, tensors)
        elif isinstance(layer, QSoftmax):
            self._softmax(layer, tensors[0])
        elif all(self.places[named(tensor)].axis is None for tensor in tensors):
            self._add(layer, [Use(named(tensor), None) for tensor in tensors], None)
        else:
            raise _refuse(layer, "it is not known how it works on points that come one after the other", ELSE)

    def _einsum(self, layer: Any, tensors: Sequence[Any]) -> None:
        spelled, out = layer.equation.split("->")
        terms = spelled.split(",")
        kernel = terms.pop() if isinstance(layer, QEinsumDense) else ""
        terms, out = [term[1:] for term in terms], out[1:]  # without the event's axis, which comes first
        comes = {
            index: term[place.axis]
            for index, (term, tensor) in enumerate(zip(terms, tensors, strict=True))
            if (place := self.places[named(tensor)]).axis is not None
        }
        sizes = dict(zip(out, layer.output.shape[1:], strict=True))
        row = next((a for a in out if self.letters.get(a) in POINTS and sizes[a] == self.points), None)
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
            if axis is not None and comes.get(index, letter) != letter:
                raise _refuse(layer, "it reads along one axis of points what comes along another one", ELSE)
            uses.append(Use(named(tensor), axis))
        cut = kernel.index(letter) if letter is not None and letter in kernel else None
        axis = out.index(letter) if letter is not None and not sums else None
        self._add(layer, uses, axis, cut, sums)

    def _by_value(self, layer: Any, tensors: Sequence[Any]) -> None:
        places = [self.places[named(tensor)] for tensor in tensors]
        axes = {place.axis for place in places if place.axis is not None}
        ranks = {len(tensor.shape) for tensor in tensors}
        if len(axes) > 1 or len(ranks) > 1:
            raise _refuse(layer, "its inputs come along different axes", ELSE)
        axis = axes.pop() if axes else None
        uses = []
        for tensor, place in zip(tensors, places, strict=True):
            size = 1 if axis is None else int(tensor.shape[axis + 1])
            uses.append(Use(named(tensor), axis if size == self.points or place.axis is not None else None))
        self._add(layer, uses, axis)

    def _softmax(self, layer: Any, tensor: Any) -> None:
        axis = self.places[named(tensor)].axis
        over = [number % len(tensor.shape) - 1 for number in layer.axes]
        axis = None if axis in over else axis  # a sum over the points waits for all of them
        self._add(layer, [Use(named(tensor), axis)], axis)

    def _add(
        self, layer: Any, uses: Sequence[Use], axis: int | None, cut: int | None = None, sums: bool = False
    ) -> None:
        phase = 0
        for use in uses:
            place = self.places[use.tensor]
            waits = (use.axis is None) != (place.axis is None)
            phase = max(phase, place.phase + waits)
        tensor = layer.name
        self.works.append(Work(layer, phase, tuple(uses), tensor, axis, cut, sums))
        self.places[tensor] = Place(phase + sums, axis)


def plan(model: Any, together: int) -> Plan:
    """Cut a quantised model into phases.

    Args:
        model: with a memory (`qformers.nn.memory`).
        together: T, divides N.

    Raises:
        Unfolded: a layer that cannot be folded.
    """
    memory = memory_of(model)
    if memory is None:
        raise _refuse(model, "its file does not say which axes count points", "train it again, or build it anew")
    roles = {named(tensor): tuple(memory.inputs[named(tensor)][1:]) for tensor in model.inputs}
    axes = {name: next((i for i, role in enumerate(kinds) if role in POINTS), None) for name, kinds in roles.items()}
    places = [(tensor, axes[named(tensor)]) for tensor in model.inputs]
    sizes = {int(tensor.shape[axis + 1]) for tensor, axis in places if axis is not None}
    if None in axes.values() or len(sizes) != 1:
        raise _refuse(model, f"all inputs must have the same points. Received: {roles}", ELSE)
    points = sizes.pop()
    if points % together:
        raise Unfolded(
            "firmware.points_per_clock",
            "setting",
            f"must divide the {points} points of an event. Received: {together}",
            f"take one of {', '.join(str(n) for n in range(1, points + 1) if points % n == 0)}",
        )
    planner = _Planner(model, points, memory.roles)
    planner.places.update({name: Place(0, axis) for name, axis in axes.items()})
    for layer in model.operations:
        if not isinstance(layer, keras.layers.InputLayer):
            planner.take(layer)
    made = _plan(planner, together)
    for work in (work for works in made.works for work in works):
        _refuse_uneven(made, work)
    return made


def shares(plan: Plan) -> dict[str, float]:
    """Layer -> its copies in hardware over those in the model, by which EBOPs of folded hardware are counted."""
    return {work.layer.name: _share(plan.fold, work) for works in plan.works for work in works}


def _share(fold: Folding, work: Work) -> float:
    """T / N of what is computed, or summed, beat by beat; all of what is computed for the whole event at once."""
    return fold.together / fold.points if work.axis is not None or work.sums else 1.0


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
    return axis if axis >= 0 and shape[axis] == plan.fold.points > 1 else None


def _refuse_uneven(plan: Plan, work: Work) -> None:
    """Refuse a layer whose weights or formats differ along the points that share its hardware."""
    for name in ("kernel", "bias"):
        weights = getattr(work.layer, f"q{name}", None) if isinstance(work.layer, QEinsumDense) else None
        if weights is None:
            continue
        values = np.asarray(keras.ops.convert_to_numpy(weights))
        axis = counting_axis(plan, work, name, values.shape)
        if axis is not None and (values != np.take(values, [0], axis=axis)).any():
            raise _refuse(work.layer, "its weights differ from point to point", ELSE)
    axes = {axis for axis in (work.axis, *(use.axis for use in work.uses)) if axis is not None}
    for quantiser in work.layer._flatten_layers(include_self=True):
        if isinstance(quantiser, Quantizer):
            shapes = {tuple(variable.shape) for variable in quantiser.quantizer.variables}
            sizes = {shape[axis + 1] for shape in shapes for axis in axes if len(shape) > axis + 1 and shape[0] == 1}
            if plan.fold.points in sizes - {1}:
                raise _refuse(work.layer, "its formats differ from point to point", SAME)


def _plan(planner: _Planner, together: int) -> Plan:
    ends = [named(tensor) for tensor in planner.model.outputs]
    places, works = planner.places, planner.works
    for layer in planner.model.operations:
        if any(named(tensor) in ends and places[named(tensor)].axis is not None for tensor in _outputs(layer)):
            raise _refuse(layer, "it has an output for each point, and outputs are those of events", ELSE)
    last = max(max(work.phase for work in works), *(places[name].phase for name in ends))
    uses = [(work.phase, use) for work in works for use in work.uses]
    uses += [(last, Use(name, places[name].axis)) for name in ends]
    summed = {work.tensor for work in works if work.sums}
    spread: dict[str, int] = {}
    stores: list[dict[str, dict[str, None]]] = [{kind: {} for kind in CARRIED} for _ in range(last)]
    for phase, use in uses:
        place = places[use.tensor]
        if use.tensor in summed:
            stores[place.phase - 1]["running"][use.tensor] = None
        for boundary in range(place.phase, phase):
            if place.axis is None and use.axis is not None and boundary == phase - 1:
                kind, spread[use.tensor] = "spread", use.axis
            elif place.axis is None or (use.axis is None and boundary > place.phase):
                kind = "held"
            else:
                kind = "streamed" if use.axis is not None else "filled"
            stores[boundary][kind][use.tensor] = None
    tensors = {named(tensor): tensor for layer in planner.model.operations for tensor in _outputs(layer)}
    return Plan(
        model=planner.model,
        fold=Folding(planner.points, together, {name: place.axis for name, place in places.items()}, spread),
        works=tuple(tuple(work for work in works if work.phase == phase) for phase in range(last + 1)),
        boundaries=tuple(Boundary(**{kind: tuple(names) for kind, names in store.items()}) for store in stores),
        shapes={name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()},
    )


def _outputs(layer: Any) -> list[Any]:
    output = layer.output
    return list(output) if isinstance(output, list | tuple) else [output]
