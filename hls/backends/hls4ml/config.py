"""A precision table in hls4ml's words and back: ``LayerName`` of its configuration, nothing lost on the way.

hls4ml keeps the format of a value that a layer reads with a quantiser of its own, ``<layer>_iq``, and calls 1/sum of a
softmax ``inv`` and the argument of its exponential ``inp_norm``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qformers.errors import ConfigError, nearest
from qformers.precision.fixed import Fixed
from qformers.precision.table import PrecisionTable, Row, Setting

PRECISIONS = {
    "weight": "weight", "bias": "bias", "result": "result", "accumulator": "accum", "table": "table",
    "exp_input": "inp_norm", "exp_table": "exp_table", "inverse_input": "inv_inp", "inverse_table": "inv_table",
}  # fmt: skip
QUANTISERS = {"input": "_iq", "input0": "_iq0", "input1": "_iq1"}
NUMBERS = {"reuse_factor": "ReuseFactor", "strategy": "Strategy", "parallelisation_factor": "ParallelizationFactor"}


def to_hls4ml(table: PrecisionTable) -> dict[str, dict[str, Any]]:
    """``LayerName`` of an hls4ml configuration that says the table."""
    config: dict[str, dict[str, Any]] = {}
    for row in table.rows:
        for slot, setting in row.settings.items():
            value = f"ap_{setting.value}" if isinstance(setting.value, Fixed) else setting.value
            if slot in QUANTISERS:
                config.setdefault(f"{row.layer}{QUANTISERS[slot]}", {})["Precision"] = {"result": value}
            elif slot in PRECISIONS:
                config.setdefault(row.layer, {}).setdefault("Precision", {})[PRECISIONS[slot]] = value
            else:
                config.setdefault(row.layer, {})[NUMBERS[slot]] = value
    return config


def from_hls4ml(config: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, str]) -> PrecisionTable:
    """The table that ``LayerName`` of an hls4ml configuration says.

    Args:
        config: layer -> ``Precision``, ``ReuseFactor``, ...; formats without modes are TRN and WRAP, as in hls4ml.
        kinds: name -> type of the layers of the model, in its order.

    Raises:
        ConfigError: a layer or key that is not known, or a precision that is no fixed-point format.
    """
    rows: dict[str, dict[str, Setting]] = {name: {} for name in kinds}
    for name, entry in config.items():
        layer, slot = _owner(name, kinds)
        for key, value in entry.items():
            for place, text in _settings(name, key, value):
                rows[layer][slot if slot and place == "result" else place] = Setting(text, "hls4ml")
    return PrecisionTable(tuple(Row(name, kinds[name], said) for name, said in rows.items() if said))


def _owner(name: str, kinds: Mapping[str, str]) -> tuple[str, str]:
    """(layer, slot) of an entry; the slot is "" for the entry of the layer itself."""
    if name in kinds:
        return name, ""
    for slot, ending in QUANTISERS.items():
        if name.endswith(ending) and name.removesuffix(ending) in kinds:
            return name.removesuffix(ending), slot
    raise ConfigError(f"hls4ml configuration: no layer is called '{name}'{nearest(name, kinds)}")


def _settings(name: str, key: str, value: Any) -> list[tuple[str, Any]]:
    if key == "Precision":
        formats = value if isinstance(value, Mapping) else {"result": value}
        slots = {word: slot for slot, word in PRECISIONS.items()}
        unknown = [word for word in formats if word not in slots]
        if unknown:
            raise ConfigError(f"hls4ml configuration, layer '{name}': unknown precision '{unknown[0]}'"
                              f"{nearest(unknown[0], slots)}")  # fmt: skip
        return [(slots[word], _format(name, text)) for word, text in formats.items() if text != "auto"]
    for slot, word in NUMBERS.items():
        if key == word:
            return [(slot, str(value).lower() if slot == "strategy" else int(value))]
    raise ConfigError(f"hls4ml configuration, layer '{name}': unknown key '{key}'{nearest(key, [*NUMBERS.values()])}")


def _format(name: str, text: Any) -> Fixed:
    try:
        return Fixed.parse(re.sub(r",\s*0\s*>$", ">", str(text)), "TRN", "WRAP")  # the 0: ap_fixed's saturation bits
    except ValueError as error:
        raise ConfigError(f"hls4ml configuration, layer '{name}': {error}") from error
