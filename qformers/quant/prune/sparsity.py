"""Zeros among the weights of a model, by layer, and the bit operations that they save."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray
from rich.table import Table

from qformers.quant.prune.targets import Kernel, dense_layers, letters

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LayerSparsity:
    """Weights of one dense layer.

    EBOPs are counted by weights that are not zero, since a product with a zero is no hardware; HGQ2 itself counts the
    bits of the formats, also of zeros.
    """

    layer: str
    weights: int
    pruned: int  # exactly zero before they are rounded: by a mask
    rounded: int  # zero only after rounding: no bits left (HGQ), or smaller than half a step
    units: int
    units_gone: int  # all of their weights are zero
    ebops: float | None  # of products with weights that are not zero, and of the bias; None for a float layer
    ebops_filled: float | None  # the same, had every zero the mean bits of the other weights of the layer

    @property
    def zeros(self) -> int:
        """Weights that are zero in firmware."""
        return self.pruned + self.rounded


@dataclass(frozen=True)
class Sparsity:
    """All dense layers of a model, in order."""

    layers: tuple[LayerSparsity, ...]

    @property
    def weights(self) -> int:
        """Of all dense layers."""
        return sum(layer.weights for layer in self.layers)

    @property
    def zeros(self) -> int:
        """Of these, how many are zero in firmware."""
        return sum(layer.zeros for layer in self.layers)

    @property
    def share(self) -> float:
        """Zeros over weights."""
        return self.zeros / max(self.weights, 1)

    def saved(self) -> float:
        """EBOPs saved by zeros."""
        return _total(layer.ebops_filled for layer in self.layers) - _total(layer.ebops for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        totals = {"weights": self.weights, "zeros": self.zeros, "share": self.share, "ebops_saved": self.saved()}
        return {**totals, "layers": [{**asdict(layer), "zeros": layer.zeros} for layer in self.layers]}

    def __str__(self) -> str:
        pruned = sum(layer.pruned for layer in self.layers)
        text = (
            f"{self.zeros:,} of {self.weights:,} weights are zero ({self.share:.1%}): {pruned:,} by a mask, "
            f"{self.zeros - pruned:,} by rounding"
        )
        return text + (f"; they save {self.saved():,.0f} EBOPs" if self.layers and self.layers[0].ebops else "")


def sparsity(model: Any) -> Sparsity:
    """Zeros of a model, float or quantised; constant layers (wires) are left out."""
    return Sparsity(tuple(_of_layer(layer) for layer in dense_layers(model)))


def table(zeros: Sparsity, lut: dict[str, tuple[float, float]] | None = None) -> Table:
    """As a table for the terminal.

    Args:
        zeros: of a model.
        lut: by layer, estimated LUT as it is and had it no zeros.
    """
    shown = Table(title=f"Zero weights: {zeros}", title_justify="left")
    shown.add_column("layer")
    heads = ["weights", "zero", "%", "by mask", "by rounding", "units gone", "EBOPs", "saved"]
    for head in heads + (["LUT (alkaid, estimate)", "saved"] if lut else []):
        shown.add_column(head, justify="right")
    for row in zeros.layers:
        cells = [f"{row.weights:,}", f"{row.zeros:,}", f"{row.zeros / row.weights:.1%}", f"{row.pruned:,}"]
        cells += [f"{row.rounded:,}", f"{row.units_gone} of {row.units}", *_pair(row.ebops, row.ebops_filled)]
        if lut:
            cells += _pair(*lut.get(row.layer, (None, None)))
        shown.add_row(row.layer, *cells)
    return shown


def fill(model: Any, seed: int = 1) -> None:
    """Replace the zeros of a quantised model by weights drawn from the same layer, formats and all.

    What firmware of the model without zeros would look like: weights of the same sizes and widths, only more of them.
    """
    draw = np.random.default_rng(seed)
    for layer in dense_layers(model):
        quantised = _numpy(layer.qkernel)
        alive = np.flatnonzero(quantised)
        if not len(alive):
            continue
        donors = np.where(quantised.ravel() != 0, np.arange(quantised.size), draw.choice(alive, quantised.size))
        core = layer.kq.quantizer
        formats = [getattr(core, name) for name in ("_k", "_i", "_b", "_f") if hasattr(core, name)]
        for variable in (layer._kernel, *formats):
            if tuple(variable.shape) == quantised.shape:
                values = ops.convert_to_numpy(variable)
                variable.assign(values.ravel()[donors].reshape(values.shape))


def _pair(now: float | None, before: float | None) -> list[str]:
    return ["", ""] if now is None or before is None else [f"{now:,.0f}", f"{before - now:,.0f}"]


def _total(values: Iterable[float | None]) -> float:
    return sum(value or 0.0 for value in values)


def _of_layer(layer: Any) -> LayerSparsity:
    kernel = Kernel(layer, 0.0)
    dense = _numpy(kernel.variable)
    quantised = _numpy(layer.qkernel) if hasattr(layer, "qkernel") else dense
    units = kernel.matrix(quantised)
    pruned = int(np.sum(dense == 0))
    ebops, before = _ebops(layer, quantised) if getattr(layer, "enable_ebops", False) else (None, None)
    return LayerSparsity(
        layer.name,
        dense.size,
        pruned,
        int(np.sum(quantised == 0)) - pruned,
        units.shape[1],
        int(np.sum(~units.any(axis=0))),
        ebops,
        before,
    )


def _ebops(layer: Any, quantised: Array) -> tuple[float, float]:
    """Of a QEinsumDense or QDense as HGQ2 counts them, but zeros with no bits; and with the mean bits of the others.

    Both are those of the hardware that the layer was trained for, as `ebops_factor` has it.
    """
    axes, kernel, _ = letters(layer)
    equation, shape = f"{axes},{kernel}->", (1, *layer.input.shape[1:])
    inputs = _numpy(layer.iq.bits_(shape))
    weights = np.broadcast_to(_numpy(layer.kq.bits_(quantised.shape)), quantised.shape)
    bias = 0.0
    if layer.bias is not None:
        outputs = np.prod(layer.output.shape[1:])
        bias = float(np.mean(_numpy(layer.bq.bits_(layer.bias.shape))) * outputs)
    alive = quantised != 0
    mean = weights[alive].mean() if alive.any() else 0.0

    def count(bits: Array) -> float:
        return (float(np.einsum(equation, inputs, bits)) + bias) * float(layer.ebops_factor)

    return count(np.where(alive, weights, 0.0)), count(np.where(alive, weights, mean))


def _numpy(tensor: Any) -> Array:
    return np.asarray(ops.convert_to_numpy(tensor), np.float64)
