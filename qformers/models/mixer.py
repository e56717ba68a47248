"""MLP-Mixer for jets (arXiv:2503.03103): dense steps over features and over particle slots by turns.

As in the published code a block has a network over features, the same for each particle, that ends at F again, then one
over slots, the same for each feature, that ends at N again, and one residual sum with what it began with; then come a
network per particle, one learned weight per slot, and a network of the jet. Ours: `blocks` and hidden layers over slots
as choices, ``head: flatten``, and a scale and shift per feature in front: the residual carries the inputs themselves,
which are standardised in the paper, while raw eta and phi (0.08 wide) would be lost beside values of order one.

The slots are in the order of pT and each has weights of its own, so that the network is not permutation-invariant and
takes no mask: an empty slot is a row of zeros (``data.padding: zero``).

Symbols in shapes: B batch, N particle slots, F features, D width.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from qformers.config.section import Few, Section, Widths
from qformers.models.arch import Arch
from qformers.models.mlp import FoldedNorm, classify, flatten_dense, mlp
from qformers.models.sizes import Jet
from qformers.nn.vocabulary import Linear, Model, Norm, Tensor, Vocabulary


class MixerConfig(Section):
    """MLP-Mixer for jets in the order of pT (arXiv:2503.03103; read by `models.mixer`)."""

    architecture: Literal["mixer"] = "mixer"  # says whose keys these are
    blocks: Few = 1  # of mixing over features and over slots
    feature_widths: Widths = (16,)  # hidden layers of a block over features; they end at F again
    particle_widths: Widths = ()  # hidden layers of a block over slots; they end at N again
    token_widths: Widths = (16, 16)  # per particle, behind the blocks
    head: Literal["weighted", "flatten"] = "weighted"  # one learned weight per slot, or every slot with its own kernel
    fc_widths: Widths = (16, 16, 16)  # hidden layers in front of the logits
    norm: FoldedNorm = "batch"  # folded into dense layers in fixed point

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.head == "flatten" and not self.fc_widths:
            raise ValueError("head: flatten needs a layer of its own. Received: fc_widths=()")
        return self


def mixer(cfg: MixerConfig, jet: Jet, nn: Vocabulary) -> Model:
    """Build an MLP-Mixer.

    Args:
        cfg: the architecture.
        jet: sizes given by the data.
        nn: float or quantised arithmetic.

    Returns:
        A model with the input ``features`` (B, N, F; pT-sorted, zeros in empty slots) and the output ``logits``
        (B, classes).
    """
    nn.declare(point="nm", channel="dec")
    features = nn.input("features", (jet.num_particles, jet.num_features), "bnd")  # (B, N, F)
    scale = Linear("bnd,d->bnd", {}, "d", norm=Norm("input_norm", cfg.norm))
    x = nn.dense(features, "scaled", scale)  # (B, N, F)
    for index in range(cfg.blocks):
        x = nn.add(_mix(cfg, jet, nn, x, f"m{index}"), x, "bnd", f"m{index}_residual")  # (B, N, F)
    x, widths = mlp(nn, x, "token", cfg.token_widths, cfg.norm), cfg.fc_widths  # (B, N, D)
    if cfg.head == "flatten":
        x, widths = flatten_dense(nn, x, "flat", widths[0], cfg.norm), widths[1:]  # (B, D)
    else:
        x = nn.dense(x, "slots", Linear("bnd,n->bd", {}, None))  # (B, D)
    logits = classify(nn, x, widths, cfg.norm, jet.num_classes)
    return nn.model({"features": features}, logits, cfg)


def _mix(cfg: MixerConfig, jet: Jet, nn: Vocabulary, x: Tensor, p: str) -> Tensor:
    """Over features, then over slots: (B, N, F) -> (B, N, F)."""
    x = mlp(nn, x, f"{p}_feature", (*cfg.feature_widths, jet.num_features), cfg.norm)
    widths = (*cfg.particle_widths, jet.num_particles)
    for index, width in enumerate(widths):
        name = f"{p}_slot{index}"
        linear = Linear(
            "bnd,nm->bmd",
            {"m": width},
            "m",
            activation="linear" if index == len(widths) - 1 else "relu",
            norm=Norm(f"{name}_norm", cfg.norm, axis=-2),
        )
        x = nn.dense(x, name, linear)
    return x


MIXER = Arch(
    config=MixerConfig,
    build=mixer,
    forms={
        "weighted": MixerConfig(feature_widths=(7,), token_widths=(6,), fc_widths=(5,)),
        "flat": MixerConfig(
            blocks=2, feature_widths=(), particle_widths=(6,), token_widths=(), fc_widths=(5,), head="flatten"
        ),
    },
)
