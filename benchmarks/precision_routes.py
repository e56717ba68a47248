#!/usr/bin/env python3
"""ParT on the same jets by every road to fixed point: what each costs at equal accuracy.

    python benchmarks/precision_routes.py             # trains and quantises; hours
    python benchmarks/precision_routes.py --show      # the tables again

One float model (and one pruned in float) is quantised without training (uniform widths, tuned widths), with widths
chosen by hand and training (as with QKeras), and with learned widths (HGQ); each of them alone and with half of the
weights pruned, at several widths or EBOPs targets. Every result is traced by alkaid and compared with Keras on 10,000
jets and the adversarial events; the cheapest one of each road within `--loss` of the float accuracy is also written as
an HLS project and compared in C simulation. Finished steps are not done again; a file STOP in runs/routes ends it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.logged import log_of, run_logged  # noqa: E402
from benchmarks.precision_routes_table import cheapest, float_row, row_of, show  # noqa: E402

RUNS = Path("runs/routes")
RESULTS = ROOT / "benchmarks" / "results" / "precision_routes.json"
BUILD = ROOT / "firmware_configs" / "part_jets8.yaml"
MODEL = ("model.heads=1", "model.pair_widths=[4]")  # small enough for an FPGA, see benchmarks/pareto.py
TABLES = (  # of the softmax
    "quant.exp_input_fraction_bits=3",
    "quant.exp_fraction_bits=5",
    "quant.inverse_input_fraction_bits=4",
    "quant.inverse_fraction_bits=6",
)
LEARNED = ("train.qat.ebops_arrival=0.4", "quant.weight=fixed<4,1,RND,SAT_SYM>", "quant.activation=fixed<7,4,RND,SAT>")
SPARSITY = 0.5
LOSS = 0.01  # of accuracy against float, that the table of equal accuracy allows


@dataclass(frozen=True)
class Point:
    """One way to a quantised model.

    Attributes:
        route: the road, a key of `ROUTES`.
        name: of its run folder.
        script: that makes it.
        start: run folder of the float model.
        settings: KEY=VALUE of the build.
        options: further ones of the script.
        build: point whose build file is taken, "" = `BUILD`.
    """

    route: str
    name: str
    script: str
    start: str = "float"
    settings: tuple[str, ...] = ()
    options: tuple[str, ...] = field(default=())
    build: str = ""

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return RUNS / self.name

    @property
    def file(self) -> Path:
        """Its build file."""
        return RUNS / self.build / "build.yaml" if self.build else BUILD

    def itself(self) -> list[str]:
        """Command-line arguments for what it left."""
        return [str(self.folder / "build.yaml"), "--run", str(self.folder)]

    def overrides(self) -> list[str]:
        """Command-line options for the build."""
        changes = [f"name=routes_{self.name}", *MODEL, *TABLES, *self.settings]
        return [word for change in changes for word in ("--set", change)]


def uniform(bits: int) -> tuple[str, ...]:
    """Formats of one width; integer bits of values as the inputs need them."""
    return (
        f"quant.weight=fixed<{bits},2,RND,SAT_SYM>",
        f"quant.bias=fixed<{bits + 2},3,RND,SAT>",
        f"quant.activation=fixed<{bits},4,RND,SAT>",
    )


# Widths chosen by hand, trained: one for all, the ranges those of the calibration. With ranges chosen by hand too
# (weights quantized_bits(6, 1), values fixed<8,4>) the same training ended at 0.551 on validation, 0.05 below.
BY_HAND = ("quant.learn=false", "train.qat.ebops_target=null")


# In the quantised phase norms are folded into the kernels: weights are large where their input is small, and units of a
# layer are of unlike sizes. Ranked by magnitude, validation accuracy was 0.525 (by layer) and 0.517 (by output unit).
FOLDED = ("train.qat.prune.method=wanda", "train.qat.prune.scope=output")


def pruned(phase: str) -> str:
    """Half of the weights."""
    return f"train.{phase}.prune.sparsity={SPARSITY}"


FLOATS = {  # float model -> its pruning
    "float": (),
    "float_p": (pruned("float"),),
    "float_magnitude75": ("train.float.prune.sparsity=0.75",),
    "float_wanda75": ("train.float.prune.sparsity=0.75", "train.float.prune.method=wanda"),
    "float_mdmm75": ("train.float.prune.sparsity=0.75", "train.float.prune.method=mdmm"),
    "float_unit": ("train.float.prune.sparsity=0.5", "train.float.prune.granularity=unit"),
}
POINTS = (
    *(Point("ptq", f"ptq{bits}", "quantise.py", settings=uniform(bits)) for bits in (12, 11, 10, 8)),
    *(Point("ptq_pruned", f"ptq{bits}_p", "quantise.py", "float_p", uniform(bits)) for bits in (12, 11, 10)),
    *(
        Point("hgq", f"hgq{target // 1000}k", "train.py", settings=(*LEARNED, f"train.qat.ebops_target={target}"))
        for target in (150_000, 100_000)
    ),
    Point(
        "hgq_pruned",
        "hgq150k_p",
        "train.py",
        settings=(*LEARNED, "train.qat.ebops_target=150000", pruned("qat"), *FOLDED),
    ),
    Point(
        "hgq_held",
        "hgq150k_h",
        "train.py",
        "float_p",
        (*LEARNED, "train.qat.ebops_target=150000", pruned("float")),
    ),
    *(Point("by_hand", f"by_hand{bits}", "train.py", settings=BY_HAND, build=f"ptq{bits}") for bits in (10, 8)),
    *(
        Point(f"tuned{end}", f"tuned_1pc{tail}", "tune_precision.py", start, (), ("--max-loss", "0.008"))
        for end, tail, start in (("", "", "float"), ("_pruned", "_p", "float_p"))
    ),
    Point("tuned", "tuned_250k", "tune_precision.py", options=("--ebops", "250000")),
)


def make(core: str | None) -> None:
    """Do what is not done."""
    for start in ("float", "float_p"):
        step(Point("", start, "train.py", settings=FLOATS[start]), "float/manifest.json", ["--phase", "float"], core)
    for point in POINTS:
        common = [str(point.file), *point.overrides(), *point.options]
        if point.script == "train.py":
            link_float(point)
            step(point, "qat/manifest.json", [], core)
            continue
        model = str(RUNS / point.start / "float" / "model.keras")
        more = ["--calibrate"] if point.script == "quantise.py" else []
        run(point, "qat/manifest.json", [point.script, model, *common, *more, "--out", str(point.folder)], core)
    for point in POINTS:
        run(point, "rtl.json", ["run_rtl.py", *point.itself(), "--levels", "interpreter"], core)
        run(point, "qat/sparsity.json", ["sparsity.py", *point.itself()], core)
    for row in cheapest(rows(), LOSS):
        point = next(point for point in POINTS if point.name == row["name"])
        place = ["--model", str(point.folder / "qat/model.keras"), "--out", str(point.folder / "firmware/vitis")]
        export = ["export_hls.py", str(point.folder / "build.yaml"), *place]
        run(point, "firmware/vitis/manifest.json", export, core)
        run(point, "csim.json", ["run_csim.py", *point.itself()], core)
    for start, settings in FLOATS.items():
        step(Point("", start, "train.py", settings=settings), "float/manifest.json", ["--phase", "float"], core)


def collect() -> None:
    """Write the numbers of all that is finished."""
    from qformers.files import write_json

    done = {name: what for name, what in FLOATS.items() if (RUNS / name / "float/manifest.json").exists()}
    floats = [float_row(RUNS / name, settings, RUNS / "float") for name, settings in done.items()]
    write_json(RESULTS, {"float": floats, "rows": rows()})


def rows() -> list[dict[str, Any]]:
    """What is known of the points that are finished."""
    done = [p for p in POINTS if (p.folder / "rtl.json").exists() and (p.folder / "qat/sparsity.json").exists()]
    return [row_of(point.folder, point.route, RUNS / "float") for point in done]


def link_float(point: Point) -> None:
    """Take over the float model, which is trained with the same settings."""
    import shutil

    if not (point.folder / "float").exists():
        point.folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(RUNS / point.start / "float", point.folder / "float.part", dirs_exist_ok=True)
        (point.folder / "float.part").rename(point.folder / "float")


def step(point: Point, result: str, more: list[str], core: str | None) -> None:
    """Train."""
    command = ["train.py", str(point.file), *point.overrides(), "--out", str(point.folder), *more]
    run(point, result, command, core)


def run(point: Point, result: str, command: list[str], core: str | None) -> None:
    """Run a script of the repository unless its result is there."""
    if (point.folder / result).exists():
        return
    if (RUNS / "STOP").exists():
        raise SystemExit(f"{RUNS / 'STOP'} is there")
    words = [sys.executable, str(ROOT / "scripts" / command[0]), *command[1:]]
    status = run_logged(words, point.folder, core)
    said = "done" if status == 0 else f"ended with {status}, see {log_of(point.folder)}"
    print(f"{point.name}: {command[0]} {said}", flush=True)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="train nothing, print what is known")
    parser.add_argument("--loss", type=float, default=LOSS, help=f"accuracy that may be lost (default: {LOSS})")
    parser.add_argument("--core", help="core to keep to; small models do not gain from a second one")
    options = parser.parse_args()
    if not options.show:
        RUNS.mkdir(parents=True, exist_ok=True)
        make(options.core)
        collect()
    show(RESULTS, options.loss)
    return 0


if __name__ == "__main__":
    sys.exit(main())
