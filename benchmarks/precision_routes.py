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
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import print_table  # noqa: E402
from benchmarks.pareto_table import ACCURACY_PER_CENT, paired, per_cent, read  # noqa: E402

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
    """

    route: str
    name: str
    script: str
    start: str = "float"
    settings: tuple[str, ...] = ()
    options: tuple[str, ...] = field(default=())

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return RUNS / self.name

    def itself(self) -> list[str]:
        """Command-line arguments for what it left."""
        return [str(self.folder / "build.yaml"), "--run", str(self.folder)]

    def overrides(self) -> list[str]:
        """Command-line options for the build."""
        changes = [f"name=routes_{self.name}", *MODEL, *TABLES, *self.settings]
        return [word for change in changes for word in ("--set", change)]


ROUTES = {
    "ptq": "uniform widths, no training",
    "ptq_pruned": "the same, float model pruned",
    "tuned": "widths tuned, no training",
    "tuned_pruned": "the same, float model pruned",
    "qkeras": "widths by hand, QAT (QKeras style)",
    "qkeras_pruned": "the same, pruned in QAT",
    "hgq": "widths learned, QAT (HGQ)",
    "hgq_pruned": "the same, pruned in QAT",
}


def uniform(bits: int) -> tuple[str, ...]:
    """Formats of one width; integer bits of values as the inputs need them."""
    return (
        f"quant.weight=fixed<{bits},2,RND,SAT_SYM>",
        f"quant.bias=fixed<{bits + 2},3,RND,SAT>",
        f"quant.activation=fixed<{bits},4,RND,SAT>",
    )


def by_hand(weight: int, value: int) -> tuple[str, ...]:
    """Formats as a QKeras user writes them."""
    return (
        "quant.learn=false",
        "train.qat.ebops_target=null",
        f"quant.weight=quantized_bits({weight}, 1, alpha=1)",
        f"quant.bias=quantized_bits({value + 2}, 2, alpha=1)",
        f"quant.activation=fixed<{value},4,RND,SAT>",
    )


def pruned(phase: str) -> str:
    """Half of the weights, by magnitude."""
    return f"train.{phase}.prune.sparsity={SPARSITY}"


POINTS = (
    *(Point("ptq", f"ptq{bits}", "quantise.py", settings=uniform(bits)) for bits in (12, 11, 10, 9, 8)),
    *(Point("ptq_pruned", f"ptq{bits}_p", "quantise.py", "float_p", uniform(bits)) for bits in (12, 11, 10, 9)),
    *(
        Point("hgq", f"hgq{target // 1000}k", "train.py", settings=(*LEARNED, f"train.qat.ebops_target={target}"))
        for target in (150_000, 100_000, 60_000)
    ),
    *(
        Point(
            "hgq_pruned",
            f"hgq{target // 1000}k_p",
            "train.py",
            settings=(*LEARNED, f"train.qat.ebops_target={target}", pruned("qat")),
        )
        for target in (100_000, 60_000)
    ),
    *(Point("qkeras", f"qkeras{w}{v}", "train.py", settings=by_hand(w, v)) for w, v in ((6, 8), (5, 7), (4, 7))),
    *(
        Point("qkeras_pruned", f"qkeras{w}{v}_p", "train.py", settings=(*by_hand(w, v), pruned("qat")))
        for w, v in ((6, 8), (5, 7))
    ),
    *(
        Point(f"tuned{end}", f"tuned_{name}{tail}", "tune_precision.py", start, (), budget)
        for end, tail, start in (("", "", "float"), ("_pruned", "_p", "float_p"))
        for name, budget in (("1pc", ("--max-loss", "0.008")), ("250k", ("--ebops", "250000")))
    ),
)


def make(core: str | None) -> None:
    """Do what is not done."""
    for start, settings in (("float", ()), ("float_p", (pruned("float"),))):
        step(Point("", start, "train.py", settings=settings), "float/manifest.json", ["--phase", "float"], core)
    for point in POINTS:
        common = [str(BUILD), *point.overrides(), *point.options]
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
    for row in cheapest([row_of(point) for point in POINTS]):
        point = next(point for point in POINTS if point.name == row["name"])
        run(point, "csim.json", ["run_csim.py", *point.itself()], core)


def link_float(point: Point) -> None:
    """Take over the float model, which is trained with the same settings."""
    import shutil

    if not (point.folder / "float").exists():
        point.folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(RUNS / point.start / "float", point.folder / "float.part", dirs_exist_ok=True)
        (point.folder / "float.part").rename(point.folder / "float")


def step(point: Point, result: str, more: list[str], core: str | None) -> None:
    """Train."""
    command = ["train.py", str(BUILD), *point.overrides(), "--out", str(point.folder), *more]
    run(point, result, command, core)


def run(point: Point, result: str, command: list[str], core: str | None) -> None:
    """Run a script of the repository unless its result is there."""
    if (point.folder / result).exists():
        return
    if (RUNS / "STOP").exists():
        raise SystemExit(f"{RUNS / 'STOP'} is there")
    point.folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, str(ROOT / "scripts" / command[0]), *command[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (point.folder / "log.txt").open("a") as log:
        pinned = ["taskset", "-c", core, *words] if core else words
        done = subprocess.run(pinned, stdout=log, stderr=log, env=environment, check=False)  # noqa: S603  no shell
    said = "done" if done.returncode == 0 else f"ended with {done.returncode}, see {point.folder / 'log.txt'}"
    print(f"{point.name}: {command[0]} {said}", flush=True)


def row_of(point: Point) -> dict[str, Any]:
    """What is known of a finished point."""
    folder, simulated = point.folder, point.folder / "csim.json"
    manifest, rtl, report = (read(folder / name) for name in ("qat/manifest.json", "rtl.json", "reports/alkaid.json"))
    csim = read(simulated) if simulated.exists() else None
    return {
        "route": point.route,
        "name": point.name,
        "accuracy": read(folder / "qat/metrics.json")["accuracy"],
        "minus_float": paired(folder / "qat", RUNS / "float" / "float"),
        "ebops": manifest["ebops"],
        "zeros": read(folder / "qat/sparsity.json")["share"],
        "lut": report["resources"]["lut"],
        "ff": report["resources"]["ff"],
        "tool": report["tool"],
        "latency_cycles": report["latency_cycles"],
        "latency_ns": report["latency_ns"],
        "interpreter": differing(rtl["levels"]["interpreter"]),
        "csim": differing(csim) if csim else None,
        "jets": manifest["jets"],
        "seed": manifest["seed"],
        "date": manifest["date"][:10],
        "machine": f"{manifest['machine']['cores']} cores {manifest['machine']['processor']}",
    }


def differing(level: dict[str, Any]) -> list[int]:
    """(outputs that differ from Keras, outputs) of a simulation."""
    return [sum(level[part][key] for part in ("jets", "adversarial")) for key in ("values_different", "values")]


def cheapest(rows: list[dict[str, Any]], loss: float = LOSS) -> list[dict[str, Any]]:
    """Of each road the point with the fewest LUT among those that lose at most `loss` of the float accuracy."""
    good = [row for row in rows if row["minus_float"]["value"] >= -loss]
    best = [
        min((row for row in good if row["route"] == route), key=lambda row: row["lut"], default=None)
        for route in ROUTES
    ]
    return [row for row in best if row is not None]


HEADER = ("road", "run", "accuracy %", "minus float", "EBOPs", "zero weights", "LUT (est.)", "FF (est.)", "cycles = ns")
EXACT = ("interpreter differs", "C simulation differs")


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text."""
    found = [f"{row[level][0]:,} of {row[level][1]:,}" if row[level] else "" for level in ("interpreter", "csim")]
    return [
        ROUTES[row["route"]],
        row["name"],
        per_cent(row["accuracy"]),
        per_cent(row["minus_float"], "+"),
        f"{row['ebops']:,}",
        f"{row['zeros']:.0%}",
        f"{row['lut']:,}",
        f"{row['ff']:,}",
        f"{row['latency_cycles']} = {row['latency_ns']:g}",
        *found,
    ]


