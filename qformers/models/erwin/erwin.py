"""Erwin, the point transformer on ball trees (arXiv:2502.17019), written once over a vocabulary.

In the float vocabulary with the published configuration this is the standard model of maxxxzdn/erwin to rounding, given
the same tree. The host orders the points (`qformers.nn.index.ball_order`): attention is within runs of slots, and a
rotated order lets points of several balls meet. A level of the encoder is blocks, then pooling of `stride` slots; the
bottleneck is blocks; a level of the decoder is unpooling onto the points that were pooled, then blocks.

    block : y = RMSNorm(x) + place (p - ball mean of p);  x = x + out softmax(q k / sqrt(E) + sigma |p_i - p_j|) v
            x = x + W3 (W2 z * SiLU(W1 z)),  z = RMSNorm(x)
    pool  : x = BatchNorm(Linear([x_1..x_s, p_1 - c, .., p_s - c])), p = c, the mean of the s positions
    unpool: x = BatchNorm(x_before + Linear([x, p_1 - c, .., p_s - c]))

Symbols in shapes: B batch, N points, F features, d coordinates, K neighbours, S slots of a level, M balls of b slots,
s stride, C channels, H heads, E = C / H. Letters of equations: b event, n point or slot, g ball, s query, t key,
k neighbour, h head, c d e channel, r coordinate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from qformers.errors import ConfigError
from qformers.models.coords import coords as coords_form
from qformers.models.coords import coords_as_told
from qformers.models.erwin import layers as erwin_layers
from qformers.models.erwin import tables
from qformers.models.erwin.config import ErwinConfig
from qformers.models.shapes import reshape
from qformers.models.sizes import Sizes
from qformers.nn.index import ball_slots, lsh, padding, select
from qformers.nn.index.ball_tree import slots_of
from qformers.nn.index.sorted_tree import SortedTree
from qformers.nn.vocabulary import Form, Linear, Model, Norm, Tensor, Vocabulary

MESSAGES = "messages between neighbours have no fixed point; set model.mp_steps: 0"
REPEATED = "points that stand in two slots have no fixed point; set model.pads: masked"
NO_POWER = "slots beyond the points have no fixed point; set data.num_particles to a power of two"
COORDS = "coords_rounded"  # layer that puts the coordinates on their grid
BATCH_EPSILON = 1e-5
EPSILON = 2.0**-23  # of the RMS norms: PyTorch's default, the spacing of float32 at 1


@dataclass
class Seen:
    """What attention sees of the slots of a level, in one order.

    Attributes:
        order: (B, 1, 1, 1, S), the rotated order; None for the order of the tree.
        relative: (B, S, d), positions less the mean of their ball.
        distances: (B, M, b, b); None for ``distance: none``.
        there: (B, S), slots that hold a point.
        real: (B, M, b), slots that are no pads; None where pads are points.
        hidden: heads -> (B, M, H, b, b), what pushes pads away.
    """

    order: Tensor | None
    relative: Tensor
    distances: Tensor | None
    there: Tensor
    real: Tensor | None
    hidden: dict[int, Tensor] = field(default_factory=dict)


@dataclass
class Level:
    """The slots of one level.

    Attributes:
        number: 0 is the finest.
        slots: S.
        positions: (B, S, d).
        real: (B, S), 1 for slots that hold a point (``duplicates``: also those that repeat one).
        seen: in the order of the tree, and in the rotated one, where there is one.
    """

    number: int
    slots: int
    positions: Tensor
    real: Tensor
    seen: tuple[Seen, Seen | None]


@dataclass(frozen=True)
class Erwin:
    """Says one model: configuration, vocabulary, slots S, and `order` (B, 1 + R, S) where the host gives it."""

    cfg: ErwinConfig
    nn: Vocabulary
    slots: int
    order: Tensor | None

    def order_of(self, row: int, coords: Tensor, real: Tensor, name: str) -> Tensor:
        """A row of the host's order, or one of coordinates (B, slots, d) that are `real` (B, slots[, 1]).

        Returns:
            (B, 1, 1, 1, slots).
        """
        slots = coords.shape[1]
        if self.order is None:
            cfg = self.cfg
            # where slots are pooled, those of a group are told apart, and not balls alone
            pooled = any(stride > 1 for stride in cfg.strides)
            leaf = 2 if pooled and not row else cfg.balls[0]
            decided = {"leaf": leaf, "diagonal": row > 0, "scales": list(cfg.coord_scales)}
            bits = real if len(real.shape) == 2 else reshape(self.nn, real, (slots,), f"{name}_bits")
            return self.nn.move(SortedTree, coords, name, bits, **decided)
        host = self.cfg.ball_order
        decided = {"balls": list(host.balls), "strides": list(host.strides), "degrees": host.degrees}
        decided |= {"turned": list(host.turned), "pads": host.pads, "scales": list(host.scales)}
        decided |= {"row": row, "slots": slots}
        if host.pads == "duplicates":
            return self.nn.real(ball_slots.TreeOrder, self.order, name, REPEATED, **decided)
        return self.nn.move(ball_slots.TreeOrder, self.order, name, **decided)

    def gather(self, x: Tensor, order: Tensor, name: str, block: int) -> Tensor:
        """Rows (B, S, E) in an order of S slots, in balls: (B, M, b, E)."""
        slots, channels = x.shape[1:]
        column = reshape(self.nn, x, (slots, 1, channels), f"{name}_column")
        blocks = self.nn.move(lsh.ToBlocks, column, f"{name}_blocks", order, block=block)  # (B, 1, 1, M, b, E)
        return reshape(self.nn, blocks, (slots // block, block, channels), f"{name}_balls")

    def rows(self, x: Tensor, order: Tensor, name: str, block: int) -> Tensor:
        """The same without the cut, (B, S, E)."""
        return reshape(self.nn, self.gather(x, order, name, block), tuple(x.shape[1:]), f"{name}_rows")

    def scatter(self, x: Tensor, order: Tensor, name: str, block: int) -> Tensor:
        """The inverse of `rows` for an order in which each slot stands once."""
        slots, channels = x.shape[1:]
        blocks = reshape(self.nn, x, (1, 1, slots // block, block, channels), f"{name}_balls")
        moved = self.nn.move(lsh.FromBlocks, blocks, f"{name}_slots", order)
        return reshape(self.nn, moved, (slots, channels), name)

    def padded(self, x: Tensor, name: str) -> Tensor:
        """(B, N, ...) with zeros up to S slots."""
        if x.shape[1] == self.slots:
            return x
        return self.nn.real(padding.PadPoints, x, f"{name}_padded", NO_POWER, block=self.slots)

    def positions_form(self, number: int) -> Form:
        """Of the positions of a level: means of slots have more fraction bits."""
        return coords_as_told(COORDS, sum(round(math.log2(stride)) for stride in self.cfg.strides[:number]))

    def centres(self, balls: Tensor, keys: Tensor | None, number: int, p: str) -> Tensor:
        """Means (B, M, d) of balls of positions (B, M, b, d): of their slots, or of the real ones of keys (B, M, b)."""
        nn, ball, form = self.nn, balls.shape[2], self.positions_form(number)
        if keys is None:
            return nn.wires(balls, np.full(ball, 1.0 / ball), "bgsr,s->bgr", f"{p}_means", form)
        total = nn.wires(balls, np.ones(ball), "bgsr,s->bgr", f"{p}_total", form)
        count = nn.wires(keys, np.ones(ball), "bgs,s->bg", f"{p}_count", "ufixed<1,1>")
        share = nn.table(count, tables.shares(ball), f"{p}_share")
        return nn.einsum("bgr,bg->bgr", total, share, f"{p}_means", forms=(None, tables.share(ball)))

    def less(self, balls: Tensor, centres: Tensor, p: str) -> Tensor:
        """Positions (B, M, b, d) less those of (B, M, d)."""
        count, d = centres.shape[1:]
        column = reshape(self.nn, centres, (count, 1, d), f"{p}_column")
        return self.nn.minus(balls, column, p, axes="bgsr")

    def distances(self, balls: Tensor, number: int, p: str) -> Tensor | None:
        """Of all pairs of a ball, (B, M, b, d) -> (B, M, b, b), or their squares."""
        nn, (count, ball, d) = self.nn, balls.shape[1:]
        if self.cfg.distance == "none":
            return None
        rows = reshape(nn, balls, (count, ball, 1, d), f"{p}_rows")
        columns = reshape(nn, balls, (count, 1, ball, d), f"{p}_columns")
        differences = nn.minus(rows, columns, f"{p}_differences", self.positions_form(number))
        squares = nn.table(differences, tables.SQUARES, f"{p}_squares")
        total = nn.wires(squares, np.ones(d), "bgstr,r->bgst", f"{p}_squared", tables.squared)
        return total if self.cfg.distance == "squared" else nn.table(total, tables.distances(d), f"{p}_distances")

    def level(self, number: int, slots: int, positions: Tensor, real: Tensor) -> Level:
        """A level with all that follows from positions."""
        cfg, nn, ball = self.cfg, self.nn, self.cfg.balls[number]
        p = f"l{number}"

        def seen(order: Tensor | None, places: Tensor, there: Tensor, p: str) -> Seen:
            balls = reshape(nn, places, (slots // ball, ball, cfg.coords), f"{p}_places")
            keys = reshape(nn, there, (slots // ball, ball), f"{p}_keys") if cfg.pads == "masked" else None
            relative = self.less(balls, self.centres(balls, keys, number, p), f"{p}_less")
            relative = reshape(nn, relative, (slots, cfg.coords), f"{p}_relative")
            return Seen(order, relative, self.distances(balls, number, p), there, keys)

        straight, rotated = seen(None, positions, real, p), None
        if number in cfg.turned:
            order = self.order_of(1 + cfg.turned.index(number), positions, real, f"{p}_turned_order")
            there = real
            if cfg.pads == "masked":
                column = reshape(nn, real, (slots, 1), f"{p}_real_column")
                there = reshape(nn, self.gather(column, order, f"{p}_turned_real", ball), (slots,), f"{p}_turned_real")
            places = self.rows(positions, order, f"{p}_turned_positions", ball)
            rotated = seen(order, places, there, f"{p}_turned")
        return Level(number, slots, positions, real, (straight, rotated))

    def coarser(self, level: Level) -> Level:
        """The level that pooling makes."""
        stride, nn, p = self.cfg.strides[level.number], self.nn, f"l{level.number}"
        if stride == 1:
            return self.level(level.number + 1, level.slots, level.positions, level.real)
        slots = level.slots // stride
        places = reshape(nn, level.positions, (slots, stride, self.cfg.coords), f"{p}_pooled_places")
        groups = reshape(nn, level.real, (slots, stride), f"{p}_real_groups")
        keys = groups if self.cfg.pads == "masked" else None
        centres = self.centres(places, keys, level.number, f"{p}_pooled")
        positions = nn.round(centres, self.positions_form(level.number + 1), f"{p}_centres")
        any_real = nn.move(select.Largest, groups, f"{p}_real_any", axis=-1)
        return self.level(level.number + 1, slots, positions, reshape(nn, any_real, (slots,), f"{p}_real_pooled"))

    def blocks(self, x: Tensor, level: Level, heads: int, depth: int, p: str) -> Tensor:
        """`depth` blocks, every second one in the rotated order: (B, S, C) -> (B, S, C)."""
        straight, rotated = level.seen
        for index in range(depth):
            name = f"{p}_b{index}"
            if index % 2 == 0 or rotated is None:
                x = self.block(x, level, straight, heads, name)
                continue
            ball = self.cfg.balls[level.number]
            x = self.rows(x, rotated.order, f"{name}_turned", ball)
            x = self.block(x, level, rotated, heads, name)
            x = self.scatter(x, rotated.order, f"{name}_back", ball)
        return x

    def block(self, x: Tensor, level: Level, seen: Seen, heads: int, p: str) -> Tensor:
        """Attention within balls and the feed-forward part, each with its residual: (B, S, C) -> (B, S, C)."""
        nn, width = self.nn, x.shape[-1]
        epsilon = EPSILON if self.cfg.norm == "rms" else BATCH_EPSILON
        y = nn.norm(x, Norm(f"{p}_attn_norm", self.cfg.norm, seen.there, epsilon=epsilon))
        place = dense(self.cfg, nn, seen.relative, f"{p}_attn_place", width)
        y = nn.add(y, place, "bnd", f"{p}_attn_placed")
        x = nn.add(x, self.attention(y, level, seen, heads, f"{p}_attn"), "bnd", f"{p}_attn_residual")
        y = nn.norm(x, Norm(f"{p}_ffn_norm", self.cfg.norm, seen.there, epsilon=epsilon))
        hidden = Linear("bnd,de->bne", {"e": self.cfg.mlp_ratio * width}, "e", initial=self.cfg.initial)
        y = dense(self.cfg, nn, nn.swiglu(y, f"{p}_ffn", hidden), f"{p}_ffn_out", width)
        return nn.add(x, y, "bnd", f"{p}_ffn_residual")

    def attention(self, y: Tensor, level: Level, seen: Seen, heads: int, p: str) -> Tensor:
        """(B, S, C) -> (B, S, C), without the residual."""
        nn, width, ball = self.nn, y.shape[-1], self.cfg.balls[level.number]
        balls = reshape(nn, y, (level.slots // ball, ball, width), f"{p}_balls")  # (B, M, b, C)

        def project(which: str, bias_axes: str | None, factor: float = 1.0) -> Tensor:
            sizes = {"h": heads, "e": width // heads}
            linear = Linear("bgsd,dhe->bgshe", sizes, bias_axes, factor=factor, initial=self.cfg.initial)
            return nn.dense(balls, f"{p}_{which}", linear)

        query = project("q", "he", 1 / math.sqrt(width // heads))  # (B, M, b, H, E)
        key, value = project("k", nn.key_bias_axes), project("v", "he")
        scores = nn.einsum("bgshe,bgthe->bghst", query, key, f"{p}_scores")  # (B, M, H, b, b)
        if seen.distances is not None:
            sigma = Linear("bgst,h->bghst", {"h": heads}, None, initial="minus_one")
            bias = nn.dense(seen.distances, f"{p}_sigma", sigma)
            scores = nn.add(scores, bias, "bghst", f"{p}_logits")
        if seen.real is not None:
            scores = nn.key_logits(scores, self.hidden(level, seen, heads), f"{p}_lifted")
        weights = nn.softmax(scores, f"{p}_weights")
        context = nn.einsum("bghst,bgthe->bgshe", weights, value, f"{p}_context")
        out = nn.dense(context, f"{p}_out", Linear("bgshe,hed->bgsd", {"d": width}, "d", initial=self.cfg.initial))
        return reshape(nn, out, (level.slots, width), f"{p}_slots")

    def hidden(self, level: Level, seen: Seen, heads: int) -> Tensor:
        """What pushes pads away, made once for all blocks of so many heads."""
        if heads not in seen.hidden:
            name = f"l{level.number}{'' if seen.order is None else '_turned'}_hidden{heads}"
            shape = (heads, self.cfg.balls[level.number])
            seen.hidden[heads] = self.nn.hidden_keys(seen.real, shape, "bgt,hs->bghst", name)
        return seen.hidden[heads]

    def relative(self, level: Level, coarse: Level) -> Tensor:
        """Positions less the centre of the slot that they are pooled to, side by side: (B, S / s, s d)."""
        stride, d, nn, p = self.cfg.strides[level.number], self.cfg.coords, self.nn, f"l{level.number}"
        if stride == 1:
            return nn.wires(level.positions, np.zeros(d), "bnr,r->bnr", f"{p}_from_centre", self.positions_form(0))
        groups = reshape(nn, level.positions, (coarse.slots, stride, d), f"{p}_centred_places")
        relative = self.less(groups, coarse.positions, f"{p}_from_centre")
        if self.cfg.pads == "masked":
            rows = reshape(nn, relative, (level.slots, d), f"{p}_from_centre_rows")
            relative = nn.gate(rows, level.real, f"{p}_from_centre_real")
        return reshape(nn, relative, (coarse.slots, stride * d), f"{p}_from_centre_groups")

    def pool(self, x: Tensor, level: Level, coarse: Level, relative: Tensor, p: str) -> Tensor:
        """(B, S, C) -> (B, S / s, C')."""
        cfg, nn, stride = self.cfg, self.nn, self.cfg.strides[level.number]
        if stride == 1:
            return x
        if cfg.pads == "masked":
            x = nn.gate(x, level.real, f"{p}_gated")
        groups = reshape(nn, x, (coarse.slots, stride * x.shape[-1]), f"{p}_groups")
        joined = nn.concatenate([groups, relative], f"{p}_joined")
        norm = Norm(f"{p}_norm", "batch", coarse.real)
        return dense(cfg, nn, joined, p, cfg.widths[coarse.number], norm=norm)

    def unpool(self, x: Tensor, skip: Tensor, level: Level, relative: Tensor, p: str) -> Tensor:
        """(B, S / s, C') and what was pooled, (B, S, C) -> (B, S, C)."""
        nn, width = self.nn, self.cfg.widths[level.number]
        joined = nn.concatenate([x, relative], f"{p}_joined")
        y = dense(self.cfg, nn, joined, p, self.cfg.strides[level.number] * width)
        x = nn.add(skip, reshape(nn, y, (level.slots, width), f"{p}_slots"), "bnd", f"{p}_residual")
        return nn.norm(x, Norm(f"{p}_norm", "batch", level.real))


def erwin(cfg: ErwinConfig, sizes: Sizes, nn: Vocabulary) -> Model:
    """Build an Erwin.

    Args:
        cfg: the architecture.
        sizes: N points per event, F features and, for ``head: jet``, classes, given by the data.
        nn: the vocabulary; float.

    Returns:
        A model with inputs ``features`` (B, N, F), ``coords`` (B, N, d), ``mask`` (B, N; 1 = real), for ``order: host``
        ``order`` (B, 1 + R, S) of `qformers.nn.index.ball_order.BallOrder`, and for ``mp_steps`` above 0 ``neighbours``
        (B, N, K; from whom a point gets messages, negative = from no one). The output is ``logits``: (B, N, outputs)
        for ``head: points``, (B, classes) for ``jet``; or the channels: (B, N, C), without ``decode`` (B, S, C) of the
        bottleneck. Rows of masked points mean nothing.

    Raises:
        ConfigError: the vocabulary is not float, N is unknown or too small for a ball, or there are no classes.
    """
    points, classes = sizes.num_particles, getattr(sizes, "num_classes", 0)
    if points is None:
        raise ConfigError("erwin needs a number of points, to which events are padded. Received: num_particles=None")
    if cfg.head == "jet" and classes < 1:
        raise ConfigError("model.head: jet needs events with classes; set model.head: points. Received: 0 classes")
    slots = slots_of(points)
    if slots < cfg.ball_order.fewest:
        raise ConfigError(
            f"{points} points have {slots} slots, model.balls with model.strides need {cfg.ball_order.fewest}, or a "
            "ball would span events; raise data.num_particles, or take smaller balls or strides. "
            f"Received: balls={list(cfg.balls)}, strides={list(cfg.strides)}"
        )
    nn.declare(point="nstk", order="p", block="g", head="h", channel="cderf")
    inputs = [
        nn.input("features", (points, sizes.num_features), "bnf"),
        nn.input("coords", (points, cfg.coords), "bnr"),
        nn.input("mask", (points,), "bn"),
    ]
    given = None
    if cfg.order == "host":
        given = nn.input("order", (1 + len(cfg.turned), slots), "bpn")
        inputs.append(given)
    if cfg.mp_steps:
        inputs.append(nn.input("neighbours", (points, cfg.neighbours), "bnk"))
    features, coords, mask = inputs[:3]
    model = Erwin(cfg, nn, slots, given)
    features = nn.unread(padding.Hide, [features, mask], "features_real")
    coords = nn.round(nn.unread(erwin_layers.Places, [coords, mask], "coords_real"), coords_form, COORDS, told=True)
    ball = cfg.balls[0]
    column = nn.round(reshape(nn, model.padded(mask, "mask"), (slots, 1), "mask_flat"), "ufixed<1,1>", "mask_rounded")
    places = model.padded(coords, "coords")
    order = model.order_of(0, places, column, "order_slots")
    real = reshape(nn, model.gather(column, order, "mask", ball), (slots,), "mask_slots")
    if cfg.mp_steps or cfg.pads == "duplicates":
        x = dense(cfg, nn, nn.norm(features, Norm("input_norm", cfg.input_norm, mask)), "embed", cfg.widths[0])
        for step in range(cfg.mp_steps):
            x = message_passing(cfg, nn, x, coords, inputs[-1], f"m{step}")
        x = model.rows(model.padded(x, "embed"), order, "embed", ball)  # (B, S, C)
    else:  # fewer columns are moved
        rows = model.rows(model.padded(features, "features"), order, "features", ball)
        x = dense(cfg, nn, nn.norm(rows, Norm("input_norm", cfg.input_norm, real)), "embed", cfg.widths[0])
    positions = model.rows(places, order, "coords", ball)
    forms = ("ufixed<1,1>", coords_as_told(COORDS))
    positions = nn.einsum("bn,bnr->bnr", real, positions, "positions", forms=forms)  # 0 in pads
    x, level = through(model, x, model.level(0, slots, positions, real))
    in_slots = not cfg.decode or (cfg.head == "jet" and cfg.pads == "masked")  # their mean is that of the points
    if not in_slots and cfg.pads == "masked":
        x = model.scatter(x, order, "points", ball)
        if slots > points:
            x = nn.real(padding.CutPoints, [x, mask], "points_cut", NO_POWER)
    elif not in_slots:
        x = nn.real(ball_slots.FirstSlots, [x, order, mask], "points", REPEATED)
    outputs = finish(cfg, nn, x, level.real if in_slots else mask, classes)
    return nn.model({tensor.name: tensor for tensor in inputs}, outputs, cfg)


def through(model: Erwin, x: Tensor, level: Level) -> tuple[Tensor, Level]:
    """Down to the bottleneck and, where there is a decoder, up again; and the level where it ends."""
    cfg, passed = model.cfg, []
    for number in range(cfg.levels - 1):
        x = model.blocks(x, level, cfg.enc_heads[number], cfg.enc_depths[number], f"e{number}")
        coarse = model.coarser(level)
        relative = model.relative(level, coarse) if cfg.decode or cfg.strides[number] > 1 else None
        passed.append((x, level, relative))
        x = model.pool(x, level, coarse, relative, f"e{number}_pool")
        level = coarse
    x = model.blocks(x, level, cfg.enc_heads[-1], cfg.enc_depths[-1], f"e{cfg.levels - 1}")
    if cfg.decode:
        for number in reversed(range(cfg.levels - 1)):
            skip, level, relative = passed[number]
            x = model.unpool(x, skip, level, relative, f"d{number}_unpool")
            x = model.blocks(x, level, cfg.dec_heads[number], cfg.dec_depths[number], f"d{number}")
    return x, level


def message_passing(cfg: ErwinConfig, nn: Vocabulary, x: Tensor, coords: Tensor, neighbours: Tensor, p: str) -> Tensor:
    """One step: x + LayerNorm(Linear([x, mean message])), messages LayerNorm(GELU(Linear(...))): (B, N, C)."""
    width = x.shape[-1]
    edges = nn.real(erwin_layers.Messages, [x, coords, neighbours], f"{p}_edges", MESSAGES)  # (B, N, K, 2 C + d)
    linear = Linear("bnkd,de->bnke", {"e": width}, "e", activation="gelu", initial=cfg.initial)
    messages = nn.norm(nn.dense(edges, f"{p}_message", linear), Norm(f"{p}_message_norm", "layer"))
    mean = nn.real(erwin_layers.MeanMessage, [messages, neighbours], f"{p}_mean", MESSAGES)
    y = dense(
        cfg, nn, nn.concatenate([x, mean], f"{p}_joined"), f"{p}_update", width, norm=Norm(f"{p}_update_norm", "layer")
    )
    return nn.add(x, y, "bnd", f"{p}_residual")


def finish(cfg: ErwinConfig, nn: Vocabulary, x: Tensor, real: Tensor, classes: int) -> Tensor:
    """The head."""
    if cfg.head == "none":
        return x
    outer, outputs = "bn", cfg.outputs
    if cfg.head == "jet":
        x, outer, outputs = nn.mean(x, real, "pool"), "b", classes
    for index, width in enumerate(cfg.head_widths):
        linear = Linear(f"{outer}d,de->{outer}e", {"e": width}, "e", activation="gelu", initial=cfg.initial)
        x = nn.dense(x, f"head{index}", linear)
    return nn.dense(x, "logits", Linear(f"{outer}d,de->{outer}e", {"e": outputs}, "e", initial=cfg.initial))


def dense(cfg: ErwinConfig, nn: Vocabulary, x: Tensor, name: str, width: int, norm: Norm | None = None) -> Tensor:
    """A linear step with a bias on (B, N, D)."""
    return nn.dense(x, name, Linear("bnd,de->bne", {"e": width}, "e", norm=norm, initial=cfg.initial))
