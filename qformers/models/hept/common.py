"""What both forms of HEPT's attention and the rest of the model share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.models.hept.config import HeptConfig
from qformers.nn.vocabulary import Linear, Tensor, Vocabulary


def scales_of(cfg: HeptConfig) -> NDArray[np.float64]:
    """``coord_scales`` as a kernel (C, coordinates that are seen)."""
    scales = np.asarray(cfg.coord_scales or (1.0,) * cfg.coords)
    return np.asarray(np.diag(scales)[:, scales != 0])


def initial(cfg: HeptConfig, feeds_activation: bool = True) -> Any:
    """PyTorch's draw, as published; HEPT-CMS draws layers around a SiLU and the other ones in two ways of its own."""
    if cfg.activation != "silu":
        return "torch_conv"
    return "silu" if feeds_activation else "kaiming"


def dense(cfg: HeptConfig, nn: Vocabulary, x: Tensor, name: str, width: int, **more: Any) -> Tensor:
    linear = Linear("bnd,de->bne", {"e": width}, more.pop("bias_axes", "e"), **{"initial": initial(cfg), **more})
    return nn.dense(x, name, linear)
