"""The error of this package."""

from __future__ import annotations


class WeightsError(ValueError):
    """Weights that cannot be used; the message names every entry or the file."""
