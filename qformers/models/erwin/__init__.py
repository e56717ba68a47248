"""Erwin, the point transformer on ball trees (arXiv:2502.17019)."""

from __future__ import annotations

from typing import Any

from qformers.models.arch import Arch
from qformers.models.erwin.config import ErwinConfig
from qformers.models.sizes import Sizes
from qformers.nn.vocabulary import Model, Vocabulary

MOST_POINTS = 500_000  # balls keep the work linear in them


def build_erwin(cfg: ErwinConfig, sizes: Sizes, nn: Vocabulary) -> Model:
    """See `qformers.models.erwin.erwin.erwin`; Keras is imported here and not before."""
    from qformers.models.erwin.erwin import erwin

    return erwin(cfg, sizes, nn)


def small(**changes: Any) -> ErwinConfig:
    """One level of balls of four with what fixed point has, for tests."""
    fields: dict[str, Any] = {
        "coords": 2, "widths": (4,), "balls": (4,), "enc_heads": (2,), "enc_depths": (1,), "dec_heads": (),
        "dec_depths": (), "strides": (), "mlp_ratio": 2, "mp_steps": 0, "rotate": 0.0, "distance": "squared",
        "pads": "masked", "head": "jet", "head_widths": (5,),
    }  # fmt: skip
    return ErwinConfig(**{**fields, **changes})


def pooled(**changes: Any) -> ErwinConfig:
    """The same with a pooling, and a way back."""
    fields: dict[str, Any] = {
        "widths": (4, 6), "balls": (4, 4), "enc_heads": (2, 2), "enc_depths": (1, 1), "dec_heads": (2,),
        "dec_depths": (1,), "strides": (2,), "head": "points", "outputs": 3,
    }  # fmt: skip
    return small(**{**fields, **changes})


ERWIN = Arch(
    config=ErwinConfig,
    build=build_erwin,
    forms={
        "jet": small(),
        "points": small(head="points", outputs=3, distance="exact"),
        "unet": pooled(),
        "onchip": small(coords=2, order="onchip", enc_depths=(2,), rotate=45.0, head="points", outputs=2),
        "encoder": pooled(decode=False, head="jet", distance="none"),
    },
    particles=lambda cfg: (cfg.ball_order.fewest // 2 + 1, MOST_POINTS),
)
