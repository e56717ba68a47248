"""``ports.json`` of folded firmware: how it is wired into what stands around it, and where each value sits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hls.backends.alkaid.ports import Value
from hls.backends.folded.kernels import Group
from hls.backends.protocol import Layout, Port
from qformers.quant.phases import Folding

IN, OUT, OUT_BEAT = "in_beat", "out_event", "out_beat"  # streams; the last one has outputs of points, beat by beat
Side = Sequence[tuple[Group, tuple[Value, ...]]]

_HANDSHAKE = (
    "a word passes at a rising edge of the clock where valid and ready are both high; neither waits for the other one, "
    "and both may pause at any time"
)
_VALUE = (
    "bits low to low + width - 1 of the word are a whole number (two's complement where signed), and the value is that "
    "number times 2**-fraction_bits; width 0: the firmware does not read it. index counts in shape_of_word"
)


def ports_of(
    layout: Layout,
    fold: Folding,
    sides: tuple[Side, Side],
    clock_ns: float,
    flavour: str,
    ways: Sequence[Value] = (),
) -> dict[str, Any]:
    """What ``ports.json`` says.

    Args:
        layout: of the project.
        fold: how an event comes.
        sides: values of a beat, and of the output of an event.
        clock_ns: period.
        flavour: of the project: verilog, or vitis for C++.
        ways: what a beat has behind its values, where the host gives an order as banks (`hls.backends.folded.orders`).
    """
    beats, together = fold.beats, fold.together
    shapes = {port.name: port for port in layout.inputs}
    given = [_tensor(group, shapes[group.tensor], fold.axes[group.tensor]) for group, _ in sides[0]]
    axes = [fold.axes.get(group.tensor) for group, _ in sides[1]]
    made = [_tensor(*one) for one in zip((group for group, _ in sides[1]), layout.outputs, axes, strict=True)]
    out, answers = answers_of(fold, sides[1])
    by_beat = out == OUT_BEAT
    came = "in the order of the events; a word stays until it is taken"
    came += f"; {beats} words are an event, with the points of the words that went in" if by_beat else ""
    points = f"points {together} b to {together} b + {together - 1}, in order" if together > 1 else "point b"
    control = _cxx(layout.top) if flavour == "vitis" else _verilog(layout.top)
    what = (
        f"{beats} words are an event: word b has {points}. "
        f"There is no signal for the last one: words are counted, and the first one after a reset begins an event"
    )
    what += f"; a word is taken every {fold.chunks} clocks at most" if fold.chunks > 1 else ""
    keys = {"keys_per_clock": fold.keys} if fold.chunks > 1 else {}
    return {
        "about": f"takes an event as {beats} words of {together} of its {fold.points} points, "
        f"gives {'as many words' if by_beat else 'a word'} per event",
        "flavour": flavour,
        "top": layout.top,
        "clock": {**control["clock"], "period_ns": clock_ns},
        "reset": control["reset"],
        "control": control["control"],
        "event": {"points": fold.points, "points_per_clock": together, **keys, "beats": beats, "clocks": fold.interval},
        "handshake": _HANDSHAKE,
        "value": _VALUE,
        "streams": {
            IN: {"direction": "in", **_stream(IN, sides[0], flavour, ways), "words_per_event": beats, "order": what}
            | {"tensors": given, "values": [*_values(sides[0]), *(_entry(one.port, one.index, one) for one in ways)]},
            out: {"direction": "out", **_stream(out, sides[1], flavour), "words_per_event": answers, "order": came}
            | {"tensors": made, "values": _values(sides[1])},
        },
    }


def answers_of(fold: Folding, outs: Side) -> tuple[str, int]:
    """Port of the outputs `outs` of the last kernel, and words there for each event: those of points come by beats."""
    by_beat = any(fold.axes.get(group.tensor) is not None for group, _ in outs)
    return (OUT_BEAT, fold.beats) if by_beat else (OUT, 1)


def sides_of(tree: Mapping[str, Any]) -> dict[str, tuple[Value, ...]]:
    """The values of each stream, from what `ports_of` made.

    Raises:
        KeyError, TypeError, AttributeError: a key lacks, or has a value of another kind.
        ValueError: the values of a stream do not lie side by side in a word.
    """
    sides = {}
    for name, stream in tree["streams"].items():
        values, low = tuple(map(_value_of, stream["values"])), 0
        for value in values:
            if value.width and value.low != low:
                raise ValueError(f"stream {name}: bits {value.low} of {value.port} {value.index} should be {low}")
            low += value.width
        if low != stream["width"]:
            raise ValueError(f"stream {name}: its values have {low} bits, and a word {stream['width']}")
        sides[name] = values
    return sides


def _value_of(entry: Mapping[str, Any]) -> Value:
    bits = entry["low"], bool(entry["signed"]), entry["integer_bits"], entry["fraction_bits"]
    return Value(entry["tensor"], tuple(entry["index"]), *bits)


def _verilog(top: str) -> dict[str, Any]:
    reset = {
        "port": "rst",
        "active": "high",
        "synchronous": True,
        "about": "one edge is enough, at any time; it forgets all events inside. Offer no word while it is high",
    }
    return {"clock": {"port": "clk", "edge": "rising"}, "reset": reset, "control": f"module {top}; nothing to start"}


def _cxx(top: str) -> dict[str, Any]:
    control = (
        f"function {top}: Vitis HLS makes ap_start, ap_done, ap_idle and ap_ready of it (ap_ctrl_hs), and a port "
        "events: how many events a call takes, held until ap_done"
    )
    reset = {"port": "ap_rst_n", "active": "low", "synchronous": True, "about": "as Vitis HLS makes it"}
    return {"clock": {"port": "ap_clk", "edge": "rising"}, "reset": reset, "control": control}


def _stream(name: str, side: Side, flavour: str, ways: Sequence[Value] = ()) -> dict[str, Any]:
    """Names and width of the signals; Verilog has a valid and a ready of in and out, C++ a stream of AXI."""
    width = sum(value.width for _, values in side for value in values) + sum(value.width for value in ways)
    bits = max(width, 1)  # a signal has one even where no value does
    if flavour == "vitis":
        bytes_of = 8 * math.ceil(bits / 8)
        signals = {"data": f"{name}_TDATA", "valid": f"{name}_TVALID", "ready": f"{name}_TREADY"}
        return {**signals, "width": width, "data_width": bytes_of, "last": None}
    head = name.partition("_")[0]
    signals = {"data": name, "valid": f"{head}_valid", "ready": f"{head}_ready"}
    return {**signals, "width": width, "data_width": bits, "last": "out_last" if name == OUT_BEAT else None}


def _tensor(group: Group, port: Port, axis: int | None) -> dict[str, Any]:
    """What a tensor is called in the model and in `values`, and how it is cut into words."""
    return {
        "tensor": group.tensor,
        "name": port.name,
        "shape": list(port.shape),
        "shape_of_word": list(group.shape),
        "axis_of_points": axis,
        "format": port.format,
    }


def _values(side: Side) -> list[dict[str, Any]]:
    return [
        _entry(group.tensor, index, value)
        for group, values in side
        for index, value in zip(np.ndindex(*group.shape), values, strict=True)
    ]


def _entry(tensor: str, index: Sequence[int], value: Value) -> dict[str, Any]:
    return {
        "tensor": tensor,
        "index": list(index),
        "low": value.low,
        "width": value.width,
        "signed": bool(value.signed),
        "integer_bits": value.integer_bits,
        "fraction_bits": value.fraction_bits,
    }
