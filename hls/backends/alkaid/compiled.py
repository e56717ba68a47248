"""alkaid's arithmetic compiled for many events at once: the fast way to the values of firmware, on one core of a CPU.

alkaid's interpreter looks at an operation anew for every few events; its C++ for Vitis HLS takes one event after the
other. Here each operation becomes one statement on a **vector**: the same value of 16 events (of 8 where values need
more than 32 bits), whole numbers in the steps of its format, as the interpreter has them. Statements are dealt over
functions, as in `csim`; a value that a later function needs goes through an array.

A `Program` is one or more of these logics with a memory of vectors between them: for each beat of a logic it says where
its inputs stand and where its outputs go. A model without beats is a program of one logic and one beat.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.csim import Part, Statement
from hls.backends.simulators import cxx
from hls.errors import HlsError
from hls.templates import fill
from qformers.progress import Reporter, Silent

FLAGS = ("-O1", "-w", "-fPIC", "-std=c++17", "-fwrapv", "-march=native")
STATEMENTS = 100  # in a function
FUNCTIONS = 40  # in a file
EVENTS = 2048  # of a call
NARROW, WIDE = 32, 64  # bits of a number in a vector
VECTOR = 64  # bytes
HEADER, PART, MAIN = (Path(__file__).with_name(f"compiled{rest}") for rest in ("_parts.hh", "_part.cc", "_main.cc"))
NAME = "arithmetic"  # of the library

Array = NDArray[np.float64]
Places = NDArray[np.int32]


@dataclass(frozen=True)
class Forms:
    """Fixed-point formats side by side; arrays (k,): signed, integer bits, fraction bits."""

    signed: NDArray[np.int64]
    integer: NDArray[np.int64]
    fraction: NDArray[np.int64]

    @classmethod
    def of(cls, kifs: Sequence[Any]) -> Forms:
        """Of alkaid's (3, k)."""
        signed, integer, fraction = (np.ravel(part).astype(np.int64) for part in kifs)
        return cls(signed, integer, fraction)


@dataclass(frozen=True)
class Step:
    """A logic of a program.

    Attributes:
        comb: alkaid's CombLogic.
        given: formats of what stands at its inputs.
        ins: (beats, inputs), places in the memory that each beat reads.
        outs: (beats, outputs), places that each beat writes.
        left: (outputs,), bits by which an output is shifted left, since its place has finer steps.
        sums: (k, terms), places of which the sum goes to (k,) `totals` behind the last beat.
        totals: see `sums`.
        largest: (k, terms), places of which the largest value goes to (k,) `tops` behind the last beat.
        tops: see `largest`.
        gathers: (k, 4): a place that then gets a value from one of several, a place with its number, bits behind the
            point of this, and the row of `slots` that says where the several stand.
        scatters: likewise, a value that goes to one of several places.
        slots: (m, N), places.
    """

    comb: Any
    given: Forms
    ins: Places
    outs: Places
    left: NDArray[np.int64]
    sums: Places
    totals: Places
    largest: Places
    tops: Places
    gathers: Places
    scatters: Places
    slots: Places


@dataclass(frozen=True)
class Program:
    """Logics one after the other.

    Attributes:
        steps: in order.
        places: of the memory; values of an event stand in the first ones.
        given: formats of the values of an event.
        outputs: (m,), places of the outputs.
        fraction: (m,), fraction bits of the outputs.
        fixed: places that hold `constants` all the time.
        constants: whole numbers.
    """

    steps: tuple[Step, ...]
    places: int
    given: Forms
    outputs: Places
    fraction: NDArray[np.int64]
    fixed: Places
    constants: NDArray[np.int64]

    @classmethod
    def of(cls, comb: Any, given: Forms) -> Program:
        """Of one logic, which takes an event at a time.

        Args:
            comb: alkaid's CombLogic.
            given: formats of its inputs.
        """
        inputs, outputs = comb.shape
        ins, outs = np.arange(inputs, dtype=np.int32), np.arange(inputs, inputs + outputs, dtype=np.int32)
        left, none, moves = np.zeros(outputs, np.int64), np.zeros((0, 1), np.int32), np.zeros((0, 4), np.int32)
        step = Step(comb, given, ins[None], outs[None], left, none, none[:, 0], none, none[:, 0], moves, moves, none)
        return cls((step,), inputs + outputs, given, outs, out_fractions(comb), none[:, 0], np.zeros(0, np.int64))


