"""ParT weights of weaver-core (PyTorch) in our Keras model, and the sizes they were trained with.

weaver-core 0.5.3, ``ParticleTransformer`` version 1. A state dict is a mapping name -> array as PyTorch's
``state_dict()`` gives it; arrays may be NumPy or PyTorch. PyTorch keeps matrices as (out, in), Keras as (in, out):
every array is transposed, then reshaped to its Keras shape, which also splits the columns of Q, K and V into heads.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from pydantic import ValidationError

from qformers.errors import WeightsError
from qformers.interop.state_dict import Array, Shape, array_of, fill, in_words, prefix_of
from qformers.models.part.config import PartConfig

ANCHOR = "embed.input_bn.weight"  # present in every ParT; what stands before it is the prefix of a wrapper
MODULES = {
    "input_norm": "embed.input_bn",
    "pair_input_norm": "pair_embed.embed.0",
    "cls_token": "cls_token",
    "final_norm": "norm",
}
BLOCK_MODULES = {
    "attn_pre_norm": "pre_attn_norm",
    "attn_q": "attn.in_proj",  # rows of Q, then of K, then of V
    "attn_k": "attn.in_proj",
    "attn_v": "attn.in_proj",
    "attn_out": "attn.out_proj",
    "attn_heads": "c_attn",
    "attn_post_norm": "post_attn_norm",
    "ffn_pre_norm": "pre_fc_norm",
    "ffn_fc1": "fc1",
    "ffn_norm": "post_fc_norm",
    "ffn_fc2": "fc2",
    "ffn_resid": "w_resid",
}
ENDINGS = {  # our variable -> end of weaver's name
    "kernel": ".weight",
    "gamma": ".weight",
    "bias": ".bias",
    "beta": ".bias",
    "moving_mean": ".running_mean",
    "moving_variance": ".running_var",
    "factor": "",  # c_attn and w_resid are parameters of the block itself
    "token": "",
}


@dataclass(frozen=True)
class WeaverEntry:
    """One Keras variable and where its values are: part `part` of `parts` equal parts of the rows of a weaver entry."""

    variable: keras.Variable
    entry: str
    shape: Shape  # of the whole entry
    part: int = 0
    parts: int = 1

    def cut(self, entry: Array) -> Array:
        """The values of the variable, in its own shape, out of the whole entry."""
        rows = len(entry) // self.parts
        return entry[self.part * rows : (self.part + 1) * rows].T.reshape(self.variable.shape)


def load(model: keras.Model, state_dict: Mapping[str, Any]) -> None:
    """Fill a float ParT in place with weaver weights.

    Args:
        model: made by `qformers.models.part.part.part` with the float vocabulary and ``norm: layer``.
        state_dict: name -> array. Older ``attn.in_proj_weight`` names and the prefix of a wrapper (``mod.``) are
            accepted, ``num_batches_tracked`` is ignored.

    Raises:
        WeightsError: entries are missing, left over, of another shape or not finite (all are named), or the model has
            weights that weaver has no name for. The model is then as it was.
    """
    intro = f"these weights do not fit the model '{model.name}'; infer_config gives the sizes they were trained with:"
    fill(normalised(state_dict), _slots(model), intro)


def infer_config(state_dict: Mapping[str, Any]) -> tuple[PartConfig, int, int]:
    """Sizes of a state dict, as (configuration, number of features, number of classes).

    What no array shows (activations, dropout, ``remove_self_pair``, ``pre_activation_pair``) is as published.

    Raises:
        WeightsError: the entries are not those of a ParT, or sizes contradict each other.
    """
    shapes = {name: array.shape for name, array in normalised(state_dict).items()}
    if ANCHOR not in shapes:
        names = ", ".join(sorted(shapes)[:3]) or "nothing"
        raise WeightsError(f"not the weights of weaver-core's ParticleTransformer: no entry '{ANCHOR}'; found {names}")
    embed_widths = _stack(shapes, "embed.embed.{}.weight", step=3, first=1)
    pair_widths = _stack(shapes, "pair_embed.embed.{}.weight", step=3, first=1)
    class_blocks = len(_stack(shapes, "cls_blocks.{}.fc1.weight"))
    fc_widths = _stack(shapes, "fc.{}.0.weight")
    if "blocks.0.c_attn" in shapes:
        heads = shapes["blocks.0.c_attn"][0]
    elif pair_widths:
        heads = pair_widths[-1]
    else:
        raise WeightsError(
            "the number of heads shows in 'blocks.0.c_attn' or in the pair network, and both are missing; "
            "build the model from a PartConfig of your own and use load"
        )
    sizes: dict[str, Any] = {
        "embed_widths": embed_widths,
        "heads": heads,
        "blocks": len(_stack(shapes, "blocks.{}.fc1.weight")),
        "class_blocks": class_blocks,
        "head": "class_token" if class_blocks else "mean",
        "ffn_ratio": _rows(shapes, "blocks.0.fc1.weight") // _rows(shapes, "norm.weight"),
        "fc_widths": fc_widths,
        "scale_fc": "blocks.0.post_fc_norm.weight" in shapes,
        "scale_attn": "blocks.0.post_attn_norm.weight" in shapes,
        "scale_heads": "blocks.0.c_attn" in shapes,
        "scale_resids": "blocks.0.w_resid" in shapes,
    }
    sizes |= {"pairs": "vectors", "pair_widths": pair_widths[:-1]} if pair_widths else {"pairs": "none"}
    try:
        config = PartConfig(**sizes)
    except ValidationError as error:
        raise WeightsError(f"the sizes of these weights contradict each other: {in_words(error)}") from error
    return config, _rows(shapes, ANCHOR), _rows(shapes, f"fc.{len(fc_widths)}.weight")


def normalised(state_dict: Mapping[str, Any]) -> dict[str, Array]:
    """NumPy arrays under weaver-core 0.5.3 names: no prefix, no counters, ``in_proj.weight`` for ``in_proj_weight``.

    Raises:
        WeightsError: an entry is not an array of numbers, or stands there under its old and its new name.
    """
    prefix = prefix_of(state_dict, ANCHOR)
    arrays: dict[str, Array] = {}
    for name, value in state_dict.items():
        if name.endswith(".num_batches_tracked"):
            continue
        short = re.sub(r"\.in_proj_(weight|bias)$", r".in_proj.\1", name.removeprefix(prefix))
        if short in arrays:
            raise WeightsError(f"two entries stand for '{short}'; keep one of them. Received: {name} as well")
        arrays[short] = array_of(name, value)
    return arrays


def _slots(model: keras.Model) -> list[WeaverEntry]:
    """Where each variable of the model finds its values."""
    slots, strangers = [], []
    for layer in model.layers:
        for variable in layer.weights:
            module = _module(layer.name)
            if layer.name == "logits":
                module = f"fc.{sum(re.fullmatch(r'fc[0-9]+', other.name) is not None for other in model.layers)}"
            if module is None or variable.name not in ENDINGS:
                strangers.append(f"{layer.name}/{variable.name}")
                continue
            part = "qkv".index(layer.name[-1]) if module.endswith("in_proj") else 0
            parts = 3 if module.endswith("in_proj") else 1
            shape = _entry_shape(module, variable, parts)
            slots.append(WeaverEntry(variable, module + ENDINGS[variable.name], shape, part, parts))
    if strangers:
        raise WeightsError(
            "weaver has no weights for these; load into a float model with pairs: vectors or none, then convert it. "
            f"Received: {', '.join(strangers)}"
        )
    return slots


def _module(layer: str) -> str | None:
    """weaver's module for one of our layers, None if it has none."""
    if match := re.fullmatch(r"([bc])(\d+)_(\w+)", layer):
        module = BLOCK_MODULES.get(match[3])
        return module and f"{'blocks' if match[1] == 'b' else 'cls_blocks'}.{match[2]}.{module}"
    if match := re.fullmatch(r"(embed|pair|fc)(\d+)(_norm)?", layer):
        stack, number = match[1], int(match[2])
        if stack == "fc":
            return f"fc.{number}.0"
        if stack == "embed":  # Sequential(norm, linear, activation, ...)
            return f"embed.embed.{3 * number + (0 if match[3] else 1)}"
        return (
            f"pair_embed.embed.{3 * number + (2 if match[3] else 1)}"  # (norm, linear, norm, activation, linear, ...)
        )
    return MODULES.get(layer)


def _entry_shape(module: str, variable: keras.Variable, parts: int) -> Shape:
    """Shape of the weaver entry that holds a variable; `parts` variables share it."""
    shape = tuple(variable.shape)
    if variable.name == "token":
        return shape
    if variable.name != "kernel":
        return (parts * math.prod(shape),)
    rows = math.prod(shape[1:]) if parts > 1 else shape[-1]  # kernels: (D, H, d) of Q, K, V; (..., out) elsewhere
    convolution = (1,) if module.startswith("pair_embed") else ()
    return (parts * rows, math.prod(shape) // rows, *convolution)


def _rows(shapes: Mapping[str, Shape], name: str) -> int:
    if not shapes.get(name):
        raise WeightsError(f"the sizes cannot be inferred: entry '{name}' is missing or a single number")
    return shapes[name][0]


def _stack(shapes: Mapping[str, Shape], pattern: str, step: int = 1, first: int = 0) -> tuple[int, ...]:
    """Rows of the entries pattern.format(first), pattern.format(first + step), ... as far as they go."""
    names = (pattern.format(index) for index in itertools.count(first, step))
    return tuple(_rows(shapes, name) for name in itertools.takewhile(shapes.__contains__, names))
