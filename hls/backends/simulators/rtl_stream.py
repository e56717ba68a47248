"""Events through simulated RTL, one per clock cycle back to back, and what that shows of its timing."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hls.backends.protocol import Timing
from qformers.progress import Reporter, Silent

CHUNK = 1000  # cycles per call
MARGIN = 8  # cycles looked at beyond the expected latency

Array = NDArray[np.float64]
_POINTER = ctypes.POINTER(ctypes.c_double)


def timing(cycles: Array, expected: Array) -> Timing | None:
    """Find the only shift by which the outputs of all cycles are the expected events; None if there is none.

    Args:
        cycles: (n + margin, outputs) after each clock edge, event i having been taken in at edge i.
        expected: (n, outputs) that should come.
    """
    events = len(expected)
    fits = [
        shift for shift in range(len(cycles) - events + 1) if np.array_equal(cycles[shift : shift + events], expected)
    ]
    return Timing(fits[0], 1) if len(fits) == 1 else None


def run_library(library: Path, rows: Array, outputs: int, extra: int, reporter: Reporter | None = None) -> Array:
    """Clock the compiled RTL: row i stands at the inputs at edge i, the last row stays for `extra` edges more.

    Args:
        library: made by `hls.backends.simulators.verilator`.
        rows: (n, inputs), each a value of its port's format.
        outputs: values at the output port.
        extra: clock edges after the last event.
        reporter: told of finished events.

    Returns:
        (n + extra, outputs), the output port after each edge.
    """
    rows = np.ascontiguousarray(rows, np.float64)
    tail = np.repeat(rows[-1:], extra, axis=0)
    every = np.concatenate([rows, tail])
    result = np.zeros((len(every), outputs))
    tick = (reporter or Silent()).task("verilator", len(every))
    with _opened(library) as (functions, handle):
        for start in range(0, len(every), CHUNK):
            part, made = every[start : start + CHUNK], result[start : start + CHUNK]
            functions.fsm_run(handle, _one(part), (ctypes.c_size_t * 1)(len(part)), _one(made), len(part), 0, 0, 1)
            tick(len(part))
    return result


@contextmanager
def _opened(library: Path) -> Iterator[tuple[ctypes.CDLL, ctypes.c_void_p]]:
    functions = ctypes.CDLL(str(library))
    functions.fsm_create.restype = ctypes.c_void_p
    functions.fsm_destroy.argtypes = [ctypes.c_void_p]
    functions.fsm_run.restype = None
    size, flag, table = ctypes.c_size_t, ctypes.c_uint8, ctypes.POINTER(_POINTER)
    functions.fsm_run.argtypes = [ctypes.c_void_p, table, ctypes.POINTER(size), table, size, size, flag, size]
    handle = ctypes.c_void_p(functions.fsm_create())
    try:
        yield functions, handle
    finally:
        functions.fsm_destroy(handle)


def _one(array: Array) -> ctypes.Array[ctypes._Pointer[ctypes.c_double]]:
    return (_POINTER * 1)(array.ctypes.data_as(_POINTER))
