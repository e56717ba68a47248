"""Point-cloud transformers in fixed point, trained in Keras 3 and exact in firmware.

    import qformers

    build = qformers.load("firmware_configs/part_demo.yaml")
    trained = qformers.train(build)

The names below are imported when they are used, so that ``import qformers`` takes no time; `hls` has what follows on
the way to firmware. After ``import qformers``, ``keras.models.load_model`` knows the layers of this package.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from qformers.builds import registration

if TYPE_CHECKING:
    from qformers.builds.build import load
    from qformers.builds.models import build_model, load_model
    from qformers.data import open_split
    from qformers.quant.ptq.stage import quantise, tune
    from qformers.train.stage import train

__version__ = "0.1.0"
__all__ = ["build_model", "load", "load_model", "open_split", "quantise", "train", "tune"]

_HOMES = {
    "load": "qformers.builds.build",
    "build_model": "qformers.builds.models",
    "load_model": "qformers.builds.models",
    "open_split": "qformers.data",
    "quantise": "qformers.quant.ptq.stage",
    "tune": "qformers.quant.ptq.stage",
    "train": "qformers.train.stage",
}

registration.register()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # or TensorFlow's remarks on its build stand before every result


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qformers' has no attribute '{name}'; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
