"""Figures of runs: kept as the run folders say, printed with their sources."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT))
from benchmarks import markdown, results_table, toolchain

COMMANDS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if "def main(" in path.read_text())


def write(path: Path, tree: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))


def compared(different: int) -> dict[str, Any]:
    part = {"events": 10, "values": 100, "values_different": different, "equal": different == 0}
    return {"jets": part, "adversarial": {**part, "values_different": 0}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "part_small"
    machine = {"machine": {"cores": 2, "processor": "x86_64"}, "seed": 3, "date": "2026-01-01T00:00:00+00:00"}
    top = {"efficiency": 0.5, "value": 80.0, "error": 8.0, "signal": 26}
    for phase, accuracy in (("float", 0.6), ("qat", 0.5)):
        entry = {"value": accuracy, "error": 0.01}
        write(folder / phase / "manifest.json", {**machine, "ebops": 1234, "jets": {"train": 50, "test": 10}})
        metrics = {"classes": ["g", "t"], "accuracy": entry, "auc": entry, "rejection": {"t": top}}
        write(folder / phase / "metrics.json", metrics)
    write(folder / "csim.json", compared(0))
    write(folder / "rtl.json", {"levels": {"verilator": compared(2)}})
    times = {"clock_ns": 5.0, "latency_cycles": 7, "latency_ns": 35.0, "ii_cycles": 1, "part": "vu13p"}
    write(
        folder / "reports/alkaid.json", {"tool": "alkaid 1", "stage": "estimate", "resources": {"lut": 9000}, **times}
    )
    write(folder / "reports/yosys.json", {"tool": "Yosys 1", "stage": "synthesis", "resources": {"lut": 9500}, **times})
    return folder


def test_scores_of_a_firmware_that_differs_are_not_taken_over(run: Path) -> None:
    text = results_table.proof_text({"part_small": results_table.record(run)})
    lines = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    exact = next(line for line in lines if "C simulation (g++)" in line)
    wrong = next(line for line in lines if "RTL (Verilator)" in line)
    assert exact[3:6] == ["0.5000 ± 0.0100", "0.5000 ± 0.0100", "80 ± 8 (t)"]
    assert exact[7] == "0 of 100 in 10 events, 0 of 100 in 10 adversarial ones"
    assert wrong[3:6] == ["", "", ""]
    assert wrong[7].startswith("2 of 100")


def test_each_source_has_a_row_that_says_what_its_numbers_are(run: Path) -> None:
    text = results_table.cost_text({"part_small": results_table.record(run)})
    lines = [[cell.strip() for cell in line.split("|")[1:4]] for line in text.splitlines()[2:]]
    assert lines == [["part_small", "alkaid 1", "estimate"], ["part_small", "Yosys 1", "logic synthesis"]]
    assert "9,000" in text
    assert "7 cycles = 35 ns" in text


def test_systems_stand_in_one_table_with_what_some_points_per_clock_take(run: Path) -> None:
    times = {"tool": "verilator 1", "stage": "rtlsim", "resources": {}, "clock_ns": 5.0, "part": ""}
    write(run / "reports/verilator.json", {**times, "latency_cycles": 7, "latency_ns": 35.0, "ii_cycles": 1})
    whole = results_table.record(run)
    fold = {**whole["reports"]["alkaid"], "resources": {"lut": 800}}
    late = {**whole["reports"]["verilator"], "latency_ns": 90.0, "ii_cycles": 8}
    folded = {**whole, "reports": {"folded": fold, "verilator": late}, "simulations": {"verilator": compared(0)}}
    text = results_table.systems_text({"a": whole, "b": folded}, {"A": ("a", "b"), "B": ("a",)})
    _, _, both, alone = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    scores = ["accuracy", "0.6000 ± 0.0100", "0.5000 ± 0.0100", "0 of 200", "2 of 200", "9,000", "35 ns"]
    assert both == ["A", *scores, "8", "800", "90 ns", "0 of 200"]
    assert alone == ["B", *scores, "", "", "", ""]


def test_conditions_are_said_once_for_all_that_were_measured_alike(run: Path) -> None:
    row = {**results_table.record(run), "events": {"test": 260, "train": 2080}, "seed": 1, "machine": "a"}
    rows = {"a": {**row, "date": "2026-11-30"}, "b": {**row, "date": "2026-12-01"}}
    text = results_table.conditions_in_short(rows, {"A": ("a", "b"), "B": ("a",), "C": ("b",)})
    assert text == (
        "Test and training events: A 260 and 2,080, B 260 and 2,080; seed 1, a, 2026-11-30. "
        "C 260 and 2,080; seed 1, a, 2026-12-01."
    )


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"make it with qformers run firmware_configs/part_demo\.yaml"):
        results_table.record(tmp_path / "part_demo")


def test_tables_are_padded_to_their_widest_cell() -> None:
    assert markdown.table([["a", "long"], ["1234", "5"]]) == "| a    | long |\n|------|------|\n| 1234 | 5    |"
    assert markdown.with_error({"value": 0.0213, "error": 0.004}, 1, 100.0, "+") == "+2.1 ± 0.4"
    assert markdown.with_error(None, 1) == ""


def test_growth_is_the_power_of_cpu_time() -> None:
    rows = {8: {"trace": {"cpu_s": 2.0}}, 16: {"trace": {"cpu_s": 8.0}}}
    assert toolchain.growth(rows, "trace") == "N^2.0"
    assert toolchain.growth({8: rows[8]}, "trace") == ""


def test_folded_steps_stand_beside_those_of_an_event_per_clock() -> None:
    took = {"wall_s": 2.0, "cpu_s": 3.0, "peak_mib": 1024.0}
    both = {"trace": {**took, "lut_estimate": 9000.2}, "fold": {**took, "lut_estimate": 1000.0}, "fold verilate": took}
    entry = {"particles": {"8": both, "32": {"fold": {**took, "lut_estimate": 4000.0}}}}
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in toolchain.text(entry, "particles").splitlines()
    ]
    assert lines[0][1:3] == ["N = 8: 9,000 LUT, 1,000 folded", "N = 32: 4,000 LUT folded"]
    rows = {line[0]: line[1:] for line in lines[2:]}
    assert rows["folded, T = 1: trace, cut, write RTL"][:2] == ["2.0 s, 3 s CPU, 1.0 GB"] * 2
    assert rows["folded, Verilator: compile"][1] == ""
    assert toolchain.NEEDS["fold verilator"] == "fold verilate"
    entry |= {"machine": "1 core", "date": "2026-01-01", "fold": {"machine": "2 cores", "date": "2026-02-01"}}
    assert "1 core, 2026-01-01; folded: 2 cores, 2026-02-01; LUT" in toolchain.conditions("jets", entry)
    entry["fold"] = {"machine": "1 core", "date": "2026-01-01"}
    assert "1 core, 2026-01-01; LUT" in toolchain.conditions("jets", entry)
    assert set(toolchain.NEEDS) == set(toolchain.WORDS)


@pytest.mark.slow
@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_every_benchmark_starts(path: Path) -> None:
    command = [sys.executable, str(path), "--help"]
    if path.stem in ("hls_compile", "toolchain_steps", "folded_sizes_steps"):  # arguments without a parser
        command = [sys.executable, "-c", f"import runpy; runpy.run_path({str(path)!r})"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
