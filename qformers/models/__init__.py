"""Architectures: each one record (configuration, function, small forms, form in fixed point) in `MODELS`.

Importing this imports no Keras: a build file is read and refused without it.
"""

from __future__ import annotations

from qformers.models.arch import Arch
from qformers.models.deepsets import DEEPSETS
from qformers.models.erwin import ERWIN
from qformers.models.hept import HEPT
from qformers.models.hrrformer import HRRFORMER
from qformers.models.jedi_linear import JEDI_LINEAR
from qformers.models.mixer import MIXER
from qformers.models.own import GIVEN, OWN
from qformers.models.part import PART
from qformers.models.transformer import TRANSFORMER

MODELS: dict[str, Arch] = {
    "part": PART,
    "deepsets": DEEPSETS,
    "mixer": MIXER,
    "jedi_linear": JEDI_LINEAR,
    "transformer": TRANSFORMER,
    "hept": HEPT,
    "hrrformer": HRRFORMER,
    "erwin": ERWIN,
}


def arch_of(name: str) -> Arch | None:
    """The record that a build file names: an architecture, or that of a model that was given as a file."""
    return OWN if name == GIVEN else MODELS.get(name)