def out_fractions(comb: Any) -> NDArray[np.int64]:
    """(outputs,): fraction bits in which the outputs of a logic come."""
    fractions = [0 if at < 0 else _kif(comb.ops[at])[2] for at in comb.out_idxs]
    return np.asarray(fractions, np.int64) - np.asarray(comb.out_shifts, np.int64)


def _kif(op: Any) -> tuple[int, int, int]:
    signed, integer, fraction = op.qint.kif
    return int(signed), int(integer), int(fraction)


def compile_program(program: Program, sources: Sequence[Path], folder: Path, reporter: Reporter | None = None) -> Path:
    """Write and compile a program to a library; what was compiled before is taken again.

    Args:
        program: to compile.
        sources: files of which it was made; while they are the same, the library is.
        folder: takes C++ and library.
        reporter: told of each compiled file.

    Raises:
        CompileError: with the last lines of the compiler and the path of its log.
        HlsError: an operation that is not known, or values of more bits than a vector holds.
    """
    own = [Path(__file__), HEADER, PART, MAIN]
    words = importlib.metadata.version("alkaid"), cxx.compiler(), _processor(), *FLAGS
    key = cxx.digest([*sources, *own], *words)[:16]
    library = folder / f"{NAME}-{key}.so"
    if cxx.whole(library):
        return library
    files = _write(program, folder)
    jobs = [cxx.Job(file, folder / f"{file.stem}-{key}.o") for file in files]
    cxx.compile_all(jobs, (*FLAGS, f"-I{folder}"), reporter or Silent())
    cxx.remove_older(library)
    cxx.link([job.target for job in jobs], library, folder / "link.log")
    for job in jobs:
        cxx.remove_older(job.target)
    return library


