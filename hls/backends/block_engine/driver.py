"""A block engine's compiled RTL, driven event by event through a small C++ program of our own."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from hls.backends.simulators.verilator import port_bytes
from hls.errors import HlsError
from hls.templates import fill

DRIVER = "engine_driver.cc"


def source(top: str) -> str:
    """C++ of the driver of module `top`."""
    return fill(Path(__file__).with_name(DRIVER), top=top)


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
        stride, room = (port_bytes(width) for width in self.widths)
        given = np.frombuffer(b"".join(word.to_bytes(stride, "little") for word in words), np.uint8)
        out = np.zeros((len(words), room), np.uint8)
        cycles = self._functions.engine_run(
            self._handle, given.ctypes.data, stride, out.ctypes.data, room, len(words), pause, most
        )
        if cycles < 0:
            raise HlsError(f"the engine gave no output for {len(words)} blocks within {most} clock edges")
        return [int.from_bytes(row.tobytes(), "little") for row in out], int(cycles)
