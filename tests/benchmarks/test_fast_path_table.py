"""The table of what folded firmware is proved with: ratios beside Keras, and beside the interpreter of the same T."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT))
from benchmarks import fast_path


def row(side: str, per_cpu_s: float, together: int | None = None, run: str = "jets") -> dict[str, Any]:
    own = {"run": run, "particles": 16, "model": "part, width 16", "side": side, "events_per_s": 2 * per_cpu_s}
    more = {} if together is None else {"points_per_clock": together, "compile_s": 3.0}
    return {**own, **more, "events_per_cpu_s": per_cpu_s}


def test_ratios_are_those_of_the_same_run_and_number_of_points() -> None:
    rows = [
        row("keras", 100.0), row("keras_compiled", 4000.0), row("keras", 50.0, run="other"),
        row("compiled", 9000.0, 16), row("interpreter", 300.0, 16),
        row("compiled", 8000.0, 1), row("interpreter", 400.0, 1),
    ]  # fmt: skip
    content = {"rows": rows, "seed": 1, "events": 8192, "tool": "alkaid 1", "machine": "2 cores", "date": "2026-01-01"}
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in fast_path.text(content).splitlines()[2:]]
    assert [line[1:3] for line in lines if line[0] == "jets"] == [
        ["Keras, compiled", ""], ["Keras", ""], ["kernels, compiled", "1"], ["kernels, alkaid's interpreter", "1"],
        ["kernels, compiled", "16"], ["kernels, alkaid's interpreter", "16"],
    ]  # fmt: skip
    assert [line[5:] for line in lines[2:6]] == [["80.0", "20.0"], ["4.0", "1.0"], ["90.0", "30.0"], ["3.0", "1.0"]]
    assert lines[0][3:] == ["8,000", "4,000", "40.0", ""]
    assert "`jets`: part, width 16, N = 16" in fast_path.conditions(content)
    assert "g++ compiled the kernels in 3 to 3 s" in fast_path.conditions(content)


def test_a_value_that_differs_ends_the_benchmark() -> None:
    wanted = {"logits": np.arange(6.0)}
    fast_path.refuse_other({"logits": np.arange(6.0)}, wanted, "here")
    with pytest.raises(SystemExit, match="here: 1 values differ from Keras"):
        fast_path.refuse_other({"logits": np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])}, wanted, "here")
