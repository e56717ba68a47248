#!/usr/bin/env python3
"""Print the results table of the README from finished runs.

    python benchmarks/results_table.py runs/part_jets16_plain runs/part_jets16

One row per trained model, C simulation and RTL simulation; numbers are of the test split, with statistical errors.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.markdown import print_table

COLUMNS = ("build", "arithmetic", "accuracy", "AUC", "rejection of the rest at 50 % t", "EBOPs", "differs from Keras")


def read(path: Path) -> Any:
    """A JSON file of a run.

    Raises:
        SystemExit: it is not there; the message says how it is made.
    """
    if not path.exists():
        build = path.parts[-3] if path.name != "csim.json" else path.parts[-2]
        raise SystemExit(f"{path}: not there; make it with python scripts/run.py firmware_configs/{build}.yaml")
    return json.loads(path.read_text())


def with_error(entry: dict[str, Any], digits: int) -> str:
    """``value ± error``."""
    return f"{entry['value']:.{digits}f} ± {entry['error']:.{digits}f}"


def rows(run: Path) -> list[list[str]]:
    """The rows of one run folder."""
    found = []
    for phase, label in (("float", "float"), ("qat", "quantised")):
        manifest, metrics = read(run / phase / "manifest.json"), read(run / phase / "metrics.json")
        top = metrics["classes"][-1]
        found.append(
            [
                run.name,
                label,
                with_error(metrics["accuracy"], 4),
                with_error(metrics["auc"], 4),
                with_error(metrics["rejection"][top], 0),
                f"{manifest['ebops']:,}" if manifest["ebops"] else "",
                "",
            ]
        )
    quantised = found[-1]
    if (run / "csim.json").exists():
        found.append(firmware_row(run, "C simulation (g++)", read(run / "csim.json"), quantised))
    if (run / "rtl.json").exists():
        levels = read(run / "rtl.json")["levels"]
        found += [
            firmware_row(run, f"RTL ({name.capitalize()})", levels[name], quantised)
            for name in ("verilator", "icarus")
            if name in levels
        ]
    return found


def firmware_row(run: Path, label: str, compared: dict[str, Any], quantised: list[str]) -> list[str]:
    """The row of a simulation of firmware; its metrics are those of the quantised model where no output differs."""
    jets, hard = compared["jets"], compared["adversarial"]
    wrong = f"{jets['values_different']:,} of {jets['values']:,} outputs in {jets['events']:,} jets"
    wrong += f", {hard['values_different']:,} of {hard['values']:,} in {hard['events']} adversarial events"
    exact = jets["values_different"] == hard["values_different"] == 0
    return [run.name, label, *(quantised[2:6] if exact else [""] * 4), wrong]


def main() -> None:
    """Print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    options = parser.parse_args()
    print_table([COLUMNS, *(row for run in options.runs for row in rows(run))])
    manifest = read(options.runs[0] / "float" / "manifest.json")
    machine = manifest["machine"]
    print(
        f"\n{manifest['test']['jets']:,} test, {manifest['jets']['train']:,} training jets, seed {manifest['seed']}, "
        f"{machine['cores']} cores {machine['processor']}, {manifest['date'][:10]}"
    )


if __name__ == "__main__":
    main()
