"""Keras layers that hold no quantised arithmetic: what the float vocabulary is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import keras
import numpy as np
from keras import ops

from qformers.nn.given import refuse_empty, refuse_unusable
from qformers.nn.memory import Memory
from qformers.nn.positions import Positions, waves

Tensor = Any  # a Keras tensor, symbolic or not
Thing = TypeVar("Thing", bound=Any)
_TAKEN: dict[str, tuple[str, str]] = {}  # names of what is registered: their modules and qualified names


def serialisable(thing: Thing) -> Thing:
    """Register a layer or a function of this package with Keras, so that files which use it can be read back.

    Raises:
        ValueError: the name is taken. Of two things of one name Keras keeps the later, and reads files of both as it.
    """
    place = (thing.__module__, thing.__qualname__)
    if _TAKEN.setdefault(thing.__name__, place) != place:  # Keras itself is not asked: it would import every layer
        module = _TAKEN[thing.__name__][0]
        raise ValueError(f"{thing.__module__}.{thing.__name__}: {module} has one of that name; choose another")
    return cast(Thing, keras.saving.register_keras_serializable(package="qformers")(thing))


Shape = tuple[int | None, ...]


@serialisable
class SteadyBias(keras.layers.EinsumDense):  # type: ignore[misc]
    """EinsumDense whose bias is added along its own axis; see `keras_misplaces_bias`."""

    def call(self, inputs: Tensor) -> Tensor:
        """As EinsumDense without its quantised forms."""
        x = ops.einsum(self.equation, inputs, self.kernel)
        x = x if self.bias is None else ops.subtract(x, -self.bias)  # ops.add is what misplaces it
        return x if self.activation is None else self.activation(x)


def keras_misplaces_bias(axes: str, shape: Shape, bias_axes: str | None) -> bool:
    """Whether Keras' EinsumDense adds a bias along the wrong axis, or may do so.

    `keras.ops.add` of the TensorFlow backend (3.15, ``backend/tensorflow/numpy.py``) takes a second summand with one
    axis longer than 1 for a vector along the last axis of the first one if the sizes agree, or else along the axis
    behind the batch: a bias of shape (M, 1) on values (B, M, M) is added to columns instead of rows.

    Args:
        axes: letters of the output, without the batch.
        shape: sizes of the output, without the batch; None where unknown.
        bias_axes: letters that carry the bias.
    """
    wide = [i for i, letter in enumerate(axes) if letter in (bias_axes or "") and shape[i] != 1]
    if len(wide) != 1:
        return False
    size = shape[wide[0]]
    taken = next((i for i in (len(axes) - 1, 0) if shape[i] in (size, None)), wide[0])
    return taken != wide[0]


@serialisable
class Einsum(keras.layers.Layer):  # type: ignore[misc]
    """Einsum of two tensors as a layer, so that it has a name."""

    def __init__(self, equation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.equation = equation

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.einsum(self.equation, *inputs)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "equation": self.equation}


@serialisable
class Wires(keras.layers.Layer):  # type: ignore[misc]
    """Einsum with a constant kernel, and a constant that is added; both are part of the configuration."""

    def __init__(self, equation: str, kernel: Any, bias: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.equation = equation
        self.kernel = np.asarray(kernel)  # Keras would keep track of every list in a list
        self.bias = None if bias is None else np.asarray(bias)

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        wired = ops.einsum(self.equation, inputs, ops.cast(self.kernel, self.compute_dtype))
        return wired if self.bias is None else wired + ops.cast(self.bias, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        bias = None if self.bias is None else self.bias.tolist()
        return {**super().get_config(), "equation": self.equation, "kernel": self.kernel.tolist(), "bias": bias}


@serialisable
class Gelu(keras.layers.Layer):  # type: ignore[misc]
    """GELU with the error function, as PyTorch's default; not the tanh approximation."""

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return 0.5 * inputs * (1.0 + ops.erf(inputs / math.sqrt(2.0)))  # tf.nn.gelu takes the root through float32


@serialisable
class GeluTanh(keras.layers.Layer):  # type: ignore[misc]
    """The approximation of GELU by tanh (arXiv:1606.08415), flax's default."""

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return inputs * gelu_gate(inputs)