def show(loss: float) -> None:
    """Print all points, then the cheapest of each road at equal accuracy."""
    if not RESULTS.exists():
        raise SystemExit(f"{RESULTS}: not there; make it with python benchmarks/precision_routes.py")
    results = read(RESULTS)
    rows, floating = results["rows"], results["float"]
    print_table([(*HEADER, *EXACT), *(cells(row) for row in rows)])
    print(f"\nCheapest of each road that loses at most {ACCURACY_PER_CENT * loss:g} points:\n")
    print_table([(*HEADER, *EXACT), *(cells(row) for row in cheapest(rows, loss))])
    first = rows[0]
    print(
        f"\nFloat {per_cent(floating['float'])}, with {SPARSITY:.0%} of its weights pruned "
        f"{per_cent(floating['float_p'])}. {first['jets']['test']:,} test and {first['jets']['train']:,} training jets "
        f"(generated), N = 8, seed {first['seed']}, {first['machine']}, {first['date']}. LUT, FF and latency: "
        f"{first['tool']}, estimate, clock 5 ns; not synthesis. Differences to float are paired: same test jets."
    )


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="train nothing, print what is known")
    parser.add_argument("--loss", type=float, default=LOSS, help=f"accuracy that may be lost (default: {LOSS})")
    parser.add_argument("--core", help="core to keep to; small models do not gain from a second one")
    options = parser.parse_args()
    if not options.show:
        from qformers.files import write_json

        RUNS.mkdir(parents=True, exist_ok=True)
        make(options.core)
        floating = {name: read(RUNS / name / "float/metrics.json")["accuracy"] for name in ("float", "float_p")}
        write_json(RESULTS, {"float": floating, "rows": [row_of(point) for point in POINTS]})
    show(options.loss)
    return 0


if __name__ == "__main__":
    sys.exit(main())
