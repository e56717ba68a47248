"""``--backend`` is refused before anything heavy is imported."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qformers.builds.build import Build


def backend_of(options: argparse.Namespace, build: Build, rtl: bool = False) -> str:
    """The backend that `options` names, else that of the build; with `rtl` one that writes RTL, if none is named.

    Raises:
        HlsError: refused or unknown, with the reason or the nearest name.
    """
    from hls.backends import open_backend, rtl_backend

    if rtl and not options.backend:
        return rtl_backend(build.firmware.backend)
    return open_backend(options.backend or build.firmware.backend).name
