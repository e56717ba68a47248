"""From run folders to the table: which columns there are and what stands in each cell."""

from __future__ import annotations

from collections.abc import Sequence

from hls.compare.read.own import timed
from hls.compare.read.records import Agreement, Measured, Metrics, PointMetrics, Rtl
from hls.compare.read.run import Run
from hls.compare.read.sources import cells_of, find_sources
from hls.compare.table.cells import OTHER_TASK, Cell, Column, Table
from hls.compare.table.notes import footnotes
from qformers.config.section import architecture_of
from qformers.tasks.score_names import spell

BUILD, SIMULATED, ORIGIN = "Build", "Equal to the quantised model", "Provenance"

# field of a model -> how it is said
_WORDS = {"pairs": "pairs", "width": "D", "heads": "H", "blocks": "blocks", "layers": "layers", "block_size": "S"}
_WORDS |= {"hashes": "hashes"}
TASKS = {"tracking": "ap_0.9", "pileup": "auprc"}  # of points -> name of the score

_FIRST = (
    Column("build", BUILD, "build", number=False),
    Column("model", BUILD, "model", number=False),
    Column("particles", BUILD, "N"),
    Column("inputs", BUILD, "inputs", number=False),
)
_OF_JETS = (
    Column("accuracy", BUILD, "accuracy", "%", digits=2, metric=True),
    Column("accuracy_float", BUILD, "float accuracy", "%", digits=2),
    Column("auc", BUILD, "AUC", digits=4, metric=True),
    Column("auc_float", BUILD, "float AUC", digits=4),
)
_COST = (Column("ebops", BUILD, "EBOPs"), Column("zeros", BUILD, "zero weights", "%", digits=1))
_LAST = (
    Column("csim", SIMULATED, "C simulation", number=False),
    Column("rtl", SIMULATED, "RTL simulation", number=False),
    Column("part", ORIGIN, "device", number=False),
    Column("hash", ORIGIN, "config", number=False),
    Column("date", ORIGIN, "trained", number=False),
)


def tabulate(runs: Sequence[Run], device: str | None = None) -> Table:
    """The table of some runs.

    Args:
        runs: one row each.
        device: that percentages are of; None = the one of each report, or of the build where a report names none.
    """
    sources = find_sources(runs)
    scores = _score_columns(runs)
    rows = []
    for run in runs:
        other = {column.key: Cell(missing=OTHER_TASK) for column in scores}
        row = {**other, **_build(run), **_proof(run), **_origin(run)}
        for columns in sources.values():
            row |= cells_of(run, columns, device)
        rows.append(row)
    middle = [column for columns in sources.values() for column in columns]
    shown = (*_FIRST, *scores, *_COST, *middle, *_LAST)
    return Table(shown, tuple(runs), tuple(rows), footnotes(runs, list(sources)))


def _score_columns(runs: Sequence[Run]) -> tuple[Column, ...]:
    """Columns of the scores that the tasks of some runs have."""
    tasks = [run.build.data.points.task if run.build.data.points else "" for run in runs]
    found = list(_OF_JETS) if "" in tasks else []
    for task, score in TASKS.items():
        if task in tasks:
            head = spell(score)
            found.append(Column(score, BUILD, head, digits=4, metric=True))
            found.append(Column(f"{score}_float", BUILD, f"float {head}", digits=4))
    return tuple(found)


def _missing(command: str) -> Cell:
    return Cell(missing=f"not run: {command}")


def _build(run: Run) -> dict[str, Cell]:
    data, stale = run.build.data, run.stale or {}
    cells = {
        "build": Cell(run.name, note=str(run.path)),
        "model": Cell(describe(run)),
        "particles": Cell(data.num_particles),
        "inputs": _inputs(run),
    }
    scores = ("accuracy", "auc") if data.points is None else (TASKS[data.points.task],)
    train = _missing(f"scripts/train.py {run.yaml}")
    for suffix, metrics, phase in (("", run.metrics, "qat"), ("_float", run.float_metrics, "float")):
        flag = stale.get(f"{phase}/manifest.json", "")
        absent = {f"{score}{suffix}": train for score in scores}
        cells |= _metrics(metrics, suffix, flag) if metrics else absent
    ebops = run.manifest.ebops if run.manifest else None
    cells["ebops"] = Cell(ebops, flag=stale.get("qat/manifest.json", "")) if ebops else train
    zeros = run.sparsity
    cells["zeros"] = _missing(f"scripts/sparsity.py {run.yaml}")
    if zeros:
        note = f"{zeros.zeros:,} of {zeros.weights:,} weights; they save {zeros.ebops_saved:,.0f} EBOPs"
        cells["zeros"] = Cell(100.0 * zeros.zeros / zeros.weights, note=note)
    return cells


