"""Who wins: model default < layer type < layer name.

A build file says little: defaults, some types, some names. `Rules` applies them in this order (of two names or globs
that match, the later one wins), once for each slot of each layer, and keeps the outcome as a `PrecisionTable`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from qformers.errors import ConfigError, nearest
from qformers.precision.table import PrecisionTable, Row, Setting, Value, value_of

Where = Literal["types", "layers"]  # of a section
WIDER_SLOT = {"input0": "input", "input1": "input"}  # what is taken when an entry does not speak of the slot itself


class Entry(Protocol):
    """`LayerFormats` or `LayerFirmware`."""

    def items(self) -> Mapping[str, Any]:
        """Slot -> value, of the slots that are said."""


@dataclass
class Rules:
    """Resolves slots of layers, each once, and remembers what it was asked and which entries were used.

    Args:
        section: "quant" or "firmware", for messages.
        types: layer type -> entry.
        names: layer name or glob -> entry.
    """

    section: str
    types: Mapping[str, Entry]
    names: Mapping[str, Entry]
    settled: dict[str, tuple[str, dict[str, Setting]]] = field(default_factory=dict)  # layer -> (type, slot -> setting)
    used: set[tuple[str, str, str]] = field(default_factory=set)  # ("types" or "layers", key, slot of the entry)

    def entries(self) -> Iterator[tuple[Where, str, Entry]]:
        """Where each entry stands, its key and itself, in the order in which they count: types, then names."""
        for kind, entry in self.types.items():
            yield "types", kind, entry
        for pattern, entry in self.names.items():
            yield "layers", pattern, entry

    def look_up(self, layer: str, kind: str, slot: str, default: Value | None) -> Setting | None:
        """The value of a slot: from the last name that matches, else from the type, else `default`; None without any.

        Args:
            layer: name of the layer.
            kind: its type.
            slot: e.g. "weight".
            default: of the model, or of this kind of layer.
        """
        settings = self.settled.setdefault(layer, (kind, {}))[1]
        if slot in settings:
            return settings[slot]
        setting = None if default is None else Setting(default, "default")
        for where, key, entry in self.entries():
            said = entry.items() if meant(where, key, {layer: kind}) else {}
            own = slot if slot in said else WIDER_SLOT.get(slot, "")
            if own in said:
                self.used.add((where, key, own))
                setting = Setting(value_of(own, said[own]), f"{where.removesuffix('s')} {key}")
        if setting is not None:
            settings[slot] = setting
        return setting

    def table(self) -> PrecisionTable:
        """Everything that was asked so far, in the order of asking."""
        return PrecisionTable(
            tuple(Row(layer, kind, dict(said)) for layer, (kind, said) in self.settled.items() if said)
        )

    def refuse_unmatched(self, layers: Mapping[str, str], why: Mapping[str, str] | None = None) -> None:
        """Raise for the entries that say something about nothing.

        Args:
            layers: name -> type of all layers of the model.
            why: slot -> why some layers have none, for the message.

        Raises:
            ConfigError: naming the entry, the nearest names, or what the layers that it names can be told.
        """
        for where, key, entry in self.entries():
            matching = meant(where, key, layers)
            if not matching:
                words = "of type" if where == "types" else "called"
                raise ConfigError(f"{self.section}.{where}: no layer is {words} '{key}'{like(where, key, layers)}")
            self._refuse_unused(where, key, entry, matching, why or {})

    def _refuse_unused(
        self, where: Where, key: str, entry: Entry, layers: Sequence[str], why: Mapping[str, str]
    ) -> None:
        slots = sorted({slot for layer in layers for slot in self.settled.get(layer, ("", {}))[1]})
        for slot, value in entry.items().items():
            if (where, key, slot) in self.used or self._hidden(slot, layers):
                continue
            named = f"layer '{layers[0]}'" if len(layers) == 1 else f"none of the {len(layers)} layers"
            can = f"what can be said of it: {', '.join(slots)}" if slots else "its formats follow from the model"
            reason = f" ({why[slot]})" if slot in why else ""
            raise ConfigError(
                f"{self.section}.{where}.{key}.{slot}: {named} has no {slot} to be set{reason}; {can}. "
                f"Received: {value}"
            )

    def _hidden(self, slot: str, layers: Sequence[str]) -> bool:
        """Whether the layers have the slot, so that only a more specific entry kept this one from being used."""
        narrower = [narrow for narrow, wide in WIDER_SLOT.items() if wide == slot]
        return any(name in self.settled.get(layer, ("", {}))[1] for layer in layers for name in (slot, *narrower))


def meant(where: Where, key: str, layers: Mapping[str, str]) -> list[str]:
    """The layers, of all `layers` (name -> type), that an entry with this key speaks of."""
    if where == "types":
        return [name for name, kind in layers.items() if kind == key]
    return [name for name in layers if fnmatch.fnmatchcase(name, key)]


def like(where: Where, key: str, layers: Mapping[str, str]) -> str:
    """Types or names like a key that means no layer, for the end of a message."""
    return nearest(key, sorted(set(layers.values())) if where == "types" else layers)


def layer_types(layers: Iterable[Any]) -> dict[str, str]:
    """Name -> class name of Keras layers."""
    return {layer.name: type(layer).__name__ for layer in layers}
