"""HGQ2's quantisers as `Quant` nodes.

`Quant` divides by a step, clips to whole numbers of some bits, rounds and multiplies. Where HGQ2 does otherwise,
standard nodes in front of it do that, so that the same float32 comes out:

- Ties that go up (RND): half a step is added, and `Quant` rounds down. Its HALF_UP goes away from 0, and is no mode of
  hls4ml's reader.
- Formats of their own for elements: steps are a tensor. qonnx executes one width for all, so elements with fewer bits
  are clipped by `Max` and `Min`; those without any become 0.
- Wrapping (WRAP): where interval arithmetic does not show that nothing wraps, values are rounded, their multiple of the
  range is subtracted, and `Quant` has nothing left to do but to say the format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.interop.qonnx.graph import DOMAIN, Graph, NoForm, Tensor
from qformers.quant.intervals import NO_BITS, Range
from qformers.quant.kinds.record import Quantiser, rounded

Array = NDArray[np.float64]
FLOORED = {"RND": 0.5, "TRN": 0.0}  # HGQ2's mode -> what is added before rounding down
PLAIN = {"TRN": "FLOOR", "RND_CONV": "ROUND", "TRN_ZERO": "DOWN", "RND_INF": "HALF_UP", "RND_ZERO": "HALF_DOWN"}
OVERFLOWS = ("WRAP", "SAT", "SAT_SYM")


@dataclass(frozen=True)
class Steps:
    """A quantiser's formats by element, as whole numbers of steps; arrays that broadcast against the tensor.

    Attributes:
        step: 2^-fraction bits; 1 where there is no bit.
        low, high: ends of the range in steps; both 0 where there is no bit.
        signed: whether some element can be below 0.
        bits: of the widest element, as `Quant` counts them.
        narrow: whether ranges are symmetric.
    """

    step: Array
    low: Array
    high: Array
    signed: bool
    bits: int
    narrow: bool

    @property
    def clipped(self) -> bool:
        """Whether some element has a smaller range than the widest one."""
        low = -(2.0 ** (self.bits - 1)) + self.narrow if self.signed else 0.0
        high = 2.0 ** (self.bits - self.signed) - 1.0
        return bool((self.low > low).any() or (self.high < high).any())


def steps_of(quantiser: Quantiser) -> Steps:
    """The formats of a quantiser.

    Raises:
        NoForm: it is none of fixed point, or scales its values.
    """
    refuse_others(quantiser)
    k, i, f = quantiser.kif()
    alive = k + i + f > 0
    span = np.where(alive, 2.0 ** np.where(alive, i + f, 0), 1.0)
    symmetric = quantiser.core.overflow_mode == "SAT_SYM"
    low = np.where(alive, -k * (span - symmetric), 0.0)
    signed = bool((low < 0).any())
    most = int(np.where(alive, i + f, 0).max(initial=0))
    bits = max(most + signed, 1 + signed)  # of one signed bit, Quant makes -1 and 1
    step = np.where(alive, 2.0 ** np.where(alive, -f, 0).astype(np.float64), 1.0)
    return Steps(_compact(step), _compact(low), _compact(span - 1.0), signed, bits, signed and symmetric)


def refuse_others(quantiser: Quantiser) -> None:
    """Refuse a quantiser that is none of fixed point, or scales its values.

    Raises:
        NoForm: naming it.
    """
    wrapper, core = quantiser.wrapper, quantiser.core
    if not hasattr(core, "kif"):
        raise NoForm(
            f"its quantiser '{quantiser.name}' is not of fixed point. Received: {wrapper.q_type}",
            "use a quantiser of kind kif or kbi",
        )
    if wrapper.scaler is not None or wrapper.affine is not None:
        raise NoForm(
            f"its quantiser '{quantiser.name}' scales its values. Received: scaler={wrapper.scaler}, "
            f"affine={wrapper.affine}",
            "leave scaler and affine out",
        )
    if core.overflow_mode not in OVERFLOWS:
        raise NoForm(
            f"its quantiser '{quantiser.name}' overflows in another way than {', '.join(OVERFLOWS)}. Received: "
            f"{core.overflow_mode}",
            "set overflow_mode to one of them",
        )


def _compact(array: Array) -> Array:
    """With length 1 along every axis where nothing changes; a single number without axes."""
    for axis, size in enumerate(array.shape):
        first = np.take(array, [0], axis=axis)
        if size > 1 and np.array_equal(np.broadcast_to(first, array.shape), array):
            array = first
    return array.reshape(()) if array.size == 1 else array


def _quant(
    g: Graph, x: Tensor, hint: str, step: Array, bits: int, signed: bool, narrow: bool, mode: str = "ROUND"
) -> Tensor:
    scale, zero, width = (
        g.constant(value, f"{hint}_{word}")
        for word, value in (("scale", step), ("zeropt", 0.0), ("bitwidth", float(bits)))
    )
    said: dict[str, Any] = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": mode}
    return g.node("Quant", x, scale, zero, width, hint=hint, domain=DOMAIN, **said)


def _as_it_is(array: NDArray[Any]) -> NDArray[Any]:
    return array


def held(
    g: Graph, quantiser: Quantiser, values: Any, laid: Callable[[NDArray[Any]], NDArray[Any]] = _as_it_is
) -> Tensor:
    """Weights, already rounded by HGQ2, behind the `Quant` that says their format.

    Args:
        g: the graph.
        quantiser: of the weights.
        values: as HGQ2 rounds them.
        laid: from an array with their axes to one as the file has them.
    """
    said = steps_of(quantiser)
    array = np.asarray(values, np.float32)
    array, step = laid(array), laid(np.broadcast_to(said.step, array.shape))
    whole = array.astype(np.float64) / step
    # HGQ2 lets weights of a wrapping quantiser grow beyond their integer bits
    signed = said.signed or bool((whole < 0).any())
    least, most = float(whole.min(initial=0.0)), float(whole.max(initial=0.0))
    bits = max(said.bits, 1 + signed, signed + int(np.ceil(np.log2(max(most + 1.0, -least)))))
    narrow = said.narrow and least > -(2.0 ** (bits - 1))
    return _quant(g, g.constant(array, quantiser.slot), quantiser.part, _compact(step), bits, signed, narrow)


def quantised(g: Graph, quantiser: Quantiser, x: Tensor) -> Tensor:
    """Values that flow, rounded by a quantiser of HGQ2.

    Raises:
        NoForm: the quantiser is none of fixed point, or rounds in a way that has no form.
    """
    said, hint = steps_of(quantiser), quantiser.part or "q"
    after = rounded(x.range, quantiser, x.shape)
    mode = quantiser.core.round_mode.removeprefix("S_")  # stochastic in training only
    if x.range is not None and _on_grid(x.range, quantiser, x.shape):
        mode = "RND_CONV"
    if quantiser.core.overflow_mode == "WRAP" and not _fits(x.range, quantiser, x.shape):
        g.wrapped.append(quantiser.name)
        x, mode = _wrapped(g, quantiser, x, mode, said), "RND_CONV"
    x, rounding = _before(g, x, mode, said)
    if said.clipped and quantiser.core.overflow_mode != "WRAP":
        x = g.node("Min", x, said.high * said.step, hint=f"{hint}_most")
        x = g.node("Max", x, said.low * said.step, hint=f"{hint}_least")
    made = _quant(g, x, hint, said.step, said.bits, said.signed, said.narrow, rounding)
    return replace(made, range=after)


def _on_grid(given: Range, quantiser: Quantiser, shape: tuple[int, ...]) -> bool:
    k, i, f = _of_event(quantiser, shape)
    return bool(((given.fraction_bits <= f) | (k + i + f <= 0)).all())


def _fits(given: Range | None, quantiser: Quantiser, shape: tuple[int, ...]) -> bool:
    """Whether no value of an element that has bits is outside its format once it is rounded."""
    if given is None:
        return False
    k, i, f = _of_event(quantiser, shape)
    alive = k + i + f > 0
    step = 2.0 ** -f.astype(np.float64)
    inside = (given.low >= -k * 2.0**i) & (given.high < 2.0**i - step / 2)
    return bool((alive & inside).all())


def _of_event(quantiser: Quantiser, shape: tuple[int, ...]) -> list[NDArray[np.int64]]:
    return [np.broadcast_to(part[0] if part.ndim > len(shape) else part, shape) for part in quantiser.kif()]


def _before(g: Graph, x: Tensor, mode: str, said: Steps) -> tuple[Tensor, str]:
    """What stands in front of a `Quant` that rounds as HGQ2 does, and its rounding mode."""
    if mode in PLAIN:
        return x, PLAIN[mode]
    if mode == "RND":
        return g.node("Add", x, said.step / 2, hint="half_a_step"), "FLOOR"
    if mode == "RND_MIN_INF":
        return g.node("Sub", x, said.step / 2, hint="half_a_step"), "CEIL"
    raise NoForm(f"QONNX has no form of its rounding mode {mode}", f"use one of {', '.join([*PLAIN, 'RND'])}")


def _wrapped(g: Graph, quantiser: Quantiser, x: Tensor, mode: str, said: Steps) -> Tensor:
    """Values on the grid within the range, that many times the range away from those that come in."""
    k, i, f = quantiser.kif()
    alive = k + i + f > 0
    power = np.where(alive, 2.0 ** np.where(alive, f, 0).astype(np.float64), 0.0)  # 0 for elements without a bit
    span = _compact(np.where(alive, 2.0 ** np.where(alive, k + i + f, 0).astype(np.float64), 1.0))
    whole = g.node("Mul", x, _compact(power), hint="in_steps")
    if mode == "RND_CONV":
        whole = g.node("Round", whole)
    elif mode in FLOORED:
        whole = g.node("Add", whole, FLOORED[mode], hint="half_a_step") if FLOORED[mode] else whole
        whole = g.node("Floor", whole)
    else:
        raise NoForm(
            f"its quantiser '{quantiser.name}' wraps around and rounds in the mode {mode}", "set overflow_mode to SAT"
        )
    up = g.node("Sub", whole, said.low, hint="from_lower_end") if said.signed else whole
    times = g.node("Floor", g.node("Div", up, span, hint="in_ranges"))
    back = g.node("Sub", up, g.node("Mul", times, span, hint="whole_ranges"), hint="within")
    back = g.node("Add", back, said.low, hint="from_zero") if said.signed else back
    return g.node("Mul", back, said.step, hint="wrapped")


def zero_free(given: Range) -> NDArray[np.int64]:
    """Fraction bits of a range, 0 for values that are always 0."""
    return np.where(given.fraction_bits == NO_BITS, 0, given.fraction_bits)