def _inputs(run: Run) -> Cell:
    data = run.build.data
    if data.points is None:
        return Cell(data.features, note=f"feature set of {data.dataset}")
    coords = getattr(run.build.model, "coords", 0)
    return Cell(f"{data.features} + {coords} coordinates", note=f"of the points of {data.dataset}")


def describe(run: Run) -> str:
    """The architecture in a few words: its name, then pair bias, width, heads, blocks and so on where it has them."""
    model = run.build.model
    said = [f"{word} {getattr(model, key)}" for key, word in _WORDS.items() if hasattr(model, key)]
    return ", ".join([architecture_of(model), *said])


def _metrics(metrics: Metrics | PointMetrics, suffix: str, flag: str) -> dict[str, Cell]:
    if isinstance(metrics, PointMetrics):
        note = f"test split, {metrics.counted}"
        return {f"{name}{suffix}": _measured(found, 1.0, note, flag) for name, found in metrics.scores.items()}
    note = f"test split, {metrics.jets:,} jets"
    return {
        f"accuracy{suffix}": _measured(metrics.accuracy, 100.0, note, flag),
        f"auc{suffix}": _measured(metrics.auc, 1.0, note, flag),
    }


def _measured(found: Measured, scale: float, note: str, flag: str) -> Cell:
    error = None if found.error is None else found.error * scale
    return Cell(found.value * scale, error, note=note, flag=flag)


def _proof(run: Run) -> dict[str, Cell]:
    """Whether the firmware equals the quantised model, in C and in RTL simulation."""
    stale = run.stale or {}
    cells = {"csim": _missing(f"scripts/run_csim.py {run.yaml}"), "rtl": _missing(f"scripts/run_rtl.py {run.yaml}")}
    if run.csim:
        parts = [run.csim.jets, run.csim.adversarial]
        cells["csim"] = _agreed(run.csim.equal, parts, run.csim.backend, stale.get("csim.json", ""))
    if run.rtl:
        parts = [part for level in run.rtl.levels.values() for part in (level.jets, level.adversarial) if part]
        by = f"{run.rtl.backend} {run.rtl.flavour}, {', '.join(run.rtl.levels)}{_latency_differs(run.rtl)}"
        cells["rtl"] = _agreed(run.rtl.equal, parts, by, stale.get("rtl.json", ""))
    return cells


def _agreed(equal: bool, parts: Sequence[Agreement], by: str, flag: str) -> Cell:
    wrong, values = sum(part.values_different for part in parts), sum(part.values for part in parts)
    events = " + ".join(f"{part.events:,}" for part in parts)
    note = f"{by}: {wrong:,} of {values:,} outputs differ; {events} events"
    right = equal and not wrong
    return Cell(f"equal ({values:,})" if right else f"DIFFERS ({wrong:,} of {values:,})", flag=flag, note=note)


def _latency_differs(rtl: Rtl) -> str:
    name, level = timed(rtl)
    if level is None or rtl.latency_cycles_reported in (None, level.latency_cycles):
        return ""
    return f"; latency {level.latency_cycles} cycles by {name}, the backend reports {rtl.latency_cycles_reported}"


def _origin(run: Run) -> dict[str, Cell]:
    trained = Cell(run.manifest.date[:10]) if run.manifest else _missing(f"scripts/train.py {run.yaml}")
    # as it was recorded: the hash of the same build.yaml changes when the schema gains a key
    recorded = (
        run.manifest.build_hash if run.manifest and "qat/manifest.json" not in (run.stale or {}) else run.build.hash
    )
    return {"part": Cell(run.build.firmware.part), "hash": Cell(recorded), "date": trained}
