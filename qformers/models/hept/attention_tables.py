"""HEPT's attention in fixed point: differences, tables and sums of bounded numbers.

The float form (`qformers.models.hept.layers`, kernel "sink") in steps that firmware has, so that nothing is computed in
floating point on the chip:

- The order of the points comes from the coordinates alone and is shared by all layers and heads; the host gives it, or
  the chip sorts. Points are moved by
  gathers (`qformers.nn.index.lsh`), which round nothing; they are moved before they are projected, so that one row per
  point and order moves.
- The logit z = -1/2 sum_e (q - k)_e^2 - sum_r s_r (c - c')_r^2 is a sum of tables of differences: d -> d^2/2, saturated
  in its argument. A table has no cancellation, which q.k - q^2/2 - k^2/2 has, and at 8 bits costs less than a product.
- Real keys are lifted by a constant C instead of masked ones being lowered (`Hgq.lift`); a softmax only sees
  differences. The sink, a key of value 0 and logit `HeptConfig.sink`, keeps every exponent in reach of a table.
- Numerator, denominator and largest logit of each order return to the slots of the points and are brought to one scale;
  the denominator lies in [1, O (S + 1)], so that its reciprocal is a bounded table.
- With a single order the points are moved once, in front of everything, and moved back once, behind it.

Symbols in shapes: B batch, N points, D width, C coordinates, H heads, O orders (hashes), M blocks of S points. Letters
of equations: b event, p order, g block, s query, t key, h head, e channel, r coordinate, n point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hgq.quantizer import Quantizer

from qformers.errors import ConfigError
from qformers.models.hept import tables as tables
from qformers.models.hept.config import HeptConfig
from qformers.models.hept.hept import encoder, head, layer, scales_of
from qformers.nn.hgq import Hgq
from qformers.nn.index import lsh, select
from qformers.nn.index.host_order import HostOrder
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.vocabulary import Linear, Norm, Tensor
from qformers.precision.fixed import Fixed
from qformers.quant.fold import to_numpy


@dataclass(frozen=True)
class FixedCloud:
    """What all layers share, in blocks.

    Attributes:
        order: (B, 1, O, 1, N), from `lsh.GivenOrder` or `SortedOrder`.
        squares: (B, O, M, S, S, C), half the squared differences of the coordinates.
        lifted: (B, O, H, M, S, S), C for real keys and 0 for masked ones.
        block: S.
    """

    order: Tensor
    squares: Tensor
    lifted: Tensor
    block: int

    @property
    def sorted(self) -> bool:
        """Whether there is one order, in which all values stand from the beginning to the end."""
        return bool(self.order.shape[2] == 1)

    def gather(self, x: Tensor, name: str) -> Tensor:
        """Rows of points into blocks, (B, N, E) -> (B, O, M, S, E)."""
        blocks = (self.order.shape[2], x.shape[1] // self.block, self.block, x.shape[2])
        if self.sorted:
            return _reshape(x, blocks, f"{name}_blocks")
        return _gathered(x, self.order, self.block, name)

    def scatter(self, x: Tensor, name: str) -> Tensor:
        """Back to the slots of the points, (B, O, H, M, S, E) -> (B, O, H, N, E)."""
        if self.sorted:
            _, orders, heads, blocks, size, channels = x.shape
            return _reshape(x, (orders, heads, blocks * size, channels), f"{name}_slots")
        return lsh.FromBlocks(name=f"{name}_slots")([x, self.order])

    def start(self, features: Tensor) -> Tensor:
        """The features as the encoder reads them: in order, where there is only one."""
        if not self.sorted:
            return features
        rows = _gathered(features, self.order, self.block, "features")  # (B, 1, M, S, F)
        return _reshape(rows, tuple(features.shape[1:]), "features_sorted_rows")

    def end(self, x: Tensor, name: str) -> Tensor:
        """The output in the slots of the points, (B, N, E)."""
        if not self.sorted:
            return x
        rows, width = x.shape[1:]
        blocks = _reshape(x, (1, 1, rows // self.block, self.block, width), f"{name}_in_order")
        slots = lsh.FromBlocks(name=f"{name}_slots")([blocks, self.order])
        return _reshape(slots, (rows, width), name)


def refuse(cfg: HeptConfig, number: int | None, block: int) -> None:
    """Raise where a configuration has no fixed-point form.

    Raises:
        ConfigError: naming the key, what it is, and what it can be.
    """
    faults = {
        "model.hash": (cfg.hash != "coords", cfg.hash, "coords: queries and keys of each layer cannot be sorted anew"),
        "model.kernel": (cfg.kernel != "sink", cfg.kernel, "sink: the denominators of `direct` reach 1e-20"),
        "model.embeddings": (bool(cfg.embeddings), cfg.embeddings, "[]: there are no learned vectors of numbers"),
        "data.num_particles": (
            number is None or number % block > 0,
            number,
            f"a multiple of model.block_size ({block})",
        ),
    }
    for key, (wrong, value, allowed) in faults.items():
        if wrong:
            raise ConfigError(f"a quantised hept takes {key}: {allowed}. Received: {value}")


def fixed_hept(cfg: HeptConfig, nn: Hgq, inputs: Sequence[Tensor], block: int) -> keras.Model:
    """HEPT in fixed point, from the inputs on: features, coords, mask and, from the host, order.

    Raises:
        ConfigError: see `refuse`.
    """
    features, coords, mask, *given = inputs
    refuse(cfg, features.shape[1], block)
    cloud = fixed_cloud(cfg, nn, coords, mask, given, block)
    x = encoder(cfg, nn, cloud.start(features))
    seen = [x]
    for index in range(cfg.layers):
        x = layer(cfg, nn, x, mask, lambda y, p: fixed_attention(cfg, nn, y, cloud, p), f"b{index}")
        seen.append(x)
    x = cloud.end(head(cfg, nn, seen, mask), f"{cfg.head}_points")
    return nn.model({tensor.name: tensor for tensor in inputs}, x, "hept")


def fixed_cloud(
    cfg: HeptConfig, nn: Hgq, coords: Tensor, mask: Tensor, given: Sequence[Tensor], block: int
) -> FixedCloud:
    """Once per event: the order, the mask and the squared differences of the coordinates of all pairs in a block.

    Args:
        cfg: the architecture.
        nn: fixed point.
        coords: (B, N, C).
        mask: (B, N).
        given: the order (B, O, N) where the host gives it, else empty.
        block: S.
    """
    form = nn.formats.own("coords_rounded", "Quantizer", "input", nn.quant.coords)
    coords = Quantizer(nn.formats.fixed(str(form)), name="coords_rounded")(coords)
    bits = Quantizer(nn.formats.fixed("ufixed<1,1>"), name="mask_rounded")(_reshape(mask, (mask.shape[1], 1), "column"))
    drawn = HostOrder.drawn(cfg, cfg.order_seed)
    numbers = (drawn.regions.tolist(), drawn.alpha.tolist())
    if given:
        order = lsh.GivenOrder(*numbers, name="order_slots")([given[0], mask])
    else:
        order = SortedOrder(*numbers, form.fraction_bits, name="order_slots")([coords, bits])
    scales = scales_of(cfg)
    if cfg.coord_scales:  # wires, once compiled
        coords = nn.wires(coords, scales, "bnr,rq->bnq", "coords_scaled", str(form))
    rows = _gathered(coords, order, block, "coords")  # (B, O, M, S, C)
    coarse, fine = (round(math.log2(limit(scales[scales > 0]))) for limit in (np.max, np.min))
    exact = Fixed(True, form.integer_bits + coarse, form.fraction_bits - fine, "RND", "SAT")
    differences = _across(nn, rows, rows, "coords_differences", str(exact))  # (B, O, M, S, S, C)
    squares = nn.table(differences, tables.half_squares(nn), "coords_squares")
    real = _gathered(bits, order, block, "mask")
    real = _reshape(real, real.shape[1:4], "mask_blocks_flat")  # (B, O, M, S)
    lifts = np.full((cfg.heads, block), nn.lift)
    return FixedCloud(order, squares, nn.wires(real, lifts, "bpgt,hs->bphgst", "mask_lift", "ufixed<1,1>"), block)


def fixed_attention(cfg: HeptConfig, nn: Hgq, x: Tensor, cloud: FixedCloud, p: str) -> Tensor:
    """Sums over the blocks of each order, then their ratio: (B, N, D), normed -> (B, N, H, D)."""
    inside = cloud.gather(x, p)  # (B, O, M, S, D)
    nn.norm(inside, Norm(f"{p}_norm", cfg.norm))  # moving rows does not change what norms see

    def project(which: str) -> Tensor:
        sizes = {"h": cfg.heads, "e": cfg.width}
        return nn.dense(
            inside, f"{p}_{which}", Linear("bpgsd,dhe->bphgse", sizes, "he" if cfg.norm == "batch" else None)
        )

    z = _logits(cfg, nn, project("q"), project("k"), cloud, p)  # (B, O, H, M, S, S)
    sink = tables.sink_of(cfg, nn)
    top = select.Largest(-1, nn.lift + sink, name=f"{p}_top")(z)  # (B, O, H, M, S, 1)
    weights = _exp_below(nn, top, z, f"{p}_exp")
    context = nn.einsum("bphgst,bphgte->bphgse", weights, project("v"), f"{p}_num")
    # the sink is a key more: its distance from the top is a sum of the top and a constant
    form = str(tables.logit_format(nn))
    below = nn.wires(
        top, np.ones((1, 1)), "bphgso,oa->bphgsa", f"{p}_sink", form, np.full(top.shape[1:], -nn.lift - sink)
    )
    exp = nn.table(below, tables.exponential(nn), f"{p}_sink_exp")
    total = nn.wires(weights, np.ones((cloud.block, 1)), "bphgst,to->bphgso", f"{p}_keys", tables.exponential(nn).value)
    total = nn.sum(total, exp, str(tables.total_format(nn, cloud.block + 1)), f"{p}_den")

    context, total, top = (
        cloud.scatter(part, f"{p}_{name}") for name, part in (("num", context), ("den", total), ("top", top))
    )  # (B, O, H, N, D or 1)
    if cfg.hashes > 1:
        share = _exp_below(nn, select.Largest(1, name=f"{p}_best")(top), top, f"{p}_share")
        context = nn.einsum("bphno,bphne->bhne", share, context, f"{p}_num_or")
        total = nn.einsum("bphno,bphno->bhno", share, total, f"{p}_den_or")
    else:
        context, total = (
            _reshape(part, part.shape[2:], f"{p}_{name}_or") for name, part in (("num", context), ("den", total))
        )
    inverse = nn.table(total, tables.reciprocals(nn, cfg.hashes * (cloud.block + 1)), f"{p}_inverse")
    return nn.einsum("bhne,bhno->bnhe", context, inverse, f"{p}_context")


def _logits(cfg: HeptConfig, nn: Hgq, queries: Tensor, keys: Tensor, cloud: FixedCloud, p: str) -> Tensor:
    """C + z of real keys and 0 of masked ones, both sides (B, O, H, M, S, D) -> (B, O, H, M, S, S)."""
    squares = nn.table(_across(nn, queries, keys, f"{p}_differences"), tables.half_squares(nn), f"{p}_squares")
    minus = -np.ones(squares.shape[-1])
    latent = nn.wires(squares, minus, "bphgste,e->bphgst", f"{p}_latent", tables.half_squares(nn).value)
    scale = Linear("bpgstr,rh->bphgst", {"h": cfg.heads}, None)
    spatial = nn.derived_dense(cloud.squares, f"{p}_spatial", scale, _MinusScales(f"{p}_scale"))
    z = nn.sum(latent, spatial, nn.quant.logits, f"{p}_z")
    z = nn.lifted(z, cloud.lifted, f"{p}_lifted")
    return Quantizer(nn.formats.fixed(str(tables.logit_format(nn))), name=f"{p}_logits")(z)


class _MinusScales:
    """Weights (C, H) of half the squared differences: -2 s of the float layer `ScaledCoords`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, model: Any) -> tuple[Any, None]:
        return -2.0 * to_numpy(model.get_layer(self.name).scales()).T, None


