"""A model that somebody else built, as one that every command here takes: functional, flat, with names that C++ and
Verilog can have.

Layers are the same, with the same weights and formats, so that the model computes the same, bit for bit, which is
tried on events. What changes is around them: a Sequential model and models within a model become one graph of layers, a
layer that is called several times becomes one layer for each, operations on tensors become layers, and what does
nothing in inference goes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from hgq import layers as q
from hgq.layers import QAdd, QEinsum, QMaximum, QMinimum, QMultiply, QSubtract
from keras import layers, ops

from qformers.config.names import legal
from qformers.errors import ConfigError, shown
from qformers.interop import means
from qformers.nn.layers import Einsum, Factor
from qformers.nn.moves import Part
from qformers.quant.kinds.moves import plain_relu

EVENTS = 64  # on which the two models are compared
SEED = 1
IDLE = (
    keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D,
    keras.layers.GaussianDropout, keras.layers.GaussianNoise, keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization, keras.layers.Identity,
)  # fmt: skip
QUANTISED = {"Add": QAdd, "Subtract": QSubtract, "Multiply": QMultiply, "Maximum": QMaximum, "Minimum": QMinimum}
FLOAT = {
    "Add": keras.layers.Add, "Subtract": keras.layers.Subtract, "Multiply": keras.layers.Multiply,
    "Maximum": keras.layers.Maximum, "Minimum": keras.layers.Minimum,
}  # fmt: skip
IN_HGQ2 = {  # layers of Keras that compute without rounding -> the same with quantisers, which are left out
    **{FLOAT[kind]: QUANTISED[kind] for kind in FLOAT},
    layers.MaxPooling1D: q.QMaxPooling1D, layers.GlobalMaxPooling1D: q.QGlobalMaxPooling1D,
    layers.MaxPooling2D: q.QMaxPooling2D, layers.GlobalMaxPooling2D: q.QGlobalMaxPooling2D,
    layers.MaxPooling3D: q.QMaxPooling3D, layers.GlobalMaxPooling3D: q.QGlobalMaxPooling3D,
    layers.AveragePooling1D: q.QAveragePooling1D, layers.GlobalAveragePooling1D: q.QGlobalAveragePooling1D,
    layers.AveragePooling2D: q.QAveragePooling2D, layers.GlobalAveragePooling2D: q.QGlobalAveragePooling2D,
    layers.AveragePooling3D: q.QAveragePooling3D, layers.GlobalAveragePooling3D: q.QGlobalAveragePooling3D,
}  # fmt: skip
ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Silu": "silu", "Elu": "elu", "Selu": "selu",
               "Softplus": "softplus", "Softsign": "softsign", "Exp": "exponential"}  # fmt: skip


@dataclass(frozen=True)
class Adopted:
    """A model as it was taken over.

    Attributes:
        model: functional, of layers that are called once, with legal names.
        renamed: old name -> new name, of layers, inputs and outputs that have another one now.
        left_out: layers that do nothing in inference.
    """

    model: keras.Model
    renamed: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def adopt(model: Any, floats: bool = False) -> Adopted:
    """Take a Keras model over.

    Args:
        model: Functional or Sequential, built.
        floats: whether it is a float model, whose operations on tensors become layers of Keras instead of HGQ2's.

    Raises:
        ConfigError: a model of another kind, without a fixed shape, or with an operation that no layer here computes;
            or what comes out computes something else.
    """
    graph = _graph_of(model)
    walk = _Walk(floats, graph.outputs)
    inputs = [walk.input(tensor) for tensor in graph.inputs]
    outputs = walk.through(graph, inputs)
    ends = walk.ends(outputs, _names_of_outputs(model, graph))
    given = inputs if len(inputs) > 1 else inputs[0]
    made = keras.Model(given, ends, name=legal(model.name, "model", ()))
    _compared(graph, keras.Model(given, outputs))
    return Adopted(made, dict(walk.renamed), tuple(walk.left_out))


def _graph_of(model: Any) -> Any:
    """The functional model that a model is.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = model._functional
    if not isinstance(model, keras.Model) or not hasattr(model, "_run_through_graph"):
        raise ConfigError(
            f"a model is a built keras.Sequential or a functional keras.Model, whose layers can be seen one by one: "
            f"build it from keras.Input. Received: {type(model).__name__}"
        )
    for tensor in model.inputs:
        if any(size is None for size in tensor.shape[1:]):
            raise ConfigError(
                f"input '{tensor.name}': firmware needs a fixed shape: give keras.Input all sizes. "
                f"Received: {tuple(tensor.shape[1:])}"
            )
        if "float" not in str(tensor.dtype):
            raise ConfigError(
                f"input '{tensor.name}': numbers come in as floats and are rounded by the first quantiser: leave dtype "
                f"out. Received: {tensor.dtype}"
            )
    return model


