"""``keras.models.load_model`` knows what this package saves once `qformers` was imported.

The layers need Keras, and Keras takes seconds to import: so they are not imported with `qformers`, but when Keras first
looks for one of them. For that its function that looks up names is wrapped; where Keras is not imported yet, a finder
on ``sys.meta_path`` waits for the one module that holds it. Both orders of import work, and a program that loads no
model pays nothing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

REGISTRY = "keras.src.saving.object_registration"
REGISTERING = (  # modules that register all that saved models are made of: layers and functions, optimisers, losses
    "qformers.builds.models", "qformers.train.optimisers", "qformers.tasks.losses.packed",
)  # fmt: skip
PACKAGES = ("qformers", "hgq", "hgq2")  # a registered name is "package>name"


def register() -> None:
    """Make Keras find the layers; once is enough, more does no harm."""
    registry = sys.modules.get(REGISTRY)
    if registry is not None:
        _wrap(registry)
    elif not any(isinstance(finder, _Wait) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Wait())


def _wrap(registry: ModuleType) -> None:
    look_up = registry.get_registered_object
    if getattr(look_up, "of_qformers", False):
        return

    @functools.wraps(look_up)
    def get_registered_object(name: Any, custom_objects: Any = None, module_objects: Any = None) -> Any:
        known = look_up(name, custom_objects, module_objects)
        if known is None and isinstance(name, str) and name.partition(">")[0] in PACKAGES:
            for module in REGISTERING:
                importlib.import_module(module)
            known = look_up(name, custom_objects, module_objects)
        return known

    vars(get_registered_object)["of_qformers"] = True
    vars(registry)["get_registered_object"] = get_registered_object


class _Wait(importlib.abc.MetaPathFinder):
    """Lets Python find the registry of Keras as usual, and wraps its function when it was executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _wrap(module)

            vars(spec.loader)["exec_module"] = exec_module
        return spec
