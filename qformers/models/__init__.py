"""Architectures: each one record (configuration, function, form in fixed point) in `MODELS`.

Nothing here imports Keras before a model is built: a build file is read and refused without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qformers.config.section import Section
from qformers.models.deepsets import DeepSetsConfig, deepsets
from qformers.models.hept.config import HeptConfig
from qformers.models.jedi_linear import JediLinearConfig, jedi_linear
from qformers.models.mixer import MixerConfig, mixer
from qformers.models.part.config import PartConfig
from qformers.models.transformer import TransformerConfig, transformer


def _part(cfg: Any, sizes: Any, nn: Any) -> Any:
    from qformers.models.part.part import part

    return part(cfg, sizes, nn)


def _hept(cfg: Any, sizes: Any, nn: Any) -> Any:
    from qformers.models.hept.hept import hept

    return hept(cfg, sizes, nn)


@dataclass(frozen=True)
class Arch:
    """An architecture.

    Attributes:
        config: its record, spelt by the section ``model`` of a build file.
        build: the function of (configuration, sizes, vocabulary) that makes the Keras model.
    """

    config: type[Section]
    build: Callable[[Any, Any, Any], Any]


MODELS: dict[str, Arch] = {
    "part": Arch(PartConfig, _part),
    "deepsets": Arch(DeepSetsConfig, deepsets),
    "mixer": Arch(MixerConfig, mixer),
    "jedi_linear": Arch(JediLinearConfig, jedi_linear),
    "transformer": Arch(TransformerConfig, transformer),
    "hept": Arch(HeptConfig, _hept),
}
