#!/usr/bin/env python3
"""Energies of Lennard-Jones clusters: Erwin beside DeepSets and full attention in float, and quantised and folded.

    qformers generate clusters --out data/clusters
    python benchmarks/clusters.py              # trains what is not trained, measures, prints
    python benchmarks/clusters.py --seeds 1 2
    python benchmarks/clusters.py --show       # the table again

All see species and places of the atoms, on the same clusters for as many epochs. Trainings are kept in
``runs/clusters``, and what is done is not done again; a file STOP there ends it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.folded_training import COST, cost_cells  # noqa: E402
from benchmarks.markdown import table, with_error  # noqa: E402
from benchmarks.pareto_table import read  # noqa: E402
from benchmarks.trained import Row, command, keep, make, row_of  # noqa: E402

RUNS = Path("runs/clusters")
RESULTS = ROOT / "benchmarks" / "results" / "clusters.json"
BUILDS = {"erwin": "erwin_clusters", "deepsets": "deepsets_clusters", "mha": "mha_clusters"}  # model -> build
WORDS = {"erwin": "Erwin", "deepsets": "DeepSets", "mha": "full attention"}
QUANTISED = "erwin"
DIGITS = 4


def run_of(model: str, seed: int) -> Path:
    """Where a training is kept."""
    return RUNS / f"{model}_{seed}"


def make_model(model: str, seed: int, epochs: Sequence[int] | None) -> None:
    """Train, write and compare what is not done."""
    make(run_of(model, seed), BUILDS[model], [f"seed={seed}"], epochs, model == QUANTISED)
    collect()


def minus(phase: Path, other: Path) -> dict[str, Any]:
    """Difference of the R^2 of two models on the same test events, with its error."""
    from qformers.tasks.metrics.regression import r2_minus

    one, two = (np.load(path / "test_logits.npz", allow_pickle=False) for path in (phase, other))
    target = _target()
    values = [array["logits"][:, 0].astype(np.float64) / target.scale + target.shift for array in (one, two)]
    return r2_minus(*values, one["labels"][:, 0].astype(np.float64)).as_json()


def _target() -> Any:
    from qformers.data.clusters.cluster_rows import TARGETS

    return TARGETS[0]


def collect() -> None:
    """Keep the rows of all finished trainings."""
    rows = []
    for run in (path.parents[1] for path in RUNS.glob("*/float/metrics.json")):
        model, _, seed = run.name.rpartition("_")
        metrics = read(run / "float/metrics.json")
        more: Row = {"model": model, "seed": int(seed), "rmse": metrics["rmse"], "of_mean": metrics["of_mean"]["rmse"]}
        rows.append({**more, **row_of(run, "r2", minus)})
    keep(RESULTS, rows, ("model", "seed"), lambda key: (list(BUILDS).index(key[0]), key[1]))


def text(content: Mapping[str, Any]) -> str:
    """The table of the float models as Markdown: a line per model, seeds side by side."""
    seeds = sorted({row["seed"] for row in content["rows"]})
    heads = [f"{name}, seed {seed}" for seed in seeds for name in ("R²", "RMSE")]
    lines = [["model", "parameters", *heads]]
    for model, words in WORDS.items():
        mine = {row["seed"]: row for row in content["rows"] if row["model"] == model}
        if mine:
            cells = [with_error(mine.get(seed, {}).get(key), DIGITS) for seed in seeds for key in ("float", "rmse")]
            lines.append([words, f"{next(iter(mine.values()))['parameters']:,}", *cells])
    mean = with_error(content["rows"][0]["of_mean"], DIGITS)
    lines.append(["mean of all", "0", *(cell for _ in seeds for cell in ("0", mean))])
    return table(lines)


def folded_text(content: Mapping[str, Any]) -> str:
    """The table of what was quantised and folded."""
    lines = [["model", "seed", "R² float", "R² quantised", "quantised - float", *COST]]
    for row in content["rows"]:
        if "ebops" in row:
            scores = [with_error(row["float"], DIGITS), with_error(row["quantised"], DIGITS)]
            scores.append(with_error(row["minus_float"], DIGITS, sign="+"))
            lines.append([WORDS[row["model"]], str(row["seed"]), *scores, *cost_cells(row)])
    return table(lines)


def conditions(content: Mapping[str, Any]) -> str:
    """What the tables were measured on."""
    rows = content["rows"]
    events, last = rows[0]["events"], rows[-1]
    epochs = ", ".join(str(number) for number in sorted({row["epochs"] for row in rows}))
    said = f"`firmware_configs/*_clusters.yaml`, {events['train']:,} training and {events['test']:,} test clusters, "
    said += f"{epochs} epochs in float"
    if quantised := [row for row in rows if "ebops" in row]:
        lengths = ", ".join(str(number) for number in sorted({row["qat_epochs"] for row in quantised}))
        said += f", {lengths} quantised; {quantised[0]['tool']}, estimate, not synthesis"
    said += ". RMSE in epsilon per atom; differences are those of the same clusters"
    return f"{said}; {last['machine']}, {last['date']}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return command(__doc__, "models", BUILDS, make_model, RESULTS, (text, folded_text, conditions), arguments)


if __name__ == "__main__":
    sys.exit(main())
