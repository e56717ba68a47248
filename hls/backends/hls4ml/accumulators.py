"""Accumulators against what their sums can become: one that is too narrow is found before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hls.backends.layer_settings import Abilities, notes, resolved
from hls.errors import ExportRefused, HlsError, Refusal
from qformers.config.sections import FirmwareConfig
from qformers.precision.fixed import Fixed
from qformers.precision.table import PrecisionTable, Row, Setting
from qformers.quant.formats import model_table
from qformers.quant.ranges import Sums, sums_of


@dataclass(frozen=True)
class Shortage:
    """An accumulator that cannot hold its sums.

    Attributes:
        layer, kind: of the layer.
        accumulator: its format.
        needed: the smallest format that loses nothing.
        integer_bits, fraction_bits: how many it lacks, the sign among the integer bits.
        low, high: what the sums can become.
    """

    layer: str
    kind: str
    accumulator: str
    needed: str
    integer_bits: int
    fraction_bits: int
    low: float
    high: float

    def __str__(self) -> str:
        lacks = [
            f"{bits} {name} bit{'s' if bits > 1 else ''}"
            for bits, name in ((self.integer_bits, "integer"), (self.fraction_bits, "fraction"))
            if bits
        ]
        return (
            f"its accumulator {self.accumulator} lacks {' and '.join(lacks)}: sums reach {self.low:g} to {self.high:g} "
            f"and need {self.needed}"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)

    def refusal(self) -> Refusal:
        """As a reason not to export."""
        return Refusal(self.layer, self.kind, str(self), "widen it, leave it out, or export with --allow-overflow")


def shortage(layer: str, accumulator: Fixed, sums: Sums) -> Shortage | None:
    """What `accumulator` lacks for the sums of a layer; None if it holds them all exactly.

    A wrapping accumulator may overflow on the way: it is right again when the whole sum fits. A saturating one must
    hold every part of a sum, in whatever order the tool adds. A symmetric one has no lowest value, so that it is
    treated like one with a bit less where that value is needed. Sums that are always zero fit everything: hls4ml gives
    them a format whose point lies far outside its bits.
    """
    if sums.reach_low == sums.reach_high == 0:
        return None
    saturates = accumulator.overflow != "WRAP"
    needed = sums.format(saturates)
    low = sums.reach_low if saturates else sums.low
    own = accumulator.integer_bits
    if accumulator.overflow == "SAT_SYM" and low < accumulator.low and own == needed.integer_bits:
        own -= 1
    integer = max(needed.integer_bits - own, 0) + (needed.signed and not accumulator.signed)
    fraction = max(needed.fraction_bits - accumulator.fraction_bits, 0)
    if not integer and not fraction:
        return None
    ends = (sums.low, sums.high)
    return Shortage(layer, sums.kind, str(accumulator), str(needed), integer, fraction, *ends)


def shortages(table: PrecisionTable, sums: Mapping[str, Sums]) -> list[Shortage]:
    """All accumulators of a table that are too narrow, in the order of the model."""
    shorts = []
    for row in table.rows:
        setting = row.settings.get("accumulator")
        if setting is not None and isinstance(setting.value, Fixed) and row.layer in sums:
            short = shortage(row.layer, setting.value, sums[row.layer])
            shorts += [short] if short is not None else []
    return shorts


@dataclass(frozen=True)
class Plan:
    """What firmware is to do layer by layer.

    Attributes:
        table: of `firmware.types` and `firmware.layers`, resolved for the layers of a model.
        sums: what its sums can become.
        short: accumulators of the build that are too narrow.
    """

    table: PrecisionTable
    sums: Mapping[str, Sums]
    short: tuple[Shortage, ...]

    def whole_table(self, model: Any, accumulators: Mapping[str, Fixed]) -> PrecisionTable:
        """Formats of the model, settings of the firmware and the accumulators that it got.

        Raises:
            HlsError: an accumulator that the build did not narrow cannot hold its sums.
        """
        rows = []
        asked = {row.layer: row.settings for row in self.table.rows}
        for name, form in accumulators.items():
            if "accumulator" in asked.get(name, {}) or name not in self.sums:
                continue
            if short := shortage(name, form, self.sums[name]):
                raise HlsError(f"layer '{name}' of the firmware: {short}")
            rows.append(Row(name, self.sums[name].kind, {"accumulator": Setting(form, "computed")}))
        return model_table(model).joined(self.table).joined(PrecisionTable(tuple(rows)))

    def to_json(self, table: PrecisionTable) -> dict[str, Any]:
        """The content of ``precision.json``: the whole table and what is to be known about it."""
        needed = {layer: str(sums.format()) for layer, sums in self.sums.items()}
        return {
            "layers": table.to_json(),
            "sums_need": needed,
            "overflow_allowed": [short.to_json() for short in self.short],
            "notes": notes(self.table),
        }


def plan(backend: str, model: Any, firmware: FirmwareConfig, able: Abilities, allow_overflow: bool = False) -> Plan:
    """Resolve what a build says about single layers of a model without `faults`.

    Args:
        backend: its name, for the message.
        model: quantised Keras model.
        firmware: section of the build.
        able: of the backend.
        allow_overflow: take accumulators that cannot hold their sums.

    Raises:
        ExportRefused: naming every accumulator that is too narrow, and the bits that it lacks.
    """
    table, sums = resolved(model, firmware, able), sums_of(model)
    short = shortages(table, sums)
    if short and not allow_overflow:
        raise ExportRefused(backend, [item.refusal() for item in short])
    return Plan(table, sums, tuple(short))
