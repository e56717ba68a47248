"""Formats of the coordinates of points, in fixed point: ``quant.coords``, or what the build file says of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qformers.nn.vocabulary import Form
from qformers.precision.fixed import Fixed

if TYPE_CHECKING:
    from qformers.nn.formats import Formats


def coords(formats: Formats) -> str:
    """Of the coordinates, unless the build file says something else of the layer that rounds them."""
    return formats.quant.coords


def told(formats: Formats, layer: str) -> Fixed:
    """Of the coordinates behind the layer that rounds them."""
    return formats.own(layer, "Quantizer", "input", formats.quant.coords)


def coords_as_told(layer: str, finer: int = 0) -> Form:
    """The same as a form.

    Args:
        layer: that rounds them.
        finer: more fraction bits: of means of coordinates.
    """

    def form(formats: Formats) -> str:
        own = told(formats, layer)
        return str(Fixed(own.signed, own.integer_bits, own.fraction_bits + finer, own.rounding, own.overflow))

    return form
