"""Firmware backends: what writes a model as hardware. `BACKENDS` is the only list of them.

Importing it costs nothing; the tools behind a backend are imported when it is asked for something.
"""

from __future__ import annotations

from pathlib import Path

from typing_extensions import get_protocol_members  # of Python 3.13

from hls.backends.alkaid.backend import AlkaidBackend
from hls.backends.folded.backend import FoldedBackend
from hls.backends.hls4ml.backend import Hls4mlBackend
from hls.backends.protocol import Backend, Project, read_layout
from hls.errors import HlsError
from qformers.errors import nearest

BACKENDS: dict[str, Backend] = {
    "vitis": Hls4mlBackend("vitis", "Vitis"),
    "vivado": Hls4mlBackend("vivado", "Vivado"),
    "alkaid": AlkaidBackend(),
    "folded": FoldedBackend(),
}

_SOFTMAX = "hls4ml stops there with 'Softmax with io_parallel strategy cannot be used on multidimensional tensors'"

# backend of hls4ml -> why it is not offered; all of them have the same way out
REFUSED: dict[str, str] = {
    "catapult": _SOFTMAX,
    "quartus": _SOFTMAX,
    "oneapi": _SOFTMAX,
    "libero": "it simulates only with the vendor's compiler, so that exactness cannot be shown here",
}

GONE = {  # backend of older versions -> what there is in its place
    "block_engine": "'qformers block-engine' writes the engine with backend folded, whatever the build says; for the "
    "project of a build set firmware.backend: folded, points_per_clock: <model.block_size> and moved_rows: banks"
}


def open_backend(name: str) -> Backend:
    """The backend called `name`.

    Raises:
        HlsError: refused or unknown, with the reason or the nearest name, or not all of a backend.
    """
    if name in REFUSED:
        raise HlsError(f"backend '{name}' is refused: {REFUSED[name]}; use one of {', '.join(BACKENDS)}")
    if name in GONE:
        raise HlsError(f"there is no backend '{name}' any more: {GONE[name]}")
    if name not in BACKENDS:
        raise HlsError(f"unknown backend '{name}'{nearest(name, BACKENDS)}")
    lacking = sorted(verb for verb in get_protocol_members(Backend) if not hasattr(BACKENDS[name], verb))
    if lacking:
        raise HlsError(f"backend '{name}' has no {', '.join(lacking)}; see Backend of hls/backends/protocol.py")
    return BACKENDS[name]


RTL = "alkaid"  # writes the RTL of builds whose own backend writes none
BY_RTL = "qformers rtl"


def rtl_backend(name: str) -> str:
    """The backend that writes RTL for a build with backend `name`: itself, if it writes any that is simulated here.

    Raises:
        HlsError: as `open_backend`.
    """
    return name if open_backend(name).simulated_by == BY_RTL else RTL


def open_project(path: Path) -> Project:
    """Open a project that was written before, whichever backend wrote it.

    Raises:
        HlsError: no project there, or one of a backend that is not in `BACKENDS`.
    """
    return open_backend(read_layout(path).backend).open(path)
