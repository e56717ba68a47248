"""A block engine's compiled RTL, driven event by event through a small C++ program of our own."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from hls.errors import HlsError

DRIVER = "engine_driver.cc"
_SOURCE = """\
#include <cstdint>
#include <cstring>
#include "verilated.h"
#include "V{top}.h"

// clocks an engine; ports are moved as bytes, so that words of any width do
struct Bench {{
    VerilatedContext context;
    V{top} engine{{&context}};
    void edge() {{
        engine.clk = 0;
        engine.eval();
        engine.clk = 1;
        engine.eval();
    }}
}};

extern "C" void *engine_create() {{
    auto *bench = new Bench;
    bench->engine.in_valid = 0;
    bench->engine.rst = 1;
    bench->edge();
    bench->engine.rst = 0;
    return bench;
}}
extern "C" void engine_destroy(void *handle) {{ delete static_cast<Bench *>(handle); }}

// one event; returns clock edges from the first block taken to the last one given, or -1 after `most` edges
extern "C" int64_t engine_run(void *handle, const uint8_t *in, size_t stride, uint8_t *out, size_t room, size_t blocks,
                              size_t pause, int64_t most) {{
    auto *bench = static_cast<Bench *>(handle);
    auto &engine = bench->engine;
    size_t taken = 0, given = 0, wait = 0;
    int64_t start = -1;
    for (int64_t now = 0; now < most; ++now) {{
        engine.clk = 0;
        engine.in_valid = taken < blocks && wait == 0;
        engine.in_last = blocks - 1;
        if (taken < blocks) std::memcpy(&engine.in_block, in + taken * stride, sizeof engine.in_block);
        engine.eval();
        const bool take = engine.in_valid && engine.in_ready;
        if (take && start < 0) start = now;
        engine.clk = 1;
        engine.eval();
        wait = take ? pause : wait > 0 ? wait - 1 : 0;
        taken += take;
        if (engine.out_valid) {{
            if (given == blocks) return -2;
            std::memcpy(out + given * room, &engine.out_block, sizeof engine.out_block);
            if (++given == blocks) return now - start;
        }}
    }}
    return -1;
}}
"""


def source(top: str) -> str:
    """C++ of the driver of module `top`."""
    return _SOURCE.format(top=top)


@dataclass
class Bench:
    """An engine under simulation; events run one after the other in the same hardware, without a reset between them.

    Args:
        library: made by `hls.backends.simulators.verilator` with the driver.
        widths: bits of ``in_block`` and ``out_block``.
    """

    library: Path
    widths: tuple[int, int]

    def __enter__(self) -> Bench:
        """Start the simulation."""
        self._functions = ctypes.CDLL(str(self.library))
        self._functions.engine_create.restype = ctypes.c_void_p
        size, pointer = ctypes.c_size_t, ctypes.c_void_p
        self._functions.engine_run.argtypes = [pointer, pointer, size, pointer, size, size, size, ctypes.c_int64]
        self._functions.engine_run.restype = ctypes.c_int64
        self._functions.engine_destroy.argtypes = [pointer]
        self._handle = ctypes.c_void_p(self._functions.engine_create())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End the simulation."""
        self._functions.engine_destroy(self._handle)

    def run(self, words: Sequence[int], most: int, pause: int = 0) -> tuple[list[int], int]:
        """One event.

        Args:
            words: of its blocks, as ``in_block`` takes them.
            most: clock edges before the simulation is given up.
            pause: clocks without a block after each block.

        Returns:
            ``out_block`` of each block, and the clock edges from the one that takes the first block in to the one that
            brings the last block's output out.

        Raises:
            HlsError: fewer blocks came out than went in, or more.
        """
        stride, room = (_bytes(width) for width in self.widths)
        given = np.frombuffer(b"".join(word.to_bytes(stride, "little") for word in words), np.uint8)
        out = np.zeros((len(words), room), np.uint8)
        cycles = self._functions.engine_run(
            self._handle, given.ctypes.data, stride, out.ctypes.data, room, len(words), pause, most
        )
        if cycles < 0:
            raise HlsError(f"the engine gave no output for {len(words)} blocks within {most} clock edges")
        return [int.from_bytes(row.tobytes(), "little") for row in out], int(cycles)


def _bytes(width: int) -> int:
    """Of a port in Verilator's C++, at least 8."""
    return -(-width // 32) * 4 if width > 64 else 8
