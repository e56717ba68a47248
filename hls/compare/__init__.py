"""Builds beside each other: one row each, a difference of two, a plot and a page.

The package itself can be called: ``hls.compare(runs)`` is `hls.stages.compare.compare`. A function of the front door
and a folder have one name, and Python hangs the folder into `hls` when it is first imported.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Compare runs; see `hls.stages.compare.compare`."""
        stage = importlib.import_module("hls.stages.compare")  # above this package: it is no import of this module
        return stage.compare(*args, **options)


sys.modules[__name__].__class__ = _Callable
