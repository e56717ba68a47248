"""``report.html``: one self-contained page of a comparison, to be opened from disk.

The HTML stands in ``page/*.html.j2``, every text in it escaped; here is what fills it.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hls.compare.draw import page_tables as tables
from hls.compare.read.published import WARNING, Reference, drawn
from hls.compare.read.run import Run
from hls.compare.table.cells import OTHER_TASK, Cell, Table
from hls.compare.table.diff import Diff
from hls.compare.table.kernels import Kernels
from hls.compare.table.points import Point, points
from hls.compare.table.verdicts import Judged
from hls.templates import fill
from qformers.builds.own_events import OWN
from qformers.files import replacing

FOLDER = Path(__file__).with_name("page")
QUANTITIES = {"lut": "LUT", "latency_ns": "latency [ns]", "ii_cycles": "II [cycles]", "ebops": "EBOPs"}


def write_page(
    table: Table,
    diff: Diff | None,
    references: tuple[Reference, ...],
    judged: Sequence[Judged],
    path: Path,
    kernels: Sequence[Kernels] = (),
) -> None:
    """Write the page.

    Args:
        table: the comparison.
        diff: of two builds, None for another number of them.
        references: published results; empty = none are shown.
        judged: budgets and how they came out.
        path: file to write; links to the projects are relative to its folder.
        kernels: of folded firmware.

    Raises:
        HlsError: a file of bit widths cannot be read, or a gap in the template.
    """
    style = (FOLDER / "style.css").read_text()
    script = (FOLDER / "sort.js").read_text() + ((FOLDER / "plot.js").read_text() if table.metrics else "")
    names = [run.name for run in table.runs]
    head = table.metrics[0].head if table.metrics else ""
    page: dict[str, Any] = {
        "title": " and ".join(names) if len(names) <= 2 else f"Comparison of {len(names)} builds",
        "data_sets": _data_sets(table.runs),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "alerts": _alerts(table, judged),
        "first_column": table.columns[0],
        "groups": [{"name": name, "columns": columns} for name, columns in table.groups.items()],
        "rows": tables.build_rows(table),
        "metrics": table.metrics,
        "quantities": QUANTITIES,
        "budgets": judged,
        "difference": tables.difference(diff) if diff else None,
        "kernels": tables.kernels(kernels),
        "bits": tables.bit_widths(table.runs),
        "missing": table.missing(),
        "stale": table.stale(),
        "projects": [_project(run, path.parent) for run in table.runs],
        "notes": table.notes,
        "published": {"warning": WARNING, **tables.published(references)} if references else None,
        "plot": plot_data(table, references),
        "style": style,
        "script": script,
        "policy": _policy(style, script),
    }
    sections = {"builds": "Builds", "pareto": f"{head[:1].upper()}{head[1:]} against cost", "budgets": "Budgets"}
    sections |= {"difference": "Difference", "kernels": "Kernels and stores", "bits": "Bit widths"}
    sections |= {"missing": "Not run", "projects": "Projects"}
    sections |= {"notes": "Notes", "references": "Published"}
    absent = {
        "pareto": not table.metrics,
        "budgets": not judged,
        "difference": diff is None,
        "kernels": not kernels,
        "references": not references,
    }
    page["contents"] = {key: name for key, name in sections.items() if not absent.get(key)}
    with replacing(path) as temporary:
        temporary.write_text(fill(FOLDER / "report.html.j2", **page))


def plot_data(table: Table, references: tuple[Reference, ...]) -> dict[str, Any]:
    """What the interactive plot draws."""
    costs = {quantity: _costs(table, quantity) for quantity in QUANTITIES}
    builds = []
    for row, run in zip(table.cells, table.runs, strict=True):
        name = str(row["build"].value)
        own = {
            quantity: [
                {"source": p.source, "value": p.value, "stale": p.stale, "ii": p.ii} for p in some if p.build == name
            ]
            for quantity, some in costs.items()
        }
        texts = {"data": run_data(run)} | {key: _words(row[key]) for key in ("model", "inputs", "csim", "rtl")}
        scores = [column.key for column in table.metrics if row[column.key].missing != OTHER_TASK]
        measured = {key: _measured(row[key]) for key in scores}
        builds.append({"name": name, "particles": row["particles"].value, "costs": own, **texts, **measured})
    order = [*table.groups, "EBOPs [model]"]
    metrics = [{"key": column.key, "name": column.heading, "digits": column.digits} for column in table.metrics]
    named = {"metrics": metrics, "sources": order, "quantities": QUANTITIES}
    return {"builds": builds, **named, "references": _reference_data(references)}


def _costs(table: Table, quantity: str) -> list[Point]:
    """Points of a quantity, whatever the score of a build is."""
    of_any = {(p.build, p.source): p for column in reversed(table.metrics) for p in points(table, quantity, column.key)}
    return list(of_any.values())


def _reference_data(references: tuple[Reference, ...]) -> list[dict[str, Any]]:
    shown = drawn(references)
    works = list(dict.fromkeys(reference.point.work for reference in shown))
    return [
        {
            **reference.point.model_dump(exclude={"work", "variant", "dataset", "ff", "dsp"}),
            **reference.work.model_dump(include={"citation", "arxiv", "device", "note"}),
            "work": works.index(reference.point.work),
            "work_label": reference.work.label,
            "label": reference.label,
            "ii": reference.ii,
            "dataset": f"{reference.dataset.label} ({reference.dataset.source})",
            "stage_words": reference.stage,
        }
        for reference in shown
    ]


def _words(cell: Cell) -> str:
    if cell.missing:
        return cell.short
    return f"{cell.value}{' STALE' if cell.flag else ''}"


def _measured(cell: Cell) -> dict[str, Any] | None:
    if cell.value is None or cell.limit:
        return None
    return {"value": cell.value, "error": cell.error, "stale": cell.flag}


def run_data(run: Run) -> str:
    """Data set and files of the test split of a run; of a model of one's own the file of its events."""
    files = ", ".join(run.build.data.test)
    if run.task == OWN:
        return files or "drawn over the ranges of the inputs"
    return f"{run.build.data.dataset}, {files}"


