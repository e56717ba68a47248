#!/usr/bin/env python3
"""Accuracy against cost: ParT with and without its pair bias beside its peers, on the same jets for as many epochs.

    python benchmarks/pareto.py --particles 16 --features 3 --targets 150000 350000 60000   # trains; hours
    python benchmarks/pareto.py --show                                                      # table and plot again

Every model is trained in float once and quantised once per EBOPs target; then its arithmetic is traced by alkaid, which
estimates LUT, FF and latency, and compared with Keras on 10,000 jets and the adversarial events. What is finished is
not done again, what was interrupted (Ctrl-C, or a file STOP in runs/pareto) goes on. The numbers of all finished
trainings go to ``benchmarks/results/pareto.json``, from which ``--show`` prints.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.logged import log_of, run_logged  # noqa: E402
from benchmarks.pareto_table import FEATURES, MODELS, collect, run_name, show, stem  # noqa: E402

RUNS = Path("runs/pareto")
# Tens of epochs, where the publications had thousands: EBOPs start low and come down early, so that most of the epochs
# are for the accuracy. JEDI-linear (64 wide, N = 16, 150,000 EBOPs, validation): 0.597 with the build files' starting
# widths and arrival, 0.616 with the earlier arrival, 0.624 with both, and 0.633 at half its published width.
RECIPE = (
    "train.qat.ebops_arrival=0.4",
    "quant.weight=fixed<4,1,RND,SAT_SYM>",
    "quant.activation=fixed<7,4,RND,SAT>",
)
HALF_WIDTH = (
    "model.embed_widths=[32]",
    "model.edge_width=32",
    "model.object_widths=[32]",
    "model.fc_widths=[32, 16]",
)
# An exponential with 6 address bits is one LUT per output bit. With the build files' tables (8 bits in, 8 bits out) the
# softmax alone took 50,000 of 147,000 EBOPs in ParT with two heads.
TABLES = (
    "quant.exp_input_fraction_bits=3",
    "quant.exp_fraction_bits=5",
    "quant.inverse_input_fraction_bits=4",
    "quant.inverse_fraction_bits=6",
)
ONE_HEAD = ("model.heads=1", "model.pair_widths=[4]")
CHANGES = {  # by model
    "jedi_linear": HALF_WIDTH,
    "jedi_linear_sorted": HALF_WIDTH,
    "part": (*ONE_HEAD, *TABLES),
    "part_plain": (*ONE_HEAD, *TABLES),
    "mha": TABLES,
    "linformer": TABLES,
}
RESULTS = ROOT / "benchmarks" / "results" / "pareto.json"


@dataclass(frozen=True)
class Training:
    """One model at one EBOPs target."""

    model: str  # key of MODELS
    particles: int
    features: int
    target: int

    @property
    def build(self) -> Path:
        """Its build file."""
        return ROOT / "firmware_configs" / f"{stem(self.model, self.particles, self.features)}.yaml"

    @property
    def name(self) -> str:
        """Name of its run folder and of its firmware."""
        return run_name(self.model, self.particles, self.features, self.target)

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return RUNS / self.name

    def command(self, script: str, *more: str) -> list[str]:
        """Command line of a stage."""
        changes = (f"name={self.name}", f"train.qat.ebops_target={self.target}", *RECIPE, *CHANGES.get(self.model, ()))
        overrides = [part for change in changes for part in ("--set", change)]
        return [sys.executable, str(ROOT / "scripts" / script), str(self.build), *overrides, *more]


def share_float(training: Training) -> None:
    """Take over the float model that another target of the same build was trained from."""
    if (training.folder / "float").exists():
        return
    for other in sorted(RUNS.glob(f"{training.build.stem}_[0-9]*k")):
        if (other / "float" / "manifest.json").exists():
            training.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=training.folder) as temporary:
                copied = shutil.copytree(other / "float", Path(temporary) / "float")
                copied.rename(training.folder / "float")
            return


def run(training: Training, core: int | None) -> str:
    """Train and trace; returns what happened, in a line."""
    if not training.build.exists():
        return f"{training.name}: no {training.build.name}"
    share_float(training)
    stages = {
        training.folder / "qat" / "manifest.json": training.command("train.py", "--out", str(training.folder)),
        training.folder / "rtl.json": training.command(
            "run_rtl.py", "--run", str(training.folder), "--levels", "interpreter"
        ),
    }
    for result, command in stages.items():
        if result.exists():
            continue
        if (RUNS / "STOP").exists():
            return f"{training.name}: not done, {RUNS / 'STOP'} is there"
        status = run_logged(command, training.folder, core)
        if status:
            return f"{training.name}: {command[1]} ended with {status}, see {log_of(training.folder)}"
    return f"{training.name}: done"


def run_all(trainings: list[Training], jobs: int) -> None:
    """Do `jobs` trainings at a time, each on a core of its own: small models do not gain from a second one."""
    from rich.console import Console

    from qformers.progress import bars

    cores = sorted(os.sched_getaffinity(0)) if shutil.which("taskset") else []
    free, lock = [cores[index] if index < len(cores) else None for index in range(jobs)], threading.Lock()

    def one(training: Training) -> str:
        with lock:
            core = free.pop()
        try:
            return run(training, core)
        finally:
            with lock:
                free.append(core)

    console = Console(highlight=False, soft_wrap=True)
    with bars(console=console) as reporter:
        tick = reporter.task("trainings", len(trainings))
        with ThreadPoolExecutor(jobs) as pool:
            try:
                for line in pool.map(one, trainings):
                    console.print(line, markup=False)
                    tick()
            except KeyboardInterrupt:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="(default: all)")
    parser.add_argument("--particles", nargs="+", type=int, default=[16], help="N, 8, 16 or 32 (default: 16)")
    parser.add_argument("--features", nargs="+", type=int, choices=FEATURES, default=[3], help="(default: 3)")
    parser.add_argument("--targets", nargs="+", type=int, default=[150_000], help="EBOPs (default: 150000)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time (default: 2)")
    parser.add_argument("--show", action="store_true", help="train nothing, print and plot what is known")
    return parser.parse_args(arguments)


def main() -> int:
    """Entry point."""
    options = parse()
    if not options.show:
        trainings = [
            Training(model, particles, features, target)
            for features in options.features
            for particles in options.particles
            for target in options.targets
            for model in options.models
        ]
        RUNS.mkdir(parents=True, exist_ok=True)
        try:
            run_all(trainings, options.jobs)
        except KeyboardInterrupt:
            print("stopped; the same command goes on from there", file=sys.stderr)
            return 3
    if RUNS.exists():
        collect(RUNS, RESULTS)
    show(RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
