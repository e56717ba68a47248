#!/usr/bin/env python3
"""Events per second of what folded firmware is proved with, beside Keras: alkaid's interpreter, and compiled kernels.

    python benchmarks/fast_path.py runs/part_jets16_plain runs/part_jets16   # measures, keeps and prints the table
    python benchmarks/fast_path.py                                           # the table again

The trained quantised model of each run is written with one and with all of its points per clock; events are numbers
over the whole range of its inputs, the same for all. "Keras" calls the model layer by layer, as all stages that compare
do; "Keras, compiled" is the same as one function (XLA), with which `qformers prove` compares. Each row is the best of
some repetitions; events per processor second count all cores, and are what is left to compare on a machine that does
other things too. No value of any of them differs from Keras, or the benchmark stops.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import machine_words, table  # noqa: E402
from qformers.files import write_json  # noqa: E402
from qformers.manifest import machine, versions  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "fast_path.json"
PROJECTS = Path("runs/fast_path")
EVENTS, REPEATED, SEED = 8192, 3, 1
MORE = 16  # times the events for what is fast
WORDS = {  # side -> its words
    "compiled": "kernels, compiled",
    "interpreter": "kernels, alkaid's interpreter",
    "keras_compiled": "Keras, compiled",
    "keras": "Keras",
}
Row = dict[str, Any]
Outputs = Mapping[str, NDArray[np.float64]]


def measured(call: Callable[[], Outputs], events: int) -> tuple[Outputs, Row]:
    """What a call gives, and how many events per second it took: of the clock on the wall, and of the processor."""
    rates = []
    for _ in range(REPEATED):
        wall, used = time.perf_counter(), sum(os.times()[:4])
        answer = call()
        rates.append((events / (time.perf_counter() - wall), events / max(sum(os.times()[:4]) - used, 0.01)))
    best = max(rates)
    return answer, {"events_per_s": best[0], "events_per_cpu_s": max(rate for _, rate in rates)}


def measure(run: Path) -> list[Row]:
    """The rows of a run.

    Raises:
        SystemExit: a value differs from Keras.
    """
    from hls.backends import open_backend
    from hls.proof.adversarial import uniform
    from hls.proof.agree import CompiledKeras, keras_outputs
    from qformers.builds.build import load
    from qformers.builds.models import load_model

    build, model = load(run / "build.yaml"), load_model(run / "qat" / "model.keras")
    points = build.data.num_particles
    events = uniform(model, EVENTS, SEED)
    many = {name: np.tile(array, (MORE, *[1] * (array.ndim - 1))) for name, array in events.items()}
    facts = {"run": run.name, "particles": points, "model": described(build)}
    compiled = CompiledKeras(model, EVENTS)
    compiled.outputs(events)
    wanted, keras = measured(lambda: keras_outputs(model, events), EVENTS)
    answer, fast = measured(lambda: compiled.outputs(events), EVENTS)
    refuse_other(answer, wanted, f"{run}: compiled Keras")
    rows = [{**facts, "side": "keras", **keras}, {**facts, "side": "keras_compiled", **fast}]
    for together in (1, points):
        firmware = build.firmware.model_copy(update={"backend": "folded", "points_per_clock": together})
        folder = PROJECTS / f"{run.name}_{together}"
        project = open_backend("folded").write(model, build.model_copy(update={"firmware": firmware}), folder)
        own = {**facts, "points_per_clock": together}
        start = time.perf_counter()
        project.compile("compiled")
        own["compile_s"] = time.perf_counter() - start
        for level, given, count in (("compiled", many, MORE * EVENTS), ("interpreter", events, EVENTS)):
            answer, rates = measured(partial(project.outputs, given, level), count)
            first = {name: values[:EVENTS] for name, values in answer.items()}
            refuse_other(first, wanted, f"{folder}: {WORDS[level]}")
            rows.append({**own, "side": level, **rates})
    return rows


def refuse_other(found: Outputs, wanted: Outputs, what: str) -> None:
    """Stop where a value differs from Keras."""
    different = sum(int((found[name] != wanted[name]).sum()) for name in wanted)
    if different:
        raise SystemExit(f"{what}: {different} values differ from Keras")


def described(build: Any) -> str:
    """The model in a few words."""
    model = build.model
    pairs = {"none": "without U", "onchip": "with U on the chip", "input": "U as an input"}.get(
        model.pairs, model.pairs
    )
    return f"{model.architecture}, width {model.embed_widths[-1]}, {pairs}"


def text(content: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    lines = [["run", "", "T", "events/s", "per processor second", "of Keras", "of the interpreter"]]
    rows: Sequence[Row] = content["rows"]
    for row in sorted(
        rows, key=lambda row: (row["run"], row.get("points_per_clock", 0), list(WORDS).index(row["side"]))
    ):
        same = [one for one in rows if one["run"] == row["run"]]
        keras = next(one for one in same if one["side"] == "keras")
        beside = [
            one
            for one in same
            if one["side"] == "interpreter" and one.get("points_per_clock") == row.get("points_per_clock")
        ]
        ratio = row["events_per_cpu_s"] / beside[0]["events_per_cpu_s"] if beside else None
        lines.append(
            [
                row["run"],
                WORDS[row["side"]],
                str(row.get("points_per_clock", "")),
                f"{row['events_per_s']:,.0f}",
                f"{row['events_per_cpu_s']:,.0f}",
                f"{row['events_per_cpu_s'] / keras['events_per_cpu_s']:.1f}",
                "" if ratio is None else f"{ratio:.1f}",
            ]
        )
    return table(lines)


def conditions(content: Mapping[str, Any]) -> str:
    """What it was measured on."""
    models = {row["run"]: f"`{row['run']}`: {row['model']}, N = {row['particles']}" for row in content["rows"]}
    seconds = [row["compile_s"] for row in content["rows"] if row["side"] == "compiled"]
    return (
        f"{'; '.join(models.values())}; trained, {content['events']:,} events over the range of the inputs, seed "
        f"{content['seed']}; g++ compiled the kernels in {min(seconds):.0f} to {max(seconds):.0f} s; "
        f"{content['tool']}, {content['machine']}, {content['date']}; ratios are those per processor second."
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders of trained models")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, keep and print."""
    options = parse()
    content: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    for run in options.runs:
        rows = [row for row in content["rows"] if row["run"] != run.name]
        content = {
            "seed": SEED,
            "events": EVENTS,
            "tool": f"alkaid {versions()['alkaid']}",
            "machine": machine_words(machine()),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "rows": [*rows, *measure(run)],
        }
        write_json(RESULTS, content)
    print(f"{text(content)}\n\n{conditions(content)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
