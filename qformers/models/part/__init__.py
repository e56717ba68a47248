"""Particle Transformer (arXiv:2202.03772)."""

from __future__ import annotations

from typing import Any

from qformers.models.arch import Arch, Array, Source, any_number
from qformers.models.part.config import PartConfig
from qformers.models.sizes import Jet
from qformers.nn.vocabulary import Model, Vocabulary


def build_part(cfg: PartConfig, jet: Jet, nn: Vocabulary) -> Model:
    """See `qformers.models.part.part.part`; Keras is imported here and not before."""
    from qformers.models.part.part import part

    return part(cfg, jet, nn)


def fixed_part(cfg: PartConfig) -> PartConfig:
    """Class attention in fixed point is a map of scores."""
    return cfg.model_copy(update={"class_attention": "scores"}) if cfg.head == "class_token" else cfg


def particles(cfg: PartConfig) -> tuple[int, int]:
    """Pairs on the chip are of two particles, picked by constant kernels of N^3 / 2 entries each.

    A float model keeps five of them in its configuration: 26 MB at N = 128, and beyond N = 175 more than a model file
    may have (`qformers.builds.archive`).
    """
    return (2, 128) if cfg.pairs == "onchip" else any_number(cfg)


def _derived(rule: str) -> Any:
    def derive(cfg: PartConfig, source: Source, of: str) -> tuple[Array, Array | None]:
        from qformers.models.part.class_attention import DERIVATIONS

        return DERIVATIONS[rule](cfg, source, of)

    return derive


def small(**changes: Any) -> PartConfig:
    """One block of width 8 with what fixed point has, for tests."""
    fields: dict[str, Any] = {
        "embed_widths": (8,), "pair_widths": (4,), "pairs": "onchip", "heads": 2, "blocks": 1, "class_blocks": 0,
        "head": "mean", "ffn_ratio": 2, "norm": "batch", "activation": "relu", "pair_activation": "relu",
        "pre_activation_pair": True, "scale_resids": False, "dropout": 0.0, "attn_dropout": 0.0,
        "activation_dropout": 0.0,
    }  # fmt: skip
    return PartConfig(**{**fields, **changes})


PART = Arch(
    config=PartConfig,
    build=build_part,
    forms={
        f"{pairs}_{head}": small(pairs=pairs, head=head, class_blocks=int(head == "class_token"))
        for pairs in ("onchip", "input", "none")
        for head in ("mean", "class_token")
    }
    | {
        "layer_gelu": small(pairs="none", norm="layer", activation="gelu", scale_resids=True),
        "rms_silu": small(pairs="none", norm="rms", activation="silu", head="class_token", class_blocks=1),
        "deferred": small(pairs="onchip", softmax="deferred"),
    },
    fixed=fixed_part,
    particles=particles,
    derivations={rule: _derived(rule) for rule in ("class scores", "class own", "class out", "class token")},
)
