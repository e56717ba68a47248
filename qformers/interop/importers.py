"""From a checkpoint of another framework to a saved Keras model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import yaml
from pydantic import ValidationError

from qformers.config import PartConfig, nearest
from qformers.files import replacing
from qformers.interop import weaver
from qformers.interop.checkpoint import read_checkpoint
from qformers.interop.errors import WeightsError
from qformers.models.part import Jet, part
from qformers.nn.float32 import Float32

DTYPES = ("float32", "float64")
ASSUMED = ("activation", "pair_activation", "remove_self_pair", "pre_activation_pair")  # no array shows these


@dataclass(frozen=True)
class Sizes:
    """What the file does not say about the model to be saved."""

    particles: int = 128  # N, slots per jet
    dtype: str = "float32"  # or float64
    options: Mapping[str, Any] | None = None  # keys of PartConfig that no array shows, e.g. {"activation": "relu"}


def part_from_weaver(state_dict: Mapping[str, Any], sizes: Sizes) -> tuple[keras.Model, PartConfig]:
    """ParT with the weights of weaver-core's ParticleTransformer (see `weaver.load`).

    Raises:
        WeightsError: the weights are not those of a ParT, or an option is unknown or shown by the weights.
    """
    config, num_features, num_classes = weaver.infer_config(state_dict)
    options = dict(sizes.options or {})
    for key in options:
        if key not in ASSUMED:
            raise WeightsError(f"option '{key}' is not one that the weights leave open{nearest(key, ASSUMED)}")
    try:
        config = PartConfig.model_validate({**config.model_dump(), **options})
    except ValidationError as error:
        raise WeightsError(f"an option cannot be used: {error}") from error
    model = part(config, Jet(sizes.particles, num_features, num_classes), Float32(sizes.dtype))
    weaver.load(model, state_dict)
    return model, config


IMPORTERS: dict[str, Callable[[Mapping[str, Any], Sizes], tuple[keras.Model, PartConfig]]] = {"part": part_from_weaver}


def import_weights(architecture: str, source: Path, target: Path, sizes: Sizes) -> tuple[keras.Model, PartConfig]:
    """Read a PyTorch checkpoint and save it as a Keras model; returns the model and its configuration.

    Args:
        architecture: a key of IMPORTERS.
        source: written by ``torch.save(model.state_dict(), ...)``.
        target: ends in ``.keras``. Inputs ``features`` (B, N, F), ``vectors`` (B, N, 4), ``mask`` (B, N); output
            ``logits`` (B, classes).
        sizes: N, data type and options.

    Raises:
        WeightsError: unknown architecture, unreadable file, wrong weights; nothing is written then.
        ConfigError: options that cannot go together.
    """
    if architecture not in IMPORTERS:
        raise WeightsError(f"unknown architecture '{architecture}'{nearest(architecture, IMPORTERS)}")
    if target.suffix != ".keras":
        raise WeightsError(f"the model to write must end in .keras. Received: {target}")
    if sizes.particles < 1:
        raise WeightsError(f"particles must be positive. Received: particles={sizes.particles}")
    if sizes.dtype not in DTYPES:
        raise WeightsError(f"unknown data type '{sizes.dtype}'{nearest(sizes.dtype, DTYPES)}")
    model, config = IMPORTERS[architecture](read_checkpoint(source), sizes)
    with replacing(target) as temporary:
        model.save(temporary)
    return model, config


def parse_options(texts: list[str]) -> dict[str, Any]:
    """``["activation=relu"]`` as a mapping, values in YAML.

    Raises:
        WeightsError: a text without ``=``.
    """
    for text in texts:
        if "=" not in text:
            raise WeightsError(f"--set needs key=value. Received: {text!r}")
    return {key: yaml.safe_load(value) for key, value in (text.split("=", 1) for text in texts)}
