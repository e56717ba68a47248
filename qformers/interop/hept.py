"""HEPT weights of Graph-COM/HEPT and of HEPT-CMS (PyTorch) in our Keras model, frozen regions and alphas included.

A state dict is a mapping name -> array as PyTorch's ``state_dict()`` gives it; arrays may be NumPy or PyTorch. PyTorch
keeps matrices as (out, in), Keras as (in, out): they are transposed, then reshaped, which also splits the heads of Q, K
and V. Regions (O, A, H), alphas (H, D + C, O) and ``w_rpe`` (H D, scales K) keep their order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from qformers.errors import WeightsError
from qformers.interop.state_dict import Array, Shape, array_of, fill, prefix_of
from qformers.models.hept.config import HeptConfig

ANCHOR = "feat_encoder.0.weight"  # present in every HEPT; what stands before it is the prefix of a wrapper
MODULES = {
    "encoder0": "feat_encoder.0",
    "encoder1": "feat_encoder.2",
    "project": "W",
    "project_norm": "norm_mid",
    "logits": "out_proj",
}
LAYER_MODULES = {
    "attn_norm": "norm1",
    "attn_q": "w_q",
    "attn_k": "w_k",
    "attn_v": "w_v",
    "attn_scale": "w_rpe",
    "attn_out": "attn.out_linear",
    "ffn_norm": "norm2",
    "ffn_fc1": "ff.0",
    "ffn_fc2": "ff.2",
}
ENDINGS = {"kernel": ".weight", "gamma": ".weight", "bias": ".bias", "beta": ".bias"}
ALPHA = ".e2lsh.alpha"
BETA = ".e2lsh.beta"  # (1, hashes): offsets of the hashes, which the fork saves and no HEPT ever adds to one
EMBEDDINGS = {1: ("pids_enc",), 2: ("layer0_emb", "layer1_emb")}  # by their number: HEPT pileup, HEPT-CMS

_PILEUP = HeptConfig(coords=4, regions=140, head="logits", embeddings=((7, 10),))
_CMS = HeptConfig(
    coords=7, width=48, region_axes=3, shared_scale=False, activation="silu", head_width=48, head_activation="silu",
    head_norm=True, embeddings=((11, 1), (12, 1)), dropout=0.0,
)  # fmt: skip
TASKS: dict[str, HeptConfig] = {  # published models: what their checkpoints were trained with
    "tracking60k": HeptConfig(),
    "tracking600": HeptConfig(regions=1, layers=2),  # of the PQuant fork
    "pileup10k": _PILEUP,
    "cms_pileup": _CMS.model_copy(update={"regions": 1000.0, "heads": 6, "head": "logits"}),
    "cms_tracking": _CMS.model_copy(update={"hashes": 4, "regions": 150.0, "head_widths": (512,) * 9}),
}


@dataclass(frozen=True)
class HeptEntry:
    """One Keras variable and the entry that holds its values, of shape `shape`."""

    variable: keras.Variable
    entry: str
    shape: Shape
    turned: bool  # a matrix (out, in) for a kernel (in..., out...)

    def cut(self, entry: Array) -> Array:
        """The values of the variable, in its own shape."""
        return (entry.T if self.turned else entry).reshape(self.variable.shape)


def load(model: keras.Model, state_dict: Mapping[str, Any]) -> None:
    """Fill a float HEPT in place with upstream weights.

    Args:
        model: made by `qformers.models.hept.hept.hept` with the float vocabulary, ``norm: layer`` and ``hash: latent``.
        state_dict: name -> array; the prefix of a wrapper (``model.``) is accepted.

    Raises:
        WeightsError: entries are missing, left over, of another shape or not finite (all are named), regions or alphas
            are all zero, or the model has weights that upstream has no name for. The model is then as it was.
    """
    intro = f"these weights do not fit the model '{model.name}'; tasks with known sizes are {', '.join(TASKS)}:"
    arrays, slots = normalised(state_dict), _slots(model)
    alphas = {slot.entry: slot.shape for slot in slots if slot.entry.endswith(ALPHA)}
    for entry, shape in alphas.items():
        unused = entry.removesuffix(ALPHA) + BETA
        if unused in arrays and arrays[unused].shape == (1, shape[-1]):
            del arrays[unused]
    for name in ("regions", *alphas):
        if name in arrays and arrays[name].size and not arrays[name].any():
            raise WeightsError(f"{intro}\n  all zero: {name}; it is drawn at random and never trained: save it anew")
    if "regions" in arrays and (arrays["regions"] < 0).any():
        raise WeightsError(f"{intro}\n  negative: regions {arrays['regions'].min():g}; they are numbers of cells")
    fill(arrays, slots, intro)


def num_features(state_dict: Mapping[str, Any], config: HeptConfig) -> int:
    """F, columns of the input `features`: embeddings count as the column that they replace.

    Raises:
        WeightsError: the entries are not those of a HEPT.
    """
    arrays = normalised(state_dict)
    if ANCHOR not in arrays or arrays[ANCHOR].ndim != 2:
        names = ", ".join(sorted(arrays)[:3]) or "nothing"
        raise WeightsError(f"not the weights of a HEPT: no matrix '{ANCHOR}'; found {names}")
    return int(arrays[ANCHOR].shape[1]) - sum(width - 1 for _, width in config.embeddings)


def normalised(state_dict: Mapping[str, Any]) -> dict[str, Array]:
    """NumPy arrays under upstream's names, without the prefix of a wrapper.

    Raises:
        WeightsError: an entry is not an array of numbers.
    """
    prefix = prefix_of(state_dict, ANCHOR)
    return {name.removeprefix(prefix): array_of(name, value) for name, value in state_dict.items()}


def _slots(model: keras.Model) -> list[HeptEntry]:
    """Where each variable of the model finds its values."""
    slots, strangers = [], []
    depth = sum(re.fullmatch(r"head[0-9]+", layer.name) is not None for layer in model.layers)
    for layer in model.layers:
        for variable in layer.weights:
            entry = _entry(layer, variable, depth)
            if entry is None:
                strangers.append(f"{layer.name}/{variable.name}")
            else:
                slots.append(HeptEntry(variable, entry, *_form(layer.name, variable)))
    if strangers:
        raise WeightsError(
            "upstream has no weights for these; load into a float model with norm: layer and hash: latent. "
            f"Received: {', '.join(strangers)}"
        )
    return slots


def _entry(layer: Any, variable: keras.Variable, depth: int) -> str | None:
    """Upstream's name for one of our variables, None if it has none; `depth` counts the hidden layers of the head."""
    if layer.name == "regions":
        return "regions"
    if match := re.fullmatch(r"table([0-9]+)", variable.name):
        names = EMBEDDINGS.get(len(layer.weights))
        return f"{names[int(match[1])]}.weight" if names else None
    module = MODULES.get(layer.name)
    if match := re.fullmatch(r"b([0-9]+)_(\w+)", layer.name):
        if match[2] == "attn_order":
            return f"attns.{match[1]}.attn.e2lsh.alpha"
        inner = LAYER_MODULES.get(match[2])
        module = inner and f"attns.{match[1]}.{inner}"
    if match := re.fullmatch(r"head([0-9]+|_out)(_norm)?", layer.name):
        number = depth if match[1] == "_out" else int(match[1])
        module = f"mlp_out.{'norms' if match[2] else 'lins'}.{number}"
    ending = ENDINGS.get(variable.name)
    return module + ending if module and ending else None


def _form(layer: str, variable: keras.Variable) -> tuple[Shape, bool]:
    """Shape of the entry that holds a variable, and whether it is turned."""
    shape = tuple(variable.shape)
    if variable.name == "bias":
        return (int(np.prod(shape)),), False
    if layer.endswith("attn_scale"):
        return (shape[0] * shape[1], shape[2] * shape[3]), False
    if variable.name != "kernel":
        return shape, False
    outputs = shape[-1] if layer.endswith("attn_out") else int(np.prod(shape[1:]))  # (H, d, D), or (D, H, d)
    return (outputs, int(np.prod(shape)) // outputs), True
