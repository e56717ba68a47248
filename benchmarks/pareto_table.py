"""Numbers of the trainings of `benchmarks/pareto.py`: collected, printed and plotted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.markdown import table, with_error

MODELS = {  # in the order of the table; the first is the one to beat
    "jedi_linear": "JEDI-linear",
    "part": "ParT, pair bias U",
    "part_plain": "ParT without U",
    "mha": "transformer (flattened)",
    "linformer": "Linformer",
    "deepsets": "DeepSets",
    "mixer": "MLP-Mixer",
    "jedi_linear_sorted": "JEDI-linear, pT-sorted",
}
FEATURES = {3: "", 16: "_all16"}
REFERENCE = "jedi_linear"
COLOURS = ("#000000", "#D55E00", "#E69F00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#999999")  # Okabe and Ito
ACCURACY_PER_CENT = 100.0
PLOT = Path(__file__).resolve().parents[1] / "docs" / "images" / "pareto.png"

Row = dict[str, Any]


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text())


def stem(model: str, particles: int, features: int) -> str:
    """Name of a build file, e.g. ``part_jets16_all16_plain``."""
    base, plain = model.removesuffix("_plain"), "_plain" if model.endswith("_plain") else ""
    return f"{base}_jets{particles}{FEATURES[features]}{plain}"


def run_name(model: str, particles: int, features: int, target: int) -> str:
    """Name of the run folder of a model at an EBOPs target."""
    return f"{stem(model, particles, features)}_{target // 1000}k"


def model_of(name: str) -> tuple[str, int, int, int]:
    """Model, N, features and EBOPs target of a run folder's name, e.g. ``part_jets16_all16_plain_150k``."""
    build, _, target = name.rpartition("_")
    base, _, rest = build.partition("_jets")
    particles, *words = rest.split("_")
    plain = "_plain" if "plain" in words else ""
    return base + plain, int(particles), 16 if "all16" in words else 3, int(target[:-1]) * 1000


def row_of(run: Path) -> Row:
    """What is known of one finished training."""
    model, particles, features, target = model_of(run.name)
    manifest, metrics, rtl = (read(run / name) for name in ("qat/manifest.json", "qat/metrics.json", "rtl.json"))
    floating, report = read(run / "float/metrics.json"), read(run / "reports/alkaid.json")
    level = rtl["levels"]["interpreter"]
    settings = manifest["settings"]["train"]
    return {
        "model": model,
        "particles": particles,
        "features": features,
        "target": target,
        "ebops": manifest["ebops"],
        "target_met": manifest["ebops_target_met"],
        "epochs": [settings["float"]["epochs"], settings["qat"]["epochs"]],
        "float": {name: floating[name] for name in ("accuracy", "auc")},
        "quantised": {name: metrics[name] for name in ("accuracy", "auc")},
        "lut": report["resources"]["lut"],
        "ff": report["resources"]["ff"],
        "tool": report["tool"],
        "clock_ns": report["clock_ns"],
        "latency_cycles": report["latency_cycles"],
        "latency_ns": report["latency_ns"],
        "different": level["jets"]["values_different"] + level["adversarial"]["values_different"],
        "values": level["jets"]["values"] + level["adversarial"]["values"],
        "jets": manifest["jets"],
        "seed": manifest["seed"],
        "date": manifest["date"][:10],
        "machine": f"{manifest['machine']['cores']} cores {manifest['machine']['processor']}",
    }


def right(phase: Path) -> np.ndarray[Any, Any]:
    """Which test jets the model in the folder of a phase gets right, (n,)."""
    with np.load(phase / "test_logits.npz") as arrays:
        correct: np.ndarray[Any, Any] = arrays["logits"].argmax(axis=1) == arrays["labels"]
    return correct


def paired(phase: Path, other: Path) -> dict[str, float]:
    """Difference of two models' accuracies on the same test jets and its standard error, which is that of pairs."""
    apart = right(phase).astype(float) - right(other).astype(float)
    return {"value": float(apart.mean()), "error": float(apart.std(ddof=1) / np.sqrt(len(apart)))}


def collect(runs: Path, results: Path) -> None:
    """Write the rows of all finished trainings, each with its paired difference to its reference.

    A row of another machine that is not there any more is kept.
    """
    from qformers.files import write_json

    known = {row["run"]: row for row in read(results)["rows"]} if results.exists() else {}
    for run in sorted(path.parent for path in runs.glob("*/rtl.json")):
        row = row_of(run)
        for key, other in (("reference", REFERENCE), ("without_u", "part_plain")):
            place = (row["particles"], row["features"], row["target"])
            beside = runs / run_name(other, *place)
            fits = row["model"] != other and (key == "reference" or row["model"] == "part")
            if fits and (beside / "qat" / "test_logits.npz").exists():
                row[f"minus_{key}"] = paired(run / "qat", beside / "qat")
        known[run.name] = {"run": run.name, **row}
    results.parent.mkdir(parents=True, exist_ok=True)
    write_json(results, {"rows": [known[name] for name in sorted(known, key=lambda name: order(known[name]))]})


