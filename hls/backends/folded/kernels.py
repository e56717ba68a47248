"""Kernels of a plan, each traced once for T points, and what the stores between them hold; both also in NumPy.

A kernel's inputs are the values that come with a beat (``rom``: weights that differ from beat to beat; ``streamed``,
``spread``, ``gathered``, ``scattered``, ``row_sums``, ``row_largest``), then all values of the event (``filled``,
``running``, ``held``), or K keys of them; its outputs are what the boundary behind it keeps, or the outputs of the
model. Every value has the format that the arithmetic in front of it can give, so that nothing is rounded where the
model does not round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.fixes import mended
from hls.backends.alkaid.kinds import replays
from hls.backends.alkaid.trace import HARDWARE, SOLVER, Kif, predict
from hls.backends.folded import orders
from hls.errors import HlsError
from qformers.nn.index.select import Largest
from qformers.precision.fixed import Fixed
from qformers.quant.phases import (
    BY_ROW,
    CARRIED,
    COMING,
    MOVED,
    Choice,
    Folding,
    Plan,
    Work,
    counting_axes,
    named,
)

Array = NDArray[np.float64]
BY_BEAT = ("rom", *COMING)
Formats = Mapping[str, Fixed | Kif]  # of the model's inputs
Read = tuple[str, bool, bool]  # tensor, whether it is all points, whether it is K keys of it


@dataclass(frozen=True)
class Group:
    """Values of one tensor at a kernel, side by side.

    Attributes:
        tensor: of the Keras model; for a ROM the layer and the name of its weights.
        kind: of the store, see `qformers.quant.phases`; "rom"; "" for an output of the model.
        shape: of a beat where it comes beat by beat, else of the event.
        kif: sign, integer and fraction bits, arrays of that shape.
        keys: of an input, the axis along which a beat reads K keys of what a store has of all of them; else None.
    """

    tensor: str
    kind: str
    shape: tuple[int, ...]
    kif: Kif
    keys: int | None = None

    @property
    def size(self) -> int:
        """Values."""
        return math.prod(self.shape)

    def to_json(self) -> list[Any]:
        """As plain JSON types."""
        keys = [] if self.keys is None else [self.keys]
        return [self.tensor, self.kind, list(self.shape), [np.ravel(part).tolist() for part in self.kif], *keys]

    @classmethod
    def from_json(cls, entry: Sequence[Any]) -> Group:
        """Inverse of `to_json`."""
        tensor, kind, shape, kif, *keys = entry
        parts = tuple(np.asarray(part, np.int8).reshape(shape) for part in kif)
        return cls(tensor, kind, tuple(shape), parts, *keys)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kernel:
    """What a phase computes in every beat.

    Attributes:
        comb: alkaid's CombLogic from all inputs to all outputs, flattened.
        ins, outs: its inputs and outputs, in order.
        beats: of an event.
        rom: (B, values) of its inputs that come from a ROM; these are the first inputs.
    """

    comb: Any
    ins: tuple[Group, ...]
    outs: tuple[Group, ...]
    beats: int
    rom: Array = field(default_factory=lambda: np.zeros((1, 0)))


def kernels(plan: Plan, formats: Formats) -> tuple[Kernel, ...]:
    """Trace all phases.

    Args:
        plan: of a model whose layers alkaid has exactly.
        formats: of the model's inputs.

    Raises:
        HlsError: alkaid cannot trace a layer.
    """
    made: list[Kernel] = []
    ins = [
        Group(named(tensor), "streamed", shape, _kif(formats[tensor.name], shape))
        for tensor in plan.model.inputs
        if named(tensor) not in plan.fold.host_orders
        for shape in [plan.beat_shape(named(tensor), plan.fold.axes[named(tensor)])]
    ]
    for phase in range(len(plan.works)):
        made.append(_kernel(plan, phase, ins))
        if phase < len(plan.boundaries):
            kept = [_behind(plan, phase, group) for group in made[-1].outs if group.kind != "places"]
            ins = [part for group in kept for part in _read(plan, phase + 1, group)]
            ins.sort(key=lambda group: group.kind not in BY_BEAT)
    return tuple(made)


def _kif(form: Fixed | Kif, shape: tuple[int, ...]) -> Kif:
    if isinstance(form, Fixed):
        parts = (int(form.signed), form.integer_bits, form.fraction_bits)
        return tuple(np.full(shape, part, np.int8) for part in parts)  # type: ignore[return-value]
    return tuple(np.broadcast_to(part, shape) for part in form)  # type: ignore[return-value]


def _behind(plan: Plan, phase: int, group: Group) -> Group:
    """What a store has of an output of a kernel."""
    if group.kind == "row_sums":
        return replace(group, kif=_grown(group.kif, plan.fold.chunks))
    if group.kind == "filled":
        axis = plan.fold.axes[group.tensor]
        kif = tuple(np.concatenate([part] * plan.fold.beats, axis=axis) for part in group.kif)
        return Group(group.tensor, "filled", plan.shapes[group.tensor], kif)  # type: ignore[arg-type]
    if group.kind == "spread":
        axis, beats = plan.fold.spread[group.tensor], plan.fold.beats
        kif = tuple(np.max(np.split(part, beats, axis=axis), axis=0) for part in group.kif)
        return Group(group.tensor, "spread", kif[0].shape, kif)  # type: ignore[arg-type]
    if group.kind == "running":
        terms = plan.beats_of(phase) // plan.chunks_of(phase)
        return replace(group, kif=_grown(group.kif, terms))
    if group.kind in MOVED:
        shape = plan.beat_shape(group.tensor, plan.fold.axes[group.tensor])
        signs, integers, fractions = (orders.laid(part, group.kind, shape) for part in group.kif)
        return Group(group.tensor, group.kind, shape, (signs, integers, fractions))
    return group


def _grown(kif: Kif, terms: int) -> Kif:
    """The formats of sums of so many terms."""
    signs, integers, fractions = kif
    alive = signs + integers + fractions > 0  # of nothing the sum is nothing
    return signs, (integers + alive * (terms - 1).bit_length()).astype(np.int8), fractions


def _read(plan: Plan, phase: int, group: Group) -> Iterator[Group]:
    """What the kernel of a phase reads of a store: all that a beat brings, or K keys of it, or both."""
    uses = [use for work in plan.works[phase] for use in work.uses if use.tensor == group.tensor]
    whole = group.kind not in BY_BEAT
    alike = {use.keys for use in uses if (use.axis is None) == whole}
    parts = {keys for keys in alike if keys is not None and group.kind != "keyed"}  # of which K keys are all there is
    wanted = phase < len(plan.boundaries) and any(
        name == group.tensor and whole == known and kind != "keyed" for name, kind, known in _wanted(plan, phase)
    )
    out = phase == len(plan.boundaries) and group.tensor in {named(tensor) for tensor in plan.model.outputs}
    if not parts or wanted or out or None in alike:
        yield group
    for axis in sorted(parts):
        cut = [np.max(np.split(part, plan.fold.chunks, axis=axis), axis=0) for part in group.kif]
        yield Group(group.tensor, group.kind, cut[0].shape, (cut[0], cut[1], cut[2]), axis)


def _roms(plan: Plan, phase: int) -> tuple[tuple[Group, ...], Array]:
    """What the kernel of a phase reads from its ROM, and the values, (B, all of them)."""
    groups: dict[str, tuple[Group, Array]] = {}
    for work in plan.works[phase]:
        tables = {f"{work.layer.name}/{name}": values for name, values in work.rom.items()}
        if work.choice is not None and len(work.choice.sums) > 1:
            tables[_choice_name(plan, phase, work)] = work.choice.which.astype(np.float64)
        for name, table in tables.items():
            values = np.repeat(table, plan.beats_of(phase) // len(table), axis=0)  # the same for all keys
            shape = values.shape[1:]
            groups[name] = Group(name, "rom", shape, _least(values)), values.reshape(len(values), -1)
    flat = [values for _, values in groups.values()]
    rom = np.concatenate(flat, axis=1) if flat else np.zeros((plan.beats_of(phase), 0))
    return tuple(group for group, _ in groups.values()), rom


def _choice_name(plan: Plan, phase: int, work: Work) -> str:
    """Layers that choose alike share a table, called by the first of them."""
    same = (one for one in plan.works[phase] if one.choice is not None and len(one.choice.sums) > 1)
    choice = cast(Choice, work.choice)
    first = next(one for one in same if np.array_equal(cast(Choice, one.choice).which, choice.which))
    return f"{first.layer.name}/choice"


def _least(values: Array) -> Kif:
    """The narrowest formats of values (B, ...), one for each place.

    Raises:
        HlsError: values that are no multiples of 2^-64.
    """
    fractions = np.zeros(values.shape[1:], np.int64)
    scaled = np.array(values)
    for _ in range(64):
        odd = (scaled != np.round(scaled)).any(axis=0)
        fractions += odd
        scaled = np.where(odd, scaled * 2.0, scaled)
    if (scaled != np.round(scaled)).any():
        raise HlsError("weights of a ROM need more than 64 fraction bits")
    high, low = scaled.max(axis=0), scaled.min(axis=0)
    signed = low < 0
    wide = np.maximum(high, -low - 1.0)
    bits = np.where(wide > 0, np.floor(np.log2(np.maximum(wide, 1.0))) + 1.0, 0.0)
    return signed.astype(np.int8), (bits - fractions).astype(np.int8), fractions.astype(np.int8)


def _kernel(plan: Plan, phase: int, ins: Sequence[Group]) -> Kernel:
    from alkaid.trace import FVArray, HWConfig, trace
    from alkaid.trace.passes import optimize

    roms, rom = _roms(plan, phase)
    ins = (*roms, *ins)
    try:
        with mended(), replays(), redirect_stdout(StringIO()):
            known: dict[Read, Any] = {}
            flat = []
            for group in ins:
                bits = (np.ravel(part).astype(np.int64) for part in group.kif)
                values = FVArray.from_kif(*bits, hwconf=HWConfig(*HARDWARE), solver_options=SOLVER)
                flat.append(values)
                whole = group.kind not in BY_BEAT
                known[group.tensor, whole, group.keys is not None or group.kind == "keyed"] = values.reshape(
                    1, *group.shape
                )
            for work in plan.works[phase]:
                if work.tensor in plan.fold.moves:  # the store in front of the kernel has done it
                    continue
                arrays = [known[use.tensor, use.axis is None, use.keys is not None] for use in work.uses]
                table = {name: known[f"{work.layer.name}/{name}", False, False][0] for name in work.rom}
                if work.choice is not None and len(work.choice.sums) > 1:
                    table["choice"] = known[_choice_name(plan, phase, work), False, False][0]
                known[work.tensor, work.axis is None, work.keys is not None] = _replayed(plan, work, arrays, table)
            if phase < len(plan.boundaries):
                wanted = list(_wanted(plan, phase))
            else:
                ends = [named(tensor) for tensor in plan.model.outputs]
                wanted = [(name, "", plan.fold.axes[name] is None) for name in ends]
            moves = plan.fold.moves
            parts = [
                known[moves[name].rows if kind in ("gathered", "scattered") else name, whole, kind == "keyed"]
                for name, kind, whole in wanted
            ]
            inputs, outputs = np.concatenate(flat), np.concatenate([np.ravel(part) for part in parts])
            comb = optimize(trace(inputs, outputs, optimize=False))
    except (AssertionError, NotImplementedError, ValueError, KeyError, RuntimeError, StopIteration) as error:
        raise HlsError(f"alkaid cannot trace phase {phase} of this model: {type(error).__name__}: {error}") from error
    outs, start = [], 0
    kifs = [np.asarray(part, np.int8) for part in comb.out_kifs]
    for (name, kind, _), part in zip(wanted, parts, strict=True):
        shape = tuple(part.shape[1:])
        stop = start + math.prod(shape)
        outs.append(Group(name, kind, shape, tuple(kif[start:stop].reshape(shape) for kif in kifs)))  # type: ignore[arg-type]
        start = stop
    return Kernel(comb, tuple(ins), tuple(outs), plan.beats_of(phase), rom)


def _wanted(plan: Plan, phase: int) -> Iterator[tuple[str, str, bool]]:
    """What the boundary behind a phase keeps: tensor, store, and whether it is known as a whole in the phase."""
    for kind in CARRIED:
        for name in getattr(plan.boundaries[phase], kind):
            yield name, kind, kind not in ("streamed", "keyed", "filled", *MOVED, *BY_ROW)


def _replayed(plan: Plan, work: Work, arrays: list[Any], table: Mapping[str, Any]) -> Any:
    """The output of a layer on alkaid's arrays, with a batch axis of one.

    Args:
        table: "kernel", "bias" or "choice" -> what the ROM gives for the beat.
    """
    if isinstance(work.layer, keras.layers.Reshape):  # the layer says the shape of an event
        return arrays[0].reshape(1, *plan.beat_shape(work.tensor, work.axis, work.keys))
    if work.step:
        return _softmax_step(work, arrays)
    if work.ends and isinstance(work.layer, Largest):
        return arrays[0]  # the store has compared the keys of the row
    from alkaid.converter._plugin_loader import maybe_load_for
    from alkaid.converter.builtin.keras.layers._base import _registry

    if type(work.layer) not in _registry:
        maybe_load_for(type(work.layer), "keras", verbose=False)
    mirror = _registry[type(work.layer)](work.layer)
    load = mirror._load_weight

    def weights(name: str) -> Any:
        return table[name] if name in table else _shared(plan, work, name, load(name))

    mirror._load_weight = weights
    if work.choice is not None:
        place = work.uses[0].axis if len(work.uses) == 1 else work.uses[1].axis
        side_by_side = np.concatenate(arrays[::-1], axis=cast(int, place) + 1)  # so that both are rounded alike
        mirror.call = lambda given: _chosen(plan, work, given, table.get("choice")) + mirror._load_weight("bias")
        return mirror(side_by_side)["final"][0]
    if work.ends:
        mirror.__input_quantizer_handled__ = True
        mirror.call = lambda given: given + mirror._load_weight("bias")
    if work.sums:
        mirror._load_weight = lambda name: 0.0 if name == "bias" else weights(name)
    several = not work.ends and isinstance(work.layer.input, list | tuple)
    made = mirror(tuple(arrays)) if several else mirror(arrays[0])
    return made["post_call" if work.sums else "final"][0]


def _softmax_step(work: Work, arrays: Sequence[Any]) -> Any:
    """A step of a softmax over folded keys, as HGQ2's replay of the layer computes it for all of them."""
    from hgq._alkaid_keras_plugin._base import mirror_quantizer
    from hgq._alkaid_keras_plugin.activation import _QFunctionLUT

    layer, given = work.layer, arrays[-1]
    if work.step == "product":
        return arrays[0] * arrays[1]
    if work.ends:
        return given if work.step == "top" else _QFunctionLUT(layer.inv_table)(given)["final"][0]
    if work.step == "sum":
        return np.sum(given, axis=layer.axes, keepdims=True)
    scores = mirror_quantizer(layer.iq, given) if layer.enable_iq else given
    if work.step == "top":
        return np.amax(scores, axis=layer.axes, keepdims=True)
    return _QFunctionLUT(layer.exp_table)(arrays[0] - scores if layer.stable else scores)["final"][0]


