"""Vocabularies: the same architecture in float or in fixed point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qformers.config.sections import QuantConfig
    from qformers.nn.vocabulary import Vocabulary


def _float32(quant: QuantConfig | None) -> Vocabulary:
    from qformers.nn.float32 import Float32

    return Float32()


def _hgq(quant: QuantConfig | None) -> Vocabulary:
    from qformers.errors import ConfigError
    from qformers.nn.hgq import Hgq

    if quant is None:
        raise ConfigError("a quantised model needs a section 'quant' in the build file")
    return Hgq(quant)


VOCABULARIES: dict[str, Any] = {"float32": _float32, "hgq": _hgq}  # name -> function of the build's section quant