def _names_of_outputs(model: Any, graph: Any) -> list[str]:
    named = getattr(model, "_outputs_struct", None)
    if not isinstance(named, dict):
        return [""] * len(graph.outputs)
    return list(keras.tree.flatten({name: name for name in named}))  # in the order of the outputs, which is its own


class _Walk:
    """The new graph as it grows."""

    def __init__(self, floats: bool, outputs: list[Any]) -> None:
        self.floats = floats
        self.outputs = {id(tensor) for tensor in outputs}
        self.taken: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.left_out: list[str] = []

    def name(self, old: str, what: str) -> str:
        """A free name, noted where it is another one."""
        new = legal(old, what, self.taken)
        self.taken.add(new)
        if new != old:
            self.renamed.setdefault(old, new)
        return new

    def input(self, tensor: Any) -> Any:
        """An input like another one."""
        return keras.Input(tuple(tensor.shape[1:]), dtype=tensor.dtype, name=self.name(tensor.name, "input"))

    def ends(self, outputs: Any, names: list[str]) -> Any:
        """The outputs as the new model has them: by name, where the old one named them."""
        if all(names):
            found: dict[str, str] = {}
            for name in names:
                found[name] = legal(name, "output", found.values())
            self.renamed |= {old: new for old, new in found.items() if old != new}
            return {found[name]: tensor for name, tensor in zip(names, outputs, strict=True)}
        return outputs if len(outputs) > 1 else outputs[0]

    def through(self, graph: Any, tensors: list[Any]) -> list[Any]:
        """The outputs of a graph for other inputs."""
        made = graph._run_through_graph(tensors, operation_fn=self.step)
        return list(keras.tree.flatten(made))

    def step(self, operation: Any) -> Callable[..., Any]:
        """What stands in the place of an operation."""
        if isinstance(operation, keras.Sequential | keras.Model):
            inner = _graph_of(operation)
            return lambda *args, **kwargs: _single(self.through(inner, keras.tree.flatten(args)))
        if isinstance(operation, IDLE) or _changes_nothing(operation):
            self.left_out.append(operation.name)
            return lambda tensor, **kwargs: tensor
        if isinstance(operation, keras.layers.Layer):
            return self.copied(operation)
        return self.lifted(operation)

    def copied(self, layer: Any) -> Callable[..., Any]:
        """The same layer under a name of its own, or the steps of a mean that no backend has."""
        if means.looked_up(layer) and not self._is_output(layer):
            return self.mean(layer)
        name = self.name(layer.name, "layer")
        if (computes := getattr(layer, "compute_dtype", "float32")) not in ("float32", None):
            raise ConfigError(
                f"layer '{layer.name}' ({type(layer).__name__}) computes in {computes}, and firmware is held against "
                "float32: build the model without mixed precision, and load its weights"
            )

        def call(*args: Any, **kwargs: Any) -> Any:
            twin = self.twin(layer, name, _sizes(layer, args[0]) if isinstance(layer, layers.EinsumDense) else {})
            if type(twin) is not type(layer) and kwargs.pop("mask", None) is not None:
                raise _masked(layer)
            args, kwargs = _in_order(layer, args, kwargs)
            result = twin(*args, **kwargs)
            twin.set_weights(layer.get_weights())
            return result

        return call

    def mean(self, layer: Any) -> Callable[..., Any]:
        """The steps of a mean over a number of values that is no power of two."""

        def call(tensor: Any, mask: Any = None) -> Any:
            if mask is not None:
                raise _masked(layer)
            return means.mean(layer, lambda name: self.name(name, "layer"), tensor)

        return call

    def _is_output(self, layer: Any) -> bool:
        """Whether a model gives out a mean that is not rounded, whose float32 bits are on no grid."""
        made = {id(tensor) for node in layer._inbound_nodes for tensor in node.output_tensors}
        return not layer.enable_oq and bool(made & self.outputs)

    def twin(self, layer: Any, name: str, settings: Mapping[str, Any]) -> Any:
        """A layer that computes the same, with other settings that say the same."""
        config = {**layer.get_config(), **settings, "name": name}
        if not self.floats and type(layer) in IN_HGQ2:
            return IN_HGQ2[type(layer)](**config, enable_iq=False, enable_oq=False)
        if not self.floats and type(layer) is layers.ReLU and plain_relu(layer):
            return layers.Activation("relu", name=name)
        return type(layer).from_config(config)

    def lifted(self, operation: Any) -> Callable[..., Any]:
        """A layer that computes what an operation on tensors does.

        Raises:
            ConfigError: there is none.
        """
        kind, name = type(operation).__name__, self.name(operation.name, "layer")

        def refuse(why: str) -> ConfigError:
            return ConfigError(
                f"operation '{operation.name}' ({kind}) has no layer here: {why}; write it as a layer of Keras or HGQ2"
            )

        def call(*args: Any, **kwargs: Any) -> Any:
            tensors = [one for one in keras.tree.flatten((args, kwargs)) if isinstance(one, keras.KerasTensor)]
            if kind == "GetItem":
                return Part(_keys(args[1] if len(args) > 1 else kwargs["key"], tensors[0], refuse), name=name)(
                    tensors[0]
                )
            if kind in FLOAT and len(tensors) == 2:
                if self.floats:
                    return FLOAT[kind](name=name)(tensors)
                return QUANTISED[kind](enable_iq=False, enable_oq=False, name=name)(tensors)
            if kind in (*FLOAT, "Divide", "TrueDivide", "Negative") and len(tensors) == 1:
                return self.with_number(kind, args, name, refuse)
            if kind == "Concatenate":
                return keras.layers.Concatenate(axis=operation.axis, name=name)(tensors)
            if kind == "Transpose":
                axes = [axis % len(tensors[0].shape) for axis in operation.axes or ()]
                if not axes or axes[0] != 0:
                    raise refuse(f"it moves the batch axis. Received: axes={operation.axes}")
                return keras.layers.Permute(axes[1:], name=name)(tensors[0])
            if kind in ("Reshape", "ExpandDims", "Squeeze"):
                return _reshaped(operation, tensors[0], name, refuse)
            if kind == "Repeat":
                return _repeated(operation, tensors[0], name, refuse)
            if kind in ACTIVATIONS and (self.floats or kind == "Relu"):
                return keras.layers.Activation(ACTIVATIONS[kind], name=name)(tensors[0])
            if kind == "Gelu" and self.floats and not operation.approximate:
                return keras.layers.Activation("gelu", name=name)(tensors[0])
            if kind == "Softmax" and self.floats:
                return keras.layers.Softmax(axis=operation.axis, name=name)(tensors[0])
            if kind in ("Einsum", "Matmul") and len(tensors) == 2:
                equation = operation.subscripts if kind == "Einsum" else _matmul(tensors, refuse)
                if self.floats:
                    return Einsum(equation, name=name)(tensors)
                return QEinsum(equation, enable_iq=False, enable_oq=False, name=name)(tensors)
            raise refuse("it is not known")

        return call

    def with_number(self, kind: str, args: tuple[Any, ...], name: str, refuse: Callable[[str], ConfigError]) -> Any:
        """An operation of a tensor and a number, for quantised models as a Rescaling: it rounds nothing."""
        numbers = [-1.0] if kind == "Negative" else [one for one in args if isinstance(one, int | float | np.number)]
        divided = kind.endswith("Divide") and isinstance(args[0], keras.KerasTensor) and numbers and numbers[0]
        if len(numbers) != 1 or not (divided or kind in ("Add", "Subtract", "Multiply", "Negative")):
            raise refuse(f"it takes two tensors. Received: one tensor and {shown(numbers[0] if numbers else args)}")
        number, tensor = float(numbers[0]), next(one for one in args if isinstance(one, keras.KerasTensor))
        if kind in ("Multiply", "Negative"):
            return self.times(number, name)(tensor)
        if divided:
            return self.times(1.0 / number, name)(tensor)
        first = kind == "Subtract" and isinstance(args[0], keras.KerasTensor)
        if kind == "Subtract" and not first:
            return keras.layers.Rescaling(-1.0, number, name=name)(tensor)
        return keras.layers.Rescaling(1.0, -number if first else number, name=name)(tensor)

    def times(self, factor: float, name: str) -> Any:
        """The layer of a factor."""
        return Factor(factor, name=name) if self.floats else keras.layers.Rescaling(factor, name=name)


