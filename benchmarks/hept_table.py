"""Numbers of the trainings of `benchmarks/hept_results.py`: collected and printed.

Errors are statistical: of AP@k over windows, of AUPRC and precision at 99 % recall by leaving out a part of the events
at a time (jackknife). Differences are paired: the same windows, or the same parts left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.markdown import table, with_error
from benchmarks.pareto_table import read
from benchmarks.results_table import simulated
from qformers.tasks.metrics import points as metrics_points
from qformers.tasks.metrics.binary import precision_at_recall

REFERENCE = "firmware"  # what differences are taken to
RECALL = 0.99
SIMULATIONS = {"csim": "C simulation (g++)", "verilator": "RTL (Verilator)"}
PT_GEV = 0.9
FOLDS = 20  # parts of the events of which one is left out at a time
SCORES = {"pileup": ("auprc", "precision_99"), "tracking": ("ap_0.9",)}
HEADERS = {
    "pileup": ("AUPRC", "precision at 99 % recall"),
    "tracking": ("AP@k, pT > 0.9 GeV", "AP@k, all"),
}
Arrays = dict[str, NDArray[Any]]
Row = dict[str, Any]


def arrays_of(phase: Path) -> Arrays:
    """What a phase left of the test split."""
    with np.load(phase / "test_logits.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def window_ap(arrays: Arrays) -> NDArray[np.float64]:
    """AP@k of each window (n,), NaN where it has no track above the threshold."""
    result = np.full(len(arrays["mask"]), np.nan)
    for row, mask in enumerate(arrays["mask"] > 0):
        x, ids, pt, good = ([arrays[n][row][mask]] for n in ("logits", "particle_ids", "pt", "reconstructable"))
        report = metrics_points.tracking_report(x, ids, pt, good, (PT_GEV,))
        value = report["ap"][f"{PT_GEV:g}"]["value"]
        result[row] = np.nan if value is None else value
    return result


def pileup_scores(arrays: Arrays) -> dict[str, NDArray[np.float64]]:
    """AUPRC and precision at 99 % recall, (1 + folds,) each: of all candidates that count, and without each part."""
    from sklearn.metrics import average_precision_score

    counts = (arrays["mask"] > 0) & arrays["reconstructable"]
    score, label = arrays["logits"][..., 0][counts].astype(np.float64), arrays["labels"][counts]
    event = np.broadcast_to(arrays["events"][:, None], counts.shape)[counts]
    _, number = np.unique(event, return_inverse=True)
    kept = [np.ones(len(score), bool), *(number % FOLDS != fold for fold in range(FOLDS))]
    functions: dict[str, Callable[[Any, Any], float]] = {
        "auprc": lambda x, y: float(average_precision_score(y, x)),
        "precision_99": lambda x, y: precision_at_recall(x, y, RECALL),
    }
    return {name: np.array([f(score[part], label[part]) for part in kept]) for name, f in functions.items()}


def measured(values: NDArray[np.float64], task: str) -> dict[str, float]:
    """Value and error, of AP@k of windows or of what `pileup_scores` gives."""
    if task == "tracking":
        valid = values[~np.isnan(values)]
        return {"value": float(valid.mean()), "error": float(valid.std(ddof=1) / np.sqrt(len(valid)))}
    left = values[1:]
    error = np.sqrt((len(left) - 1) / len(left) * np.sum((left - left.mean()) ** 2))
    return {"value": float(values[0]), "error": float(error)}


def firmware_of(run: Path) -> Row:
    """EBOPs of a quantised model, and alkaid's estimate where it was traced."""
    manifest, facts = read(run / "qat/manifest.json"), {}
    facts["ebops"] = manifest["ebops"]
    if (run / "rtl.json").exists() and (run / "reports/alkaid.json").exists():
        report, level = read(run / "reports/alkaid.json"), read(run / "rtl.json")["levels"]["interpreter"]
        facts |= {name: report["resources"][name] for name in ("lut", "ff")}
        facts |= {name: report[name] for name in ("tool", "clock_ns", "latency_cycles", "latency_ns")}
        parts = [part for part in level.values() if isinstance(part, dict) and "values_different" in part]
        facts["different"] = sum(part["values_different"] for part in parts)
        facts["simulations"] = simulations_of(run)
    return facts


def simulations_of(run: Path) -> Row:
    """Level -> windows and adversarial ones: how many, their outputs, and those that differ from Keras."""
    levels = read(run / "rtl.json")["levels"]
    if (run / "csim.json").exists():
        levels = {"csim": read(run / "csim.json"), **levels}
    keys = ("events", "values", "values_different")
    return {
        level: {part: {key: compared[part][key] for key in keys} for part in ("jets", "adversarial")}
        for level, compared in levels.items()
        if level in SIMULATIONS
    }


