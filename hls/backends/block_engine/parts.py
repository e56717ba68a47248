"""The parts of a block engine as pipelined arithmetic: traced, cut into stages, with the rows between them.

The encoder and the points' part do the same for each point, so that one lane of them is kept and used S times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hls.backends.alkaid import ports as alkaid_ports
from hls.backends.alkaid import trace as alkaid_trace
from hls.backends.alkaid.ports import Value, place
from hls.backends.alkaid.stages import Pipeline, pipeline
from hls.backends.block_engine.rows import Row, Spot
from hls.errors import HlsError
from qformers.models.hept.blocks import Parts, sums_of
from qformers.precision.fixed import Fixed


@dataclass(frozen=True)
class Part:
    """One part in stages.

    Attributes:
        name: of the Verilog module, without the name of the engine.
        cut: its stages.
        copies: of the module in the engine: 1, or S where it is one lane.
        ins: values of ``model_inp``, lowest bits first, and where they come from.
        outs: values of ``model_out``, and where they go to.
    """

    name: str
    cut: Pipeline
    copies: int
    ins: tuple[tuple[Spot, Value], ...]
    outs: tuple[tuple[Spot, Value], ...]

    @property
    def depth(self) -> int:
        """Clock edges from the one that takes an input in to the one that brings its output out."""
        return self.cut.latency_cycles


@dataclass(frozen=True)
class Engine:
    """All parts and rows.

    Attributes:
        parts: as Keras models.
        formats: of the inputs features, coords and mask, as the host hands them over.
        encoder: one lane.
        attention: of each layer.
        points: of each layer, one lane.
        given: row of the inputs.
        place: row of rounded coordinates and mask.
        x: row of x in front of each layer.
        sums: row of what the attention of each layer gives, per order.
        out: row of the output.
    """

    parts: Parts
    formats: dict[str, Fixed]
    encoder: Part
    attention: tuple[Part, ...]
    points: tuple[Part, ...]
    given: Row
    place: Row
    x: tuple[Row, ...]
    sums: tuple[Row, ...]
    out: Row

    @property
    def all(self) -> list[Part]:
        """Every part, in the order of the data."""
        pairs = zip(self.attention, self.points, strict=True)
        return [self.encoder, *(part for pair in pairs for part in pair)]


Where = Callable[[str, tuple[int, ...]], Spot]  # name and index of a value -> its spot


def engine(parts: Parts, model: Any, limit_ns: float) -> Engine:
    """Trace all parts.

    Args:
        parts: of `model`.
        model: the whole quantised model, which knows the formats of its inputs.
        limit_ns: longest path between two registers, as for `alkaid_stages.pipeline`.

    Raises:
        HlsError: alkaid cannot trace a part, or its lanes differ.
    """
    known = alkaid_ports.port_formats(model)
    formats = {name: known[name] for name in ("features", "coords", "mask")}
    names = list(formats)
    encoder = _part("encoder", parts.encoder, (names, ["x", "coords", "mask"]), formats, limit_ns, _encoder, True)
    given = Row.of(pair for pair in encoder.ins if pair[0].lane == 0)
    x = [_row(encoder, "x")]
    position = _row(encoder, "point")
    attention, points, sums = [], [], list[Row]()
    fields = sums_of(parts.cfg)
    for index, (inside, behind) in enumerate(zip(parts.attention, parts.points, strict=True)):
        rows = {"x": x[-1], "coords": position, "mask": position}
        part = _part(f"attention{index}", inside, (list(rows), list(fields)), rows, limit_ns, _attention, False)
        attention.append(part)
        sums.append(_row(part, "sums"))
        seen = range(index + 1) if index == len(parts.points) - 1 else range(index, index + 1)
        rows = dict.fromkeys(fields, sums[-1]) | {f"x{layer}": x[layer] for layer in seen}
        part = _part(f"points{index}", behind, (list(rows), ["x"]), rows, limit_ns, _points, True)
        points.append(part)
        x.append(_row(part, "x"))
    out = x.pop()
    return Engine(parts, formats, encoder, tuple(attention), tuple(points), given, position, tuple(x), tuple(sums), out)


def _row(part: Part, name: str) -> Row:
    return Row.of(pair for pair in part.outs if pair[0].row == name)


def _encoder(name: str, index: tuple[int, ...]) -> Spot:
    lane, *rest = index
    rows = {"features": "given", "x": "x"}
    return Spot(rows.get(name, "point"), lane, name, tuple(rest) if name != "mask" else ())


def _attention(name: str, index: tuple[int, ...]) -> Spot:
    if name == "x":
        return Spot("x", index[0], "x", index[1:])
    if name in ("num", "den", "top"):  # (1, H, 1, S, E)
        return Spot("sums", index[3], name, (index[1], index[4]))
    return Spot("point", index[2], name, index[3:] if name == "coords" else ())


def _points(name: str, index: tuple[int, ...]) -> Spot:
    if name in ("num", "den", "top"):  # (O, H, S, E)
        return Spot(f"sums{index[0]}", index[2], name, (index[1], index[3]))
    return Spot(name, index[0], "x", index[1:])


def _part(
    name: str,
    model: Any,
    ports: tuple[Sequence[str], Sequence[str]],
    formats: dict[str, Any],
    limit_ns: float,
    where: Where,
    one_lane: bool,
) -> Part:
    """Trace a part; `formats` has a format, or the row that holds the values, for each name of an input."""
    shapes = [
        {port: tuple(tensor.shape[1:]) for port, tensor in zip(names, tensors, strict=True)}
        for names, tensors in zip(ports, (model.inputs, model.outputs), strict=True)
    ]
    known = {
        tensor.name: _kif(port, shapes[0][port], formats[port], where)
        for port, tensor in zip(ports[0], model.inputs, strict=True)
    }
    comb = alkaid_trace.trace(model, known).comb
    spots = [[where(port, index) for port, shape in part.items() for index in np.ndindex(*shape)] for part in shapes]
    lanes = len({spot.lane for spot in spots[0]})
    if one_lane:
        kept = [number for number, spot in enumerate(spots[1]) if spot.lane == 0]
        comb, spots[1] = alkaid_trace.picked(comb, kept), [spots[1][number] for number in kept]
    cut = pipeline(comb, limit_ns)
    placed = [
        place({"": (len(signal.precisions),)}, signal.precisions)
        for signal in (cut.machine.inp_signals[0], cut.machine.out_signals[0])
    ]
    ins, outs = (tuple(zip(part, values, strict=True)) for part, values in zip(spots, placed, strict=True))
    if one_lane and any(value.width for spot, value in ins if spot.lane):
        raise HlsError(f"{name}: a point reads values of another point, so that it has no lane of its own")
    return Part(name, cut, lanes if one_lane else 1, ins, outs)


def _kif(port: str, shape: tuple[int, ...], form: Fixed | Row, where: Where) -> Any:
    if isinstance(form, Fixed):
        return form
    kif = np.zeros((3, *shape), np.int8)
    for index in np.ndindex(*shape):
        spot = where(port, tuple(map(int, index)))
        field = form.fields[spot.name, spot.place]
        kif[(slice(None), *index)] = field.signed, field.integer_bits, field.fraction_bits
    return tuple(kif)
