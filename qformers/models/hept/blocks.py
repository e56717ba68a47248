"""HEPT of another number of points, and the order in which a model has them.

In fixed point (`qformers.models.hept.attention_tables`) all blocks of an event share weights and formats, so that a
model of N points is one of any number of them.

Symbols in shapes: N points, C coordinates, O orders.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.models.hept.attention_tables import COORDS
from qformers.models.hept.config import HeptConfig
from qformers.models.hept.hept import hept
from qformers.models.sizes import Points
from qformers.nn.hgq import Hgq
from qformers.nn.index.host_order import HostOrder
from qformers.nn.index.sorted_order import SortedOrder

Array = NDArray[Any]


def slots_of(model: keras.Model) -> int:
    """N, slots of an event of a HEPT."""
    return int(model.get_layer("mask").output.shape[1])


def order_of(model: keras.Model, coords: Array, mask: Array) -> NDArray[np.int32]:
    """The order (n, O, N) in which a quantised HEPT has the points of events: what the host or the chip sorts by.

    Args:
        model: it keeps the numbers that decide the order.
        coords: (n, N, C); a chip that sorts itself sees them on their grid.
        mask: (n, N).
    """
    order = model.get_layer("order_slots")
    seen = np.asarray(model.get_layer(COORDS)(coords)) if isinstance(order, SortedOrder) else coords
    host: HostOrder = order.host
    return host(seen, mask)


def resized(
    cfg: HeptConfig, quant: QuantConfig, model: keras.Model, points: int, features: int | None = None
) -> keras.Model:
    """The quantised HEPT `model` for another number of points: same weights, formats and names of layers.

    Its order is an input, also where that model sorts its points itself.

    Args:
        cfg: the architecture.
        quant: formats.
        model: the quantised model.
        points: N, a multiple of the block.
        features: F; those of the model if not given.

    Raises:
        ConfigError: formats per element, which belong to one number of points, or a model of another build.
    """
    if quant.learn and quant.granularity == "element":
        raise ConfigError(
            "quant.granularity: a model for another number of points needs formats per channel or tensor; set it to "
            "channel and train again. Received: element"
        )
    count = features or int(model.get_layer("features").output.shape[-1])
    made = hept(cfg.model_copy(update={"order": "host", "attention": "tables"}), Points(points, count), Hgq(quant))
    have = {layer.name: layer for layer in model.layers}
    set_by_data = (*made.memory.ranged, *made.memory.shifts)
    for layer in made.layers:
        constant = not layer.trainable and layer.name not in set_by_data
        if not layer.weights or constant:  # constants were written when the model was made
            continue
        if layer.name not in have:
            raise ConfigError(f"layer '{layer.name}' is not in the model that was given; is it of another build?")
        _copy(have[layer.name], layer)
    return made


def _copy(source: Any, target: Any) -> None:
    shapes = [[tuple(weight.shape) for weight in layer.weights] for layer in (source, target)]
    if shapes[0] != shapes[1]:
        raise ConfigError(
            f"layer '{target.name}' has weights and formats of shapes {shapes[1]}; is the model of another build? "
            f"Received: {shapes[0]}"
        )
    for one, other in zip(source.weights, target.weights, strict=True):
        other.assign(one)
