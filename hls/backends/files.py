"""A project folder appears whole, in the place of the one that was there."""

from __future__ import annotations

import shutil
from pathlib import Path


def replace_folder(folder: Path, out: Path) -> None:
    """Put `folder` in the place of `out`; what an older project had compiled goes with it."""
    old = folder.parent / "old"
    if out.exists():
        out.rename(old)
    folder.rename(out)
    shutil.rmtree(old, ignore_errors=True)
