"""The tables of the energies of clusters, from rows as `benchmarks/clusters.py` keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import clusters, trained
from qformers.tasks.metrics import regression

R2, RMSE = {"value": 0.8, "error": 0.01}, {"value": 0.17, "error": 0.004}


def row(model: str, seed: int = 1, **more: Any) -> dict[str, Any]:
    """A row of a training in float; `more` of what was quantised."""
    return {
        "model": model, "seed": seed, "epochs": 30, "parameters": 2577, "float": R2, "rmse": RMSE,
        "of_mean": {"value": 0.4, "error": 0.01}, "events": {"train": 16_000, "val": 2000, "test": 2000},
        "date": "2026-01-01", "machine": "2 cores", **more,
    }  # fmt: skip


FOLDED = {
    "qat_epochs": 25, "quantised": R2, "minus_float": {"value": -0.004, "error": 0.002}, "ebops": 37_783,
    "resources": {"lut": 26_071, "dsp": 0}, "tool": "alkaid 0", "ii_cycles": 4, "latency_cycles": 92, "clock_ns": 5.0,
    "differ": [0, 2000],
}  # fmt: skip
CONTENT = {"rows": [row("erwin", **FOLDED), row("erwin", 2), row("mha")]}


def lines(text: str) -> list[list[str]]:
    """Cells of a table in Markdown, without its rule."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "---" not in line]


def test_seeds_stand_side_by_side_and_the_mean_below() -> None:
    head, *rows = lines(clusters.text(CONTENT))
    assert head == ["model", "parameters", "R², seed 1", "RMSE, seed 1", "R², seed 2", "RMSE, seed 2"]
    assert rows[0] == ["Erwin", "2,577", *["0.8000 ± 0.0100", "0.1700 ± 0.0040"] * 2]
    assert rows[1][2:] == ["0.8000 ± 0.0100", "0.1700 ± 0.0040", "", ""]
    assert rows[2] == ["mean of all", "0", *["0", "0.4000 ± 0.0100"] * 2]


def test_only_what_was_folded_has_a_cost() -> None:
    _, *rows = lines(clusters.folded_text(CONTENT))
    assert len(rows) == 1
    assert rows[0][4:6] == ["-0.0040 ± 0.0020", "37,783"]
    assert rows[0][-1] == "0 of 2,000"


def test_conditions_name_events_epochs_and_units() -> None:
    said = clusters.conditions(CONTENT)
    assert "16,000 training and 2,000 test clusters, 30 epochs in float, 25 quantised; alkaid 0, estimate" in said
    assert said.endswith("RMSE in epsilon per atom; differences are those of the same clusters; 2 cores, 2026-01-01.")


def test_differences_are_those_of_the_same_events(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    labels = rng.normal(-3.0, 0.4, (500, 1))
    both = [(labels + 2.75) * 4.0 + spread * rng.normal(size=labels.shape) for spread in (0.4, 0.3)]
    for name, logits in zip("ab", both, strict=True):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "test_logits.npz", logits=logits, labels=labels)
    found = clusters.minus(tmp_path / "a", tmp_path / "b")
    first, second = (regression.r2(logits[:, 0] / 4.0 - 2.75, labels[:, 0]).value for logits in both)
    assert first is not None
    assert second is not None
    assert found["value"] == pytest.approx(first - second)


def test_rows_that_are_known_stay_and_are_ordered(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    for made in ([{"n": 2, "x": 1}], [{"n": 1, "x": 1}, {"n": 2, "x": 3}]):
        trained.keep(path, made, ("n",), lambda key: key)
    assert clusters.read(path)["rows"] == [{"n": 1, "x": 1}, {"n": 2, "x": 3}]
