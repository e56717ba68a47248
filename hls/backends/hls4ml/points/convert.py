"""From Keras layers of point models to those of `hls.backends.hls4ml.points.layers`: sizes, and what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hls.backends.hls4ml.points import layers
from qformers.nn.index.ball_slots import ONE_ORDER
from qformers.quant.kinds.moves import places_of
from qformers.quant.kinds.record import Quantiser

Sizes = Mapping[str, Any]  # name of a constant of the C++ configuration -> number, or table as a list
Convert = Callable[..., tuple[dict[str, Any], ...]]
Fault = tuple[str, str]
NUMBERS = ("first", "second", "third", "fourth", "fifth", "sixth")  # of the inputs of `side_by_side`


def converter(
    function: str, sizes: Callable[[Any], Sizes], **attributes: Callable[[Any], Any]
) -> Callable[[], Convert]:
    """What makes hls4ml's handler of layers that call a function of `nnet_points.hh`.

    Args:
        function: its name.
        sizes: of a layer.
        attributes: more that the class in `layers` asks a layer for.
    """

    def make() -> Convert:
        from hls4ml.converters.keras_v3.hgq2._base import KerasV3LayerHandler, QLayerHandler

        layers.kinds()

        class Points(KerasV3LayerHandler):  # type: ignore[misc]
            handles = ()

            def handle(self, layer: Any, inputs: Any, outputs: Any) -> dict[str, Any]:
                own = {name: read(layer) for name, read in attributes.items()}
                shape = tuple(outputs[0].shape[1:])
                return {
                    "class_name": layers.kind_name(function),
                    "out_shape": shape,
                    "sizes": dict(sizes(layer)),
                    **own,
                }

        class Rounding(QLayerHandler, Points):  # type: ignore[misc]
            handles = ()

        plain, rounding = Points(), Rounding()

        def convert(layer: Any, inputs: Any, outputs: Any) -> tuple[dict[str, Any], ...]:
            made: tuple[dict[str, Any], ...] = (rounding if hasattr(layer, "_enable_iq") else plain)(
                layer, inputs, outputs
            )
            return made

        return convert

    return make


def einsum() -> Convert:
    """`QEinsum` without the axes of length 1 that are summed away: hls4ml has no equation for those."""
    from hls4ml.converters.keras_v3.hgq2.einsum import QEinsumHandler

    class Einsum(QEinsumHandler):  # type: ignore[misc]
        handles = ()

        def handle(self, layer: Any, inputs: Any, outputs: Any) -> dict[str, Any]:
            made: dict[str, Any] = super().handle(layer, inputs, outputs)
            sides, result = made["equation"].split("->")
            kept = []
            for number, (letters, other) in enumerate(_pairs(sides)):
                alone = set(letters) - set(other) - set(result)
                shape = made[f"inp{number}_shape"]
                made[f"inp{number}_shape"] = tuple(
                    size for letter, size in zip(letters, shape, strict=True) if letter not in alone
                )
                kept.append("".join(letter for letter in letters if letter not in alone))
            return {**made, "equation": f"{','.join(kept)}->{result}"}

    made: Convert = Einsum()
    return made


def _pairs(sides: str) -> Iterator[tuple[str, str]]:
    first, second = sides.split(",")
    yield first, second
    yield second, first


def einsum_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    """An axis of one input that is summed away."""
    sides, result = layer.equation.split("->")
    for (letters, other), tensor in zip(_pairs(sides), layer.input, strict=True):
        for letter, size in zip(letters, tensor.shape, strict=True):
            if letter not in other + result and size != 1:
                reason = f"its equation {layer.equation} sums axis {letter} of one input alone"
                yield reason, "sum it by a QEinsumDense with a kernel of ones first"


def given_order() -> Convert:
    """`GivenOrder`, `TreeOrder`: the order as it comes in, under another shape; a mask gave no more than N."""

    def convert(layer: Any, inputs: Any, outputs: Any) -> tuple[dict[str, Any], ...]:
        names = {"input_keras_tensor_names": [inputs[0].name], "output_keras_tensor_names": [outputs[0].name]}
        shapes = {"input_shape": [list(inputs[0].shape[1:])], "target_shape": list(outputs[0].shape[1:])}
        return ({"name": layer.name, "class_name": "Reshape", "data_format": "channels_last", **names, **shapes},)

    return convert


def tree_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    """A `TreeOrder` that is one of several."""
    if (count := int(layer.input.shape[1])) > 1:
        yield f"it picks one of {count} orders, and hls4ml cannot slice", ONE_ORDER


def order_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    """A `GivenOrder` that also places padding."""
    given, slots = int(layer.input[0].shape[-1]), int(layer.output.shape[-1])
    if given != slots:
        reason = f"the host orders {given} points, the blocks hold {slots}"
        yield reason, "set data.num_particles to a multiple of model.block_size"


def to_blocks(layer: Any) -> Sizes:
    """Of a `ToBlocks`."""
    points, heads, channels = layer.input[0].shape[1:]
    return {"points": points, "heads": heads, "channels": channels, "orders": layer.output.shape[1]}


def from_blocks(layer: Any) -> Sizes:
    """Of a `FromBlocks`."""
    orders, heads, points, channels = layer.output.shape[1:]
    return {"points": points, "heads": heads, "channels": channels, "orders": orders}


def moved(layer: Any) -> Sizes:
    """Of a layer that gives out values of its input at other places."""
    places = places_of(layer)
    size = math.prod(layer.input.shape[1:])
    return {"inputs": size, "outputs": int(places.size), "places": places.ravel().tolist()}


def block_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    """Orders of their own for each head, or for queries and keys."""
    sides, _, heads, _ = layer.input[1].shape[1:]
    if (sides, heads) != (1, 1):
        reason = f"it has {sides} orders of queries and keys for {heads} heads; firmware has one for all of them"
        yield reason, "set model.hash: coords"


def largest(layer: Any) -> Sizes:
    """Of a `Largest`."""
    axis, shape = axis_of(layer), layer.input.shape[1:]
    return {"outer": math.prod(shape[:axis]), "count": shape[axis], "inner": math.prod(shape[axis + 1 :])}


def axis_of(layer: Any) -> int:
    """Its axis, without the batch axis."""
    return int(layer.axis % len(layer.input.shape)) - 1


def floor_of(layer: Any) -> float | None:
    """The least value that it gives out."""
    return None if layer.floor is None else float(layer.floor)


def symmetric_fill(layer: Any) -> Sizes:
    """Of a `QSymmetricFill`."""
    pairs, heads = layer.input.shape[1:]
    return {"points": layer.particles, "pairs": pairs, "heads": heads, "self_pairs": bool(layer.self_pairs)}


def repeated_sides(layer: Any) -> Sizes:
    """Of a `QSubtract`, `QAdd` or `QMultiply`, whose inputs may be repeated along axes of length 1."""
    shape = tuple(layer.output.shape[1:])
    shapes = [tuple(tensor.shape[1:]) for tensor in layer.input]
    first, second = (_strides((1,) * (len(shape) - len(own)) + own, shape) for own in shapes)
    counts = {"n_first": math.prod(shapes[0]), "n_second": math.prod(shapes[1]), "n_out": math.prod(shape)}
    return {"rank": len(shape), "shape": list(shape), "first": first, "second": second, **counts}


def repeating(function: str) -> Callable[[], Convert]:
    """`QAdd`, `QMultiply`: hls4ml joins tensors of one shape; where values are repeated, by a function of ours."""

    def make() -> Convert:
        from hls4ml.converters.keras_v3.hgq2._base import QMergeHandler

        alike, repeated = QMergeHandler(), converter(function, repeated_sides)()

        def convert(layer: Any, inputs: Any, outputs: Any) -> tuple[dict[str, Any], ...]:
            shapes = {tuple(tensor.shape) for tensor in inputs}
            made: tuple[dict[str, Any], ...] = (alike if len(shapes) == 1 else repeated)(layer, inputs, outputs)
            return made

        return convert

    return make


def sums(layer: Any) -> Sizes:
    """Of a `QSum` or `QMeanPow2`."""
    shape = tuple(layer.input.shape[1:])
    axes = tuple(axis % (len(shape) + 1) - 1 for axis in layer.axes)
    kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
    place = np.broadcast_to(np.arange(math.prod(kept)).reshape(kept), shape)
    return {"n_in": place.size, "n_out": math.prod(kept), "place": place.ravel().tolist()}


def shift_of(layer: Any) -> int:
    """By how many bits its sums are moved down: HGQ2 takes powers of two alone."""
    return -int(math.log2(layer.scale))


def size_of(layer: Any) -> Sizes:
    """Of a layer that computes each value alone."""
    return {"n": math.prod(layer.input.shape[1:])}


def factor_of(layer: Any) -> float:
    """Of a `Rescaling`, as Keras multiplies it in float32."""
    return float(np.float32(layer.scale))


def offset_of(layer: Any) -> float:
    """Of a `Rescaling`."""
    return float(np.float32(layer.offset))


def _strides(own: Sequence[int], shape: Sequence[int]) -> list[int]:
    strides, step = [], 1
    for size, whole in zip(reversed(own), reversed(shape), strict=True):
        strides.append(step if size == whole else 0)
        step *= size
    return strides[::-1]


def side_by_side(layer: Any) -> Sizes:
    """Of a `Concatenate` along the last axis."""
    sizes = [tensor.shape[-1] for tensor in layer.input]
    each = {f"n_{word}": size for word, size in zip(NUMBERS, sizes, strict=False)}
    return {"outer": math.prod(layer.output.shape[1:-1]), "width": sum(sizes), **each}


def side_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    """Too many tensors, or another axis than the last."""
    if not 2 <= len(layer.input) <= len(NUMBERS):
        yield f"it joins 2 to {len(NUMBERS)} tensors. Received: {len(layer.input)}", "join some of them before"
    if layer.axis not in (-1, len(layer.output.shape) - 1):
        yield f"it joins along the last axis. Received: axis {layer.axis}", "set axis=-1"


def sorted_tree(layer: Any) -> Sizes:
    """Of a `SortedTree`."""
    points, coords = layer.input[0].shape[1:]
    cut = {"leaf": layer.leaf, "diagonal": layer.diagonal}
    return {"points": points, "coords": coords, **cut, "slot_bits": layers.slot_bits(points)}


def sorted_order(layer: Any) -> Sizes:
    """Of a `SortedOrder`."""
    (points, coords), (orders, axes) = layer.input[0].shape[1:], layer.host.regions.shape
    lengths = np.moveaxis(layer.run_lengths(points), 0, -1)  # (O, A, N + 1)
    most = max(int(-(-count // lengths[..., count].min())) for count in range(1, points + 1))
    directions = layer.directions.T  # (O, A)
    bits = int(np.abs(directions).max()).bit_length() + 1 + max(axes - 1, 0).bit_length()
    sizes = {"points": points, "coords": coords, "orders": orders, "axes": axes, "slot_bits": layers.slot_bits(points)}
    return {**sizes, "hash_bits": bits, "most_runs": most, "length": lengths.tolist(), "direction": directions.tolist()}
