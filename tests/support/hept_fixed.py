"""Small quantised HEPTs and events for the tests of its fixed-point form."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import QuantConfig
from qformers.models.hept import fixed_hept
from qformers.models.hept import small as small
from qformers.models.hept.config import HeptConfig
from qformers.models.hept.hept import hept
from qformers.models.sizes import Points
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.nn.index.host_order import HostOrder
from qformers.quant.fold import float_to_quantised
from support.quantised import WIDE, shaken

FEATURES = 5
FINE = WIDE.model_copy(
    update={
        "logits": "fixed<11,7,RND,SAT>",
        "coords": "fixed<14,4,RND,SAT>",
        "differences": "fixed<15,4,RND,SAT>",
        "exp_input_fraction_bits": 8,
    }
)
NARROW = QuantConfig(
    weight="fixed<6,2,RND,SAT_SYM>",
    bias="fixed<6,2>",
    activation="fixed<7,4,RND,SAT>",
    logits="fixed<9,7,RND,SAT>",
    coords="fixed<6,3,RND,SAT>",
    differences="fixed<6,3,RND,SAT>",
    exp_input_fraction_bits=3,
    exp_fraction_bits=6,
    inverse_input_fraction_bits=3,
    inverse_fraction_bits=6,
)


def events(cfg: HeptConfig, points: int, count: int = 300) -> dict[str, NDArray[np.float32]]:
    """Events of 0 to `points` points, inputs by name; masked points are zero."""
    random = np.random.default_rng(0)
    mask = (np.arange(points) < random.integers(0, points + 1, (count, 1))).astype(np.float32)
    features, coords = (
        random.normal(0.0, 1.0, (count, points, width)).astype(np.float32) * mask[..., None]
        for width in (FEATURES, cfg.coords)
    )
    if cfg.order == "onchip":
        coords = np.round(coords * 16) / 16  # so that rounded coordinates have the order of the float ones
        return {"features": features, "coords": coords, "mask": mask}
    order = HostOrder.drawn(cfg, cfg.order_seed)(coords, mask).astype(np.float32)
    return {"features": features, "coords": coords, "mask": mask, "order": order}


def both(cfg: HeptConfig, points: int, quant: QuantConfig) -> tuple[keras.Model, keras.Model, dict[str, Any]]:
    """A shaken float model, its quantised form and the events that this was calibrated on."""
    keras.utils.set_random_seed(2)
    floating = shaken(hept(cfg, Points(points, FEATURES), Float32()))
    fixed, inputs = hept(fixed_hept(cfg), Points(points, FEATURES), Hgq(quant)), events(cfg, points)
    float_to_quantised(floating, fixed, inputs)
    return floating, fixed, inputs