def _exp_below(nn: Hgq, top: Tensor, x: Tensor, name: str) -> Tensor:
    """exp(x - top) by a table; both are on the grid of the logits."""
    depth = nn.minus(top, x, f"{name}_depth", str(tables.logit_format(nn)))
    return nn.table(depth, tables.exponential(nn), name)


def _reshape(x: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    return keras.layers.Reshape(shape, name=name)(x)


def _gathered(x: Tensor, order: Tensor, block: int, p: str) -> Tensor:
    """(B, N, E) -> (B, O, M, S, E)."""
    slots, channels = x.shape[1:]
    column = _reshape(x, (slots, 1, channels), f"{p}_column")
    blocks = lsh.ToBlocks(block, name=f"{p}_blocks")([column, order])  # (B, O, 1, M, S, E)
    return _reshape(blocks, (blocks.shape[1], *blocks.shape[3:]), f"{p}_sorted")


def _across(nn: Hgq, a: Tensor, b: Tensor, name: str, form: str | None = None) -> Tensor:
    """a_s - b_t of all pairs in a block, (..., S, E) twice -> (..., S, S, E)."""
    outer, (size, channels) = a.shape[1:-2], a.shape[-2:]
    rows = _reshape(a, (*outer, size, 1, channels), f"{name}_queries")
    columns = _reshape(b, (*outer, 1, size, channels), f"{name}_keys")
    return nn.minus(rows, columns, name, form, axes="bphgste" if len(outer) == 3 else "bpgstr")
