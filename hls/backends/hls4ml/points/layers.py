"""hls4ml's side of layers that move, compare and join values: classes, formats, calls of `nnet_points.hh`.

A layer of one's own is a subclass of `PointLayer` here, a function of the same name there, and a `Handler` of
`hls.backends.hls4ml.kinds`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.nn.index.pairs import triangle_index

Kif = tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]  # sign, integer, fraction bits per value
HEADER = Path(__file__).with_name("nnet_points.hh")
FAR = 126  # bits of hls4ml's "as many as there are"


@cache
def kinds() -> Mapping[str, Any]:
    """Name of a C++ function -> hls4ml's class of its layer; made and registered once."""
    from hls4ml.model.attributes import Attribute
    from hls4ml.model.layers import Layer, register_layer
    from hls4ml.model.optimizer.passes import bit_exact
    from hls4ml.utils.qinterval import QIntervalArray

    class PointLayer(Layer):  # type: ignore[misc]
        """A layer whose sizes stand in `sizes`: name of a constant of the C++ configuration -> number or C++ text."""

        moves = False  # whether it gives out the values of its inputs, at other places

        _expected_attributes = (Attribute("out_shape", value_type=tuple), Attribute("sizes", value_type=dict))

        def initialize(self) -> None:
            self.add_output_variable(list(self.attributes["out_shape"]))

        def produced(self, given: Sequence[Kif]) -> Kif:
            """Formats of its values, given those of its inputs."""
            raise NotImplementedError

        def requested(self, wanted: Kif, shapes: Sequence[tuple[int, ...]]) -> tuple[Kif, ...]:
            """Formats that are enough for its inputs (of `shapes`) where `wanted` is enough for its values."""
            return tuple(_any(shape) for shape in shapes)

    class ToBlocks(PointLayer):
        moves = True

        def produced(self, given: Sequence[Kif]) -> Kif:
            shape = self.attributes["out_shape"]
            return _each(
                given[0], lambda part: np.broadcast_to(part.max(axis=0)[None, :, None], _rows(shape)).reshape(shape)
            )

        def requested(self, wanted: Kif, shapes: Sequence[tuple[int, ...]]) -> tuple[Kif, ...]:
            points, heads, channels = shapes[0]
            most = _each(
                wanted,
                lambda part: np.broadcast_to(part.reshape(-1, heads, points, channels).max(axis=(0, 2)), shapes[0]),
            )
            return most, _slots(shapes[1], points)

    class FromBlocks(PointLayer):
        moves = True

        def produced(self, given: Sequence[Kif]) -> Kif:
            orders, heads, points, channels = shape = self.attributes["out_shape"]
            return _each(
                given[0],
                lambda part: np.broadcast_to(
                    part.reshape(orders, heads, points, channels).max(axis=2, keepdims=True), shape
                ),
            )

        def requested(self, wanted: Kif, shapes: Sequence[tuple[int, ...]]) -> tuple[Kif, ...]:
            shape = self.attributes["out_shape"]
            most = _each(
                wanted,
                lambda part: np.broadcast_to(part.max(axis=2, keepdims=True), shape).reshape(shapes[0]),
            )
            return most, _slots(shapes[1], shape[2])

    class Largest(PointLayer):
        def produced(self, given: Sequence[Kif]) -> Kif:
            axis, floor = self.attributes["axis"], self.attributes["floor"]
            k, i, f = _each(given[0], lambda part: part.max(axis=axis, keepdims=True))
            if floor is not None:
                k, i, f = (np.maximum(part, own) for part, own in zip((k, i, f), _of(floor), strict=True))
            return k, i, f

    class Subtract(PointLayer):
        def produced(self, given: Sequence[Kif]) -> Kif:
            shape = self.attributes["out_shape"]
            first, second = (QIntervalArray.from_kif(*(np.broadcast_to(part, shape) for part in kif)) for kif in given)
            k, i, f = self.joined(first, second).to_kif()
            return k.astype(np.int16), i, f

        def joined(self, first: Any, second: Any) -> Any:
            return first - second

    class Add(Subtract):
        def joined(self, first: Any, second: Any) -> Any:
            return first + second

    class Multiply(Subtract):
        def joined(self, first: Any, second: Any) -> Any:
            return first * second

    class SumOver(PointLayer):
        def produced(self, given: Sequence[Kif]) -> Kif:
            sizes, scale = self.attributes["sizes"], 2.0 ** -self.attributes["shift"]
            values = QIntervalArray.from_kif(*(part.ravel() for part in given[0]))
            low, high, step = np.zeros(sizes["n_out"]), np.zeros(sizes["n_out"]), np.full(sizes["n_out"], np.inf)
            np.add.at(low, sizes["place"], scale * values.min)
            np.add.at(high, sizes["place"], scale * values.max)
            np.minimum.at(step, sizes["place"], scale * values.delta)
            k, i, f = (part.reshape(self.attributes["out_shape"]) for part in QIntervalArray(low, high, step).to_kif())
            return k.astype(np.int16), i, f

    class Rescaled(PointLayer):
        def produced(self, given: Sequence[Kif]) -> Kif:
            factor, offset = self.attributes["factor"], self.attributes["offset"]
            k, i, f = (QIntervalArray.from_kif(*given[0]) * np.float64(factor) + np.float64(offset)).to_kif()
            return k.astype(np.int16), i, f

    class SideBySide(PointLayer):
        moves = True

        def produced(self, given: Sequence[Kif]) -> Kif:
            k, i, f = (np.concatenate(parts, axis=-1) for parts in zip(*given, strict=True))
            return k, i, f

        def requested(self, wanted: Kif, shapes: Sequence[tuple[int, ...]]) -> tuple[Kif, ...]:
            ends = np.cumsum([shape[-1] for shape in shapes])[:-1]
            halves = [np.split(part, ends, axis=-1) for part in wanted]
            return tuple(zip(*halves, strict=True))

    class SymmetricFill(PointLayer):
        moves = True

        def places(self) -> NDArray[np.int64]:
            sizes = self.attributes["sizes"]
            return triangle_index(sizes["points"], sizes["self_pairs"])

        def produced(self, given: Sequence[Kif]) -> Kif:
            index = self.places()
            least = (0, *(int(part.min()) for part in given[0][1:]))  # enough for 0, and no more than the others have
            k, i, f = (
                np.where(index < 0, own, np.moveaxis(part[index], -1, 0)).astype(np.int16)
                for part, own in zip(given[0], least, strict=True)
            )
            return k, i, f

        def requested(self, wanted: Kif, shapes: Sequence[tuple[int, ...]]) -> tuple[Kif, ...]:
            index = self.places()
            kept = index >= 0
            most = tuple(np.full(shapes[0], -FAR, np.int16) for _ in wanted)  # each pair has a place at least
            for part, whole in zip(most, wanted, strict=True):
                np.maximum.at(part, index[kept], np.moveaxis(whole, 0, -1)[kept])
            k, i, f = most
            return ((k, i, f),)

    class Moved(PointLayer):
        moves = True

        def produced(self, given: Sequence[Kif]) -> Kif:
            places = np.asarray(self.attributes["sizes"]["places"]).reshape(self.attributes["out_shape"])
            least = (0, *(int(part.min()) for part in given[0][1:]))  # enough for 0, and no more than the others have
            k, i, f = (
                np.where(places < 0, own, part.ravel()[places]).astype(np.int16)
                for part, own in zip(given[0], least, strict=True)
            )
            return k, i, f

        def requested(self, wanted: Kif, shapes: Sequence[tuple[int, ...]]) -> tuple[Kif, ...]:
            places = np.asarray(self.attributes["sizes"]["places"])
            most = [np.full(math.prod(shapes[0]), -FAR, np.int16) for _ in wanted]
            kept = places >= 0
            for part, whole in zip(most, wanted, strict=True):
                np.maximum.at(part, places[kept], whole.ravel()[kept])
            unread = most[0] == -FAR
            for part, none in zip(most, (0, 0, 1), strict=True):  # what nobody reads has one bit
                part[unread] = none
            k, i, f = (part.reshape(shapes[0]) for part in most)
            return ((k, i, f),)

    class SortedOrder(PointLayer):
        def produced(self, given: Sequence[Kif]) -> Kif:
            return _slots(self.attributes["out_shape"], self.attributes["out_shape"][-1])

    class SortedTree(SortedOrder):
        pass

    made = {
        "to_blocks": ToBlocks,
        "from_blocks": FromBlocks,
        "largest": Largest,
        "symmetric_fill": SymmetricFill,
        "subtract_repeated": Subtract,
        "add_repeated": Add,
        "multiply_repeated": Multiply,
        "sum_over": SumOver,
        "rescaled": Rescaled,
        "side_by_side": SideBySide,
        "moved": Moved,
        "sorted_order": SortedOrder,
        "sorted_tree": SortedTree,
    }
    for name, kind in made.items():
        register_layer(kind_name(name), kind)
        _templates(name, kind)

    @bit_exact._produce_kif.register(PointLayer)  # type: ignore[untyped-decorator]
    def _(layer: Any) -> Kif:
        produced: Kif = layer.produced([bit_exact.produce_kif(source) for source in bit_exact.get_input_layers(layer)])
        return produced

    @bit_exact._request_kif.register(PointLayer)  # type: ignore[untyped-decorator]
    def _(layer: Any) -> tuple[Kif, ...]:
        wanted = bit_exact.requested_kif(layer)
        requested: tuple[Kif, ...] = layer.requested(wanted, bit_exact.get_input_shapes(layer))
        return requested

    return made


