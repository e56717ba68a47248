#!/usr/bin/env python3
"""What a HEPT has to beat, on the data and splits of its run: models that see one point at a time.

    python benchmarks/hept_baselines.py runs/hept_pileup_demo runs/hept_tracking_demo

Pile-up: gradient-boosted trees (scikit-learn) on the features and coordinates of each point; the number of trees is the
best one on validation data. Tracking: nearest neighbours in the coordinates themselves, each over its standard
deviation. ``<run>/baseline/`` gets metrics.json and test_logits.npz as a training writes them, so that the numbers can
stand side by side; they are printed so.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import print_table  # noqa: E402
from qformers.builds.build import Build, load  # noqa: E402
from qformers.cli.status import exit_status  # noqa: E402
from qformers.data import open_split  # noqa: E402
from qformers.data.clouds import PointEvents  # noqa: E402
from qformers.errors import ConfigError  # noqa: E402
from qformers.files import replacing, write_json  # noqa: E402
from qformers.manifest import write_manifest  # noqa: E402

FOLDER = "baseline"
TREES, LEAVES, RATE = 300, 31, 0.1
EVERY = 10  # trees between two looks at the validation data
Floats = NDArray[np.float64]


def numbers(events: PointEvents) -> Floats:
    """Features and coordinates of each slot, (n, N, F + C)."""
    return np.concatenate([events.features, events.coords], axis=-1).astype(np.float64)


def boosted(events: Mapping[str, PointEvents], task: Any, seed: int) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Logits (n, N, 1) of the test split from gradient-boosted trees, and what is to be known of them.

    Args:
        events: train, val and test.
        task: `PileupRemoval`, which says which points count.
        seed: of the trees.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import average_precision_score

    points, truth = {}, {}
    for split, some in events.items():
        targets = task.targets(some)
        counts = targets[..., 1] > 0
        points[split], truth[split] = numbers(some)[counts], targets[..., 0][counts].astype(np.int64)
    model = HistGradientBoostingClassifier(
        learning_rate=RATE, max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False, random_state=seed
    )
    model.fit(points["train"], truth["train"])
    scores = {
        trees: float(average_precision_score(truth["val"], score))
        for trees, score in enumerate(model.staged_decision_function(points["val"]), 1)
        if trees % EVERY == 0
    }
    best = max(scores, key=lambda trees: scores[trees])
    test = numbers(events["test"])
    stages = model.staged_decision_function(test.reshape(-1, test.shape[-1]))
    score = next(score for trees, score in enumerate(stages, 1) if trees == best)
    facts = {"model": "gradient-boosted trees", "trees": best, "validation_auprc": scores[best]}
    return score.reshape(*test.shape[:2], 1).astype(np.float32), {**facts, "points_trained": len(points["train"])}


def coordinates(events: Mapping[str, PointEvents]) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """The coordinates (n, N, C) of the test split over their standard deviation in the train split, as an embedding."""
    known = events["train"].coords[events["train"].mask > 0].astype(np.float64)
    scaled = (events["test"].coords - known.mean(axis=0)) / np.maximum(known.std(axis=0), 1e-12)
    return scaled.astype(np.float32), {"model": "coordinates"}


def baseline(build: Build, run: Path) -> dict[str, Any]:
    """Make the baseline of a run and write ``<run>/baseline``; returns its report.

    Raises:
        ConfigError: a run that has no points.
    """
    from qformers.tasks import task_of

    if build.data.points is None:
        raise ConfigError(
            f"{run / 'build.yaml'}: data.points is missing: these baselines are for points. Received: jets"
        )
    sources: dict[str, Any] = {split: open_split(build.data, split) for split in ("train", "val", "test")}
    task: Any = task_of(build, sources["train"])
    start = time.perf_counter()
    events = {split: source.load() for split, source in sources.items()}
    tracking = build.data.points.task == "tracking"
    outputs, facts = coordinates(events) if tracking else boosted(events, task, build.seed)
    report: dict[str, Any] = task.report(outputs, events["test"])
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "test_logits.npz") as temporary, temporary.open("wb") as stream:
        np.savez(stream, logits=outputs, **task.arrays(events["test"]))
    write_json(folder / "metrics.json", report)
    test = {name: report[name] for name in task.headline}
    facts |= {"seconds": round(time.perf_counter() - start, 1), "score": task.score, "test": test}
    write_manifest(folder, FOLDER, build, facts)
    return report


def shown(report: Mapping[str, Any]) -> list[str]:
    """The numbers of a report that stand side by side."""
    if "auprc" in report:
        auprc, precision = report["auprc"], report["precision_at_recall"]["0.99"]
        return ["AUPRC", f"{auprc['value']:.4f} ± {auprc['error']:.4f}", "precision at 99 % recall", f"{precision:.4f}"]
    parts = [report[f"ap_{pt}"] for pt in ("0.9", "0")]
    texts = [f"{part['value']:.4f} ± {part['error']:.4f}" for part in parts]
    return ["AP@k, pT > 0.9 GeV", texts[0], "AP@k, all", texts[1]]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders with build.yaml")
    return parser.parse_args(arguments)


def work(options: argparse.Namespace) -> int:
    """Make all of them and print what they and the runs reach."""
    lines = [["run", "what", "score", "", "score", ""]]
    for run in options.runs:
        report = baseline(load(run / "build.yaml"), run)
        for phase in ("float", "qat"):
            path = run / phase / "metrics.json"
            if path.exists():
                lines.append([run.name, phase, *shown(json.loads(path.read_text()))])
        lines.append([run.name, FOLDER, *shown(report)])
    print_table(lines)
    return 0


if __name__ == "__main__":
    options = parse()
    sys.exit(exit_status(lambda: work(options)))
