"""In which format the values that a layer gives out are kept: of the quantised model, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.nn.memory import inputs_of
from qformers.precision.fixed import OVERFLOW, ROUNDING, Fixed
from qformers.quant.formats import setting_of
from qformers.quant.intervals import NO_BITS, constant
from qformers.quant.kinds import kind_of
from qformers.quant.quantisers import Quantiser
from qformers.quant.readers import readers

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kept:
    """What rounds the values of a layer: the layer itself, or else all that read them.

    Attributes:
        fraction_bits: of the finest format; None where nothing rounds them, as with most outputs of a model.
        as_read: the format that all readers round all values to; None where they differ, where the layer has rounded
            its values itself, and where the values leave the model as they are.
    """

    fraction_bits: int | None
    as_read: Fixed | None

    def read(self, values: Array) -> Array:
        """Values of the layer as they are used. A backend may round them where they are made or where they are read;
        behind that rounding all hold the same.
        """
        return values if self.as_read is None else self.as_read.quantise(values)

    def step(self, values: Array) -> float:
        """The step that differences are counted in; of values that nothing rounds, the one of which all are multiples
        (1 where all are 0).
        """
        bits = self.fraction_bits
        if bits is None:
            bits = int(constant(values).fraction_bits.max(initial=NO_BITS))
        return 1.0 if bits == NO_BITS else 2.0**-bits


def kept(model: keras.Model) -> dict[str, Kept]:
    """Layer -> how its output is kept.

    Args:
        model: vocabulary hgq, functional, every layer with one output.
    """
    reading, leaving = readers(model), {id(tensor) for tensor in model.outputs}
    users: dict[int, list[Any]] = {}
    for layer in model.layers:
        for tensor in [] if isinstance(layer, keras.layers.InputLayer) else inputs_of(layer):
            users.setdefault(id(tensor), []).append(layer)

    def of(tensor: Any) -> Iterator[Quantiser | None]:
        """The quantisers that read a tensor, also behind layers that round nothing; None: something reads it whole."""
        found = reading.get(id(tensor), [])
        yield from found
        for user in users.get(id(tensor), []):
            kind = kind_of(user)
            if any(quantiser.layer is user for quantiser in found):
                continue
            rounds = any(kind.quantisers(user))
            if not rounds:
                yield from of(user.output)
            if rounds or not (kind.moves or kind.joins):  # a sum, say: to round it is not to round what it adds up
                yield None

    formats = {}
    for layer in model.layers:
        own = [quantiser for quantiser in kind_of(layer).quantisers(layer) if quantiser.part in ("oq", "")]
        found: list[Quantiser | None] = [*own] or list(of(layer.output))
        rounding = [quantiser for quantiser in found if quantiser is not None]
        bits = max((_form(quantiser).fraction_bits for quantiser in rounding), default=None)
        whole = bool(own) or id(layer.output) in leaving or len(rounding) < len(found)
        formats[layer.name] = Kept(bits, None if whole else _single(rounding))
    return formats


def _form(quantiser: Quantiser) -> Fixed:
    """The format that holds all formats of a quantiser."""
    return cast(Fixed, setting_of(quantiser).value)


def _single(rounding: list[Quantiser]) -> Fixed | None:
    """The one format of all values of these quantisers; None where they have several, or one without bits."""
    forms = {_form(quantiser) for quantiser in rounding}
    bits = {
        kif
        for quantiser in rounding
        for kif in zip(*(part.ravel().tolist() for part in quantiser.kif()), strict=True)
    }  # fmt: skip
    if len(forms) != 1 or len(bits) != 1 or sum(*bits) <= 0:
        return None
    form = forms.pop()
    return form if form.rounding in ROUNDING and form.overflow in OVERFLOW else None
