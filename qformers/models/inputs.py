"""From events to the arrays that a model takes: what the host computes in front of the firmware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import PointEvents
from qformers.data.events import Events
from qformers.errors import ConfigError, DataError, nearest
from qformers.nn.given import refuse_empty

PAIR_NAMES = ("ln_kt", "ln_z", "ln_dr", "ln_m2")
# (value - shift) * scale puts 98 % of the pairs of 0.5-1 TeV jets in [-4, 4); the scales are powers of two, so that
# the step of the raw logarithm stays a power of two. `benchmarks/pair_features.py` reprints the quantiles.
PAIR_SHIFT = (0.0, -2.0, -3.0, 2.0)
PAIR_SCALE = (1.0, 1.0, 1.0, 0.5)
PAIR_RANGE = 4.0
PAIR_EPSILON = 1e-8


def pair_features(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """ln kT, ln z, ln dR, ln m^2 of all pairs (arXiv:2202.03772, eqs. 3-6, with rapidity), not standardised.

    Args:
        vectors: (n, N, 4) px, py, pz, E in GeV.

    Returns:
        (n, N, N, 4) in float64: the invariant mass of a near-collinear pair is a small difference of large numbers.
    """
    px, py, pz, energy = np.moveaxis(np.asarray(vectors, np.float64), -1, 0)  # each (n, N)
    pt = np.hypot(px, py)
    rapidity = 0.5 * np.log(np.maximum(1.0 + 2.0 * pz / np.maximum(energy - pz, 1e-20), 1e-20))
    phi = np.arctan2(py, px)

    def apart(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(x[:, :, None] - x[:, None, :])

    dphi = np.mod(apart(phi) + np.pi, 2 * np.pi) - np.pi
    distance = np.hypot(apart(rapidity), dphi)
    softer = np.minimum(pt[:, :, None], pt[:, None, :])
    total = vectors[:, :, None].astype(np.float64) + vectors[:, None, :]
    mass2 = total[..., 3] ** 2 - total[..., 0] ** 2 - total[..., 1] ** 2 - total[..., 2] ** 2
    fraction = softer / np.maximum(pt[:, :, None] + pt[:, None, :], PAIR_EPSILON)
    raw = np.stack([softer * distance, fraction, distance, mass2], axis=-1)
    return np.asarray(np.log(np.maximum(raw, PAIR_EPSILON)))


def host_pairs(events: Events) -> NDArray[np.float64]:
    """Standardised pair features (n, N, N, 4) for ``pairs: input``; self pairs and pairs with a padded slot are 0."""
    values = (pair_features(events.vectors) - PAIR_SHIFT) * PAIR_SCALE
    values = np.clip(values, -PAIR_RANGE, PAIR_RANGE)
    particles = events.mask.shape[1]
    kept = (events.mask[:, :, None] * events.mask[:, None, :]) * (1.0 - np.eye(particles))
    return np.asarray(values * kept[..., None], np.float64)


def host_order(model: Any, events: Events | PointEvents) -> NDArray[np.int32]:
    """The input `order`, by the numbers that are saved with the model.

    HEPT, for ``order: host``: slots (n, O, N) in the order of their blocks. Erwin: the tree and the rotated trees,
    (n, 1 + R, S), of `qformers.nn.index.ball_order.BallOrder`.

    The order is that of the float coordinates, in front of any quantiser: the host has them, and two points that fixed
    point cannot tell apart still have one order everywhere.

    Raises:
        ConfigError: the model does not say by which numbers.
        DataError: as `BallOrder`.
    """
    from qformers.nn.index.ball_slots import TreeOrder
    from qformers.nn.index.lsh import GivenOrder

    for layer in model.layers:
        if isinstance(layer, GivenOrder | TreeOrder):
            return layer.host(host_coords(model, events), events.mask)
    raise ConfigError(
        f"the input 'order' of model '{model.name}' is computed by the numbers of a GivenOrder layer, and there is "
        f"none: give the order yourself. Received: {len(model.layers)} layers"
    )


def host_coords(model: Any, events: Events | PointEvents) -> NDArray[np.float32]:
    """Coordinates (n, N, d): of points and atoms as they are, of a jet eta and phi around its axis, for an Erwin.

    An Erwin takes them times its ``coord_scales``.

    Raises:
        ConfigError: events have none, or others than an Erwin is made for; and as `BallOrder.seen`.
    """
    from qformers.nn.index.ball_slots import TreeOrder
    from qformers.nn.index.sorted_tree import SortedTree

    tree = next((layer.host for layer in model.layers if isinstance(layer, TreeOrder | SortedTree)), None)
    if tree is None and events.coords is not None:
        return events.coords
    if tree is None:
        raise ConfigError("the model has an input 'coords', which points have and jets do not")
    whose, coords = "points have {} coordinates", events.coords
    if coords is None and isinstance(events, Events):
        if not events.has_momenta:
            raise ConfigError(
                f"the model has an input 'coords', which events without momenta do not have: take a data set of jets "
                f"or points. Received: features {', '.join(events.feature_set.names)}"
            )
        whose = "particles of a jet have {} coordinates, eta and phi around its axis"
        coords = jet_coords(events.vectors, events.mask)
    coords = tree.seen(np.asarray(coords))
    wanted = next(int(tensor.shape[-1]) for tensor in model.inputs if tensor.name == "coords")
    if (there := coords.shape[-1]) != wanted:
        raise ConfigError(
            f"{whose.format(there)}; set model.coords: {there}, or choose some by model.coord_scales. "
            f"Received: model.coords={wanted}"
        )
    return coords


def jet_coords(vectors: NDArray[Any], mask: NDArray[Any]) -> NDArray[np.float32]:
    """Eta and phi (n, N, 2) of particles less those of the sum of all; 0 where masked.

    Args:
        vectors: (n, N, 4) px, py, pz, E.
        mask: (n, N), 1 = real.
    """
    real = np.asarray(mask) > 0
    momenta = np.where(real[..., None], np.asarray(vectors, np.float64)[..., :3], 0.0)

    def angles(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        pt = np.maximum(np.hypot(p[..., 0], p[..., 1]), PAIR_EPSILON)
        return np.arcsinh(p[..., 2] / pt), np.arctan2(p[..., 1], p[..., 0])

    (eta, phi), (axis_eta, axis_phi) = angles(momenta), angles(momenta.sum(axis=1))
    apart = np.mod(phi - axis_phi[:, None] + np.pi, 2 * np.pi) - np.pi
    return np.where(real[..., None], np.stack([eta - axis_eta[:, None], apart], axis=-1), 0.0).astype(np.float32)


def host_neighbours(model: Any, events: Events | PointEvents) -> NDArray[np.int32]:
    """The K nearest real points (n, N, K) of each real point, itself included; -1 where there is none."""
    from qformers.nn.index.nearest import nearest

    count = next(int(tensor.shape[-1]) for tensor in model.inputs if tensor.name == "neighbours")
    return nearest(host_coords(model, events), events.mask, count)


def host_features(model: Any, events: Events | PointEvents) -> NDArray[np.float32]:
    """Features (n, N, F); columns that a table of the model is indexed by hold whole numbers of its entries.

    A compiled model would take the nearest entry for any other number without a word.

    Raises:
        DataError: a number without an entry; names the column and the value.
    """
    from qformers.models.hept.layers import Categories

    for layer in model.layers:
        if not isinstance(layer, Categories):
            continue
        for place, (entries, _) in zip(range(-len(layer.sizes), 0), layer.sizes, strict=True):
            column = events.features[..., place][events.mask > 0]
            wrong = (column < 0) | (column >= entries) | (column != np.rint(column))
            if wrong.any():
                names = events.layout.features if isinstance(events, PointEvents) else events.feature_set.names
                raise DataError(
                    f"data.features: column '{names[place]}' must hold 0 to {entries - 1}, the entries of "
                    f"model.embeddings: raise their number or take other features. Received: {column[wrong][0]:g}"
                )
    return events.features


def host_tokens(model: Any, events: Events | PointEvents) -> NDArray[np.int32]:
    """Whole numbers (n, N) of tokens, the only feature.

    Raises:
        DataError: numbers that are none of the table of the model, or several features.
    """
    from qformers.nn.layers import TokenTable

    table = next(layer for layer in model.layers if isinstance(layer, TokenTable))
    return _tokens(events, table.entries)


def host_one_hot(model: Any, events: Events | PointEvents) -> NDArray[np.float32]:
    """A one in the place of each token, (n, N, V)."""
    entries = next(int(tensor.shape[-1]) for tensor in model.inputs if tensor.name == "tokens_one_hot")
    return np.asarray(_tokens(events, entries)[..., None] == np.arange(entries), np.float32)


def _tokens(events: Events | PointEvents, entries: int) -> NDArray[np.int32]:
    """Whole numbers (n, N) below `entries`."""
    features = np.asarray(events.features)
    if features.shape[-1] != 1:
        raise DataError(
            f"data.features: a model of tokens (model.vocabulary) reads one feature, the token; take a data set of "
            f"tokens, or model.vocabulary: 0. Received: {features.shape[-1]} features"
        )
    numbers = features[..., 0]
    wrong = (numbers < 0) | (numbers >= entries) | (numbers != np.rint(numbers))
    if wrong.any():
        raise DataError(
            f"data.features: tokens must be 0 to {entries - 1}, the entries of model.vocabulary: raise it or take "
            f"other data. Received: {numbers[wrong][0]:g}"
        )
    return numbers.astype(np.int32)


_SOURCES: dict[str, Callable[[Any, Any], NDArray[Any]]] = {  # from a model and events
    "features": host_features,
    "vectors": lambda _, events: events.vectors,
    "mask": lambda _, events: events.mask,
    "coords": host_coords,
    "pairs": lambda _, events: host_pairs(events),
    "order": host_order,
    "tokens": host_tokens,
    "tokens_one_hot": host_one_hot,
    "neighbours": host_neighbours,
}


def takes_events(model: Any) -> bool:
    """Whether all inputs of `model` can be made from events; those of an imported model may be something else."""
    return all(tensor.name in _SOURCES for tensor in model.inputs)


def host_inputs(model: Any, events: Events | PointEvents) -> dict[str, NDArray[Any]]:
    """The arrays that `model` takes, by input name, for these events, in the precision of the model's inputs.

    Only the model and the events decide, so that training, export, simulation and bench see the same numbers.

    Args:
        model: a Keras model of `qformers.models`.
        events: n jets, or events of points (`PointEvents`), with as many slots as the model.

    Raises:
        ConfigError: an input that no event can give, or a wrong number of slots or features.
        DataError: no event; as `host_features` and `host_order`.
    """
    refuse_empty({"mask": events.mask.shape})
    arrays = {}
    for tensor in model.inputs:
        if tensor.name not in _SOURCES:
            raise ConfigError(f"the model has an unknown input '{tensor.name}'{nearest(tensor.name, _SOURCES)}")
        array = np.ascontiguousarray(_SOURCES[tensor.name](model, events), tensor.dtype)
        if len(tensor.shape) != array.ndim or any(
            wanted not in (None, size) for wanted, size in zip(tensor.shape[1:], array.shape[1:], strict=True)
        ):
            raise ConfigError(
                f"input '{tensor.name}' of the model has shape {tuple(tensor.shape[1:])} per jet, the events give "
                f"{array.shape[1:]}; data.num_particles and data.features must be those the model was trained with"
            )
        arrays[tensor.name] = array
    return arrays
