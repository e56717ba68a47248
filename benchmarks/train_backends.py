#!/usr/bin/env python3
"""Training speed of the TensorFlow and the JAX backend of Keras, side by side: the same builds, the same jets, one run.

    python benchmarks/train_backends.py            # measures, keeps and prints the table; half an hour
    python benchmarks/train_backends.py --show     # the table again
    python benchmarks/train_backends.py --profile part_jets16 qat   # where a step of each backend spends its time

Each number is of a process of its own, which runs the loop of `qformers.train` on the jets in the repository: the first
step, which compiles, by itself; then the median of the steps that follow. The backends take turns and the best of some
turns counts, so that other work on the machine hits both alike; jets per second of the processor, all cores counted,
are what is left to compare on a machine that does other things too. The peak is the process's own high-water mark of
resident memory (VmHWM), imports and compilation included.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import machine_words, table  # noqa: E402
from benchmarks.stream_memory import peak_mib  # noqa: E402
from qformers.files import write_json  # noqa: E402
from qformers.manifest import machine, versions  # noqa: E402

if TYPE_CHECKING:
    from qformers.train.loop import Trainer

RESULTS = ROOT / "benchmarks" / "results" / "train_backends.json"
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
CASES = {  # build -> phases; the large one is measured over fewer steps
    "part_jets16": ("float", "qat"),
    "deepsets_jets16": ("float", "qat"),
    "part_jetclass_kin": ("float",),
}
LARGE = ("part_jetclass_kin",)
JETS = tuple(f"data.{split}=[tests/data/jets/{split}/*.root]" for split in ("train", "val", "test"))
Row = dict[str, Any]


def trainer_of(name: str, phase: str, folder: Path) -> Trainer:
    """The loop of a phase of a build, on the jets in the repository."""
    from qformers.builds.build import load
    from qformers.builds.models import build_model
    from qformers.data import open_split
    from qformers.quant.fold import calibrate, float_to_quantised
    from qformers.tasks import task_of
    from qformers.train.loop import Phase, Trainer
    from qformers.train.phases import deterministic, feeds, settings_of

    os.chdir(ROOT)
    build = load(ROOT / "firmware_configs" / f"{name}.yaml", ["data.dataset=jetclass", "data.cache=null", *JETS])
    config = build.train.float if phase == "float" else build.train.qat
    if config is None:
        raise SystemExit(f"{name}: has no phase {phase}")
    deterministic(build.seed, config.jit_compile)
    split = open_split(build.data, "train")
    model = build_model(build, split.feature_set, split.class_names, "float32")
    if phase == "qat":
        floating, model = model, build_model(build, split.feature_set, split.class_names, "hgq")
        float_to_quantised(floating, model, feeds([split], model)[0].sample(256, build.seed))
    train, val = feeds([split, open_split(build.data, "val")], model)
    settings = settings_of(build, "float" if phase == "float" else "qat")
    made = Phase(phase, config, task_of(build, split), build.seed, folder, settings, calibrate)
    return Trainer(made, model, train, val)


def steps_of(trainer: Trainer, steps: int) -> list[tuple[float, float]]:
    """Seconds of each of so many steps, the wait for their data included: of the clock on the wall, of all cores."""
    spent: list[tuple[float, float]] = []
    state, config = trainer.state, trainer.phase.config
    while len(spent) < steps:
        batches = trainer.train.epoch(config.batch_size, trainer.phase.seed, state.epoch, state.step)
        while state.step < trainer.steps and len(spent) < steps:
            start, used = time.perf_counter(), time.process_time()
            trainer._step(next(batches))
            spent.append((time.perf_counter() - start, time.process_time() - used))
        batches.close()  # type: ignore[attr-defined]
        state.next_epoch()
    return spent


def measure(name: str, phase: str, steps: int) -> Row:
    """One row, of this process and its backend."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(name, phase, Path(folder))
        first, *rest = steps_of(trainer, 1 + steps)
    config = trainer.phase.config
    step_s, used_s = (float(np.median(values)) for values in zip(*rest, strict=True))
    return {
        "batch": config.batch_size,
        "micro_batch": config.at_once,
        "particles": int(trainer.model.inputs[0].shape[1]),
        "weights": int(sum(np.prod(variable.shape) for variable in trainer.model.trainable_variables)),
        "variables": len(trainer.variables),
        "first_step_s": first[0],
        "step_s": step_s,
        "jets_per_s": config.batch_size / step_s,
        "jets_per_cpu_s": config.batch_size / max(used_s, 1e-6),
        "peak_mib": peak_mib(),
    }


