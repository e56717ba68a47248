"""The model section of a build file: one frozen record per architecture, told apart by the key `architecture`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
FoldedNorm = Literal["batch", "none"]  # batch norm behind each dense step, folded into it in fixed point


def _plain(annotation: Any) -> set[Any]:
    """The plain types that a field can hold, whatever stands around them."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        parts = parts[:1]
    return set().union(*map(_plain, parts)) if parts else {annotation}


class Section(BaseModel):
    """Base of all parts of a build: immutable, and nothing unknown gets in."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`epochs: yes` would train for one epoch, and `epochs: "3"` is a text."""
        numeric = _plain(cls.model_fields[str(info.field_name)].annotation) & {int, float}
        parts = value if isinstance(value, list | tuple) else [value]
        if numeric and any(isinstance(part, bool) for part in parts):
            raise ValueError("expected a number, not yes or no")
        if numeric == {int} and any(isinstance(part, str | float) for part in parts):
            raise ValueError("expected a whole number")
        return value


class PartConfig(Section):
    """Particle Transformer (arXiv:2202.03772), from the published form to the firmware form (read by `models.part`)."""

    architecture: Literal["part"] = "part"
    embed_widths: tuple[Positive, ...] = (128, 512, 128)  # the last one is the model width D
    pair_widths: tuple[Positive, ...] = (64, 64, 64)  # hidden layers of the pair network; its output is H
    pairs: Literal["vectors", "input", "onchip", "none"] = "vectors"
    # vectors: from four-momenta inside the model; input: computed on the host, a model input;
    # onchip: from ln pT, eta, phi by adders and tables; none: no pair bias U
    heads: Positive = 8
    blocks: Positive = 8
    class_blocks: Annotated[int, Field(ge=0)] = 2  # blocks of class attention; 0 goes with head: mean
    ffn_ratio: Positive = 4
    fc_widths: tuple[Positive, ...] = ()  # hidden layers after the pooling
    norm: Literal["layer", "batch", "none"] = "layer"
    activation: Literal["gelu", "relu"] = "gelu"
    pair_activation: Literal["gelu", "relu"] = "gelu"  # weaver keeps GELU here whatever `activation` says
    head: Literal["class_token", "mean"] = "class_token"
    scale_fc: bool = True  # norm between the two layers of the feed-forward part
    scale_attn: bool = True  # norm after the attention
    scale_heads: bool = True  # c_attn, one factor per head
    scale_resids: bool = True  # w_resid, one factor per channel of the second residual
    remove_self_pair: bool = False  # U_ii = 0 after the embedding
    pre_activation_pair: bool = False  # True drops the last activation of the pair network
    dropout: Share = 0.1
    attn_dropout: Share = 0.1
    activation_dropout: Share = 0.1

    @property
    def width(self) -> int:
        """Model width D."""
        return self.embed_widths[-1]

    @property
    def head_width(self) -> int:
        """Width of one attention head, d = D / H."""
        return self.width // self.heads

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads must divide the model width {self.width}. Received: heads={self.heads}")
        if (self.head == "mean") != (self.class_blocks == 0):
            raise ValueError(
                f"head: mean goes with class_blocks: 0 and head: class_token with class_blocks >= 1. "
                f"Received: head={self.head}, class_blocks={self.class_blocks}"
            )
        return self


class DeepSetsConfig(Section):
    """DeepSets (arXiv:1703.06114), sized as for jets on FPGAs in arXiv:2402.01876 (read by `models.deepsets`)."""

    architecture: Literal["deepsets"] = "deepsets"
    phi_widths: tuple[Positive, ...] = (32, 32, 32)  # network of each particle
    pool: Literal["mean", "sum"] = "mean"  # over real particles; sum is scaled by 2^-round(log2 N)
    rho_widths: tuple[Positive, ...] = (32,)  # network of the jet, in front of the logits
    norm: FoldedNorm = "batch"


class MixerConfig(Section):
    """MLP-Mixer for jets in the order of pT (arXiv:2503.03103; read by `models.mixer`)."""

    architecture: Literal["mixer"] = "mixer"
    blocks: Positive = 1
    feature_widths: tuple[Positive, ...] = (16,)  # hidden layers of a block over features; they end at F again
    particle_widths: tuple[Positive, ...] = ()  # hidden layers of a block over slots; they end at N again
    token_widths: tuple[Positive, ...] = (16, 16)  # per particle, behind the blocks
    head: Literal["weighted", "flatten"] = "weighted"  # one learned weight per slot, or every slot with its own kernel
    fc_widths: tuple[Positive, ...] = (16, 16, 16)
    norm: FoldedNorm = "batch"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.head == "flatten" and not self.fc_widths:
            raise ValueError("head: flatten needs a layer of its own. Received: fc_widths=()")
        return self


class JediLinearConfig(Section):
    """Interaction network of linear complexity (JEDI-linear, arXiv:2508.15468; read by `models.jedi_linear`)."""

    architecture: Literal["jedi_linear"] = "jedi_linear"
    embed_widths: tuple[Positive, ...] = (64,)  # per particle, in front of the interaction
    edge_width: Positive = 64  # of f_R, the sum of what a particle and the whole jet give
    edge_activation: Literal["relu", "linear"] = "relu"  # of both terms before their sum
    object_widths: tuple[Positive, ...] = (64,)  # f_O, per particle, behind the interaction
    pool: Literal["sum", "mean"] = "sum"  # over real particles, both times; sum is scaled by 2^-round(log2 N)
    fc_widths: tuple[Positive, ...] = (64, 32, 16)
    norm: FoldedNorm = "batch"


