"""From a float model and a budget to bits per layer: the steps of `qformers tune`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.builds.build import Build, load
from qformers.builds.settings import hardware_of
from qformers.config.yaml_text import to_yaml
from qformers.data import AnyEvents, SplitName
from qformers.errors import ConfigError
from qformers.files import replacing
from qformers.manifest import versions
from qformers.models.inputs import host_inputs
from qformers.precision.fixed import Fixed
from qformers.quant.ptq.evaluator import SearchJets
from qformers.quant.ptq.journal import key_of
from qformers.quant.ptq.moves import Limits
from qformers.quant.ptq.ranges import Rule, fitted, seen
from qformers.quant.ptq.run_folder import Material
from qformers.quant.ptq.slots import LOGITS, Slot, formats_of
from qformers.quant.ptq.workshop import Workshop
from qformers.tasks import Regression
from qformers.train.variables import weights_digest

PROTOCOL = 3  # raised when an evaluation comes to mean something else: the journal starts over
WIDEST = 14  # bits, sign included, that weights, biases and values start from
DEEPEST_TABLE = 9  # fraction bits of an exponential that is 0 at the end of its table, whatever grid its argument has


@dataclass(frozen=True)
class Start:
    """Where a search starts, and what it may change."""

    formats: Mapping[Slot, Fixed]
    free: frozenset[Slot]  # slots whose integer bits follow the ranges

    def limits(self, clip: bool) -> Limits:
        """Bits of the start are the most; `clip` lets integer bits go where the search finds that worth it."""
        clipped = self.free - {LOGITS} if clip else frozenset()
        return Limits(self.formats, frozenset(clipped))


def start_of(shop: Workshop, rule: Rule, widest: int) -> Start:
    """Formats of width `widest` with the integer bits of the calibration jets; tables as the build has them.

    Raises:
        ConfigError: `widest` is no width to start from.
    """
    if not 4 <= widest <= 24:
        raise ConfigError(f"--widest must be 4 to 24 bits: float32 holds 24. Received: {widest}")
    ranges = seen(shop, rule)
    formats: dict[Slot, Fixed] = {}
    for slot, form in shop.formats.items():
        if slot in ranges:
            wide = replace(form, fraction_bits=form.fraction_bits + widest - form.width)
            formats[slot] = fitted(wide, ranges[slot], rule)
        elif slot.name == "exp_table":
            formats[slot] = replace(form, fraction_bits=min(form.fraction_bits, DEEPEST_TABLE))
        else:
            formats[slot] = form
    return Start(formats, frozenset(ranges))


def search_jets(material: Material, jets: int) -> SearchJets:
    """Jets of the validation split, filled up with training jets where it has fewer, and what float says of them.

    The divergence from float needs no labels, and more jets say more of it. Labels count for the validation jets alone.

    Raises:
        ConfigError: fewer than one jet is asked for.
    """
    if jets < 1:
        raise ConfigError(f"at least one jet is needed to search: set --jets. Received: {jets}")
    shop = material.shop
    parts, left = [], jets
    splits: tuple[SplitName, ...] = ("val", "train")
    for split in splits:
        if left:
            parts.append(_drawn(material.sources[split].load(), left, material.build.seed))
            left -= len(parts[-1])
    inputs = [host_inputs(shop.template, part) for part in parts]
    return judged_jets(
        material,
        {name: np.concatenate([one[name] for one in inputs]) for name in inputs[0]},
        parts[0].labels,
        np.concatenate([float_answers(material, part) for part in parts]),
    )


def judged_jets(
    material: Material, inputs: dict[str, NDArray[Any]], labels: NDArray[Any], floats: NDArray[np.float32]
) -> SearchJets:
    """Jets with what float says of them, and labels as outputs should be where they are numbers to be predicted."""
    task = material.task
    if isinstance(task, Regression):
        return SearchJets(inputs, task.targets(labels), floats, values=True)
    return SearchJets(inputs, labels, floats)


def which(jets: SearchJets) -> str:
    """The jets of a search in words."""
    judged, others = len(jets.labels), len(jets.float_logits) - len(jets.labels)
    return f"{judged:,} validation jets" + (f" and, without labels, {others:,} training jets" if others else "")


def float_answers(material: Material, events: AnyEvents) -> NDArray[np.float32]:
    """Outputs (n, classes) of the float model."""
    model = material.shop.float_model
    inputs = host_inputs(model, events)
    return np.concatenate(
        [
            ops.convert_to_numpy(model({name: array[at : at + 1024] for name, array in inputs.items()}, training=False))
            for at in range(0, len(events), 1024)
        ]
    )


def _drawn(events: AnyEvents, jets: int, seed: int) -> AnyEvents:
    """Up to `jets` of them, at random, in their order."""
    if jets >= len(events):
        return events
    return events[np.sort(np.random.default_rng([seed, 1]).permutation(len(events))[:jets])]


def search_key(shop: Workshop, start: Start, jets: SearchJets) -> str:
    """Names all that an evaluation depends on: weights, jets, architecture, formats' modes and versions."""
    data = hashlib.sha256(np.ascontiguousarray(jets.labels).tobytes() + jets.float_logits.tobytes())
    for name in sorted(jets.inputs):
        data.update(np.ascontiguousarray(jets.inputs[name]).tobytes())
    facts = {
        "protocol": PROTOCOL,
        "weights": weights_digest(shop.float_model),
        "data": data.hexdigest(),
        "model": shop.build.model.model_dump(mode="json"),
        "slots": [[str(slot), form.rounding, form.overflow] for slot, form in start.formats.items()],
        **hardware_of(shop.build),
        "versions": {name: number for name, number in versions().items() if name in ("keras", "hgq2", "numpy")},
    }
    return key_of(facts)


def write_yaml(material: Material, config: Path | None, formats: Mapping[Slot, Fixed], path: Path) -> Build:
    """Write the build file of the tuned formats, and return what it says.

    Args:
        material: the model.
        config: the build file that was searched for, which the new file extends; None writes the new one in full.
        formats: of all slots.
        path: file to write.

    Raises:
        ConfigError: the file written does not give these formats back.
    """
    name = path.stem if path.stem != "tuned" else f"{material.build.name}_tuned"
    wanted = material.shop.said(formats).model_copy(update={"name": name})
    if wanted.quant is None:  # never: `said` refuses such a build
        raise ConfigError("no section 'quant'")
    quant: dict[str, Any] = {"learn": False}
    if LOGITS in formats:
        quant["logits"] = str(formats[LOGITS])
    layers: dict[str, dict[str, str]] = {}
    for slot, form in formats.items():
        if slot != LOGITS:
            layers.setdefault(slot.layer, {})[slot.name] = str(form)
    quant["layers"] = layers
    base = None if config is None else os.path.relpath(config.resolve(), path.parent.resolve())
    _write(path, {"extends": base, "name": name, "quant": quant} if base else None, wanted)
    if base and not _says(material, load(path), formats):  # a glob of the base file comes after one of these names
        _write(path, None, wanted)
    build = load(path)
    if not _says(material, build, formats):
        raise ConfigError(f"{path}: does not give the formats back that were found; please report it with this file")
    return build


def _write(path: Path, tree: dict[str, Any] | None, build: Build) -> None:
    head = f"# Precision that `qformers tune` chose for the weights of build {build.name}\n"
    text = build.to_yaml() if tree is None else to_yaml(tree, width=120)
    with replacing(path) as temporary:
        temporary.write_text(head + text)


def _says(material: Material, build: Build, formats: Mapping[Slot, Fixed]) -> bool:
    shop = material.shop
    return formats_of(shop.slots(shop.make(build))) == dict(formats)