def in_process(backend: str, name: str, phase: str, steps: int) -> Row:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--child", name, phase, str(steps)]
    result = subprocess.run(  # noqa: S603 - our own file
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"KERAS_BACKEND": backend}
    )
    row: Row = json.loads(result.stdout.splitlines()[-1])
    return {"build": name, "phase": phase, "backend": backend, **row}


def best(rows: list[Row]) -> Row:
    """Of the turns of one case: the best of each number."""
    least = {key: min(row[key] for row in rows) for key in ("first_step_s", "step_s", "peak_mib")}
    return {**rows[0], **least, **{key: max(row[key] for row in rows) for key in ("jets_per_s", "jets_per_cpu_s")}}


def compared(options: argparse.Namespace) -> dict[str, Any]:
    """All cases on both backends, in turns."""
    turns: dict[tuple[str, str, str], list[Row]] = {}
    for name in options.builds:
        for phase in CASES.get(name, ("float",)):
            large = name in LARGE
            for _ in range(1 if large else options.turns):
                for backend in BACKENDS:
                    row = in_process(backend, name, phase, 3 if large else options.steps)
                    turns.setdefault((name, phase, backend), []).append(row)
                    print(f"{name} {phase} {backend}: {row['jets_per_s']:.0f} jets/s", file=sys.stderr, flush=True)
    known = versions()
    return {
        "rows": [best(rows) for rows in turns.values()],
        "steps": options.steps,
        "turns": options.turns,
        "versions": {name: known[name] for name in ("keras", "tensorflow-cpu", "jax") if name in known},
        "machine": machine_words(machine()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def pairs(content: Mapping[str, Any]) -> list[tuple[Row, Row]]:
    """(TensorFlow, JAX) of each case."""
    cases: dict[tuple[str, str], dict[str, Row]] = {}
    for row in content["rows"]:
        cases.setdefault((row["build"], row["phase"]), {})[row["backend"]] = row
    return [(case["tensorflow"], case["jax"]) for case in cases.values() if set(case) == set(BACKENDS)]


def text(content: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    shown = ("jets/s", "jets per processor s", "first step", "peak")
    heads = [f"{what}, {name}" for what in shown for name in BACKENDS.values()]
    lines = [["build", "phase", "N", "weights", *heads[:2], "JAX / TensorFlow", *heads[2:]]]
    for one, other in pairs(content):
        lines.append(
            [
                one["build"],
                one["phase"],
                str(one["particles"]),
                f"{one['weights']:,}",
                *(f"{row['jets_per_s']:,.0f}" for row in (one, other)),
                f"{other['jets_per_s'] / one['jets_per_s']:.2f}",
                *(f"{row['jets_per_cpu_s']:,.0f}" for row in (one, other)),
                *(f"{row['first_step_s']:.0f} s" for row in (one, other)),
                *(f"{row['peak_mib'] / 1024:.1f} GiB" for row in (one, other)),
            ]
        )
    return table(lines)


def conditions(content: Mapping[str, Any]) -> str:
    """What it was measured on."""
    known = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    return (
        f"Best of {content['turns']} turns of {content['steps']} steps behind the first one (the large model: one turn "
        f"of 3), seed 1, {content['machine']}, {known}, {content['date']}."
    )


def profile(name: str, phase: str) -> None:
    """Print where the Python side of a step spends its time; what the backend computes is one line of it."""
    import cProfile
    import pstats

    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(name, phase, Path(folder))
        steps_of(trainer, 3)
        profiler = cProfile.Profile()
        profiler.runcall(steps_of, trainer, 10)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(35)


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builds", nargs="+", default=list(CASES), help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a turn (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=2, help="of each backend (default: %(default)s)")
    parser.add_argument("--show", action="store_true", help="measure nothing, print what is known")
    parser.add_argument("--profile", nargs=2, metavar=("BUILD", "PHASE"), help="of the backend in KERAS_BACKEND")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, phase, steps = options.child
        print(json.dumps(measure(name, phase, int(steps))))
        return
    if options.profile:
        profile(*options.profile)
        return
    if not options.show:
        write_json(RESULTS, compared(options))
    content = json.loads(RESULTS.read_text())
    print(f"{text(content)}\n\n{conditions(content)}")


if __name__ == "__main__":
    main()
