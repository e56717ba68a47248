"""The C simulation's sources: the written top function, its layer calls spread over several files.

hls4ml writes one C++ function that calls one template per layer. Compiling it is nearly all of the time before a
simulation, and one compiler uses one core. Here each call moves, word for word, into a small function of its own; these
are dealt over as many files as there are cores, and the top function calls them instead. What is compiled is what was
written: a call that is not understood is an error, not left out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from hls.backends.simulators.cxx import write_changed
from hls.errors import HlsError

_CALL = re.compile(r"^\s*(?P<call>nnet::\w+<[^;]*>\((?P<arguments>[\w, ]+)\);)\s*// (?P<layer>\w+)\s*$")
_ARRAY = re.compile(r"(?P<type>\w+) (?P<name>\w+)\[(?P<size>\d+(?:\*\d+)*)\]")
_ALIAS = re.compile(r"auto& (\w+) = (\w+);")  # a Reshape: the same array under another name
_WEIGHT = re.compile(r"^(?P<type>\w+) (?P<name>\w+)\[(?P<size>\d+)\];", re.MULTILINE)
_GUARD = re.compile(r"^#ifndef (\w+_H_)$", re.MULTILINE)
_COST = {"softmax": 6, "softmax_multidim": 6, "einsum": 3, "einsum_dense": 3, "dense": 3}  # of compilation, roughly

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
        raise HlsError(f"{path} is missing; write the project first (scripts/export_hls.py)")
    text = path.read_text()
    signature = text.partition(f"void {name}(")[2].partition(")")[0]
    ports = tuple(_arrays(signature))
    calls = []
    body = text.partition("// hls-fpga-machine-learning insert layers")[2]
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
            f"{path}: found {len(ports)} ports and {len(calls)} layer calls; is it an hls4ml io_parallel project?"
        )
    return Top(name, text, ports, arrays, tuple(calls))


def write_sources(top: Top, project: Path, folder: Path, parts: int) -> list[Path]:
    """Write ``top.cpp`` and ``part<k>.cpp`` and return them, the slowest to compile first."""
    weights = {match["name"]: match for match in _weight_matches(project)}
    guards = [guard for path in _weight_headers(project) for guard in _GUARD.findall(path.read_text())]
    wrappers = {index: _wrapper(top, call, index, set(weights)) for index, call in enumerate(top.calls)}
    groups = _deal(top.calls, parts)
    externs = "".join(f"extern {w['type']} {w['name']}[{w['size']}];\n" for w in weights.values())
    skip = "".join(f"#define {guard}\n" for guard in guards)
    # parameters.h defines objects: in a nameless namespace each file has its own
    head = f'#include "defines.h"\n{_includes(project)}{skip}{externs}namespace {{\n#include "parameters.h"\n}}\n\n'
    written = []
    for number, group in enumerate(groups):
        body = "\n".join(f"{wrappers[i][0]} {{ {top.calls[i].statement} }}" for i in group)
        written.append(write_changed(folder / f"part{number}.cpp", head + body + "\n"))
    declarations = "".join(f"{wrapper[0]};\n" for wrapper in wrappers.values())
    return [
        *written,
        write_changed(folder / "top.cpp", _top_source(top, declarations, {i: w[1] for i, w in wrappers.items()})),
    ]


def _wrapper(top: Top, call: Call, index: int, weights: set[str]) -> tuple[str, str]:
    """Signature and call of the function around layer call number `index`."""
    names = [name for name in call.arguments if name not in weights]
    unknown = [name for name in names if name not in top.arrays]
    if unknown:
        raise HlsError(
            f"firmware/{top.name}.cpp: layer '{call.layer}' uses '{unknown[0]}', which is no array of the top function"
        )
    parameters = ", ".join(f"{top.arrays[name].type} *{name}" for name in names)
    return f"void csim_{index}_{call.layer}({parameters})", f"csim_{index}_{call.layer}({', '.join(names)});"


def _top_source(top: Top, declarations: str, replacement: dict[int, str]) -> str:
    """The top function with its calls replaced, followed by a loop over events."""
    lines, index = [], 0
    head, mark, body = top.text.partition("// hls-fpga-machine-learning insert layers")
    for line in body.splitlines():
        if _CALL.match(line):
            output = top.output_of(top.calls[index])
            tap = f" CSIM_TAP({index}, {output.name}, {output.size})" if output else ""
            line, index = replacement[index] + tap, index + 1
        lines.append(line)
    opening = head.replace(f"void {top.name}(", f"{_TAPS}\n{declarations}\nvoid {top.name}(", 1)
    return opening + mark + "\n".join(lines) + _run_source(top)


_TAPS = """
#ifdef CSIM_TRACE
static thread_local double *const *csim_taps;
static thread_local long csim_event;
#define CSIM_TAP(K, ARRAY, SIZE) \\
    for (long csim_i = 0; csim_i < (SIZE); csim_i++) csim_taps[K][csim_event * (SIZE) + csim_i] = double(ARRAY[csim_i]);
#else
#define CSIM_TAP(K, ARRAY, SIZE)
#endif
"""


def _run_source(top: Top) -> str:
    """``csim_run(weights folder, events, inputs, outputs, taps)``: arrays of doubles, one row per event.

    Every name starts with csim_, for the ports are called as the model calls them.
    """
    outputs = _output_names(top)
    inputs = [port for port in top.ports if port.name not in outputs]
    results = [port for port in top.ports if port.name in outputs]
    fill = [
        _copy(p, f"{p.name}[csim_i] = {p.type}(csim_data[{k}][csim_n * {p.size} + csim_i])")
        for k, p in enumerate(inputs)
    ]
    read = [
        _copy(p, f"csim_result[{k}][csim_n * {p.size} + csim_i] = double({p.name}[csim_i])")
        for k, p in enumerate(results)
    ]
    declare = "\n    ".join(f"static thread_local {port.type} {port.name}[{port.size}];" for port in top.ports)
    body = "\n        ".join([*fill, f"{top.name}({', '.join(port.name for port in top.ports)});", *read])
    return f"""
const char *{WEIGHTS_FOLDER} = "";

extern "C" __attribute__((visibility("default"))) void csim_run(const char *csim_weights, long csim_events,
                                                                double *const *csim_data, double *const *csim_result,
                                                                double *const *csim_rows) {{
    {WEIGHTS_FOLDER} = csim_weights;
    {declare}
#ifdef CSIM_TRACE
    csim_taps = csim_rows;
#endif
    for (long csim_n = 0; csim_n < csim_events; csim_n++) {{
#ifdef CSIM_TRACE
        csim_event = csim_n;
#endif
        {body}
    }}
}}
"""


def _copy(port: Array, statement: str) -> str:
    return f"for (long csim_i = 0; csim_i < {port.size}; csim_i++) {statement};"


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


def _includes(project: Path) -> str:
    """The headers that parameters.h includes, other than weights."""
    lines = (project / "firmware" / "parameters.h").read_text().splitlines()
    return "".join(f"{line}\n" for line in lines if line.startswith("#include") and "weights/" not in line)


def _weight_headers(project: Path) -> list[Path]:
    return sorted((project / "firmware" / "weights").glob("*.h"))


def _weight_matches(project: Path) -> list[re.Match[str]]:
    return [match for path in _weight_headers(project) for match in _WEIGHT.finditer(path.read_text())]


def _arrays(text: str) -> list[Array]:
    return [
        Array(match["type"], match["name"], math.prod(map(int, match["size"].split("*"))))
        for match in _ARRAY.finditer(text)
    ]
