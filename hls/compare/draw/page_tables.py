"""Tables of the page: the builds, widths per layer, the difference of two builds, published results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from hls.compare.draw.markup import Child, element
from hls.compare.read.published import Reference
from hls.compare.table.cells import Cell, Column, Table, spell, spell_percent
from hls.compare.table.diff import Diff, Pair, change
from hls.compare.table.layers import COSTS, KINDS, Bits, Layers, in_order

WIDEST = 16  # bits of the darkest colour


def head_cell(
    text: str, unit: str = "", number: bool = False, first: bool = False, group: str | None = None
) -> Element:
    """A heading that can be clicked."""
    shown = element("button", text, element("span", f" [{unit}]", class_="unit") if unit else None, type="button")
    kinds = " ".join(word for word, on in (("number", number), ("first", first)) if on)
    return element("th", shown, scope="col", aria_sort="none", class_=kinds or None, data_group=group)


def builds_table(table: Table) -> Element:
    """All columns, with a heading above each group."""
    groups = list(table.groups.items())
    first = table.columns[0]
    top = element("tr", *(_group_head(index, name, columns) for index, (name, columns) in enumerate(groups)))
    ordered = [(index, column, column is columns[0]) for index, (_, columns) in enumerate(groups) for column in columns]
    heads = element("tr", *(head_cell(c.head, c.unit, c.number, begins, str(i)) for i, c, begins in ordered))
    body = element("tbody")
    for row in table.cells:
        name = str(row[first.key].value)
        cells = [_cell(row[c.key], c, begins, str(i)) for i, c, begins in ordered if c is not first]
        body.append(element("tr", element("th", name, scope="row", title=row[first.key].note), *cells, data_build=name))
    return element("table", element("thead", top, heads), body, class_="sortable", id="table")


def _group_head(index: int, name: str, columns: Sequence[Column]) -> Element:
    return element("th", name, scope="colgroup", colspan=str(len(columns)), class_="group", data_group=str(index))


def print_tables(table: Table) -> Element:
    """One small table per group: what fits on paper."""
    first, root = table.columns[0], element("div")
    for name, columns in table.groups.items():
        shown = [column for column in columns if column is not first]
        heads = [element("th", _headed(c), scope="col", class_="number" if c.number else None) for c in shown]
        body = element("tbody")
        for row in table.cells:
            cells = [_cell(row[column.key], column, False, None) for column in shown]
            body.append(element("tr", element("th", str(row[first.key].value), scope="row"), *cells))
        head = element("thead", element("tr", element("th", first.head, scope="col"), *heads))
        root.append(element("h3", name))
        root.append(element("table", head, body))
    return root


def _headed(column: Column) -> str:
    return f"{column.head} [{column.unit}]" if column.unit else column.head


def _cell(cell: Cell, column: Column, first: bool, group: str | None) -> Element:
    words = ["number" if column.number else "text", "first" if first else "", "wide" if column.key == "model" else ""]
    title = " · ".join(part for part in (cell.note, cell.flag) if part) or None
    stale = element("span", " STALE", class_="stale") if cell.flag else None
    if cell.missing:
        short = "not run" if cell.missing.startswith("not run") else cell.missing
        inner: list[Child] = [element("span", short, class_="missing")]
        value, title = "", cell.missing
    else:
        value = "" if cell.value is None else str(cell.value)
        error = None if cell.error is None else element("span", f" ± {cell.error:.{column.digits}f}", class_="error")
        part = None if cell.percent is None else element("span", spell_percent(cell.percent), class_="percent")
        inner = [spell(cell.value, column.digits), error, stale, part]
        words += [word for word in ("equal", "differs") if value.lower().startswith(word)]
    shown = " ".join(word for word in words if word)
    return element("td", *inner, class_=shown, title=title, data_value=value, data_group=group)


def heat_map(names: Sequence[str], found: Sequence[Layers]) -> Element:
    """Layers by builds and kinds: mean bits as number and colour; LUT and zero weights where they are known."""
    layers: list[str] = []
    for known in found:
        layers = in_order(layers, list(known.layers))
    known_costs = {key for known in found for layer in known.layers.values() for key in layer.costs}
    costs = {key: COSTS[key] for key in ("lut", "zeros") if key in known_costs}
    top = [element("th", name, scope="colgroup", colspan=str(len(KINDS) + len(costs))) for name in names]
    heads = [element("th", kind, scope="col") for _ in names for kind in (*KINDS, *costs.values())]
    body = element("tbody")
    for layer in layers:
        row = [known.layers.get(layer) for known in found]
        learned = any(here is not None and here.learned for here in row)
        cells: list[Element] = []
        for here in row:
            cells += [_bits_cell(here.bits.get(kind) if here else None, kind == KINDS[0]) for kind in KINDS]
            numbers = [here.costs.get(key) if here else None for key in costs]
            cells += [element("td", "" if number is None else f"{number:,.0f}") for number in numbers]
        body.append(element("tr", element("th", layer, scope="row"), *cells, class_=None if learned else "fixed"))
    head = element(
        "thead", element("tr", element("td"), *top), element("tr", element("th", "layer", scope="col"), *heads)
    )
    return element("table", head, body, class_="heat")


def _bits_cell(bits: Bits | None, first: bool) -> Element:
    edge = "first" if first else ""
    if bits is None:
        return element("td", class_=edge or None)
    colour = f"b{min(max(round(bits.mean), 0), WIDEST)}"
    return element("td", f"{bits.mean:.1f}", class_=f"{colour} {edge}".strip(), title=bits.note)


def scale() -> Element:
    """The colours of the heat map."""
    steps = [element("span", f"{b}{'+' if b == WIDEST else ''}", class_=f"b{b}") for b in range(0, WIDEST + 1, 2)]
    return element("div", element("em", "mean bits, sign included"), *steps, class_="scale")


def difference_table(diff: Diff) -> Element:
    """Layer by layer: before, after and change."""
    heads = [head_cell("layer"), *(head_cell(text, number=True) for text in (*KINDS, *diff.costs))]
    body, foot = element("tbody"), element("tfoot")
    for row in (*diff.rows, *([diff.total] if diff.costs else [])):
        bits = [_pair(row.bits.get(kind), diff.bits_known, 1) for kind in KINDS]
        costs = [_pair(row.costs.get(head), diff.costs_known[head], 0) for head in diff.costs]
        line = element("tr", element("th", row.layer, scope="row"), *bits, *costs)
        (foot if row is diff.total else body).append(line)
    return element(
        "table", element("thead", element("tr", *heads)), body, foot, class_="sortable", id="difference-table"
    )


def _pair(pair: Pair | None, known: tuple[bool, bool], digits: int) -> Element:
    before, after = pair or (None, None)
    if pair is None or pair == (None, None):
        return element("td", class_="number", data_value="")
    if before is None or after is None:
        moved = str((after or 0) - (before or 0)) if all(known) else ""  # a layer that is not there costs nothing
        return element("td", change(pair, known, digits), class_="number", data_value=moved)
    gain = after - before
    if abs(gain) < 0.5 * 10**-digits:
        return element("td", f"{after:,.{digits}f}", class_="number", data_value="0")
    delta = element("span", f" ({gain:+,.{digits}f})", class_="more" if gain > 0 else "less")
    return element("td", f"{before:,.{digits}f} → {after:,.{digits}f}", delta, class_="number", data_value=str(gain))


def settings_table(diff: Diff) -> Element:
    """Settings in which two builds differ."""
    heads = element("tr", *(element("th", text, scope="col") for text in ("setting", *diff.names)))
    rows = [
        element("tr", element("th", key, scope="row"), element("td", str(first)), element("td", str(second)))
        for key, (first, second) in diff.settings.items()
    ]
    return element("table", element("thead", heads), element("tbody", *rows))


def references_table(references: Sequence[Reference]) -> Element:
    """All published results with their citations."""
    texts = {"work": False, "N": True, "features": True, "accuracy [%]": True, "AUC": True, "LUT": True, "DSP": True}
    texts |= {"latency [ns]": True, "EBOPs": True, "stage": False, "data": False, "source": False}
    body = element("tbody")
    for reference in references:
        point, work = reference.point, reference.work
        numbers = (
            point.n,
            point.features,
            point.accuracy,
            point.auc,
            point.lut,
            point.dsp,
            point.latency_ns,
            point.ebops,
        )
        cited = element("td", _arxiv(work.arxiv), class_="text", title=f"{work.citation}. {work.note}")
        title = " ".join(filter(None, (work.label, point.variant)))
        cells = [element("td", "" if v is None else f"{v:,}", class_="number", data_value=_raw(v)) for v in numbers]
        stage = element("td", point.stage, title=reference.stage)
        data = element("td", reference.dataset.short, class_="text", title=reference.dataset.label)
        body.append(element("tr", element("th", title, scope="row", class_="wide"), *cells, stage, data, cited))
    heads = [head_cell(text, number=number) for text, number in texts.items()]
    return element("table", element("thead", element("tr", *heads)), body, class_="sortable", id="references-table")


def citations(references: Sequence[Reference]) -> Element:
    """Each publication once, with what there is to know of its numbers."""
    works = list(dict.fromkeys(reference.work for reference in references))
    lines = []
    for work in works:
        more = ". ".join(part for part in (work.note, f"Device: {work.device}" if work.device else "") if part)
        lines.append(element("li", f"{work.label}: {work.citation}, ", _arxiv(work.arxiv), f". {more}" if more else ""))
    return element("ul", *lines)


def _raw(value: float | int | None) -> str:
    return "" if value is None else str(value)


def _arxiv(number: str) -> Element:
    return element("a", f"arXiv:{number}", href=f"https://arxiv.org/abs/{number}")


def rows_table(heads: Sequence[str], rows: Sequence[Mapping[str, Child]]) -> Element:
    """A plain table from rows by heading."""
    head = element("thead", element("tr", *(element("th", text, scope="col") for text in heads)))
    lines = [element("tr", *(element("td", row.get(text)) for text in heads)) for row in rows]
    return element("table", head, element("tbody", *lines))
