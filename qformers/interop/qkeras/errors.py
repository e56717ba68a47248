"""The error of this package."""

from __future__ import annotations

from qformers.interop.errors import WeightsError


class QkerasError(WeightsError):
    """A QKeras quantiser, layer or file that cannot be taken over; the message names it and the way out."""