def order(row: Mapping[str, Any]) -> tuple[int, ...]:
    """Where a row stands in the table."""
    return row["features"], row["particles"], -row["target"], list(MODELS).index(row["model"])


def per_cent(entry: Mapping[str, float] | None, sign: str = "") -> str:
    """``62.68 ± 0.42``; "" for None."""
    return with_error(entry, 2, ACCURACY_PER_CENT, sign)


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row as text."""
    auc = row["quantised"]["auc"]
    return [
        str(row["particles"]),
        str(row["features"]),
        MODELS[row["model"]],
        f"{row['ebops']:,}" + ("" if row["target_met"] else " (above its target)"),
        per_cent(row["float"]["accuracy"]),
        per_cent(row["quantised"]["accuracy"]),
        per_cent(row.get("minus_reference"), "+"),
        per_cent(row.get("minus_without_u"), "+"),
        with_error(auc, 4),
        f"{row['lut']:,}",
        f"{row['ff']:,}",
        f"{row['latency_cycles']} = {row['latency_ns']:g}",
        f"{row['different']:,} of {row['values']:,}",
    ]


HEADER = (
    "N",
    "features",
    "model",
    "EBOPs",
    "float %",
    "quantised %",
    "minus JEDI-linear",
    "minus without U",
    "AUC",
    "LUT (est.)",
    "FF (est.)",
    "cycles = ns",
    "differs from Keras",
)


def show(results: Path) -> None:
    """Print the table as Markdown and draw ``docs/images/pareto.png``."""
    if not results.exists():
        raise SystemExit(
            f"{results}: not there; train first, e.g. python benchmarks/pareto.py --models jedi_linear part"
        )
    rows = read(results)["rows"]
    print(text(rows))
    plot(rows, PLOT)


def text(rows: Sequence[Row]) -> str:
    """The table as Markdown, with what it was measured on."""
    first = rows[0]
    dates = sorted({row["date"] for row in rows})
    return table([HEADER, *(cells(row) for row in rows)]) + (
        f"\n\n{first['jets']['test']:,} test and {first['jets']['train']:,} training jets (generated), "
        f"{first['epochs'][0]} float and {first['epochs'][1]} quantised epochs, seed {first['seed']}, "
        f"{first['machine']} per training, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}. LUT, FF and latency: "
        f"{first['tool']}, estimate, clock {first['clock_ns']:g} ns; not synthesis.\n"
        "Differences to another model are paired: same test jets."
    )


def plot(rows: list[Row], path: Path) -> None:
    """Accuracy against alkaid's LUT estimate and against latency: a column of panels per N, two rows per features."""
    import matplotlib as mpl
    import mplhep
    from matplotlib.figure import Figure

    from hls.compare.draw.pareto import plain_ticks
    from qformers.files import replacing

    features, sizes = (sorted({row[key] for row in rows}) for key in ("features", "particles"))
    quantities = {"lut": "LUT (alkaid, estimate)", "latency_ns": "Latency [ns]"}
    with mpl.rc_context({**mplhep.style.ROOT, "font.size": 13, "axes.labelsize": 15, "legend.fontsize": 11}):
        figure = Figure(figsize=(4.1 + 5.2 * len(sizes), 9.0 * len(features)), dpi=90)
        panels = figure.subplots(2 * len(features), len(sizes), squeeze=False)
        for (group, count), (column, size) in product(enumerate(features), enumerate(sizes)):
            inside = [row for row in rows if (row["features"], row["particles"]) == (count, size)]
            pair = panels[2 * group : 2 * group + 2, column]
            if not inside:
                for axes in pair:
                    axes.remove()
                continue
            pair[1].sharey(pair[0])
            for axes, (quantity, label) in zip(pair, quantities.items(), strict=True):
                _panel(axes, inside, quantity)
                axes.set(xlabel=label, ylabel="Accuracy [%]" if column == 0 else "")
                axes.grid(alpha=0.25, lw=0.6)
            pair[0].set_xscale("log")
            plain_ticks(pair[0])
            pair[0].set_title(f"N = {size}, {count} features", fontsize=15)
        handles = {h.get_label(): h for axes in figure.axes for h in axes.get_legend_handles_labels()[0]}
        margin = 0.45 / figure.get_figheight()
        figure.subplots_adjust(
            left=0.09, right=0.97 - 2.8 / figure.get_figwidth(), top=1 - margin, bottom=2 * margin, hspace=0.28
        )
        figure.legend(handles=list(handles.values()), loc="center right", borderpad=0.2)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png")


def _panel(axes: Any, rows: list[Row], quantity: str) -> None:
    for (model, label), colour in zip(MODELS.items(), COLOURS, strict=True):
        mine = sorted((row for row in rows if row["model"] == model), key=lambda row: row["ebops"])
        if not mine:
            continue
        x = [row[quantity] for row in mine]
        y = [ACCURACY_PER_CENT * row["quantised"]["accuracy"]["value"] for row in mine]
        error = [ACCURACY_PER_CENT * row["quantised"]["accuracy"]["error"] for row in mine]
        ls = "--" if model.endswith("_plain") else "-"
        axes.errorbar(x, y, yerr=error, fmt="o", ls=ls, color=colour, label=label, ms=6, lw=1.4, capsize=2)
