"""Bit widths and costs of each layer of a run, from the audit, the firmware's formats and alkaid's costs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from hls.compare.read.interval import rtl_of
from hls.compare.read.records import Audit, AuditRow, LayerCosts, read
from hls.compare.read.run import Run
from hls.compare.table.cells import FLOAT_ONLY
from hls.errors import HlsError
from qformers.errors import ConfigError
from qformers.files import sha256
from qformers.precision.fixed import Fixed
from qformers.precision.table import PrecisionTable, Setting

KINDS = ("weight", "bias", "activation", "table")
COSTS = {  # LUT and ns are estimates, of layers.json (of folded firmware: `hls.compare.table.kernels`); zeros are those
    # of qat/sparsity.json
    "lut": "LUT before fusing (alkaid)",  # adders of three operands belong to no layer
    "ebops": "EBOPs",
    "latency_ns": "ns (alkaid)",
    "zeros": "zero weights",
}
_PLACES = {"input": "activation", "weight": "weight", "bias": "bias", "table": "table", "result": "activation"}
_FORMATS = {"result": "activation", "weight": "weight", "bias": "bias", "table": "table"}


@dataclass(frozen=True)
class Bits:
    """Width of one kind of value in one layer, in bits, sign included."""

    mean: float
    largest: int
    learned: bool
    note: str  # quantisers and formats


@dataclass(frozen=True)
class Layer:
    """One layer: widths by kind (a key of `KINDS`), costs by name (a key of `COSTS`)."""

    name: str
    bits: Mapping[str, Bits] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def learned(self) -> bool:
        """Whether any width was learned."""
        return any(bits.learned for bits in self.bits.values())


@dataclass(frozen=True)
class Layers:
    """All layers of a run in the order of the model.

    Attributes:
        layers: by name.
        source: file of the widths, "" for none.
        missing: how to get what is not there.
    """

    layers: Mapping[str, Layer]
    source: str = ""
    missing: tuple[str, ...] = ()


def read_layers(run: Run) -> Layers:
    """Widths and costs of a run's layers.

    Widths come from ``qat/audit.json`` (as trained, mean over all groups) or, where there is none, from the project:
    ``precision.json`` (the format that holds all groups of a quantiser), else ``precision.yaml`` (as declared).

    Raises:
        HlsError: one of these files cannot be read.
    """
    bits, source, missing = _widths(run)
    costs = _costs(run)
    if run.float_only and not bits and costs is None:
        return Layers({}, "", (f"{run.name}: {FLOAT_ONLY}: no layer has a bit width or a cost",))
    layers = {name: Layer(name, kinds) for name, kinds in bits.items()}
    if costs is None:
        missing.append(
            f"{run.name}: no cost per layer; not run: qformers export {run.arguments} --backend {rtl_of(run)}"
        )
    for cost in costs.layers if costs else ():
        numbers = {key: value for key in COSTS if (value := getattr(cost, key, None)) is not None}
        layers[cost.layer] = Layer(cost.layer, bits.get(cost.layer, {}), numbers)
    for row in run.sparsity.layers if run.sparsity else ():
        known = layers.get(row.layer, Layer(row.layer))
        layers[row.layer] = replace(known, costs={**known.costs, "zeros": row.zeros})
    return Layers(layers, source, tuple(missing))


def _costs(run: Run) -> LayerCosts | None:
    """Of the hardware of the build, or of its RTL where its own backend does not know what a layer costs."""
    names = dict.fromkeys((run.build.firmware.backend, rtl_of(run)))
    known = (read(run.path / f"firmware/{name}/layers.json", LayerCosts) for name in names)
    return next((costs for costs in known if costs is not None), None)


def _widths(run: Run) -> tuple[dict[str, dict[str, Bits]], str, list[str]]:
    command = f"qformers audit {run.arguments}"
    audit, model = read(run.path / "qat" / "audit.json", Audit), run.path / "qat" / "model.keras"
    if audit is not None:
        other = model.is_file() and sha256(model) != audit.model_file_sha256
        said = [f"{run.name}: qat/audit.json is of another model than qat/model.keras; run {command}"]
        return _audited(audit.quantisers), "qat/audit.json", said if other else []
    audit_command = f"not run: {command}"
    for backend in dict.fromkeys((run.build.firmware.backend, *(run.firmware or {}))):
        for file, (read_widths, what) in _FILES.items():
            name = f"firmware/{backend}/{file}"
            if (run.path / name).is_file():
                note = f"{run.name}: widths as {what} in {name}; means over what was learned: {audit_command}"
                return read_widths(run.path / name), name, [note]
    return {}, "", [f"{run.name}: no bit widths; {audit_command}"]


def _audited(rows: Sequence[AuditRow]) -> dict[str, dict[str, Bits]]:
    grouped: dict[str, dict[str, list[AuditRow]]] = {}
    for row in rows:
        grouped.setdefault(row.layer, {}).setdefault(_PLACES.get(row.place, row.place), []).append(row)
    return {layer: {kind: _merged(some) for kind, some in kinds.items()} for layer, kinds in grouped.items()}


def _merged(rows: Sequence[AuditRow]) -> Bits:
    """Several quantisers of one kind (two operands, two tables) as one; each counts once."""
    parts = [f"{r.name}: mean {r.width_mean:.2f}, max {r.width_max}, {r.widest}, {r.formats:,} groups" for r in rows]
    mean = statistics.fmean(row.width_mean for row in rows)
    return Bits(mean, max(row.width_max for row in rows), any(row.learned for row in rows), "; ".join(parts))


def _exported(file: Path) -> dict[str, dict[str, Bits]]:
    """The format of each quantiser; several of one kind in a layer (two operands) as their mean."""
    tree = read(file, dict[str, Any])
    try:
        rows = PrecisionTable.from_json((tree or {})["layers"]).rows
    except (KeyError, TypeError, ConfigError) as error:
        raise HlsError(f"{file} is no table of formats ({error}); export the project again") from error
    widths: dict[str, dict[str, Bits]] = {}
    for row in rows:
        kinds: dict[str, list[str]] = {}  # -> slots: two operands are input0 and input1
        for slot in row.settings:
            if (kind := _PLACES.get(slot.rstrip("01"))) is not None:
                kinds.setdefault(kind, []).append(slot)
        widths[row.layer] = {
            kind: _widest({slot: row.settings[slot] for slot in slots}) for kind, slots in kinds.items()
        }
    return widths


def _widest(slots: Mapping[str, Setting]) -> Bits:
    widths = [setting.value.width for setting in slots.values() if isinstance(setting.value, Fixed)]
    learned = any(setting.source.startswith("learned") for setting in slots.values())
    note = "; ".join(f"{slot} {setting.value}, {setting.source}" for slot, setting in slots.items())
    return Bits(statistics.fmean(widths), max(widths), learned, note)


def _declared(file: Path) -> dict[str, dict[str, Bits]]:
    try:
        tree: Any = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise HlsError(f"{file} is not YAML ({error}); export the project again") from error
    widths: dict[str, dict[str, Bits]] = {}
    for layer, formats in (tree if isinstance(tree, dict) else {}).items():
        for key, kind in _FORMATS.items():
            spelt = formats.get(key) if isinstance(formats, dict) else None
            if spelt is None:
                continue
            try:
                form = Fixed.parse(str(spelt))
            except ValueError as error:
                raise HlsError(f"{file}: '{layer}.{key}': {error}") from error
            if form.step <= 1 or kind == "activation":  # hls4ml spells a bias that is not there as ufixed<2,32>
                widths.setdefault(str(layer), {})[kind] = Bits(form.width, form.width, False, f"{key} {spelt}")
    return widths


def in_order(first: list[str], second: list[str]) -> list[str]:
    """Names of both lists; those of the second that the first lacks stand after their predecessor there."""
    merged = list(first)
    place = 0
    for name in second:
        if name in merged:
            place = merged.index(name) + 1
        else:
            merged.insert(place, name)
            place += 1
    return merged


_FILES = {  # of a project -> how it is read, and what its widths are
    "precision.json": (_exported, "widest"),
    "precision.yaml": (_declared, "declared"),
}
