"""HGQ2 layers that compute exactly, and what is known about every value on the way: its range and its grid.

Every layer gets an input format that holds all values that can come in, so that nothing is rounded but where a QKeras
quantiser rounds. Arrays of ranges have the shape of the tensor without the batch axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import keras
import numpy as np
from hgq.layers import QAdd, QEinsum, QEinsumDense
from hgq.quantizer import Quantizer
from numpy.typing import ArrayLike, NDArray

from qformers.errors import QkerasError
from qformers.nn.formats import exact_quantiser, fixed_quantiser
from qformers.nn.lookups import looked_up_by
from qformers.nn.table import Lookup, Quotients
from qformers.precision.fixed import Fixed, exact_format

Array = NDArray[np.float64]

FLOAT32_BITS = 24  # of the mantissa: a wider value may be rounded by QKeras itself, and by Keras
TABLE_BITS = 12  # a table of 4096 entries is the largest
SUM_BITS = 16  # of sums that are divided by a table


@dataclass(frozen=True)
class Wire:
    """A tensor of the new model.

    Attributes:
        tensor: symbolic Keras tensor.
        low, high: bounds of each element; None as long as nobody has said the format of a model input.
        fraction_bits: all values are multiples of 2^-fraction_bits.
    """

    tensor: Any
    low: Array | None
    high: Array | None
    fraction_bits: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the batch axis."""
        return tuple(self.tensor.shape[1:])


def letters(rank: int) -> str:
    """One letter for each axis behind the batch axis, which is 'b'."""
    return ascii_lowercase[2 : 2 + rank]


def holding(name: str, low: ArrayLike, high: ArrayLike, fraction_bits: int) -> Fixed:
    """The narrowest format without rounding for values of a grid between two bounds."""
    bottom, top = float(np.min(low)), float(np.max(high))
    reach = max(-bottom, top + 2.0**-fraction_bits, 2.0**-fraction_bits)
    integer = max(math.ceil(math.log2(reach)), 1 - fraction_bits)
    if integer + fraction_bits > 48:
        raise QkerasError(
            f"{name}: exact values need {integer + fraction_bits} bits; quantise by a QActivation in front"
        )
    return Fixed(bottom < 0, integer, fraction_bits, "RND", "SAT")