def _data_sets(runs: Sequence[Run]) -> list[str]:
    """What all runs are measured on, data sets first."""
    parts = {"Test split": [run for run in runs if run.task != OWN], "Events": [run for run in runs if run.task == OWN]}
    return [f"{head}: {'; '.join(dict.fromkeys(map(run_data, some)))}" for head, some in parts.items() if some]


def _alerts(table: Table, judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """What a reader must not miss: simulations that differ, files out of date, budgets that are not kept."""
    alerts = [
        {"text": f"{run.name}: {column.head} differs, {row[column.key].note}", "bad": True}
        for run, row in zip(table.runs, table.cells, strict=True)
        for column in table.columns
        if row[column.key].equal is False
    ]
    if late := dict.fromkeys(name for name, _, _ in table.stale()):
        alerts.append({"text": f"Out of date, see below: {', '.join(late)}", "bad": False})
    if failed := [item for item in judged if item.verdict.outcome != "pass"]:
        alerts.append({"text": f"{len(failed)} of {len(judged)} budgets are not kept, see below", "bad": True})
    return alerts


def _project(run: Run, folder: Path) -> dict[str, Any]:
    """Addresses of what lies in a run folder, from a page in `folder`."""
    named = {"build.yaml": "build.yaml", "rtl.json": "RTL simulation", "plots": "plots"}
    named |= {file: f"C simulation, {simulated.backend}" for file, simulated in run.csim.items()}
    named |= {f"firmware/{name}": f"project {name}" for name in run.firmware or {}}
    named |= {f"reports/{name}.json": f"report {name}" for name in run.reports or {}}
    files = {text: _address(run.path / file, folder) for file, text in named.items() if (run.path / file).exists()}
    return {"name": run.name, "address": _address(run.path, folder), "files": files, "config": run.build.hash}


def _address(target: Path, folder: Path) -> str:
    """Relative, for a page in `folder`."""
    return quote(Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix())


def _policy(style: str, script: str) -> str:
    """Content security policy: nothing is loaded, and only this style and this script are used."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'"
