"""HEPT's attention as firmware has it: differences, tables and sums of bounded numbers.

The published form (`attention_kernel`, kernel "sink") in steps whose numbers fixed point holds:

- The order of the points comes from the coordinates alone and is shared by all layers and heads; the host gives it, or
  the chip sorts. Points are moved by
  gathers (`qformers.nn.index.lsh`), which round nothing; they are moved before they are projected, so that one row per
  point and order moves.
- The logit z = -1/2 sum_e (q - k)_e^2 - sum_r s_r (c - c')_r^2 is a sum of tables of differences: d -> d^2/2, saturated
  in its argument. A table has no cancellation, which q.k - q^2/2 - k^2/2 has, and at 8 bits costs less than a product.
- Real keys are lifted by a constant C instead of masked ones being lowered (`qformers.nn.softmax`); a softmax only sees
  differences. The sink, a key of value 0 and logit `HeptConfig.sink`, keeps every exponent in reach of a table.
- Numerator, denominator and largest logit of each order return to the slots of the points and are brought to one scale;
  the denominator lies in [1, O (S + 1)], so that its reciprocal is a bounded table.
- With a single order the points are moved once, in front of everything, and moved back once, behind it.

Symbols in shapes: B batch, N points, D width, C coordinates, H heads, O orders (hashes), M blocks of S points. Letters
of equations: b event, p order, g block, s query, t key, h head, e channel, r coordinate, n point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.errors import ConfigError
from qformers.models.arch import Source
from qformers.models.coords import coords as coords_form
from qformers.models.coords import coords_as_told
from qformers.models.hept import tables
from qformers.models.hept.common import initial, scales_of
from qformers.models.hept.config import HeptConfig
from qformers.models.shapes import reshape
from qformers.nn import softmax
from qformers.nn.index import lsh, padding, select
from qformers.nn.index.host_order import HostOrder
from qformers.nn.vocabulary import Linear, Tensor, Vocabulary

COORDS = "coords_rounded"  # layer that puts the coordinates on their grid


@dataclass(frozen=True)
class TablesCloud:
    """What all layers share, in blocks.

    Attributes:
        nn: the vocabulary.
        slots: mask (B, N) of the slots of the points.
        mask: the same in the order in which points stand between the layers; None where norms have no statistics.
        order: (B, 1, O, 1, N).
        squares: (B, O, M, S, S, C), half the squared differences of the coordinates.
        hidden: (B, O, H, M, S, S), what pushes masked keys away.
        block: S.
    """

    nn: Vocabulary
    slots: Tensor
    mask: Tensor
    order: Tensor
    squares: Tensor
    hidden: Tensor
    block: int

    @property
    def sorted(self) -> bool:
        """Whether there is one order, in which all values stand from the beginning to the end."""
        return bool(self.order.shape[2] == 1)

    def gather(self, x: Tensor, name: str) -> Tensor:
        """Rows of points into blocks, (B, N, E) -> (B, O, M, S, E)."""
        blocks = (self.order.shape[2], x.shape[1] // self.block, self.block, x.shape[2])
        if self.sorted:
            return reshape(self.nn, x, blocks, f"{name}_blocks")
        return _gathered(self.nn, x, self.order, self.block, name)

    def scatter(self, x: Tensor, name: str) -> Tensor:
        """Back to the slots of the points, (B, O, H, M, S, E) -> (B, O, H, N, E)."""
        if self.sorted:
            _, orders, heads, blocks, size, channels = x.shape
            return reshape(self.nn, x, (orders, heads, blocks * size, channels), f"{name}_slots")
        return self.nn.move(lsh.FromBlocks, x, f"{name}_slots", self.order)

    def start(self, features: Tensor) -> Tensor:
        """The features as the encoder reads them: in order, where there is only one."""
        features = self.nn.unread(padding.Hide, [features, self.slots], "features_real")
        if not self.sorted:
            return features
        rows = _gathered(self.nn, features, self.order, self.block, "features")  # (B, 1, M, S, F)
        return reshape(self.nn, rows, tuple(features.shape[1:]), "features_sorted_rows")

    def end(self, x: Tensor, name: str) -> Tensor:
        """The output in the slots of the points, (B, N, E)."""
        if not self.sorted:
            return x
        rows, width = x.shape[1:]
        blocks = reshape(self.nn, x, (1, 1, rows // self.block, self.block, width), f"{name}_in_order")
        slots = self.nn.move(lsh.FromBlocks, blocks, f"{name}_slots", self.order)
        return reshape(self.nn, slots, (rows, width), name)


def refuse(cfg: HeptConfig, number: int | None, block: int) -> None:
    """Raise where a configuration has no form of tables.

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
            raise ConfigError(
                f"attention: tables, which a quantised hept needs, takes {key}: {allowed}. Received: {value}"
            )


