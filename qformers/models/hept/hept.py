"""HEPT, the point transformer on locality-sensitive hashing (arXiv:2402.12535), written once over a vocabulary.

In the float vocabulary with the published configuration this is the model of Graph-COM/HEPT (its ``example`` form) to
rounding, as long as no block holds padding; there, upstream lets copies of real points act as keys and we let nothing
act. Masked points come last in every order and never reach another point. In fixed point the attention has another form
of the same function (`qformers.models.hept.attention_tables`); all else is said once, here.

Symbols in shapes: B batch, N points, P = N padded to a multiple of the block, F features, C coordinates, D width,
H heads, E = D + C, O hashes, M blocks of S points, T sides (queries, keys).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.errors import ConfigError
from qformers.models.hept import layers as hept_layers
from qformers.models.hept.config import HeptConfig
from qformers.models.sizes import Sizes
from qformers.nn.index import lsh
from qformers.nn.index import padding as points
from qformers.nn.index.host_order import HostOrder
from qformers.nn.vocabulary import Linear, Norm, Tensor, Vocabulary


@dataclass(frozen=True)
class Cloud:
    """The points of an event, as every layer reads them."""

    coords: Tensor  # (B, P, C), as the kernel sees them; zero in masked points
    real: Tensor  # (B, P, 1, 1), the mask as a value of one channel
    codes: Tensor | None  # (B, O, H or 1, P), regions; None where the host gives the order
    order: Tensor | None  # (B, 1, O, 1, P), one order for all layers; None where each layer has its own
    block: int  # S


def hept(cfg: HeptConfig, sizes: Sizes, nn: Vocabulary) -> keras.Model:
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
    number = sizes.num_particles
    block = points.block_of(number, cfg.block_size)
    inputs = [nn.input("features", (number, sizes.num_features)), nn.input("coords", (number, cfg.coords))]
    inputs += [nn.input("mask", (number,))]
    if cfg.order == "host":
        inputs += [nn.input("order", (cfg.hashes, number))]
    given = inputs[3] if cfg.order == "host" else None
    if not nn.norms:
        from qformers.models.hept.attention_tables import fixed_hept
        from qformers.nn.hgq import Hgq

        return fixed_hept(cfg, cast(Hgq, nn), inputs, block)
    padding = number is None or number % block > 0
    features, coords, mask = (_padded(tensor, block) if padding else tensor for tensor in inputs[:3])
    features = points.Hide(dtype=mask.dtype, name="features_real")([features, mask])
    cloud = _cloud(cfg, nn, coords, mask, given, block)

    x = encoder(cfg, nn, features)  # (B, P, D)
    seen = [x]
    for index in range(cfg.layers):
        x = layer(cfg, nn, x, mask, lambda y, p: _attention(cfg, nn, y, cloud, p), f"b{index}")
        seen.append(x)
    x = head(cfg, nn, seen, mask)
    if padding:
        x = points.CutPoints(dtype=x.dtype, name=f"{cfg.head}_points")([x, inputs[2]])
    return nn.model({tensor.name: tensor for tensor in inputs}, x, "hept")


def _padded(tensor: Tensor, block: int) -> Tensor:
    return points.PadPoints(block, dtype=tensor.dtype, name=f"{tensor.name}_padded")(tensor)


def _cloud(cfg: HeptConfig, nn: Vocabulary, coords: Tensor, mask: Tensor, given: Tensor | None, block: int) -> Cloud:
    dtype = mask.dtype
    coords = points.Hide(dtype=dtype, name="coords_real")([coords, mask])
    real = keras.layers.Reshape((-1, 1, 1), dtype=dtype, name="mask_column")(mask)
    seen = coords
    if cfg.coord_scales:
        seen = nn.wires(coords, scales_of(cfg), "bnr,rq->bnq", "coords_scaled", "")
    if cfg.hash != "coords":
        regions = lsh.RegionCodes(cfg.hashes, cfg.heads, cfg.region_axes, cfg.regions, dtype=dtype, name="regions")
        return Cloud(seen, real, regions([coords, mask]), None, block)
    drawn = HostOrder.drawn(cfg, cfg.order_seed)
    counts, alpha = drawn.regions.tolist(), drawn.alpha.tolist()
    if given is not None:
        order = lsh.GivenOrder(counts, alpha, dtype=dtype, name="order_slots")([given, mask])
        return Cloud(seen, real, None, order, block)
    regions = lsh.RegionCodes(cfg.hashes, 1, cfg.region_axes, cfg.regions, counts, dtype=dtype, name="regions")
    codes = regions([coords, mask])  # (B, O, 1, P)
    cut = points.Columns(cfg.region_axes, dtype=dtype, name="coords_cut")(coords)  # (B, P, 1, A)
    order = lsh.LshOrder(cfg.hashes, alpha, dtype=dtype, name="order_of_coords")([codes, cut])
    return Cloud(seen, real, codes, order, block)


def scales_of(cfg: HeptConfig) -> NDArray[np.float64]:
    """``coord_scales`` as a kernel (C, coordinates that are seen)."""
    scales = np.asarray(cfg.coord_scales or (1.0,) * cfg.coords)
    return np.asarray(np.diag(scales)[:, scales != 0])


def _initial(cfg: HeptConfig, feeds_activation: bool = True) -> Any:
    """PyTorch's draw, as published; HEPT-CMS draws layers around a SiLU and the other ones in two ways of its own."""
    if cfg.activation != "silu":
        return "torch_conv"
    return "silu" if feeds_activation else "kaiming"


