#!/usr/bin/env python3
"""HEPT on generated events: what each step from the published form to the firmware form costs, and what context pays.

    python benchmarks/hept_results.py            # makes the data, trains one after the other; about an hour on a core
    python benchmarks/hept_results.py --only pileup_gbdt pileup_firmware
    python benchmarks/hept_results.py --show     # the table again

All numbers are of synthetic events (`qformers generate tracks`). What is finished is not done again, what was
interrupted (Ctrl-C, or a file STOP in runs/hept) goes on. The numbers of all finished trainings go to
``benchmarks/results/hept.json``, from which ``--show`` prints.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.hept_table import collect, show  # noqa: E402
from benchmarks.logged import environment, log_of, run_logged  # noqa: E402
from qformers.errors import nearest  # noqa: E402

RUNS = Path("runs/hept")
RESULTS = ROOT / "benchmarks" / "results" / "hept.json"
STOPPED = 3  # exit status of `qformers train` after a stop on request
DATA = {  # task -> folder, and the command that fills it
    "pileup": (
        Path("data/hept_pileup"),
        "tracks candidates --out data/hept_pileup --events 1000 --pileup 20 --seed 11",
    ),
    "tracking": (
        Path("data/hept_tracking"),
        "tracks --out data/hept_tracking --events 80 --pileup 10 --seed 12 --no-cells --jobs 1",
    ),
}
COMMON = {  # of all variants of a task
    "pileup": ("train.float.epochs=12",),
    "tracking": (
        "data.num_particles=32",
        "data.points.phi_sectors=32",
        "data.points.num_pairs=1024",
        "train.float.epochs=16",
        "train.float.batch_size=32",
    ),
}


@dataclass(frozen=True)
class Variant:
    """One training.

    Attributes:
        name: of its run folder, behind the task.
        task: ``pileup`` or ``tracking``.
        label: in the table.
        changes: ``--set`` of its own.
        config: build file; "" = that of the demo of the task.
        float_of: name of a variant whose float model it starts from (it must have the same float settings).
    """

    name: str
    task: str
    label: str
    changes: tuple[str, ...] = ()
    config: str = ""
    float_of: str = ""

    @property
    def run(self) -> str:
        """Name of its run folder."""
        return f"{self.task}_{self.name}"

    @property
    def phase(self) -> str:
        """The training that its row is about."""
        return "qat" if self.float_of else "float"

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return RUNS / self.run

    @property
    def build(self) -> Path:
        """Its build file."""
        return ROOT / "firmware_configs" / f"{self.config or f'hept_{self.task}_demo'}.yaml"

    def command(self, script: str, *more: str) -> list[str]:
        """Command line of a stage."""
        changes = (f"name=hept_{self.run}", *COMMON[self.task], *self.changes)
        overrides = [part for change in changes for part in ("--set", change)]
        return [sys.executable, str(ROOT / "scripts" / script), str(self.build), *overrides, *more]


PUBLISHED = (
    "model.order=onchip",
    "model.norm=layer",
    "model.head_activation=tanh",
    "model.kernel=direct",
    "model.coord_scales=[]",
    "model.shared_scale=true",
    "model.scale_terms=10",
    "model.hashes=3",
)
# The step down from the published form; the demos' build files are the firmware form: coordinates alone are hashed, one
# order per hash for all layers and heads, batch norm, ReLU. One region and one hash of one coordinate is an order by
# eta, cut into plain blocks; one block over all slots is attention without any hashing.
STEPS = (
    ("published", "published form: latent hash, 3 orders, layer norm", ("model.hash=latent", *PUBLISHED)),
    ("coords_each", "hash of coordinates alone", ("model.hash=coords_each", *PUBLISHED)),
    ("coords", "the same, one order for all layers and heads", PUBLISHED),
    ("batch_norm", "the same, batch norm", (*PUBLISHED, "model.norm=batch")),
    ("firmware", "firmware form: the same, 2 orders, own scales, ReLU", ("model.hashes=2",)),
    ("one_hash", "firmware form, 1 order", ("model.hashes=1",)),
    ("no_norm", "firmware form without norms", ("model.hashes=2", "model.norm=none")),
    ("plain", "plain blocks in order of eta", ("model.hashes=1", "model.region_axes=1", "model.regions=1")),
    ("full", "full attention", ("model.hashes=1", "model.block_size=64", "model.region_axes=1", "model.regions=1")),
)
BASELINES = {"pileup": "gradient-boosted trees, per point", "tracking": "neighbours in the coordinates"}
BUDGETS = {  # EBOPs; with 100,000 for its 64 points the pile-up model died: the same output for every point
    "pileup": (200_000, 400_000, 800_000),
    "tracking": (100_000, 200_000, 400_000),
}
QAT = ("model.hashes=1", "train.qat.epochs=15")
VARIANTS = (
    *(Variant(name, task, label, changes) for task in DATA for name, label, changes in STEPS),
    *(
        Variant(
            f"{budget // 1000}k",
            task,
            f"quantised, 1 order, {budget:,} EBOPs",
            (*QAT, f"train.qat.ebops_target={budget}"),
            float_of="one_hash",
        )
        for task in DATA
        for budget in BUDGETS[task]
    ),
)


def make_data() -> None:
    """Generate what is not there."""
    for folder, arguments in DATA.values():
        if not (folder / "test").is_dir():
            command = [sys.executable, str(ROOT / "scripts" / "generate_data.py"), *shlex.split(arguments)]
            subprocess.run(command, check=True, env=environment())  # noqa: S603  our own script


def share_float(variant: Variant) -> None:
    """Take over the float model of another variant."""
    source, target = RUNS / f"{variant.task}_{variant.float_of}" / "float", variant.folder / "float"
    if variant.float_of and not target.exists() and (source / "manifest.json").exists():
        variant.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=variant.folder) as temporary:
            shutil.copytree(source, Path(temporary) / "float").rename(target)


def run(variant: Variant) -> str:
    """Train, make the baseline of the firmware form, trace a quantised model; returns what happened, in a line."""
    share_float(variant)
    data, out = str(DATA[variant.task][0]), str(variant.folder)
    quantised = variant.phase == "qat"
    only = () if quantised else ("--phase", "float")
    stages = {f"{variant.phase}/manifest.json": variant.command("train.py", "--out", out, "--data", data, *only)}
    if variant.name == "firmware":
        script = str(ROOT / "benchmarks" / "hept_baselines.py")
        stages["baseline/manifest.json"] = [sys.executable, script, out]
    if quantised:
        script = str(ROOT / "scripts" / "run_rtl.py")
        build = str(variant.folder / "build.yaml")
        stages["rtl.json"] = [sys.executable, script, build, "--run", out, "--levels", "interpreter"]
    for result, command in stages.items():
        if (variant.folder / result).exists():
            continue
        if (RUNS / "STOP").exists():
            return f"{variant.run}: not done, {RUNS / 'STOP'} is there"
        status = run_logged(command, variant.folder)
        if status:
            word = "was stopped" if status == STOPPED else f"ended with {status}"
            return f"{variant.run}: {Path(command[1]).name} {word}, see {log_of(variant.folder)}"
    return f"{variant.run}: done"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="RUN", help=f"of {', '.join(v.run for v in VARIANTS)}")
    parser.add_argument("--show", action="store_true", help="train nothing, print what is known")
    options = parser.parse_args(arguments)
    known = {variant.run for variant in VARIANTS}
    for name in options.only or ():
        if name not in known:
            parser.error(f"--only: no training '{name}'{nearest(name, known)}")
    return options


def main() -> int:
    """Entry point."""
    options = parse()
    if not options.show:
        from rich.console import Console

        from qformers.progress import bars

        console = Console(highlight=False, soft_wrap=True)
        make_data()
        chosen = [variant for variant in VARIANTS if not options.only or variant.run in options.only]
        try:
            with bars(console=console) as reporter:
                tick = reporter.task("trainings", len(chosen))
                for variant in chosen:
                    console.print(run(variant), markup=False)
                    tick()
        except KeyboardInterrupt:
            print("stopped; the same command goes on from there", file=sys.stderr)
            return STOPPED
    if RUNS.exists():
        variants = {variant.run: (variant.task, variant.label, variant.phase) for variant in VARIANTS}
        collect(variants, BASELINES, RUNS, RESULTS)
    show(RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
