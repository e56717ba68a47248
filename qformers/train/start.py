"""Fine-tuning: a float phase that starts from a trained float model, some layers of it made anew, others frozen.

Weights are taken layer by layer, by name and shape. Every layer with weights must find its own in the file or be named
in ``new_layers``: a model that was taken over in part, without a word, would look like a poor one.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from qformers.builds.models import load_model
from qformers.builds.saved import content_sha256
from qformers.config.sections import PhaseConfig
from qformers.errors import ConfigError, nearest
from qformers.nn.memory import memory_of
from qformers.train.beta import has_ebops

KEY = "train.float"
SHOWN = 6  # layers that a message names


@dataclass(frozen=True)
class Started:
    """What a model took from a file.

    Attributes:
        path: the file.
        taken, new, frozen: layers of the model with weights from the file, with random ones, and not trained.
        left: layers of the file that the model did not take.
        rate: learning rate of the new layers over that of the others.
    """

    path: Path
    taken: tuple[str, ...]
    new: tuple[str, ...]
    frozen: tuple[str, ...]
    left: tuple[str, ...]
    rate: float

    def __str__(self) -> str:
        """One line."""
        rate = f", at {self.rate:g} times the learning rate" if self.rate != 1.0 and self.new else ""
        parts = [f"starts from {self.path}: takes the weights of {len(self.taken)} layers"]
        parts += [f"not taken: {listed(self.left)}"] if self.left else []
        parts += [f"made anew: {listed(self.new)}{rate}"] if self.new else []
        parts += [f"frozen: {listed(self.frozen)}"] if self.frozen else []
        return "; ".join(parts)


def listed(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def start_file(config: PhaseConfig) -> Path | None:
    """The model file that a phase starts from, of a run folder that of its float phase; None for random numbers."""
    if config.start is None:
        return None
    path = Path(config.start)
    return path / "float" / "model.keras" if path.is_dir() else path


def fingerprint(path: Path) -> str:
    """What the file holds, as a hash.

    Raises:
        ConfigError: no such file, or no model in it.
    """
    try:
        return content_sha256(path)
    except ConfigError as error:
        raise ConfigError(f"{KEY}.start: {error}") from error


def new_layers(model: Any, config: PhaseConfig) -> list[str]:
    """Layers of a model that begin with random numbers though it starts from a file.

    Raises:
        ConfigError: a pattern that means no layer.
    """
    layers = _with_weights(model)
    if config.new_layers is None:
        return list(layers)[-1:]
    return _meant("new_layers", config.new_layers, layers)


def new_variables(model: Any, config: PhaseConfig) -> list[Any]:
    """The variables of `new_layers`; none of a model that starts from no file."""
    if config.start is None:
        return []
    return [variable for name in new_layers(model, config) for variable in model.get_layer(name).weights]


def freeze(model: Any, config: PhaseConfig) -> list[str]:
    """Take the frozen layers out of the training; returns their names.

    Raises:
        ConfigError: a pattern that means no layer, or a layer that is made anew, or nothing is left to train.
    """
    frozen = _meant("frozen_layers", config.frozen_layers, _with_weights(model))
    if random := sorted({*frozen} & {*(new_layers(model, config) if frozen else ())}):
        raise ConfigError(
            f"{KEY}.frozen_layers: '{random[0]}' is made anew ({KEY}.new_layers), so that it would stay at random "
            f"numbers; leave it out of one of the two. Received: frozen_layers={list(config.frozen_layers)}"
        )
    for name in frozen:
        model.get_layer(name).trainable = False
    if not model.trainable_variables:
        raise ConfigError(
            f"{KEY}.frozen_layers: nothing is left to train. Received: frozen_layers={list(config.frozen_layers)}"
        )
    return frozen


def thaw(model: Any, config: PhaseConfig) -> None:
    """Undo `freeze`: what was frozen in a training is no property of the model that is saved."""
    for name in _meant("frozen_layers", config.frozen_layers, _with_weights(model)):
        model.get_layer(name).trainable = True


def take(model: Any, path: Path, config: PhaseConfig) -> Started:
    """Put the weights of a model file into `model`, all but those of its new layers.

    Args:
        model: float, just built.
        path: the file.
        config: of the phase.

    Raises:
        ConfigError: the file is no float model, takes other inputs, or lacks a layer or has it in another shape.
        DamagedError: as `load_model`.
    """
    try:
        source = load_model(path)
    except ConfigError as error:
        raise ConfigError(f"{KEY}.start: {error}") from error
    where = f"{KEY}.start: {path}"
    memory = memory_of(source)
    if has_ebops(source) or (memory is not None and memory.vocabulary != "float32"):
        raise ConfigError(f"{where}: is a quantised model; name a float one, model.keras of the folder float of a run")
    _refuse_inputs(source, model, where)
    new, theirs = new_layers(model, config), _with_weights(source)
    ours = {name: layer for name, layer in _with_weights(model).items() if name not in new}
    for name, layer in ours.items():
        _refuse_layer(name, theirs, _shapes(layer), where)
        for variable in theirs[name].weights:
            if not np.isfinite(ops.convert_to_numpy(variable)).all():
                raise ConfigError(
                    f"{where}: layer '{name}' has NaN or infinity in '{variable.name}'; name a model whose training "
                    "did not diverge"
                )
    for name, layer in ours.items():
        for variable, value in zip(layer.weights, theirs[name].weights, strict=True):
            variable.assign(ops.convert_to_numpy(value))
    frozen = _meant("frozen_layers", config.frozen_layers, _with_weights(model))
    left = tuple(name for name in theirs if name not in ours)
    return Started(path, tuple(ours), tuple(new), tuple(frozen), left, config.new_layers_rate)


def _with_weights(model: Any) -> dict[str, Any]:
    """Name -> layer, of layers with weights, from the inputs to the output."""
    return {layer.name: layer for layer in model.layers if layer.weights}


def _shapes(layer: Any) -> list[tuple[str, tuple[int, ...]]]:
    return [(str(variable.name), tuple(variable.shape)) for variable in layer.weights]


def _meant(key: str, patterns: Iterable[str], layers: Mapping[str, Any]) -> list[str]:
    """The layers that some names and globs mean, in their order.

    Raises:
        ConfigError: one means none.
    """
    for pattern in patterns:
        if not fnmatch.filter(layers, pattern):
            raise ConfigError(f"{KEY}.{key}: '{pattern}' is no layer with weights{nearest(pattern, layers)}")
    return [name for name in layers if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _refuse_inputs(source: Any, model: Any, where: str) -> None:
    theirs = {tensor.name: tensor.shape for tensor in source.inputs}
    for tensor in model.inputs:
        if tensor.name not in theirs:
            raise ConfigError(
                f"{where}: was made without the input '{tensor.name}', which the model of this build takes; make the "
                f"sections model agree. Received: inputs {', '.join(sorted(theirs))}"
            )
        if theirs[tensor.name][-1] != tensor.shape[-1] and len(tensor.shape) > 2:
            raise ConfigError(
                f"{where}: takes {theirs[tensor.name][-1]} numbers per particle as '{tensor.name}', and this build "
                f"gives {tensor.shape[-1]}; choose data.features as it was trained with, or another model"
            )


def _refuse_layer(name: str, theirs: Mapping[str, Any], wanted: list[tuple[str, tuple[int, ...]]], where: str) -> None:
    way_out = f"make the sections model agree, or name it in {KEY}.new_layers"
    if name not in theirs:
        raise ConfigError(f"{where}: has no layer '{name}'{nearest(name, theirs)}; {way_out}")
    found = _shapes(theirs[name])
    if found != wanted:
        pairs = [(old, new) for old, new in zip(found, wanted, strict=False) if old != new]
        old, new = pairs[0] if pairs else (("weights", (len(found),)), ("weights", (len(wanted),)))
        raise ConfigError(
            f"{where}: layer '{name}' has {old[0]} {old[1]} there and {new[0]} {new[1]} in this build; {way_out}"
        )
