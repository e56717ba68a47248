"""Training: one loop for float and quantised models, exact to resume.

The package itself can be called: ``qformers.train(build)`` is `qformers.train.stage.train`. A function of the front
door and a folder have one name, and Python hangs the folder into `qformers` when it is first imported.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from qformers.errors import CheckpointError, DivergedError, TrainingError

if TYPE_CHECKING:
    from qformers.train.stage import Trained

__all__ = ["CheckpointError", "DivergedError", "TrainingError"]


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Trained:
        """Train a build; see `qformers.train.stage.train`."""
        from qformers.train.stage import train

        return train(*args, **options)


sys.modules[__name__].__class__ = _Callable