def _chosen(plan: Plan, work: Work, given: Any, numbers: Any) -> Any:
    """Pairs of the rows of a beat from own values and those of all keys; or rows and columns from such pairs.

    Symbols: T points of a beat, K keys (N where they are not folded).
    """
    choice, together, points = cast(Choice, work.choice), plan.fold.together, plan.fold.points // plan.fold.chunks
    flat = np.moveaxis(given, cast(int, work.uses[-1].axis) + 1, 1)[0]  # (T + K, ...); or of pairs (T * K, ...)
    rest = flat.shape[1:]
    flat = flat.reshape(len(flat), -1)
    into = len(work.uses) == 2
    made = []
    for place in range(together * points):
        row, column = divmod(place, points)
        own, other = (flat[row], flat[together + column]) if into else (None, flat[place])
        sums = [_sum(factors, own, other) for factors in choice.sums]
        seen = np.unique(choice.which[:, place])
        made.append(sums[int(seen[0])] if len(seen) == 1 else _pick(numbers[place], sums))
    pairs = np.stack(made)
    if into:
        return np.moveaxis(pairs.reshape(-1, *rest), 0, cast(int, work.axis))[None]
    return pairs.reshape(together, points, *rest).transpose(choice.order)[None]


def _sum(factors: tuple[float, float], own: Any, other: Any) -> Any:
    parts = [part * factor for part, factor in zip((own, other), factors, strict=True) if factor]
    return sum(parts[1:], parts[0]) if parts else other * 0.0


