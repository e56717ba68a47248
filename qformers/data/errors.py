"""The one error of the data layer."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be used; the message names the file and the branch, what was found and the way out."""
