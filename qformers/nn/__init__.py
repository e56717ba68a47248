"""Vocabularies: the same architecture in float or in fixed point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qformers.config import Build
    from qformers.nn.vocabulary import Vocabulary


def _float32(build: Build) -> Vocabulary:
    from qformers.nn.float32 import Float32

    return Float32()


def _hgq(build: Build) -> Vocabulary:
    from qformers.config import ConfigError
    from qformers.nn.hgq import Hgq

    if build.quant is None:
        raise ConfigError(f"{build.name}: a quantised model needs a section 'quant' in the build file")
    return Hgq(build.quant)


VOCABULARIES: dict[str, Any] = {"float32": _float32, "hgq": _hgq}  # name -> function of a Build
