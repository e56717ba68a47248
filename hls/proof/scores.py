"""Scores of the models of a build, as the cells of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qformers.results import spell as spell_measured
from qformers.tasks.score_names import THRESHOLD, spell


def with_error(measured: Mapping[str, Any], digits: int = 4) -> str:
    """``0.4120 ± 0.0100``, or n/a."""
    return spell_measured(measured["value"], measured["error"], digits=digits)


def rows(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """What a table says of reports: row -> a cell for each report.

    AP@k of each pT threshold, AUPRC and the precision at each recall, or R^2 and the errors of what is predicted, or
    accuracy and AUC of a model of one's own; with errors where the report has them.
    """
    first = next(iter(reports.values()))
    cells = {
        spell(key): [with_error(report[key]) for report in reports.values()]
        for key in first
        if key.startswith(THRESHOLD) or key in ("accuracy", "auc", "auprc", "r2", "rmse", "mae")
    }
    for recall in first.get("precision_at_recall", {}):
        values = [report["precision_at_recall"][recall] for report in reports.values()]
        cells[f"precision at recall {recall}"] = ["n/a" if value is None else f"{value:.4f}" for value in values]
    return cells
