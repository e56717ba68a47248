"""``report.html``: one self-contained page of a comparison, to be opened from disk."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from hls.compare.draw import page_tables as tables
from hls.compare.draw.markup import Child, element, fill, link, markup, policy, safe_json
from hls.compare.read.published import WARNING, Reference, drawn
from hls.compare.read.run import Run
from hls.compare.table.cells import OTHER_TASK, Cell, Table
from hls.compare.table.diff import Diff
from hls.compare.table.layers import Layers, read_layers
from hls.compare.table.points import Point, points
from hls.compare.table.terminal import heading
from hls.compare.table.verdicts import Judged
from qformers.files import replacing

FOLDER = Path(__file__).with_name("page")
PRINTED = 3  # builds in one heat map on paper
QUANTITIES = ("lut", "latency_ns", "ebops")
_OWN = "Dashed: the best of these builds by the source nearest to a routed design. Bars: statistical errors."
_MARKERS = "The number beside a published point is its N; filled = 3 features per particle, open = 16."


def write_page(
    table: Table, diff: Diff | None, references: tuple[Reference, ...], judged: Sequence[Judged], path: Path
) -> None:
    """Write the page.

    Args:
        table: the comparison.
        diff: of two builds, None for another number of them.
        references: published results; empty = none are shown.
        judged: budgets and how they came out.
        path: file to write; links to the projects are relative to its folder.

    Raises:
        HlsError: a file of bit widths cannot be read, or a gap in the template.
    """
    style = (FOLDER / "style.css").read_text()
    script = (FOLDER / "sort.js").read_text() + (FOLDER / "plot.js").read_text()
    names = [run.name for run in table.runs]
    title = " and ".join(names) if len(names) <= 2 else f"Comparison of {len(names)} builds"
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = {
        "title": markup(element("span", title))[6:-7],
        "style": style,
        "script": script,
        "policy": policy(style, script),
        "lead": markup(element("span", f"{_data(table.runs)} · written {date} by scripts/compare_reports.py")),
        "alerts": markup(*_alerts(table, judged)),
        "groups": markup(_group_boxes(table)),
        "table": markup(tables.builds_table(table)),
        "print_tables": markup(tables.print_tables(table)),
        "published_choices": markup(*_choices(references)),
        "caption": markup(element("span", f"{WARNING} {_MARKERS} {_OWN}" if references else _OWN)),
        "budgets": markup(_budgets(judged)),
        "difference": markup(_difference(diff)),
        "bits": markup(*_bits(table)),
        "missing": markup(_missing(table)),
        "projects": markup(_projects(table.runs, path.parent)),
        "notes": markup(element("ul", *(element("li", note) for note in table.notes))),
        "references": markup(_references(references)),
        "data": safe_json(plot_data(table, references)),
    }
    metric = table.metrics[0].head
    pareto = f"{metric[:1].upper()}{metric[1:]} against cost"
    page |= {"pareto_title": markup(element("span", pareto))[6:-7], "metrics": markup(*_metric_choices(table))}
    sections = {"builds": "Builds", "pareto": pareto, "budgets": "Budgets", "difference": "Difference"}
    sections |= {"bits": "Bit widths", "missing": "Not run", "projects": "Projects", "notes": "Notes"}
    sections |= {"references": "Published"}
    shown = [key for key in sections if page.get(key) != ""]
    page["contents"] = markup(*(element("a", sections[key], href=f"#{key}") for key in shown))
    with replacing(path) as temporary:
        temporary.write_text(fill(FOLDER / "report.html", page))


def plot_data(table: Table, references: tuple[Reference, ...]) -> dict[str, Any]:
    """What the interactive plot draws."""
    builds = []
    for row, run in zip(table.cells, table.runs, strict=True):
        name = str(row["build"].value)
        costs = {
            quantity: [{"source": p.source, "value": p.value, "stale": p.stale} for p in found if p.build == name]
            for quantity in QUANTITIES
            for found in [_costs(table, quantity)]
        }
        texts = {"data": run_data(run)} | {key: _words(row[key]) for key in ("model", "inputs", "csim", "rtl")}
        own = [column.key for column in table.metrics if row[column.key].missing != OTHER_TASK]
        measured = {key: _measured(row[key]) for key in own}
        builds.append({"name": name, "particles": row["particles"].value, "costs": costs, **texts, **measured})
    order = [*table.groups, "EBOPs [model]"]
    metrics = [{"key": c.key, "name": heading(c), "digits": c.digits} for c in table.metrics]
    return {"builds": builds, "metrics": metrics, "sources": order, "references": _reference_data(references)}


def _costs(table: Table, quantity: str) -> list[Point]:
    """Points of a quantity, whatever the score of a build is."""
    found = {(p.build, p.source): p for column in reversed(table.metrics) for p in points(table, quantity, column.key)}
    return list(found.values())


def _metric_choices(table: Table) -> list[Element]:
    return [element("option", heading(column), value=column.key) for column in table.metrics]


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
            "dataset": f"{reference.dataset.label} ({reference.dataset.source})",
            "stage_words": reference.stage,
        }
        for reference in shown
    ]


def _words(cell: Cell) -> str:
    if cell.missing:
        return "not run" if cell.missing.startswith("not run") else cell.missing
    return f"{cell.value}{' STALE' if cell.flag else ''}"


def _measured(cell: Cell) -> dict[str, Any] | None:
    if cell.value is None:
        return None
    return {"value": cell.value, "error": cell.error, "stale": cell.flag}


def _data(runs: Sequence[Run]) -> str:
    return f"Test split: {'; '.join(dict.fromkeys(map(run_data, runs)))}"


def run_data(run: Run) -> str:
    """Data set and files of the test split of a run."""
    return f"{run.build.data.dataset}, {', '.join(run.build.data.test)}"


def _alerts(table: Table, judged: Sequence[Judged]) -> list[Element]:
    wrong = [
        element("p", f"{row['build'].value}: {words} differs, {row[key].note}", class_="alert bad", role="alert")
        for row in table.cells
        for key, words in (("csim", "C simulation"), ("rtl", "RTL simulation"))
        if str(row[key].value).startswith("DIFFERS")
    ]
    late = dict.fromkeys(name for name, _, _ in table.stale())
    if late:
        text = f"Out of date, see below: {', '.join(late)}"
        wrong.append(element("p", text, class_="alert", role="alert"))
    if failed := [item for item in judged if item.verdict.outcome != "pass"]:
        text = f"{len(failed)} of {len(judged)} budgets are not kept, see below"
        wrong.append(element("p", text, class_="alert bad", role="alert"))
    return wrong


def _group_boxes(table: Table) -> Element:
    boxes = [
        element("label", element("input", type="checkbox", value=str(index), checked="checked"), f" {name}")
        for index, name in enumerate(table.groups)
        if index
    ]
    return element("form", element("span", "columns:"), *boxes, id="groups")


def _choices(references: tuple[Reference, ...]) -> list[Element]:
    names = {"all": "all", "same": "with the same N", "none": "none"} if references else {"none": "none"}
    return [element("option", text, value=value) for value, text in names.items()]


def _section(name: str, title: str, *children: Child) -> Element:
    return element("section", element("h2", title), *children, id=name)


def _budgets(judged: Sequence[Judged]) -> Element | None:
    if not judged:
        return None
    rows: list[dict[str, Child]] = [
        {
            "build": item.build,
            "budget": item.verdict.budget.text,
            "outcome": element("span", item.verdict.outcome, class_=item.verdict.outcome),
            "value": item.value,
            "source": item.source,
            "reason": item.verdict.reason,
        }
        for item in judged
    ]
    return _section("budgets", "Budgets", element("div", tables.rows_table(list(rows[0]), rows), class_="scroll"))


def _difference(diff: Diff | None) -> Element | None:
    if diff is None:
        return None
    hint = (
        "Mean bits, sign included, and costs of each layer. – = no such layer or value in that build, ? = not known "
        "(see Not run). Headings sort by the change."
    )
    return _section(
        "difference",
        f"From {diff.names[0]} to {diff.names[1]}, layer by layer",
        element("h3", "Settings that differ"),
        element("div", tables.settings_table(diff), class_="scroll"),
        element("h3", "Where the bits and the LUTs went"),
        element("p", hint, class_="hint"),
        element("div", tables.difference_table(diff), class_="scroll"),
    )


def _bits(table: Table) -> list[Element]:
    found = [read_layers(run) for run in table.runs]
    known = [(run, layers) for run, layers in zip(table.runs, found, strict=True) if layers.layers]
    reasons = [element("p", reason, class_="hint") for layers in found for reason in layers.missing]
    if not known:
        return reasons
    files = {run.name: layers.source or "no file" for run, layers in known}
    same = len(set(files.values())) == 1
    sources = f"{next(iter(files.values()))} of each" if same else ", ".join(f"{a}: {b}" for a, b in files.items())
    box = element("label", element("input", type="checkbox", id="learned"), " only layers with learned widths")
    heat, *_ = _heat_maps(known, len(known))
    region = element(
        "div", heat, class_="scroll screen", tabindex="0", role="region", aria_label="Bit widths per layer"
    )
    controls = element("div", box, class_="controls")
    text = (
        "Mean over all weights or values of a layer where an audit was made, else the format that holds them all; "
        f"the tooltip has each quantiser. Read from {sources}."
    )
    region.set("id", "heat")
    paper = element("div", *_heat_maps(known, PRINTED), class_="print")
    return [element("p", text, class_="hint"), tables.scale(), controls, region, paper, *reasons]


def _heat_maps(known: Sequence[tuple[Run, Layers]], builds: int) -> list[Element]:
    """Heat maps of so many builds each."""
    parts = [known[start : start + builds] for start in range(0, len(known), builds)]
    return [tables.heat_map([run.name for run, _ in part], [layers for _, layers in part]) for part in parts]


def _missing(table: Table) -> Element:
    lines = [element("li", f"{name}: {what}") for name, what in table.missing()]
    lines += [element("li", element("span", f"{a}/{b}", class_="stale"), f" {c}") for a, b, c in table.stale()]
    return element("ul", *lines) if lines else element("p", "Everything was run, and nothing is out of date.")


def _projects(runs: Sequence[Run], folder: Path) -> Element:
    rows: list[dict[str, Child]] = []
    for run in runs:
        named = {
            "build.yaml": "build.yaml",
            "csim.json": "C simulation",
            "rtl.json": "RTL simulation",
            "plots": "plots",
        }
        named |= {f"firmware/{name}": f"project {name}" for name in run.firmware or {}}
        named |= {f"reports/{name}.json": f"report {name}" for name in run.reports or {}}
        cell = element("span")
        for file, text in named.items():
            if (run.path / file).exists():
                cell.append(link(run.path / file, text, folder))
                cell[-1].tail = "  "
        rows.append({"build": link(run.path, run.name, folder), "files": cell, "config": run.build.hash})
    return tables.rows_table(("build", "files", "config"), rows)


def _references(references: tuple[Reference, ...]) -> Element | None:
    if not references:
        return None
    text = (
        f"{WARNING} Stages: R placed and routed, P printed without its stage, E estimated with da4ml 0.6.0 from the "
        "published model. Rows of high-level features are another task on other samples; they are listed, not drawn."
    )
    shown = element("div", tables.references_table(references), class_="scroll")
    cited = tables.citations(references)
    return _section("references", "Published results, on other data", element("p", text, class_="hint"), shown, cited)
