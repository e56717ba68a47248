"""C simulation of folded firmware: its C++ for Vitis HLS, compiled by g++ with alkaid's long functions in parts."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid import csim as alkaid_csim
from hls.backends.alkaid.ports import Value
from hls.backends.folded.cpp import KERNELS, STATIC, TYPES
from hls.backends.simulators import cxx
from hls.errors import HlsError
from hls.templates import fill
from qformers.progress import Reporter, Silent

BRIDGE = Path(__file__).with_name("machine_bridge.cc")
EVENTS = 64  # in one call of the top function: that many follow each other through the streams

Array = NDArray[np.float64]


def compile_cpp(source: Path, top: str, folder: Path, reporter: Reporter | None = None) -> Path:
    """Compile the C++ of a project to a library; what was compiled before is taken again, and a compilation that was
    stopped goes on.

    Args:
        source: folder of the sources.
        top: name of the top function.
        folder: takes what is made.
        reporter: told of each compiled file.

    Raises:
        CompileError: with the last lines of the compiler and the path of its log.
        HlsError: alkaid wrote a line that is not understood.
    """
    kernels, written = sorted((source / KERNELS).glob("*.hh")), [source / f"{top}.hh", source / f"{top}.cc"]
    templates = [BRIDGE, alkaid_csim.HEADER, alkaid_csim.PART, alkaid_csim.TOP, Path(alkaid_csim.__file__)]
    key = cxx.digest([*written, *kernels, *templates], cxx.compiler(), *alkaid_csim.FLAGS)[:16]
    library = folder / f"{top}-{key}.so"
    if cxx.whole(library):
        return library
    if not any(folder.glob(f"*/*-{key}.o")):  # nothing of it is there that a stopped compilation left
        shutil.rmtree(folder, ignore_errors=True)
    parts = [
        (part, part.parent)
        for path in kernels
        for part in alkaid_csim.write_parts(path.read_text(), path.stem, folder / path.stem)
    ]
    bridge = cxx.write_changed(folder / "bridge/bridge.cc", fill(BRIDGE, top=top))
    (folder / "machine").mkdir(exist_ok=True)
    included = [source, source / STATIC, source / STATIC / TYPES, *(folder / path.stem for path in kernels)]
    options = (*alkaid_csim.FLAGS, *(f"-I{path}" for path in included))
    files = [(written[1], folder / "machine"), (bridge, bridge.parent), *parts]
    jobs = [cxx.Job(file, place / f"{file.stem}-{key}.o") for file, place in files]
    cxx.compile_all(jobs, options, reporter or Silent())
    cxx.link([job.target for job in jobs], library, folder / "link.log")
    for job in jobs:
        cxx.remove_older(job.target)
    return library


def run_library(
    library: Path,
    beats: Array,
    ins: Sequence[Value],
    outs: Sequence[Value],
    answers: int = 1,
    reporter: Reporter | None = None,
) -> Array:
    """Simulate events, `EVENTS` at a time behind each other, on all cores.

    Args:
        library: from `compile_cpp`.
        beats: (n, B, values of a beat), each a value of its port's format.
        ins, outs: where the values sit in a beat and in a word of the output.
        answers: words of the output for each event.
        reporter: told of finished events.

    Returns:
        (n, answers, values of a word).

    Raises:
        HlsError: a stream is not empty behind the last event, or has too few words, or an order names no point.
    """
    function = ctypes.CDLL(str(library.resolve())).machine_simulate
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    function.restype = ctypes.c_char_p
    function.argtypes = [pointer, size, pointer, pointer, size, pointer, size, size, pointer, pointer, size]
    sides = [np.array([[v.low for v in side], [v.width for v in side]], np.int32) for side in (ins, outs)]
    steps = np.exp2([value.fraction_bits for value in ins])
    raw = np.ascontiguousarray(np.floor(beats * steps).astype(np.int64))
    found = np.zeros((len(beats), answers, len(outs)), np.int64)
    tick = (reporter or Silent()).task("simulate", len(beats))

    def part(start: int) -> int:
        some, made = raw[start : start + EVENTS], found[start : start + EVENTS]
        (low, width), (out_low, out_width) = sides
        wrong = function(
            some.ctypes.data, some.shape[0] * some.shape[1], low.ctypes.data, width.ctypes.data, len(ins),
            made.ctypes.data, len(made), answers, out_low.ctypes.data, out_width.ctypes.data, len(outs),
        )  # fmt: skip
        if wrong is not None:
            raise HlsError(f"C simulation of {library.parent.parent}: {wrong.decode()}")
        return len(some)

    with ThreadPoolExecutor(cxx.cores()) as pool:
        for done in as_completed([pool.submit(part, start) for start in range(0, len(raw), EVENTS)]):
            tick(done.result())
    return _numbers(outs, found)


def _numbers(values: Sequence[Value], raw: NDArray[np.int64]) -> Array:
    """Bits as they lie in a word, (..., values), as numbers."""
    widths = np.array([value.width for value in values], np.int64)
    signs = np.array([value.signed and value.width > 0 for value in values], np.int64)
    negative = signs * ((raw >> np.maximum(widths - 1, 0)) & 1)
    return np.asarray((raw - (negative << widths)) * np.exp2([-value.fraction_bits for value in values]), np.float64)