def _pick(number: Any, sums: Sequence[Any]) -> Any:
    """One of several arrays (R,) by a number that counts from 0."""
    picked = sums[0]
    for which, one in enumerate(sums[1:], start=1):
        hit = number if len(sums) == 2 else number == float(which)
        if isinstance(hit, bool | np.bool_):  # a number that this one is never, or always
            picked = one if hit else picked
            continue
        picked = type(one)(np.array([hit.msb_mux(a, b) for a, b in zip(one, picked, strict=True)]))
    return picked


def _shared(plan: Plan, work: Work, name: str, weights: Any) -> Any:
    """The weights of a beat; an axis of them that counts points is cut to a beat, since all are the same."""
    weights = np.asarray(weights)
    for axis, parts in zip(counting_axes(plan, work, name, weights.shape), plan.fold.parts, strict=True):
        if axis is not None and parts > 1:
            # along pairs of rows one value does for all of them
            length = 1 if any(work.tensor in one.axes for one in plan.triangles) else weights.shape[axis] // parts
            weights = np.take(weights, range(length), axis=axis)
    return weights


def run(fold: Folding, made: Sequence[Kernel], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The fast path: whole events through kernels and stores in NumPy, exact in float64.

    Args:
        fold, made: of a plan.
        inputs: name -> (n, ...), in the formats of the ports; orders as numbers, also where the host gives banks.

    Returns:
        Output name (of the tensor) -> (n, ...).
    """
    events = len(next(iter(inputs.values())))
    stored = {
        (g.tensor, g.kind): beats_of(fold, g.tensor, inputs[g.tensor]) for g in made[0].ins if g.kind == "streamed"
    }
    whole = {(g.tensor, g.kind): g.shape for g in made[0].ins}
    numbers = {name: beats_of(fold, name, inputs[name]) for name in fold.host_orders}
    for kernel in made:
        rows = np.concatenate(
            [
                _rows(kernel.rom[None], kernel.beats, events),
                *(
                    _rows(_keys(fold, g, stored[g.tensor, g.kind], whole[g.tensor, g.kind]), kernel.beats, events)
                    for g in kernel.ins
                    if g.kind != "rom"
                ),
            ],
            axis=1,
        )
        answers = predict(kernel.comb, rows).reshape(events, kernel.beats, -1)
        parts = np.split(answers, np.cumsum([group.size for group in kernel.outs])[:-1], axis=2)
        answered = dict(zip(((g.tensor, g.kind) for g in kernel.outs), parts, strict=True))
        shapes = {(g.tensor, g.kind): g.shape for g in kernel.outs}
        still = [g for g in kernel.outs if g.kind not in MOVED]
        stored = {(g.tensor, g.kind): _kept(fold, g, answered[g.tensor, g.kind]) for g in still}
        stored |= orders.moved(fold, shapes, answered, stored, numbers)
        whole = {(g.tensor, g.kind): kept_shape(fold, g) for g in kernel.outs}
    return {group.tensor: of_event(fold, group, answered[group.tensor, ""]) for group in made[-1].outs}


def of_event(fold: Folding, group: Group, values: Array) -> Array:
    """An output of the model from (n, beats, values): (n, ...)."""
    if fold.axes.get(group.tensor) is None:
        return values[:, -1].reshape(len(values), *group.shape)
    return joined(fold, group, values)


def beats_of(fold: Folding, tensor: str, values: Array) -> Array:
    """(n, ...) as (n, B, values of a beat)."""
    parts = np.split(np.asarray(values, np.float64), fold.beats, axis=_axis(fold, tensor) + 1)
    return np.stack([part.reshape(len(values), -1) for part in parts], axis=1)


def _axis(fold: Folding, tensor: str) -> int:
    axis = fold.axes[tensor] if fold.axes[tensor] is not None else fold.spread.get(tensor)
    if axis is None:
        raise ValueError(f"tensor {tensor} is one of the event and does not come beat by beat")
    return axis


def joined(fold: Folding, group: Group, values: Array) -> Array:
    """(n, B, values of a beat) as (n, ...)."""
    axis = _axis(fold, group.tensor)
    values = values[:, :: fold.chunks_in(values.shape[1])]  # the same for all keys
    parts = [values[:, beat].reshape(len(values), *group.shape) for beat in range(fold.beats)]
    return np.concatenate(parts, axis=axis + 1)


def kept_shape(fold: Folding, group: Group) -> tuple[int, ...]:
    """Shape of what a store has of an output of a kernel: of a beat, or of the event where it has all of it."""
    shape, axis = list(group.shape), fold.axes.get(group.tensor)
    if group.kind == "filled" and axis is not None:
        shape[axis] *= fold.beats
    if group.kind == "spread":
        shape[fold.spread[group.tensor]] //= fold.beats
    return tuple(shape)


def _kept(fold: Folding, group: Group, values: Array) -> Array:
    """What is kept of (n, beats, values): (n, B, values of a beat) of what comes by rows, with keys (n, B C, ...), else
    (n, 1, values)."""
    rows = values[:, :: fold.chunks_in(values.shape[1])]  # the same for all keys
    if group.kind == "filled":
        return joined(fold, group, values).reshape(len(values), 1, -1)
    if group.kind == "spread":
        return beats_of(fold, group.tensor, values[:, 0].reshape(len(values), *group.shape))
    if group.kind == "running":
        return np.asarray(rows.sum(axis=1, keepdims=True))
    if group.kind in BY_ROW:
        keys = values.reshape(len(values), fold.beats, fold.chunks, -1)
        return np.asarray(keys.sum(axis=2) if group.kind == "row_sums" else keys.max(axis=2))
    return values if group.kind == "keyed" else rows if group.kind == "streamed" else values[:, :1]


def _keys(fold: Folding, group: Group, values: Array, shape: tuple[int, ...]) -> Array:
    """(n, 1 or B, values of `shape`) of which each beat reads K keys as (n, B C, values); others as they are."""
    if group.keys is None:
        return values
    events, beats = values.shape[:2]
    parts = np.split(values.reshape(events, beats, *shape), fold.chunks, axis=group.keys + 2)
    chunks = np.stack([part.reshape(events, beats, -1) for part in parts], axis=2)
    return np.repeat(chunks, fold.beats // beats, axis=1).reshape(events, fold.interval, -1)


def _rows(values: Array, beats: int, events: int) -> Array:
    """(n, 1 or B or B C, values) as (n * beats, values); with keys each row stands for all of its own."""
    if 1 < values.shape[1] < beats:
        values = np.repeat(values, beats // values.shape[1], axis=1)
    return np.broadcast_to(values, (events, beats, values.shape[2])).reshape(events * beats, -1)
