"""Makes the quantised layers of a converted model: formats as a build file has them, weights of the float layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import numpy as np
from hgq.layers import QConv1D, QConv2D, QConv3D, QEinsum, QEinsumDense
from hgq.quantizer import Quantizer
from numpy.typing import NDArray

from qformers.errors import ConfigError
from qformers.nn.formats import Formats
from qformers.nn.hgq import Hgq, roles_of
from qformers.nn.vocabulary import Table, Tensor

Array = NDArray[np.float64]
CONVOLUTIONS = {1: QConv1D, 2: QConv2D, 3: QConv3D}
STEPS = (  # of norms and activations, whose names the vocabulary makes from that of the layer
    "mean", "centred", "shifted", "squares", "root0", "root1", "root2", "root3", "root_sum1", "root_sum2", "root",
    "normed", "row", "flat", "table", "rectified",
)  # fmt: skip
LETTERS = [letter for letter in ascii_lowercase if letter not in "byz"]


@dataclass(frozen=True)
class Scaled:
    """A value with a factor and an offset per channel (last axis) behind it, which a dense step can take in.

    Attributes:
        value: before these.
        scale, shift: (C,).
        of: the float layer whose values these are.
    """

    value: Tensor
    scale: Array
    shift: Array
    of: str

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of the value."""
        return tuple(self.value.shape)


Wire = Tensor | Scaled


