"""Numbers for predictions of a quantity, each with its statistical error.

Errors are those of means over independent events; R^2 is a ratio of two such means, whose error follows from the spread
of what each event adds to it (delta method).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.tasks.metrics.jets import Measured

Floats = NDArray[np.floating[Any]]
FEWEST = 2  # events
TOO_FEW = "an error needs two events: give more"
ALIKE = "at least two events of different values are needed: give more"


def checked(predicted: Floats, truth: Floats) -> None:
    """Raise for what is no prediction.

    Raises:
        ValueError: other shapes than (n,) both, none, or numbers that are not finite.
    """
    if predicted.shape != truth.shape or predicted.ndim != 1 or not len(truth):
        raise ValueError(
            f"predicted and true values must be (events,), one event or more. Received: shapes {predicted.shape} and "
            f"{truth.shape}"
        )
    if not (np.isfinite(predicted).all() and np.isfinite(truth).all()):
        raise ValueError("predicted and true values must be finite. Received: NaN or infinity")


def r2(predicted: Floats, truth: Floats) -> Measured:
    """1 - sum (predicted - true)^2 / sum (true - mean)^2: 1 is perfect, 0 what the mean of these events gives.

    Args:
        predicted, truth: (n,).
    """
    if not _differ(truth):
        return Measured(None, None, ALIKE)
    left, terms = _left(predicted, truth)
    return Measured(1.0 - left, float(np.std(terms, ddof=1)) / math.sqrt(len(truth)))


def r2_minus(predicted: Floats, other: Floats, truth: Floats) -> Measured:
    """R^2 of `predicted` less that of `other`, both for the same events, with the error of the difference.

    Args:
        predicted, other, truth: (n,).
    """
    if not _differ(truth):
        return Measured(None, None, ALIKE)
    (left, terms), (other_left, other_terms) = _left(predicted, truth), _left(other, truth)
    return Measured(other_left - left, float(np.std(terms - other_terms, ddof=1)) / math.sqrt(len(truth)))


def _differ(truth: Floats) -> bool:
    return len(truth) >= FEWEST and bool(np.ptp(truth) > 0)


def _left(predicted: Floats, truth: Floats) -> tuple[float, NDArray[np.float64]]:
    """1 - R^2, and by how much each event moves it from there (n,)."""
    wide, apart = _squares(predicted, truth), _squares(truth, np.full(len(truth), np.mean(truth, dtype=np.float64)))
    spread = float(apart.mean())
    left = float(wide.mean()) / spread
    return left, (wide - left * apart) / spread


def rmse(predicted: Floats, truth: Floats) -> Measured:
    """Root of the mean squared error, in the unit of the values."""
    squares = _squares(predicted, truth)
    value = math.sqrt(squares.mean())
    if len(truth) < FEWEST:
        return Measured(value, None, TOO_FEW)
    error = float(np.std(squares, ddof=1)) / math.sqrt(len(truth))
    return Measured(value, error / (2.0 * value) if value else 0.0)


def mae(predicted: Floats, truth: Floats) -> Measured:
    """Mean absolute error, in the unit of the values."""
    sizes = np.sqrt(_squares(predicted, truth))
    if len(truth) < FEWEST:
        return Measured(float(sizes.mean()), None, TOO_FEW)
    return Measured(float(sizes.mean()), float(np.std(sizes, ddof=1)) / math.sqrt(len(truth)))


def report(predicted: Floats, truth: Floats) -> dict[str, Any]:
    """All numbers of one model on one split, as JSON (``metrics.json``), beside those of the mean of these events.

    Args:
        predicted, truth: (n,), in the unit of the values.

    Raises:
        ValueError: as `checked`.
    """
    checked(predicted, truth)
    errors = {"rmse": rmse, "mae": mae}
    mean = np.full(len(truth), np.mean(truth, dtype=np.float64))
    return {
        "events": len(truth),
        "r2": r2(predicted, truth).as_json(),
        **{name: error(predicted, truth).as_json() for name, error in errors.items()},
        "bias": float(np.mean(predicted.astype(np.float64) - truth)),
        "of_mean": {name: error(mean, truth).as_json() for name, error in errors.items()},
    }


def _squares(predicted: Floats, truth: Floats) -> NDArray[np.float64]:
    """(n,), squared errors."""
    return np.asarray((predicted.astype(np.float64) - truth) ** 2)
