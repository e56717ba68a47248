"""Which weights go first: thresholds on a score of each weight, for a share of the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import PruneConfig
from qformers.quant.prune.targets import Array, Kernel, letters
from qformers.quant.quantisers import walk

NOTHING = -1e30  # a threshold on squares that every weight passes, whatever the temperature


def ramp(config: PruneConfig, progress: float) -> float:
    """Share of the final sparsity that is asked for at this share of the phase; 0 before the start, 1 from the end on.

    The cubic one is that of arXiv:1710.01878: fast at first, while there are many weights to choose from.
    """
    if progress >= config.end:
        return 1.0
    if progress < config.start:
        return 0.0
    way = (progress - config.start) / (config.end - config.start)
    return {"cubic": 1.0 - (1.0 - way) ** 3, "linear": way, "step": 1.0}[config.ramp]


def squares(kernel: Kernel, config: PruneConfig, values: Array, scale: Array) -> Array:
    """Squared scores as (inputs, outputs), or as (1, outputs) where whole units are pruned: their mean square.

    Args:
        kernel: whose.
        config: says what is pruned at a time.
        values: its weights.
        scale: what each weight is multiplied by before it is ranked; ones for magnitude, the size of its input for
            Wanda (arXiv:2306.11695).
    """
    scored = kernel.matrix((values * scale) ** 2)
    return scored.mean(axis=0, keepdims=True) if config.granularity == "unit" else scored


def thresholds(kernel: Kernel, config: PruneConfig, scored: Array, share: float) -> Array:
    """Thresholds on squared scores, in the kernel's shape, below which lies `share` of the final sparsity."""
    group = config.group
    if group is not None:
        kept, size = group
        groups = scored.reshape(-1, size, scored.shape[1])
        limit = _between(groups, round(share * (size - kept)), axis=1)
        return kernel.tensor(np.repeat(limit, size, axis=1).reshape(scored.shape))
    if config.scope == "output":
        return kernel.tensor(_between(scored, round(share * kernel.sparsity * len(scored)), axis=0))
    count = min(round(share * kernel.sparsity * scored.size), scored.size - 1)  # a layer keeps one weight
    return kernel.tensor(np.full_like(scored, _between(scored.reshape(-1), count, axis=0)))


def _between(values: Array, below: int, axis: int) -> Array:
    """Halfway between the `below`-th smallest value along an axis and the next one; keeps the axis."""
    if below <= 0:
        return np.full_like(np.take(values, [0], axis), NOTHING)
    ordered = np.sort(values, axis=axis)
    last = ordered.shape[axis] - 1
    lower, upper = (np.take(ordered, [min(place, last)], axis) for place in (below - 1, below))
    return np.asarray(np.where(upper > lower, (lower + upper) / 2, np.nextafter(lower, np.inf)))


def input_sizes(model: Any, chosen: list[Kernel], sample: dict[str, NDArray[Any]]) -> list[Array]:
    """Root mean square of what each weight multiplies, in the shapes of the kernels.

    Args:
        model: functional; float or quantised.
        chosen: its kernels.
        sample: inputs by name.
    """
    wanted = {kernel.layer.name: place for place, kernel in enumerate(chosen)}
    sizes: list[Array] = [np.ones(kernel.shape) for kernel in chosen]
    for layer, tensors in walk(model, sample):
        place = wanted.get(layer.name)
        if place is None:
            continue
        inputs, axes, _ = letters(layer)
        seen = np.asarray(tensors[0], np.float64)
        kept = "".join(letter for letter in axes if letter in inputs)
        values = seen.size / np.prod([seen.shape[inputs.index(letter)] for letter in kept])  # behind each mean
        total = np.einsum(f"{inputs}->{kept}", seen**2) / values
        shape = [size if letter in inputs else 1 for letter, size in zip(axes, chosen[place].shape, strict=True)]
        sizes[place] = np.broadcast_to(np.sqrt(total).reshape(shape), chosen[place].shape)
    return sizes
