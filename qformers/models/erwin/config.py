"""The model section of a build of architecture erwin."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qformers.config.section import Few, Scales, Section, Width, Widths, are_scales
from qformers.models.mlp import FoldedNorm
from qformers.nn.index.ball_order import BallOrder
from qformers.nn.index.ball_tree import DIAGONAL

Counts = Annotated[tuple[Few, ...], Field(max_length=32)]  # one of each level
Balls = Annotated[tuple[Annotated[int, Field(ge=2, le=65536)], ...], Field(max_length=32)]


class ErwinConfig(Section):
    """Erwin, the point transformer on ball trees (arXiv:2502.17019; read by `models.erwin`).

    The defaults are the published small model for the MD polymer. A list has an entry per level, the finest first; the
    last level is the bottleneck, and lists of decoder and strides have one entry less.
    """

    architecture: Literal["erwin"] = "erwin"  # says whose keys these are
    coords: Few = 3  # d, columns of the input `coords`, which the tree is made of
    coord_scales: Annotated[Scales, Field(exclude_if=lambda scales: not scales)] = ()  # powers of two that the
    # coordinates of the data are multiplied by, one each, so that all are about as wide within a ball, before anything
    # else; 0 = left out, and d are those that stay. Empty = the d coordinates of the data as they are
    widths: Widths = (16, 32, 64, 128, 256)  # channels C of each level
    balls: Balls = (128, 128, 128, 64, 32)  # slots that see each other, of each level: powers of two
    enc_heads: Counts = (2, 4, 8, 16, 32)  # heads of each level; they divide its channels
    enc_depths: Counts = (2, 2, 2, 6, 2)  # blocks of each level
    dec_heads: Counts = (4, 4, 8, 16)  # heads of each level on the way back
    dec_depths: Counts = (2, 2, 2, 2)  # blocks of each level on the way back
    strides: Counts = (2, 2, 2, 2)  # slots of a level that become one of the next: powers of two; 1 = they stay
    mlp_ratio: Few = 4  # hidden channels of the feed-forward part (SwiGLU), in channels of the level
    mp_steps: Annotated[int, Field(ge=0, le=256)] = 3  # message passing steps in front of the tree; 0 = none, and then
    # the model has no input `neighbours`
    neighbours: Few = 10  # K, messages that a point gets in a step, at most: of the nearest points, itself included
    input_norm: Annotated[FoldedNorm, Field(exclude_if=lambda norm: norm == "none")] = (
        "none"  # of the features of points
    )
    norm: Annotated[Literal["rms", "batch", "none"], Field(exclude_if=lambda norm: norm == "rms")] = "rms"  # in front
    # of attention and feed-forward part; in fixed point batch (ours) costs nothing, rms a sum of squares and a product
    initial: Annotated[Literal["small", "glorot"], Field(exclude_if=lambda drawn: drawn == "small")] = (
        "small"  # kernels:
    )
    # Gaussian, 0.02 wide, as published; or as wide as layers of few channels need (ours)
    rotate: Annotated[float, Field(ge=0, lt=360)] = 45.0  # degrees by which the tree of every second block is rotated;
    # 0 = all blocks of a level see the same balls
    order: Annotated[Literal["host", "onchip"], Field(exclude_if=lambda order: order == "host")] = "host"
    # who sorts: the host, and the model has an input `order`; or the model (ours), by the coordinates that it has: for
    # chips, up to 64 points or so; trees turned by 45 degrees in two dimensions, of the finest level
    distance: Literal["exact", "squared", "none"] = "exact"  # what a learned factor per head adds to the logits: of the
    # distance of two points, of its square, which needs no root (ours), or nothing
    pads: Literal["duplicates", "masked"] = "duplicates"  # slots of the tree without a point: the point beside them
    # once more, which counts twice, as published; or nothing, which is hidden everywhere (ours)
    decode: bool = True  # whether there is a way back to the points; without it the bottleneck goes to the head
    head: Literal["points", "jet", "none"] = "points"  # a row of `outputs` per point; logits of the event's class, from
    # the mean of all points (or slots of the bottleneck); or their channels as they are
    head_widths: Widths = (16,)  # hidden layers of the head, with GELU
    outputs: Width = 1  # head: points: numbers per point

    @property
    def levels(self) -> int:
        """L, with the bottleneck."""
        return len(self.widths)

    @property
    def turned(self) -> tuple[int, ...]:
        """Levels with a rotated tree: those of which some stage has a second block."""
        if self.rotate <= 0:
            return ()
        back = self.dec_depths if self.decode else ()
        depths = [max((self.enc_depths[level], *back[level : level + 1])) for level in range(self.levels)]
        return tuple(level for level, depth in enumerate(depths) if depth > 1)

    @property
    def ball_order(self) -> BallOrder:
        """How the host orders points."""
        return BallOrder(self.balls, self.strides, self.rotate, self.turned, self.pads, self.coord_scales)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.widths:
            raise ValueError("widths needs at least the channels of one level. Received: widths=[]")
        for key, missing in (
            ("balls", 0), ("enc_heads", 0), ("enc_depths", 0), ("strides", 1), ("dec_heads", 1), ("dec_depths", 1),
        ):  # fmt: skip
            values, wanted = getattr(self, key), self.levels - missing
            if len(values) != wanted and (self.decode or not key.startswith("dec")):
                raise ValueError(
                    f"{key} needs {wanted} entries, for the {self.levels} levels of widths. "
                    f"Received: {key}={list(values)}, widths={list(self.widths)}"
                )
        if self.coord_scales and (
            not are_scales(self.coord_scales) or sum(map(bool, self.coord_scales)) != self.coords
        ):
            raise ValueError(
                f"coord_scales are powers of two or 0, and as many are not 0 as there are coords. "
                f"Received: coord_scales={list(self.coord_scales)}, coords={self.coords}"
            )
        for key in ("balls", "strides"):
            if any(number & (number - 1) for number in getattr(self, key)):
                raise ValueError(f"{key} are powers of two. Received: {key}={list(getattr(self, key))}")
        for key in ("enc_heads", "dec_heads") if self.decode else ("enc_heads",):
            for level, heads in enumerate(getattr(self, key)):
                if self.widths[level] % heads:
                    raise ValueError(
                        f"{key} divide the widths of their levels. Received: {key}={list(getattr(self, key))}, "
                        f"widths={list(self.widths)}"
                    )
        for level, stride in enumerate(self.strides):
            if stride == 1 and self.widths[level] != self.widths[level + 1]:
                raise ValueError(
                    f"strides: 1 keeps the channels of a level. Received: widths={list(self.widths)}, "
                    f"strides={list(self.strides)}"
                )
        if self.rotate > 0 and self.coords not in (2, 3) and self.turned:
            raise ValueError(f"rotate needs 2 or 3 coords; set rotate: 0. Received: coords={self.coords}")
        if self.order == "onchip":
            if self.pads == "duplicates":
                raise ValueError("order: onchip needs pads: masked. Received: pads=duplicates")
            if self.turned and (self.turned != (0,) or self.coords != 2 or self.rotate != DIAGONAL):
                raise ValueError(
                    "order: onchip turns the tree of the finest level alone, by 45 degrees in two dimensions; set "
                    f"rotate: 0, or order: host. Received: rotate={self.rotate}, coords={self.coords}, levels with a "
                    f"second block {list(self.turned)}"
                )
        if self.head == "points" and not self.decode:
            raise ValueError("head: points needs decode: true, a way back to the points. Received: decode=false")
        return self
