#!/usr/bin/env python3
"""What the bits that time buys are worth: ParT of 32 particles trained for firmware that takes one of them per clock.

    python benchmarks/folded_training.py                 # make data first; trains for hours, measures, prints
    python benchmarks/folded_training.py --epochs 8 8    # of the float and of the quantised phase
    python benchmarks/folded_training.py --show          # the table again

The same model with its softmax normalised in front of the sum over keys (``direct``) and behind it (``deferred``), each
trained in float and then quantised, for the EBOPs of the folded hardware that its build file asks for
(``firmware_configs/part_jets32_folded.yaml``); then traced, written and compared with Keras. Steps that are done are
not done again; a file STOP in runs/folded_training ends it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.logged import step  # noqa: E402
from benchmarks.markdown import machine_words, table  # noqa: E402
from benchmarks.pareto_table import paired, per_cent, read  # noqa: E402
from benchmarks.precision_routes_table import differing  # noqa: E402

RUNS = Path("runs/folded_training")
RESULTS = ROOT / "benchmarks" / "results" / "folded_training.json"
BUILD = ROOT / "firmware_configs" / "part_jets32_folded.yaml"
FORMS = ("direct", "deferred")  # model.softmax
LEVEL = "interpreter"  # of the comparison with Keras
Row = dict[str, Any]


def settings_of(form: str, seed: int, epochs: Sequence[int] | None) -> list[str]:
    """KEY=VALUE of the build."""
    lengths = [] if epochs is None else [f"train.float.epochs={epochs[0]}", f"train.qat.epochs={epochs[1]}"]
    return [f"name=part_jets32_folded_{form}", f"seed={seed}", f"model.softmax={form}", *lengths]


def make(seed: int, epochs: Sequence[int] | None) -> None:
    """Train, write and compare what is not done."""
    for form in FORMS:
        run = RUNS / f"{form}{seed}"
        changes = [word for change in settings_of(form, seed, epochs) for word in ("--set", change)]
        step(run, "qat/metrics.json", ["train.py", str(BUILD), *changes, "--out", str(run)])
        step(run, "rtl.json", ["run_rtl.py", str(run / "build.yaml"), "--run", str(run), "--levels", LEVEL])


def row_of(run: Path) -> Row:
    """What is known of one finished training."""
    names = "qat/manifest.json", "qat/metrics.json", "reports/folded.json"
    manifest, metrics, report = (read(run / name) for name in names)
    floating, level = read(run / "float/metrics.json"), read(run / "rtl.json")["levels"][LEVEL]
    train, beside = manifest["settings"]["train"], RUNS / run.name.replace(FORMS[1], FORMS[0])
    return {
        "form": next(form for form in FORMS if run.name.startswith(form)),
        "seed": manifest["seed"],
        "epochs": [train["float"]["epochs"], train["qat"]["epochs"]],
        "jets": manifest["jets"],
        "float": floating["accuracy"],
        "accuracy": metrics["accuracy"],
        "auc": metrics["auc"],
        "minus_float": paired(run / "qat", run / "float"),
        "minus_direct": paired(run / "qat", beside / "qat") if beside != run else None,
        "ebops": manifest["ebops"],
        "resources": report["resources"],
        "tool": report["tool"],
        "ii_cycles": report["ii_cycles"],
        "latency_cycles": report["latency_cycles"],
        "clock_ns": report["clock_ns"],
        "differ": differing(level),
        "date": manifest["date"][:10],
        "machine": machine_words(manifest["machine"]),
    }


def collect() -> None:
    """Keep the rows of all finished trainings; those of other machines that are not there any more stay."""
    from qformers.files import write_json

    known = {(row["form"], row["seed"]): row for row in read(RESULTS)["rows"]} if RESULTS.exists() else {}
    for run in (path.parent for path in RUNS.glob("*/rtl.json")):
        row = row_of(run)
        known[row["form"], row["seed"]] = row
    rows = sorted(known.values(), key=lambda row: (row["seed"], FORMS.index(row["form"])))
    write_json(RESULTS, {"rows": rows})


HEADER = ("softmax", "seed", "accuracy %, float", "quantised", "quantised - float", "- direct")
COST = ("EBOPs", "LUT (est.)", "DSP", "II", "latency", "outputs that differ")


def text(content: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    lines = [(*HEADER, *COST)]
    for row in content["rows"]:
        scores = [per_cent(row["float"]), per_cent(row["accuracy"]), per_cent(row["minus_float"], "+")]
        lines.append((row["form"], str(row["seed"]), *scores, per_cent(row["minus_direct"], "+"), *cost_cells(row)))
    return table(lines)


def cost_cells(row: Mapping[str, Any]) -> list[str]:
    """What folded firmware of a training takes, below the heads `COST`."""
    resources, clock = row["resources"], row["clock_ns"]
    times = [f"{row[key]} = {row[key] * clock:g} ns" for key in ("ii_cycles", "latency_cycles")]
    costs = [f"{row['ebops']:,}", f"{resources['lut']:,}", f"{resources['dsp']:,}", *times]
    return [*costs, "{:,} of {:,}".format(*row["differ"])]


def conditions(content: Mapping[str, Any]) -> str:
    """What the table was measured on."""
    row = content["rows"][0]
    return (
        f"`{BUILD.relative_to(ROOT)}` with {row['epochs'][0]} epochs in float and {row['epochs'][1]} quantised, "
        f"{row['jets']['train']:,} training and {row['jets']['test']:,} test jets; differences are those of the same "
        f"jets; {row['tool']}, estimate, not synthesis; {row['machine']}, {row['date']}."
    )


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="seeds of the trainings (default: 1)")
    parser.add_argument("--epochs", type=int, nargs=2, metavar=("FLOAT", "QAT"), help="instead of those of the build")
    parser.add_argument("--show", action="store_true", help="train nothing, print what is known")
    options = parser.parse_args()
    if not options.show:
        for seed in options.seeds:
            make(seed, options.epochs)
            collect()
    if not RESULTS.exists():
        raise SystemExit(f"{RESULTS}: not there; make it with python benchmarks/folded_training.py")
    content = read(RESULTS)
    print(f"{text(content)}\n\n{conditions(content)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
