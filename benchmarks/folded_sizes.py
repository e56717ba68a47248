#!/usr/bin/env python3
"""Folded firmware of a trained model by N: seconds and memory of each step, LUT, II, latency, values that differ.

    python benchmarks/folded_sizes.py part                           # N = 16, 32, 64, 128: measures, keeps, prints
    python benchmarks/folded_sizes.py part --particles 64 --again
    python benchmarks/folded_sizes.py part --particles 128 --keys 16 # the keys folded too
    python benchmarks/folded_sizes.py part --particles               # the table again
    python benchmarks/folded_sizes.py hrrformer                      # N = 16, 64, 256, 1024
    python benchmarks/folded_sizes.py erwin                          # N = 64, 128, 256 with balls of 8, 16, 32

One model, trained once on the jets of the repository with widths that are learned: ParT of width 32, two blocks, U on
the chip; Hrrformer of width 16, one block; or Erwin of width 4, one block. Its weights and formats do not depend on N,
so that the same model is built for each N, with one point per clock, and of Erwin one ball. Every step is a process of
its own; seconds are those of the step without the start of Python, the memory is that of all processes of the step
together (Python with Keras in it takes 0.7 GB by itself). Events are those of `qformers prove`: real ones, those
changed at random, adversarial ones, and numbers over the ranges of the inputs. Steps that are done are kept in
``runs/folded_sizes_CASE`` and not run again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import machine_words, table  # noqa: E402
from benchmarks.toolchain import measured  # noqa: E402
from benchmarks.toolchain_steps import resized  # noqa: E402
from qformers.files import write_json  # noqa: E402

SCRIPT = "folded_sizes_steps.py"
TRAINED_WITH = 16  # points of an event


@dataclass(frozen=True)
class Case:
    """A model.

    Attributes:
        name: of its architecture.
        build: its build file, from which it differs.
        changes: KEY -> VALUE.
        sizes: N -> what else is changed there, KEY -> VALUE.
        words: for the page.
        together: T as it says it for the page.
    """

    name: str
    build: str
    changes: Mapping[str, Any]
    sizes: Mapping[int, Mapping[str, Any]]
    words: str
    together: str = "T = 1"

    @property
    def runs(self) -> Path:
        """Where it and its firmware are kept."""
        return Path("runs") / f"folded_sizes_{self.name}"

    @property
    def results(self) -> Path:
        """Where its figures are kept."""
        return ROOT / "benchmarks" / "results" / f"folded_sizes_{self.name}.json"

    @property
    def settings(self) -> list[str]:
        """KEY=VALUE of the build."""
        shared = {
            "name": f"{self.name}_sizes",
            "data.num_particles": TRAINED_WITH,
            "firmware.backend": "folded",
            "firmware.points_per_clock": 1,
        }
        return said({**shared, **self.changes})


PART = Case(
    "part",
    "firmware_configs/part_demo.yaml",
    {
        "model.embed_widths": "[32]",
        "model.pair_widths": "[8]",
        "model.heads": 4,
        "model.blocks": 2,
        "train.float.epochs": 15,
        "train.qat.epochs": 25,
        "train.qat.ebops_target": 150_000,
    },
    {16: {}, 32: {}, 64: {}, 128: {}},
    "ParT, width 32, two blocks, four heads, U on the chip",
)
HRRFORMER = Case(
    "hrrformer",
    "firmware_configs/hrrformer_demo.yaml",
    {
        "model.embed_widths": "[16]",
        "model.heads": 2,
        "model.ffn_width": 32,
        "train.float.epochs": 30,
        "train.qat.epochs": 40,
        "train.qat.ebops_target": 40_000,
    },
    {16: {}, 64: {}, 256: {}, 1024: {}},
    "Hrrformer, width 16, one block, two heads",
)
ERWIN = Case(
    "erwin",
    "firmware_configs/erwin_demo.yaml",
    {
        "model.widths": "[4]",
        "model.distance": "exact",
        "model.head_widths": "[8]",
        "firmware.points_per_clock": 8,
        "train.float.epochs": 30,
        "train.qat.epochs": 40,
        "train.qat.ebops_target": 25_000,
    },
    {
        points: {"model.balls": f"[{ball}]", "firmware.points_per_clock": ball}
        for points, ball in ((64, 8), (128, 16), (256, 32))
    },
    "Erwin, width 4, one block, distances with their root, balls of 8, 16, 32 for N = 64, 128, 256",
    "T is a ball",
)
CASES = {case.name: case for case in (PART, HRRFORMER, ERWIN)}
STEPS = {  # step -> its words
    "write": "trace, cut, write",
    "verilate": "compile for Verilator",
    "simulate": "simulate in Verilator",
    "kernels": "compile kernels",
    "prove": "prove with kernels",
}
EVENTS = {
    "simulate": {16: 10_000, 32: 10_000, 64: 2_000, 128: 500},
    "prove": {128: 2_000, 256: 10_000, 1024: 2_000},
}  # step -> N -> events
OTHER_EVENTS = {"simulate": 500, "prove": 100_000}  # of other N
LIMIT_S = 3600.0  # of a step
Row = dict[str, Any]


def said(changes: Mapping[str, Any]) -> list[str]:
    """KEY=VALUE of each."""
    return [f"{key}={value}" for key, value in changes.items()]


def events_of(step: str, particles: int) -> int:
    """Events of a step; 0 of one that has none."""
    return EVENTS.get(step, {}).get(particles, OTHER_EVENTS.get(step, 0))


def trained(case: Case) -> Path:
    """The run folder of the model, which is trained where it is not there."""
    from qformers.builds.build import load
    from qformers.train.stage import train

    run = case.runs / "model"
    if not (run / "qat" / "manifest.json").exists():
        train(load(ROOT / case.build, case.settings), run)
    return run


def measure(case: Case, particles: int, again: bool, keys: int | None = None) -> Row:
    """The row of one N, and of K keys per clock; a step that fails ends it, with what was measured."""
    from qformers.builds.build import load
    from qformers.manifest import machine, versions

    folder = case.runs / (f"n{particles}" if keys is None else f"n{particles}_k{keys}")
    if again:
        shutil.rmtree(folder, ignore_errors=True)
    place = folder / "steps.json"
    done: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {}
    if not (folder / "qat" / "model.keras").exists():
        folder.mkdir(parents=True, exist_ok=True)
        resized(trained(case), particles, folder, *said(case.sizes.get(particles, {})))
        if keys is not None:
            path = folder / "build.yaml"
            path.write_text(load(path, [f"firmware.keys_per_clock={keys}"]).to_yaml())
    for step in (step for step in STEPS if step not in done):
        print(f"N = {particles}: {STEPS[step]}", file=sys.stderr, flush=True)
        figures = measured(folder, step, LIMIT_S, SCRIPT, str(events_of(step, particles)))
        if "error" in figures:
            raise SystemExit(f"N = {particles}: {STEPS[step]}: {figures['error']} {figures.get('why', '')}")
        done[step] = figures
        write_json(place, done)
    return {
        "particles": particles,
        "keys": keys,
        "tool": f"alkaid {versions()['alkaid']}",
        "machine": machine_words(machine()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "steps": done,
    }


def step_text(figures: Mapping[str, Any]) -> str:
    """Seconds and memory; events, and how many of them per second."""
    text = f"{figures['wall_s']:,.0f} s, {figures['cpu_s']:,.0f} s CPU, {figures['together_mib'] / 1024:.1f} GB"
    if "events" not in figures:
        return text
    return f"{text}: {figures['events']:,} events, {figures['events'] / figures['wall_s']:,.0f}/s"


def different(row: Mapping[str, Any]) -> str:
    """Values that differ from Keras, of the events of both simulations."""
    return ", ".join(
        f"{step['different']:,}{'' if step.get('on_time', True) else ' (not in time)'}" for step in compared(row)
    )


def compared(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Steps that compared events: Verilator, kernels."""
    return (row["steps"][step] for step in STEPS if step in OTHER_EVENTS)


