"""Keras models of builds: made from a build file, or read from a ``.keras`` file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

import qformers.models.erwin.layers
import qformers.models.erwin.tables
import qformers.models.hept.layers
import qformers.models.hept.tables
import qformers.models.hrrformer.layers
import qformers.models.hrrformer.tables
import qformers.models.part.layers
import qformers.models.part.pairs
import qformers.nn.hgq
import qformers.nn.index.ball_slots
import qformers.nn.index.lsh
import qformers.nn.index.padding
import qformers.nn.index.pairs
import qformers.nn.index.rounded_pairs
import qformers.nn.index.select
import qformers.nn.index.sorted_order
import qformers.nn.table  # noqa: F401  these imports register the layers and functions that saved models are made of
from qformers.builds.archive import check_keras_archive
from qformers.builds.build import Build
from qformers.builds.saved import check_recorded
from qformers.config.section import architecture_of
from qformers.data import dataset_of
from qformers.data.events import FeatureSet
from qformers.errors import ConfigError, first_line, nearest
from qformers.files import BROKEN_ZIP
from qformers.models import arch_of
from qformers.models.sizes import Jet
from qformers.nn import VOCABULARIES
from qformers.quant.phases import plan, shares

# what Keras raises for an archive that is whole, but says what no model is: it calls what the configuration names
BROKEN_MODEL = (*BROKEN_ZIP, AssertionError, AttributeError, ImportError, LookupError, MemoryError, TypeError)


def load_model(path: Path | str) -> keras.Model:
    """Read a ``.keras`` file of this package in safe mode; float or quantised, uncompiled.

    Raises:
        ConfigError: no such file, or not a Keras model.
        DamagedError: the manifest beside it names another file.
    """
    check_recorded(Path(path))
    held = check_keras_archive(Path(path), ConfigError)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except BROKEN_MODEL as error:
        reason = _lambda_in(held.config) or _reason(error)
        raise ConfigError(f"{path}: is not a model file that can be read: {reason}") from error
    for layer in model.layers:
        if (share := getattr(layer, "ebops_factor", 1.0)) != 1.0:
            _count(layer, share)  # the file has the share of the layer, and not of those that it makes for itself
    return model


def _lambda_in(config: Any) -> str:
    """What is said of the first Lambda layer in the configuration of a model; "" where there is none."""
    if isinstance(config, dict) and config.get("class_name") == "Lambda":
        inside = config.get("config")
        name = inside.get("name") if isinstance(inside, dict) else ""
        return (
            f"layer '{str(name)[:100]}' is a Lambda, and Python code in a file (a lambda) is not run: write it of "
            "layers of Keras (Rescaling, Activation, Multiply, Permute ...) and save the model again"
        )
    parts = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    return next((found for part in parts if (found := _lambda_in(part))), "")


def _reason(error: Exception) -> str:
    """What Keras' message comes down to: a class that is not there hides behind pages of configuration."""
    text = str(error).strip()
    if missing := re.search(r"Could not locate (?:class|function) '([^']+)'", text):
        return (
            f"it has a layer or function '{missing[1][:100]}', which is neither Keras's, HGQ2's nor this program's; "
            "save it with the version that made it, or import it (qformers import)"
        )
    return first_line(error, 400)


def fresh_model(build: Build, vocabulary: str = "float32") -> keras.Model:
    """The Keras model of a build before its training, weights drawn from the build's seed; no file of events is opened.

    Args:
        build: the build file.
        vocabulary: "float32" or "hgq".

    Raises:
        DataError: an unknown data set, feature set or class.
        ConfigError: as `build_model`, or fixed point without a section `quant`.
    """
    if vocabulary == "hgq" and build.quant is None:
        raise ConfigError(
            f"build '{build.name}': a model in fixed point needs the section 'quant' (quant: {{}} takes the defaults). "
            "Received: quant=None"
        )
    feature_set, class_names = dataset_of(build.data.dataset).numbers(build.data)
    keras.utils.set_random_seed(build.seed)
    return build_model(build, feature_set, class_names, vocabulary)


def build_model(
    build: Build, feature_set: FeatureSet, class_names: Sequence[str], vocabulary: str = "float32"
) -> keras.Model:
    """The Keras model of a build.

    Args:
        build: the build file.
        feature_set: the F numbers per particle, from the data set.
        class_names: the labels, from the data set, or the names of its targets; an output for each.
        vocabulary: "float32" or "hgq".

    Raises:
        ConfigError: unknown architecture or vocabulary, or a configuration that the vocabulary cannot say.
        Unfolded: a quantised model whose firmware takes an event beat by beat, and a layer of it cannot.
    """
    if vocabulary not in VOCABULARIES:
        raise ConfigError(f"unknown vocabulary '{vocabulary}'{nearest(vocabulary, VOCABULARIES)}")
    jets = build.data.points is None  # points have no classes
    if isinstance(class_names, str) or (jets and not class_names) or not all(isinstance(n, str) for n in class_names):
        raise ConfigError(f"class_names is a list of names of classes, one or more. Received: {class_names!r}")
    jet = Jet(build.data.num_particles, len(feature_set), len(class_names), feature_set)
    try:
        nn = VOCABULARIES[vocabulary](build.quant)
    except ConfigError as error:
        raise ConfigError(f"{build.name}: {error}") from error
    arch = arch_of(architecture_of(build.model))
    if arch is None:
        raise ConfigError(f"unknown architecture '{architecture_of(build.model)}'")
    cfg = arch.fixed(build.model) if vocabulary == "hgq" else build.model
    model = arch.build(cfg, jet, nn)
    if not isinstance(model, keras.Model):
        raise ConfigError(
            f"architecture '{architecture_of(build.model)}': its function `build` returns the Keras model that "
            f"nn.model(...) gives. Received: {type(model).__name__}"
        )
    if jets and tuple(model.output.shape[1:]) != (len(class_names),):
        raise ConfigError(
            f"{build.name}: jets need a number per class, ({len(class_names)},), clusters one per target, and this "
            "model gives "
            f"{tuple(model.output.shape[1:])}; set model.head: jet, or what the architecture calls it. "
            f"Received: model.head={getattr(build.model, 'head', None)}"
        )
    if vocabulary == "hgq" and build.firmware.together is not None:
        cut = plan(model, build.firmware.together, keys=build.firmware.keys_per_clock)
        for name, share in shares(cut).items():
            _count(model.get_layer(name), share)
    return model


def _count(layer: Any, share: float) -> None:
    """Have HGQ2 count a share of the EBOPs of a layer, and of the layers in it (the tables of a softmax)."""
    for part in layer._flatten_layers():
        if "ebops_factor" in vars(part):
            part.ebops_factor = share
