"""Chains of dense steps, and the pooling over particles that the peers of ParT share."""

from __future__ import annotations

from typing import Literal

from qformers.nn.vocabulary import Linear, Norm, Tensor, Vocabulary

FoldedNorm = Literal["batch", "none"]  # batch norm behind each dense step, folded into it in fixed point


def mlp(
    nn: Vocabulary, x: Tensor, name: str, widths: tuple[int, ...], norm: FoldedNorm, mask: Tensor | None = None
) -> Tensor:
    """Dense, batch norm and ReLU for each width, on the last axis of `x` (B, D) or (B, N, D).

    Args:
        nn: float or quantised arithmetic.
        x: what to start from.
        name: of the layers: ``name0``, ``name1``, ...
        widths: of the layers; none gives back `x`.
        norm: batch, or none.
        mask: (B, N) for `x` (B, N, D): the particles that the statistics of the norms count; None = all slots.
    """
    outer = "bn" if len(x.shape) == 3 else "b"
    for index, width in enumerate(widths):
        linear = Linear(
            f"{outer}d,de->{outer}e",
            {"e": width},
            "e",
            activation="relu",
            norm=Norm(f"{name}{index}_norm", norm, mask),
        )
        x = nn.dense(x, f"{name}{index}", linear)
    return x


def classify(nn: Vocabulary, x: Tensor, widths: tuple[int, ...], norm: FoldedNorm, classes: int) -> Tensor:
    """Hidden layers ``fc0``, ... and the logits: (B, D) -> (B, classes)."""
    return nn.dense(mlp(nn, x, "fc", widths, norm), "logits", Linear("bd,dc->bc", {"c": classes}, "c"))


def pool(nn: Vocabulary, x: Tensor, mask: Tensor, how: Literal["mean", "sum"], name: str) -> Tensor:
    """Mean over the real particles, or their sum times a power of two: (B, N, D) -> (B, D)."""
    return nn.mean(x, mask, name) if how == "mean" else nn.total(x, mask, name)


def flatten_dense(nn: Vocabulary, x: Tensor, name: str, width: int, norm: FoldedNorm) -> Tensor:
    """All slots side by side, then dense, batch norm and ReLU: (B, N, D) -> (B, width)."""
    linear = Linear("bnd,nde->be", {"e": width}, "e", activation="relu", norm=Norm(f"{name}_norm", norm))
    return nn.dense(x, name, linear)


def input_norm(nn: Vocabulary, features: Tensor, norm: FoldedNorm, mask: Tensor | None = None) -> Tensor:
    """Batch norm of the inputs (B, N, F) over real particles, folded into the dense step that reads them."""
    return nn.norm(features, Norm("input_norm", norm, mask))
