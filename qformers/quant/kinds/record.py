"""What is known about one class of layers: its quantisers, the values that it can give out, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.nn.memory import inputs_of
from qformers.quant.intervals import NO_BITS, Range, Sums, ranged

Array = NDArray[np.float64]
Place = Literal["input", "weight", "bias", "table", "result"]
Bits = Mapping[str, int]  # slot ("input0", "weight", "exp_table", ...) -> bits as HGQ2 counts them
Formula = Callable[[Bits], int]
Bounds = tuple[Range | None, Sums | None]  # of what a layer gives out, before it is rounded; of the sums in it
UNKNOWN: Bounds = (None, None)
ROUNDED: Mapping[str, Callable[[Array], Array]] = {  # HGQ2's mode -> whole numbers of steps
    "TRN": np.floor,
    "RND": lambda steps: np.floor(steps + 0.5),
    "RND_CONV": np.rint,
    "TRN_ZERO": np.trunc,
    "RND_ZERO": lambda steps: np.copysign(np.ceil(np.abs(steps) - 0.5), steps),
    "RND_INF": lambda steps: np.copysign(np.floor(np.abs(steps) + 0.5), steps),
    "RND_MIN_INF": lambda steps: np.ceil(steps - 0.5),
}


@dataclass(frozen=True)
class Quantiser:
    """One HGQ2 quantiser and where it sits.

    Attributes:
        layer: that holds it.
        part: how it is called in the layer, e.g. "iq", "iq1", "kq", "exp_iq"; "" for a layer that only rounds.
        slot: key of `qformers.config.layers.LayerFormats`, by which a build file says its format.
        place: what it rounds.
        wrapper: the ``hgq.quantizer.Quantizer``.
        tensor: from the layer's inputs to what it sees.
        sees: number of the layer's input that it rounds as it comes in; None where it sees what the layer computes or
            holds.
        computed: the weights that it rounds, where these are no variable of the layer: a norm is multiplied in first.
    """

    layer: Any
    part: str
    slot: str
    place: Place
    wrapper: Any
    tensor: Callable[[list[Any]], Any]
    sees: int | None = None
    computed: Callable[[], Any] | None = None

    @property
    def name(self) -> str:
        """In reports and files: e.g. "b0_attn_q_iq", "b0_attn_scores_iq1", "b0_attn_weights_exp_iq"."""
        return f"{self.layer.name}_{self.part}" if self.part else str(self.layer.name)

    @property
    def core(self) -> Any:
        """The HGQ2 fixed-point quantiser with its k, i, f."""
        return self.wrapper.quantizer

    @property
    def learned(self) -> bool:
        """Whether its widths are trained; formats from the build file and constants are not."""
        return bool(self.layer.trainable and self.core.trainable)

    @property
    def elements(self) -> int:
        """Values per event that it rounds, or weights; inside a softmax, as many as the layer has."""
        if self.place in ("weight", "bias"):
            return math.prod(self._held.shape)
        tensor = self.layer.output if self.place in ("table", "result") else inputs_of(self.layer)[self.sees or 0]
        return math.prod(int(size) for size in tensor.shape[1:])

    @property
    def variable(self) -> Any:
        """The weights or biases that it quantises, as they are trained (not for values that flow)."""
        return self.layer._kernel if self.place == "weight" else self.layer.bias

    @property
    def _held(self) -> Any:
        return self.variable if self.computed is None else self.computed()

    def kif(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(sign, integer bits without sign, fraction bits), one number per group that shares a format."""
        k, i, f = (np.rint(ops.convert_to_numpy(x)).astype(np.int64) for x in self.core.kif)
        return np.broadcast_arrays(k, i, f)  # type: ignore[return-value]

    def widths(self) -> NDArray[np.int64]:
        """Bits, sign included, per group that shares a format; 0 where nothing is left."""
        k, i, f = self.kif()
        return np.where(i + f > 0, k + i + f, np.where(k + i + f > 0, k, 0))

    def values(self) -> Array:
        """The weights or biases it quantises (not for values that flow)."""
        return np.asarray(ops.convert_to_numpy(self._held), np.float64)

    def groups(self, array: Array, reduce: Callable[..., Any]) -> Array:
        """Reduce an array of the quantised tensor's shape to one number per group that shares a format."""
        axes = tuple(self.core.bw_mapper.homogeneous_axis)
        return np.asarray(reduce(array, axis=axes, keepdims=True)) if axes else array

    def cover(self, magnitude: Array) -> None:
        """Set the integer bits so that values of this size fit; fraction bits stay."""
        top = self.groups(magnitude, np.max)
        _, _, f = self.kif()
        step = 2.0 ** -f.astype(np.float64)
        integer = np.ceil(np.log2(np.where(top > 0, top + step, step)))
        integer = np.where(top > 0, np.maximum(integer, 1.0 - f), 1.0 - f)
        constraint = self.core._i.constraint
        if constraint is not None:
            integer = np.asarray(ops.convert_to_numpy(constraint(ops.convert_to_tensor(integer, "float32"))))
        self.core._i.assign(integer.astype(np.float32))
        if hasattr(self.core, "_b"):  # widths counted as total bits: keep the fraction
            bits = np.maximum(integer + f, 0.0)
            limit = self.core._b.constraint
            bits = np.asarray(ops.convert_to_numpy(limit(ops.convert_to_tensor(bits, "float32")))) if limit else bits
            self.core._b.assign(bits.astype(np.float32))

    def drop_sign(self, lowest: Array) -> None:
        """Make it unsigned where nothing below zero was seen (behind a ReLU or a mask)."""
        negative = self.groups(lowest, np.min) < 0
        self.core._k.assign(negative.astype(self.core._k.dtype))


