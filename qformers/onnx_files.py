"""Files of ONNX: whether one can be written and executed, which is known before anything heavy is imported."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from qformers.errors import QonnxError

PACKAGES = ("onnx", "onnxruntime", "qonnx")
ENDING = ".onnx"


def require_qonnx(out: Path) -> None:
    """Refuse at once where a package is missing, or `out` can be no file of ONNX.

    Args:
        out: the file to write.

    Raises:
        QonnxError: with the way to install it, or to name the file.
    """
    if out.suffix != ENDING:
        raise QonnxError(f"OUT is the file to write and ends in {ENDING}. Received: {out}")
    if out.is_dir():
        raise QonnxError(f"OUT {out}: is a folder; name a file to write")
    missing = [name for name in PACKAGES if not _there(name)]
    if missing:
        raise QonnxError(
            f"{out}: QONNX is written and executed with {', '.join(PACKAGES)}; not installed here: "
            f"{', '.join(missing)}. {sys.executable} -m pip install qonnx onnxruntime (the extra 'qonnx' of qformers)"
        )


def _there(name: str) -> bool:
    return sys.modules[name] is not None if name in sys.modules else importlib.util.find_spec(name) is not None