def cloud_of(
    cfg: HeptConfig, nn: Vocabulary, coords: Tensor, mask: Tensor, given: Tensor | None, number: int | None, block: int
) -> TablesCloud:
    """Once per event: the order, the mask and the squared differences of the coordinates of all pairs in a block.

    Args:
        cfg: the architecture.
        nn: the vocabulary.
        coords: (B, N, C).
        mask: (B, N).
        given: the order (B, O, N) where the host gives it.
        number: N.
        block: S.

    Raises:
        ConfigError: see `refuse`.
    """
    refuse(cfg, number, block)
    coords = nn.round(coords, coords_form, COORDS, told=True)
    bits = nn.round(reshape(nn, mask, (mask.shape[1], 1), "column"), "ufixed<1,1>", "mask_rounded")
    drawn = HostOrder.drawn(cfg, cfg.order_seed)
    if given is not None:
        numbers = {"regions": drawn.regions.tolist(), "alpha": drawn.alpha.tolist()}
        order = nn.move(lsh.GivenOrder, given, "order_slots", mask, **numbers)
    else:
        order = nn.sorted_order(coords, bits, drawn, COORDS, "order_slots")
    scales = scales_of(cfg)
    if cfg.coord_scales:  # wires, once compiled
        coords = nn.wires(coords, scales, "bnr,rq->bnq", "coords_scaled", coords_as_told(COORDS))
    rows = _gathered(nn, coords, order, block, "coords")  # (B, O, M, S, C)
    exact = tables.exact_differences(COORDS, scales)
    differences = _across(nn, rows, rows, "coords_differences", exact)  # (B, O, M, S, S, C)
    squares = nn.table(differences, tables.HALF_SQUARES, "coords_squares")
    real = _gathered(nn, bits, order, block, "mask")
    real = reshape(nn, real, real.shape[1:4], "mask_blocks_flat")  # (B, O, M, S)
    hidden = nn.hidden_keys(real, (cfg.heads, block), "bpgt,hs->bphgst", "mask_lift")
    statistics = mask
    if cfg.hashes == 1:
        statistics = nn.counted(keras.layers.Reshape, real, "mask_in_order", target_shape=(mask.shape[1],))
    return TablesCloud(nn, mask, statistics, order, squares, hidden, block)


