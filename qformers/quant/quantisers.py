"""All fixed-point formats of a model in one list: what calibration sets, the audit reads and the backends print."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

Array = NDArray[np.float64]
Place = Literal["input", "weight", "bias", "table", "result"]


@dataclass(frozen=True)
class Quantiser:
    """One HGQ2 quantiser and where it sits."""

    layer: Any
    name: str  # e.g. "b0_attn_q_iq", "b0_attn_scores_iq1", "b0_attn_weights_exp_iq"
    place: Place
    wrapper: Any  # hgq.quantizer.Quantizer
    tensor: Callable[[list[Any]], Any]  # from the layer's inputs to what this quantiser sees

    @property
    def core(self) -> Any:
        """The HGQ2 fixed-point quantiser with its k, i, f."""
        return self.wrapper.quantizer

    @property
    def learned(self) -> bool:
        """Whether its widths are trained; formats from the build file and constants are not."""
        return bool(self.layer.trainable and self.core.trainable)

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
        variable = self.layer._kernel if self.place == "weight" else self.layer.bias
        return np.asarray(ops.convert_to_numpy(variable), np.float64)

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


def quantisers(model: keras.Model) -> list[Quantiser]:
    """Every quantiser of a model of the vocabulary hgq, in the order of its layers."""
    return [quantiser for layer in model.layers for quantiser in _of_layer(layer)]


def _of_layer(layer: Any) -> Iterator[Quantiser]:
    name = layer.name
    if hasattr(layer, "exp_table"):  # QSoftmax
        yield from _of_softmax(layer)
        return
    if type(layer).__name__ == "Quantizer":  # a layer that only rounds
        yield Quantiser(layer, name, "input", layer, operator.itemgetter(0))
        return
    if getattr(layer, "_iq", None) is not None:
        many = layer._iq if hasattr(layer._iq, "__iter__") else None
        if many is None:
            yield Quantiser(layer, f"{name}_iq", "input", layer._iq, operator.itemgetter(0))
        else:
            for index, wrapper in enumerate(many):
                yield Quantiser(layer, f"{name}_iq{index}", "input", wrapper, operator.itemgetter(index))
    if getattr(layer, "_kq", None) is not None:
        yield Quantiser(layer, f"{name}_kq", "weight", layer._kq, lambda inputs: layer._kernel)
    if getattr(layer, "_bq", None) is not None:
        yield Quantiser(layer, f"{name}_bq", "bias", layer._bq, lambda inputs: layer.bias)
    if getattr(layer, "_oq", None) is not None:
        place: Place = "table" if type(layer).__name__ == "QUnaryFunctionLUT" else "result"
        yield Quantiser(layer, f"{name}_oq", place, layer._oq, lambda inputs: _before_rounding(layer, inputs))


def _before_rounding(layer: Any, inputs: list[Any]) -> Any:
    """What a layer computes, before its output quantiser."""
    return inspect.unwrap(type(layer).call)(layer, inputs if len(inputs) > 1 else inputs[0])


def _of_softmax(layer: Any) -> Iterator[Quantiser]:
    def distance(inputs: list[Any]) -> Any:
        return ops.max(inputs[0], axis=layer.axes, keepdims=True) - inputs[0]

    def exponential(inputs: list[Any]) -> Any:
        return layer.exp_table.activation(layer.exp_table.iq(distance(inputs)))

    def total(inputs: list[Any]) -> Any:
        return ops.sum(layer.exp_table(distance(inputs)), axis=layer.axes, keepdims=True)

    def inverse(inputs: list[Any]) -> Any:
        return layer.inv_table.activation(layer.inv_table.iq(total(inputs)))

    name = layer.name
    yield Quantiser(layer, f"{name}_exp_iq", "input", layer.exp_table.iq, distance)
    yield Quantiser(layer, f"{name}_exp_oq", "table", layer.exp_table.oq, exponential)
    yield Quantiser(layer, f"{name}_inv_iq", "input", layer.inv_table.iq, total)
    yield Quantiser(layer, f"{name}_inv_oq", "table", layer.inv_table.oq, inverse)


def walk(model: keras.Model, inputs: dict[str, NDArray[Any]]) -> Iterator[tuple[Any, list[Any]]]:
    """Run a functional model layer by layer: yields (layer, its input tensors), then computes the layer.

    What the caller changes in a layer while it holds the yield is in force when the layer is computed.
    """
    values: dict[int, Any] = {}
    for layer in model.layers:
        produced = layer.output
        if isinstance(layer, keras.layers.InputLayer):
            values[id(produced)] = ops.convert_to_tensor(inputs[layer.name], "float32")
            continue
        arguments = [values[id(t)] for t in (layer.input if isinstance(layer.input, list) else [layer.input])]
        yield layer, arguments
        values[id(produced)] = layer(arguments if isinstance(layer.input, list) else arguments[0], training=False)
