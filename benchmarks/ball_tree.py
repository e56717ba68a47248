#!/usr/bin/env python3
"""Time of ball trees of a batch of clouds, beside scikit-learn's BallTree with joblib, all in one run.

    python benchmarks/ball_tree.py            # measures, half a minute
    python benchmarks/ball_tree.py --show     # the table again

16 clouds of points in space, normal numbers in float32. Ours is the tree down to leaves of two points, with a rotated
tree for balls of 128 besides where it says so. scikit-learn's tree of the same depth has ``leaf_size=1``; its default
of 40 stops four to five levels earlier. joblib spreads clouds over all cores, by processes and by threads, of which the
faster one counts; ours uses one core, and as many threads as cores. What is measured takes turns, so that another load
on the machine meets all alike, and the shortest time of each counts.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import machine_words, table  # noqa: E402
from qformers.files import write_json  # noqa: E402
from qformers.manifest import machine  # noqa: E402
from qformers.nn.index.ball_order import BallOrder  # noqa: E402
from qformers.nn.index.ball_tree import tree  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "ball_tree.json"
SIZES = (1024, 4096, 16_384)
CLOUDS, SEED = 16, 1
ROUNDS = 8
BALL = 128
SAME_DEPTH, DEFAULT = 1, 40  # leaf_size


def methods(clouds: Any, cores: int, pools: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    from joblib import delayed
    from sklearn.neighbors import BallTree

    turned = BallOrder((BALL,), (), 45.0, (0,), "duplicates")
    mask = np.ones(clouds.shape[:2], np.float32)

    def theirs(pool: str, leaf: int) -> Callable[[], Any]:
        return lambda: pools[pool](delayed(BallTree)(cloud, leaf_size=leaf) for cloud in clouds)

    return {
        "ours": lambda: tree(clouds),
        "ours, all cores": lambda: tree(clouds, cores),
        "ours, rotated too": lambda: turned(clouds, mask),
        **{f"{pool} {leaf}": theirs(pool, leaf) for pool in pools for leaf in (SAME_DEPTH, DEFAULT)},
    }


def measured() -> dict[str, Any]:
    """Milliseconds per cloud."""
    from joblib import Parallel

    about = machine()
    cores = int(about["cores"])
    random = np.random.default_rng(SEED)
    rows = []
    with Parallel(cores, prefer="processes") as processes, Parallel(cores, prefer="threads") as threads:
        for points in SIZES:
            clouds = random.normal(size=(CLOUDS, points, 3)).astype(np.float32)
            asked = methods(clouds, cores, {"processes": processes, "threads": threads})
            best = dict.fromkeys(asked, float("inf"))
            for _ in range(ROUNDS):
                for name, call in asked.items():
                    start = time.perf_counter()
                    call()
                    best[name] = min(best[name], time.perf_counter() - start)
            rows.append({"points": points, "ms": {name: 1e3 * best[name] / CLOUDS for name in best}})
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"machine": about, "date": date, "seed": SEED, "clouds": CLOUDS, "rows": rows}


def text(content: Mapping[str, Any]) -> str:
    """The table: times in ms, and how many times faster ours is."""
    lines = [
        [
            "points",
            "ours",
            "all cores",
            "with a rotated tree",
            "BallTree, joblib",
            "default leaves",
            "faster",
            "all cores",
        ]
    ]
    for row in content["rows"]:
        ms = row["ms"]
        same, default = (
            min(ms[f"{pool} {leaf}"] for pool in ("processes", "threads")) for leaf in (SAME_DEPTH, DEFAULT)
        )
        numbers = (ms["ours"], ms["ours, all cores"], ms["ours, rotated too"], same, default)
        ratios = (same / ms["ours"], same / ms["ours, all cores"])
        lines.append(
            [f"{row['points']:,}", *(f"{number:.2f}" for number in numbers), *(f"{ratio:.1f}" for ratio in ratios)]
        )
    return table(lines)


def conditions(content: Mapping[str, Any]) -> str:
    """Machine, date and seed."""
    return (
        f"ms per cloud, {content['clouds']} clouds in space; measured on {content['date']}, "
        f"{machine_words(content['machine'])}, seed {content['seed']}."
    )


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="measure nothing, print what is known")
    options = parser.parse_args()
    if not options.show:
        write_json(RESULTS, measured())
    content = json.loads(RESULTS.read_text())
    print(f"{text(content)}\n\n{conditions(content)}")


if __name__ == "__main__":
    main()