class Emitter:
    """Makes layers; `notes` collects what the user should know about exactness."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._constants: list[tuple[Any, Any, Array]] = []

    def format_of(self, wire: Wire, name: str) -> Fixed:
        """A format that holds every value of `wire`.

        Raises:
            QkerasError: a model input without a format.
        """
        if wire.low is None or wire.high is None:
            raise QkerasError(
                f"layer '{name}' takes a model input, and QKeras does not say in which format it arrives; give it by "
                "--input 'fixed<16,6>', or let the model begin with a QActivation('quantized_bits(...)')"
            )
        return holding(name, wire.low, wire.high, wire.fraction_bits)

    def round(self, x: Wire, form: Fixed, name: str) -> Wire:
        """Round and clip to `form`: a Quantizer."""
        shape = x.shape
        low = np.full(shape, form.low) if x.low is None else form.quantise(x.low)
        high = np.full(shape, form.high) if x.high is None else form.quantise(x.high)
        return Wire(Quantizer(fixed_quantiser(form), name=name)(x.tensor), low, high, form.fraction_bits)

    def linear(
        self,
        x: Wire,
        equation: str,
        kernel: ArrayLike,
        name: str,
        bias: ArrayLike | None = None,
        relu: bool = False,
        count: bool = True,
    ) -> Wire:
        """Einsum with a constant kernel, plus a bias on the last axis: a QEinsumDense.

        Args:
            x: values.
            equation: batch first, e.g. "bi,io->bo".
            kernel: exact in 24 fraction bits.
            name: of the layer.
            bias: (size of the last axis,) or None.
            relu: whether negative results become 0.
            count: whether its EBOPs count; wires do not.
        """
        weights = np.asarray(kernel, np.float64)
        offsets = None if bias is None or not np.any(bias) else np.asarray(bias, np.float64)
        source = self.format_of(x, name)
        inside = equation.replace("b", "", 1).replace(">b", ">")
        positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
        shift = 0.0 if offsets is None else offsets
        bottom, top = _known(x.low), _known(x.high)
        low = np.einsum(inside, bottom, positive) + np.einsum(inside, top, negative) + shift
        high = np.einsum(inside, top, positive) + np.einsum(inside, bottom, negative) + shift
        output = equation.partition("->")[2]
        layer = QEinsumDense(
            equation,
            tuple(low.shape),
            bias_axes=None if offsets is None else output[-1],
            activation="relu" if relu else None,
            iq_conf=fixed_quantiser(source),
            kq_conf=exact_quantiser(),
            bq_conf=None if offsets is None else exact_quantiser(),
            enable_ebops=count,
            name=name,
        )
        tensor = layer(x.tensor)
        fraction = x.fraction_bits + self._keep(layer._kernel, layer.kq, weights, name)
        if offsets is not None:
            fraction = max(fraction, self._keep(layer.bias, layer.bq, offsets, name))
        if not count:
            layer.trainable = False
        if relu:
            low, high = np.maximum(low, 0), np.maximum(high, 0)
        return self._noted(Wire(tensor, low, high, fraction), name)

    def scale(self, x: Wire, factor: ArrayLike, name: str, offset: ArrayLike | None = None) -> Wire:
        """factor * x + offset, numbers or one per channel."""
        axes, channels = letters(len(x.shape)), x.shape[-1]
        kernel = np.broadcast_to(np.asarray(factor, np.float64), (channels,))
        bias = None if offset is None else np.broadcast_to(np.asarray(offset, np.float64), (channels,))
        return self.linear(x, f"b{axes},{axes[-1]}->b{axes}", kernel, name, bias)

    def add(self, a: Wire, b: Wire, name: str) -> Wire:
        """a + b: a QAdd."""
        if a.shape != b.shape:
            raise QkerasError(f"layer '{name}' adds tensors of one shape only. Received: {a.shape} and {b.shape}")
        forms = [fixed_quantiser(self.format_of(wire, name)) for wire in (a, b)]
        tensor = QAdd(iq_confs=forms, name=name)([a.tensor, b.tensor])
        fraction = max(a.fraction_bits, b.fraction_bits)
        return self._noted(Wire(tensor, _known(a.low) + _known(b.low), _known(a.high) + _known(b.high), fraction), name)

    def multiply(self, a: Wire, b: Wire, name: str) -> Wire:
        """a * b, element by element: a QEinsum."""
        if a.shape != b.shape:
            raise QkerasError(f"layer '{name}' multiplies tensors of one shape only. Received: {a.shape} and {b.shape}")
        axes = letters(len(a.shape))
        forms = [fixed_quantiser(self.format_of(wire, name)) for wire in (a, b)]
        tensor = QEinsum(f"b{axes},b{axes}->b{axes}", iq_confs=forms, name=name)([a.tensor, b.tensor])
        ends = np.stack([_known(p) * _known(q) for p in (a.low, a.high) for q in (b.low, b.high)])
        return self._noted(Wire(tensor, ends.min(0), ends.max(0), a.fraction_bits + b.fraction_bits), name)

    def relu(self, x: Wire, name: str) -> Wire:
        """max(x, 0), nothing rounded: a Quantizer without sign."""
        self.format_of(x, name)
        return self.round(x, holding(name, 0.0, _known(x.high), x.fraction_bits), name)

    def maximum(self, a: Wire, b: Wire, name: str) -> Wire:
        """max(a, b) = a + max(b - a, 0)."""
        difference = self.add(self.scale(a, -1.0, f"{name}_minus"), b, f"{name}_difference")
        total = self.add(a, self.relu(difference, f"{name}_excess"), name)
        low, high = np.maximum(_known(a.low), _known(b.low)), np.maximum(_known(a.high), _known(b.high))
        return Wire(total.tensor, low, high, total.fraction_bits)

    def reshape(self, x: Wire, shape: tuple[int, ...], name: str) -> Wire:
        """The same values in another shape."""
        tensor = keras.layers.Reshape(shape, name=name)(x.tensor)
        low, high = (None if bound is None else bound.reshape(shape) for bound in (x.low, x.high))
        return Wire(tensor, low, high, x.fraction_bits)

    def table(self, x: Wire, function: Any, name: str) -> Wire:
        """A function of one variable, tabled for all values of the format of `x`.

        Args:
            x: values of at most `TABLE_BITS` bits.
            function: float64 (n,) -> float64 (n,).
            name: of the layer.
        """
        form = self.format_of(x, name)
        if form.width > TABLE_BITS:
            raise QkerasError(
                f"layer '{name}' needs a table, for which its input may have {TABLE_BITS} bits; it has {form.width}; "
                "put a QActivation('quantized_bits(...)') in front"
            )
        first, last = round(form.low * 2.0**form.fraction_bits), round(form.high * 2.0**form.fraction_bits)
        grid = np.arange(first, last + 1) * form.step
        values = np.asarray(function(grid), np.float64)
        _, _, fractions = _exact_format(values, name)
        result = holding(name, values.min(), values.max(), max(int(fractions.max()), 0))
        function = Lookup([float(value) for value in values], first, form.fraction_bits)
        layer = looked_up_by(function, form, result, name)
        inside = values[(grid >= np.min(_known(x.low))) & (grid <= np.max(_known(x.high)))]
        low, high = np.full(x.shape, inside.min()), np.full(x.shape, inside.max())
        return Wire(layer(x.tensor), low, high, result.fraction_bits)

    def quotient(self, x: Wire, count: int, name: str) -> Wire:
        """x / count as Keras has it, rounded to a float32: a table (`qformers.nn.table.Quotients`).

        Args:
            x: sums of at most `SUM_BITS` bits.
            count: of the summands.
            name: of the layer.
        """
        form = self.format_of(x, name)
        if form.width > SUM_BITS:
            raise QkerasError(
                f"layer '{name}': a mean over {count} values looks its sums up, which may have {SUM_BITS} bits; they "
                f"have {form.width}: round to fewer bits in front, or pool over a power of two"
            )
        first, last = round(form.low * 2.0**form.fraction_bits), round(form.high * 2.0**form.fraction_bits)
        function = Quotients(count, first, last, form.fraction_bits)
        tensor = looked_up_by(function, form, function.form, name)(x.tensor)
        self.notes.append(
            f"layer '{name}': a mean over {count} values has steps of 2^-{function.form.fraction_bits}, and small ones "
            "of QKeras more bits: where an output gives it unrounded, these differ beyond that"
        )
        low, high = (np.asarray(function.at(_known(end)), np.float64) for end in (x.low, x.high))
        return Wire(tensor, low, high, function.form.fraction_bits)

    def finish(self, model: keras.Model) -> None:
        """Write the constants, each with its exact format."""
        for variable, wrapper, values in self._constants:
            variable.assign(values.astype(np.float32).reshape(variable.shape))
            core = wrapper.quantizer
            for target, numbers in zip((core._k, core._i, core._f), exact_format(values), strict=True):
                target.assign(numbers.astype(target.dtype).reshape(target.shape))

    def _keep(self, variable: Any, wrapper: Any, values: Array, name: str) -> int:
        """Note a constant for `finish`; returns its fraction bits."""
        _, _, fraction = _exact_format(values, name)
        self._constants.append((variable, wrapper, values))
        return max(int(fraction.max()), 0)

    def _noted(self, wire: Wire, name: str) -> Wire:
        width = holding(name, _known(wire.low), _known(wire.high), wire.fraction_bits).width
        if width > FLOAT32_BITS:
            self.notes.append(
                f"layer '{name}': its exact values can need {width} bits; QKeras computes in float32, which has "
                f"{FLOAT32_BITS}, and may round there"
            )
        return wire


def _known(bound: Array | None) -> Array:
    """A bound that `format_of` has seen to be there."""
    return np.zeros(()) if bound is None else bound


def _exact_format(values: Array, name: str) -> tuple[Any, Any, Any]:
    try:
        return exact_format(values)
    except ValueError as error:
        raise QkerasError(f"layer '{name}': {error}; quantise it by quantized_bits") from error
