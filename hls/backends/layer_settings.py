"""`firmware.types` and `firmware.layers` of a build for one model and one backend: resolved, or refused by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hls.errors import Gap, Refusal
from qformers.config.sections import FirmwareConfig
from qformers.precision.rules import Rules, layer_types, like, meant
from qformers.precision.table import PrecisionTable, Setting


@dataclass(frozen=True)
class Abilities:
    """What a backend can be told about layers.

    Attributes:
        settings: layer -> keys of `LayerFirmware` that it has.
        why: key -> why the other layers do not have it.
        strategies: accepted values of the slot strategy.
        multipliers: why it cannot be told what products are made of (`multiplier_faults`); "" = it can.
    """

    settings: Callable[[Any], tuple[str, ...]]
    why: Mapping[str, str]
    strategies: tuple[str, ...] = ("latency",)
    multipliers: str = ""


def resolved(model: Any, firmware: FirmwareConfig, able: Abilities) -> PrecisionTable:
    """Settings of every layer that has any: reuse factor and strategy always, the others where the build says them.

    Args:
        model: a Keras model without `faults`.
        firmware: section of the build.
        able: of the backend.
    """
    rules = Rules("firmware", firmware.types, firmware.layers)
    defaults = {"reuse_factor": firmware.reuse_factor, "strategy": firmware.strategy}
    kinds = layer_types(model.layers)
    for layer in model.layers:
        for slot in able.settings(layer):
            rules.look_up(layer.name, kinds[layer.name], slot, defaults.get(slot))
    return rules.table()


def faults(model: Any, firmware: FirmwareConfig, able: Abilities) -> list[Refusal]:
    """What the build says about layers that the backend cannot do, or about layers that are not there.

    Args:
        model: a Keras model.
        firmware: section of the build.
        able: of the backend.
    """
    kinds = layer_types(model.layers)
    refusals = []
    for where, key, entry in Rules("firmware", firmware.types, firmware.layers).entries():
        place, names = f"firmware.{where}.{key}", meant(where, key, kinds)
        if not names:
            words = "no layer is of this type" if where == "types" else "no layer has this name"
            refusals.append(Refusal(place, "setting", words, like(where, key, kinds).removeprefix("; ")))
        refusals += list(_unable(place, [model.get_layer(name) for name in names], entry.items(), able))
    refusals += multiplier_faults(firmware, able.multipliers)
    return refusals or list(_unfit(model, resolved(model, firmware, able), able))


def multiplier_faults(firmware: FirmwareConfig, why: str) -> list[Refusal]:
    """Refuse `firmware.multipliers` where the firmware cannot say what products are made of.

    Args:
        firmware: section of the build.
        why: it cannot; "" = it can.
    """
    if not why or firmware.multipliers == "auto":
        return []
    way_out = "leave firmware.multipliers out, or set firmware.backend: alkaid or folded, and flavour: verilog"
    return [Refusal("firmware.multipliers", "setting", f"{why}. Received: {firmware.multipliers}", way_out)]


def _unable(place: str, layers: Sequence[Any], said: Mapping[str, Any], able: Abilities) -> Iterator[Refusal]:
    """Keys of an entry that none of its layers has."""
    for key, value in said.items():
        if layers and not any(key in able.settings(layer) for layer in layers):
            reason = f"it has no {key} to be set: {able.why[key]}. Received: {value}"
            yield Gap(reason, f"leave {place}.{key} out").refusal(layers[0])


def _unfit(model: Any, table: PrecisionTable, able: Abilities) -> Iterator[Refusal]:
    """Values that a layer cannot take."""
    for row in table.rows:
        strategy, copies = row.settings.get("strategy"), row.settings.get("parallelisation_factor")
        if strategy is not None and strategy.value not in able.strategies and strategy.source != "default":
            reason = f"it exists for strategy {' or '.join(able.strategies)} only. Received: {strategy.value}"
            yield Refusal(row.layer, row.kind, reason, "leave strategy out")
        positions = getattr(model.get_layer(row.layer), "n_parallel", None)
        if copies is not None and positions is not None and not _divides(copies, positions):
            reason = f"its {positions} positions cannot be shared by {copies.value} copies"
            yield Refusal(row.layer, row.kind, reason, f"set parallelisation_factor to a divisor of {positions}")


def _divides(copies: Setting, positions: int) -> bool:
    return isinstance(copies.value, int) and positions % copies.value == 0


def notes(table: PrecisionTable) -> list[str]:
    """What the user should know about settings that are written, but whose effect is the vendor's tool's."""
    reused = [row.layer for row in table.rows if row.settings.get("reuse_factor", Setting(1, "")).value != 1]
    copied = [row.layer for row in table.rows if "parallelisation_factor" in row.settings]
    texts = []
    if reused:
        texts.append(
            f"reuse factor of {_some(reused)}: written as the layer's interval and limit of multipliers; hls4ml "
            "pipelines the function around it at full rate, and what the vendor's tool makes of both was not tried here"
        )
    if copied:
        texts.append(
            f"parallelisation factor of {_some(copied)}: written as an unroll factor; in a pipelined function the "
            "vendor's tool may unroll all the same"
        )
    return texts


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