@dataclass(frozen=True)
class Incoming:
    """A layer, its quantisers, and the range of each of its inputs (None where nothing is known)."""

    layer: Any
    quantisers: Sequence[Quantiser]
    inputs: Sequence[Range | None]

    def input(self, index: int = 0) -> Range | None:
        """An input as the layer sees it, rounded."""
        reader = next((quantiser for quantiser in self.quantisers if quantiser.sees == index), None)
        given = self.inputs[index]
        return given if reader is None else rounded(given, reader, tuple(inputs_of(self.layer)[index].shape[1:]))

    def at(self, slot: str) -> Quantiser | None:
        """The quantiser of a slot; None where the layer has none there."""
        return next((quantiser for quantiser in self.quantisers if quantiser.slot == slot), None)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the layer's output, without the batch axis."""
        return tuple(self.layer.output.shape[1:])


def no_quantisers(layer: Any) -> Iterator[Quantiser]:
    """Of a layer that rounds nothing."""
    yield from ()


def itself(layer: Any) -> Iterable[tuple[Any, Sequence[Any]]]:
    """A layer and the shapes of its inputs."""
    yield layer, [tensor.shape for tensor in inputs_of(layer)]


def every_feature(layer: Any) -> Any:
    """All elements of the last axis."""
    return slice(None)


def as_they_come(roles: Sequence[str]) -> tuple[str, ...]:
    """Roles of the axes of a layer that leaves its axes alone."""
    return tuple(roles)


@dataclass(frozen=True)
class LayerKind:
    """What precision tables, audit, post-training quantisation, ranges and backends need to know of a layer class.

    Attributes:
        quantisers: those of a layer, in the order of its arithmetic; each knows its slot and what it sees.
        bounds: which values can leave a layer, before its result is rounded, by interval arithmetic, and what the sums
            in it can become; None where that is not known.
        ebops: EBOPs of a layer as a function of the bits of its slots, equal to what HGQ2 counts, each part times its
            factor and rounded down as HGQ2 stores it; None where HGQ2 has to count, a thousand times as slow.
        counted: the layer and the layers in it that HGQ2 counts, each with the shapes of its inputs.
        used: which elements of the last axis of its input reach its output, as an index.
        moves: what it gives out are the values of its first input, at other places.
        joins: what it gives out are the values of all of its inputs.
        reorders: its rows stand in another order than the slots of the event.
        roles: of the axes of its output, given those of its first input; a layer with an equation says them itself.
    """

    quantisers: Callable[[Any], Iterator[Quantiser]] = no_quantisers
    bounds: Callable[[Incoming], Bounds] | None = None
    ebops: Callable[[Any], Formula | None] | None = None
    counted: Callable[[Any], Iterable[tuple[Any, Sequence[Any]]]] = itself
    used: Callable[[Any], Any] = every_feature
    moves: bool = False
    joins: bool = False
    reorders: bool = False
    roles: Callable[[Sequence[str]], tuple[str, ...]] = as_they_come


def rounded(given: Range | None, quantiser: Quantiser, shape: tuple[int, ...]) -> Range:
    """What a quantiser makes of values in `given` (None: of any values), for a tensor of this shape."""
    k, i, f = (np.broadcast_to(part[0] if part.ndim > len(shape) else part, shape) for part in quantiser.kif())
    dead = k + i + f <= 0
    step = 2.0 ** -f.astype(np.float64)
    high = 2.0 ** i.astype(np.float64) - step
    low = -k * (high + (0.0 if quantiser.core.overflow_mode == "SAT_SYM" else step))
    bits = f.astype(np.int64)
    if given is not None:
        first, last = (_on_grid(part, step, quantiser.core.round_mode) for part in (given.low, given.high))
        outside = (first < low) | (last > high)
        bits = np.where(outside, bits, np.minimum(bits, given.fraction_bits))
        if quantiser.core.overflow_mode == "WRAP":
            low, high = np.where(outside, low, first), np.where(outside, high, last)
        else:
            low, high = np.clip(first, low, high), np.clip(last, low, high)
    return ranged(np.where(dead, 0.0, low), np.where(dead, 0.0, high), np.where(dead, NO_BITS, bits))


def _on_grid(values: Array, step: Array, mode: str) -> Array:
    return np.asarray(ROUNDED[mode.removeprefix("S_")](values / step) * step)  # stochastic in training only


def stored(layer: Any, ebops: Any) -> int:
    """EBOPs of a layer as HGQ2 keeps them: times its factor, computed in float32, stored as a whole number."""
    return int(np.float32(ebops) * np.float32(layer.ebops_factor))


def to_array(tensor: Any) -> Array:
    """A Keras tensor in float64."""
    return np.asarray(ops.convert_to_numpy(tensor), np.float64)
