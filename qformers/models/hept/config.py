"""The model section of a build of architecture hept."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qformers.config.section import Few, Scales, Section, Share, Width, Widths, are_scales

Embeddings = Annotated[tuple[tuple[Annotated[int, Field(gt=0, le=10**6)], Width], ...], Field(max_length=64)]


class HeptConfig(Section):
    """HEPT, the point transformer on hashed blocks (arXiv:2402.12535), and its HEPT-CMS form (read by `models.hept`).

    The defaults are the published tracking-60k model. HEPT-CMS is ``activation: silu``, ``head_activation: silu``,
    ``shared_scale: false``, ``region_axes: 3``, ``head_norm: true``, ``embeddings: [[11, 1], [12, 1]]``, ``dropout: 0``
    and ``head_width`` = ``width``.
    """

    architecture: Literal["hept"] = "hept"  # says whose keys these are
    coords: Few = 6  # C, columns of the input `coords`; the first ones (eta, phi) make the regions
    width: Width = 24  # D of the points, and of each head
    heads: Few = 8  # H; a head has the width of the points
    layers: Few = 4  # of attention
    block_size: Annotated[int, Field(gt=0, le=65536)] = 100  # points that see each other
    hashes: Few = 3  # orders whose blocks are summed up (OR)
    regions: Annotated[float, Field(ge=1, le=1e9)] = 150.0  # cells that the first coordinates are cut into (AND), about
    region_axes: Annotated[int, Field(ge=1, le=3)] = 2  # coordinates that are cut
    coord_scales: Scales = ()  # powers of two that the kernel's coordinates are multiplied by, one each, so
    # that differences within a block are about as large as those of queries and keys; 0 = not seen by the kernel
    hash: Literal["latent", "coords_each", "coords"] = "latent"
    # latent: of learned queries and keys with scaled coordinates, one order per layer, head and hash, as published;
    # coords_each: the same of the scaled coordinates alone;
    # coords: of the coordinates that are cut alone: one order per hash for all layers and heads
    order: Literal["onchip", "host"] = "onchip"  # onchip: sorted inside the model; host: the model input `order`
    order_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0  # order: host: draws the regions and directions that make the
    # order
    attention: Annotated[Literal["kernel", "tables"], Field(exclude_if=lambda form: form == "kernel")] = "kernel"
    # kernel: products of queries and keys, as published; tables: the same function from tables of differences, in which
    # no difference of large numbers has to be exact: the form that fixed point takes of its own accord
    kernel: Literal["direct", "sink"] = "direct"  # the same function; sink keeps every exponent in reach of a table
    sink: Annotated[float, Field(ge=-100, lt=0)] = math.log(1e-20)  # logit of a key of value 0 that every query has
    scale_terms: Annotated[int, Field(gt=0, le=1024)] = 10  # K, exponentials that are summed to the scale of one
    # coordinate
    shared_scale: bool = True  # the first two coordinates have one scale
    activation: Literal["relu", "silu"] = "relu"  # silu also draws the initial weights as HEPT-CMS does
    norm: Literal["layer", "rms", "batch", "none"] = "layer"  # of each point's channels, or over a batch. In fixed
    # point batch costs nothing (it is folded), rms a sum of squares and a product per channel, layer a mean more
    head_width: Width = 12  # of the embedding, and of what the head reads
    head_widths: Widths = (256, 256, 256, 256)  # hidden layers of the head
    head_activation: Literal["tanh", "silu", "relu"] = "tanh"  # of these layers
    head_norm: bool = False  # a norm in front of the head
    embeddings: Embeddings = ()  # (entries, width) of the last columns, which hold numbers
    head: Literal["embedding", "logits"] = "embedding"  # tracking; or classification of points
    outputs: Width = 1  # logits per point
    dropout: Share = 0.1  # of both branches of a layer and of the head, in training

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.region_axes > self.coords:
            raise ValueError(
                f"region_axes are the first coordinates, of which there are {self.coords}. "
                f"Received: region_axes={self.region_axes}"
            )
        if self.order == "host" and self.hash != "coords":
            raise ValueError(
                "order: host needs hash: coords, since queries, keys and their scales are not known there. "
                f"Received: hash={self.hash}"
            )
        if self.coord_scales and (len(self.coord_scales) != self.coords or not are_scales(self.coord_scales)):
            raise ValueError(
                f"coord_scales are powers of two or 0, not all 0, one for each of the {self.coords} coords. "
                f"Received: coord_scales={list(self.coord_scales)}"
            )
        if self.shared_scale and self.coords < 2:
            raise ValueError(f"shared_scale: true needs two coordinates. Received: coords={self.coords}")
        return self