def text(content: Mapping[str, Any]) -> str:
    """The table as Markdown; a column per N."""
    rows: Sequence[Row] = content["rows"]
    lines = [["", *map(head, rows)]]
    lines += [[words, *(step_text(row["steps"][step]) for row in rows)] for step, words in STEPS.items()]
    write = [row["steps"]["write"] for row in rows]
    lines += [
        [
            "Keras for Verilator's events, layer by layer",
            *(f"{row['steps']['simulate']['keras_s']:,.0f} s" for row in rows),
        ],
        ["all of it", *(f"{minutes(row):.1f} min, {peak(row):.1f} GB" for row in rows)],
        ["kernels alone", *(f"{row['steps']['prove']['firmware_per_s']:,.0f} events/s" for row in rows)],
        ["Keras, compiled", *(f"{row['steps']['prove']['keras_per_s']:,.0f} events/s" for row in rows)],
        ["values that differ (Verilator, kernels)", *map(different, rows)],
        ["LUT (est.)", *(f"{one['lut_estimate']:,.0f}" for one in write)],
        ["registers of kernels", *(f"{one['register_bits']:,} bits" for one in write)],
        ["stores", *(f"{one['store_bits']:,} bits" for one in write)],
        ["II", *(f"{one['ii_cycles']} = {one['ii_cycles'] * one['clock_ns']:g} ns" for one in write)],
        ["latency", *(f"{one['latency_cycles']} = {one['latency_cycles'] * one['clock_ns']:g} ns" for one in write)],
    ]
    return table(lines)


