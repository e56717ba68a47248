"""A self-checking Verilog test bench of the project, and Icarus Verilog to run it: a second opinion on the RTL.

The bench is plain Verilog-2005, so that any simulator can run it (xsim, Questa, Icarus): it feeds one event per clock
cycle, writes the output port after every cycle to a file, and compares with the expected outputs itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hls.backends.simulators.cxx import last_lines
from hls.backends.simulators.verilator import ToolMissing
from hls.errors import CompileError, HlsError
from hls.templates import fill
from qformers.files import replacing

NEEDED = 11  # major version: earlier ones have no -g2012 that reads alkaid's tables
HINT = "apt-get install iverilog"

_BENCH = Path(__file__).with_name("bench.v")


@dataclass(frozen=True)
class Bench:
    """What a test bench feeds and expects: packed vectors, one per event.

    Attributes:
        top: module with ports clk, model_inp, model_out.
        widths: bits of model_inp and model_out.
        latency_cycles: expected one.
        clock_ns: period.
        inputs, expected: n vectors each.
        extra: cycles after the last event; at least `latency_cycles`.
    """

    top: str
    widths: tuple[int, int]
    latency_cycles: int
    clock_ns: float
    inputs: Sequence[int]
    expected: Sequence[int]
    extra: int

    def write(self, folder: Path) -> Path:
        """Write ``tb_<top>.v``, ``inputs.hex`` and ``expected.hex``; returns the path of the bench."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, vectors in (("inputs.hex", self.inputs), ("expected.hex", self.expected)):
            with replacing(folder / name) as temporary:
                temporary.write_text("".join(f"{vector:x}\n" for vector in vectors))
        text = fill(
            _BENCH,
            top=self.top,
            events=len(self.inputs),
            latency=self.latency_cycles,
            extra=self.extra,
            in_high=self.widths[0] - 1,
            out_high=self.widths[1] - 1,
            half_ns=self.clock_ns / 2,
        )
        path = folder / f"tb_{self.top}.v"
        with replacing(path) as temporary:
            temporary.write_text(text)
        return path


def run_icarus(bench: Bench, sources: Sequence[Path]) -> list[int | None]:
    """Simulate a bench: the output vector after each clock cycle, None where a bit of it is undefined.

    Raises:
        ToolMissing: Icarus Verilog is absent or too old.
        CompileError: it refuses the Verilog.
        HlsError: the simulation ended badly.
    """
    find_icarus()  # before anything is written
    with tempfile.TemporaryDirectory(prefix="icarus_") as scratch:
        folder = Path(scratch)
        test = bench.write(folder)
        simulate(test.read_text(), {}, f"tb_{bench.top}", sources, folder)
        lines = (folder / "outputs.hex").read_text().split()
    return [vector(line) for line in lines]


def simulate(bench: str, files: Mapping[str, str], top: str, sources: Sequence[Path], folder: Path) -> None:
    """Compile a test bench and run it; it ends with a line PASS or FAIL.

    Args:
        bench: its Verilog.
        files: that it reads: name -> text.
        top: its module.
        sources: Verilog of what it tests.
        folder: where it runs, reads and writes.

    Raises:
        ToolMissing, CompileError, HlsError: as for `run_icarus`.
    """
    compiler = find_icarus()
    for name, text in {**files, f"{top}.v": bench}.items():
        (folder / name).write_text(text)
    command = [compiler, "-g2012", "-o", "bench.vvp", "-s", top, f"{top}.v"]
    command += [str(path.resolve()) for path in sources]  # it runs in that folder
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)  # noqa: S603
    if done.returncode:
        last = last_lines(done.stdout + done.stderr)
        raise CompileError(f"iverilog failed with exit status {done.returncode}\n{last}")
    done = subprocess.run(["vvp", "-n", "bench.vvp"], capture_output=True, text=True, cwd=folder, check=False)  # noqa: S607
    if done.returncode or not re.search(r"^(PASS|FAIL)", done.stdout, re.MULTILINE):
        last = last_lines(done.stdout + done.stderr)
        raise HlsError(f"vvp failed with exit status {done.returncode}\n{last}")


def vector(text: str) -> int | None:
    """A vector that a bench has written in hexadecimal; None where a bit of it is undefined."""
    return None if re.search("[xXzZ]", text) else int(text, 16)


def find_icarus() -> str:
    """Path of ``iverilog``.

    Raises:
        ToolMissing: it is not on PATH, or too old.
    """
    path = shutil.which("iverilog")
    if path is None or shutil.which("vvp") is None:
        raise ToolMissing(f"iverilog not found: {HINT}")
    said = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    version = re.search(r"Icarus Verilog version (\d+)", said)
    if version is None or int(version[1]) < NEEDED:
        said = version[0] if version else "an unknown version"
        raise ToolMissing(f"{path} is {said}, at least {NEEDED} is needed: {HINT}")
    return path
