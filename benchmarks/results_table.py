#!/usr/bin/env python3
"""Results of finished runs, kept and printed: physics, equality with Keras, and cost by source.

    python benchmarks/results_table.py runs/part_demo runs/hept_tracking_demo   # keeps them and prints all
    python benchmarks/results_table.py                                          # prints what is kept

Kept in ``benchmarks/results/runs.json``, from which `benchmarks/write_docs.py` writes the tables of the documentation.
Scores are of the test split, with statistical errors. Costs stand one source per row: an estimate, a simulation and a
synthesis never share one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import differing, machine_words, table, with_error  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "runs.json"
PHASES = {"float": "float", "qat": "quantised"}
RTL = {"verilator": "RTL (Verilator)", "icarus": "RTL (Icarus)", "interpreter": "traced arithmetic (interpreter)"}
SIMULATIONS = {"csim": "C simulation (g++)", **RTL}
JETS = ("accuracy", "AUC", "rejection at 50 % signal")
STAGES = {"estimate": "estimate", "rtlsim": "RTL simulation", "synthesis": "logic synthesis"}
COST = ("build", "source", "kind of number", "LUT", "FF", "DSP", "latency", "II")
Row = dict[str, Any]


def read(path: Path) -> Any:
    """A JSON file of a run.

    Raises:
        SystemExit: it is not there; the message says how it is made.
    """
    if not path.exists():
        build = path.parts[-3] if path.name != "csim.json" else path.parts[-2]
        raise SystemExit(f"{path}: not there; make it with qformers run firmware_configs/{build}.yaml")
    return json.loads(path.read_text())


def record(run: Path) -> Row:
    """What is kept of a run folder."""
    manifest = read(run / "float" / "manifest.json")
    folded = run / "firmware" / "folded" / "manifest.json"  # of the hardware that is built
    kept: Row = {
        "scores": {phase: scores(read(run / phase / "metrics.json")) for phase in PHASES},
        "ebops": read(folded if folded.exists() else run / "qat" / "manifest.json")["ebops"],
        "events": manifest["jets"],
        "simulations": {},
        "reports": {},
        "seed": manifest["seed"],
        "date": manifest["date"][:10],
        "machine": machine_words(manifest["machine"]),
    }
    levels = read(run / "rtl.json")["levels"] if (run / "rtl.json").exists() else {}
    if (run / "csim.json").exists():
        levels = {"csim": read(run / "csim.json"), **levels}
    for level, compared in levels.items():
        kept["simulations"][level] = {
            part: {key: compared[part][key] for key in ("events", "values", "values_different")}
            for part in ("jets", "adversarial")
        }
    for path in sorted((run / "reports").glob("*.json")):
        report = read(path)
        keys = ("tool", "stage", "part", "resources", "clock_ns", "latency_cycles", "latency_ns", "ii_cycles")
        kept["reports"][path.stem] = {key: report[key] for key in keys}
    if (run / "engine.json").exists():
        kept["engine"] = engine_record(read(run / "engine.json"))
    return kept


def engine_record(facts: Mapping[str, Any]) -> Row:
    """What is kept of a block engine: whole events in simulation, and estimates, by size."""
    keys = (
        "points", "events", "values", "values_different", "latency_cycles", "latency_us", "ii_cycles", "lut_estimate",
        "register_bits", "store_bits",
    )  # fmt: skip
    return {"clock_ns": facts["clock_ns"], "events": [{key: size[key] for key in keys} for size in facts["events"]]}


def engine_text(engine: Mapping[str, Any]) -> str:
    """Simulated events of a block engine as Markdown; a row per size."""
    heads = ["points", "events", "outputs that differ from Keras", "latency (RTL simulation)", "II", "LUT", "registers"]
    lines = [[*heads, "stores"]]
    for size in engine["events"]:
        latency = f"{size['latency_cycles']:,} cycles = {size['latency_us']:g} µs"
        bits = [f"{size[key]:,} bit" for key in ("register_bits", "store_bits")]
        cells = [f"{size['points']:,}", f"{size['events']:,}", differing(size), latency]
        lines.append([*cells, f"{size['ii_cycles']:,} cycles", f"{size['lut_estimate']:,}", *bits])
    return table(lines)


def scores(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Column -> value and error, of a phase of jets or points."""
    if "accuracy" in metrics:
        last = metrics["classes"][-1]
        values = (metrics["accuracy"], metrics["auc"], metrics["rejection"][last])
        named = dict(zip(JETS, values, strict=True))
        named[JETS[2]] = {**named[JETS[2]], "signal": last}
    else:
        named = {name: metrics[key] for name, key in (("AP@0.9", "ap_0.9"), ("AUPRC", "auprc")) if key in metrics}
    keep = ("value", "error", "signal", "efficiency")
    return {name: {key: entry[key] for key in keep if key in entry} for name, entry in named.items()}