def attention(cfg: HeptConfig, nn: Vocabulary, x: Tensor, cloud: TablesCloud, p: str) -> Tensor:
    """Sums over the blocks of each order, then their ratio: (B, N, D), normed -> (B, N, H, D)."""
    inside = cloud.gather(x, p)  # (B, O, M, S, D); moving rows does not change what norms see

    def project(which: str) -> Tensor:
        sizes = {"h": cfg.heads, "e": cfg.width}
        linear = Linear("bpgsd,dhe->bphgse", sizes, None, folded_bias_axes="he", initial=initial(cfg))
        return nn.dense(inside, f"{p}_{which}", linear)

    z = _logits(cfg, nn, project("q"), project("k"), cloud, p)  # (B, O, H, M, S, S)
    sink = nn.zero_logit + nn.on_logit_grid(cfg.sink)
    top = nn.move(select.Largest, z, f"{p}_top", axis=-1, floor=sink)  # (B, O, H, M, S, 1)
    weights = softmax.exp_below(nn, top, z, f"{p}_exp")
    context = nn.einsum("bphgst,bphgte->bphgse", weights, project("v"), f"{p}_num")
    # the sink is a key more: its distance from the top is a sum of the top and a constant
    minus_sink = np.full(top.shape[1:], -sink)
    below = nn.wires(top, np.ones((1, 1)), "bphgso,oa->bphgsa", f"{p}_sink", softmax.lifted_logits, minus_sink)
    exp = nn.table(below, softmax.EXPONENTIAL, f"{p}_sink_exp")
    ones = np.ones((cloud.block, 1))
    total = nn.wires(weights, ones, "bphgst,to->bphgso", f"{p}_keys", softmax.EXPONENTIAL.value)
    total = nn.sum(total, exp, softmax.total(cloud.block + 1), f"{p}_den")

    context, total, top = (
        cloud.scatter(part, f"{p}_{name}") for name, part in (("num", context), ("den", total), ("top", top))
    )  # (B, O, H, N, D or 1)
    if cfg.hashes > 1:
        best = nn.move(select.Largest, top, f"{p}_best", axis=1)
        share = softmax.exp_below(nn, best, top, f"{p}_share")
        context = nn.einsum("bphno,bphne->bhne", share, context, f"{p}_num_or")
        total = nn.einsum("bphno,bphno->bhno", share, total, f"{p}_den_or")
    else:
        context, total = (
            reshape(nn, part, part.shape[2:], f"{p}_{name}_or") for name, part in (("num", context), ("den", total))
        )
    inverse = nn.table(total, softmax.reciprocals(cfg.hashes * (cloud.block + 1)), f"{p}_inverse")
    return nn.einsum("bhne,bhno->bnhe", context, inverse, f"{p}_context")


def _logits(cfg: HeptConfig, nn: Vocabulary, queries: Tensor, keys: Tensor, cloud: TablesCloud, p: str) -> Tensor:
    """Logits, masked keys pushed away: both sides (B, O, H, M, S, D) -> (B, O, H, M, S, S)."""
    squares = nn.table(_across(nn, queries, keys, f"{p}_differences"), tables.HALF_SQUARES, f"{p}_squares")
    minus = -np.ones(squares.shape[-1])
    latent = nn.wires(squares, minus, "bphgste,e->bphgst", f"{p}_latent", tables.HALF_SQUARES.value)
    scale = Linear("bpgstr,rh->bphgst", {"h": cfg.heads}, None)
    spatial = nn.derived_dense(cloud.squares, f"{p}_spatial", scale, "minus scales", of=f"{p}_scale")
    z = nn.sum(latent, spatial, lambda formats: formats.quant.logits, f"{p}_z")
    z = nn.key_logits(z, cloud.hidden, f"{p}_lifted")
    return nn.round(z, softmax.lifted_logits, f"{p}_logits")


def derive_minus_scales(cfg: HeptConfig, source: Source, of: str) -> tuple[NDArray[np.float64], None]:
    """Weights (C, H) of half the squared differences: -2 s of the layer `ScaledCoords`."""
    scales = np.asarray(keras.ops.convert_to_numpy(source.layer(of).scales()), np.float64)
    return -2.0 * scales.T, None


DERIVATIONS: dict[str, Callable[[Any, Source, str], Any]] = {"minus scales": derive_minus_scales}


def _gathered(nn: Vocabulary, x: Tensor, order: Tensor, block: int, p: str) -> Tensor:
    """(B, N, E) -> (B, O, M, S, E)."""
    slots, channels = x.shape[1:]
    column = reshape(nn, x, (slots, 1, channels), f"{p}_column")
    blocks = nn.move(lsh.ToBlocks, column, f"{p}_blocks", order, block=block)  # (B, O, 1, M, S, E)
    return reshape(nn, blocks, (blocks.shape[1], *blocks.shape[3:]), f"{p}_sorted")


def _across(nn: Vocabulary, a: Tensor, b: Tensor, name: str, form: Any = None) -> Tensor:
    """a_s - b_t of all pairs in a block, (..., S, E) twice -> (..., S, S, E)."""
    outer, (size, channels) = a.shape[1:-2], a.shape[-2:]
    rows = reshape(nn, a, (*outer, size, 1, channels), f"{name}_queries")
    columns = reshape(nn, b, (*outer, 1, size, channels), f"{name}_keys")
    return nn.minus(rows, columns, name, form, axes="bphgste" if len(outer) == 3 else "bpgstr")
