"""HEPT for events that no chip holds at once: one block of points after the other through the same arithmetic.

In fixed point (`qformers.models.hept.attention_tables`) all blocks of an event share weights and formats, so that a
model of N points is three kinds of parts and the moving of rows between them:

- the encoder, once per point: features -> x, coordinates -> rounded coordinates, mask -> one bit;
- attention, per layer, order and block: rows of S points -> numerator, denominator and largest logit of each point;
- the points' part, per layer and point: those of all orders and x -> x of the next layer, or the head's output.

The parts are cut out of models of one block (N = S), whose layers have the names of the whole model. `Parts.run` is
the plain statement of what firmware does with them.

Symbols in shapes: B events or blocks, N points, M blocks of S points, F features, C coordinates, D width, H heads,
O orders, L layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


def sums_of(cfg: HeptConfig) -> tuple[str, ...]:
    """What attention gives of a point, by the names of the layers; the largest logit is for comparing orders."""
    return ("num", "den", "top") if cfg.hashes > 1 else ("num", "den")


@dataclass(frozen=True)
class Parts:
    """The parts of a quantised HEPT; inputs and outputs are in lists, in the order given here.

    Attributes:
        cfg: the architecture.
        encoder: features (B, S, F), coords (B, S, C), mask (B, S) -> x (B, S, D), coords that the kernel sees
            (B, S, C'), mask (B, S, 1).
        attention: of each layer: x (B, S, D), coords (B, 1, 1, S, C'), mask (B, 1, 1, S, 1) ->
            num (B, 1, H, 1, S, D), den and, with several orders, top (B, 1, H, 1, S, 1).
        points: of each layer: num (B, O, H, S, D), den and top (B, O, H, S, 1), x (B, S, D) -> x (B, S, D); the last
            one takes x of all layers, the earliest first, and gives the output (B, S, E).
    """

    cfg: HeptConfig
    encoder: keras.Model
    attention: tuple[keras.Model, ...]
    points: tuple[keras.Model, ...]

    @property
    def block(self) -> int:
        """S."""
        return int(self.encoder.inputs[2].shape[1])

    def run(self, event: Mapping[str, Array]) -> Array:
        """One event, N a multiple of S: features (N, F), coords (N, C), mask (N,), order (O, N) -> (N, E)."""
        size, order = self.block, np.asarray(event["order"]).astype(int)
        inputs = [_blocks(np.asarray(event[name]), size) for name in ("features", "coords", "mask")]
        x, coords, mask = _called(self.encoder, inputs)
        slots = order.shape[1]
        seen = [x]
        for index, (attention, points) in enumerate(zip(self.attention, self.points, strict=True)):
            sums_of_orders = []
            for slot in order:
                rows = [_blocks(part.reshape(slots, -1)[slot], size) for part in (x, coords, mask)]
                sums = _called(attention, [rows[0], rows[1][:, None, None], rows[2][:, None, None]])
                back = np.argsort(slot)
                sums_of_orders.append([_slots(part)[back] for part in sums])  # (N, H, D or 1)
            gathered = [
                np.stack([_blocks(part[n], size) for part in sums_of_orders], axis=1)
                for n in range(len(sums_of(self.cfg)))
            ]
            gathered = [np.moveaxis(part, 3, 2) for part in gathered]  # (M, O, H, S, D or 1)
            last = index == len(self.points) - 1
            x = _called(points, [*gathered, *(seen if last else seen[-1:])])[0]
            seen.append(x)
        return x.reshape(slots, -1)


def parts(cfg: HeptConfig, quant: QuantConfig, model: keras.Model) -> Parts:
    """Cut a quantised HEPT into its parts.

    Args:
        cfg: its architecture.
        quant: its formats.
        model: the quantised model, of any number of points.

    Raises:
        ConfigError: formats per element, or a model of another build.
    """
    size, features = cfg.block_size, int(model.get_layer("features").output.shape[-1])
    single = resized(cfg.model_copy(update={"hashes": 1}), quant, model, size, features)
    joined = single if cfg.hashes == 1 else resized(cfg, quant, model, size, features)
    names = ["encoder1", *(f"b{index}_ffn_residual" for index in range(cfg.layers))]
    attention, points, sums = [], [], sums_of(cfg)
    for index in range(cfg.layers):
        p, last = f"b{index}_attn", index == cfg.layers - 1
        inside = _outputs(single, names[index], "coords_sorted", "mask_sorted")
        attention.append(keras.Model(inside, _outputs(single, *(f"{p}_{name}" for name in sums))))
        read = names[: index + 1] if last else names[index : index + 1]
        given = _outputs(joined, *(f"{p}_{name}_slots" for name in sums), *read)
        points.append(keras.Model(given, _outputs(joined, cfg.head if last else names[index + 1])))
    first = "features_sorted_rows" if cfg.hashes == 1 else "features"  # one order: the whole model moves them first
    read = _outputs(joined, first, "coords", "mask")
    seen = "coords_scaled" if cfg.coord_scales else "coords_rounded"
    encoder = keras.Model(read, _outputs(joined, "encoder1", seen, "mask_rounded"))
    return Parts(cfg, encoder, tuple(attention), tuple(points))


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


def _outputs(model: keras.Model, *names: str) -> list[Any]:
    return [model.get_layer(name).output for name in names]


def _called(part: keras.Model, inputs: list[Array]) -> list[Array]:
    given = part(inputs)
    return [np.asarray(value) for value in (given if isinstance(given, list) else [given])]


def _blocks(rows: Array, size: int) -> Array:
    """(N, ...) -> (M, S, ...)."""
    return rows.reshape(-1, size, *rows.shape[1:])


def _slots(values: Array) -> Array:
    """What attention gives, (M, 1, H, 1, S, E) -> (N, H, E)."""
    _, _, heads, _, _, channels = values.shape
    return np.moveaxis(values[:, 0, :, 0], 1, 2).reshape(-1, heads, channels)