class Maker:
    """Quantised layers, each with the name of the float layer whose values it gives, or with one made from it.

    Args:
        nn: the vocabulary in whose formats they are; it makes tables, norms and the softmax.
        names: of the layers of the float model.
    """

    def __init__(self, nn: Hgq, names: Iterable[str]) -> None:
        self.nn = nn
        self._taken = set(names)
        self._made: dict[str, Tensor] = {}  # float layer -> what it gives, where a layer of its own computes that

    @property
    def formats(self) -> Formats:
        """The formats of the build."""
        return self.nn.formats

    def name(self, wanted: str) -> str:
        """A name that no layer has."""
        free = next(name for name in (wanted, *(f"{wanted}_{n}" for n in range(2, 10**6))) if name not in self._taken)
        self._taken.add(free)
        return free

    def prefix(self, wanted: str) -> str:
        """A name with whose steps (`STEPS`) no layer collides: the wanted one, or one like it."""
        names = (wanted, *(f"{wanted}_{n}" for n in range(2, 10**6)))
        return next(name for name in names if not any(f"{name}_{step}" in self._taken for step in STEPS))

    def plain(self, x: Wire) -> Tensor:
        """A value with what stands behind it in a layer of its own, made once."""
        if not isinstance(x, Scaled):
            return x
        if x.of not in self._made:
            axes = letters(len(x.shape) - 1)
            self._made[x.of] = self.linear(
                x.value, f"b{axes},{axes[-1]}->b{axes}", x.scale, x.of, x.shift, axes[-1]
            )  # fmt: skip
        return self._made[x.of]

    def linear(
        self,
        x: Tensor,
        equation: str,
        kernel: Array,
        name: str,
        bias: Array | None = None,
        bias_axes: str | None = None,
        relu: bool = False,
        constant: bool = False,
    ) -> Tensor:
        """QEinsumDense.

        Args:
            x: what it reads.
            equation: batch first, e.g. "bnd,de->bne".
            kernel: float, (d, e).
            name: of the layer.
            bias, bias_axes: float, and its letters of the output.
            relu: whether negative results become 0.
            constant: whether training leaves the kernel alone.
        """
        inputs, rest = equation.split(",")
        axes, output = rest.split("->")
        sizes = {**dict(zip(inputs, x.shape, strict=True)), **dict(zip(axes, kernel.shape, strict=True))}
        layer = QEinsumDense(
            equation,
            tuple(sizes[letter] for letter in output[1:]),
            bias_axes=None if bias is None else bias_axes,
            activation="relu" if relu else None,
            iq_conf=self.formats.value(name, roles_of(x)),
            kq_conf=self.formats.weight(name),
            bq_conf=None if bias is None else self.formats.bias(name),
            name=name,
            **self.formats.result(name, "QEinsumDense"),
        )
        y = layer(x)
        _fill(layer, kernel, bias)
        if constant:
            layer.trainable = False
        return y

    def convolution(
        self, x: Tensor, kernel: Array, name: str, bias: Array | None, relu: bool, **settings: Any
    ) -> Tensor:
        """QConv1D, QConv2D, QConv3D.

        Args:
            x: (B, positions..., channels).
            kernel: (taps..., channels of a group, filters).
            name: of the layer.
            bias: (filters,) or None.
            relu: whether negative results become 0.
            settings: strides, padding, dilation_rate, groups.
        """
        rank = kernel.ndim - 2
        kind = CONVOLUTIONS[rank].__name__
        layer = CONVOLUTIONS[rank](
            kernel.shape[-1],
            kernel.shape[:rank],
            activation="relu" if relu else None,
            use_bias=bias is not None,
            iq_conf=self.formats.value(name, roles_of(x), kind),
            kq_conf=self.formats.weight(name, kind),
            bq_conf=None if bias is None else self.formats.bias(name, kind),
            name=name,
            **settings,
            **self.formats.result(name, kind),
        )
        y = layer(x)
        _fill(layer, kernel, bias)
        return y

    def einsum(self, equation: str, a: Tensor, b: Tensor, name: str) -> Tensor:
        """QEinsum of two values."""
        return QEinsum(equation, iq_confs=self.sides((a, b), name, "QEinsum"), name=name)([a, b])

    def sides(self, tensors: Iterable[Tensor], name: str, kind: str) -> list[Any]:
        """The formats of the inputs of a layer that takes several."""
        return [self.formats.value(name, roles_of(x), kind, f"input{min(place, 1)}") for place, x in enumerate(tensors)]

    def round(self, x: Tensor, name: str) -> Tensor:
        """A quantiser as a layer of its own."""
        form = self.formats.own(name, "Quantizer", "result", self.formats.quant.activation)
        return Quantizer(self.formats.fixed(str(form)), name=name)(x)

    def rectified(self, x: Tensor, name: str) -> Tensor:
        """max(x, 0) as a layer of its own: wires behind which what is negative is cut."""
        axes = letters(len(x.shape) - 1)
        return self.linear(
            x, f"b{axes},{axes[-1]}->b{axes}", np.ones(int(x.shape[-1])), name, relu=True, constant=True
        )  # fmt: skip

    def table(self, x: Tensor, function: Callable[[Tensor], Tensor], name: str) -> Tensor:
        """QUnaryFunctionLUT of any function of one number; argument and value have formats of the data."""
        return self.nn.table(x, Table(function, _as_values, _as_values), name)

    def softmax(self, x: Tensor, name: str) -> Tensor:
        """Over the last axis, of scores that are rounded first."""
        return self.nn.softmax(self.round(x, self.name(f"{name}_scores")), name)


def channels_of(x: Wire) -> int:
    """Size of the last axis."""
    return int(x.shape[-1] or 0)


def letters(count: int) -> str:
    """So many letters for the axes behind the batch."""
    if count > len(LETTERS):
        raise ConfigError(f"tensors have at most {len(LETTERS)} axes. Received: {count}")
    return "".join(LETTERS[:count])


def _as_values(formats: Formats) -> str:
    return formats.quant.activation


def _fill(layer: Any, kernel: Array, bias: Array | None) -> None:
    layer._kernel.assign(np.asarray(kernel, np.float32).reshape(layer._kernel.shape))
    if bias is not None:
        given = np.asarray(bias, np.float32)
        size = math.prod(layer.bias.shape)
        layer.bias.assign(
            (given if given.size == size else np.broadcast_to(given, layer.bias.shape)).reshape(layer.bias.shape)
        )
