"""The tables of Hrrformer beside its controls, from rows as `benchmarks/hrrformer.py` keeps them."""

from __future__ import annotations

from typing import Any

from benchmarks import hrrformer

SCORE = {"value": 0.65, "error": 0.0075}


def row(task: str, variant: str, seed: int = 1, **more: Any) -> dict[str, Any]:
    """A row of a training in float; `more` of what was quantised."""
    return {
        "task": task, "variant": variant, "seed": seed, "epochs": 30, "parameters": 2577,
        "events": {"train": 32_000, "val": 4000, "test": 4000}, "float": SCORE, "date": "2026-01-01",
        "machine": "2 cores", **more,
    }  # fmt: skip


FOLDED = {
    "qat_epochs": 25, "quantised": SCORE, "minus_float": {"value": -0.004, "error": 0.004}, "ebops": 37_783,
    "resources": {"lut": 26_071, "dsp": 0}, "tool": "alkaid 0", "ii_cycles": 16, "latency_cycles": 92, "clock_ns": 5.0,
    "differ": [0, 53_425],
}  # fmt: skip
CONTENT = {"rows": [row("jets", "none"), row("jets", "none", 2), row("jets", "hrr xT", **FOLDED), row("jets", "ParT")]}


def lines(text: str) -> list[list[str]]:
    """Cells of a table in Markdown, without its rule."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "---" not in line]


def test_seeds_stand_side_by_side_and_one_that_is_missing_is_empty() -> None:
    head, *rows = lines(hrrformer.text(CONTENT))
    assert head[3:] == ["float %, seed 1", "float %, seed 2"]
    assert [line[1] for line in rows] == ["no attention", "holographic, xT", "ParT"]
    assert rows[0][3:] == ["65.00 ± 0.75", "65.00 ± 0.75"]
    assert rows[1][4] == ""


def test_only_what_was_folded_has_a_cost() -> None:
    _, *rows = lines(hrrformer.folded_text(CONTENT))
    assert len(rows) == 1
    assert rows[0][4:] == [
        "-0.40 ± 0.40", "37,783", "26,071", "0", "16 = 80 ns", "92 = 460 ns", "0 of 53,425",
    ]  # fmt: skip


def test_conditions_name_the_build_the_events_and_the_epochs() -> None:
    said = hrrformer.conditions(CONTENT)
    assert "`firmware_configs/hrrformer_jets16.yaml`, 32,000 training and 4,000 test events, 30 epochs in float" in said
    assert said.endswith("alkaid 0, estimate, not synthesis; 2 cores, 2026-01-01.")


def test_every_training_has_a_folder_of_its_own() -> None:
    names = {
        hrrformer.run_of(task, variant, seed).name
        for task, what in hrrformer.TASKS.items()
        for variant in (*hrrformer.VARIANTS, *what.beside)
        for seed in (1, 2)
    }
    assert len(names) == sum(2 * (len(hrrformer.VARIANTS) + len(what.beside)) for what in hrrformer.TASKS.values())
