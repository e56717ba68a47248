"""Hrrformer weights of FutureComputing4AI/Hrrformer (flax) in our Keras model.

The parameters are a mapping name -> array, names as flax numbers its modules, joined by ``/``. Dense kernels are
(in, out) in flax as in Keras; the output axis of queries, keys and values, and the input axis of what follows
attention, is (heads, n) with the heads slow, so that entries are reshaped and never turned.

Upstream's scripts save a pickle, which can run anything when it is opened and is never read here:
`qformers.flax_files.EXPORT` makes a ``.npz`` of it where it was trained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qformers.data.points.arrays import read_npz
from qformers.errors import DataError, WeightsError, nearest
from qformers.flax_files import EXPORT, refuse_other_files
from qformers.interop.state_dict import Array, Shape, array_of, fill
from qformers.models.hrrformer.config import HrrformerConfig
from qformers.models.hrrformer.published import PUBLISHED, Published

if TYPE_CHECKING:
    import keras

WRAPPERS = ("", "params/", "params/params/")  # what may be in front of all names
ENDINGS = {"kernel": "kernel", "bias": "bias", "gamma": "scale", "beta": "bias"}  # of dense layers and norms
TABLES = {"kernel": "Embed_0", "bias": "Embed_1"}  # of tokens and of places


@dataclass(frozen=True)
class Names:
    """What flax calls the modules of a model.

    Attributes:
        embedding: of tokens and places.
        root: of the encoder, in front of a layer.
        layer: without its number.
        attention: the dense layers q, k, v and out.
        mlp: the feed-forward part.
    """

    embedding: str
    root: str
    layer: str
    attention: Mapping[str, str]
    mlp: str

    def layers_in(self, arrays: Mapping[str, Array]) -> int:
        """How many different layers there are entries of."""
        found = (re.match(rf"{re.escape(self.root + self.layer)}([0-9]+)/", name) for name in arrays)
        return len({match[1] for match in found if match})


def names_of(config: HrrformerConfig) -> Names:
    """The names of upstream's script for such a model: EMBER's, Retrieval's, or that of the other tasks."""
    if config.head == "class_token":
        attention = {which: f"MHAttention_0/Dense_{index}" for index, which in enumerate(("q", "k", "v", "out"))}
        return Names("Embedding_0", "", "Encoder_", attention, "FeedForwardLayer_0")
    root = "" if config.pair else "Encoder_0/"
    attention = {"q": "query", "k": "key", "v": "value", "out": "output"}
    return Names(
        f"{root}Embedding{'Learned' if config.positions == 'learned' else 'Fixed'}_0",
        root,
        "EncoderLayer_",
        {which: f"SelfAttention_0/{name}" for which, name in attention.items()},
        "MLP_0",
    )


@dataclass(frozen=True)
class HrrformerEntry:
    """One Keras variable and the entry that holds its values, of shape `shape`."""

    variable: keras.Variable
    entry: str
    shape: Shape

    def cut(self, entry: Array) -> Array:
        """The values of the variable, in its own shape."""
        return entry.reshape(self.variable.shape)


def read(path: Path) -> dict[str, Any]:
    """The arrays of a ``.npz`` by name.

    Raises:
        WeightsError: another file, or a damaged one, or one that holds other than arrays of numbers and text.
    """
    refuse_other_files(path)
    try:
        return dict(read_npz(path))
    except DataError as error:
        raise WeightsError(f"{error}; these lines write one of the params of flax: {EXPORT}") from error


def published_task(task: str | None) -> Published:
    """The published model of a task.

    Raises:
        WeightsError: none, or an unknown one.
    """
    if task not in PUBLISHED:
        hint = nearest(task, PUBLISHED) if task else f"; choose one of {', '.join(PUBLISHED)}"
        raise WeightsError(f"hrrformer needs a task, whose form the model gets{hint}. Received: task={task}")
    return PUBLISHED[task]


@dataclass(frozen=True)
class Seen:
    """What the arrays say of a model; where an array is not there, what was published.

    Attributes:
        sizes: keys of the configuration.
        places: vectors of places, T; None where they are not learned.
        classes: of the output.
    """

    sizes: Mapping[str, Any]
    places: int | None
    classes: int


def seen(arrays: Mapping[str, Array], published: Published) -> Seen:
    """The sizes of a model of this task, from `normalised` arrays."""
    config = published.model
    names = names_of(config)

    def size(entry: str, axis: int, default: int) -> int:
        array = arrays.get(entry)
        return default if array is None or array.ndim != 2 or not array.size else int(array.shape[axis])

    table = f"{names.embedding}/Embed_0/embedding"
    hidden = f"{names.root}{names.layer}0/{names.mlp}/Dense_0/kernel"
    sizes = {
        "vocabulary": size(table, 0, config.vocabulary),
        "embed_widths": (size(table, 1, config.width),),
        "blocks": names.layers_in(arrays) or config.blocks,
        "ffn_width": size(hidden, 1, config.ffn_width),
        "fc_widths": (size("Dense_0/kernel", 1, config.fc_widths[0]),),
    }
    learned = config.positions == "learned"
    places = size(f"{names.embedding}/Embed_1/embedding", 0, published.length) if learned else None
    return Seen(sizes, places, size("Dense_1/kernel", 1, published.classes))