def score_cells(entry: Mapping[str, Any] | None, name: str) -> str:
    """A score as text; a rejection only at the 50 % that the column says, and with an error."""
    if entry is None or entry["error"] is None or entry.get("efficiency", 0.5) != 0.5:
        return ""
    if "signal" in entry:
        return f"{with_error(entry, 0)} ({entry['signal']})"
    return with_error(entry, 4 if name in JETS else 3)


def proof_text(runs: Mapping[str, Row], names: Sequence[str] = ()) -> str:
    """Scores of each arithmetic and the outputs that differ from the quantised Keras model, as Markdown."""
    names = names or list(runs)
    columns = list(dict.fromkeys(name for run in names for name in runs[run]["scores"]["float"]))
    columns = [c for c in columns if any(score_cells(runs[run]["scores"]["float"].get(c), c) for run in names)]
    lines = [["build", "arithmetic", *columns, "EBOPs", "outputs that differ from Keras"]]
    for run in names:
        kept, last = runs[run], [""] * len(columns)
        for phase, words in PHASES.items():
            last = [score_cells(kept["scores"][phase].get(name), name) for name in columns]
            lines.append([run, words, *last, f"{kept['ebops']:,}" if phase == "qat" else "", ""])
        for level, words in SIMULATIONS.items():
            if level in kept["simulations"]:
                lines.append([run, words, *simulated(kept["simulations"][level], last)])
    return table(lines)


def simulated(level: Mapping[str, Any], quantised: Sequence[str]) -> list[str]:
    """Cells of a simulation of firmware; its scores are those of the quantised model where no output differs."""
    jets, hard = level["jets"], level["adversarial"]
    exact = jets["values_different"] == hard["values_different"] == 0
    words = f"{differing(jets)} in {jets['events']:,} events, {differing(hard)} in {hard['events']:,} adversarial ones"
    return [*(quantised if exact else [""] * len(quantised)), "", words]


def cost_text(runs: Mapping[str, Row], names: Sequence[str] = ()) -> str:
    """LUT, FF, DSP, latency and initiation interval, one source per row, as Markdown."""
    lines = [list(COST)]
    for run in names or runs:
        for report in runs[run]["reports"].values():
            cycles, ns, ii = (report[key] for key in ("latency_cycles", "latency_ns", "ii_cycles"))
            lines.append(
                [
                    run,
                    report["tool"],
                    STAGES.get(report["stage"], report["stage"]),
                    *(whole(report["resources"].get(name)) for name in ("lut", "ff", "dsp")),
                    "" if cycles is None else f"{cycles} cycles = {ns:g} ns",
                    whole(ii),
                ]
            )
    return table(lines)


