"""C simulation: compile a written project with g++ on all cores, and run events through it."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hls.backends.hls4ml.csim_source import WEIGHTS_FOLDER, Top, read_top, write_sources
from hls.backends.simulators import cxx
from hls.errors import HlsError
from qformers.progress import Reporter, Silent

# -O1: g++ spends its time on ap_fixed templates; -O3 compiles 30 % longer for 6 % more events per second, and -O0 is
# 25 times slower to run. -fno-gnu-unique: two projects in one process must not share the tables of a layer of one name.
FLAGS = ("-O1", "-w", "-fPIC", "-std=c++17", "-fno-gnu-unique", "-fvisibility=hidden")
CHUNK = 256  # events per call
# hls4ml keeps all products of a layer in an array on the stack: 2,016 pairs laid out as 64 x 64 are 8 million, and the
# usual 8 MiB end the process without a word. Only what is used is ever taken from the machine.
STACK_BYTES = 2**29

Array = NDArray[np.float64]


def compile_project(project: Path, top_name: str, trace: bool = False, reporter: Reporter | None = None) -> Library:
    """Compile (what has changed since the last time) and load the simulation of a project.

    Args:
        project: folder of the project.
        top_name: its top function.
        trace: also record the output of every layer.
        reporter: told of each finished file.

    Raises:
        CompileError: with the last lines of the compiler and the path of its log.
        HlsError: the project is incomplete or not understood.
    """
    folder = project / "csim"
    top = read_top(project, top_name)
    sources = write_sources(top, project, folder, cxx.cores())
    firmware = project / "firmware"
    headers = cxx.digest([*sorted(firmware.glob("*.h")), *sorted(firmware.glob("weights/*.h"))])
    headers += cxx.digest(sorted((firmware / "nnet_utils").glob("*.h")))
    jobs = []
    for source in sources:
        traced = trace and source.stem == "top"
        flags = ("-DCSIM_TRACE",) if traced else ()
        name = f"{source.stem}_trace" if traced else source.stem
        key = hashlib.sha256("".join([source.read_text(), headers, *FLAGS, *flags]).encode()).hexdigest()[:16]
        jobs.append((source, folder / f"{name}-{key}.o", flags))
    cxx.compile_all([cxx.Job(*job) for job in jobs], _options(project), reporter or Silent())
    weights = cxx.digest(sorted((firmware / "weights").glob("*.txt")))
    key = hashlib.sha256("".join([*(job[1].name for job in jobs), weights]).encode()).hexdigest()[:16]
    name = f"{top_name}_trace" if trace else top_name
    library = folder / f"{name}-{key}.so"  # other weights, other name: a loaded library keeps its weights
    if not cxx.whole(library):
        cxx.remove_older(library)
        cxx.link([job[1] for job in jobs], library, folder / "link.log")
    return Library(library, top, project, trace)


@dataclass(frozen=True)
class Library:
    """A compiled simulation; loading it is cheap."""

    path: Path
    top: Top
    project: Path
    trace: bool

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], reporter: Reporter | None = None
    ) -> dict[str, Array]:
        """Simulate events.

        Args:
            inputs: C++ port name -> (n, size).
            outputs: C++ port names, in the order of the top function.
            reporter: told of finished events.

        Returns:
            Array name -> (n, size): the outputs, and every layer's output variable where the library traces.
        """
        events = len(next(iter(inputs.values())))
        sizes = {port.name: port.size for port in self.top.ports}
        data = {p.name: _rows(inputs, p.name, sizes, events) for p in self.top.ports if p.name not in outputs}
        result = {name: np.zeros((events, sizes[name])) for name in outputs}
        taps = self._tap_arrays(events) if self.trace else []
        tick = (reporter or Silent()).task("simulate", events)
        function = self._load()

        def chunk(start: int, stop: int) -> int:
            rows = [[array[start:stop] for array in group] for group in (data.values(), result.values(), taps)]
            pointers = [
                (ctypes.c_void_p * max(1, len(group)))(*(array.ctypes.data for array in group)) for group in rows
            ]
            function(str(self.project / "firmware" / "weights").encode(), stop - start, *pointers)
            return stop - start

        with _deep_stacks(), ThreadPoolExecutor(cxx.cores()) as pool:
            pool.submit(chunk, 0, min(1, events)).result()  # loads weights and fills tables, once, for all threads
            waiting = [pool.submit(chunk, i, min(i + CHUNK, events)) for i in range(0, events, CHUNK)]
            for done in as_completed(waiting):
                tick(done.result())
        written = [self.top.output_of(call) for call in self.top.calls]
        return {**{array.name: t for array, t in zip(written, taps, strict=False) if array}, **result}

    def _tap_arrays(self, events: int) -> list[Array]:
        written = [self.top.output_of(call) for call in self.top.calls]
        return [np.zeros((events, array.size if array else 1)) for array in written]

    def _load(self) -> Callable[..., None]:
        weights = self.project / "firmware" / "weights"
        missing = [name for name in _weight_files(self.top.text) if not (weights / name).is_file()]
        if missing:  # the C++ code would end the process
            raise HlsError(f"{weights / missing[0]} is missing; write the project again (qformers export)")
        function = ctypes.CDLL(str(self.path)).csim_run
        function.restype = None
        function.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        return function


@contextmanager
def _deep_stacks() -> Iterator[None]:
    """For the length of the block, new threads have a stack of `STACK_BYTES`."""
    before = threading.stack_size(STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(before)


def _weight_files(text: str) -> list[str]:
    return [line.split('"')[1] for line in text.splitlines() if "load_weights_from_txt" in line]


def _rows(inputs: Mapping[str, Array], name: str, sizes: Mapping[str, int], events: int) -> Array:
    if name not in inputs:
        raise HlsError(f"the firmware has an input '{name}'. Received: {', '.join(sorted(inputs))}")
    array = np.ascontiguousarray(inputs[name], np.float64).reshape(events, -1)
    if array.shape[1] != sizes[name]:
        raise HlsError(f"input '{name}' has {sizes[name]} values per event. Received: {array.shape[1]}")
    return array


def _options(project: Path) -> tuple[str, ...]:
    firmware = project.resolve() / "firmware"
    include = (f"-I{firmware}", f"-I{firmware / 'ap_types'}", f"-DWEIGHTS_DIR={WEIGHTS_FOLDER}")
    return (*FLAGS, *include, "-include", str(_declaration(project / "csim")))


def _declaration(folder: Path) -> Path:
    return cxx.write_changed(folder / "weights_folder.h", f"extern const char *{WEIGHTS_FOLDER};\n")
