"""Vectors of places, which are added to those of the tokens that stand there."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Positions = Literal["learned", "fixed", "none"]  # fixed: `waves`


def waves(places: int, width: int) -> NDArray[np.float64]:
    """Sines and cosines (N, D): sin(t / 10000^(2i/D)) in the even columns 2i, cos in the odd ones.

    arXiv:1706.03762, section 3.5.
    """
    angles = np.arange(places)[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(places, -1)[:, :width]
