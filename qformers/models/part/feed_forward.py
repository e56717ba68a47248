"""The feed-forward part of a block, of particles and of the class token alike."""

from __future__ import annotations

from qformers.models.part.config import PartConfig
from qformers.nn.vocabulary import Linear, Norm, Tensor, Vocabulary


def feed_forward(
    cfg: PartConfig,
    nn: Vocabulary,
    x: Tensor,
    axes: str,
    mask: Tensor | None,
    p: str,
    gain: float = 1.0,
    dropout: bool = False,
) -> Tensor:
    """norm -> dense -> activation -> norm -> dense, plus the (scaled) residual: `x` with axes `axes` -> the same.

    Args:
        cfg: the architecture.
        nn: float or quantised arithmetic.
        x: particles, or the class token.
        axes: spells those of `x`.
        mask: particles that the statistics of the norms count; None = all.
        p: beginning of the layers' names.
        gain: on the initial weights of the last step.
        dropout: whether there is any in training; class blocks have none.
    """
    outer = axes[:-1]
    y = nn.norm(x, Norm(f"{p}_ffn_pre_norm", cfg.norm, mask))
    inner = cfg.ffn_ratio * cfg.width
    y = nn.dense(y, f"{p}_ffn_fc1", Linear(f"{axes},df->{outer}f", {"f": inner}, "f", activation=cfg.activation))
    y = nn.dropout(y, cfg.activation_dropout if dropout else 0.0, f"{p}_ffn_activation_dropout")
    if cfg.scale_fc:
        y = nn.norm(y, Norm(f"{p}_ffn_norm", cfg.norm, mask))
    y = nn.dense(y, f"{p}_ffn_fc2", Linear(f"{outer}f,fd->{axes}", {"d": cfg.width}, "d", gain=gain))
    y = nn.dropout(y, cfg.dropout if dropout else 0.0, f"{p}_ffn_dropout")
    if cfg.scale_resids:
        x = nn.residual_factors(x, f"{p}_ffn_resid")
    return nn.add(y, x, axes, f"{p}_ffn_residual")
