"""The table of folded firmware by N: what each step took, that no value differs, and memory of all its processes."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from support.paths import ROOT

sys.path.insert(0, str(ROOT))
from benchmarks import folded_sizes, toolchain


def row(particles: int, different: int = 0, date: str = "2026-01-01") -> dict[str, Any]:
    took = {"wall_s": 90.0, "cpu_s": 120.0, "together_mib": 2048.0}
    plan = {
        "lut_estimate": 1000.4 * particles, "register_bits": 10, "store_bits": 20, "ii_cycles": particles,
        "latency_cycles": 100, "clock_ns": 5.0,
    }  # fmt: skip
    steps = {
        "write": {**took, **plan}, "verilate": took, "kernels": {**took, "together_mib": 3072.0},
        "simulate": {**took, "events": 9000, "different": different, "on_time": True, "keras_s": 30.0},
        "prove": {**took, "events": 90_000, "different": 0, "firmware_per_s": 5000.0, "keras_per_s": 2500.0},
    }  # fmt: skip
    return {"particles": particles, "tool": "alkaid 1", "machine": "2 cores", "date": date, "steps": steps}


def test_a_column_says_what_an_n_took_and_whether_anything_differs() -> None:
    content = {"seed": 1, "rows": [row(16), row(32, different=3, date="2026-02-01")]}
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in folded_sizes.text(content).splitlines()]
    cells = {line[0]: line[1:] for line in lines}
    assert lines[0] == ["", "N = 16", "N = 32"]
    assert cells["compile for Verilator"] == ["90 s, 120 s CPU, 2.0 GB"] * 2
    assert cells["simulate in Verilator"][0] == "90 s, 120 s CPU, 2.0 GB: 9,000 events, 100/s"
    assert cells["Keras for Verilator's events, layer by layer"][0] == "30 s"
    assert cells["all of it"][0] == "8.0 min, 3.0 GB"
    assert cells["values that differ (Verilator, kernels)"] == ["0, 0", "3, 0"]
    assert cells["kernels alone"][0] == "5,000 events/s"
    assert cells["LUT (est.)"] == ["16,006", "32,013"]
    assert cells["II"] == ["16 = 80 ns", "32 = 160 ns"]
    assert folded_sizes.conditions(folded_sizes.PART, content).endswith("2 cores, 2026-01-01 to 2026-02-01.")
    assert "seed 1" in folded_sizes.conditions(folded_sizes.PART, content)


def test_events_that_come_late_are_said() -> None:
    late = row(16)
    late["steps"]["simulate"]["on_time"] = False
    assert "0 (not in time), 0" in folded_sizes.text({"seed": 1, "rows": [late]})


def test_a_row_measured_anew_takes_the_place_of_the_old_one() -> None:
    rows = folded_sizes.merged([row(16), row(64)], row(32))
    assert [one["particles"] for one in rows] == [16, 32, 64]
    assert [one["date"] for one in folded_sizes.merged(rows, row(32, date="2027"))] == [
        "2026-01-01",
        "2027",
        "2026-01-01",
    ]


def test_events_of_a_simulation_are_fewer_for_more_points() -> None:
    counts = [folded_sizes.events_of("simulate", particles) for particles in (16, 64, 128, 256)]
    assert counts == sorted(counts, reverse=True)
    assert [folded_sizes.events_of("prove", particles) for particles in (64, 128)] == [100_000, 2_000]
    assert folded_sizes.events_of("write", 16) == 0


def test_the_memory_of_a_session_is_that_of_all_its_processes() -> None:
    child = "import sys; held = b'x' * 50_000_000; print(flush=True); sys.stdin.read()"
    both = f"import subprocess, sys; held = b'x' * 50_000_000; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", both], start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with toolchain.together(process.pid) as seen:
            while not seen and process.poll() is None:
                time.sleep(0.05)
        process.stdin.close()
    assert 100 < seen[0] < 500, "50 MB in each of two"


def test_rows_of_folded_keys_stand_beside_those_of_all_keys() -> None:
    rows = [{"particles": 64}, {"particles": 128, "keys": None}]
    found = folded_sizes.merged(rows, {"particles": 64, "keys": 16})
    assert [folded_sizes.head(row) for row in found] == ["N = 64", "N = 64, K = 16", "N = 128"]
    assert folded_sizes.merged(found, {"particles": 64, "keys": None})[0] == {"particles": 64, "keys": None}
