"""Which weights are pruned, and how a kernel of any einsum reads as a matrix of inputs times outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import PruneConfig
from qformers.errors import ConfigError
from qformers.precision.rules import layer_types, like, meant

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kernel:
    """The kernel of a dense layer, and the share of its weights that is to be zero."""

    layer: Any
    sparsity: float

    @property
    def variable(self) -> Any:
        """The Keras variable."""
        return kernel_of(self.layer)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the variable."""
        return tuple(int(size) for size in self.variable.shape)

    @property
    def summed(self) -> tuple[int, ...]:
        """Axes that are summed over: the inputs of one output unit."""
        inputs, kernel, _ = letters(self.layer)
        return tuple(axis for axis, letter in enumerate(kernel) if letter in inputs)

    @property
    def inputs(self) -> int:
        """Weights of one output unit."""
        return math.prod(self.shape[axis] for axis in self.summed)

    def matrix(self, values: Array) -> Array:
        """An array of the kernel's shape as (inputs, outputs)."""
        ahead = np.moveaxis(values, self.summed, range(len(self.summed)))
        return ahead.reshape(self.inputs, -1)

    def tensor(self, matrix: Array) -> Array:
        """Inverse of `matrix`; a single row stands for all inputs."""
        rest = [size for axis, size in enumerate(self.shape) if axis not in self.summed]
        full = np.broadcast_to(matrix, (self.inputs, math.prod(rest)))
        ahead = full.reshape(*(self.shape[axis] for axis in self.summed), *rest)
        return np.moveaxis(ahead, range(len(self.summed)), self.summed)


def letters(layer: Any) -> tuple[str, str, str]:
    """Axes of input, kernel and output of a dense layer in its einsum equation; of a Dense as if it had one."""
    between = "xyzuvw"[: len(layer.input.shape) - 2]
    inputs, rest = getattr(layer, "equation", f"b{between}i,io->b{between}o").split(",")
    kernel, output = rest.split("->")
    return inputs, kernel, output


def kernel_of(layer: Any) -> Any:
    """The kernel variable of a dense layer; None for any other layer."""
    return getattr(layer, "_kernel", None)


def dense_layers(model: Any) -> list[Any]:
    """Trainable dense layers (Dense and EinsumDense), in order; constants (wires) are none."""
    trained = [layer for layer in model.layers if layer.trainable and kernel_of(layer) is not None]
    return [layer for layer in trained if hasattr(layer, "equation") or hasattr(layer, "units")]


def kernels(model: Any, config: PruneConfig) -> list[Kernel]:
    """What `config` prunes of a model, by layer.

    Raises:
        ConfigError: a name that matches no layer, or a kernel that does not divide into groups of N:M.
    """
    layers = dense_layers(model)
    shares = _shares(layers, config)
    chosen = []
    for layer in layers:
        kernel = Kernel(layer, shares[layer.name])
        if not kernel.sparsity or (config.granularity == "unit" and _is_output(model, layer)):
            continue
        _refuse_ragged(kernel, config)
        chosen.append(kernel)
    return chosen


def _is_output(model: Any, layer: Any) -> bool:
    """A unit of the last layer is a class; it is never taken away."""
    return any(tensor is layer.output for tensor in model.outputs)


def _shares(layers: list[Any], config: PruneConfig) -> dict[str, float]:
    """Sparsity by layer: an exact name counts before a pattern, a later pattern before an earlier one."""
    known = layer_types(layers)
    shares = dict.fromkeys(known, config.sparsity)
    for key, share in sorted(config.layers.items(), key=lambda entry: entry[0] in known):  # patterns, then names
        matching = meant("layers", key, known)
        if not matching:
            raise ConfigError(
                f"prune.layers: no layer with weights is called '{key}'{like('layers', key, known)}. "
                f"Received: prune.layers['{key}']={share:g}"
            )
        shares.update(dict.fromkeys(matching, share))
    return shares


def _refuse_ragged(kernel: Kernel, config: PruneConfig) -> None:
    group = config.group
    if group is not None and kernel.inputs % group[1]:
        name = kernel.layer.name
        raise ConfigError(
            f"prune.granularity '{config.granularity}': the inputs of layer '{name}' do not divide into groups of "
            f"{group[1]}; leave it out with prune.layers: {{{name}: 0}}. Received: {kernel.inputs} inputs"
        )
