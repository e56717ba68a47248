"""Makes quantised models of one float model, from one build, in any formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
from numpy.typing import NDArray

from qformers.builds.build import Build
from qformers.builds.models import load_model
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.precision.fixed import Fixed
from qformers.quant.fold import float_to_quantised
from qformers.quant.ptq.slots import LOGITS, Slot, format_of, formats_of, slots_of, with_formats
from qformers.quant.quantisers import Quantiser, quantisers

Inputs = dict[str, NDArray[Any]]
# Ranges are measured in a model that hardly rounds and does not clip: up to the 24 bits of float32. The formats differ
# from each other and from all that the vocabulary uses itself, so that they tell who follows which default.
WIDE = Fixed(True, 11, 12)
WIDE_WEIGHT = Fixed(True, 7, 16, "RND", "SAT_SYM")
WIDE_BIAS = Fixed(True, 10, 13)
WIDE_LOGITS = Fixed(True, 9, 13)
COUNTED_JETS = 2  # EBOPs of fixed formats do not depend on the jets that are sent through to count them


@dataclass(frozen=True)
class Probe:
    """Names of the quantisers of attention logits, and the slots whose format is a default of the build file."""

    logits: frozenset[str]
    free: frozenset[Slot]


@dataclass(frozen=True)
class Workshop:
    """What every model of a post-training quantisation has in common.

    Attributes:
        build: the build file; formats are taken from it unless others are given.
        float_model: trained, vocabulary float32 or of plain Keras.
        make: from a build to its quantised model without weights, or with those of the float model, none learned.
        inputs: calibration jets, by name of the quantised model's inputs.
    """

    build: Build
    float_model: keras.Model
    make: Callable[[Build], keras.Model]
    inputs: Inputs

    def empty(self, formats: Mapping[Slot, Fixed] | None = None) -> keras.Model:
        """A quantised model without weights, none of its formats learned."""
        keras.utils.set_random_seed(self.build.seed)  # HGQ2 and Keras draw numbers that nothing reads; the same ones
        return self.make(self.said(formats))

    def said(self, formats: Mapping[Slot, Fixed] | None = None) -> Build:
        """The build that says these formats."""
        return with_formats(self.build, formats or {})

    def model(self, formats: Mapping[Slot, Fixed] | None = None) -> keras.Model:
        """A quantised model with the weights of the float one, norms folded, EBOPs counted."""
        model = self.empty(formats)
        few = {name: array[:COUNTED_JETS] for name, array in self.inputs.items()}
        float_to_quantised(self.float_model, model, few)
        return model

    def slots(self, model: keras.Model) -> dict[Slot, tuple[Quantiser, ...]]:
        """The slots of a model made here."""
        return slots_of(model, self.probe.logits)

    @cached_property
    def template(self) -> keras.Model:
        """The model as the build says it, without weights: for its inputs and formats."""
        return self.empty()

    @cached_property
    def formats(self) -> dict[Slot, Fixed]:
        """Slot -> format, as the build says it."""
        return formats_of(self.slots(self.template))

    @cached_property
    def probe(self) -> Probe:
        """What follows the defaults of the build, found by building the model with defaults that nothing else has."""
        quant = with_formats(self.build, {}).quant
        wide = {"weight": WIDE_WEIGHT, "bias": WIDE_BIAS, "activation": WIDE, "logits": WIDE_LOGITS}
        plain = (quant or QuantConfig()).model_copy(
            update={"layers": {}, "types": {}, **{key: str(form) for key, form in wide.items()}}
        )
        probe = self.make(self.build.model_copy(update={"quant": plain}))
        forms = {held.name: format_of(held) for held in quantisers(probe) if held.kif()[0].size == 1}
        logits = frozenset(name for name, form in forms.items() if form == WIDE_LOGITS)
        ours = (WIDE_WEIGHT, WIDE_BIAS, WIDE)
        free = frozenset(slot for slot, form in formats_of(slots_of(probe)).items() if form in ours)
        return Probe(logits, free)

    def is_free(self, slot: Slot) -> bool:
        """Whether the data may choose the integer bits of a slot; those of tables and constants are the model's."""
        return slot == LOGITS or slot.name == "result" or slot in self.probe.free


def read_float_model(path: Path) -> keras.Model:
    """The float model in a file.

    Raises:
        ConfigError: no such file, no model, or a quantised one.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; train the float phase first: qformers train BUILD --phase float")
    model = load_model(path)
    if quantisers(model):
        raise ConfigError(
            f"{path}: is a quantised model already; post-training quantisation starts from the float one "
            "(RUN/float/model.keras)"
        )
    return model
