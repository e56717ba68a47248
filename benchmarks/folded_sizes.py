#!/usr/bin/env python3
"""Folded firmware of a trained ParT by N: seconds and memory of each step, LUT, II, latency, values that differ.

    python benchmarks/folded_sizes.py                                # N = 16, 32, 64, 128: measures, keeps, prints
    python benchmarks/folded_sizes.py --particles 64 --again
    python benchmarks/folded_sizes.py --particles 128 --keys 16      # the keys folded too
    python benchmarks/folded_sizes.py --particles                    # the table again

One model, trained once on the jets of the repository with widths that are learned: ParT of width 32, two blocks, U on
the chip. Its weights and formats do not depend on N, so that the same model is built for each N, with one point per
clock. Every step is a process of its own; seconds are those of the step without the start of Python, the memory is that
of all processes of the step together (Python with Keras in it takes 0.7 GB by itself). Events are those of `qformers
prove`: real ones, those changed at random, adversarial ones, and numbers over the ranges of the inputs. Steps that are
done are kept in ``runs/folded_sizes`` and not run again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import machine_words, table  # noqa: E402
from benchmarks.toolchain import measured  # noqa: E402
from benchmarks.toolchain_steps import resized  # noqa: E402
from qformers.files import write_json  # noqa: E402

RUNS = Path("runs/folded_sizes")
RESULTS = ROOT / "benchmarks" / "results" / "folded_sizes.json"
SCRIPT = "folded_sizes_steps.py"
BUILD = "firmware_configs/part_demo.yaml"
TRAINED_WITH = 16  # points of an event
MODEL = {
    "name": "part_sizes",
    "data.num_particles": TRAINED_WITH,
    "model.embed_widths": "[32]",
    "model.pair_widths": "[8]",
    "model.heads": 4,
    "model.blocks": 2,
    "train.float.epochs": 15,
    "train.qat.epochs": 25,
    "train.qat.ebops_target": 150_000,
    "firmware.backend": "folded",
    "firmware.points_per_clock": 1,
}
STEPS = {  # step -> its words
    "write": "trace, cut, write",
    "verilate": "compile for Verilator",
    "simulate": "simulate in Verilator",
    "kernels": "compile kernels",
    "prove": "prove with kernels",
}
EVENTS = {"simulate": {16: 10_000, 32: 10_000, 64: 2_000, 128: 500}, "prove": {128: 2_000}}  # step -> N -> events
OTHER_EVENTS = {"simulate": 500, "prove": 100_000}  # of other N
LIMIT_S = 3600.0  # of a step
Row = dict[str, Any]


def events_of(step: str, particles: int) -> int:
    """Events of a step; 0 of one that has none."""
    return EVENTS.get(step, {}).get(particles, OTHER_EVENTS.get(step, 0))


def trained() -> Path:
    """The run folder of the model, which is trained where it is not there."""
    from qformers.builds.build import load
    from qformers.train.stage import train

    run = RUNS / "model"
    if not (run / "qat" / "manifest.json").exists():
        train(load(ROOT / BUILD, [f"{key}={value}" for key, value in MODEL.items()]), run)
    return run


def measure(particles: int, again: bool, keys: int | None = None) -> Row:
    """The row of one N, and of K keys per clock; a step that fails ends it, with what was measured."""
    from qformers.builds.build import load
    from qformers.manifest import machine, versions

    folder = RUNS / (f"n{particles}" if keys is None else f"n{particles}_k{keys}")
    if again:
        shutil.rmtree(folder, ignore_errors=True)
    place = folder / "steps.json"
    done: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {}
    if not (folder / "qat" / "model.keras").exists():
        folder.mkdir(parents=True, exist_ok=True)
        resized(trained(), particles, folder)
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


def conditions(content: Mapping[str, Any]) -> str:
    """What the table was measured on."""
    rows = content["rows"]
    dates = sorted({row["date"] for row in rows})
    return (
        f"ParT, width 32, two blocks, four heads, U on the chip, trained at N = {TRAINED_WITH} with learned widths, "
        f"seed {content['seed']}, the same weights for every N; T = 1; {rows[0]['tool']}, estimate, not synthesis; "
        f"{rows[0]['machine']}, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
    )


def merged(old: Sequence[Row], new: Row) -> list[Row]:
    """Rows by N and K, with a new one in the place of an old one of the same."""

    def place(row: Row) -> tuple[int, int]:
        return row["particles"], row.get("keys") or 0

    return sorted([*(row for row in old if place(row) != place(new)), new], key=place)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, nargs="*", default=[16, 32, 64, 128], metavar="N")
    parser.add_argument("--keys", type=int, metavar="K", help="keys per clock (default: all)")
    parser.add_argument("--again", action="store_true", help="run steps that are done once more")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, keep and print."""
    options = parse()
    from qformers.builds.build import load

    content: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    for particles in options.particles:
        content = {
            "seed": load(ROOT / BUILD).seed,
            "rows": merged(content["rows"], measure(particles, options.again, options.keys)),
        }
        write_json(RESULTS, content)
    print(f"{text(content)}\n\n{conditions(content)}")
    wrong = sum(step["different"] for row in content["rows"] for step in compared(row))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
