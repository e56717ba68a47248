#!/usr/bin/env python3
"""What each step of the toolchain takes in time and memory, and how that grows with N and with the width of a model.

    python benchmarks/toolchain.py runs/part_demo --particles 4 8 16
    python benchmarks/toolchain.py runs/part_demo --particles 32 64 128 --steps convert compile trace verilate
    python benchmarks/toolchain.py runs/part_demo --widths 16 32 64 --steps convert compile trace verilate
    python benchmarks/toolchain.py runs/part_demo --particles 32 64 --steps fold "fold verilate" "fold verilator"
    python benchmarks/toolchain.py runs/hept_tracking_demo --particles 16 32 --steps convert compile csim trace \
        "alkaid compile" "alkaid csim"

The trained quantised model of a run is built again for each N with the same weights and formats (they do not depend
on N), so that nothing but N changes. For another width there are no trained weights: they are random, with the build
file's formats, and take more logic than trained ones of that width would. Every step is a process of its own: wall
and CPU seconds are those of the step without the start of Python, the memory is that of the largest process that
works (Python with Keras in it takes 0.7 GB by itself; for a compiler or Yosys it is theirs). A step beyond the limit
is ended and said so, and what needs its result is left out. Finished steps are kept in ``runs/toolchain`` and not run
again. "hls4ml alone" is hls4ml's own route: convert_from_keras_model, compile, predict.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.logged import environment  # noqa: E402
from benchmarks.markdown import machine_words, table  # noqa: E402
from benchmarks.toolchain_steps import ICARUS_EVENTS, JETS, resized, widened  # noqa: E402

RUNS = Path("runs/toolchain")
RESULTS = ROOT / "benchmarks" / "results" / "toolchain.json"
FOLDED = "fold"  # first word of the steps of folded firmware; measured later than the others, in the file, too
LOOK_S = 0.5  # between two looks at the memory


class Kind(NamedTuple):
    """What is varied: its sign in the table, its letter in the names of folders, and what makes the model."""

    sign: str
    letter: str
    make: Callable[[Path, int, Path], None]


KINDS = {"particles": Kind("N", "n", resized), "widths": Kind("width", "w", widened)}
NEEDS = {  # step -> the step whose result it works on; in the order of the table
    "convert": None,
    "compile": "convert",
    "csim": "compile",
    "trace": None,
    "interpreter": "trace",
    "alkaid compile": "trace",
    "alkaid csim": "alkaid compile",
    "verilate": "trace",
    "verilator": "verilate",
    "icarus": "trace",
    "yosys": "trace",
    "fold": None,
    "fold compile": "fold",
    "fold kernels": "fold compile",
    "fold verilate": "fold",
    "fold verilator": "fold verilate",
    "fold icarus": "fold",
    "fold yosys": "fold",
    "hls4ml alone": None,
}
WORDS = {
    "convert": "hls4ml: convert, write",
    "compile": "hls4ml's C++: compile (g++)",
    "csim": f"hls4ml's C++: {JETS:,} events",
    "trace": "alkaid: trace, cut, write RTL",
    "interpreter": f"interpreter: {JETS:,} events",
    "alkaid compile": "alkaid's C++: compile (g++)",
    "alkaid csim": f"alkaid's C++: {JETS:,} events",
    "verilate": "Verilator: compile",
    "verilator": f"Verilator: {JETS:,} events",
    "icarus": f"Icarus: compile, {ICARUS_EVENTS} events",
    "yosys": "Yosys: synthesis",
    "fold": "folded, T = 1: trace, cut, write RTL",
    "fold compile": "folded, kernels: compile (g++)",
    "fold kernels": f"folded, kernels: {JETS:,} events",
    "fold verilate": "folded, Verilator: compile",
    "fold verilator": f"folded, Verilator: {JETS:,} events",
    "fold icarus": f"folded, Icarus: compile, {ICARUS_EVENTS} events",
    "fold yosys": "folded, Yosys: synthesis",
    "hls4ml alone": f"hls4ml alone: convert, compile, {JETS:,} events",
}


def measured(folder: Path, step: str, limit: float, script: str = "toolchain_steps.py", *more: str) -> dict[str, Any]:
    """Run a step in a process group of its own, with a limit.

    Args:
        folder: of the model.
        step: its name.
        limit: seconds.
        script: has the steps.
        more: arguments behind the name.
    """
    command = [sys.executable, str(ROOT / "benchmarks" / script), str(folder), step, *more]
    quiet = {**environment(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (folder / "log.txt").open("a") as log:
        process = subprocess.Popen(  # noqa: S603  no shell
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=quiet, start_new_session=True
        )
        with together(process.pid) as memory:
            try:
                answer, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                return {"error": f"> {limit / 60:g} min"}
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
    if process.returncode:
        return {"error": "failed", "why": f"exit status {process.returncode}, see {folder / 'log.txt'}"}
    figures: dict[str, Any] = json.loads(answer.strip().splitlines()[-1])
    return {**figures, "together_mib": max([*memory, figures["peak_mib"]])}  # a look may miss the peak


@contextmanager
def together(session: int) -> Iterator[list[float]]:
    """MiB that all processes of a session hold, looked at every now and then; what they share counts in each."""
    seen, over = list[float](), threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            seen.append(sum(_held(place) for place in Path("/proc").glob("[0-9]*") if _session(place) == session))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _session(process: Path) -> int | None:
    """Of a process; None where it is gone."""
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return None


def _held(process: Path) -> float:
    """MiB of a process; 0 where it is gone."""
    try:
        return int((process / "statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return 0.0


def bench(run: Path, kind: str, size: int, steps: list[str], limit: float) -> dict[str, Any]:
    """All steps of one N or one width; those that are done are read."""
    from qformers.files import write_json

    folder = RUNS / f"{run.name}_{KINDS[kind].letter}{size}"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "steps.json"
    done: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {}
    if not (folder / "qat" / "model.keras").exists():
        KINDS[kind].make(run, size, folder)
    for step in (step for step in NEEDS if step in steps and step not in done):
        before = NEEDS[step]
        if before is not None and "error" in done.get(before, {"error": ""}):
            done[step] = {"error": f"needs {before}"}
        else:
            print(f"{folder.name}: {WORDS[step]}", file=sys.stderr, flush=True)
            done[step] = measured(folder, step, limit)
        write_json(place, done)
    return done


def cell(figures: Mapping[str, Any] | None) -> str:
    """Wall seconds, CPU seconds, memory; and what is remarkable."""
    if figures is None:
        return ""
    if "error" in figures:
        return str(figures["error"])
    text = f"{figures['wall_s']:.1f} s, {figures['cpu_s']:.0f} s CPU, {figures['peak_mib'] / 1024:.1f} GB"
    if "events" in figures:
        rate = figures["events"] / figures["wall_s"]
        text += f", {rate:,.0f}/s" if rate >= 10.0 else f", {rate:.1f}/s"
    return text + (f", {figures['different']:,} outputs differ" if figures.get("different") else "")


def estimated(steps: Mapping[str, Any]) -> str:
    """LUT of a traced model, with an event per clock and folded."""
    unrolled, folded = (steps.get(step, {}).get("lut_estimate") for step in ("trace", "fold"))
    text = "not traced" if unrolled is None else f"{unrolled:,.0f} LUT"
    if folded is None:
        return text
    return f"{folded:,.0f} LUT folded" if "trace" not in steps else f"{text}, {folded:,.0f} folded"


def growth(rows: Mapping[int, Mapping[str, Any]], step: str, sign: str = "N") -> str:
    """Exponent of what `sign` says in the CPU time, between the smallest and the largest one that finished."""
    done = [n for n in sorted(rows) if "cpu_s" in rows[n].get(step, {})]
    if len(done) < 2:
        return ""
    low, high = (rows[n][step]["cpu_s"] for n in (done[0], done[-1]))
    return f"{sign}^{math.log(max(high, 1e-3) / max(low, 1e-3)) / math.log(done[-1] / done[0]):.1f}" if low > 1 else ""


def rows_of(entry: Mapping[str, Any], kind: str) -> dict[int, Mapping[str, Any]]:
    """N or width, rising -> the figures of each step."""
    return {int(size): entry[kind][size] for size in sorted(entry[kind], key=int)}


def text(entry: Mapping[str, Any], kind: str) -> str:
    """The table of what is varied, of one run, as Markdown; a row per step, a column per N or width."""
    rows, sign = rows_of(entry, kind), KINDS[kind].sign
    lines = [["step", *(f"{sign} = {size}: {estimated(steps)}" for size, steps in rows.items()), "CPU time grows as"]]
    lines += [
        [WORDS[step], *(cell(steps.get(step)) for steps in rows.values()), growth(rows, step, sign)]
        for step in NEEDS
        if any(step in steps for steps in rows.values())
    ]
    return table(lines)


def conditions(name: str, entry: Mapping[str, Any]) -> str:
    """What the tables of a run were measured on."""
    folded = entry.get(FOLDED, {})
    same = all(entry[key] == value for key, value in folded.items())
    later = "" if same else f"; folded: {', '.join(folded.values())}"
    return f"Run {name}, {entry['machine']}, {entry['date']}{later}; LUT estimated by alkaid."


def show(tree: Mapping[str, Any]) -> None:
    """Print one table per run and kind."""
    for name, entry in tree["runs"].items():
        for kind in (kind for kind in KINDS if entry.get(kind)):
            print(f"\n{text(entry, kind)}\n\n{conditions(name, entry)}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="run folder with a trained quantised model")
    parser.add_argument("--particles", type=int, nargs="*", help="N (default: 4 8 16, without --widths)")
    parser.add_argument("--widths", type=int, nargs="*", default=[], help="of the embedding, untrained")
    parser.add_argument("--steps", nargs="+", choices=NEEDS, default=list(NEEDS), help="(default: all)")
    parser.add_argument("--limit", type=float, default=1800.0, help="of each step, seconds (default: 1800)")
    options = parser.parse_args(arguments)
    if options.particles is None:
        options.particles = [] if options.widths else [4, 8, 16]
    return options


def main() -> int:
    """Entry point; without a run prints what is known."""
    options = parse()
    from qformers.files import write_json
    from qformers.manifest import machine

    tree: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": {}}
    for kind in KINDS if options.run is not None else ():
        for size in getattr(options, kind):
            entry = tree["runs"].setdefault(options.run.name, {})
            steps = bench(options.run, kind, size, options.steps, options.limit)
            entry.setdefault(kind, {}).setdefault(str(size), {}).update(steps)  # others were measured elsewhere
            today = datetime.datetime.now(datetime.UTC).date().isoformat()
            now = {"machine": machine_words(machine()), "date": today}
            own = {step.startswith(FOLDED) for step in options.steps}
            entry |= (now if False in own or "machine" not in entry else {}) | ({FOLDED: now} if True in own else {})
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            write_json(RESULTS, tree)
    show(tree)
    return 0


if __name__ == "__main__":
    sys.exit(main())
