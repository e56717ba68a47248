"""How the score of a task is called: the keys of `qformers.tasks.task.Task`, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qformers.results import spell as spell_measured
from qformers.tasks.metrics.jets import TWO_CLASS_KEY

NAMES = {"accuracy": "accuracy", "auc": "AUC", "auprc": "AUPRC", "r2": "R²", "rmse": "RMSE", "mae": "MAE"}
LARGE = 10.0  # rejections from here on need one decimal
THRESHOLD = "ap_"  # of AP@k for pT above a threshold in GeV


def spell(score: str) -> str:
    """ "ap_0.9" -> "AP@0.9", "auprc" -> "AUPRC"; a name that is not known as it is."""
    if score.startswith(THRESHOLD):
        return f"AP@{score.removeprefix(THRESHOLD)}"
    return NAMES.get(score, score)


def two_classes(numbers: Mapping[str, Any], sign: str = "±") -> dict[str, str]:
    """What is expected of a tagger of two classes besides its accuracy: name -> value with its error, or its limit.

    Args:
        numbers: of a report; of one without rejections at both signal efficiencies nothing is given.
        sign: between value and error.
    """
    if not numbers.get(TWO_CLASS_KEY):
        return {}
    said = {spell("auc"): spell_measured(numbers["auc"]["value"], numbers["auc"]["error"], sign)}
    for signal in numbers["rejection"]:
        for key in ("rejection", TWO_CLASS_KEY):
            found = numbers[key][signal]
            said[f"rejection {signal} @ {100 * found['efficiency']:g}%"] = _rejection(found, sign)
    return said


def _rejection(found: Mapping[str, Any], sign: str) -> str:
    if found["value"] is not None and found["limit"]:
        return f"> {found['value']:.1f}"
    digits = 1 if found["value"] is None or found["value"] >= LARGE else 2
    return spell_measured(found["value"], found["error"], sign, digits)
