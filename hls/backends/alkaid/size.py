"""How long alkaid would trace a model, before it does: hours are refused, not spent.

alkaid unrolls every product of a constant. Measured on two cores with alkaid 0.8.2, 2026-12: about 0.7 ms and 9 kB for
each product that is left, and for each matrix that is searched for shared sums about 6 us x digits^2 / columns (27 x 16
to 288 x 32 of 3 and 6 bits: within a factor of three where they are dense, less where they are not). Equal matrices on
equal formats are searched once (`fixes.mended`). Estimated and measured: QKeras's CNN of MNIST 251 s and 181 s, a CNN
of two layers on 14 x 14 106 s and 60 s, the CNN of hls4ml's tutorial (SVHN, half of the weights 0) 470 s and, with each
matrix searched anew, 380 s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from hls.errors import Refusal
from qformers.config.sections import TRACE_HOURS
from qformers.quant.kinds.products import spelled

SECONDS_PER_PRODUCT = 0.9e-3
BYTES_PER_PRODUCT = 10e3
SECONDS_PER_SEARCH = 6e-6  # times digits^2 / columns


@dataclass(frozen=True)
class Size:
    """What a layer weighs.

    Attributes:
        layer: of the Keras model.
        products: by constants that are not 0, at all its places.
        seconds: that alkaid is estimated to take for it.
    """

    layer: Any
    products: int
    seconds: float


def size_faults(model: Any, limit_hours: float = TRACE_HOURS) -> Iterator[Refusal]:
    """The refusal of a model that alkaid would trace for hours, of the layer that weighs the most.

    Args:
        model: of layers that are known here.
        limit_hours: what is waited for.
    """
    sizes = [size for layer in model.operations if (size := layer_size(layer)) is not None]
    seconds, products = sum(size.seconds for size in sizes), sum(size.products for size in sizes)
    if seconds <= 3600 * limit_hours:
        return
    most = max(sizes, key=lambda size: size.seconds)
    reason = (
        f"the model has {products:,} products by constants, and RTL has all of them side by side: alkaid would trace "
        f"them for about {seconds / 3600:,.1f} hours and take about {products * BYTES_PER_PRODUCT / 2**30:,.0f} GiB, "
        f"more than the {limit_hours:g} hours that are waited for; {100 * most.seconds / seconds:.0f} % of that is "
        f"this layer, with {most.products:,}"
    )
    way_out = (
        "give it fewer filters, places or bits, prune it (train.qat.prune), take firmware.backend: vitis, which "
        "writes loops, or wait (firmware.trace_hours)"
    )
    yield Refusal(most.layer.name, type(most.layer).__name__, reason, way_out)


def layer_size(layer: Any) -> Size | None:
    """What a dense layer or a convolution weighs; None for a layer without a constant matrix."""
    if not hasattr(layer, "qkernel") or not hasattr(layer, "kernel"):
        return None
    kernel = np.asarray(ops.convert_to_numpy(layer.qkernel), np.float64)
    columns, matrices = _columns(layer, kernel), _matrices(layer, kernel)
    places = max(1, math.prod(layer.output.shape[1:]) // (columns * matrices))
    summed = np.count_nonzero(kernel.reshape(-1, kernel.shape[-1]), axis=0).max() > 1
    products = int(np.count_nonzero(kernel)) * places if summed else 0  # else wires and shifts
    searches = matrices * (places if _formats_differ(layer) else 1)
    digits = digits_of(kernel) / matrices
    search = SECONDS_PER_SEARCH * digits**2 / columns * searches if summed else 0.0
    return Size(layer, products, SECONDS_PER_PRODUCT * products + search)


def digits_of(values: NDArray[Any]) -> int:
    """Digits +1 and -1 that numbers of fixed point take, in the spelling with the fewest of them."""
    some = np.abs(np.asarray(values, np.float64).ravel())
    some = some[some != 0]
    mantissas, exponents = np.frexp(some)
    whole = np.asarray(mantissas * 2.0**24, np.int64)  # float32
    return int(sum(int(number ^ (3 * number)).bit_count() for number in whole.tolist())) if exponents.size else 0


def _axes(layer: Any) -> tuple[str, str, str] | None:
    """Letters of input, kernel and output of an einsum; None for another layer."""
    equation = getattr(layer, "equation", None)
    if equation is None:
        return None
    left, right, output = spelled(equation, len(layer.input.shape)).replace("->", ",").split(",")
    return left, right, output


def _columns(layer: Any, kernel: NDArray[Any]) -> int:
    """Outputs of one matrix."""
    axes = _axes(layer)
    if axes is None:
        return int(kernel.shape[-1])
    left, right, _ = axes
    return math.prod(size for letter, size in zip(right, kernel.shape, strict=True) if letter not in left) or 1


def _matrices(layer: Any, kernel: NDArray[Any]) -> int:
    """Matrices that the kernel is made of, one for each value of the axes that input, kernel and output share."""
    axes = _axes(layer)
    if axes is None:
        return 1
    left, right, output = axes
    return math.prod(size for a, size in zip(right, kernel.shape, strict=True) if a in left and a in output) or 1


def _formats_differ(layer: Any) -> bool:
    """Whether the values of its input have more than one format, so that every place is searched anew."""
    if not getattr(layer, "enable_iq", False):
        return False
    return any(np.unique(ops.convert_to_numpy(part)).size > 1 for part in layer.iq.quantizer.kif)
