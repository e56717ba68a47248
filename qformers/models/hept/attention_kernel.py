"""HEPT's attention as published: a kernel of queries and keys in blocks, sums over the blocks of each hash, a ratio.

Symbols in shapes as in `qformers.models.hept.hept`.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras

from qformers.models.hept import layers as hept_layers
from qformers.models.hept.common import initial, scales_of
from qformers.models.hept.config import HeptConfig
from qformers.nn.index import lsh, padding
from qformers.nn.index.host_order import HostOrder
from qformers.nn.vocabulary import Linear, Tensor, Vocabulary

REFUSAL = (
    "attention: kernel has products of numbers that cancel, which fixed point does not hold; set model.attention: "
    "tables, the same function"
)


@dataclass(frozen=True)
class KernelCloud:
    """The points of an event, as every layer reads them.

    Attributes:
        coords: (B, P, C), as the kernel sees them; zero in masked points.
        mask: (B, P).
        column: (B, P, 1, 1), the mask as a value of one channel.
        codes: (B, O, H or 1, P), regions; None where the host gives the order.
        order: (B, 1, O, 1, P), one order for all layers; None where each layer has its own.
        block: S.
    """

    coords: Tensor
    mask: Tensor
    column: Tensor
    codes: Tensor | None
    order: Tensor | None
    block: int

    def start(self, features: Tensor) -> Tensor:
        """The features as the encoder reads them."""
        return features

    def end(self, x: Tensor, name: str) -> Tensor:
        """The output in the slots of the points."""
        return x


def cloud_of(
    cfg: HeptConfig, nn: Vocabulary, coords: Tensor, mask: Tensor, given: Tensor | None, block: int
) -> KernelCloud:
    """Once per event: regions and, where all layers share it, the order.

    Args:
        cfg: the architecture.
        nn: the vocabulary.
        coords: (B, P, C).
        mask: (B, P).
        given: (B, O, N), the order where the host gives it.
        block: S.
    """
    coords = nn.real(padding.Hide, [coords, mask], "coords_real", REFUSAL)
    column = nn.move(keras.layers.Reshape, mask, "mask_column", target_shape=(-1, 1, 1))
    seen = coords
    if cfg.coord_scales:
        seen = nn.wires(coords, scales_of(cfg), "bnr,rq->bnq", "coords_scaled", "")
    sizes = {"hashes": cfg.hashes, "axes": cfg.region_axes, "regions": cfg.regions}
    if cfg.hash != "coords":
        codes = nn.real(lsh.RegionCodes, [coords, mask], "regions", REFUSAL, heads=cfg.heads, **sizes)
        return KernelCloud(seen, mask, column, codes, None, block)
    drawn = HostOrder.drawn(cfg, cfg.order_seed)
    counts, alpha = drawn.regions.tolist(), drawn.alpha.tolist()
    if given is not None:
        order = nn.move(lsh.GivenOrder, given, "order_slots", mask, regions=counts, alpha=alpha)
        return KernelCloud(seen, mask, column, None, order, block)
    codes = nn.real(lsh.RegionCodes, [coords, mask], "regions", REFUSAL, heads=1, drawn=counts, **sizes)  # (B, O, 1, P)
    cut = nn.real(padding.Columns, coords, "coords_cut", REFUSAL, columns=cfg.region_axes)  # (B, P, 1, A)
    order = nn.real(lsh.LshOrder, [codes, cut], "order_of_coords", REFUSAL, hashes=cfg.hashes, drawn=alpha)
    return KernelCloud(seen, mask, column, codes, order, block)


def attention(cfg: HeptConfig, nn: Vocabulary, x: Tensor, cloud: KernelCloud, p: str) -> Tensor:
    """Sums over the blocks of each hash, then their ratio: (B, P, D) -> (B, P, H, D)."""

    def project(which: str) -> Tensor:
        sizes = {"h": cfg.heads, "e": cfg.width}
        return nn.dense(x, f"{p}_{which}", Linear("bnd,dhe->bnhe", sizes, None, initial=initial(cfg)))

    scaled = nn.real(  # (B, P, H, C)
        hept_layers.ScaledCoords,
        cloud.coords,
        f"{p}_scale",
        REFUSAL,
        heads=cfg.heads,
        width=cfg.width,
        terms=cfg.scale_terms,
        shared=cfg.shared_scale,
        normal=cfg.activation == "silu",
    )
    queries = nn.concatenate([project("q"), scaled], f"{p}_q_hat")  # (B, P, H, E)
    keys = nn.concatenate([project("k"), scaled], f"{p}_k_hat")
    order = cloud.order
    if order is None:
        hashed = [queries, keys] if cfg.hash == "latent" else [scaled]
        order = nn.real(lsh.LshOrder, [cloud.codes, *hashed], f"{p}_order", REFUSAL, hashes=cfg.hashes)

    def blocks(tensor: Tensor, which: str, side: int) -> Tensor:
        return nn.move(lsh.ToBlocks, tensor, f"{p}_{which}_blocks", order, block=cloud.block, side=side)

    in_blocks = [blocks(queries, "q", 0), blocks(keys, "k", 1), blocks(project("v"), "v", 1)]
    in_blocks.append(blocks(cloud.column, "mask", 1))
    sums = nn.real(  # (B, O, H, M, S, D + 1 or 2)
        hept_layers.BlockKernel, in_blocks, f"{p}_kernel", REFUSAL, kernel=cfg.kernel, sink=cfg.sink
    )
    sums = nn.move(lsh.FromBlocks, sums, f"{p}_unsorted", order)  # (B, O, H, P, D + 1 or 2)
    return nn.real(hept_layers.CombineHashes, sums, f"{p}_context", REFUSAL, kernel=cfg.kernel)
