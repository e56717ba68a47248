"""Architectures: each one function of (configuration, sizes, vocabulary)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qformers.config import Build, ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from qformers.data.events import FeatureSet


def _part() -> Any:
    from qformers.models.part import part

    return part


MODELS: dict[str, Any] = {"part": _part}  # architecture -> function that imports and returns the builder


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
