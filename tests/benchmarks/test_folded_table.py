"""The table of folded firmware by N and T: rows that are measured anew take the place of old ones."""

from __future__ import annotations

import sys
from typing import Any

from support.paths import ROOT

sys.path.insert(0, str(ROOT))
from benchmarks import folded


def row(pairs: str, particles: int, together: int, lut: int, **changes: Any) -> dict[str, Any]:
    own = {
        "pairs": pairs, "particles": particles, "points_per_clock": together, "clock_ns": 5.0, "seed": 1,
        "tool": "alkaid 1", "machine": "2 cores x86_64", "date": "2026-01-01", "ii_cycles": particles // together,
        "ii_ns": 5.0 * particles / together, "latency_cycles": 40, "latency_ns": 200.0, "lut_estimate": lut,
        "register_bits": 10, "store_bits": 20, "traced": True, "scaled_from": "",
        "other_kernels": False, "scaling_error": None,
    }  # fmt: skip
    return {**own, **changes}


def test_rows_measured_anew_replace_those_of_their_form_and_size() -> None:
    old = [row("none", 8, 1, 1), row("none", 16, 1, 2), row("onchip", 8, 1, 3)]
    rows = folded.merged(old, [row("none", 16, 16, 5), row("none", 16, 1, 4)])
    assert [(one["pairs"], one["particles"], one["lut_estimate"]) for one in rows] == [
        ("none", 8, 1), ("none", 16, 4), ("none", 16, 5), ("onchip", 8, 3),
    ]  # fmt: skip
    assert folded.merged([], old) == old


def test_the_table_has_one_a_quarter_and_all_of_the_points() -> None:
    scaled = {"traced": False, "scaled_from": "1 2", "other_kernels": True, "date": "2026-02-01"}
    rows = [row("none", 8, t, 1000 * t) for t in (1, 2, 4)] + [row("none", 8, 8, 8000, **scaled)]
    content = {"rows": [*rows, row("onchip", 4, 1, 7)]}
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in folded.text(content, "none").splitlines()[2:]]
    assert [line[1] for line in lines] == ["1", "2", "8"]
    assert lines[0][2:5] == ["8 = 40 ns", "40 = 200 ns", "1,000"]
    assert lines[0][-1] == "traced"
    assert lines[2][3:5] == ["~40 = ~200 ns", "~8,000"]
    assert lines[2][-1] == "from T = 1, 2 *"
    assert list(folded.forms(content)) == ["none", "onchip"]
    assert "2 cores x86_64, 2026-01-01 to 2026-02-01." in folded.conditions(content)


def test_the_farthest_row_is_found_on_either_side() -> None:
    rows = [row("none", 8, 4, 1, scaling_error=0.001), row("none", 8, 8, 1, scaling_error=-0.02), row("none", 8, 1, 1)]
    assert folded.largest_error({"rows": rows}) is rows[1]
    assert folded.largest_error({"rows": rows[2:]}) is None
