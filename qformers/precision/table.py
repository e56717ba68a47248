"""The precision of every layer in one complete table: each value, and where it comes from.

The table is what is printed and saved; `as_rules` turns it back into the sections of a build file that say it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from qformers.errors import ConfigError, nearest
from qformers.precision.fixed import Fixed
from qformers.precision.slots import SLOTS, TRAINED

Value = Fixed | int | str
_COLUMNS = {
    "weight": ("weight",),
    "bias": ("bias",),
    "input": ("input", "input0", "input1", "exp_input", "inverse_input"),
    "table": ("table", "exp_table", "inverse_table"),
    "result": ("result",),
    "accumulator": ("accumulator",),
    "reuse": ("reuse_factor",),
    "strategy": ("strategy",),
    "copies": ("parallelisation_factor",),
}
PLACES = {  # slot of a format that training knows -> what it is the format of
    slot: {"input": "value", "result": "value"}.get(column, column)
    for column, slots in _COLUMNS.items()
    for slot in slots
    if slot in TRAINED
}
_CAPTION = (
    "fixed<W,I> counts the sign bit in I; RND and SAT, accumulators TRN and WRAP, where nothing else is said; "
    "* said in the build file for this layer or its type"
)
NOT_FORMATS = ("reuse_factor", "strategy", "parallelisation_factor")


@dataclass(frozen=True)
class Setting:
    """One value of the table.

    Attributes:
        value: a format, a number or a word.
        source: where it comes from, e.g. "default", "type QAdd", "layer b0_*", "learned, 6 formats", "computed".
    """

    value: Value
    source: str


@dataclass(frozen=True)
class Row:
    """One layer: its name, its type (class) and its settings by slot."""

    layer: str
    kind: str
    settings: Mapping[str, Setting]


@dataclass(frozen=True)
class PrecisionTable:
    """All layers of a model, in its order."""

    rows: tuple[Row, ...]

    def __getitem__(self, layer: str) -> Mapping[str, Setting]:
        """Settings of a layer.

        Raises:
            ConfigError: no such layer.
        """
        for row in self.rows:
            if row.layer == layer:
                return row.settings
        raise ConfigError(f"no layer is called '{layer}'{nearest(layer, [row.layer for row in self.rows])}")

    def joined(self, other: PrecisionTable) -> PrecisionTable:
        """Both tables in one; where both speak of a slot, `other` counts."""
        more = {row.layer: row for row in other.rows}
        rows = [
            Row(row.layer, row.kind, {**row.settings, **(more.pop(row.layer).settings if row.layer in more else {})})
            for row in self.rows
        ]
        return PrecisionTable((*rows, *more.values()))

    def to_json(self) -> list[dict[str, Any]]:
        """As plain JSON types; `from_json` reads it back equal."""
        return [
            {"layer": row.layer, "type": row.kind, **{slot: _plain(row.settings[slot]) for slot in row.settings}}
            for row in self.rows
        ]

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, Any]]) -> PrecisionTable:
        """Read what `to_json` made.

        Raises:
            ConfigError: an unknown slot, or no format where one belongs.
        """
        return cls(tuple(_row(row) for row in rows))

    def as_rules(self) -> dict[str, dict[str, dict[str, str | int]]]:
        """``{"quant": {layer: ...}, "firmware": {layer: ...}}``: `layers` of both sections that say this table."""
        sections: dict[str, dict[str, dict[str, str | int]]] = {"quant": {}, "firmware": {}}
        for row in self.rows:
            for slot, setting in row.settings.items():
                section = sections["quant" if slot in TRAINED else "firmware"]
                value = setting.value
                section.setdefault(row.layer, {})[slot] = str(value) if isinstance(value, Fixed) else value
        return sections

    def as_rich(self, title: str) -> Table:
        """For a terminal: one row per layer, without columns that no layer needs or that are all at their default."""
        said = {
            slot
            for row in self.rows
            for slot, setting in row.settings.items()
            if slot not in NOT_FORMATS or setting.source != "default"
        }
        used = {column: slots for column, slots in _COLUMNS.items() if said & set(slots)}
        table = Table(title=title, caption=_CAPTION)
        for column in ("layer", "type", *used):
            table.add_column(column, overflow="fold")
        for row in self.rows:
            cells = [
                [_cell(slot, row.settings[slot]) for slot in slots if slot in row.settings] for slots in used.values()
            ]
            table.add_row(row.layer, row.kind, *("\n".join(cell) for cell in cells))
        return table


def value_of(slot: str, said: Any) -> Value:
    """The value of a slot from what a file says; an accumulator is TRN and WRAP where it has no such word.

    Raises:
        ValueError: no format where one belongs.
    """
    if slot in NOT_FORMATS:
        return int(said) if slot != "strategy" else str(said)
    return Fixed.parse(str(said), "TRN", "WRAP") if slot == "accumulator" else Fixed.parse(str(said))


def _plain(setting: Setting) -> dict[str, str | int]:
    value = setting.value
    return {"value": str(value) if isinstance(value, Fixed) else value, "source": setting.source}


def _row(row: Mapping[str, Any]) -> Row:
    settings = {}
    for slot, item in row.items():
        if slot in ("layer", "type"):
            continue
        if slot not in SLOTS:
            raise ConfigError(f"precision of layer '{row.get('layer')}': unknown slot '{slot}'{nearest(slot, SLOTS)}")
        try:
            settings[slot] = Setting(value_of(slot, item["value"]), str(item["source"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"precision of layer '{row.get('layer')}', slot '{slot}': {error}") from error
    return Row(str(row["layer"]), str(row["type"]), settings)


def _cell(slot: str, setting: Setting) -> str:
    usual = ",TRN,WRAP>" if slot == "accumulator" else ",RND,SAT>"
    text = str(setting.value).replace(usual, ">")
    name = {"exp_input": "exp ", "exp_table": "exp ", "inverse_input": "1/x ", "inverse_table": "1/x "}.get(slot, "")
    return f"{name}{text}{' *' if setting.source.startswith(('type ', 'layer ')) else ''}"
