"""Dot-product attention: what several architectures say alike."""

from __future__ import annotations

from qformers.nn.vocabulary import Tensor, Vocabulary


def attend(nn: Vocabulary, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None, p: str) -> Tensor:
    """Sums of values by the softmax of the products of queries and keys (arXiv:1706.03762, equation 1).

    Args:
        nn: the vocabulary.
        query: (B, N, H, d), the factor 1 / sqrt(d) in it.
        key, value: (B, K, H, d).
        hidden: mask (B, K) of keys, 1 = real; None = every key counts.
        p: prefix of the names of layers.

    Returns:
        (B, N, H, d).
    """
    scores = nn.einsum("bqhe,bkhe->bhqk", query, key, f"{p}_scores")  # (B, H, N, K)
    weights = nn.softmax(nn.logits(scores, None, hidden, f"{p}_logits"), f"{p}_weights")
    return nn.einsum("bhqk,bkhe->bqhe", weights, value, f"{p}_context")
