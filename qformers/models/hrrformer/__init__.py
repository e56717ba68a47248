"""Hrrformer, attention by holographic binding (arXiv:2305.19534)."""

from __future__ import annotations

from typing import Any

from qformers.models.arch import Arch, Array, Source, any_number
from qformers.models.hrrformer.config import HrrformerConfig
from qformers.models.sizes import Jet
from qformers.nn.vocabulary import Model, Vocabulary

MOST_TOKENS = 524_288  # the longest sequences of the paper, of EMBER


def build_hrrformer(cfg: HrrformerConfig, jet: Jet, nn: Vocabulary) -> Model:
    """See `qformers.models.hrrformer.hrrformer.hrrformer`; Keras is imported here and not before."""
    from qformers.models.hrrformer.hrrformer import hrrformer

    return hrrformer(cfg, jet, nn)


def fixed_hrrformer(cfg: HrrformerConfig) -> HrrformerConfig:
    """Fixed point has no Fourier transform; it is folded into the dense layers around it."""
    return cfg.model_copy(update={"form": "dft"}) if cfg.attention == "hrr" and cfg.inverse != "exact" else cfg


def _derived(rule: str) -> Any:
    def derive(cfg: HrrformerConfig, source: Source, of: str) -> tuple[Array, Array | None]:
        from qformers.models.hrrformer.attention import DERIVATIONS

        return DERIVATIONS[rule](cfg, source, of)

    return derive


def small(**changes: Any) -> HrrformerConfig:
    """One block of two heads of width 4 with what fixed point has, for tests."""
    fields: dict[str, Any] = {
        "embed_widths": (8,), "heads": 2, "blocks": 1, "ffn_width": 6, "fc_widths": (5,), "norm": "batch",
        "activation": "relu", "mask_beta": True, "mask_pool": True, "scale_by_T": True, "dropout": 0.0,
    }  # fmt: skip
    return HrrformerConfig(**{**fields, **changes})


HRRFORMER = Arch(
    config=HrrformerConfig,
    build=build_hrrformer,
    forms={
        "xt": small(),
        "plain": small(
            masked=False, mask_beta=False, scale_by_T=False, residuals="pre", norm="none", positions="learned"
        ),
        "masked": small(scale_by_T=False, mask_beta=False, residuals="pre", biases=True),
        "tokens": small(vocabulary=3, positions="learned", embed_norm=True, norm="layer", activation="gelu_tanh"),
        "dot": small(attention="dot"),
    },
    fixed=fixed_hrrformer,
    particles=lambda cfg: (1, MOST_TOKENS) if cfg.attention != "dot" else any_number(cfg),
    derivations={rule: _derived(rule) for rule in ("dft edge", "dft edge twice", "dft re", "dft im", "dft out")},
)
