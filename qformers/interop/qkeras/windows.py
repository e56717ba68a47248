"""Windows that slide over positions: what a convolution or a pooling sees, cut out by wires, one axis at a time.

Axis by axis the wires of an image are two small kernels of zeros and ones instead of one large one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.errors import QkerasError
from qformers.interop.qkeras.emit import Emitter, Wire
from qformers.interop.qkeras.reader import SavedLayer

Array = NDArray[np.float64]

AXES = ("rows", "columns")


@dataclass(frozen=True)
class Window:
    """One axis of `size` positions: output position p sees positions start(p) + tap * dilation."""

    size: int
    taps: int
    stride: int
    dilation: int
    before: int  # padded positions in front
    outputs: int

    @property
    def whole(self) -> bool:
        """Whether no tap of any output meets padding."""
        positions = self.positions()
        return bool(positions.min() >= 0 and positions.max() < self.size)

    def positions(self) -> NDArray[np.int64]:
        """(outputs, taps): the input position of each tap; below 0 or beyond the size it is padding."""
        starts = np.arange(self.outputs)[:, None] * self.stride - self.before
        return np.asarray(starts + np.arange(self.taps)[None, :] * self.dilation)

    def wires(self) -> Array:
        """(size, outputs, taps) of zeros and ones; padding has no one."""
        positions = self.positions()
        return np.asarray(np.arange(self.size)[:, None, None] == positions[None], np.float64)


def pair(value: Any, rank: int) -> tuple[int, ...]:
    """A setting of Keras, a number or one for each axis."""
    return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else (int(value),) * rank


def windows(layer: SavedLayer, shape: tuple[int, ...], taps: tuple[int, ...], strides: Any) -> tuple[Window, ...]:
    """One window for each axis of positions.

    Args:
        layer: its settings padding, dilation_rate, data_format.
        shape: of the input, channels last, without the batch axis.
        taps: size of the kernel or pool.
        strides: as in the settings.

    Raises:
        QkerasError: channels first, or a padding that is not known.
    """
    rank, config = len(taps), layer.config
    if config.get("data_format") not in (None, "channels_last"):
        raise QkerasError(f"layer '{layer.name}': only channels_last is known. Received: {config['data_format']}")
    if len(shape) != rank + 1:
        raise QkerasError(f"layer '{layer.name}': its input must have {rank + 1} axes. Received: {shape}")
    padding, windows = str(config.get("padding", "valid")).lower(), []
    if padding not in ("valid", "same", "causal"):
        raise QkerasError(f"layer '{layer.name}': padding must be valid, same or causal. Received: {padding}")
    steps = zip(shape[:-1], taps, pair(strides, rank), pair(config.get("dilation_rate", 1), rank), strict=True)
    for size, count, stride, dilation in steps:
        reach = (count - 1) * dilation + 1
        outputs = math.ceil(size / stride) if padding != "valid" else (size - reach) // stride + 1
        missing = max((outputs - 1) * stride + reach - size, 0)
        before = {"valid": 0, "same": missing // 2, "causal": reach - 1}[padding]
        windows.append(Window(size, count, stride, dilation, before, outputs))
    return tuple(windows)


def patches(emit: Emitter, x: Wire, layer: SavedLayer, taps: tuple[int, ...]) -> Wire:
    """(batch, rows, columns, channels) -> (batch, p, taps, q, taps, channels).

    (batch, rows, channels) -> (batch, p, taps, channels). Zeros stand where a tap meets padding.
    """
    cut = windows(layer, x.shape, taps, layer.config.get("strides", 1))
    if len(cut) == 1:
        return emit.linear(x, "bhy,hpk->bpky", cut[0].wires(), f"{layer.name}_taps", count=False)
    x = emit.linear(x, "bhwy,hpk->bpkwy", cut[0].wires(), f"{layer.name}_{AXES[0]}", count=False)
    return emit.linear(x, "bpkwy,wql->bpkqly", cut[1].wires(), f"{layer.name}_{AXES[1]}", count=False)
