"""From a quantised Keras model to firmware, and the proof that both compute the same.

    import hls

    project = hls.export(build, "runs/part_demo/qat/model.keras", "runs/part_demo/firmware/vitis").project
    print(hls.simulate(build, "runs/part_demo", events=1000))
    hls.compare(["runs/part_demo"])

The names below are imported when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hls.backends import BACKENDS
    from hls.proof.agree import agree
    from hls.stages.compare import compare
    from hls.stages.csim import simulate
    from hls.stages.export import export

__all__ = ["BACKENDS", "agree", "compare", "export", "simulate"]

_HOMES = {
    "BACKENDS": "hls.backends",
    "export": "hls.stages.export",
    "agree": "hls.proof.agree",
    "simulate": "hls.stages.csim",
    "compare": "hls.stages.compare",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hls' has no attribute '{name}'; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
