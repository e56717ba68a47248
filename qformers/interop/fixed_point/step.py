"""One layer of a float model on its way into fixed point, and what is multiplied into it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qformers.errors import ConfigError
from qformers.interop.fixed_point.maker import Array, Maker, Scaled, Wire
from qformers.nn.vocabulary import Tensor
from qformers.quant.fold import along


@dataclass(frozen=True)
class Step:
    """A float layer, and how it is called.

    Attributes:
        make: makes the quantised layers.
        layer: of Keras, with its weights.
        inputs: in the order of its call.
        name: of the quantised layer that gives its values.
        after: (factor, offset) per channel of the batch norms behind it, which it takes in.
        relu: whether a ReLU behind it is part of it.
        options: arguments of its call that are no tensors.
    """

    make: Maker
    layer: Any
    inputs: tuple[Wire, ...]
    name: str
    after: tuple[Array, Array] | None = None
    relu: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> Wire:
        """Its first input, with what it may take in."""
        return self.inputs[0]

    @property
    def x(self) -> Tensor:
        """Its first input."""
        return self.make.plain(self.inputs[0])

    @property
    def tensors(self) -> list[Tensor]:
        """All inputs."""
        return [self.make.plain(wire) for wire in self.inputs]

    def refuse(self, why: str, received: Any) -> ConfigError:
        """The error of a layer without an exact form."""
        return ConfigError(f"layer '{self.name}' ({type(self.layer).__name__}): {why}. Received: {received}")

    def named(self, name: str) -> Step:
        """The same, for a layer of another name."""
        return replace(self, name=name)

    def linear(self, x: Wire, equation: str, kernel: Array, bias: Array | None) -> Tensor:
        """An einsum with a kernel, what stands in front of it and behind it multiplied in.

        y = after(W before(x) + b) and the folded W' x + b' are the same function.

        Args:
            x: what it reads.
            equation: batch first, a letter for each axis.
            kernel: float64.
            bias: of the rank of the output without its batch axis, 1 along axes that share it; None without one.
        """
        inputs, rest = equation.split(",")
        axes, output = rest.split("->")
        rank = len(output) - 1
        if isinstance(x, Scaled):
            if inputs[-1] not in axes:
                x = self.make.plain(x)
            else:
                kernel, moved = _taken_in(x, inputs, axes, output, kernel)
                bias = moved if bias is None else bias + moved
                x = x.value
        if self.after is not None:
            scale, shift = self.after
            kernel = kernel * along(scale, kernel.ndim, axes.index(output[-1]))
            bias = along(shift, rank, -1) + (0.0 if bias is None else bias * along(scale, rank, -1))
        wide = None if bias is None else "".join(
            letter for letter, size in zip(output[1:], bias.shape, strict=True) if size != 1
        )  # fmt: skip
        return self.make.linear(x, equation, kernel, self.name, bias, wide or output[-1], self.relu)


def _taken_in(x: Scaled, inputs: str, axes: str, output: str, kernel: Array) -> tuple[Array, Array]:
    """The kernel with the factors of its input in it, and what their offsets add to the result."""
    channel = axes.index(inputs[-1])
    shifted = kernel * along(x.shift, kernel.ndim, channel)
    kept = "".join(letter for letter in output if letter in axes)
    summed = [
        int(size or 1)
        for letter, size in zip(inputs, x.shape, strict=True)
        if letter not in axes and letter not in output
    ]  # fmt: skip
    moved = np.einsum(f"{axes}->{kept}", shifted) * math.prod(summed)
    sizes = dict(zip(kept, moved.shape, strict=True))
    return kernel * along(x.scale, kernel.ndim, channel), moved.reshape([sizes.get(letter, 1) for letter in output[1:]])
