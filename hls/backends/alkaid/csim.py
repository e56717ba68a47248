"""C simulation of an alkaid project: alkaid's own C++ for Vitis HLS, its statements dealt over many small functions.

alkaid writes the whole model as one function with a statement per operation. g++ needs more than linear time and
memory for a function: of 54,000 operations it had not compiled one after 12 minutes and 3 GB. Here the statements move,
word for word, into functions of `STATEMENTS`, and these into files that all cores compile; a value that a later
function needs goes through an array of its own type. What is compiled is what was written: a line that is not
understood is an error, not left out.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hls.backends.simulators import cxx
from hls.errors import HlsError
from hls.templates import fill
from qformers.progress import Reporter, Silent

FLAGS = ("-O1", "-w", "-fPIC", "-std=c++17", "-fno-gnu-unique", "-fvisibility-inlines-hidden")
STATEMENTS = 100  # in a function
FUNCTIONS = 20  # in a file: each file reads the templates of ap_fixed once
ROWS = 64  # events per call
HEADER, PART, TOP = (Path(__file__).with_name(name) for name in ("csim_parts.hh", "csim_part.cc", "csim_top.hh"))
NAME = "model"  # of alkaid's function; the library is named by its content

_DEFINITION = re.compile(r"^ +(?P<type>ap_u?fixed<-?\d+,-?\d+>) v(?P<number>\d+) = (?P<value>[^;]+);(?: // \S+)?$")
_OUTPUT = re.compile(r"^ +model_out\[\d+\] = (?P<value>[^;]+);$")
_TABLE = re.compile(r"^ +static (?P<text>const ap_u?fixed<-?\d+,-?\d+> (?P<name>table_\w+)\[\] = \{[^}]*\};)$")
_VARIABLE = re.compile(r"\bv(\d+)\b")
_TABLE_USE = re.compile(r"\btable_\w+\b")
_TYPES = re.compile(r"// (?P<inputs>ap_u?fixed<-?\d+,-?\d+>) -> (?P<outputs>ap_u?fixed<-?\d+,-?\d+>)$")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Statement:
    """A line of alkaid's function; `number` and `type` are those of the variable that it defines, if it does."""

    text: str
    uses: frozenset[int]
    tables: frozenset[str]
    number: int | None = None
    type: str | None = None


@dataclass(frozen=True)
class Function:
    """alkaid's function, read."""

    preamble: str  # what stands before it in its header
    inputs: str  # C++ type of an input
    outputs: str
    tables: dict[str, str]  # name -> definition
    statements: tuple[Statement, ...]


def compile_comb(comb: Path, folder: Path, reporter: Reporter | None = None) -> Path:
    """Write alkaid's C++ of an arithmetic and compile it to a library; what was compiled before is taken again, and a
    compilation that was stopped goes on.

    Args:
        comb: alkaid's file of operations, ``comb.json.gz``.
        folder: takes sources and library; those of other operations are removed.
        reporter: told of each compiled file.

    Raises:
        CompileError: with the last lines of the compiler and the path of its log.
        HlsError: alkaid wrote a line that is not understood.
    """
    version = importlib.metadata.version("alkaid")
    key = cxx.digest([comb, Path(__file__), HEADER, PART, TOP], version, cxx.compiler(), *FLAGS)[:16]
    library = folder / f"{NAME}-{key}.so"
    if cxx.whole(library):
        return library
    if not any(folder.glob(f"parts/*-{key}.o")):  # nothing of it is there that a stopped compilation left
        shutil.rmtree(folder, ignore_errors=True)
    sources = _write(comb, folder)
    options = (*FLAGS, f"-I{folder / 'src/static/ap_types'}", f"-I{folder / 'parts'}", f"-I{folder / 'sim'}")
    jobs = [cxx.Job(source, folder / "parts" / f"{source.stem}-{key}.o") for source in sources]
    cxx.compile_all(jobs, options, reporter or Silent())
    cxx.link([job.target for job in jobs], library, folder / "link.log")
    for job in jobs:
        cxx.remove_older(job.target)
    return library


def run_library(library: Path, rows: Array, outputs: int, reporter: Reporter | None = None) -> Array:
    """Simulate events on all cores.

    Args:
        library: from `compile_comb`.
        rows: (n, input values), representable in the ports.
        outputs: values per event.
        reporter: told of finished events.

    Returns:
        (n, output values).
    """
    function = ctypes.CDLL(str(library.resolve())).inference_f64
    function.restype, function.argtypes = None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    rows, results = np.ascontiguousarray(rows, np.float64), np.zeros((len(rows), outputs))
    tick = (reporter or Silent()).task("simulate", len(rows))

    def part(start: int) -> int:
        some, out = rows[start : start + ROWS], results[start : start + ROWS]
        function(some.ctypes.data, out.ctypes.data, len(some), 1)
        return len(some)

    with ThreadPoolExecutor(cxx.cores()) as pool:
        for done in as_completed([pool.submit(part, start) for start in range(0, len(rows), ROWS)]):
            tick(done.result())
    return results