def kind_name(function: str) -> str:
    """hls4ml's name of the class of a C++ function."""
    return f"Points_{function}"


def _templates(function: str, kind: type) -> None:
    from hls4ml.backends import get_backend
    from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate

    class Config(LayerConfigTemplate):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(kind)

        def format(self, node: Any) -> str:
            lines = [f"    {_line(name, value)}" for name, value in node.attributes["sizes"].items()]
            return "\n".join([f"struct config{node.index} {{", *lines, *_types(function, node), "};\n"])

    class Call(FunctionCallTemplate):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(kind, include_header=[f"nnet_utils/{HEADER.name}"])

        def format(self, node: Any) -> str:
            inputs = [node.get_input_variable(name) for name in node.inputs]
            output = node.get_output_variable()
            types = ", ".join([*(one.type.name for one in inputs), output.type.name, f"config{node.index}"])
            names = ", ".join([*(one.name for one in inputs), output.name])
            return f"nnet::{function}<{types}>({names});"

    for name in ("Vivado", "Vitis"):
        backend = get_backend(name)
        backend.register_template(Config)
        backend.register_template(Call)
        backend.register_source(HEADER)


def _line(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"static const bool {name} = {str(value).lower()};"
    if isinstance(value, list):  # a function of one, two or three places, as a table
        return _lookup(name, np.asarray(value))
    return f"static const unsigned {name} = {value};"


def _lookup(name: str, table: NDArray[np.int64]) -> str:
    letters = "abc"[: table.ndim]
    taken = ", ".join(f"unsigned {letter}" for letter in letters)
    place = letters[0]
    for letter, size in zip(letters[1:], table.shape[1:], strict=True):
        place = f"({place}) * {size} + {letter}"
    kind = "int" if (table < 0).any() else "unsigned"
    numbers = ", ".join(str(int(value)) for value in table.ravel())
    return f"static {kind} {name}({taken}) {{ const {kind} values[] = {{{numbers}}}; return values[{place}]; }}"


def _types(function: str, node: Any) -> Iterator[str]:
    if function == "largest":  # the format of the inputs holds the largest of them; that of the least joins it
        form = node.get_input_variable(node.inputs[0]).type.precision
        floor = node.attributes["floor"]
        signed, integer, fraction = int(form.signed), form.integer - int(form.signed), form.fractional
        if floor is not None:
            signed, integer, fraction = (
                max(a, b) for a, b in zip((signed, integer, fraction), _of(floor), strict=True)
            )
        kind = "ap_fixed" if signed else "ap_ufixed"
        yield f"    typedef {kind}<{signed + integer + fraction}, {signed + integer}> top_t;"
        yield f"    static const bool has_least = {'false' if floor is None else 'true'};"
        yield f"    static constexpr double least = {0.0 if floor is None else float(floor)!r};"
    if function == "sum_over":
        form, sizes = node.get_input_variable().type.precision, node.attributes["sizes"]
        more = (sizes["n_in"] // sizes["n_out"] - 1).bit_length()
        kind, width, integer = "ap_fixed" if form.signed else "ap_ufixed", form.width + more, form.integer + more
        yield f"    typedef {kind}<{width}, {integer}> sum_t;"
        yield f"    typedef {kind}<{width}, {integer - node.attributes['shift']}> scaled_t;"
    if function == "rescaled":
        for name in ("factor", "offset"):
            signed, integer, fraction = _of(value := float(node.attributes[name]))
            kind = "ap_fixed" if signed else "ap_ufixed"
            yield f"    typedef {kind}<{max(signed + integer + fraction, 1)}, {signed + integer}> {name}_t;"
            yield f"    static constexpr double {name} = {value!r};"
    if function in ("sorted_order", "sorted_tree"):
        yield f"    typedef ap_uint<{node.attributes['sizes']['slot_bits']}> slot_t;"
        form = node.get_input_variable(node.inputs[0]).type.precision
        yield f"    static const bool is_signed = {str(bool(form.signed)).lower()};"


def _each(kif: Kif, change: Any) -> Kif:
    k, i, f = (np.ascontiguousarray(change(part)) for part in kif)
    return k, i, f


def _rows(shape: Sequence[int]) -> tuple[int, ...]:
    """(O, H, M, S, E) as (O, H, N, E)."""
    orders, heads, blocks, size, channels = shape
    return orders, heads, blocks * size, channels


def _any(shape: Sequence[int]) -> Kif:
    many = np.full(shape, FAR, np.int16)
    return np.ones(shape, np.int16), many, many


def _slots(shape: Sequence[int], points: int) -> Kif:
    bits = np.full(shape, slot_bits(points), np.int16)
    return np.zeros(shape, np.int16), bits, np.zeros(shape, np.int16)


def slot_bits(points: int) -> int:
    """Of a number of 0 to `points` - 1."""
    return max((points - 1).bit_length(), 1)


def _of(value: float) -> tuple[int, int, int]:
    """Sign, integer and fraction bits of a number."""
    if not value:
        return 0, 0, 0
    mantissa, exponent = math.frexp(value)
    whole = int(mantissa * 2**53)
    lowest = exponent - 53 + (whole & -whole).bit_length() - 1
    reach = math.ceil(math.log2(abs(value) + (2.0**lowest if value > 0 else 0.0)))
    return int(value < 0), reach, -lowest