def gelu_gate(x: Tensor) -> Tensor:
    """What `GeluTanh` multiplies x by."""
    return 0.5 * (1.0 + ops.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


class _OfSquares(keras.layers.Layer):  # type: ignore[misc]
    """What is divided by a root of squares; epsilon: what is under the root is at least so much."""

    def __init__(self, epsilon: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "epsilon": self.epsilon}


@serialisable
class Unit(_OfSquares):
    """x over the root of the mean square of its last axis."""

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return inputs / ops.sqrt(ops.maximum(ops.mean(inputs * inputs, axis=-1, keepdims=True), self.epsilon))


@serialisable
class Cosine(_OfSquares):
    """sum_e a_e b_e / (|a| |b|): (B, ..., E) twice -> (B, ...)."""

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        a, b = inputs
        lengths = [ops.sqrt(ops.maximum(ops.sum(x * x, axis=-1), self.epsilon)) for x in (a, b)]
        return ops.sum(a * b, axis=-1) / (lengths[0] * lengths[1])

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """Shape of the output, batch first."""
        return input_shape[0][:-1]


@serialisable
class TokenTable(keras.layers.Layer):  # type: ignore[misc]
    """Learned vectors of whole numbers, and of places: (B, N) -> (B, N, D). Numbers beyond the table get its last row.

    It is the dense step `equation` of the one-hot form of the numbers, as which fixed point has it: `_kernel` (V, D) is
    its kernel and `bias` (N, D) the vectors of the places.

    Args:
        entries: V.
        width: D.
        positions: vectors of places: learned, fixed (sines and cosines, arXiv:1706.03762, section 3.5), or none.
    """

    equation = "bnv,vd->bnd"

    def __init__(self, entries: int, width: int, positions: Positions, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.entries, self.width, self.positions = entries, width, positions
        self.bias: Any = None

    def build(self, input_shape: Shape) -> None:
        """Create the weights."""
        initial = keras.initializers.RandomNormal(0.0, 1.0 / math.sqrt(self.width))
        self._kernel = self.add_weight(name="kernel", shape=(self.entries, self.width), initializer=initial)
        if self.positions == "learned":
            shape = (input_shape[1], self.width)
            self.bias = self.add_weight(name="bias", shape=shape, initializer=initial)
        if self.positions == "fixed":
            self.bias = waves(input_shape[1] or 0, self.width)

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        vectors = ops.take(ops.convert_to_tensor(self._kernel), ops.minimum(inputs, self.entries - 1), axis=0)
        return vectors if self.bias is None else vectors + ops.cast(self.bias, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (*input_shape, self.width)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "entries": self.entries, "width": self.width, "positions": self.positions}


def hiding(dtype: str) -> float:
    """What is taken from the logit of a key that is not there: beyond all logits, and finite in `dtype`."""
    return 1e30 if dtype == "float64" else 1e9 if dtype == "float32" else 3e4


@serialisable
class MaskBias(keras.layers.Layer):  # type: ignore[misc]
    """0 for real particles and a large negative number for padded ones, to be added to attention scores.

    Input mask (B, N); output (B, 1, 1, N). The number is finite, so that a jet without particles gives no NaN.
    """

    def call(self, valid: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return ((valid - 1.0) * hiding(self.compute_dtype))[:, None, None, :]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0], 1, 1, input_shape[1])


@serialisable
class HiddenKeys(keras.layers.Layer):  # type: ignore[misc]
    """0 for valid keys and a large negative number for others, spread over further axes by an einsum with ones.

    Args:
        equation: of the keys, 1 or 0 each, and the ones.
        shape: of the ones.
    """

    def __init__(self, equation: str, shape: list[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.equation, self.ones = equation, tuple(shape)

    def call(self, valid: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        spread = ops.einsum(self.equation, valid, ops.ones(self.ones, self.compute_dtype))
        return (spread - 1.0) * hiding(self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "equation": self.equation, "shape": list(self.ones)}


@serialisable
class ClassMaskBias(keras.layers.Layer):  # type: ignore[misc]
    """`MaskBias` of particles behind a class token that is always valid: (B, N) -> (B, 1, 1 + N)."""

    def call(self, valid: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        hidden = (valid - 1.0) * hiding(self.compute_dtype)
        return ops.concatenate([ops.zeros_like(hidden[:, :1]), hidden], axis=1)[:, None, :]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0], 1, None if input_shape[1] is None else input_shape[1] + 1)


@serialisable
class Scale(keras.layers.Layer):  # type: ignore[misc]
    """Multiplies the last axis by learned factors, each repeated for `repeat` neighbours; they start at one.

    With repeat = d on (B, N, D) this is weaver's c_attn (one factor per head), with repeat = 1 its w_resid.
    """

    def __init__(self, repeat: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repeat = repeat

    def build(self, input_shape: Shape) -> None:
        """Create the weights."""
        width = input_shape[-1]
        if width is None or width % self.repeat:
            raise ValueError(f"{self.name}: the last axis must be a multiple of {self.repeat}. Received: {input_shape}")
        self.factor = self.add_weight(name="factor", shape=(width // self.repeat,), initializer="ones")

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return inputs * ops.repeat(self.factor, self.repeat)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "repeat": self.repeat}


@serialisable
class BatchNorm(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch norm whose statistics count only some positions: inputs (B, ..., C), counted (B, ...) or None.

    Keras has this as its `mask`, which it would also attach to the output and carry on through the model.
    """

    def call(self, inputs: Tensor, counted: Tensor = None, training: bool | None = None) -> Tensor:
        """Apply it; shapes as in the class."""
        return super().call(inputs, training=training, mask=counted)


@serialisable
class Stack(keras.layers.Layer):  # type: ignore[misc]
    """k tensors (B, P) -> (B, P, k)."""

    def call(self, columns: list[Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.stack(columns, axis=-1)


@serialisable
class Factor(keras.layers.Layer):  # type: ignore[misc]
    """Multiplies by a fixed number."""

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return inputs * self.factor  # a Python number takes the type of the tensor; ops.cast would go through float32

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "factor": self.factor}


@serialisable
class MaskedMean(keras.layers.Layer):  # type: ignore[misc]
    """Mean over the real particles: [(B, N, D), (B, N)] -> (B, D); 0 for a jet without particles."""

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        tokens, mask = inputs
        return ops.einsum("bn,bnd->bd", mask, tokens) / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0][0], input_shape[0][-1])


@serialisable
class RememberingModel(keras.Model):  # type: ignore[misc]
    """A functional Keras model with a `memory` that is saved and loaded with it."""

    memory: Memory | None = None  # of a copy that Keras made of the layers alone

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The functional model's, of one event or more; inputs by name, or in their order.

        Raises:
            DataError: of none; layers that look for the largest value would say so in words of TensorFlow's own.
        """
        if args:
            named = self._by_name(args[0])
            refuse_empty({name: tuple(array.shape) for name, array in named.items()})
            if not isinstance(args[0], Mapping) and len(named) == len(self.inputs):
                args = (named, *args[1:])
        return super().__call__(*args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras's, of arrays that have an answer; data sets and generators are taken as they are.

        Raises:
            DataError: as `refuse_unusable`.
        """
        refuse_unusable(self._by_name(x))
        return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Keras's, of arrays that have an answer.

        Raises:
            DataError: as `refuse_unusable`.
        """
        refuse_unusable(self._by_name(x))
        return super().predict_on_batch(x)

    def _by_name(self, x: Any) -> dict[str, Any]:
        """The arrays among the inputs, by name; none of anything else, which Keras judges."""
        named = zip(self.inputs, x if isinstance(x, list | tuple) else [x], strict=False)
        given = x if isinstance(x, Mapping) else {tensor.name: array for tensor, array in named}
        return {name: array for name, array in given.items() if hasattr(array, "shape") and hasattr(array, "dtype")}

    def get_config(self) -> dict[str, Any]:
        """The functional model's, and the memory."""
        config: dict[str, Any] = super().get_config()
        return config if self.memory is None else {**config, "memory": self.memory.to_json()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> RememberingModel:
        """Inverse of `get_config`."""
        plain = {key: value for key, value in config.items() if key != "memory"}
        model: RememberingModel = super().from_config(plain, custom_objects)
        if "memory" in config:
            memory = Memory.from_json(config["memory"])
            memory.refuse_strangers({layer.name for layer in model.layers}, {tensor.name for tensor in model.inputs})
            model.memory = memory
        return model


def remembering(tensors: Mapping[str, Tensor], output: Tensor, cfg: Any, **known: Any) -> RememberingModel:
    """The finished model of an architecture.

    Args:
        tensors: inputs by name.
        output: of the model.
        cfg: the configuration, whose key ``architecture`` names the model; or a name alone.
        known: the other fields of its `Memory`.
    """
    named = isinstance(cfg, str)
    model = RememberingModel(dict(tensors), output, name=cfg if named else cfg.architecture)
    model.memory = Memory(config={} if named else cfg.model_dump(mode="json"), **known)
    return model
