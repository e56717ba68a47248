"""Which settings made something: sections of a build as plain JSON, and where two of them differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from qformers.builds.build import Build
from qformers.config.sections import FirmwareConfig

MADE_BY = ("spec", "seed", "data", "model", "quant", "train")  # sections that a trained model follows from
EVENTS = ("train", "val", "test", "max_jets", "shuffle_jets")  # keys of `data`: which events


def sections_of(build: Build, *keys: str) -> dict[str, Any]:
    """Sections of a build as JSON, for the settings that a result depends on: without the cache's place."""
    tree = json.loads(build.model_dump_json())
    tree["data"].pop("cache")
    return {key: tree[key] for key in keys}


def hardware_of(build: Build) -> dict[str, Any]:
    """What of the section `firmware` EBOPs depend on, as ``{"firmware": {...}}``; {} where an event comes in one clock.

    It belongs to the settings of whatever was made by EBOPs: another price, another model.
    """
    firmware = build.firmware
    if firmware.together is None:
        return {}
    keys = {} if firmware.keys_per_clock is None else {"keys_per_clock": firmware.keys_per_clock}
    return {"firmware": {"backend": firmware.backend, "points_per_clock": firmware.together, **keys}}


@cache
def unsaid() -> Mapping[str, int | float | str]:
    """Defaults of the section `firmware` that files leave out, by dotted key."""
    return {
        f"firmware.{name}": field.default
        for name, field in FirmwareConfig.model_fields.items()
        if field.exclude_if is not None and isinstance(field.default, int | float | str)
    }


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Lines ``key: old -> new`` for every leaf in which two trees of settings differ; `unsaid` ones are spelt."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        lines = []
        for key in keys:
            name = f"{place}.{key}".lstrip(".")
            before, after = (side.get(key, unsaid().get(name)) for side in (old, new))
            lines += differences(before, after, name)
        return lines
    return [] if old == new else [f"{place}: {old!r} -> {new!r}"]


def made_otherwise(settings: Mapping[str, Any], build: Build) -> list[str]:
    """Where `build` is not the one that a model was made by, as `differences`.

    Which events they name does not count: a model takes others as well, and ``--data`` names them elsewhere.

    Args:
        settings: that its training (or quantisation) recorded.
        build: that it is to be used with.
    """
    wanted = sections_of(build, *(key for key in MADE_BY if key in settings))
    return differences(_shapes({key: settings[key] for key in wanted}), _shapes(wanted))


def _shapes(tree: dict[str, Any]) -> dict[str, Any]:
    """Sections without the places of events."""
    data = tree.get("data")
    if not isinstance(data, dict):
        return tree
    kept = {key: value for key, value in data.items() if key not in EVENTS}
    if isinstance(points := kept.get("points"), dict):
        kept["points"] = {key: value for key, value in points.items() if key != "lda"}
    return {**tree, "data": kept}