def normalised(params: Mapping[str, Any], config: HrrformerConfig) -> dict[str, Array]:
    """NumPy arrays under flax's names, without the ``params/`` in front.

    Raises:
        WeightsError: an entry is not an array of numbers, or the table of tokens is not there, without which these are
            the weights of something else.
    """
    table = f"{names_of(config).embedding}/Embed_0/embedding"
    prefixes = [prefix for prefix in WRAPPERS if prefix + table in params]
    if not prefixes:
        found = ", ".join(sorted(params)[:3]) or "nothing"
        likely = [task for task, other in PUBLISHED.items() if _table_there(params, other.model)]
        hint = f"; perhaps the task is {' or '.join(likely)}" if likely else ""
        raise WeightsError(f"not the weights of this task's Hrrformer: no table '{table}'; found {found}{hint}")
    return {name.removeprefix(prefixes[0]): array_of(name, value) for name, value in params.items()}


def _table_there(params: Mapping[str, Any], config: HrrformerConfig) -> bool:
    return any(f"{prefix}{names_of(config).embedding}/Embed_0/embedding" in params for prefix in WRAPPERS)


def load(model: keras.Model, params: Mapping[str, Any], config: HrrformerConfig) -> None:
    """Fill a float Hrrformer in place with upstream weights.

    Args:
        model: made by `qformers.models.hrrformer.hrrformer.hrrformer` with the float vocabulary, of tokens, with
            ``norm: layer`` and ``form: fft``.
        params: name -> array; ``params/`` or ``params/params/`` in front of all names is accepted.
        config: of the model.

    Raises:
        WeightsError: entries are missing, left over, of another shape or not finite (all are named), or the model has
            weights that upstream has no name for. The model is then as it was.
    """
    intro = f"these weights do not fit the model '{model.name}', residuals={config.residuals}:"
    fill(normalised(params, config), slots(model, config), intro)


def slots(model: keras.Model, config: HrrformerConfig) -> list[HrrformerEntry]:
    """Where each variable of the model finds its values.

    Raises:
        WeightsError: upstream has no name for one of them.
    """
    found, strangers = [], []
    for layer in model.layers:
        for variable in layer.weights:
            entry = _entry(config, layer.name, variable.name)
            if entry is None:
                strangers.append(f"{layer.name}/{variable.name}")
            else:
                found.append(HrrformerEntry(variable, entry, _shape(layer.name, variable)))
    if strangers:
        raise WeightsError(
            "upstream has no weights for these; load into a float model of tokens with norm: layer and form: fft. "
            f"Received: {', '.join(strangers)}"
        )
    return found


def _entry(config: HrrformerConfig, layer: str, variable: str) -> str | None:
    """Upstream's name for one of our variables, None if it has none."""
    names = names_of(config)
    if layer == "class_token":
        return "cls_token"
    if layer == "embed" and config.vocabulary:
        return f"{names.embedding}/{TABLES[variable]}/embedding" if variable in TABLES else None
    module = None
    if layer == "embed_norm":
        module = f"{names.root}LayerNorm_0"
    elif match := re.fullmatch(r"b([0-9]+)_(\w+)", layer):
        inner = _module(config, names, match[2])
        module = inner and f"{names.root}{names.layer}{match[1]}/{inner}"
    elif match := re.fullmatch(r"fc([0-9]+)", layer):
        module = f"Dense_{match[1]}"
    elif layer == "logits":
        module = f"Dense_{len(config.fc_widths)}"
    ending = ENDINGS.get(variable)
    return f"{module}/{ending}" if module and ending else None


def _module(config: HrrformerConfig, names: Names, part: str) -> str | None:
    """Upstream's name for a part of a layer. Norms are counted, and ``half`` has none of attention."""
    if part == "attn_norm":
        return "LayerNorm_0"
    if part == "ffn_norm":
        return "LayerNorm_0" if config.residuals == "half" else "LayerNorm_1"
    if part in ("ffn_hidden", "ffn_out"):
        return f"{names.mlp}/Dense_{int(part == 'ffn_out')}"
    return names.attention.get(part.removeprefix("attn_"))


def _shape(layer: str, variable: keras.Variable) -> Shape:
    """Of the entry that holds a variable: heads and their numbers are one axis there."""
    shape = tuple(variable.shape)
    if re.fullmatch(r"b[0-9]+_attn_[qkv]", layer):
        return (*shape[:-2], int(np.prod(shape[-2:])))
    if re.fullmatch(r"b[0-9]+_attn_out", layer) and variable.name == "kernel":
        return (int(np.prod(shape[:2])), shape[2])
    return shape
