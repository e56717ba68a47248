"""The tables of Erwin beside ParT and HEPT, from rows as `benchmarks/erwin.py` keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import erwin

SCORE = {"value": 0.65, "error": 0.0075}
FOLDED = {
    "qat_epochs": 25, "quantised": SCORE, "minus_float": {"value": -0.006, "error": 0.004}, "ebops": 281_710,
    "resources": {"lut": 226_445, "dsp": 0}, "tool": "alkaid 0", "ii_cycles": 2, "latency_cycles": 45, "clock_ns": 5.0,
    "differ": [0, 53_745],
}  # fmt: skip


def row(task: str, model: str, seed: int = 1, **more: Any) -> dict[str, Any]:
    """A row of a training in float; `more` of what was quantised."""
    return {
        "task": task, "model": model, "seed": seed, "epochs": 30, "parameters": 3315, "float": SCORE,
        "events": {"train": 32_000, "val": 4000, "test": 4000}, "date": "2026-01-01", "machine": "2 cores", **more,
    }  # fmt: skip


CONTENT = {"rows": [row("jets", "erwin", **FOLDED), row("jets", "erwin", 2), row("hits", "hept")]}


@pytest.fixture(autouse=True)
def figures_of_hrrformer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with ParT on the same jets."""
    path = tmp_path / "hrrformer.json"
    rows = [
        {"task": "jets", "variant": "ParT", "seed": 2, "parameters": 2833, "float": {"value": 0.67, "error": 0.007}}
    ]
    path.write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr(erwin, "HRRFORMER", path)


def lines(text: str) -> list[list[str]]:
    """Cells of a table in Markdown, without its rule."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "---" not in line]


def test_a_peer_that_another_benchmark_trains_is_read_there() -> None:
    head, *rows = lines(erwin.text(CONTENT))
    assert head[2:] == ["model", "parameters", "float, seed 1", "float, seed 2"]
    assert rows == [
        ["jets, 16 particles", "accuracy", "Erwin", "3,315", "0.6500 ± 0.0075", "0.6500 ± 0.0075"],
        ["jets, 16 particles", "accuracy", "ParT", "2,833", "", "0.6700 ± 0.0070"],
        ["hits, windows of 256", "AP@0.9", "HEPT", "3,315", "0.6500 ± 0.0075", ""],
    ]


def test_only_what_was_folded_has_a_cost() -> None:
    _, *rows = lines(erwin.folded_text(CONTENT))
    assert [row[:2] for row in rows] == [["jets, 16 particles", "1"]]
    assert rows[0][4] == "-0.0060 ± 0.0040"
    assert rows[0][-1] == "0 of 53,745"


def test_conditions_name_events_and_epochs() -> None:
    said = erwin.conditions(CONTENT)
    assert "`firmware_configs/erwin_jets16.yaml`, 32,000 training and 4,000 test events, 30 epochs in float, 25" in said
    assert said.endswith("alkaid 0, estimate, not synthesis; 2 cores, 2026-01-01.")


def test_differences_of_other_scores_have_both_errors(tmp_path: Path) -> None:
    for phase, value, error in (("qat", 0.48, 0.03), ("float", 0.53, 0.04)):
        (tmp_path / phase).mkdir()
        (tmp_path / phase / "metrics.json").write_text(json.dumps({"ap_0.9": {"value": value, "error": error}}))
    found = erwin.apart("ap_0.9")(tmp_path / "qat", tmp_path / "float")
    assert found == pytest.approx({"value": -0.05, "error": 0.05})
