"""From a checkpoint of another framework to a saved Keras model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from qformers.builds.saved import save_model
from qformers.config.yaml_text import parse_yaml
from qformers.errors import WeightsError, nearest
from qformers.interop import erwin as upstream_erwin
from qformers.interop import hept as upstream_hept
from qformers.interop import hrrformer as upstream_hrrformer
from qformers.interop import weaver
from qformers.interop.checkpoint import read_checkpoint
from qformers.interop.state_dict import in_words
from qformers.models.erwin.config import ErwinConfig
from qformers.models.erwin.erwin import erwin
from qformers.models.hept.config import HeptConfig
from qformers.models.hept.hept import hept
from qformers.models.hrrformer.config import HrrformerConfig
from qformers.models.hrrformer.hrrformer import hrrformer
from qformers.models.part.config import PartConfig
from qformers.models.part.part import part
from qformers.models.sizes import Jet, Points
from qformers.nn.float32 import Float32

if TYPE_CHECKING:
    import keras

DTYPES = ("float32", "float64")
PARTICLES = 128  # of a ParT, where nobody says
ASSUMED = {  # no array shows these
    "part": ("activation", "pair_activation", "remove_self_pair", "pre_activation_pair"),
    "hept": ("block_size", "activation", "head_activation", "kernel", "dropout"),
    "erwin": ("balls", "rotate", "neighbours", "pads"),
    "hrrformer": (
        "heads", "residuals", "activation", "inverse", "masked", "mask_beta", "mask_pool", "scale_by_T",
        "cosine_epsilon", "dropout",
    ),
}  # fmt: skip
Config = TypeVar("Config", bound=BaseModel)
Imported = tuple["keras.Model", PartConfig | HeptConfig | ErwinConfig | HrrformerConfig]


@dataclass(frozen=True)
class Sizes:
    """What the file does not say about the model to be saved."""

    particles: int | None = None  # N, slots per event; None: 128 for part, any number for hept; erwin needs it;
    # hrrformer: what the vectors of places say, or the published length; of a pair of sequences N counts both
    dtype: str = "float32"  # or float64
    options: Mapping[str, Any] | None = None  # keys of the config that no array shows, e.g. {"activation": "relu"}
    task: str | None = None  # hept, erwin: which published model it is, a key of `TASKS` in `qformers.interop`;
    # hrrformer: of `qformers.models.hrrformer.published.PUBLISHED`


def part_from_weaver(state_dict: Mapping[str, Any], sizes: Sizes) -> Imported:
    """ParT with the weights of weaver-core's ParticleTransformer (see `weaver.load`).

    Raises:
        WeightsError: the weights are not those of a ParT, or an option is unknown or shown by the weights.
    """
    if sizes.task is not None:
        raise WeightsError(
            f"a task belongs to hept, erwin or hrrformer; the weights of a ParT show its sizes. Received: {sizes.task}"
        )
    config, num_features, num_classes = weaver.infer_config(state_dict)
    config = checked(PartConfig, {**config.model_dump(), **_options(sizes, "part", PartConfig)})
    jet = Jet(PARTICLES if sizes.particles is None else sizes.particles, num_features, num_classes)
    model = part(config, jet, Float32(sizes.dtype))
    weaver.load(model, state_dict)
    return model, config


def hept_from_upstream(state_dict: Mapping[str, Any], sizes: Sizes) -> Imported:
    """HEPT with the weights of Graph-COM/HEPT or HEPT-CMS (see `qformers.interop.hept.load`).

    Raises:
        WeightsError: no task or an unknown one, weights of another task, or an option that the task fixes.
    """
    tasks = upstream_hept.TASKS
    if sizes.task not in tasks:
        hint = nearest(sizes.task, tasks) if sizes.task else f"; choose one of {', '.join(tasks)}"
        raise WeightsError(f"hept needs a task, whose sizes the model gets{hint}. Received: task={sizes.task}")
    config = tasks[sizes.task]
    config = checked(HeptConfig, {**config.model_dump(), **_options(sizes, "hept", HeptConfig)})
    points = Points(sizes.particles, upstream_hept.num_features(state_dict, config))
    model = hept(config, points, Float32(sizes.dtype))
    upstream_hept.load(model, state_dict)
    return model, config


def erwin_from_upstream(state_dict: Mapping[str, Any], sizes: Sizes) -> Imported:
    """Erwin with the weights of maxxxzdn/erwin (see `qformers.interop.erwin.load`).

    Raises:
        WeightsError: no number of particles, an unknown task, neither a task nor balls, or weights of no Erwin.
    """
    tasks = upstream_erwin.TASKS
    if sizes.task is not None and sizes.task not in tasks:
        raise WeightsError(f"unknown task of erwin{nearest(sizes.task, tasks)}. Received: task={sizes.task}")
    if sizes.particles is None:
        raise WeightsError("erwin needs the number of points of an event: give --particles. Received: none")
    known = {**tasks.get(sizes.task or "", {}), **_named(sizes, "erwin")}
    config, num_features = upstream_erwin.infer_config(state_dict, known)
    model = erwin(config, Points(sizes.particles, num_features), Float32(sizes.dtype))
    upstream_erwin.load(model, state_dict)
    return model, config


def hrrformer_from_flax(params: Mapping[str, Any], sizes: Sizes) -> Imported:
    """Hrrformer with the weights of FutureComputing4AI/Hrrformer (see `qformers.interop.hrrformer.load`).

    Raises:
        WeightsError: no task or an unknown one, weights of another task, an option that the task fixes or the weights
            show, or a number of tokens that they do not allow.
    """
    published = upstream_hrrformer.published_task(sizes.task)
    options = _named(sizes, "hrrformer")
    arrays = upstream_hrrformer.normalised(params, published.model)
    shown = upstream_hrrformer.seen(arrays, published)
    intro = f"the sizes of these arrays, the task {sizes.task} and the options do not go together"
    config = checked(HrrformerConfig, {**published.model.model_dump(), **shown.sizes, **options}, intro)
    sequences = 2 if config.pair else 1
    tokens = sizes.particles or shown.places or sequences * published.length
    if shown.places not in (None, tokens):
        raise WeightsError(
            f"these weights have vectors of {shown.places} places; leave particles away. Received: particles={tokens}"
        )
    if tokens % sequences:
        raise WeightsError(f"particles counts both sequences and must be even. Received: particles={tokens}")
    model = hrrformer(config, Jet(tokens, 1, shown.classes), Float32(sizes.dtype))
    upstream_hrrformer.load(model, arrays, config)
    return model, config


def _options(sizes: Sizes, architecture: str, section: type[PartConfig | HeptConfig]) -> dict[str, Any]:
    """The options, checked one by one: the name against `ASSUMED`, the value against the section."""
    options = _named(sizes, architecture)
    checked(section, options)
    return options


def _named(sizes: Sizes, architecture: str) -> dict[str, Any]:
    """The options, whose names are in `ASSUMED`; their values are not looked at."""
    options, open_keys = dict(sizes.options or {}), ASSUMED[architecture]
    for key in options:
        if key not in open_keys:
            raise WeightsError(f"option '{key}' is not one that the weights leave open{nearest(key, open_keys)}")
    return options


def checked(section: type[Config], values: Mapping[str, Any], intro: str = "an option cannot be used") -> Config:
    """A section of these values.

    Raises:
        WeightsError: one of them cannot be; names, behind `intro`, the key, what it must be and the value.
    """
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        raise WeightsError(f"{intro}: {in_words(error)}") from error


IMPORTERS: dict[str, Callable[[Mapping[str, Any], Sizes], Imported]] = {
    "part": part_from_weaver,
    "hept": hept_from_upstream,
    "erwin": erwin_from_upstream,
    "hrrformer": hrrformer_from_flax,
}
READERS = {"hrrformer": upstream_hrrformer.read}  # of the others: `read_checkpoint`


def import_weights(architecture: str, source: Path, target: Path, sizes: Sizes) -> Imported:
    """Read the weights of another framework and save them as a Keras model; returns the model and its configuration.

    Args:
        architecture: a key of IMPORTERS.
        source: written by ``torch.save(model.state_dict(), ...)``, or its arrays in a ``.npz``; of hrrformer a
            ``.npz`` alone (`qformers.flax_files.EXPORT`).
        target: ends in ``.keras``. ParT has inputs ``features`` (B, N, F), ``vectors`` (B, N, 4), ``mask`` (B, N) and
            the output ``logits`` (B, classes); HEPT has ``features``, ``coords`` (B, N, C), ``mask`` and one row per
            point, and so has Erwin, with ``order`` and ``neighbours`` besides; Hrrformer has ``tokens`` (B, N),
            ``mask`` where something reads it, and ``logits``.
        sizes: N, data type and options.

    Raises:
        WeightsError: unknown architecture, unreadable file, wrong weights; nothing is written then.
        ConfigError: options that cannot go together.
    """
    if architecture not in IMPORTERS:
        raise WeightsError(f"unknown architecture '{architecture}'{nearest(architecture, IMPORTERS)}")
    if target.suffix != ".keras":
        raise WeightsError(f"the model to write must end in .keras. Received: {target}")
    if sizes.particles is not None and sizes.particles < 1:
        raise WeightsError(f"particles must be positive. Received: particles={sizes.particles}")
    if sizes.dtype not in DTYPES:
        raise WeightsError(f"unknown data type '{sizes.dtype}'{nearest(sizes.dtype, DTYPES)}")
    state = READERS.get(architecture, read_checkpoint)(source)
    try:
        model, config = IMPORTERS[architecture](state, sizes)
        wrong = [weight.path for weight in model.weights if not np.isfinite(np.asarray(weight)).all()]
        if wrong:
            raise WeightsError(f"'{wrong[0]}' is beyond {sizes.dtype}; take --dtype float64, or finite weights")
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from error
    save_model(model, target)
    return model, config


def parse_options(texts: list[str]) -> dict[str, Any]:
    """``["activation=relu"]`` as a mapping, values in YAML.

    Raises:
        WeightsError: a text without ``=``, a value that is not YAML.
    """
    for text in texts:
        if "=" not in text:
            raise WeightsError(f"--set needs key=value. Received: {text!r}")
    return {key: parse_yaml(value, f"--set {key}") for key, value in (text.split("=", 1) for text in texts)}
