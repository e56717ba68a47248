"""The model section of a build of architecture part."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qformers.config.section import Few, Section, Share, Widths


class PartConfig(Section):
    """Particle Transformer (arXiv:2202.03772), from the published form to the firmware form (read by `models.part`)."""

    architecture: Literal["part"] = "part"  # says whose keys these are
    embed_widths: Widths = (128, 512, 128)  # the last one is the model width D
    pair_widths: Widths = (64, 64, 64)  # hidden layers of the pair network; its output is H
    pairs: Literal["vectors", "input", "onchip", "none"] = "vectors"
    # vectors: from four-momenta inside the model; input: computed on the host, a model input;
    # onchip: from ln pT, eta, phi by adders and tables; none: no pair bias U
    heads: Few = 8  # H; they divide the model width
    blocks: Few = 8  # of attention among particles
    class_blocks: Annotated[int, Field(ge=0, le=256)] = 2  # blocks of class attention; 0 goes with head: mean
    ffn_ratio: Few = 4  # width of the feed-forward part over D
    fc_widths: Widths = ()  # hidden layers after the pooling
    norm: Literal["layer", "rms", "batch", "none"] = "layer"  # of each particle's channels, or over a batch. In fixed
    # point batch costs nothing (it is folded), rms a sum of squares and a product per channel, layer a mean more
    activation: Literal["gelu", "silu", "relu"] = "gelu"  # of dense layers; in fixed point gelu and silu are tables
    pair_activation: Literal["gelu", "silu", "relu"] = "gelu"  # weaver keeps GELU here whatever `activation` says
    head: Literal["class_token", "mean"] = "class_token"  # class attention, or the mean over real particles
    class_attention: Annotated[Literal["tokens", "scores"], Field(exclude_if=lambda form: form == "tokens")] = "tokens"
    # tokens: the class token is one more key, as published; scores: the same function for one class block, whose query
    # is a constant, so that scores are a dense map of the particles: the form that fixed point takes of its own accord
    softmax: Annotated[Literal["direct", "deferred"], Field(exclude_if=lambda form: form == "direct")] = "direct"
    # direct: attention weights are divided by their sum key by key; deferred: the weighted sum of values is, once per
    # query and channel, which is the same function with D products for each particle instead of N
    scale_fc: bool = True  # norm between the two layers of the feed-forward part
    scale_attn: bool = True  # norm after the attention
    scale_heads: bool = True  # c_attn, one factor per head
    scale_resids: bool = True  # w_resid, one factor per channel of the second residual
    remove_self_pair: bool = False  # U_ii = 0 after the embedding
    pre_activation_pair: bool = False  # True drops the last activation of the pair network
    dropout: Share = 0.1  # of both branches of a block, in training
    attn_dropout: Share = 0.1  # of attention weights, in training
    activation_dropout: Share = 0.1  # behind the activation of the feed-forward part, in training

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
        if not self.embed_widths:
            raise ValueError("embed_widths needs at least the model width. Received: embed_widths=()")
        if self.width % self.heads:
            raise ValueError(f"heads must divide the model width {self.width}. Received: heads={self.heads}")
        if (self.head == "mean") != (self.class_blocks == 0):
            raise ValueError(
                f"head: mean goes with class_blocks: 0 and head: class_token with class_blocks >= 1. "
                f"Received: head={self.head}, class_blocks={self.class_blocks}"
            )
        return self