def row_of(run: Path, phase: str, task: str, label: str) -> Row:
    """What is known of one finished training or baseline."""
    manifest, metrics = read(run / phase / "manifest.json"), read(run / phase / "metrics.json")
    names = ("auprc", "roc_auc", "f3") if task == "pileup" else ("ap_0", "ap_0.5", "ap_0.9", "precision_at_19")
    row = {
        "task": task,
        "label": label,
        "phase": phase,
        "metrics": {name: metrics[name] for name in names},
        "seed": manifest["seed"],
        "date": manifest["date"][:10],
        "machine": f"{manifest['machine']['cores']} cores {manifest['machine']['processor']}",
    }
    if phase != "baseline":
        row["epochs"] = manifest["settings"]["train"][phase]["epochs"]
        row["windows"] = manifest["jets"]
    return row | (firmware_of(run) if phase == "qat" else {})


def collect(
    variants: Mapping[str, tuple[str, str, str]], baselines: Mapping[str, str], runs: Path, results: Path
) -> None:
    """Write the rows of all finished trainings; a row of a training that is not there any more is kept.

    Args:
        variants: run folder -> task, label, and phase (float or qat) that the row is about.
        baselines: task -> label.
        runs: folder of the run folders.
        results: JSON file.
    """
    from qformers.files import write_json

    places = {}  # row -> run folder, phase, task, label
    for name, (task, label, phase) in variants.items():
        if (runs / name / phase / "manifest.json").exists():
            places[name] = (runs / name, phase, task, label)
    for task, label in baselines.items():
        if (runs / f"{task}_{REFERENCE}" / "baseline" / "manifest.json").exists():
            places[f"{task}_baseline"] = (runs / f"{task}_{REFERENCE}", "baseline", task, label)
    known = {row["run"]: row for row in read(results)["rows"]} if results.exists() else {}
    values = {}
    for name, (run, phase, task, _) in places.items():
        arrays = arrays_of(run / phase)
        values[name] = pileup_scores(arrays) if task == "pileup" else {f"ap_{PT_GEV:g}": window_ap(arrays)}
    for name, (run, phase, task, label) in places.items():
        row = {"run": name, **row_of(run, phase, task, label)}
        row["scores"] = {score: measured(values[name][score], task) for score in SCORES[task]}
        reference = values.get(f"{task}_{REFERENCE}")
        if reference is not None and name != f"{task}_{REFERENCE}":
            row["minus_firmware"] = {s: measured(values[name][s] - reference[s], task) for s in SCORES[task]}
        known[name] = row
    order = [*variants, *(f"{task}_baseline" for task in baselines)]
    rows = sorted(known.values(), key=lambda row: (row["task"], order.index(row["run"]) if row["run"] in order else -1))
    results.parent.mkdir(parents=True, exist_ok=True)
    write_json(results, {"rows": rows})


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row as text."""
    scores, task = row["scores"], row["task"]
    second = scores["precision_99"] if task == "pileup" else row["metrics"]["ap_0"]
    lut, cycles = row.get("lut"), row.get("latency_cycles")
    first = SCORES[task][0]
    return [
        row["label"],
        with_error(scores[first], 4),
        with_error(row.get("minus_firmware", {}).get(first), 4, sign="+"),
        with_error(second, 4),
        f"{row['ebops']:,}" if row.get("ebops") else "",
        "" if lut is None else f"{lut:,}",
        "" if cycles is None else f"{cycles} = {row['latency_ns']:g}",
        f"{row['different']:,}" if "different" in row else "",
    ]


def task_text(rows: Sequence[Row], task: str) -> str:
    """The table of a task as Markdown, with what it was measured on; "" where nothing is known of it."""
    mine = [row for row in rows if row["task"] == task]
    if not mine:
        return ""
    first, second = HEADERS[task]
    fixed = ("EBOPs", "LUT (est.)", "cycles = ns", "differ from Keras")
    text = table([[task, first, "minus firmware form", second, *fixed], *map(cells, mine)])
    trained = [row for row in mine if "windows" in row]
    if trained:
        counts, epochs = trained[0]["windows"], sorted({row["epochs"] for row in trained})
        text += (
            f"\n\nSynthetic events. {counts['train']:,} windows trained, {counts['test']:,} tested, epochs "
            f"{', '.join(map(str, epochs))}, seed {trained[0]['seed']}, {trained[0]['date']}, "
            f"{trained[0]['machine']}. Differences are paired."
        )
    return text


def simulations_text(rows: Sequence[Row]) -> str:
    """C simulation and Verilator of the models that went through them, as Markdown."""
    lines = [["run", *SIMULATIONS.values(), "latency (estimate)"]]
    for row in rows:
        levels = row.get("simulations", {})
        if levels:
            words = [simulated(levels[level], ())[-1] if level in levels else "not run" for level in SIMULATIONS]
            lines.append([row["run"], *words, f"{row['latency_cycles']} cycles"])
    return table(lines)


def show(results: Path) -> None:
    """Print one table per task as Markdown."""
    if not results.exists():
        print(f"{results} is missing: run benchmarks/hept_results.py without --show")
        return
    rows = read(results)["rows"]
    print("\n\n".join(filter(None, (*(task_text(rows, task) for task in HEADERS), simulations_text(rows)))))
