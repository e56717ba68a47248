"""From a float model to its quantised form: norms folded exactly, then ranges set from data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from hgq.utils.minmax_trace import TrainingFlagWrapper
from numpy.typing import NDArray
from pydantic import ValidationError

from qformers.config.section import Section
from qformers.errors import ConfigError, nearest, shown
from qformers.models import MODELS
from qformers.models.arch import Arch
from qformers.nn import VOCABULARIES
from qformers.nn.formats import write_constant
from qformers.nn.memory import Fold, Memory, memory_of
from qformers.nn.norms import shift_for
from qformers.quant.quantisers import Quantiser, quantisers, walk

Array = NDArray[np.float64]


def float_to_quantised(float_model: keras.Model, model: keras.Model, calibration: dict[str, NDArray[Any]]) -> None:
    """Fill `model` (vocabulary hgq) from the float model of the same build and calibrate it.

    Args:
        float_model: trained, vocabulary float32.
        model: from `build_model(..., "hgq")`.
        calibration: inputs of `model` by name, some thousand jets.

    Raises:
        ConfigError: the models do not belong together, or `model` does not know what has to be folded where.
    """
    transfer(float_model, model)
    calibrate(model, calibration, start=True)


def transfer(source: keras.Model, target: keras.Model) -> None:
    """Fill `target` with what a float model of the same architecture has learned, whatever form either has.

    Norms that the target does not have are folded in float64, which is exact: y = W norm(x) + b and the folded
    W' x + b' are the same function.

    Args:
        source: vocabulary float32.
        target: vocabulary hgq or float32.

    Raises:
        ConfigError: the models do not belong together, or `target` was saved without a memory.
    """
    memory, known = memory_of(target), memory_of(source)
    if memory is None:
        raise ConfigError(
            f"model '{target.name}' does not know what has to be folded where: it was saved before models kept that; "
            "make it anew with build_model(..., 'hgq')"
        )
    alike = set(known.derived) if known is not None else set()
    derived = {name: rule for name, rule in memory.derived.items() if name not in alike}
    if memory.vocabulary not in VOCABULARIES:
        raise ConfigError(
            f"model '{target.name}' is of a vocabulary that does not exist{nearest(memory.vocabulary, VOCABULARIES)}. "
            f"Received: '{memory.vocabulary}'"
        )
    if memory.vocabulary == "hgq":
        _fill_folded(source, target, {name: fold for name, fold in memory.folds.items() if name not in derived})
        _fill_affine(source, target, memory.affine)
    else:
        _fill_alike(source, target, set(derived))
    if not derived:
        return
    arch, cfg = _architecture(target, memory)
    for name, (rule, of) in derived.items():
        if rule not in arch.derivations:
            raise ConfigError(
                f"layer '{name}' is derived by a rule that does not exist{nearest(rule, arch.derivations)}. "
                f"Received: '{rule}'"
            )
        kernel, bias = arch.derivations[rule](cfg, FloatSource(source, target), of)
        factor = memory.folds[name].factor if name in memory.folds else 1.0  # a layer of its own in float
        _assign(target.get_layer(name), kernel * factor, None if bias is None else bias * factor)


def _architecture(model: keras.Model, memory: Memory) -> tuple[Arch, Section]:
    """The architecture and configuration that a model remembers.

    Raises:
        ConfigError: they are none.
    """
    name = str(memory.config.get("architecture"))
    if name not in MODELS:
        raise ConfigError(f"model '{model.name}' is of an unknown architecture '{name}'{nearest(name, MODELS)}")
    try:
        return MODELS[name], MODELS[name].config.model_validate(memory.config)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(
            f"model '{model.name}' remembers a configuration that is none of {name}: '{key}': {fault['msg']}. "
            f"Received: {shown(fault['input'])}"
        ) from error


def _fill_folded(source: keras.Model, target: keras.Model, folds: Mapping[str, Fold]) -> None:
    names = {layer.name for layer in source.layers}
    for name, fold in folds.items():
        missing = {name, *fold.before, *fold.after} - names
        if missing:
            raise ConfigError(
                f"layer '{name}' of the quantised model needs {', '.join(sorted(missing))} of the float model, which "
                "has no such layer; train both phases from one build file"
            )
        _assign(target.get_layer(name), *folded_dense(source, name, fold))


def _fill_affine(source: keras.Model, target: keras.Model, affines: Mapping[str, tuple[str, ...]]) -> None:
    names = {layer.name for layer in source.layers}
    for name, of in affines.items():
        if missing := set(of) - names:
            raise ConfigError(
                f"layer '{name}' of the quantised model needs {', '.join(sorted(missing))} of the float model, which "
                "has no such layer; train both phases from one build file"
            )
        scale, shift = affine(source, of)
        _assign(target.get_layer(name), scale, np.broadcast_to(shift, scale.shape))


def _fill_alike(source: keras.Model, target: keras.Model, left_out: set[str]) -> None:
    """Every layer with weights from that of the same name; numbers that are only drawn, both have from one seed."""
    layers = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        only_drawn = not layer.trainable_weights and layer.name not in layers
        if not layer.weights or only_drawn or layer.name in left_out:
            continue
        if layer.name not in layers or len(layers[layer.name].weights) != len(layer.weights):
            raise ConfigError(f"layer '{layer.name}' has no counterpart in the source; is it of another build?")
        layer.set_weights(layers[layer.name].get_weights())


class FloatSource:
    """A trained float model as derivations of weights read it (`qformers.models.arch.Source`).

    Args:
        model: vocabulary float32.
        target: the model whose weights are derived; norms that it has as layers are not multiplied in.
    """

    def __init__(self, model: keras.Model, target: keras.Model) -> None:
        self._layers = {layer.name: layer for layer in model.layers}
        self._model = model
        self._kept = {layer.name for layer in target.layers}

    def layer(self, name: str) -> Any:
        """See `Source.layer`."""
        if name not in self._layers:
            raise ConfigError(f"the float model has no layer '{name}', from which weights are derived")
        return self._layers[name]

    def weight(self, layer: str, name: str) -> Array:
        """See `Source.weight`."""
        return to_numpy(getattr(self.layer(layer), name))

    def dense(self, name: str, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> tuple[Array, Array | None]:
        """See `Source.dense`."""
        self.layer(name)
        folded = tuple(norm for norm in before if norm not in self._kept)
        return folded_dense(self._model, name, Fold(folded, after, bias=True))

    def normed(self, values: Array, norms: tuple[str, ...]) -> Array:
        """See `Source.normed`."""
        for norm in norms:
            values = normalised(self._model, norm, values)
            if norm in self._kept:
                scale, shift = affine(self._model, (norm,))
                values = values * scale + shift
        return values

    def affine(self, norms: tuple[str, ...]) -> tuple[Array, Array]:
        """See `Source.affine`."""
        return affine(self._model, tuple(norm for norm in norms if norm not in self._kept))


def folded_dense(float_model: keras.Model, name: str, fold: Fold) -> tuple[Array, Array | None]:
    """Kernel and bias (float64, None without one) of dense layer `name`, the norms and factors around it multiplied in.

    Raises:
        ConfigError: a norm that the layer cannot take in: there is no bias, or the kernel lacks the axis of the norm.
    """
    layer = float_model.get_layer(name)
    inputs, rest = layer.equation.split(",")
    kernel_axes, output = rest.split("->")
    kernel = to_numpy(layer._kernel)
    if layer.bias is None and not (fold.before or fold.after):
        return kernel * fold.factor, None
    if layer.bias is None and not fold.bias:
        raise ConfigError(f"{name}: a norm beside a dense layer without bias cannot be folded; give it bias_axes")
    sizes = dict(zip(kernel_axes, kernel.shape, strict=True))
    added = "".join(letter for letter in output if letter in kernel_axes)
    shape = tuple(sizes[letter] for letter in added) if layer.bias is None else layer.bias.shape
    bias = _spread(np.zeros(shape), added, output) if layer.bias is None else to_numpy(layer.bias)

    if fold.before:
        scale, shift = affine(float_model, fold.before)
        channel = _axis(inputs[-1], kernel_axes, f"{name}: a norm in front of '{layer.equation}'")
        moved = np.einsum(f"{kernel_axes}->{added}", kernel * along(shift, kernel.ndim, channel))
        bias = bias + _spread(moved, added, output)
        kernel = kernel * along(scale, kernel.ndim, channel)
    kernel, bias = kernel * fold.factor, bias * fold.factor

    if fold.after:
        scale, shift = affine(float_model, fold.after)
        channel = _axis(output[fold.axis], kernel_axes, f"{name}: a norm behind '{layer.equation}'")
        kernel = kernel * along(scale, kernel.ndim, channel)
        rank = len(output) - 1
        bias = bias * along(scale, rank, fold.axis) + along(shift, rank, fold.axis)
    if bias.size != np.prod(shape):
        raise ConfigError(
            f"{name}: a norm beside '{layer.equation}' gives a bias of shape {bias.shape}, and the layer has one of "
            f"{tuple(shape)}; give it the bias_axes of that"
        )
    return kernel, bias.reshape(shape)


def _axis(letter: str, kernel_axes: str, what: str) -> int:
    if letter not in kernel_axes:
        raise ConfigError(f"{what} cannot be folded: its axis '{letter}' is not the kernel's")
    return kernel_axes.index(letter)


def _spread(values: Array, axes: str, output: str) -> Array:
    """`values` with an axis of 1 for every letter of `output` (batch first) that is not theirs."""
    sizes = dict(zip(axes, values.shape, strict=True))
    return values.reshape([sizes.get(letter, 1) for letter in output[1:]])


def affine(float_model: keras.Model, names: tuple[str, ...]) -> tuple[Array, Array]:
    """The chain of norms and factors `names`, as they act in inference: y = scale * x + shift on the last axis.

    Of a layer or RMS norm it is what comes behind `normalised`: the learned factors and shifts.
    """
    return chained([float_model.get_layer(name) for name in names])


def chained(norms: Sequence[Any]) -> tuple[Array, Array]:
    """`affine` of the layers themselves, in their order."""
    scale, shift = np.ones(1), np.zeros(1)
    for layer in norms:
        if isinstance(layer, keras.layers.LayerNormalization):
            factor, offset = to_numpy(layer.gamma), to_numpy(layer.beta)
        elif isinstance(layer, keras.layers.RMSNormalization):
            factor, offset = to_numpy(layer.scale), np.zeros(1)
        elif isinstance(layer, keras.layers.BatchNormalization):
            factor, offset = batch_norm_numbers(layer)
        else:
            factor, offset = np.repeat(to_numpy(layer.factor), layer.repeat), np.zeros(1)
        scale, shift = scale * factor, shift * factor + offset
    return scale, shift


def batch_norm_numbers(layer: keras.layers.BatchNormalization) -> tuple[Array, Array]:
    """Factor and offset of a batch norm in inference, per channel."""
    one = np.ones(layer.moving_mean.shape) if layer.gamma is None else to_numpy(layer.gamma)
    factor = one / np.sqrt(to_numpy(layer.moving_variance) + layer.epsilon)
    moved = to_numpy(layer.moving_mean) * factor
    return factor, -moved if layer.beta is None else to_numpy(layer.beta) - moved


def normalised(float_model: keras.Model, name: str, values: Array) -> Array:
    """Values (..., D) behind a norm of the float model, before its learned factors; a batch norm leaves them alone."""
    layer = float_model.get_layer(name)
    if isinstance(layer, keras.layers.LayerNormalization):
        values = values - values.mean(axis=-1, keepdims=True)
    elif not isinstance(layer, keras.layers.RMSNormalization):
        return values
    return np.asarray(values / np.sqrt((values**2).mean(axis=-1, keepdims=True) + layer.epsilon))


def along(values: Array, ndim: int, axis: int) -> Array:
    """`values` (C,) shaped to broadcast along one axis of an array with `ndim` axes."""
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


def to_numpy(variable: Any) -> Array:
    """A Keras variable in float64."""
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)


def _assign(layer: Any, kernel: Array, bias: Array | None) -> None:
    layer._kernel.assign(kernel.reshape(layer._kernel.shape).astype(layer._kernel.dtype))
    if layer.bias is not None and bias is not None:
        layer.bias.assign(bias.reshape(layer.bias.shape).astype(layer.bias.dtype))


def calibrate(model: keras.Model, inputs: dict[str, NDArray[Any]], start: bool = False, margin: float = 1.0) -> None:
    """Set the ranges of learned quantisers from data, and count the EBOPs that follow.

    At the start of training every learned quantiser gets the integer bits that hold all values seen, fraction bits
    stay. Later only wrapping ones do: a value beyond their range would come out as something else altogether, while a
    saturating quantiser has learned by gradient how much of the tail to clip. Formats that the build file fixes are
    left alone. At the start also the ranges and shifts of norms are set (`Memory.ranged`). Layers are visited in order,
    each with the values that the ones in front of it give.

    Args:
        model: vocabulary hgq.
        inputs: by name, some thousand jets.
        start: at the start of training; also sets the ranges of weights and drops signs that are never used.
        margin: factor on the largest values seen.
    """
    by_layer: dict[str, list[Quantiser]] = {}
    for quantiser in quantisers(model):
        if quantiser.learned and (start or quantiser.core.overflow_mode == "WRAP"):
            by_layer.setdefault(quantiser.layer.name, []).append(quantiser)
    memory = memory_of(model) if start else None
    ranged, shifts = (memory.ranged, memory.shifts) if memory is not None else ((), ())
    if by_layer or ranged or shifts:
        for layer, tensors in walk(model, inputs):
            for quantiser in by_layer.get(layer.name, []):
                _cover(quantiser, tensors, start, margin)
            if layer.name in (*ranged, *shifts):
                _move(layer, to_numpy(tensors[0]) * margin, layer.name in ranged, layer.name in shifts)
    model(inputs, training=TrainingFlagWrapper("tracing"))  # HGQ2 counts EBOPs in this mode


def _cover(quantiser: Quantiser, tensors: list[Any], start: bool, margin: float) -> None:
    if quantiser.place == "input":
        seen = to_numpy(quantiser.tensor(tensors))
        if start:
            quantiser.drop_sign(seen)
        quantiser.cover(np.abs(seen) * margin)
    elif start:
        quantiser.cover(np.abs(quantiser.values()) * margin)


MOST_SHIFT = 23  # of a constant: `qformers.precision.fixed` spells it with 24 bits on either side


def _move(layer: Any, seen: Array, ranged: bool, shifts: bool) -> None:
    """A constant layer of a norm: the range of its input, whose width stays, and the power of two that it holds."""
    largest = float(np.abs(seen).max(initial=0.0))
    shift = shift_for(largest)
    if not 2.0**-MOST_SHIFT <= shift < 2.0**MOST_SHIFT:
        raise ConfigError(
            f"layer '{layer.name}': a norm in fixed point takes values of 2^-{MOST_SHIFT} to 2^{MOST_SHIFT}; scale the "
            f"inputs, or set model.norm: batch. Received: values up to {largest:g}"
        )
    if ranged:
        core, bits = layer.iq.quantizer, -int(np.log2(shift))
        width = core._i + core._f
        core._f.assign(width - bits)
        core._i.assign(bits + 0 * core._i)
    if shifts:
        write_constant(layer._kernel, layer.kq, np.full(layer._kernel.shape, shift, np.float32))
