"""Errors that a user can mend: one base, and a class for each part of the flow that meets them.

Each message names the file, key or layer, the value received and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class QformersError(Exception):
    """Base of every error that a command shows as one message."""


class ConfigError(QformersError, ValueError):
    """A build file that cannot be used; the message names the file, the key and the value."""


class DataError(QformersError, ValueError):
    """Data that cannot be used; the message names the file and the branch, the value received and the way out."""


class DamagedError(QformersError, ValueError):
    """A file that a stage left is missing, damaged or exchanged; the message names it and the way out."""


class GenerateError(QformersError, RuntimeError):
    """Data cannot be generated: another process works in the folder, or Pythia makes nothing of the settings."""


class TrainingError(QformersError, RuntimeError):
    """The training cannot start or go on."""


class CheckpointError(TrainingError):
    """A checkpoint that does not belong to this build, or is damaged."""


class DivergedError(TrainingError):
    """The loss became NaN or infinite; the batch is saved."""


class WeightsError(QformersError, ValueError):
    """Weights of another framework that cannot be used; the message names every entry or the file."""


class QkerasError(WeightsError):
    """A QKeras quantiser, layer or file that cannot be taken over; the message names it and the way out."""


class QonnxError(QformersError, ValueError):
    """A model that QONNX cannot say exactly, or a package that writes it is missing; the message names every layer."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of `choices`, or the list of them.

    Args:
        name: what was written.
        choices: what would have been accepted.
    """
    known = sorted(choices)
    if not known:
        return "; there is none to choose from"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; choose one of {', '.join(known)}"


def shown(value: Any, limit: int = 200) -> str:
    """`value` for a message, cut where it is long (YAML anchors make trees whose text is endless)."""
    if isinstance(value, str | int | float | None) or not value:
        try:
            text = repr(value)
        except ValueError:  # an integer of thousands of digits
            text = "a number of thousands of digits"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{shown(key, 20)}: ..." for key in list(value)[:5]) + "}"
    else:
        text = f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__
        first = list(value)[:5] if isinstance(value, list | tuple) else []
        if first and all(isinstance(item, str | int | float) for item in first):
            text = "[" + ", ".join(shown(item, 40) for item in first) + (", ...]" if len(value) > 5 else "]")
    return text if len(text) <= limit else text[:limit] + "..."


def first_line(error: BaseException, limit: int = 200) -> str:
    """The first line of what a library says, cut where it is long; its kind where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0][:limit] if text else type(error).__name__
