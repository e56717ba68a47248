"""EBOPs of a model as a function of its bits, layer by layer, without running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from qformers.precision.fixed import Fixed
from qformers.quant.hardware import counts, recounted
from qformers.quant.kinds import kind_of
from qformers.quant.ptq.ebops import bits_of, formula_of
from qformers.quant.ptq.slots import Slot, format_of
from qformers.quant.quantisers import Quantiser, quantisers


class Dials:
    """Sets the formats of a model's quantisers, and leaves alone what is set already.

    Args:
        slots: slot -> its quantisers; one format for each.
    """

    def __init__(self, slots: Mapping[Slot, tuple[Quantiser, ...]]) -> None:
        self.slots = dict(slots)
        self._at: dict[Slot, Fixed] = {}

    def set(self, formats: Mapping[Slot, Fixed]) -> None:
        """Give slots other bits.

        Raises:
            ValueError: a format asks for another rounding or overflow, which are part of the layer.
        """
        for slot, form in formats.items():
            if self._at.get(slot) == form:
                continue
            for quantiser in self.slots[slot]:
                _assign(quantiser, form)
            self._at[slot] = form


class Cost:
    """Counts EBOPs as HGQ2 does, and remembers what each layer costs in which formats.

    Args:
        model: a quantised model; the formats of its quantisers are changed to count.
        dials: set them.
    """

    def __init__(self, model: keras.Model, dials: Dials) -> None:
        self.dials = dials
        self.layers = {layer.name: layer for layer in model.layers if _priced(layer)}
        self.readers: dict[str, list[Slot]] = {name: [] for name in self.layers}  # layer -> slots it depends on
        for slot, held in dials.slots.items():
            for name in {quantiser.layer.name for quantiser in held}:
                if name in self.readers:
                    self.readers[name].append(slot)
        held_by: dict[str, list[Quantiser]] = {}
        for quantiser in quantisers(model):
            held_by.setdefault(quantiser.layer.name, []).append(quantiser)
        owner = {quantiser.name: slot for slot, held in dials.slots.items() for quantiser in held}
        self._formulas = {name: _Counted(layer, held_by[name], owner) for name, layer in self.layers.items()}
        self.elements = {slot: sum(quantiser.elements for quantiser in held) for slot, held in dials.slots.items()}
        self._known: dict[tuple[str, tuple[Fixed, ...]], int] = {}

    def total(self, formats: Mapping[Slot, Fixed]) -> int:
        """EBOPs of the model in these formats; equal to what HGQ2 counts."""
        return sum(self._layer(name, formats) for name in self.layers)

    def change(self, formats: Mapping[Slot, Fixed], changed: Mapping[Slot, Fixed]) -> int:
        """EBOPs gained by changing some formats: those of the layers that read them are counted again."""
        after = {**formats, **changed}
        touched = {name for name, read in self.readers.items() if any(slot in changed for slot in read)}
        return sum(self._layer(name, after) - self._layer(name, formats) for name in touched)

    def wires(self, formats: Mapping[Slot, Fixed]) -> int:
        """Bits of all tensors and weights that the slots describe, elements times width."""
        return sum(self.elements[slot] * form.width for slot, form in formats.items())

    def _layer(self, name: str, formats: Mapping[Slot, Fixed]) -> int:
        key = (name, tuple(formats[slot] for slot in self.readers[name]))
        if key not in self._known:
            counted = self._formulas[name].ebops(formats)
            if counted is None:  # HGQ2 has to count it
                self.dials.set({slot: formats[slot] for slot in self.readers[name]})
                counted = recounted(self.layers[name])
            self._known[key] = counted
        return self._known[key]


class _Counted:
    """A layer whose EBOPs have a closed form, with the formats of its quantisers that belong to no slot."""

    def __init__(self, layer: Any, held: list[Quantiser], owner: Mapping[str, Slot]) -> None:
        self._formula = formula_of(layer)
        self._slots: dict[str, Slot] = {}
        self._fixed: dict[str, int] = {}
        for quantiser in held:
            if quantiser.name in owner:
                self._slots[quantiser.slot] = owner[quantiser.name]
            elif quantiser.kif()[0].size == 1:
                self._fixed[quantiser.slot] = bits_of(format_of(quantiser))
            else:
                self._formula = None  # a width per element

    def ebops(self, formats: Mapping[Slot, Fixed]) -> int | None:
        """EBOPs in these formats; None without a closed form."""
        if self._formula is None:
            return None
        return self._formula({**self._fixed, **{name: bits_of(formats[slot]) for name, slot in self._slots.items()}})


def _assign(quantiser: Quantiser, form: Fixed) -> None:
    core = quantiser.core
    if (form.rounding, form.overflow) != (core.round_mode, core.overflow_mode):
        raise ValueError(f"{quantiser.name} is {core.round_mode}, {core.overflow_mode}. Received: {form}")
    for variable, bits in ((core._k, form.signed), (core._i, form.integer_bits), (core._f, form.fraction_bits)):
        variable.assign(ops.full(variable.shape, int(bits), dtype=variable.dtype))


def _priced(layer: Any) -> bool:
    """Whether HGQ2 counts it, or a layer in it."""
    return any(counts(part) for part, _ in kind_of(layer).counted(layer))
