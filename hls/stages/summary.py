"""What a run came to, in a screen: scores, equality of firmware and model, cost, where everything lies."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from hls.compare.read.records import FirmwareManifest, read
from hls.compare.table.kernels import BITS, layers_of, plans_of
from hls.compare.table.sources import how_to
from hls.reports.report import load_reports
from qformers.builds.build import load
from qformers.builds.run_place import naming
from qformers.files import replacing
from qformers.manifest import MANIFEST
from qformers.records import read_record
from qformers.results import Result
from qformers.results import spell as spell_measured
from qformers.tasks.score_names import spell

SOURCES = ("alkaid", "folded", "yosys", "yosys-nodsp")  # of resources, from estimate to synthesis
SAID = {"interpreter": "RTL arithmetic", "emulator": "emulated machine"}  # of levels that read no Verilog
COUNTED = ("lut", "ff", "dsp", "bram18")


@dataclass(frozen=True, repr=False)
class Summary(Result):
    """The lines of the summary of a run folder."""

    run: Path
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def pieces(self) -> Iterator[RenderableType]:
        """The lines."""
        yield from self.lines

    def save(self) -> Path:
        """Write ``summary.txt`` into the run folder."""
        with replacing(self.run / "summary.txt") as temporary:
            temporary.write_text(f"{self}\n")
        return self.run / "summary.txt"


def summary(run: Path | str) -> Summary:
    """The summary of a run; stages that were not run, such as the training of an imported model, are left out.

    Args:
        run: run folder with at least a C simulation.
    """
    run = Path(run)
    report: dict[str, Any] = read_record(run / "csim.json", "simulate again with qformers csim", old=True)
    manifests = {name: run / name / "manifest.json" for name in ("float", "qat")}
    phases = {
        name: read_record(path, "start over with --fresh", old=True)
        for name, path in manifests.items()
        if path.is_file()
    }
    lines = [f"{run.name}:"]
    if len(phases) == len(manifests) and "test" in phases["qat"]:  # of a model of one's own nobody says what is right
        score, test = phases["qat"].get("score", "accuracy"), phases["qat"]["test"]
        unit = next(word for word in ("jets", "windows", "points", "events") if word in test)
        lines = [f"{run.name}: {spell(score)} on the {test[unit]:,} {_word(unit, report)} of the test split"]
        lines += [_score("float", phases["float"]["test"], score), _score("quantised", test, score)]
    if report["end"]:
        score, unit = report["end"].get("score", "accuracy"), report["end"].get("unit", "jets")
        lines.append(f"{spell(score)} on the simulated {_word(unit, report)} ({report['splits']})")
        lines += [_score(name, entry, score) for name, entry in report["end"]["metrics"].items()]
    lines += _agreement("C simulation", report)
    rtl = run / "rtl.json"
    if rtl.is_file():
        facts = read_record(rtl, "simulate again with qformers rtl", old=True)
        for level, checked in facts["levels"].items():
            named = {"what": report.get("what", "jets"), **checked}
            lines += _agreement(SAID.get(level, f"RTL ({level})"), named)
        lines += [f"RTL ({level}) was not run: {why}" for level, why in facts["skipped"].items()]
    for proof in sorted(run.glob("prove*.json")):
        lines.append(_proved(read_record(proof, "prove it again with qformers prove")))
    lines += _ebops(run, str(report.get("backend", "")), phases)
    lines += _costs(run, str(report.get("backend", "")))
    lines += _kernels(run)
    lines.append(f"project    {report['project']}")
    shown = "per layer " if (report.get("fidelity") or {}).get("layers") else "details   "
    lines.append(f"{shown} {run / 'csim.json'} and {run / 'plots'}/csim_*.png")
    page = run / "comparison" / "report.html"
    return Summary(run, tuple([*lines, f"page       {page}"] if page.is_file() else lines))


def _word(unit: str, report: dict[str, Any]) -> str:
    """For what is counted; events with one label each stand under "jets" in records, also where they are sequences."""
    return str(report.get("what", unit)) if unit == "jets" else unit


def _score(name: str, entry: dict[str, Any], score: str) -> str:
    return f"  {name:10} {spell_measured(entry[score]['value'], entry[score]['error'], '+-')}"


def _agreement(what: str, checked: dict[str, Any]) -> list[str]:
    groups = (
        (checked.get("what", "jets"), checked["jets"]),
        ("adversarial events", checked["adversarial"]),
        ("events with pauses and resets", checked.get("disturbed")),
    )
    return [
        f"{what} {'==' if group['equal'] else '!='} quantised model on {group['events']:,} {label}: "
        f"{group['values_different']:,} of {group['values']:,} outputs differ"
        for label, group in groups
        if group
    ]


def _proved(facts: dict[str, Any]) -> str:
    return (
        f"{facts['backend']} ({facts['level']}) {'==' if facts['equal'] else '!='} quantised model on "
        f"{facts['events']:,} drawn events: {facts['bits_different']:,} of {facts['bits']:,} bits differ"
    )


def _ebops(run: Path, backend: str, phases: dict[str, Any]) -> list[str]:
    """Of the hardware that was written; of the training where the project does not say and no other one was meant."""
    project = read(run / "firmware" / backend / MANIFEST, FirmwareManifest)
    ebops, trained = project.ebops if project is not None else None, phases.get("qat", {})
    if not ebops and not trained.get("settings", {}).get("firmware"):
        ebops = trained.get("ebops")
    return [f"EBOPs      {ebops:,}"] if ebops else []


def _kernels(run: Path) -> list[str]:
    """A line per kernel of folded firmware, with the stores behind it."""
    lines = []
    for plan in plans_of(run).values():
        lines.append(f"folded     {plan.taken}, II = {plan.ii_cycles}")
        for row in plan.kernels:
            stores = ", ".join(f"{bits:,} {kind.removesuffix(BITS)}" for kind, bits in row.memories.items())
            behind = f"; bits in memories: {stores}" if stores else ""
            took = f"beats {row.beats}, stages {row.stages}, {row.lut_estimate:,.0f} LUT, {row.register_bits:,} FF"
            lines.append(f"  kernel {row.kernel}: {layers_of(row)}: {took} (estimates){behind}")
    return lines


def _costs(run: Path, backend: str) -> list[str]:
    """One line per source; an estimate is called one, and a report of another model than the project's is left out."""
    reports = load_reports(run)
    models = {source: reports[source].detail.get("model_sha256") for source in SOURCES if source in reports}
    own = models.get(backend if backend in models else "alkaid")
    current = [source for source, model in models.items() if own in (None, model)]
    lines = []
    for source in current:
        report = reports[source]
        numbers = ", ".join(f"{report.resources.get(key, 0):,} {key.upper()}" for key in COUNTED)
        lines.append(f"{report.stage:10} {numbers} ({report.tool}; {report.error_bar.split(';')[0]})")
    if current and not any(source.startswith("yosys") for source in current):
        yaml = run / "build.yaml"  # a training leaves it; the build of an imported model is where its user has it
        arguments = naming(run, load(yaml)) if yaml.is_file() else f"BUILD --run {shlex.quote(str(run))}"
        lines.append(f"synthesis  not complete: {how_to('yosys', 'synthesis', arguments)}")
    if "verilator" in reports:
        timed = reports["verilator"]
        lines.append(
            f"latency    {timed.latency_cycles} cycles = {timed.latency_ns:g} ns at a clock of {timed.clock_ns:g} ns, "
            f"II = {timed.ii_cycles} (measured in RTL simulation; whether the clock is met a vendor's tool says)"
        )
    return lines
