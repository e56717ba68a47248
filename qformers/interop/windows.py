"""Windows that slide over the places of an axis, as wires: what a convolution or a pooling sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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

    def shares(self) -> Array:
        """(size, outputs): how much of each place a mean takes; padded places do not count."""
        inside = self.wires().sum(axis=2)
        return np.asarray(inside / inside.sum(axis=0))


def slide(size: int, taps: int, stride: int = 1, dilation: int = 1, padding: str = "valid") -> Window:
    """The windows of Keras along an axis.

    Args:
        size: places of the axis.
        taps: places that a window sees.
        stride: from a window to the next.
        dilation: from a tap to the next.
        padding: "valid", "same" or "causal".
    """
    reach = (taps - 1) * dilation + 1
    outputs = math.ceil(size / stride) if padding != "valid" else (size - reach) // stride + 1
    missing = max((outputs - 1) * stride + reach - size, 0)
    before = {"valid": 0, "same": missing // 2, "causal": reach - 1}[padding]
    return Window(size, taps, stride, dilation, before, outputs)


def each(value: Any, rank: int) -> tuple[int, ...]:
    """A setting of Keras, a number or one for each axis."""
    return tuple(int(v) for v in value) if isinstance(value, list | tuple) else (int(value),) * rank
