"""Architectures: each one function of (configuration, sizes, vocabulary)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qformers.config import Build, ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import keras

    from qformers.data.events import FeatureSet


def _builder(name: str) -> Callable[[], Any]:
    """Imports `qformers/models/<name>.py` when called, not before, and returns its function `name`."""
    return lambda: getattr(importlib.import_module(f"qformers.models.{name}"), name)


MODELS: dict[str, Callable[[], Any]] = {  # architecture -> function that imports and returns the builder
    "part": _builder("part"),
    "deepsets": _builder("deepsets"),
    "mixer": _builder("mixer"),
    "jedi_linear": _builder("jedi_linear"),
    "transformer": _builder("transformer"),
    "hept": _builder("hept"),
}


def load_model(path: Path | str) -> keras.Model:
    """Read a ``.keras`` file of this package in safe mode; float or quantised, uncompiled.

    Raises:
        ConfigError: no such file, or not a Keras model.
    """
    import keras

    import qformers.interop.qkeras.table
    import qformers.layers.lsh
    import qformers.layers.points
    import qformers.layers.select
    import qformers.layers.sorted_order
    import qformers.models.hept_layers
    import qformers.models.hept_tables
    import qformers.models.pairs
    import qformers.nn.hgq  # noqa: F401  registers the functions that tables are made of

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: is not a model file that can be read: {error}") from error


def build_model(
    build: Build, feature_set: FeatureSet, class_names: Sequence[str], vocabulary: str = "float32"
) -> keras.Model:
    """The Keras model of a build.

    Args:
        build: the build file.
        feature_set: the F numbers per particle, from the data set.
        class_names: the labels, from the data set.
        vocabulary: "float32" or "hgq".

    Raises:
        ConfigError: unknown architecture or vocabulary, or a configuration that the vocabulary cannot say.
    """
    from qformers.models.part import Jet
    from qformers.nn import VOCABULARIES

    if vocabulary not in VOCABULARIES:
        raise ConfigError(f"unknown vocabulary '{vocabulary}'{nearest(vocabulary, VOCABULARIES)}")
    jet = Jet(build.data.num_particles, len(feature_set), len(class_names), feature_set)
    return MODELS[build.model.architecture]()(build.model, jet, VOCABULARIES[vocabulary](build))
