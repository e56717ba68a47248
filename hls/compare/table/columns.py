"""The columns of the comparison, and the table of some runs.

**To add a column**, add a `Column` to `COLUMNS`, where it is to stand: with its heading, and with a function from a run
to the cell. CSV, JSON, Markdown, the terminal and the page show it then. A number that a report states
(`hls.reports.report.Report`: a resource, a time) has a column for every source that states it: add it to ``COUNTED``,
``STATED`` or ``WORST`` in `hls.compare.table.sources` instead. A file that the comparison does not read yet is a field
of `hls.compare.read.run.Run` and a record in `hls.compare.read.records`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hls.backends.simulators.levels import OF_VERILOG
from hls.compare.read.interval import interval_of
from hls.compare.read.records import Agreement, Rtl
from hls.compare.read.run import RTL_FILE, Run, ebops_of, trained_for_it
from hls.compare.table.cells import GIVEN, OTHER_TASK, Cell, Column, Table, not_run
from hls.compare.table.notes import footnotes
from hls.compare.table.scores import REJECTIONS, rejection_columns, score, untrained
from hls.compare.table.sources import source_columns
from qformers.builds.own_events import OWN
from qformers.config.section import architecture_of
from qformers.tasks.score_names import spell

BUILD, SIMULATED, ORIGIN = "Build", "Equal to the quantised model", "Provenance"

# field of a model -> its word in the table
_WORDS = {"pairs": "pairs", "width": "D", "heads": "H", "blocks": "blocks", "layers": "layers", "block_size": "S"}
_WORDS |= {"hashes": "hashes"}


def tabulate(runs: Sequence[Run], device: str | None = None) -> Table:
    """The table of some runs.

    Args:
        runs: one row each.
        device: that percentages are of; None = the one of each report, or of the build where a report names none.
    """
    tasks = {run.scored for run in runs}
    rejections = rejection_columns(runs)
    own = [*(column for column in COLUMNS if column.task in ("", *tasks)), *rejections]
    sources = source_columns(runs, device)
    reported = [column for columns in sources.values() for column in columns]
    rows = tuple({column.key: _cell(run, column) for column in (*own, *reported)} for run in runs)
    before = [column for column in own if column.group == BUILD]
    shown = (*before, *rejections, *reported, *(c for c in own if c.group not in (BUILD, REJECTIONS)))
    return Table(shown, tuple(runs), rows, footnotes(runs, list(sources)))


def _cell(run: Run, column: Column) -> Cell:
    return column.cell(run) if column.task in ("", run.scored) else Cell(reason=OTHER_TASK)


def _stale(run: Run, file: str) -> str:
    return (run.stale or {}).get(file, "")


def _inputs(run: Run) -> Cell:
    data = run.build.data
    if run.task == OWN:
        model: Any = run.build.model
        shapes = (f"{name} ({', '.join(map(str, shape))})" for name, shape in model.inputs.items())
        return Cell(", ".join(shapes), note="inputs of the model, per event")
    if data.points is None:
        return Cell(data.features, note=f"feature set of {data.dataset}")
    coords = getattr(run.build.model, "coords", 0)
    return Cell(f"{data.features} + {coords} coordinates", note=f"of the points of {data.dataset}")


def _particles(run: Run) -> Cell:
    return Cell(reason=GIVEN) if run.task == OWN else Cell(run.build.data.num_particles)


def describe(run: Run) -> str:
    """The architecture in a few words: its name, then pair bias, width, heads, blocks and so on where it has them."""
    model: Any = run.build.model
    if run.task == OWN:
        return f"{model.source}, {len(model.layers)} layers"
    words = [f"{word} {getattr(model, key)}" for key, word in _WORDS.items() if hasattr(model, key)]
    return ", ".join([architecture_of(model), *words])


def _ebops(run: Run) -> Cell:
    """Of the hardware that the build says, never of what it was trained for if that is another one."""
    counted = ebops_of(run)
    if counted is not None:
        note = f"{_taken(run)}; counted in {counted.file}"
        return Cell(counted.ebops, note=note, flag=_stale(run, counted.file))
    if run.manifest is None or not run.manifest.ebops:
        return untrained(run)
    return not_run(run, f"qformers export {run.arguments}")  # counted, but for other hardware


def _taken(run: Run) -> str:
    together, points = run.build.firmware.together, run.build.data.num_particles
    return "all points in one clock" if together is None else f"{together} of {points} points per clock"


def _interval(ns: bool) -> Callable[[Run], Cell]:
    """Clocks between two events, or the same in time."""

    def cell(run: Run) -> Cell:
        found = interval_of(run)
        if found is None:
            return not_run(run, f"qformers rtl {run.arguments}")
        note = f"{found.source} [{found.stage}], a clock of {found.clock_ns:g} ns"
        file = found.source if found.source.startswith("firmware/") else f"reports/{found.source}.json"
        flag = _stale(run, file) or (_stale(run, RTL_FILE) if found.stage == "rtlsim" else "")
        return Cell(found.ns if ns else found.cycles, note=note, flag=flag)

    return cell


def _zeros(run: Run) -> Cell:
    zeros = run.sparsity
    if zeros is None:
        return not_run(run, f"qformers sparsity {run.arguments}")
    note = f"{zeros.zeros:,} of {zeros.weights:,} weights"
    note += f"; they save {zeros.ebops_saved:,.0f} EBOPs" if trained_for_it(run) else ""
    return Cell(100.0 * zeros.zeros / zeros.weights, note=note)


def _csim(run: Run) -> Cell:
    """Whether C simulation equals the quantised model."""
    if not run.csim:
        return not_run(run, f"qformers csim {run.arguments}")
    found = list(run.csim.values())
    parts = [part for one in found for part in (one.jets, one.adversarial)]
    flag = next((why for file in run.csim if (why := _stale(run, file))), "")
    return _agreed(all(one.equal for one in found), parts, ", ".join(one.backend for one in found), flag)


def _rtl(run: Run) -> Cell:
    """Whether RTL simulation equals the quantised model."""
    if run.rtl is None:
        return not_run(run, f"qformers rtl {run.arguments}")
    parts = [part for level in run.rtl.levels.values() for part in level.parts]
    by = f"{run.rtl.backend} {run.rtl.flavour}, {', '.join(run.rtl.levels)}{_latency_differs(run.rtl)}"
    told = "" if any(level in OF_VERILOG for level in run.rtl.levels) else "arithmetic "
    by += "; no level read the Verilog" if told else ""
    return _agreed(run.rtl.equal, parts, by, _stale(run, "rtl.json"), told)


def _agreed(equal: bool, parts: Sequence[Agreement], by: str, flag: str, told: str = "") -> Cell:
    wrong, values = sum(part.values_different for part in parts), sum(part.values for part in parts)
    events = " + ".join(f"{part.events:,}" for part in parts)
    note = f"{by}: {wrong:,} of {values:,} outputs differ; {events} events"
    right = equal and not wrong
    text = told + (f"equal ({values:,})" if right else f"DIFFERS ({wrong:,} of {values:,})")
    return Cell(text, flag=flag, note=note, equal=right)


def _latency_differs(rtl: Rtl) -> str:
    if rtl.timed is None:
        return ""
    name, level = rtl.timed
    if rtl.latency_cycles_reported in (None, level.latency_cycles):
        return ""
    return f"; latency {level.latency_cycles} cycles by {name}, the backend reports {rtl.latency_cycles_reported}"


def _hash(run: Run) -> Cell:
    """As it was recorded: the hash of the same build.yaml changes when the schema gains a key."""
    phase = "float" if run.float_only else "qat"
    manifest = run.float_manifest if run.float_only else run.manifest
    trained = manifest if manifest and not _stale(run, f"{phase}/manifest.json") else None
    return Cell(trained.build_hash if trained else run.build.hash)


def _date(run: Run) -> Cell:
    trained = run.float_manifest if run.float_only else run.manifest
    return Cell(trained.date[:10]) if trained else untrained(run, "float" if run.float_only else "qat")


def _task_score(name: str, task: str, metric: bool = True) -> tuple[Column, Column]:
    """A score of a task without classes, quantised and float."""
    head = spell(name)
    return (
        Column(name, BUILD, head, score(name), digits=4, task=task, metric=metric),
        Column(f"{name}_float", BUILD, f"float {head}", score(name, "float"), digits=4, task=task),
    )


# in order; the columns of the sources stand behind those of the group "Build"
COLUMNS = (
    Column("build", BUILD, "build", lambda run: Cell(run.name, note=str(run.path)), number=False),
    Column("model", BUILD, "model", lambda run: Cell(describe(run)), number=False, wide=True),
    Column("particles", BUILD, "N", _particles),
    Column("inputs", BUILD, "inputs", _inputs, number=False),
    Column("accuracy", BUILD, "accuracy", score("accuracy", scale=100.0), "%", digits=2, task="jets", metric=True),
    Column("accuracy_float", BUILD, "float accuracy", score("accuracy", "float", 100.0), "%", digits=2, task="jets"),
    Column("auc", BUILD, "AUC", score("auc"), digits=4, task="jets", metric=True),
    Column("auc_float", BUILD, "float AUC", score("auc", "float"), digits=4, task="jets"),
    *_task_score("ap_0.9", "tracking"),
    *_task_score("auprc", "pileup"),
    *_task_score("r2", "regression"),
    *_task_score("rmse", "regression", metric=False),  # plots show what is to be large
    *_task_score("mae", "regression", metric=False),
    Column("ebops", BUILD, "EBOPs", _ebops, quantity="ebops"),
    Column("ii_cycles", BUILD, "II", _interval(ns=False), "cycles"),
    Column("ii_ns", BUILD, "II", _interval(ns=True), "ns", digits=1),
    Column("zeros", BUILD, "zero weights", _zeros, "%", digits=1),
    Column("csim", SIMULATED, "C simulation", _csim, number=False),
    Column("rtl", SIMULATED, "RTL simulation", _rtl, number=False),
    Column("part", ORIGIN, "device", lambda run: Cell(run.build.firmware.part), number=False),
    Column("hash", ORIGIN, "config", _hash, number=False),
    Column("date", ORIGIN, "trained", _date, number=False),
)
