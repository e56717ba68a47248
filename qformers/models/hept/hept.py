"""HEPT, the point transformer on locality-sensitive hashing (arXiv:2402.12535), written once over a vocabulary.

In the float vocabulary with the published configuration this is the model of Graph-COM/HEPT (its ``example`` form) to
rounding, as long as no block holds padding; there, upstream lets copies of real points act as keys and we let nothing
act. Masked points come last in every order and never reach another point. The attention has two forms of one function,
`attention_kernel` (as published) and `attention_tables` (which fixed point takes); all else is said once, here.

Symbols in shapes: B batch, N points, P = N padded to a multiple of the block, F features, C coordinates, D width,
H heads, E = D + C, O hashes, M blocks of S points, T sides (queries, keys).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qformers.errors import ConfigError
from qformers.models.hept import attention_kernel, attention_tables
from qformers.models.hept import layers as hept_layers
from qformers.models.hept.attention_kernel import KernelCloud
from qformers.models.hept.attention_tables import TablesCloud
from qformers.models.hept.common import dense, initial
from qformers.models.hept.config import HeptConfig
from qformers.models.sizes import Sizes
from qformers.nn.index import padding
from qformers.nn.vocabulary import Linear, Model, Norm, Tensor, Vocabulary

NO_CATEGORIES = "fixed point has no learned vectors of numbers; set model.embeddings: []"


def hept(cfg: HeptConfig, sizes: Sizes, nn: Vocabulary) -> Model:
    """Build a HEPT.

    Args:
        cfg: the architecture.
        sizes: N points per event and F features, given by the data; classes are not read (``cfg.outputs``).
        nn: the vocabulary.

    Returns:
        A model with inputs ``features`` (B, N, F), ``coords`` (B, N, C), ``mask`` (B, N; 1 = real) and, for
        ``order: host``, ``order`` (B, O, N), and the output ``embedding`` (B, N, head_width) or ``logits``
        (B, N, outputs). Rows of masked points mean nothing.

    Raises:
        ConfigError: the vocabulary cannot say what the configuration asks for, or sizes contradict each other.
    """
    if len(cfg.embeddings) >= sizes.num_features:
        raise ConfigError(
            f"hept: {len(cfg.embeddings)} embeddings need as many columns and one more. "
            f"Received: {sizes.num_features} features"
        )
    nn.declare(point="nst", order="p", block="g", head="h", channel="defroa")
    number = sizes.num_particles
    block = padding.block_of(number, cfg.block_size)
    features = nn.input("features", (number, sizes.num_features), "bnf")
    coords = nn.input("coords", (number, cfg.coords), "bnd")
    mask = nn.input("mask", (number,), "bn")
    inputs = [features, coords, mask]
    given = None
    if cfg.order == "host":
        given = nn.input("order", (cfg.hashes, number), "bpn")
        inputs.append(given)
    x, cloud, attend = _prepared(cfg, nn, inputs[:3], given, number, block)
    x = encoder(cfg, nn, x)  # (B, P, D)
    seen = [x]
    for index in range(cfg.layers):
        x = layer(cfg, nn, x, cloud.mask, attend, f"b{index}")
        seen.append(x)
    x = cloud.end(head(cfg, nn, seen, cloud.mask), f"{cfg.head}_points")
    if number is None or number % block > 0:
        x = nn.real(padding.CutPoints, [x, mask], f"{cfg.head}_points", attention_kernel.REFUSAL)
    return nn.model({tensor.name: tensor for tensor in inputs}, x, cfg)


def _prepared(
    cfg: HeptConfig, nn: Vocabulary, inputs: Sequence[Tensor], given: Tensor | None, number: int | None, block: int
) -> tuple[Tensor, KernelCloud | TablesCloud, Callable[[Tensor, str], Tensor]]:
    """Features as the encoder reads them, what all layers share, and the attention of one layer."""
    if cfg.attention == "tables":
        tables = attention_tables.cloud_of(cfg, nn, inputs[1], inputs[2], given, number, block)
        return tables.start(inputs[0]), tables, lambda y, p: attention_tables.attention(cfg, nn, y, tables, p)
    if number is None or number % block > 0:
        inputs = [
            nn.real(padding.PadPoints, tensor, f"{tensor.name}_padded", attention_kernel.REFUSAL, block=block)
            for tensor in inputs
        ]
    features, coords, mask = inputs
    features = nn.real(padding.Hide, [features, mask], "features_real", attention_kernel.REFUSAL)
    kernel = attention_kernel.cloud_of(cfg, nn, coords, mask, given, block)
    return features, kernel, lambda y, p: attention_kernel.attention(cfg, nn, y, kernel, p)


def encoder(cfg: HeptConfig, nn: Vocabulary, x: Tensor) -> Tensor:
    if cfg.embeddings:
        tables = [list(sizes) for sizes in cfg.embeddings]
        x = nn.real(hept_layers.Categories, x, "categories", NO_CATEGORIES, tables=tables)
    x = dense(cfg, nn, x, "encoder0", cfg.width, activation=cfg.activation)
    return dense(cfg, nn, x, "encoder1", cfg.width)


def layer(
    cfg: HeptConfig, nn: Vocabulary, x: Tensor, mask: Tensor, attention: Callable[[Tensor, str], Tensor], p: str
) -> Tensor:
    """Attention in blocks, then the feed-forward part, both behind a norm: (B, P, D) -> (B, P, D).

    `attention` takes normed points (B, P, D) and the beginning of its layers' names and gives (B, P, H, D).
    """
    y = nn.norm(x, Norm(f"{p}_attn_norm", cfg.norm, mask))
    context = attention(y, f"{p}_attn")  # (B, P, H, D)
    out = Linear("bnhe,hed->bnd", {"d": cfg.width}, "d", initial=initial(cfg, feeds_activation=False))
    y = nn.dropout(nn.dense(context, f"{p}_attn_out", out), cfg.dropout, f"{p}_attn_dropout")
    x = nn.add(x, y, "bnd", f"{p}_attn_residual")
    y = nn.norm(x, Norm(f"{p}_ffn_norm", cfg.norm, mask))
    y = dense(cfg, nn, y, f"{p}_ffn_fc1", cfg.width, activation=cfg.activation)
    y = nn.dropout(dense(cfg, nn, y, f"{p}_ffn_fc2", cfg.width), cfg.dropout, f"{p}_ffn_dropout")
    return nn.add(x, y, "bnd", f"{p}_ffn_residual")


def head(cfg: HeptConfig, nn: Vocabulary, seen: list[Tensor], mask: Tensor) -> Tensor:
    """From the points after each layer to the embedding or the logits."""
    x = nn.concatenate(seen, "layers_joined")  # (B, P, (L + 1) D)
    outside = initial(cfg, feeds_activation=False)
    norm = Norm("project_norm", cfg.norm, mask) if cfg.head_norm else None
    without_bias = {"bias_axes": None, "folded_bias_axes": "e", "norm": norm, "initial": outside}
    x = dense(cfg, nn, x, "project", cfg.head_width, **without_bias)
    y = x
    for index, width in enumerate(cfg.head_widths):
        norm = Norm(f"head{index}_norm", cfg.norm, mask)
        y = dense(cfg, nn, y, f"head{index}", width, activation=cfg.head_activation, norm=norm)
    y = nn.dropout(dense(cfg, nn, y, "head_out", cfg.head_width), cfg.dropout, "head_dropout")
    if cfg.head == "embedding":
        return nn.add(x, y, "bnd", "embedding")
    x = nn.add(x, y, "bnd", "head_residual")
    return dense(cfg, nn, x, "logits", cfg.outputs, initial=outside)
