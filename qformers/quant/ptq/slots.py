"""Slots: the places of a model whose format a build file can say, and the quantisers that sit there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from qformers.builds.build import Build
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.nn.memory import memory_of
from qformers.precision.fixed import Fixed
from qformers.precision.table import PLACES
from qformers.quant.quantisers import Quantiser, quantisers


class Slot(NamedTuple):
    """A layer and what of it is said, a key of `qformers.config.layers.LayerFormats`; or `LOGITS`."""

    layer: str
    name: str

    def __str__(self) -> str:
        return f"{self.layer}.{self.name}"


LOGITS = Slot("quant", "logits")  # the one format that all attention scores share


def slots_of(model: Any, logits: Collection[str] = ()) -> dict[Slot, tuple[Quantiser, ...]]:
    """Slot -> its quantisers, for every slot that `quant.layers` or `quant.logits` can speak of, in layer order.

    Args:
        model: of the vocabulary hgq, built or loaded: it remembers what was asked of the build file.
        logits: names of the quantisers whose format is `quant.logits` (`Workshop.probe` finds them).

    Raises:
        ConfigError: the model was saved before models remembered that.
    """
    memory = memory_of(model)
    if memory is None:
        raise ConfigError(
            f"model '{model.name}' does not say which formats were asked for: it was saved before models kept that; "
            "make it anew with build_model(..., 'hgq')"
        )
    said = {Slot(row.layer, slot) for row in memory.asked.rows for slot in row.settings}
    slots: dict[Slot, tuple[Quantiser, ...]] = {}
    for quantiser in quantisers(model):
        slot = Slot(quantiser.layer.name, quantiser.slot)
        if slot in said:
            slots[slot] = (quantiser,)
    shared = tuple(quantiser for quantiser in quantisers(model) if quantiser.name in logits)
    return {**slots, LOGITS: shared} if shared else slots


def formats_of(slots: Mapping[Slot, tuple[Quantiser, ...]]) -> dict[Slot, Fixed]:
    """Slot -> the format its quantisers hold; one format per slot, as a model without learned widths has it."""
    return {slot: format_of(held[0]) for slot, held in slots.items()}


def format_of(quantiser: Quantiser) -> Fixed:
    """The format of a quantiser that has one for its whole tensor."""
    k, i, f = (int(part.ravel()[0]) for part in quantiser.kif())
    return Fixed(bool(k), i, f, quantiser.core.round_mode, quantiser.core.overflow_mode)


def with_formats(build: Build, formats: Mapping[Slot, Fixed]) -> Build:
    """`build` with these formats, none learned; slots that are not named keep what the build says of them.

    Raises:
        ConfigError: the build has no section `quant`.
    """
    if build.quant is None:
        raise ConfigError(f"build '{build.name}': a quantised model needs a section 'quant' in the build file")
    tree = build.quant.model_dump(mode="json")
    layers = {key: dict(entry) for key, entry in tree["layers"].items()}
    tree["learn"] = False
    for slot, form in formats.items():
        if slot == LOGITS:
            tree["logits"] = str(form)
            continue
        entry = layers.pop(slot.layer, {})  # moved to the end, behind the globs that match it
        if slot.name == "input":
            entry.pop("activation", None)
        layers[slot.layer] = {**entry, slot.name: str(form)}
    tree["layers"] = layers
    return build.model_copy(update={"quant": QuantConfig.model_validate(tree)})


def place_of(slot: Slot) -> str:
    """Which of weights, biases, values and tables a slot belongs to; for tables and pictures."""
    return "value" if slot == LOGITS else PLACES[slot.name]