def firmware_text(runs: Mapping[str, Row], names: Sequence[str]) -> str:
    """Kinds of firmware of one trained model as Markdown: what each takes, how often and for how long."""
    lines = [
        ["firmware", "II", "latency (RTL simulation)", "EBOPs", "LUT (estimate)", "FF (estimate)", "RTL differs in"]
    ]
    for name in names:
        reports = runs[name]["reports"]
        cost = reports.get("folded") or reports["alkaid"]
        timed, level = reports["verilator"], runs[name]["simulations"]["verilator"]
        wrong = [differing(level[part]) for part in ("jets", "adversarial")]
        taken = f"{timed['latency_cycles']} cycles = {timed['latency_ns']:g} ns"
        bits = f"{runs[name]['ebops']:,}"
        resources = (whole(cost["resources"][key]) for key in ("lut", "ff"))
        lines.append([f"`{name}`", whole(timed["ii_cycles"]), taken, bits, *resources, " and ".join(wrong)])
    return table(lines)


def systems_text(runs: Mapping[str, Row], systems: Mapping[str, Sequence[str]]) -> str:
    """One trained model of each architecture, all points in one clock and some per clock, as Markdown.

    Args:
        runs: what is kept.
        systems: architecture -> run of all points in one clock and, where there is one, run of some per clock.
    """
    head = ["", "score", "float", "quantised", "outputs that differ, C simulation", "RTL", "LUT (est.)", "latency"]
    lines = [[*head, "folded: II", "LUT (est.)", "latency", "RTL"]]
    for words, (run, *folded) in systems.items():
        kept = runs[run]
        score = next(iter(kept["scores"]["float"]))
        phases = [score_cells(kept["scores"][phase][score], score) for phase in PHASES]
        wrong = [_all_differing(kept, level) for level in ("csim", "verilator")]
        cells = [words, score, *phases, *wrong, *_size_and_time(kept, "alkaid")]
        for name in folded[:1]:
            other = runs[name]
            times = _size_and_time(other, "folded")
            cells += [whole(other["reports"]["verilator"]["ii_cycles"]), *times, _all_differing(other, "verilator")]
        lines.append([*cells, *[""] * (len(lines[0]) - len(cells))])
    return table(lines)


def _all_differing(kept: Row, level: str) -> str:
    """Outputs that differ in a simulation, of events and of adversarial ones together; "" where it was not run."""
    compared = kept["simulations"].get(level)
    return "" if compared is None else differing(compared["jets"], compared["adversarial"])


def _size_and_time(kept: Row, source: str) -> list[str]:
    """LUT of an estimate, and the latency of the RTL in simulation."""
    reports = kept["reports"]
    return [whole(reports[source]["resources"]["lut"]), f"{reports['verilator']['latency_ns']:g} ns"]


def whole(value: float | None) -> str:
    """``82,699``; "" for None."""
    return "" if value is None else f"{value:,}"


def conditions(runs: Mapping[str, Row], names: Iterable[str] = ()) -> str:
    """What the tables were measured on, a line per run."""
    return "\n".join(
        f"{run}: {runs[run]['events']['test']:,} test and {runs[run]['events']['train']:,} training events, seed "
        f"{runs[run]['seed']}, {runs[run]['machine']}, {runs[run]['date']}.  "
        for run in (names or runs)
    )


def conditions_in_short(runs: Mapping[str, Row], systems: Mapping[str, Sequence[str]]) -> str:
    """The same of the first run of each system, a sentence for all that were measured alike.

    Args:
        runs: what is kept.
        systems: as for `systems_text`.
    """
    alike: dict[str, list[str]] = {}
    for words, (run, *_) in systems.items():
        kept, events = runs[run], runs[run]["events"]
        shared = f"seed {kept['seed']}, {kept['machine']}, {kept['date']}"
        alike.setdefault(shared, []).append(f"{words} {events['test']:,} and {events['train']:,}")
    said = [f"{', '.join(sizes)}; {shared}" for shared, sizes in alike.items()]
    return f"Test and training events: {'. '.join(said)}."


def main() -> None:
    """Keep what is new, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="run folders to read; without any, print what is kept")
    options = parser.parse_args()
    kept: dict[str, Row] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.runs:
        from qformers.files import write_json

        kept |= {run.resolve().name: record(run) for run in options.runs}
        write_json(RESULTS, kept)
    print(f"{proof_text(kept)}\n\n{cost_text(kept)}\n\n{conditions(kept)}")


if __name__ == "__main__":
    main()
