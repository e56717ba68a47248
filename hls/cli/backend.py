"""``--backend`` is refused before anything heavy is imported."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qformers.builds.build import Build


def backend_of(options: argparse.Namespace, build: Build) -> str:
    """The backend that `options` names, else that of the build.

    Raises:
        HlsError: refused or unknown, with the reason or the nearest name.
    """
    from hls.backends import open_backend

    return open_backend(options.backend or build.firmware.backend).name
