"""Footnotes of the table: what its columns mean and how far each source was seen from a routed design."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from hls.compare.read.run import Run
from hls.compare.table.cells import FLOAT_ONLY
from hls.compare.table.scores import of_file, rejection_columns
from hls.compare.table.sources import group_of, reports_of
from hls.reports.error_bars import error_bar
from hls.reports.report import STAGES
from qformers.builds.float_only import EXAMPLE
from qformers.builds.nouns import nouns_of
from qformers.builds.own_events import OWN
from qformers.config.sections import DataConfig
from qformers.data.fingerprint import RECORDED, changed_files, data_files
from qformers.data.jets.generators import generators_of
from qformers.tasks.metrics.jets import LIMIT

_SCORES = {  # by task
    "jets": "accuracy, AUC (macro): of the quantised model on the test split with statistical errors; float beside it.",
    "tracking": "AP@0.9: share of the nearest neighbours of a point that are of its particle, pT > 0.9 GeV; of the "
    "quantised model on the windows of the test split with statistical errors; float beside it.",
    "pileup": "AUPRC: area under precision over recall of the points to keep; of the quantised model on the windows of "
    "the test split with statistical errors; float beside it.",
    "regression": "R²: share of the variance of what is to be predicted that is; RMSE, MAE: errors in its unit; of the "
    "quantised model on the test split with statistical errors; float beside it.",
}


def footnotes(runs: Sequence[Run], sources: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """One line each: physics, EBOPs, II, every source with its stage, tool and error bar, equality, clock.

    Args:
        runs: the rows.
        sources: (source, stage), in the order of the columns.
    """
    tasks = {run.task for run in runs}
    notes = [text for task, text in _SCORES.items() if task in tasks]
    given = [f"{run.name} {of_file(known)}" for run in runs if run.task == OWN and (known := run.metrics)]
    if given:
        notes.append(
            f"Scores of models of one's own are of the events and labels that came with each: {', '.join(given)}. They "
            "are compared fairly on the same events, which neither training nor a search has seen."
        )
    files_of = functools.cache(data_files)  # runs on the same events: their files are read once
    if columns := rejection_columns(runs):
        notes.append(
            f"{columns[0].group}: 1 over the share of the background that passes, of each class against the other, at "
            f"the signal efficiency in the heading; > is {LIMIT}."
        )
    if any(run.float_only for run in runs):
        notes.append(
            f"{FLOAT_ONLY}: the build has no section 'quant', so that there is no quantised model and no firmware: its "
            f"scores are those of the float model ({EXAMPLE} has such a section)."
        )
    notes += (note for run in runs for note in _of_jets(run, files_of))
    if len(tasks) > 1:
        notes.append("The plots show one score at a time: builds of another task are left out of it.")
    notes += [
        "EBOPs: HGQ's effective bit operations, counted on the trained model, no synthesis result; of the hardware of "
        "the build, which has T / N of the products that are made for each point where it takes T of N per clock; "
        f"{error_bar('ebops')}.",
        "II: clocks from one event to the next, as measured where it was, and at the clock that was asked for; builds "
        "are compared fairly at equal II, and the plots draw the best ones for each.",
    ]
    for source, stage in sources:
        reports = reports_of(runs, source, stage)
        tools = ", ".join(dict.fromkeys(report.tool for report in reports if report.tool))
        bars = "; ".join(dict.fromkeys(report.error_bar for report in reports if report.error_bar))
        named = f" ({tools})" if tools else ""
        error = f" How far from a routed design: {bars}." if bars else ""
        notes.append(f"{group_of(source, stage)}: {STAGES[stage]}{named}.{error}")
    notes += [
        f"{run.name}: reports of a vendor's tool in {place} are left out: {why}; give the right ones with --vendor."
        for run in runs
        for place, why in run.left_out.items()
    ]
    if any(report.logic_levels is not None for run in runs for report in (run.reports or {}).values()):
        notes.append(
            "Worst slack: of the latest arrival (setup) of any path; logic levels and fan-out: of that path, of "
            "Quartus's synthesis the depth in LUTs. Largest fan-out: of any net, often the clock's."
        )
    if any(report.congestion is not None for run in runs for report in (run.reports or {}).values()):
        notes.append("Congestion level n: a window of 2^n x 2^n tiles is short of wires; Vivado lists those above 5.")
    if any("lut_unfused" in report.resources for run in runs for report in (run.reports or {}).values()):
        notes.append(
            "LUT before fusing adders: alkaid's estimate before it makes adders of three operands out of pairs of "
            "adders, the number that is published of its designs and of da4ml's; LUT is the one of what was written."
        )
    if any("bram18" in report.resources for run in runs for report in (run.reports or {}).values()):
        notes.append("BRAM18: 18-kbit halves; one RAMB36 counts as two.")
    events = " and ".join(dict.fromkeys(nouns_of(run.build).events for run in runs))
    notes += [
        "Percentages are of the device that the source was told, of the build's where it was told a family only, or of "
        "--device. clock: the period asked for; latency in ns is at that period unless the tool measured time.",
        "C simulation, RTL simulation: outputs compared bit for bit with the quantised Keras model, on "
        f"{events} and on adversarial events, of all simulators together; the number of outputs is in brackets.",
        "STALE: the file belongs to another build or model than the run's; listed with the reason.",
    ]
    return tuple(notes)


def _of_jets(run: Run, files_of: Callable[[DataConfig], dict[str, str | None]]) -> Iterator[str]:
    """What is to be known of the jets of a run: made anew since, or of a generator that makes others today."""
    trained = run.manifest or run.float_manifest
    recorded = trained.settings.get(RECORDED) if trained else None
    if recorded is None:
        return
    if changed := changed_files(recorded, files_of(run.build.data)):
        yield f"{run.name}: was trained on other events than those that lie there now ({'; '.join(changed)})."
        return
    for one in generators_of(run.build.data):
        if one.former:
            yield (
                f"{run.name}: its jets are {one}: its scores are not comparable with those of builds on newer jets "
                "(docs/generator.md)."
            )
