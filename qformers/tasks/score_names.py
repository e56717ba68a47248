"""How the score of a task is called: the keys of `qformers.tasks.task.Task`, in words."""

from __future__ import annotations

NAMES = {"accuracy": "accuracy", "auprc": "AUPRC"}
THRESHOLD = "ap_"  # of AP@k for pT above a threshold in GeV


def spell(score: str) -> str:
    """ "ap_0.9" -> "AP@0.9", "auprc" -> "AUPRC"; a name that is not known as it is."""
    if score.startswith(THRESHOLD):
        return f"AP@{score.removeprefix(THRESHOLD)}"
    return NAMES.get(score, score)