def _processor() -> str:
    """What the compiler makes use of on this machine; a library of another one may not run."""
    command = [cxx.compiler(), "-march=native", "-dM", "-E", "-x", "c++", "/dev/null"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603


def run_program(program: Program, library: Path, rows: Array, reporter: Reporter | None = None) -> Array:
    """Values of events, on all cores.

    Args:
        program: as it was compiled.
        library: from `compile_program`.
        rows: (n, values of an event), in the formats of the program.
        reporter: told of finished events.

    Returns:
        (n, m) outputs.

    Raises:
        HlsError: a value outside of a table, which alkaid's formats exclude, or a number that is none of an order.
    """
    function = ctypes.CDLL(str(library.resolve())).run
    function.restype, pointer, size = ctypes.c_int64, ctypes.c_void_p, ctypes.c_size_t
    function.argtypes = [pointer, pointer, pointer, size, size, pointer, size, pointer, size, pointer]
    tables = [np.ascontiguousarray(table, np.int32) for step in program.steps for table in _tables(step)]
    shapes = np.array([_shape(step) for step in program.steps], np.int64)
    pointers = (pointer * len(tables))(*(table.ctypes.data for table in tables))
    scales = 2.0**program.given.fraction, 2.0**-program.fraction
    outputs, fixed = (np.ascontiguousarray(places, np.int32) for places in (program.outputs, program.fixed))
    constants = np.ascontiguousarray(program.constants, np.int64)
    rows, results = np.ascontiguousarray(rows, np.float64), np.zeros((len(rows), len(outputs)))
    tick = (reporter or Silent()).task("compiled arithmetic", len(rows))

    def part(start: int) -> int:
        some, out = rows[start : start + EVENTS], results[start : start + EVENTS]
        beyond = function(
            some.ctypes.data, out.ctypes.data, scales[0].ctypes.data, len(some), rows.shape[1], scales[1].ctypes.data,
            len(outputs), outputs.ctypes.data, program.places, ctypes.byref(arguments),
        )  # fmt: skip
        if beyond:
            raise HlsError("a value is outside of the table that looks it up, or an order names a point that is none")
        return len(some)

    arguments = _Steps(
        len(program.steps), shapes.ctypes.data, ctypes.addressof(pointers), len(fixed), fixed.ctypes.data,
        constants.ctypes.data,
    )  # fmt: skip
    with ThreadPoolExecutor(cxx.cores()) as pool:
        for done in as_completed([pool.submit(part, start) for start in range(0, len(rows), EVENTS)]):
            tick(done.result())
    return results


def _tables(step: Step) -> tuple[Places, ...]:
    """As the library takes them."""
    sums = step.sums, step.totals, step.largest, step.tops
    return step.ins, step.outs, *sums, step.gathers, step.scatters, step.slots


def _shape(step: Step) -> list[int]:
    """Numbers of beats, inputs and outputs of a beat, sums, largest values, moves; of terms and of slots."""
    counted = step.ins, step.ins[0], step.outs[0], step.totals, step.tops, step.gathers, step.scatters
    return [*map(len, counted), step.sums.shape[1], step.largest.shape[1], step.slots.shape[1]]


class _Steps(ctypes.Structure):
    """Of the library's ``run``: how many steps, their shapes and their tables; how many constants, where, and which."""

    _fields_ = (
        ("count", ctypes.c_size_t), ("shapes", ctypes.c_void_p), ("tables", ctypes.c_void_p),
        ("constants", ctypes.c_size_t), ("fixed", ctypes.c_void_p), ("values", ctypes.c_void_p),
    )  # fmt: skip


def _write(program: Program, folder: Path) -> list[Path]:
    """The C++ of a program; returns the files to compile."""
    codes = [_Code(step) for step in program.steps]
    bits = max(code.bits for code in codes)
    if bits > WIDE:
        raise HlsError(f"a value of this firmware needs {bits} bits on its way, {WIDE} can be held here")
    number = NARROW if bits <= NARROW else WIDE
    parts = [code.parts("" if number == NARROW else "LL") for code in codes]
    kept = [_kept(some) for some in parts]
    counts = [len(some) for some in parts]
    header = fill(HEADER, bits=number, bytes=VECTOR, kept=max((size for _, size in kept), default=0) + 1, parts=counts)
    cxx.write_changed(folder / "parts.hh", header)
    files = [cxx.write_changed(folder / "main.cc", fill(MAIN, parts=counts))]
    for step, (some, (places, _), code) in enumerate(zip(parts, kept, codes, strict=True)):
        for at in range(0, len(some), FUNCTIONS):
            chosen = some[at : at + FUNCTIONS]
            used = sorted(frozenset[str]().union(*(one.tables for part in chosen for one in part.statements)))
            text = fill(PART, step=step, tables=[(name, code.tables[name]) for name in used], parts=chosen, kept=places)
            files.append(cxx.write_changed(folder / f"step{step}_{at // FUNCTIONS}.cc", text))
    return files


def _kept(parts: Sequence[Part]) -> tuple[dict[int, int], int]:
    """Where values are kept that another function needs, and how many places that takes; a place is used again."""
    last = {number: part.number for part in parts for number in part.taken}
    places, free, size = dict[int, int](), list[int](), 0
    ending: dict[int, list[int]] = {}
    for part in parts:
        for statement in part.statements:
            if statement.number in last:
                number = int(str(statement.number))
                if not free:
                    free.append(size)
                    size += 1
                places[number] = free.pop()
                ending.setdefault(last[number], []).append(places[number])
        free += ending.pop(part.number, [])
    return places, size


class _Code:
    """Statements of a logic.

    Attributes:
        bits: of the widest number on the way, sign included.
        tables: name -> its values, as C++ text.
    """

    def __init__(self, step: Step) -> None:
        self._comb, self._given, self._left = step.comb, step.given, step.left
        self._kifs = [_kif(op) for op in self._comb.ops]
        self.bits, self.tables, self._suffix = 1, dict[str, str](), ""
        self._used = self._comb.ref_count
        list(self._statements())  # of the bits

    def parts(self, suffix: str) -> list[Part]:
        """The functions; `suffix` of constants makes them as wide as a number."""
        self._suffix = suffix
        lines = list(self._statements())
        return [Part(at // STATEMENTS, tuple(lines[at : at + STATEMENTS])) for at in range(0, len(lines), STATEMENTS)]

    def _statements(self) -> Iterator[Statement]:
        for number, op in enumerate(self._comb.ops):
            if self._used[number]:
                text, tables = self._operation(number, op)
                yield Statement(f"const V v{number} = {text};", frozenset(op.addr), frozenset(tables), number)
        for number, at in enumerate(self._comb.out_idxs):
            if at < 0:
                yield Statement(f"*out[{number}] = V{{}};", frozenset(), frozenset())
                continue
            left = int(self._left[number])
            self._note(self._width(at) + left + 1)
            text = self._moved(f"v{at}", left)
            yield Statement(
                f"*out[{number}] = {'-' if self._comb.out_negs[number] else ''}{text};", frozenset({at}), frozenset()
            )

    def _operation(self, number: int, op: Any) -> tuple[str, tuple[str, ...]]:
        """The right side of a statement, and the tables that it reads."""
        fraction, names = self._kifs[number][2], [f"v{at}" for at in op.addr]
        if op.opcode == -1:
            return self._input(number, int(op.data[0])), ()
        if op.opcode in (-2, 7, 9):
            return self._simple(number, op, names), ()
        if op.opcode in (0, 1):
            return self._sum(op.addr, (True, op.opcode == 0), (0, int(op.data[0])), fraction), ()
        if op.opcode == 11:
            signs, shifts = op.data[0::2], op.data[1::2]
            return self._sum(op.addr, [bool(sign) for sign in signs], [int(shift) for shift in shifts], fraction), ()
        if op.opcode in (2, 3):
            source = names[0] if op.opcode == 3 else f"({names[0]} & (V)({names[0]} > 0))"
            finer = self._kifs[op.addr[0]][2] - (int(op.data[0]) if op.opcode == 3 else 0)
            self._note(self._width(op.addr[0]) + max(fraction - finer, 0))
            return self._wrapped(self._moved(source, fraction - finer), number), ()
        if op.opcode == 4:
            return self._with_constant(op, names[0], fraction), ()
        if op.opcode == 5:
            return f"V{{}} + {self._constant(int(op.data[0]))}", ()
        if op.opcode == 6:
            return self._choice(number, op, names), ()
        if op.opcode == 8:
            return self._looked_up(number, op, names[0])
        if op.opcode == 10:
            shifts = self._aligned(op.addr, (0, int(op.data[0])))[0]
            sign = "&|^"[int(op.data[1])]
            first, second = (self._moved(name, left) for name, left in zip(names, shifts, strict=True))
            return f"{first} {sign} {second}", ()
        raise HlsError(f"alkaid's operation {op.opcode} is not known here; the versions go together, see setup")

    def _input(self, number: int, place: int) -> str:
        """What stands at an input, as alkaid's interpreter takes it in: truncated and wrapped to the format."""
        (signed, integer, fraction), given = self._kifs[number], self._given
        before = int(given.signed[place]), int(given.integer[place]), int(given.fraction[place])
        left = fraction + int(self._comb.inp_shifts[place]) - before[2]
        self._note(sum(before) + 1 + max(left, 0))
        text = self._moved(f"*in[{place}]", left)
        shifted = before[1] + int(self._comb.inp_shifts[place])
        fits = (before[0] <= signed and shifted <= integer) or sum(before) == 0
        return text if fits else self._wrapped(text, number)

    def _simple(self, number: int, op: Any, names: Sequence[str]) -> str:
        signed, *_ = self._kifs[number]
        width = self._width(op.addr[0])
        if op.opcode == -2:
            self._note(width + 1)
            return f"-{names[0]}"
        if op.opcode == 7:
            self._note(width + self._width(op.addr[1]))
            return f"{names[0]} * {names[1]}"
        mask = self._constant((1 << max(sum(self._kifs[op.addr[0]]), 0)) - 1)
        if op.data[0] == 0:
            return f"~{names[0]}" if signed else f"~{names[0]} & {mask}"
        return f"(V)({names[0]} != 0) & 1" if op.data[0] == 1 else f"(V)(({names[0]} & {mask}) == {mask}) & 1"

    def _sum(self, addresses: Sequence[int], plus: Sequence[bool], shifts: Sequence[int], fraction: int) -> str:
        lefts, common = self._aligned(addresses, shifts)
        terms = [
            f"{'+' if positive else '-'} {self._moved(f'v{at}', left)}"
            for at, positive, left in zip(addresses, plus, lefts, strict=True)
        ]
        self._note(max(self._width(at) + left for at, left in zip(addresses, lefts, strict=True)) + len(terms) - 1)
        return self._moved(f"({' '.join(terms).removeprefix('+ ')})", fraction - common)

    def _aligned(self, addresses: Sequence[int], shifts: Sequence[int]) -> tuple[list[int], int]:
        """By how much values times 2^shift go left to have the steps of the finest, and its fraction bits."""
        fractions = [self._kifs[at][2] - shift for at, shift in zip(addresses, shifts, strict=True)]
        common = max(fractions)
        lefts = [common - fraction for fraction in fractions]
        self._note(max(self._width(at) + left for at, left in zip(addresses, lefts, strict=True)))
        return lefts, common

    def _with_constant(self, op: Any, name: str, fraction: int) -> str:
        value, own, finer = int(op.data[0]), self._kifs[op.addr[0]][2], int(op.data[1])
        common = max(own, finer)
        constant = value << (common - finer)
        self._note(max(self._width(op.addr[0]) + common - own, constant.bit_length() + 1) + 1)
        sign = "+" if constant >= 0 else "-"
        text = f"({self._moved(name, common - own)} {sign} {self._constant(abs(constant))})"
        return self._moved(text, fraction - common)

    def _choice(self, number: int, op: Any, names: Sequence[str]) -> str:
        first, second, key = op.addr
        fraction, width = self._kifs[number][2], sum(self._kifs[key])
        lefts = fraction - self._kifs[first][2], fraction - self._kifs[second][2] + int(op.data[0])
        self._note(max(self._width(at) + max(left, 0) for at, left in zip((first, second), lefts, strict=True)))
        texts = [self._moved(name, left) for name, left in zip(names, lefts, strict=False)]
        if width <= 0:
            return self._wrapped(texts[1], number)
        chosen = f"((V)(({names[2]} >> {width - 1} & 1) != 0) ? V({texts[0]}) : V({texts[1]}))"
        return self._wrapped(chosen, number)

    def _looked_up(self, number: int, op: Any, name: str) -> tuple[str, tuple[str, ...]]:
        table, source = self._comb.lookup_tables[op.data[0]], self._comb.ops[op.addr[0]]
        signed, integer, fraction = self._kifs[op.addr[0]]
        first = table._get_pads(source.qint)[0] - (signed << (signed + integer + fraction - 1) if signed else 0)
        finer = self._kifs[number][2] - int(table.spec.out_kif[2])
        values = np.asarray(table.table, np.int64)
        self._note(int(np.abs(values).max(initial=1)).bit_length() + 1 + max(finer, 0))
        called = f"table{op.data[0]}"
        self.tables.setdefault(called, ",".join(map(str, values.tolist())))
        text = f"looked_up({called}, {len(values)}, {name} - {self._constant(int(first))}, s)"
        return self._moved(text, finer), (called,)

    def _wrapped(self, text: str, number: int) -> str:
        """A value cut to the bits of its format."""
        signed, integer, fraction = self._kifs[number]
        width = signed + integer + fraction
        if width <= 0:
            return "V{}"
        self._note(width + 1)
        cut = f"({text} & {self._constant((1 << width) - 1)})"
        half = self._constant(1 << (width - 1))
        return f"(({cut} ^ {half}) - {half})" if signed else cut

    def _moved(self, text: str, left: int) -> str:
        """A value times 2^left, without what that has behind the point."""
        return text if not left else f"({text} << {left})" if left > 0 else f"({text} >> {-left})"

    def _constant(self, value: int) -> str:
        self._note(value.bit_length() + 1)
        text = f"{abs(value)}{self._suffix}"
        return f"(-{text})" if value < 0 else text

    def _width(self, at: int) -> int:
        """Bits of a value, as a signed number."""
        signed, integer, fraction = self._kifs[at]
        return max(signed + integer + fraction, 0) + (not signed)

    def _note(self, bits: int) -> None:
        self.bits = max(self.bits, bits)
