"""Numbers of the runs of `benchmarks/precision_routes.py`: collected and printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.markdown import table
from benchmarks.pareto_table import ACCURACY_PER_CENT, paired, per_cent, read

Row = dict[str, Any]

ROUTES = {
    "ptq": "uniform widths, no training",
    "ptq_pruned": "the same, float model pruned",
    "tuned": "widths tuned, no training",
    "tuned_pruned": "the same, float model pruned",
    "by_hand": "uniform widths, QAT (QKeras style)",
    "hgq": "widths learned, QAT (HGQ)",
    "hgq_held": "the same, float model pruned",
    "hgq_pruned": "the same, pruned in QAT",
}


def row_of(folder: Path, route: str, start: Path) -> Row:
    """What is known of a finished point.

    Args:
        folder: its run folder.
        route: key of `ROUTES`.
        start: run folder of the float model that it is compared with.
    """
    simulated = folder / "csim.json"
    manifest, rtl, report = (read(folder / name) for name in ("qat/manifest.json", "rtl.json", "reports/alkaid.json"))
    csim = read(simulated) if simulated.exists() else None
    return {
        "route": route,
        "name": folder.name,
        "accuracy": read(folder / "qat/metrics.json")["accuracy"],
        "minus_float": paired(folder / "qat", start / "float"),
        "ebops": manifest["ebops"],
        "zeros": read(folder / "qat/sparsity.json")["share"],
        "lut": report["resources"]["lut"],
        "ff": report["resources"]["ff"],
        "tool": report["tool"],
        "latency_cycles": report["latency_cycles"],
        "latency_ns": report["latency_ns"],
        "interpreter": differing(rtl["levels"]["interpreter"]),
        "csim": differing(csim) if csim else None,
        "jets": manifest["jets"],
        "seed": manifest["seed"],
        "date": manifest["date"][:10],
        "machine": f"{manifest['machine']['cores']} cores {manifest['machine']['processor']}",
    }


def float_row(folder: Path, settings: tuple[str, ...], start: Path) -> Row:
    """Accuracy and zeros of a float model, pruned with some settings of a build, beside the one in `start`."""
    phase = folder / "float"
    zeros = read(phase / "sparsity.json")["share"] if (phase / "sparsity.json").exists() else 0.0
    accuracy, beside = read(phase / "metrics.json")["accuracy"], paired(phase, start / "float")
    return {"name": folder.name, "settings": settings, "zeros": zeros, "accuracy": accuracy, "minus_float": beside}


def differing(level: Row) -> list[int]:
    """(outputs that differ from Keras, outputs) of a simulation."""
    return [sum(level[part][key] for part in ("jets", "adversarial")) for key in ("values_different", "values")]


def cheapest(rows: list[Row], loss: float) -> list[Row]:
    """Of each road the point with the fewest LUT among those that lose at most `loss` of the float accuracy."""
    good = [row for row in rows if row["minus_float"]["value"] >= -loss]
    best = [
        min((row for row in good if row["route"] == route), key=lambda row: row["lut"], default=None)
        for route in ROUTES
    ]
    return [row for row in best if row is not None]


HEADER = ("road", "run", "accuracy %", "minus float", "EBOPs", "zero weights", "LUT (est.)", "FF (est.)", "cycles = ns")
EXACT = ("interpreter differs", "C simulation differs")


def cells(row: Row) -> list[str]:
    """A row as text."""
    exact = [f"{row[level][0]:,} of {row[level][1]:,}" if row[level] else "" for level in ("interpreter", "csim")]
    return [
        ROUTES[row["route"]],
        row["name"],
        per_cent(row["accuracy"]),
        per_cent(row["minus_float"], "+"),
        f"{row['ebops']:,}",
        f"{row['zeros']:.0%}",
        f"{row['lut']:,}",
        f"{row['ff']:,}",
        f"{row['latency_cycles']} = {row['latency_ns']:g}",
        *exact,
    ]


def show(file: Path, loss: float) -> None:
    """Print the float models, all points, then the cheapest of each road at equal accuracy."""
    if not file.exists():
        raise SystemExit(f"{file}: not there; make it with python benchmarks/precision_routes.py")
    results = read(file)
    print(f"In float:\n\n{float_text(results)}")
    print(f"\nIn fixed point:\n\n{table([(*HEADER, *EXACT), *map(cells, results['rows'])])}")
    print(f"\nCheapest of each road that loses at most {ACCURACY_PER_CENT * loss:g} points:\n")
    print(f"{cheapest_text(results, loss)}\n\n{conditions(results)}")


def float_text(results: Row) -> str:
    """The float models as Markdown."""
    header = ("model", "pruning", "zero weights", "accuracy %", "minus float")
    floats = [
        (
            row["name"],
            pruning_words(row),
            f"{row['zeros']:.0%}",
            per_cent(row["accuracy"]),
            per_cent(row["minus_float"], "+"),
        )
        for row in results["float"]
    ]
    return table([header, *floats])


def cheapest_text(results: Row, loss: float) -> str:
    """The cheapest point of each road as Markdown."""
    return table([(*HEADER, *EXACT), *map(cells, cheapest(results["rows"], loss))])


def conditions(results: Row) -> str:
    """What the tables were measured on."""
    first, trained = results["rows"][0], next(row for row in results["rows"] if row["route"] == "hgq")
    return (
        f"{first['jets']['test']:,} test and, where there is training, {trained['jets']['train']:,} training jets "
        f"(generated), N = 8, seed {first['seed']}, {first['machine']}, {first['date']}. LUT, FF and latency: "
        f"{first['tool']}, estimate, clock 5 ns; not synthesis. Differences to float are paired: same test jets."
    )


def pruning_words(row: Row) -> str:
    """The settings of a pruning without their common beginning."""
    return ", ".join(setting.removeprefix("train.float.prune.") for setting in row["settings"])
