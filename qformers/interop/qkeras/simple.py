"""Layers without weights of their own: merges, shapes, activations; and batch norms that stand alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from qformers.errors import QkerasError
from qformers.interop.qkeras.apply import Context
from qformers.interop.qkeras.dense import array
from qformers.interop.qkeras.emit import Wire, letters
from qformers.interop.qkeras.reader import SavedLayer
from qformers.interop.windows import each
from qformers.precision.qkeras.rounding import power_of_two

EXACT_NORM_BITS = 16  # of the factor of a batch norm; one from 1/sqrt in float32 has 24


def same(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Layers that do nothing in inference."""
    return sources[0]


def activation(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """QActivation, Activation."""
    return context.activate(sources[0], layer.config.get("activation"), layer.name)


def softmax(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Softmax: refused, with the way out."""
    return context.activate(sources[0], "softmax", layer.name)


def relu(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """ReLU without bells."""
    for key, plain in (("max_value", None), ("negative_slope", 0.0), ("threshold", 0.0)):
        if layer.config.get(key) not in (plain, None, [plain]):
            raise QkerasError(
                f"layer '{layer.name}': {key}={layer.config[key]!r} is not supported; "
                "use QActivation('quantized_relu(...)')"
            )
    return context.emit.relu(sources[0], layer.name)


def reshape(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Flatten, Reshape."""
    size = int(np.prod(sources[0].shape))
    target = [size] if layer.kind == "Flatten" else [int(number) for number in layer.config["target_shape"]]
    known = int(np.prod([number for number in target if number != -1]))
    return context.emit.reshape(sources[0], tuple(n if n != -1 else size // known for n in target), layer.name)


def permute(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Permute."""
    (x,) = sources
    axes = letters(len(x.shape))
    moved = "".join(axes[int(place) - 1] for place in layer.config["dims"])
    y = context.emit.linear(x, f"b{axes},z->b{moved}z", np.ones(1), f"{layer.name}_wires", count=False)
    return context.emit.reshape(y, y.shape[:-1], layer.name)


def positions(kernel: Callable[[SavedLayer, int, int], Any]) -> Callable[[Context, SavedLayer, list[Wire]], Wire]:
    """A layer that copies or drops positions; `kernel` gives its wires (size, outputs) for one axis of a size."""

    def build(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
        (y,) = sources
        rank = len(y.shape) - 1
        for axis in range(rank):
            spelt = "b" + letters(rank) + "y"
            letter, name = spelt[1 + axis], layer.name if axis == rank - 1 else f"{layer.name}_axis{axis}"
            wires = kernel(layer, axis, y.shape[axis])
            y = context.emit.linear(y, f"{spelt},{letter}p->{spelt.replace(letter, 'p')}", wires, name, count=False)
        return y

    return build


def _sides(layer: SavedLayer, key: str, axis: int) -> tuple[int, int]:
    value = layer.config[key]
    if layer.kind.endswith("1D"):
        first, last = each(value, 2)
        return first, last
    both = [each(side, 2) for side in value] if isinstance(value, list) else [each(value, 2)] * 2
    return both[axis][0], both[axis][1]


def padding(layer: SavedLayer, axis: int, size: int) -> Any:
    """ZeroPadding1D, ZeroPadding2D."""
    first, last = _sides(layer, "padding", axis)
    return np.eye(size, size + first + last, first)


def cropping(layer: SavedLayer, axis: int, size: int) -> Any:
    """Cropping1D, Cropping2D."""
    first, last = _sides(layer, "cropping", axis)
    return np.eye(size)[:, first : size - last]


def upsampling(layer: SavedLayer, axis: int, size: int) -> Any:
    """UpSampling1D, UpSampling2D, by repetition."""
    if (how := layer.config.get("interpolation", "nearest")) != "nearest":
        raise QkerasError(f"layer '{layer.name}': interpolation must be nearest. Received: {how}")
    return np.repeat(np.eye(size), each(layer.config["size"], 2)[axis], axis=1)


def _chain(context: Context, layer: SavedLayer, sources: list[Wire], step: Callable[[Wire, Wire, str], Wire]) -> Wire:
    count = len(sources)
    names = [f"{layer.name}_{index}" for index in range(1, count - 1)] + [layer.name]
    return reduce(lambda x, pair: step(x, pair[0], pair[1]), zip(sources[1:], names, strict=True), sources[0])


def add(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Add."""
    return _chain(context, layer, sources, context.emit.add)


def subtract(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Subtract."""
    return context.emit.add(sources[0], context.emit.scale(sources[1], -1.0, f"{layer.name}_minus"), layer.name)


def multiply(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Multiply."""
    return _chain(context, layer, sources, context.emit.multiply)


def maximum(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Maximum."""
    return _chain(context, layer, sources, context.emit.maximum)


def minimum(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Minimum: -max(-a, -b)."""
    turned = [context.emit.scale(x, -1.0, f"{layer.name}_minus{index}") for index, x in enumerate(sources)]
    names = [f"{layer.name}_{index}" for index in range(1, len(sources))]
    y = turned[0]
    for other, name in zip(turned[1:], names, strict=True):
        y = context.emit.maximum(y, other, f"{name}_largest")
    return context.emit.scale(y, -1.0, layer.name)


def average(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Average of a number of tensors that is a power of two."""
    try:
        power_of_two(float(len(sources)))
    except ValueError:
        raise QkerasError(f"layer '{layer.name}': an average of {len(sources)} is on no grid; use 2 or 4") from None
    total = reduce(
        lambda x, pair: context.emit.add(x, pair[1], f"{layer.name}_{pair[0]}"), enumerate(sources[1:], 1), sources[0]
    )
    return context.emit.scale(total, 1 / len(sources), layer.name)


def concatenate(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Concatenate: each side on wires of its own among zeros, then adders with a zero on one side, which are wires."""
    rank = len(sources[0].shape)
    axis = int(layer.config.get("axis", -1))
    axis = axis + rank if axis < 0 else axis - 1
    sizes = [x.shape[axis] for x in sources]
    axes, spread = letters(rank), []
    for index, x in enumerate(sources):
        letter = axes[axis]
        wires = np.eye(sizes[index], sum(sizes), sum(sizes[:index]))
        equation = f"b{axes},{letter}z->b{axes.replace(letter, 'z')}"
        spread.append(context.emit.linear(x, equation, wires, f"{layer.name}_part{index}", count=False))
    return _chain(context, layer, spread, context.emit.add)


def batch_norm(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """BatchNormalization, QBatchNormalization: a factor and an offset per channel, if these have few bits.

    Raises:
        QkerasError: they have not, as 1/sqrt(variance + epsilon) in float32 mostly.
    """
    (x,) = sources
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) else axis
    if axis not in (-1, len(x.shape)):
        raise QkerasError(f"layer '{layer.name}': only the last axis can be normalised. Received: axis={axis}")

    def part(what: str, key: str) -> Any:
        values, quantiser = array(layer, what), layer.config.get(f"{key}_quantizer")
        if quantiser is None:
            return values
        made = context.weights(layer, what, values, quantiser, kernel=key in ("gamma", "variance"))
        return made.astype(np.float32)

    variance, mean = part("moving_variance", "variance"), part("moving_mean", "mean")
    inverse = np.float32(1) / np.sqrt(variance + np.float32(layer.config["epsilon"]))
    if layer.config.get("scale", True):
        inverse = inverse * part("gamma", "gamma")
    if layer.config.get("inverse_quantizer") is not None:
        inverse = context.weights(layer, "factor", inverse, layer.config["inverse_quantizer"], kernel=False)
        inverse = inverse.astype(np.float32)
    offset = -mean * inverse
    if layer.config.get("center", True):
        offset = part("beta", "beta") - mean * inverse
    for values in (inverse, offset):
        whole = np.frexp(values)[0].astype(np.float64) * 2.0**EXACT_NORM_BITS
        if np.any(whole != np.rint(whole)):
            bad = values[whole != np.rint(whole)].ravel()[0]
            raise QkerasError(
                f"layer '{layer.name}': its batch norm multiplies by or adds numbers that no fixed point of "
                f"{EXACT_NORM_BITS} bits holds. Received: {bad:.9g} (epsilon={layer.config['epsilon']}); train with "
                "QDenseBatchnorm or QConv2DBatchnorm, which quantise after folding, or with an inverse_quantizer"
            )
    return context.emit.scale(x, inverse.astype(np.float64), layer.name, offset.astype(np.float64))