class TransformerConfig(Section):
    """Transformer without pair bias, with full or Linformer attention (arXiv:2510.24784; `models.transformer`)."""

    architecture: Literal["transformer"] = "transformer"
    embed_widths: tuple[Positive, ...] = (16, 16)  # per particle; the last one is the model width D
    attention: Literal["mha", "linformer"] = "mha"
    projected: Positive = 2  # linformer: tokens that the particles are projected to as keys and values (k)
    heads: Positive = 1
    head_width: Positive = 16  # of queries, keys and values
    blocks: Positive = 1
    feed_forwards: Positive = 2  # feed-forward parts behind each attention, each with its residual
    ffn_width: Positive = 32  # their hidden layer
    pool: Literal["flatten", "mean"] = "flatten"  # every slot with its own kernel, or the mean over real particles
    fc_widths: tuple[Positive, ...] = (16,)
    norm: FoldedNorm = "batch"

    @property
    def width(self) -> int:
        """Model width D."""
        return self.embed_widths[-1]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.embed_widths:
            raise ValueError("embed_widths needs at least the model width. Received: embed_widths=()")
        if self.pool == "flatten" and not self.fc_widths:
            raise ValueError("pool: flatten needs a layer of its own. Received: fc_widths=()")
        return self


class HeptConfig(Section):
    """HEPT, the point transformer on hashed blocks (arXiv:2402.12535), and its HEPT-CMS form (read by `models.hept`).

    The defaults are the published tracking-60k model. HEPT-CMS is ``activation: silu``, ``head_activation: silu``,
    ``shared_scale: false``, ``region_axes: 3``, ``head_norm: true``, ``embeddings: [[11, 1], [12, 1]]``, ``dropout: 0``
    and ``head_width`` = ``width``.
    """

    architecture: Literal["hept"] = "hept"
    coords: Positive = 6  # C, columns of the input `coords`; the first ones (eta, phi) make the regions
    width: Positive = 24  # D of the points, and of each head
    heads: Positive = 8
    layers: Positive = 4
    block_size: Positive = 100  # points that see each other
    hashes: Positive = 3  # orders whose blocks are summed up (OR)
    regions: Annotated[float, Field(ge=1)] = 150.0  # cells that the first coordinates are cut into (AND), about
    region_axes: Annotated[int, Field(ge=1, le=3)] = 2  # coordinates that are cut
    coord_scales: tuple[float, ...] = ()  # powers of two that the kernel's coordinates are multiplied by, one each, so
    # that differences within a block are about as large as those of queries and keys; 0 = not seen by the kernel
    hash: Literal["latent", "coords_each", "coords"] = "latent"
    # latent: of learned queries and keys with scaled coordinates, one order per layer, head and hash, as published;
    # coords_each: the same of the scaled coordinates alone;
    # coords: of the coordinates that are cut alone: one order per hash for all layers and heads
    order: Literal["onchip", "host"] = "onchip"  # onchip: sorted inside the model; host: the model input `order`
    order_seed: Annotated[int, Field(ge=0)] = 0  # order: host: draws the regions and directions that make the order
    kernel: Literal["direct", "sink"] = "direct"  # the same function; sink keeps every exponent in reach of a table
    sink: Annotated[float, Field(ge=-100, lt=0)] = math.log(1e-20)  # logit of a key of value 0 that every query has
    scale_terms: Positive = 10  # K, exponentials that are summed to the scale of one coordinate
    shared_scale: bool = True  # the first two coordinates have one scale
    activation: Literal["relu", "silu"] = "relu"  # silu also draws the initial weights as HEPT-CMS does
    norm: Literal["layer", "batch", "none"] = "layer"
    head_width: Positive = 12  # of the embedding, and of what the head reads
    head_widths: tuple[Positive, ...] = (256, 256, 256, 256)  # hidden layers of the head
    head_activation: Literal["tanh", "silu", "relu"] = "tanh"
    head_norm: bool = False  # a norm in front of the head
    embeddings: tuple[tuple[Positive, Positive], ...] = ()  # (entries, width) of the last columns, which hold numbers
    head: Literal["embedding", "logits"] = "embedding"  # tracking; or classification of points
    outputs: Positive = 1  # logits per point
    dropout: Share = 0.1

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
        if self.coord_scales and (
            len(self.coord_scales) != self.coords
            or not any(self.coord_scales)
            or any(scale and math.frexp(scale)[0] != 0.5 for scale in self.coord_scales)
        ):
            raise ValueError(
                f"coord_scales are powers of two or 0, not all 0, one for each of the {self.coords} coords. "
                f"Received: coord_scales={list(self.coord_scales)}"
            )
        if self.shared_scale and self.coords < 2:
            raise ValueError(f"shared_scale: true needs two coordinates. Received: coords={self.coords}")
        return self


ARCHITECTURES: dict[str, type[Section]] = {
    "part": PartConfig,
    "deepsets": DeepSetsConfig,
    "mixer": MixerConfig,
    "jedi_linear": JediLinearConfig,
    "transformer": TransformerConfig,
    "hept": HeptConfig,
}
DEFAULT_ARCHITECTURE = "part"


def architecture_of(section: Any) -> Any:
    """The value of `architecture` in a model section, read or not yet."""
    if isinstance(section, dict):
        return section.get("architecture", DEFAULT_ARCHITECTURE)
    return getattr(section, "architecture", None)


ModelConfig = Annotated[
    Annotated[PartConfig, Tag("part")]
    | Annotated[DeepSetsConfig, Tag("deepsets")]
    | Annotated[MixerConfig, Tag("mixer")]
    | Annotated[JediLinearConfig, Tag("jedi_linear")]
    | Annotated[TransformerConfig, Tag("transformer")]
    | Annotated[HeptConfig, Tag("hept")],
    Discriminator(architecture_of),
]
