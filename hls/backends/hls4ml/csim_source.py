"""The C simulation's sources: the written top function, its layer calls spread over several files.

hls4ml writes one C++ function that calls one template per layer. Compiling it is nearly all of the time before a
simulation, and one compiler uses one core. Here each call moves, word for word, into a small function of its own; these
are dealt over as many files as there are cores, and the top function calls them instead. What is compiled is what was
written: a call that is not understood is an error, not left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hls.backends.simulators.cxx import write_changed
from hls.errors import HlsError
from hls.templates import fill

_CALL = re.compile(r"^\s*(?P<call>nnet::\w+<[^;]*>\((?P<arguments>[\w, ]+)\);)\s*// (?P<layer>\w+)\s*$")
_ARRAY = re.compile(r"(?P<type>\w+) (?P<name>\w+)\[(?P<size>\d+(?:\*\d+)*)\]")
_ALIAS = re.compile(r"auto& (\w+) = (\w+);")  # a Reshape: the same array under another name
_WEIGHT = re.compile(r"^(?P<type>\w+) (?P<name>\w+)\[(?P<size>\d+)\];", re.MULTILINE)
_GUARD = re.compile(r"^#ifndef (\w+_H_)$", re.MULTILINE)
_COST = {"softmax": 6, "softmax_multidim": 6, "einsum": 3, "einsum_dense": 3, "dense": 3}  # of compilation, roughly

LAYERS = "// hls-fpga-machine-learning insert layers"  # hls4ml's comment in front of the layer calls
PART, TOP = Path(__file__).with_name("csim_part.cc"), Path(__file__).with_name("csim_top.cc")
WEIGHTS_FOLDER = "csim_weights_folder"  # C++ variable in place of a path fixed at compile time: projects may be moved


@dataclass(frozen=True)
class Array:
    """A C++ array of the top function."""

    type: str
    name: str
    size: int


@dataclass(frozen=True)
class Call:
    """One layer: its statement, and the arrays and weights that it names."""

    layer: str
    statement: str
    arguments: tuple[str, ...]

    @property
    def cost(self) -> int:
        """How long it compiles, in arbitrary units."""
        return _COST.get(self.statement.removeprefix("nnet::").split("<")[0], 1)


@dataclass(frozen=True)
class Top:
    """The top function as written."""

    name: str
    text: str
    ports: tuple[Array, ...]  # inputs, then outputs
    arrays: dict[str, Array]  # ports and layer outputs, by variable name
    calls: tuple[Call, ...]

    def output_of(self, call: Call) -> Array | None:
        """The array that a call writes: the last of its arguments that is one."""
        named = [self.arrays[name] for name in call.arguments if name in self.arrays]
        return named[-1] if named else None


def read_top(project: Path, name: str) -> Top:
    """Read ``firmware/<name>.cpp``.

    Raises:
        HlsError: the file is missing, or has a statement that is not understood.
    """
    path = project / "firmware" / f"{name}.cpp"
    if not path.is_file():
        raise HlsError(f"{path} is missing; write the project first (qformers export)")
    text = path.read_text()
    signature = text.partition(f"void {name}(")[2].partition(")")[0]
    ports = tuple(_arrays(signature))
    calls = []
    body = text.partition(LAYERS)[2]
    for line in body.splitlines():
        match = _CALL.match(line)
        if match:
            arguments = tuple(part.strip() for part in match["arguments"].split(","))
            calls.append(Call(match["layer"], match["call"], arguments))
        elif "nnet::" in line:
            raise HlsError(f"{path}: a layer call is not understood, so the simulation cannot be built: {line.strip()}")
    arrays = {array.name: array for array in (*ports, *_arrays(body))}
    for alias, source in _ALIAS.findall(body):
        arrays[alias] = Array(arrays[source].type, alias, arrays[source].size)
    if not ports or not calls:
        raise HlsError(
            f"{path} has {len(ports)} ports and {len(calls)} layer calls; is it an hls4ml io_parallel project?"
        )
    return Top(name, text, ports, arrays, tuple(calls))


@dataclass(frozen=True)
class Layer:
    """The function around a layer call.

    Attributes:
        index: number of the call.
        call: what it does.
        arrays: of the top function, that it takes.
        output: the one that it writes, if it does.
    """

    index: int
    call: Call
    arrays: tuple[Array, ...]
    output: Array | None

    @property
    def name(self) -> str:
        """Of the C++ function."""
        return f"csim_{self.index}_{self.call.layer}"

    @property
    def parameters(self) -> str:
        """Of the C++ function."""
        return ", ".join(f"{array.type} *{array.name}" for array in self.arrays)


def write_sources(top: Top, project: Path, folder: Path, parts: int) -> list[Path]:
    """Write ``top.cpp`` and ``part<k>.cpp`` and return them, the slowest to compile first."""
    weights = {match["name"]: match.groupdict() for match in _weight_matches(project)}
    shared: dict[str, Any] = {
        "includes": _includes(project),
        "guards": [guard for path in _weight_headers(project) for guard in _GUARD.findall(path.read_text())],
        "weights": list(weights.values()),
    }
    layers = [_layer(top, call, index, set(weights)) for index, call in enumerate(top.calls)]
    written = []
    for number, group in enumerate(_deal(top.calls, parts)):
        text = fill(PART, **shared, layers=[layers[index] for index in group])
        written.append(write_changed(folder / f"part{number}.cpp", text))
    return [*written, write_changed(folder / "top.cpp", _top_source(top, layers))]


def _layer(top: Top, call: Call, index: int, weights: set[str]) -> Layer:
    names = [name for name in call.arguments if name not in weights]
    unknown = [name for name in names if name not in top.arrays]
    if unknown:
        raise HlsError(
            f"firmware/{top.name}.cpp: layer '{call.layer}' uses '{unknown[0]}', which is no array of the top function"
        )
    return Layer(index, call, tuple(top.arrays[name] for name in names), top.output_of(call))


def _top_source(top: Top, layers: Sequence[Layer]) -> str:
    """The top function with its calls replaced, followed by a loop over events.

    The loop is ``csim_run(weights folder, events, inputs, outputs, taps)``: arrays of doubles, one row per event.
    """
    before, _, signature = top.text.partition(f"void {top.name}(")
    head, mark, body = signature.partition(LAYERS)
    first, *lines = body.splitlines()
    calls = iter(layers)
    outputs = _output_names(top)
    return fill(
        TOP,
        before=before,
        name=top.name,
        opening=head + mark + first,
        body=[next(calls) if _CALL.match(line) else line for line in lines],
        layers=layers,
        folder=WEIGHTS_FOLDER,
        ports=top.ports,
        inputs=[port for port in top.ports if port.name not in outputs],
        results=[port for port in top.ports if port.name in outputs],
    )


def _output_names(top: Top) -> set[str]:
    """Ports that a layer writes."""
    written = {output.name for call in top.calls if (output := top.output_of(call))}
    return {port.name for port in top.ports if port.name in written}


def _deal(calls: tuple[Call, ...], parts: int) -> list[list[int]]:
    """Numbers of the calls per file, so that the files take about equally long."""
    groups: list[list[int]] = [[] for _ in range(max(1, min(parts, len(calls))))]
    for index in sorted(range(len(calls)), key=lambda i: -calls[i].cost):
        min(groups, key=lambda group: sum(calls[i].cost for i in group)).append(index)
    return groups


def _includes(project: Path) -> list[str]:
    """The lines by which parameters.h includes headers other than weights."""
    lines = (project / "firmware" / "parameters.h").read_text().splitlines()
    return [line for line in lines if line.startswith("#include") and "weights/" not in line]


def _weight_headers(project: Path) -> list[Path]:
    return sorted((project / "firmware" / "weights").glob("*.h"))


def _weight_matches(project: Path) -> list[re.Match[str]]:
    return [match for path in _weight_headers(project) for match in _WEIGHT.finditer(path.read_text())]


def _arrays(text: str) -> list[Array]:
    return [
        Array(match["type"], match["name"], math.prod(map(int, match["size"].split("*"))))
        for match in _ARRAY.finditer(text)
    ]