def read_function(text: str) -> Function:
    """Read the header that alkaid writes.

    Raises:
        HlsError: a line is none of a table, a definition or an output.
    """
    head, _, body = text.partition("template <typename inp_t, typename out_t>")
    first, *lines = body.strip().splitlines()
    types = _TYPES.search(first)
    if types is None:
        raise HlsError(f"the C++ that alkaid wrote is not understood: {first!r}; the versions go together, see setup")
    tables: dict[str, str] = {}
    statements = []
    for line in lines:
        if table := _TABLE.match(line):
            tables[table["name"]] = table["text"]
        elif defined := _DEFINITION.match(line):
            statements.append(_statement(line, defined["value"], int(defined["number"]), defined["type"]))
        elif output := _OUTPUT.match(line):
            statements.append(_statement(line, output["value"]))
        elif line.strip() not in ("", "}", ";", "} // namespace comb_logic") and "#pragma HLS" not in line:
            raise HlsError(f"a line of the C++ that alkaid wrote is not understood: {line.strip()[:100]!r}")
    return Function(head, types["inputs"], types["outputs"], tables, tuple(statements))


def _statement(line: str, value: str, number: int | None = None, kind: str | None = None) -> Statement:
    uses = frozenset(int(number) for number in _VARIABLE.findall(value))
    return Statement(line.partition(" //")[0].strip(), uses, frozenset(_TABLE_USE.findall(value)), number, kind)


@dataclass(frozen=True)
class Part:
    """Some of alkaid's statements, one after the other, in a function of their own."""

    number: int
    statements: tuple[Statement, ...]

    @property
    def taken(self) -> list[int]:
        """Variables of other parts that it reads."""
        own = {statement.number for statement in self.statements}
        return sorted(frozenset[int]().union(*(statement.uses for statement in self.statements)) - own)


def _write(comb: Path, folder: Path) -> list[Path]:
    """alkaid's HLS project and, in ``parts/``, its function in parts; returns the files to compile."""
    from alkaid.codegen import HLSModel
    from alkaid.types import CombLogic

    HLSModel(CombLogic.load(comb), folder, NAME, "vitis").write({})
    header = (folder / f"src/{NAME}.hh").read_text()
    return [*write_parts(header, NAME, folder / "parts"), folder / f"sim/{NAME}_bridge.cc"]


def write_parts(header: str, name: str, folder: Path) -> list[Path]:
    """Deal the statements of alkaid's function over many small ones.

    Args:
        header: as alkaid wrote it.
        name: of its function.
        folder: takes ``<name>.hh``, to be included in place of alkaid's header: the same function, which calls the
            parts; and their files.

    Returns:
        Files to compile.

    Raises:
        HlsError: alkaid wrote a line that is not understood.
    """
    function = read_function(header)
    every = range(0, len(function.statements), STATEMENTS)
    parts = [Part(at // STATEMENTS, function.statements[at : at + STATEMENTS]) for at in every]
    kept, arrays = _kept(parts)
    declared = fill(
        HEADER,
        preamble=function.preamble,
        inputs=function.inputs,
        outputs=function.outputs,
        arrays=arrays,
        name=name,
        parts=len(parts),
    )
    cxx.write_changed(folder / "parts.hh", declared)
    cxx.write_changed(folder / f"{name}.hh", fill(TOP, name=name, parts=len(parts)))
    sources = []
    for at in range(0, len(parts), FUNCTIONS):
        some = parts[at : at + FUNCTIONS]
        used = frozenset[str]().union(*(statement.tables for part in some for statement in part.statements))
        text = fill(PART, name=name, tables=[function.tables[table] for table in sorted(used)], parts=some, kept=kept)
        sources.append(cxx.write_changed(folder / f"part{at // FUNCTIONS}.cc", text))
    return sources


def _kept(parts: Sequence[Part]) -> tuple[dict[int, str], list[tuple[str, str, int]]]:
    """Where values are kept that another part needs: number -> element of an array of `State`; and these arrays, as
    (type of an element, name, length)."""
    defined = {s.number: (part.number, s.type) for part in parts for s in part.statements if s.number is not None}
    across = {use for part in parts for s in part.statements for use in s.uses if defined[use][0] != part.number}
    kept: dict[int, str] = {}
    counts: dict[str, int] = {}
    for number in sorted(across):
        kind = str(defined[number][1])
        kept[number] = f"{_array(kind)}[{counts.setdefault(kind, 0)}]"
        counts[kind] += 1
    return kept, [(kind, _array(kind), count) for kind, count in counts.items()]


def _array(kind: str) -> str:
    """``ap_fixed<9,-3>`` -> ``fixed_9_m3``."""
    return kind.removeprefix("ap_").replace("<", "_").replace(",", "_").replace("-", "m").rstrip(">")
