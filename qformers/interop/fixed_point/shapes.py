"""Layers that only move values, and pooling."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from hgq import layers as hgq_layers

from qformers.interop.fixed_point.maker import letters
from qformers.interop.fixed_point.step import Step
from qformers.interop.windows import each, slide
from qformers.nn.hgq import roles_of
from qformers.nn.vocabulary import Tensor


def moved(step: Step) -> Tensor:
    """The same layer, which computes nothing."""
    if getattr(step.layer, "interpolation", "nearest") != "nearest":
        raise step.refuse("interpolation is nearest", step.layer.interpolation)
    config = {**step.layer.get_config(), "name": step.name}
    tensors = step.tensors
    return type(step.layer).from_config(config)(tensors if len(tensors) > 1 else tensors[0])


def maximum(step: Step) -> Tensor:
    """MaxPooling1D, MaxPooling2D, MaxPooling3D and the global ones."""
    x = step.x
    kind = f"Q{type(step.layer).__name__}"
    config = {**step.layer.get_config(), "name": step.name}
    made = getattr(hgq_layers, kind)(**_plain(config), iq_conf=step.make.formats.value(step.name, roles_of(x), kind))
    return made(x)


def average(step: Step) -> Tensor:
    """AveragePooling1D, AveragePooling2D and the global ones: products with shares of each value, added up.

    A share 1/n is rounded to the format of the weights of the layer, whatever n.
    """
    layer, x = step.layer, step.x
    if layer.data_format != "channels_last":
        raise step.refuse("channels come last: put a Permute in front", layer.data_format)
    places = tuple(int(size) for size in x.shape[1:-1])
    if type(layer).__name__.startswith("Global"):
        return _of_all(step, x, places)
    size, strides = (each(part, len(places)) for part in (layer.pool_size, layer.strides))
    axes = zip(places, size, strides, strict=True)
    shares = [slide(place, taps, stride, padding=layer.padding).shares() for place, taps, stride in axes]
    spelt = f"b{letters(len(places))}y"
    for axis, share in enumerate(shares):
        last = axis == len(shares) - 1
        name = step.name if last else step.make.name(f"{step.name}_axis{axis}")
        letter = spelt[1 + axis]
        x = step.make.linear(
            x, f"{spelt},{letter}z->{spelt.replace(letter, 'z')}", share, name, constant=True
        )  # fmt: skip
    return x


def _of_all(step: Step, x: Tensor, places: tuple[int, ...]) -> Tensor:
    axes = letters(len(places))
    share = np.full(places, 1.0 / math.prod(places))
    name = step.make.name(f"{step.name}_mean") if step.layer.keepdims else step.name
    y = step.make.linear(x, f"b{axes}y,{axes}->by", share, name, constant=True)
    if not step.layer.keepdims:
        return y
    return keras.layers.Reshape((*(1 for _ in places), int(x.shape[-1])), name=step.name)(y)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """Settings of a pooling layer that HGQ2's takes too."""
    return {key: value for key, value in config.items() if key not in ("dtype", "trainable")}
