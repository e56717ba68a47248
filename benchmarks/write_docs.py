#!/usr/bin/env python3
"""Write what holds measured figures: ``docs/{results,toolchain,folded,generator}.md`` and the table of the README.

    python benchmarks/write_docs.py           # writes them
    python benchmarks/write_docs.py --check   # exit status 1 where one is not what this command writes

The figures are those in ``benchmarks/results/*.json``, which the other benchmarks keep; the words around them stand in
``benchmarks/pages/*.j2``, where a name that is not known is an error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import (  # noqa: E402
    ball_tree,
    clusters,
    cost,
    erwin,
    fast_path,
    folded,
    folded_sizes,
    folded_training,
    generator_truth,
    hept_table,
    hrrformer,
    pair_features,
    pareto_table,
    precision_routes_table,
    results_table,
    stream_memory,
    toolchain,
    train_backends,
    verbs,
)
from benchmarks.markdown import with_error  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PAGES = ROOT / "benchmarks" / "pages"
PAGES_OF_FIGURES = ("results.md", "toolchain.md", "folded.md", "generator.md", "hrrformer.md", "erwin.md")
LOSS = 0.01  # of accuracy, in the table of equal accuracy
HEADLINE = "part_demo"  # run of the table in the README
FOLDED = ("part_demo_folded4", "part_demo_folded")  # the same model, four particles per clock and one
SYSTEMS = {  # architecture -> its demo, and the folded form of that
    "ParT": ("part_demo", "part_demo_folded"),
    "HEPT": ("hept_tracking_demo", "hept_tracking_demo_folded"),
    "HEPT-CMS": ("hept_cms_demo", "hept_cms_demo_folded"),
    "Hrrformer": ("hrrformer_demo", "hrrformer_demo_folded"),
    "Erwin": ("erwin_demo", "erwin_demo_folded"),
}
NORMED = ("part_tiny_layer", "hept_layer")  # runs whose norms and activations are computed
MARKS = "<!-- benchmarks/write_docs.py -->", "<!-- end -->"
PER_CENT = 100.0


def read(name: str) -> Any:
    """The figures that a benchmark kept.

    Raises:
        SystemExit: they are not there.
    """
    path = RESULTS / f"{name}.json"
    if not path.exists():
        raise SystemExit(f"{path}: not there; the benchmark of that name makes it")
    return json.loads(path.read_text())


def points(entry: Mapping[str, Any]) -> str:
    """A difference of accuracies in points with its sign: ``+0.74 ± 0.29``."""
    return with_error(entry, 2, PER_CENT, "+")


def figures() -> dict[str, Any]:
    """What the pages can use."""
    runs, hept, pareto = (read(name) for name in ("runs", "hept", "pareto"))
    costs = {name: read(f"{name}_cost") for name in cost.FAMILIES}
    routes, features, memory, tools, verb_errors = (
        read(name) for name in ("precision_routes", "pair_features", "stream_memory", "toolchain", "verbs")
    )
    tools_entry = tools["runs"][HEADLINE]
    folds, sizes, speeds = (read(name) for name in ("folded", "folded_sizes_part", "fast_path"))
    trained, truth, backends = (read(name) for name in ("folded_training", "generator_truth", "train_backends"))
    trees = read("ball_tree")
    held, held_sizes = read("hrrformer"), read("folded_sizes_hrrformer")
    by_name = {row["name"]: row for row in [*routes["float"], *routes["rows"]]}
    systems = {words: names for words, names in SYSTEMS.items() if all(name in runs for name in names)}
    order = [names[0] for names in systems.values()]
    normed = [name for name in NORMED if name in runs]
    return {
        "runs": runs,
        "demos": order,
        "normed": normed,
        "larger": [
            name for name in runs if name not in (*order, *normed, *itertools.chain(*SYSTEMS.values()), *FOLDED)
        ],
        "systems": results_table.systems_text(runs, systems),
        "systems_on": results_table.conditions_in_short(runs, systems),
        "folded_demos": [HEADLINE, *FOLDED],
        "firmware": lambda names: results_table.firmware_text(runs, names),
        "proof": lambda names: results_table.proof_text(runs, names),
        "cost": lambda names: results_table.cost_text(runs, names),
        "measured_on": lambda names: results_table.conditions(runs, names),
        "engine": results_table.engine_text,
        "pareto": pareto_table.text(pareto["rows"]),
        "peer": {row["run"]: row for row in pareto["rows"]},
        "points": points,
        "per_cent": pareto_table.per_cent,
        "routes": precision_routes_table.cheapest_text(routes, LOSS),
        "route": by_name,
        "floats": precision_routes_table.float_text(routes),
        "routes_on": precision_routes_table.conditions(routes),
        "loss": LOSS * PER_CENT,
        "hept": {task: hept_table.task_text(hept["rows"], task) for task in hept_table.HEADERS},
        "hept_row": {row["run"]: row for row in hept["rows"]},
        "hept_simulations": hept_table.simulations_text(hept["rows"]),
        "hrrformer": {
            "scores": hrrformer.text(held),
            "folded": hrrformer.folded_text(held),
            "conditions": hrrformer.conditions(held),
            "sizes": folded_sizes.text(held_sizes),
            "sizes_on": folded_sizes.conditions(folded_sizes.HRRFORMER, held_sizes),
        },
        "erwin": {
            "tree": ball_tree.text(trees),
            "tree_on": ball_tree.conditions(trees),
            "clusters": _measured(clusters),
            "trained": _measured(erwin),
            "sizes": _sizes(folded_sizes.ERWIN),
        },
        "costs": {name: cost.text(cost.FAMILIES[name], kept) for name, kept in costs.items()},
        "slope": lambda name, model, step: f"{cost.slope_of(costs[name], model, step):.2f}",
        "with_error": with_error,
        "pair_features": pair_features.text(features),
        "pair_errors": features["errors"],
        "pair_features_on": pair_features.conditions(features),
        "verbs": verbs.text(verb_errors),
        "verbs_on": verbs.conditions(verb_errors),
        "memory": stream_memory.text(memory),
        "backends": train_backends.text(backends),
        "backends_on": train_backends.conditions(backends),
        "memory_on": stream_memory.conditions(memory),
        "tools": lambda run, kind: toolchain.text(tools["runs"][run], kind),
        "tools_on": lambda run: toolchain.conditions(run, tools["runs"][run]),
        "steps": {int(size): steps for size, steps in tools_entry["particles"].items()},
        "hept_steps": {int(size): steps for size, steps in tools["runs"]["hept_tracking_demo"]["particles"].items()},
        "folded": {words: folded.text(folds, form) for form, words in folded.forms(folds).items()},
        "folded_keys": folded.keys_text(folds),
        "folded_on": folded.conditions(folds),
        "folded_error": folded.largest_error(folds),
        "sizes": folded_sizes.text(sizes),
        "sizes_on": folded_sizes.conditions(folded_sizes.PART, sizes),
        "trained": folded_training.text(trained),
        "trained_on": folded_training.conditions(trained),
        "truth": lambda preset: generator_truth.text(truth, preset),
        "truth_steps": generator_truth.steps_text(truth),
        "speeds": fast_path.text(speeds),
        "speeds_on": fast_path.conditions(speeds),
        "widths": {int(size): steps for size, steps in tools_entry["widths"].items()},
    }


def _measured(benchmark: Any) -> dict[str, str]:
    """Tables of a benchmark of trained models; none before it is measured."""
    if not benchmark.RESULTS.exists():
        return {}
    content = read(benchmark.RESULTS.stem)
    return {
        "scores": benchmark.text(content),
        "folded": benchmark.folded_text(content),
        "conditions": benchmark.conditions(content),
    }


def _sizes(case: folded_sizes.Case) -> dict[str, str]:
    """Table of one model folded by N; none before it is measured."""
    if not case.results.exists():
        return {}
    content = read(case.results.stem)
    return {"scores": folded_sizes.text(content), "conditions": folded_sizes.conditions(case, content)}


def render(name: str, known: Mapping[str, Any]) -> str:
    """A page as text.

    Raises:
        jinja2.UndefinedError: the page uses a figure that is not known.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # noqa: S701  Markdown, not HTML; all of it is ours
        loader=FileSystemLoader(PAGES), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template(name).render(known)


def between_marks(text: str, new: str) -> str:
    """`text` with what stands between the marks replaced.

    Raises:
        SystemExit: the marks are not there, once each.
    """
    first, last = MARKS
    if text.count(first) != 1 or text.split(first)[1].count(last) != 1:
        raise SystemExit(f"README.md must hold {first} and {last} once")
    return re.sub(f"({re.escape(first)}\n).*?({re.escape(last)})", lambda m: m[1] + new + m[2], text, flags=re.DOTALL)


def pages() -> dict[Path, str]:
    """File -> what it has to hold."""
    known, readme = figures(), ROOT / "README.md"
    made = {ROOT / "docs" / name: render(f"{name}.j2", known) for name in PAGES_OF_FIGURES}
    return made | {readme: between_marks(readme.read_text(), render("headline.md.j2", {**known, "name": HEADLINE}))}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a page is not current")
    options = parser.parse_args()
    stale = {path: text for path, text in pages().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if options.check:
            print(f"{path.relative_to(ROOT)} is not current: python benchmarks/write_docs.py", file=sys.stderr)
        else:
            path.write_text(text)
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
