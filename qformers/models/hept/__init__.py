"""HEPT, the point transformer on locality-sensitive hashing (arXiv:2402.12535)."""

from __future__ import annotations

from typing import Any

from qformers.models.arch import Arch, Array, Source
from qformers.models.hept.config import HeptConfig
from qformers.models.sizes import Sizes
from qformers.nn.vocabulary import Model, Vocabulary

MOST_POINTS = 500_000  # blocks keep the work linear in them


def build_hept(cfg: HeptConfig, sizes: Sizes, nn: Vocabulary) -> Model:
    """See `qformers.models.hept.hept.hept`; Keras is imported here and not before."""
    from qformers.models.hept.hept import hept

    return hept(cfg, sizes, nn)


def fixed_hept(cfg: HeptConfig) -> HeptConfig:
    """Attention in fixed point is made of tables."""
    return cfg.model_copy(update={"attention": "tables"})


def derive_minus_scales(cfg: HeptConfig, source: Source, of: str) -> tuple[Array, Array | None]:
    """See `qformers.models.hept.attention_tables.derive_minus_scales`."""
    from qformers.models.hept.attention_tables import derive_minus_scales as derive

    return derive(cfg, source, of)


def small(**changes: Any) -> HeptConfig:
    """One layer of two heads with what fixed point has, for tests."""
    fields: dict[str, Any] = {
        "coords": 3, "width": 2, "heads": 2, "layers": 1, "block_size": 4, "hashes": 2, "regions": 4.0,
        "hash": "coords", "order": "host", "kernel": "sink", "norm": "batch", "scale_terms": 2, "head_width": 3,
        "head_widths": (5,), "head_activation": "relu", "dropout": 0.0,
    }  # fmt: skip
    return HeptConfig(**{**fields, **changes})


HEPT = Arch(
    config=HeptConfig,
    build=build_hept,
    forms={
        "two_orders": small(heads=1),
        "one_order": small(heads=1, hashes=1, norm="none"),
        "onchip": small(heads=1, hashes=1, norm="none", order="onchip"),
        "head_norm": small(heads=1, hashes=1, head_norm=True),
        "layer_silu": small(heads=1, hashes=1, norm="layer", activation="silu", head_activation="tanh"),
    },
    fixed=fixed_hept,
    particles=lambda cfg: (1, MOST_POINTS),
    derivations={"minus scales": derive_minus_scales},
)
