"""Ports of the RTL: the format in which each model input crosses the pins, and where each value sits in the vector.

The host (or the firmware in front) hands over values in these formats; what the model's own quantisers do with values
beyond or between, they do in RTL. A port must therefore hold every value that two of them could treat differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.kinds import Handler, handler_of
from hls.backends.unfit import aliases, given_out
from hls.errors import Refusal
from qformers.nn.memory import inputs_of
from qformers.precision.fixed import Fixed
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import Quantiser
from qformers.quant.readers import readers

Array = NDArray[np.float64]


def consumers(model: Any) -> dict[str, list[Quantiser]]:
    """Model input name -> the quantisers that read it, also behind layers that only move its values."""
    reading = _reading(model)
    return {
        tensor.name: [user for alias in aliases(model, tensor) for user in reading.get(id(alias), [])]
        for tensor in model.inputs
    }


def _reading(model: Any) -> dict[int, list[Quantiser]]:
    """`readers`, and the quantisers within a layer that read an input before anything else does."""
    reading = readers(model)
    for layer in model.layers:
        handler = handler_of(layer)
        for tensor, wrapper in handler.within(layer) if isinstance(handler, Handler) else ():
            reader = Quantiser(layer, "iq", "input", "input", wrapper, itemgetter(0))
            reading.setdefault(id(tensor), []).append(reader)
    return reading


def own_formats(model: Any) -> dict[str, Fixed]:
    """Format of each model input that a layer reads without a quantiser, as its handler says."""
    handlers = [(layer, handler_of(layer)) for layer in model.layers]
    return {
        inputs_of(layer)[0].name: handler.port(layer)
        for layer, handler in handlers
        if isinstance(handler, Handler) and handler.port is not None
    }


def port_format(users: Sequence[Quantiser]) -> Fixed:
    """The narrowest format from which all `users` get what they would get from the float.

    Truncated to one bit more than a consumer that rounds has, and saturated beyond all of their ranges; or wrapped,
    where all of them wrap.
    """
    formats = [(_widest_kif(user), user.core.round_mode.removeprefix("S_")) for user in users]
    k = max(kif[0] for kif, _ in formats)
    i = max(kif[1] for kif, _ in formats)
    f = max(kif[2] + (mode == "RND") for kif, mode in formats)
    wraps = all(user.core.overflow_mode == "WRAP" for user in users)
    return Fixed(bool(k), i, f, "TRN", "WRAP" if wraps else "SAT")


def port_formats(model: Any) -> dict[str, Fixed]:
    """Format of each model input, by name."""
    readers, own = consumers(model), own_formats(model)
    return {
        tensor.name: own[tensor.name] if tensor.name in own else port_format(readers[tensor.name])
        for tensor in model.inputs
    }


def _widest_kif(user: Quantiser) -> tuple[int, int, int]:
    """Largest sign, integer and fraction bits over its elements; an element without bits reads nothing."""
    k, i, f = user.kif()
    alive = k + i + f > 0
    if not alive.any():
        return 0, 0, 1
    return int(k[alive].max()), int(i[alive].max()), int(f[alive].max())


def unrounded(model: Any) -> Iterator[Refusal]:
    """Model inputs that a layer reads without rounding, beside others: a port has the format of those who round it."""
    reading = _reading(model)
    for tensor in model.inputs:
        for alias in aliases(model, tensor):
            rounding = {id(quantiser.layer) for quantiser in reading.get(id(alias), [])}
            for layer in model.layers if rounding else ():
                kind, handler = kind_of(layer), handler_of(layer)
                ported = isinstance(handler, Handler) and handler.port is not None
                read = any(one is alias for one in inputs_of(layer))
                if read and not (kind.moves or kind.joins or ported or id(layer) in rounding):
                    reason = (
                        f"layer '{layer.name}' reads it without rounding, and its port has the format of the others"
                    )
                    way_out = "put hgq.quantizer.Quantizer in front of that layer"
                    yield Refusal(tensor.name, "InputLayer", reason, way_out)


def port_faults(model: Any) -> list[Refusal]:
    """Why the inputs of a model have no port format; empty = they have."""
    faults = [*given_out(model), *unrounded(model)]
    own = own_formats(model)
    for name, users in consumers(model).items():
        if name in own:
            continue
        if not users:
            reason = "no layer that reads it quantises it first, so that its port has no format"
            way_out = "set enable_iq=True there, or put hgq.quantizer.Quantizer in front (of an attention layer)"
            faults.append(Refusal(name, "InputLayer", reason, way_out))
        modes = {user.core.overflow_mode == "WRAP" for user in users}
        if len(modes) > 1:
            names = ", ".join(user.layer.name for user in users)
            reason = f"some of its readers wrap and some saturate ({names}): no port format suits both"
            faults.append(Refusal(name, "InputLayer", reason, "give them one overflow mode"))
        for user in users:
            if user.core.round_mode.removeprefix("S_") == "RND_CONV":
                reason = f"its reader '{user.layer.name}' rounds ties to even, for which a port has to hold all bits"
                faults.append(Refusal(name, "InputLayer", reason, "use RND or TRN at the model inputs"))
    return faults


@dataclass(frozen=True)
class Value:
    """One number in a vector of the RTL: bits ``low`` to ``low + width - 1``; width 0 = the model does not read it."""

    port: str
    index: tuple[int, ...]
    low: int
    signed: bool
    integer_bits: int
    fraction_bits: int

    @property
    def width(self) -> int:
        """Bits, sign included."""
        return max(self.signed + self.integer_bits + self.fraction_bits, 0)


def place(ports: Mapping[str, tuple[int, ...]], precisions: Sequence[tuple[bool, int, int]]) -> tuple[Value, ...]:
    """Where each value of the ports sits in a packed vector.

    Args:
        ports: name -> shape, in the order of the vector.
        precisions: (signed, integer bits, fraction bits) of each value.
    """
    spots = [(name, tuple(map(int, index))) for name, shape in ports.items() for index in np.ndindex(*shape)]
    values, low = [], 0
    for (name, index), (signed, integer, fraction) in zip(spots, precisions, strict=True):
        value = Value(name, index, low, bool(signed), int(integer), int(fraction))
        values.append(value)
        low += value.width
    return tuple(values)


def encode(values: Sequence[Value], numbers: Array) -> list[int]:
    """Events (n, values) as packed vectors; every number must be a multiple of its step within its range."""
    packed = []
    for row in np.asarray(numbers, np.float64):
        vector = 0
        for value, number in zip(values, row, strict=True):
            if value.width:
                vector |= (int(np.floor(number * 2.0**value.fraction_bits)) & ((1 << value.width) - 1)) << value.low
        packed.append(vector)
    return packed


def decode(values: Sequence[Value], vectors: Sequence[int]) -> Array:
    """Inverse of `encode`: (n, values)."""
    numbers = np.zeros((len(vectors), len(values)))
    for row, vector in enumerate(vectors):
        for column, value in enumerate(values):
            if value.width:
                raw = (vector >> value.low) & ((1 << value.width) - 1)
                raw -= (1 << value.width) if value.signed and raw >> (value.width - 1) else 0
                numbers[row, column] = raw * 2.0**-value.fraction_bits
    return numbers


def wires(source: Value, bus: str, base: int, target: Value) -> str:
    """Verilog of the bits of `target`, read from `source`, whose row begins at bit `base` of `bus`: wires alone, zeros
    below, copies of the sign above.
    """
    if not source.width:
        return f"{target.width}'d0"
    below = target.fraction_bits - source.fraction_bits  # bits that the source lacks at the low end
    first, last = max(-below, 0), min(target.width - 1 - below, source.width - 1)
    zeros, above = min(max(below, 0), target.width), max(target.width - below - source.width, 0)
    start = base + source.low
    parts = []
    if above:
        fill = f"{bus}[{start + source.width - 1}]" if source.signed else "1'b0"
        parts.append(f"{{{min(above, target.width)}{{{fill}}}}}")
    if last >= first:
        parts.append(f"{bus}[{start + last}:{start + first}]")
    if zeros:
        parts.append(f"{zeros}'d0")
    return ", ".join(parts)


def joined(pieces: Sequence[str]) -> str:
    """A concatenation of what lies from the lowest bit up."""
    return "{" + ",\n        ".join(reversed(pieces)) + "}"


def values_of(entries: Sequence[Sequence[Any]]) -> tuple[Value, ...]:
    """Values as a project's JSON has them: port, index in it, lowest bit, signed, integer and fraction bits."""
    return tuple(
        Value(port, tuple(index), low, bool(signed), integer, fraction)
        for port, index, low, signed, integer, fraction in entries
    )
