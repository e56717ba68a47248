"""Erwin weights of maxxxzdn/erwin (PyTorch) in our Keras model.

A state dict is a mapping name -> array as PyTorch's ``state_dict()`` gives it; arrays may be NumPy or PyTorch. PyTorch
keeps matrices as (out, in), Keras as (in, out). Queries, keys and values are one matrix there, whose outputs count
heads, then channels, then q, k, v: output (h E + e) 3 + i. Running variances are taken as they are: PyTorch's estimate
is the unbiased one, Keras' is not, which only a further training sees. Upstream's decoder counts from the bottleneck.

Only the standard model is read. That of upstream's flash attention counts q, k, v first and has no distance bias, so
that the factor of the distances is missing in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from pydantic import ValidationError

from qformers.errors import WeightsError
from qformers.interop.state_dict import Array, Shape, array_of, fill, in_words, prefix_of
from qformers.models.erwin.config import ErwinConfig

ANCHOR = "embed.embed_fn.weight"  # present in every Erwin; what stands before it is the prefix of a wrapper
HEADS = ("pred_head", "proj_model")  # modules of the wrappers that make outputs of the channels
COUNTED = ".num_batches_tracked"  # of batch norms; nothing reads it
ENDINGS = {
    "kernel": ".weight", "gamma": ".weight", "scale": ".weight", "bias": ".bias", "beta": ".bias",
    "moving_mean": ".running_mean", "moving_variance": ".running_var",
}  # fmt: skip
BLOCK = {
    "attn_norm": "norm1", "ffn_norm": "norm2", "attn_place": "BMSA.pe_proj", "attn_q": "BMSA.qkv",
    "attn_k": "BMSA.qkv", "attn_v": "BMSA.qkv", "attn_out": "BMSA.proj", "attn_sigma": "BMSA.sigma_att",
    "ffn": "swiglu.w2", "ffn_gate": "swiglu.w1", "ffn_out": "swiglu.w3",
}  # fmt: skip
STEP = {
    "message": "message_fns.{}.0", "message_norm": "message_fns.{}.2", "update": "update_fns.{}.0",
    "update_norm": "update_fns.{}.1",
}  # fmt: skip

# Published settings that no weight shows, by task.
TASKS: dict[str, dict[str, Any]] = {
    "md": {"balls": (128, 128, 128, 64, 32)},
    "eagle": {"balls": (256, 256, 256, 128, 128)},
    "cosmology": {"balls": (256, 256, 256, 256), "neighbours": 10},
    "shapenet": {"balls": (256, 256), "neighbours": 8},
    "pde": {"balls": (256, 256), "neighbours": 8},
}


@dataclass(frozen=True)
class ErwinEntry:
    """One Keras variable and the entry that holds its values, of shape `shape`."""

    variable: keras.Variable
    entry: str
    shape: Shape
    taken: Callable[[Array], Array]  # from the entry to the values in any shape

    def cut(self, entry: Array) -> Array:
        """The values of the variable, in its own shape."""
        return self.taken(entry).reshape(self.variable.shape)


def load(model: keras.Model, state_dict: Mapping[str, Any]) -> None:
    """Fill a float Erwin in place with upstream weights.

    Args:
        model: made by `qformers.models.erwin.erwin.erwin` with the float vocabulary and ``distance: exact``.
        state_dict: name -> array; the prefix of a wrapper (``main_model.``) is accepted. What a wrapper has beside the
            model and its head makes the features, and is not read.

    Raises:
        WeightsError: entries are missing, left over, of another shape or not finite (all are named), or the model has
            weights that upstream has no name for. The model is then as it was.
    """
    arrays = normalised(state_dict)
    slots = _slots(model)
    config = ErwinConfig.model_validate(model.memory.config)
    for entry, shape in _unused(config).items():
        if entry in arrays and arrays[entry].shape == shape:
            del arrays[entry]
    if config.head == "none":
        arrays = {name: array for name, array in arrays.items() if not name.startswith("head.")}
    fill(arrays, slots, f"these weights do not fit the model '{model.name}':")


def infer_config(state_dict: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[ErwinConfig, int]:
    """The configuration of a state dict, and F, the columns of the input `features`.

    Args:
        state_dict: see `load`.
        known: keys that no weight shows, e.g. balls.

    Raises:
        WeightsError: the entries are not those of an Erwin, or balls is missing.
    """
    arrays = normalised(state_dict)
    if ANCHOR not in arrays or arrays[ANCHOR].ndim != 2:
        names = ", ".join(sorted(arrays)[:3]) or "nothing"
        raise WeightsError(f"not the weights of an Erwin: no matrix '{ANCHOR}'; found {names}")
    if "balls" not in known:
        raise WeightsError(
            f"no weight shows how many points see each other: give the balls, e.g. --set balls=[256,256], or a --task "
            f"of {', '.join(TASKS)}. Received: neither"
        )
    levels = 1 + _count(arrays, r"encoder\.(\d+)\.")
    decode = levels == 1 or any(name.startswith("decoder.") for name in arrays)
    down = [f"encoder.{level}" for level in range(levels - 1)] + ["bottleneck"]
    up = [f"decoder.{levels - 2 - level}" for level in range(levels - 1)] if decode else []
    widths = [int(_of(arrays, f"{place}.blocks.0.norm1.weight").shape[0]) for place in down]
    d = int(_of(arrays, "bottleneck.blocks.0.BMSA.pe_proj.weight").shape[-1])
    strides = [
        int(_of(arrays, f"{place}.pool.proj.weight").shape[-1]) // (width + d)
        for place, width in zip(down[:-1], widths[:-1], strict=True)
    ]
    hidden = [int(name.split(".")[1]) for name in arrays if re.fullmatch(r"head\.\d+\.weight", name)]
    shown: dict[str, Any] = {
        "coords": d,
        "widths": widths,
        "strides": strides,
        "enc_heads": [_heads(arrays, place) for place in down],
        "enc_depths": [_depth(arrays, place) for place in down],
        "dec_heads": [_heads(arrays, place) for place in up],
        "dec_depths": [_depth(arrays, place) for place in up],
        "mlp_ratio": int(_of(arrays, "bottleneck.blocks.0.swiglu.w1.weight").shape[0]) // widths[-1],
        "mp_steps": _count(arrays, r"embed\.mpnn\.message_fns\.(\d+)\."),
        "decode": decode,
        "head": "none",
        "head_widths": (),
    }
    if hidden or "head.weight" in arrays:
        last = _of(arrays, f"head.{max(hidden)}.weight" if hidden else "head.weight")
        between = [int(arrays[f"head.{number}.weight"].shape[0]) for number in sorted(hidden)[:-1]]
        shown |= {"head": "points", "head_widths": between, "outputs": int(last.shape[0])}
    try:
        return ErwinConfig.model_validate({**shown, **known}), int(arrays[ANCHOR].shape[1])
    except ValidationError as error:
        raise WeightsError(f"these sizes and options are not those of an Erwin: {in_words(error)}") from error


def normalised(state_dict: Mapping[str, Any]) -> dict[str, Array]:
    """NumPy arrays under upstream's names without the prefix of a wrapper; its head as ``head``.

    Raises:
        WeightsError: an entry is not an array of numbers.
    """
    prefix = prefix_of(state_dict, ANCHOR)
    wrapper = prefix[: prefix.rstrip(".").rfind(".") + 1]
    arrays = {}
    for name, value in state_dict.items():
        inside = name.removeprefix(wrapper).split(".", 1)
        if name.startswith(prefix) and not name.endswith(COUNTED):
            arrays[name.removeprefix(prefix)] = array_of(name, value)
        elif prefix and name.startswith(wrapper) and inside[0] in HEADS:
            arrays[f"head.{inside[1]}"] = array_of(name, value)
    return arrays


def _of(arrays: Mapping[str, Array], name: str) -> Array:
    if name not in arrays or not arrays[name].ndim:
        raise WeightsError(f"not the weights of an Erwin: no array '{name}'; found {len(arrays)} others")
    return arrays[name]


def _count(arrays: Mapping[str, Array], pattern: str) -> int:
    """Modules of a list that a pattern counts."""
    return len({match[1] for name in arrays if (match := re.match(pattern, name))})


def _heads(arrays: Mapping[str, Array], place: str) -> int:
    return int(_of(arrays, f"{place}.blocks.0.BMSA.sigma_att").size)


def _depth(arrays: Mapping[str, Array], place: str) -> int:
    return _count(arrays, re.escape(place) + r"\.blocks\.(\d+)\.")


def _unused(config: ErwinConfig) -> dict[str, Shape]:
    """Entries of pooling by strides of 1, which upstream makes and never reads."""
    shapes: dict[str, Shape] = {}
    for level, stride in enumerate(config.strides):
        if stride == 1:
            width, module = config.widths[level], f"encoder.{level}.pool"
            shapes[f"{module}.proj.weight"] = (width, width + config.coords)
            shapes |= {f"{module}.norm.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
            shapes[f"{module}.proj.bias"] = (width,)
    return shapes


def _slots(model: keras.Model) -> list[ErwinEntry]:
    """Where each variable of the model finds its values."""
    config = ErwinConfig.model_validate(model.memory.config)
    slots, strangers = [], []
    for layer in model.layers:
        module = _module(layer.name, config)
        for variable in layer.weights:
            ending = "" if module and module.endswith("sigma_att") else ENDINGS.get(variable.name)
            if module is None or ending is None:
                strangers.append(f"{layer.name}/{variable.name}")
            else:
                slots.append(ErwinEntry(variable, module + ending, *_form(layer.name, variable)))
    if strangers or config.distance != "exact":
        raise WeightsError(
            "upstream has no weights for these; load into a float model with distance: exact and at most one hidden "
            f"layer in the head. Received: {', '.join(strangers) or f'distance={config.distance}'}"
        )
    return slots


def _module(layer: str, config: ErwinConfig) -> str | None:
    """Upstream's module of one of our layers, None if it has none."""
    top = config.levels - 1
    if layer == "embed":
        return "embed.embed_fn"
    if layer == "logits" and config.head != "none":
        return "head.2" if config.head_widths else "head"
    if layer == "head0" and config.head != "none" and len(config.head_widths) == 1:
        return "head.0"
    if (match := re.fullmatch(r"m(\d+)_(\w+)", layer)) and match[2] in STEP:
        return f"embed.mpnn.{STEP[match[2]].format(match[1])}"
    if match := re.fullmatch(r"([ed])(\d+)_(pool|unpool|b(\d+)_(\w+))(_norm)?", layer):
        level = int(match[2])
        stage = f"decoder.{top - 1 - level}" if match[1] == "d" else f"encoder.{level}"
        if match[1] == "e" and level == top:
            stage = "bottleneck"
        if match[4] is None:
            return f"{stage}.{match[3]}.{'norm' if match[6] else 'proj'}"
        part = match[5] + (match[6] or "")
        return f"{stage}.blocks.{match[4]}.{BLOCK[part]}" if part in BLOCK else None
    return None


def _form(layer: str, variable: keras.Variable) -> tuple[Shape, Callable[[Array], Array]]:
    """Shape of the entry that holds a variable, and how its values are taken from it."""
    shape = tuple(variable.shape)
    if layer.endswith("_attn_sigma"):
        return (1, *shape, 1, 1), lambda entry: entry
    if match := re.search(r"_attn_([qkv])$", layer):
        place = "qkv".index(match[1])
        if variable.name == "bias":  # (H, E)
            return (3 * shape[0] * shape[1],), lambda entry: entry.reshape(-1, 3)[:, place]
        outputs = shape[1] * shape[2]  # of a kernel (C, H, E)
        return (3 * outputs, shape[0]), lambda entry: entry.reshape(outputs, 3, shape[0])[:, place].T
    if variable.name == "kernel":  # (C, C'), or (H, E, C')
        inputs = variable.shape[0] * (variable.shape[1] if len(shape) == 3 else 1)
        return (shape[-1], inputs), lambda entry: entry.T
    return shape, lambda entry: entry