def _dense(cfg: HeptConfig, nn: Vocabulary, x: Tensor, name: str, width: int, **more: Any) -> Tensor:
    linear = Linear("bnd,de->bne", {"e": width}, more.pop("bias_axes", "e"), **{"initial": _initial(cfg), **more})
    return nn.dense(x, name, linear)


def encoder(cfg: HeptConfig, nn: Vocabulary, x: Tensor) -> Tensor:
    if cfg.embeddings:
        tables = [list(sizes) for sizes in cfg.embeddings]
        x = hept_layers.Categories(tables, dtype=x.dtype, name="categories")(x)
    x = _dense(cfg, nn, x, "encoder0", cfg.width, activation=cfg.activation)
    return _dense(cfg, nn, x, "encoder1", cfg.width)


def layer(
    cfg: HeptConfig, nn: Vocabulary, x: Tensor, mask: Tensor, attention: Callable[[Tensor, str], Tensor], p: str
) -> Tensor:
    """Attention in blocks, then the feed-forward part, both behind a norm: (B, P, D) -> (B, P, D).

    `attention` takes normed points (B, P, D) and the beginning of its layers' names and gives (B, P, H, D).
    """
    y = nn.norm(x, Norm(f"{p}_attn_norm", cfg.norm, mask))
    context = attention(y, f"{p}_attn")  # (B, P, H, D)
    out = Linear("bnhe,hed->bnd", {"d": cfg.width}, "d", initial=_initial(cfg, feeds_activation=False))
    y = nn.dropout(nn.dense(context, f"{p}_attn_out", out), cfg.dropout, f"{p}_attn_dropout")
    x = nn.add(x, y, "bnd", f"{p}_attn_residual")
    y = nn.norm(x, Norm(f"{p}_ffn_norm", cfg.norm, mask))
    y = _dense(cfg, nn, y, f"{p}_ffn_fc1", cfg.width, activation=cfg.activation)
    y = nn.dropout(_dense(cfg, nn, y, f"{p}_ffn_fc2", cfg.width), cfg.dropout, f"{p}_ffn_dropout")
    return nn.add(x, y, "bnd", f"{p}_ffn_residual")


def _attention(cfg: HeptConfig, nn: Vocabulary, x: Tensor, cloud: Cloud, p: str) -> Tensor:
    """Sums over the blocks of each hash, then their ratio: (B, P, D) -> (B, P, H, D)."""
    dtype = x.dtype

    def project(which: str) -> Tensor:
        sizes = {"h": cfg.heads, "e": cfg.width}
        return nn.dense(x, f"{p}_{which}", Linear("bnd,dhe->bnhe", sizes, None, initial=_initial(cfg)))

    scales = hept_layers.ScaledCoords(
        cfg.heads,
        cfg.width,
        cfg.scale_terms,
        cfg.shared_scale,
        cfg.activation == "silu",
        dtype=dtype,
        name=f"{p}_scale",
    )
    scaled = scales(cloud.coords)  # (B, P, H, C)
    join = keras.layers.Concatenate
    queries = join(dtype=dtype, name=f"{p}_q_hat")([project("q"), scaled])  # (B, P, H, E)
    keys = join(dtype=dtype, name=f"{p}_k_hat")([project("k"), scaled])
    order = cloud.order
    if order is None:
        hashed = [queries, keys] if cfg.hash == "latent" else [scaled]
        order = lsh.LshOrder(cfg.hashes, dtype=dtype, name=f"{p}_order")([cloud.codes, *hashed])

    def blocks(tensor: Tensor, which: str, side: int) -> Tensor:
        return lsh.ToBlocks(cloud.block, side, dtype=dtype, name=f"{p}_{which}_blocks")([tensor, order])

    kernel = hept_layers.BlockKernel(cfg.kernel, cfg.sink, dtype=dtype, name=f"{p}_kernel")
    in_blocks = [blocks(queries, "q", 0), blocks(keys, "k", 1), blocks(project("v"), "v", 1)]
    sums = kernel([*in_blocks, blocks(cloud.real, "mask", 1)])  # (B, O, H, M, S, D + 1 or 2)
    sums = lsh.FromBlocks(dtype=dtype, name=f"{p}_unsorted")([sums, order])  # (B, O, H, P, D + 1 or 2)
    return hept_layers.CombineHashes(cfg.kernel, dtype=dtype, name=f"{p}_context")(sums)


def head(cfg: HeptConfig, nn: Vocabulary, seen: list[Tensor], mask: Tensor) -> Tensor:
    """From the points after each layer to the embedding or the logits."""
    x = keras.layers.Concatenate(dtype=mask.dtype, name="layers_joined")(seen)  # (B, P, (L + 1) D)
    outside = _initial(cfg, feeds_activation=False)
    x = _dense(cfg, nn, x, "project", cfg.head_width, bias_axes=None, initial=outside)
    if cfg.head_norm:
        x = nn.norm(x, Norm("project_norm", cfg.norm, mask))
    y = x
    for index, width in enumerate(cfg.head_widths):
        norm = Norm(f"head{index}_norm", cfg.norm, mask)
        y = _dense(cfg, nn, y, f"head{index}", width, activation=cfg.head_activation, norm=norm)
    y = nn.dropout(_dense(cfg, nn, y, "head_out", cfg.head_width), cfg.dropout, "head_dropout")
    if cfg.head == "embedding":
        return nn.add(x, y, "bnd", "embedding")
    x = nn.add(x, y, "bnd", "head_residual")
    return _dense(cfg, nn, x, "logits", cfg.outputs, initial=outside)