def _in_order(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call with its tensors by position, where the arguments in front of them are given: backends read no others."""
    given, rest = list(args), dict(kwargs)
    for name in list(inspect.signature(type(layer).call).parameters)[1 + len(args) :]:
        if not isinstance(rest.get(name), keras.KerasTensor):
            break
        given.append(rest.pop(name))
    return tuple(given), rest


def _sizes(layer: Any, tensor: Any) -> dict[str, Any]:
    """The shape of the output of an EinsumDense where that leaves sizes to the input, as `output_shape=(None, 4)` does.

    Its axes are those of the input and of the kernel.
    """
    inputs, rest = layer.equation.split(",")
    axes, output = rest.split("->")
    if "..." in layer.equation or all(size is not None for size in layer.output.shape[1:]):
        return {}
    sizes = {**dict(zip(axes, layer.kernel.shape, strict=True)), **dict(zip(inputs, tensor.shape, strict=True))}
    return {"output_shape": tuple(sizes[letter] for letter in output[1:])}


def _masked(layer: Any) -> ConfigError:
    return ConfigError(
        f"layer '{layer.name}' ({type(layer).__name__}): firmware pools over all rows: multiply its input by the mask "
        "and leave the argument out. Received: mask"
    )


def _changes_nothing(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear


def _single(outputs: list[Any]) -> Any:
    return outputs[0] if len(outputs) == 1 else outputs


def _keys(key: Any, tensor: Any, refuse: Callable[[str], ConfigError]) -> list[Any]:
    """A subscript as `Part` has it: whole numbers and slices, the batch axis whole."""
    parts = list(key) if isinstance(key, tuple | list) else [key]
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [slice(None)] * (len(tensor.shape) - len(parts) + 1)
    first, *others = parts or [slice(None)]
    if first != slice(None):
        raise refuse(f"it takes a part of the batch axis. Received: {shown(first)}")
    keys: list[Any] = []
    for part in others:
        if isinstance(part, slice):
            keys.append([part.start, part.stop, part.step])
        elif isinstance(part, int | np.integer):
            keys.append(int(part))
        else:
            raise refuse(f"it takes whole numbers and slices. Received: {shown(part)}")
    return keys


def _reshaped(operation: Any, tensor: Any, name: str, refuse: Callable[[str], ConfigError]) -> Any:
    shape = tuple(operation.compute_output_spec(tensor).shape)
    if shape[0] is not None or any(size is None for size in shape[1:]):
        raise refuse(f"the batch axis must stay the first one. Received: {shape}")
    return keras.layers.Reshape(shape[1:], name=name)(tensor)


def _repeated(operation: Any, tensor: Any, name: str, refuse: Callable[[str], ConfigError]) -> Any:
    axis, times, rank = operation.axis, operation.repeats, len(tensor.shape)
    if not isinstance(times, int) or axis is None or (axis % rank, rank) not in ((1, 3), (1, 4), (2, 4)):
        raise refuse(
            "it repeats each row, (B, N, C), or each row or column, (B, H, W, C), a number of times. "
            f"Received: repeats={shown(times)}, axis={axis} of {tuple(tensor.shape)}"
        )
    if rank == 3:
        return layers.UpSampling1D(times, name=name)(tensor)
    return layers.UpSampling2D((times, 1) if axis % rank == 1 else (1, times), name=name)(tensor)


def _matmul(tensors: list[Any], refuse: Callable[[str], ConfigError]) -> str:
    first, second = (len(tensor.shape) for tensor in tensors)
    if first != second or first < 3:
        raise refuse(f"it multiplies events of equal rank. Received: {first} and {second} axes")
    outer = "abcdefgh"[: first - 2]
    return f"{outer}ij,{outer}jk->{outer}ik"


def _compared(old: Any, new: keras.Model) -> None:
    """Try both on events, which they must answer alike.

    Raises:
        ConfigError: they do not.
    """
    random = np.random.default_rng(SEED)
    events = [random.normal(0.0, 2.0, (EVENTS, *tensor.shape[1:])) for tensor in old.inputs]
    given = [ops.cast(array, tensor.dtype) for array, tensor in zip(events, old.inputs, strict=True)]
    answers = [
        keras.tree.flatten(model(keras.tree.pack_sequence_as(model._inputs_struct, given), training=False))
        for model in (old, new)
    ]
    for wanted, found, tensor in zip(*answers, old.outputs, strict=True):
        one, other = (np.asarray(ops.convert_to_numpy(part)) for part in (wanted, found))
        if one.shape != other.shape or not np.array_equal(one, other):
            raise ConfigError(
                f"the model could not be taken over as it is: output '{tensor.name}' is another one. Received: "
                f"{int((one != other).sum()) if one.shape == other.shape else one.size} of {one.size} values differ on "
                f"{EVENTS} events"
            )