def head(row: Mapping[str, Any]) -> str:
    """N, and K where keys are folded."""
    return f"N = {row['particles']}" if row.get("keys") is None else f"N = {row['particles']}, K = {row['keys']}"


def minutes(row: Mapping[str, Any]) -> float:
    """Of all steps, with those of Keras for the events of Verilator."""
    return float(sum(step["wall_s"] + step.get("keras_s", 0.0) for step in row["steps"].values())) / 60


def peak(row: Mapping[str, Any]) -> float:
    """GB of the step that takes most."""
    return float(max(step["together_mib"] for step in row["steps"].values())) / 1024


def conditions(case: Case, content: Mapping[str, Any]) -> str:
    """What the table was measured on."""
    rows = content["rows"]
    dates = sorted({row["date"] for row in rows})
    return (
        f"{case.words}, trained at N = {TRAINED_WITH} with learned widths, "
        f"seed {content['seed']}, the same weights for every N; {case.together}; {rows[0]['tool']}, estimate, "
        f"not synthesis; {rows[0]['machine']}, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
    )


def merged(old: Sequence[Row], new: Row) -> list[Row]:
    """Rows by N and K, with a new one in the place of an old one of the same."""

    def place(row: Row) -> tuple[int, int]:
        return row["particles"], row.get("keys") or 0

    return sorted([*(row for row in old if place(row) != place(new)), new], key=place)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES, help="architecture")
    parser.add_argument("--particles", type=int, nargs="*", metavar="N", help="(default: four, by the architecture)")
    parser.add_argument("--keys", type=int, metavar="K", help="keys per clock (default: all)")
    parser.add_argument("--again", action="store_true", help="run steps that are done once more")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, keep and print."""
    options = parse()
    from qformers.builds.build import load

    case = CASES[options.case]
    content: dict[str, Any] = json.loads(case.results.read_text()) if case.results.exists() else {"rows": []}
    for particles in case.sizes if options.particles is None else options.particles:
        content = {
            "seed": load(ROOT / case.build).seed,
            "rows": merged(content["rows"], measure(case, particles, options.again, options.keys)),
        }
        write_json(case.results, content)
    print(f"{text(content)}\n\n{conditions(case, content)}")
    wrong = sum(step["different"] for row in content["rows"] for step in compared(row))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
