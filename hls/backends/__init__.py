"""Firmware backends: what writes a model as hardware."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hls.errors import HlsError, Refusal
from qformers.builds.build import Build
from qformers.errors import nearest

if TYPE_CHECKING:
    from hls.backends.protocol import Project
    from qformers.progress import Reporter


class Backend(Protocol):
    """What a backend has to offer."""

    @property
    def name(self) -> str:
        """Key of `BACKENDS`."""

    def supports(self, model: Any, build: Build | None = None) -> list[Refusal]:
        """Layers and settings that cannot be written exactly; empty = the model can be written.

        Args:
            model: a built Keras model.
            build: also check its section `firmware`.
        """

    def write(
        self,
        model: Any,
        build: Build,
        out: Path,
        reporter: Reporter | None = None,
        facts: Mapping[str, Any] | None = None,
        allow_overflow: bool = False,
    ) -> Project:
        """Write the project; the folder appears whole or not at all.

        Args:
            model: quantised Keras model.
            build: names the top function or module; its section `firmware` has the settings.
            out: folder of the project; an older project there is replaced.
            reporter: told of finished steps.
            facts: more for the manifest, e.g. the model's file.
            allow_overflow: write accumulators of the build that cannot hold their sums, and say so in the manifest.

        Raises:
            ExportRefused: naming every layer that cannot be written exactly.
            HlsError: the tool behind the backend cannot convert the model.
        """


def _vitis() -> Backend:
    from hls.backends.hls4ml.backend import Hls4mlBackend

    return Hls4mlBackend("vitis", "Vitis")


def _vivado() -> Backend:
    from hls.backends.hls4ml.backend import Hls4mlBackend

    return Hls4mlBackend("vivado", "Vivado")


def _alkaid() -> Backend:
    from hls.backends.alkaid.backend import AlkaidBackend

    return AlkaidBackend()


BACKENDS: dict[str, Callable[[], Backend]] = {  # imported when used
    "vitis": _vitis,
    "vivado": _vivado,
    "alkaid": _alkaid,
}

_SOFTMAX = "hls4ml stops there with 'Softmax with io_parallel strategy cannot be used on multidimensional tensors'"

# backend of hls4ml -> why it is not offered; all of them have the same way out
REFUSED: dict[str, str] = {
    "catapult": _SOFTMAX,
    "quartus": _SOFTMAX,
    "oneapi": _SOFTMAX,
    "libero": "it simulates only with the vendor's compiler, so that exactness cannot be shown here",
}


def open_backend(name: str) -> Backend:
    """The backend called `name`.

    Raises:
        HlsError: refused or unknown, with the reason or the nearest name.
    """
    if name in REFUSED:
        raise HlsError(f"backend '{name}' is refused: {REFUSED[name]}; use one of {', '.join(BACKENDS)}")
    if name not in BACKENDS:
        raise HlsError(f"unknown backend '{name}'{nearest(name, BACKENDS)}")
    return BACKENDS[name]()
