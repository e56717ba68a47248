"""Trainings of build files for a benchmark: made where they are not done, read, and kept as rows of a JSON file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.logged import step
from benchmarks.markdown import machine_words
from benchmarks.pareto_table import read
from benchmarks.precision_routes_table import differing

ROOT = Path(__file__).resolve().parents[1]
LEVEL = "interpreter"  # of the comparison with Keras
Row = dict[str, Any]


def make(run: Path, build: str, changes: Sequence[str], epochs: Sequence[int] | None, quantised: bool) -> None:
    """Train a build, and write and compare its firmware, where that is not done.

    Args:
        run: its folder; the name is that of the build.
        build: file in ``firmware_configs`` without its ending.
        changes: KEY=VALUE of it.
        epochs: of float and of quantised training instead of those of the build.
        quantised: whether it is quantised, written and compared as well.
    """
    lengths = [] if epochs is None else [f"train.float.epochs={epochs[0]}", f"train.qat.epochs={epochs[1]}"]
    said = [word for change in (f"name={run.name}", *changes, *lengths) for word in ("--set", change)]
    path, phase = ROOT / "firmware_configs" / f"{build}.yaml", "all" if quantised else "float"
    result = f"{'qat' if quantised else 'float'}/metrics.json"
    step(run, result, ["train.py", str(path), *said, "--phase", phase, "--run", str(run)])
    if quantised:
        step(run, "rtl.json", ["run_rtl.py", str(run / "build.yaml"), "--run", str(run), "--levels", LEVEL])


def row_of(run: Path, score: str, minus: Callable[[Path, Path], Mapping[str, Any]]) -> Row:
    """What is known of one finished training: its float model, and what was quantised and folded where it was.

    Args:
        run: its folder.
        score: key of its metrics.
        minus: difference of the score of two phases on the same events, with its error.
    """
    from qformers.builds.build import load
    from qformers.builds.models import fresh_model

    manifest, metrics = read(run / "float/manifest.json"), read(run / "float/metrics.json")
    row: Row = {
        "epochs": manifest["settings"]["train"]["float"]["epochs"],
        "parameters": fresh_model(load(run / "build.yaml")).count_params(),
        "events": manifest["jets"],
        "float": metrics[score],
        "date": manifest["date"][:10],
        "machine": machine_words(manifest["machine"]),
    }
    if not (run / "rtl.json").exists():
        return row
    quantised, report = read(run / "qat/manifest.json"), read(run / "reports/folded.json")
    return {
        **row,
        "qat_epochs": quantised["settings"]["train"]["qat"]["epochs"],
        "quantised": read(run / "qat/metrics.json")[score],
        "minus_float": minus(run / "qat", run / "float"),
        "ebops": quantised["ebops"],
        "resources": report["resources"],
        "tool": report["tool"],
        "ii_cycles": report["ii_cycles"],
        "latency_cycles": report["latency_cycles"],
        "clock_ns": report["clock_ns"],
        "differ": differing(read(run / "rtl.json")["levels"][LEVEL]),
    }


def keep(results: Path, made: Sequence[Row], key: Sequence[str], order: Callable[[tuple[Any, ...]], Any]) -> None:
    """Write the rows of all finished trainings; those of other machines that are not there any more stay.

    Args:
        results: JSON file.
        made: rows of the trainings that are there.
        key: names of the fields that tell rows apart.
        order: of the values of these fields.
    """
    from qformers.files import write_json

    rows = [*(read(results)["rows"] if results.exists() else []), *made]
    known = {tuple(row[name] for name in key): row for row in rows}
    write_json(results, {"rows": [known[place] for place in sorted(known, key=order)]})


def command(
    doc: str | None,
    what: str,
    choices: Iterable[str],
    train: Callable[[str, int, Sequence[int] | None], None],
    results: Path,
    parts: Sequence[Callable[[Mapping[str, Any]], str]],
    arguments: Sequence[str] | None,
) -> int:
    """Entry point of a benchmark: train what is chosen with every seed, print what is known.

    Args:
        doc: of the benchmark.
        what: is chosen: "tasks".
        choices: of these.
        train: one of them with a seed and, where they are not those of the build, epochs in float and quantised.
        results: JSON file.
        parts: what is printed of it, one below the other.
        arguments: of the command line; None = of the process.

    Raises:
        SystemExit: nothing is known.
    """
    names = list(choices)
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(f"--{what}", dest="chosen", nargs="+", choices=names, default=names, help="(default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="seeds of the trainings (default: 1 2)")
    parser.add_argument("--epochs", type=int, nargs=2, metavar=("FLOAT", "QAT"), help="instead of those of the build")
    parser.add_argument("--show", action="store_true", help="train nothing, print what is known")
    options = parser.parse_args(arguments)
    if not options.show:
        for seed in options.seeds:
            for name in options.chosen:
                train(name, seed, options.epochs)
    if not results.exists():
        raise SystemExit(f"{results}: not there; make it with python benchmarks/{results.stem}.py")
    content = read(results)
    print("\n\n".join(part(content) for part in parts))
    return 0
