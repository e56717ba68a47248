"""The model section of a build of architecture hrrformer."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qformers.config.section import Few, Section, Share, Width, Widths
from qformers.nn.positions import Positions
from qformers.nn.vocabulary import NormKind

MOST_ENTRIES = 100_000  # of a table of tokens


class HrrformerConfig(Section):
    """Hrrformer (arXiv:2305.19534), from the published forms to the firmware form (read by `models.hrrformer`)."""

    architecture: Literal["hrrformer"] = "hrrformer"  # says whose keys these are
    vocabulary: Annotated[int, Field(ge=0, le=MOST_ENTRIES)] = (
        0  # tokens that have a learned vector, the pad 0 counted;
    )
    # 0: the features of a point are numbers, which dense layers take in
    embed_widths: Widths = (64,)  # of the embedding; the last one is the model width H, of tokens the only one
    input_norm: Literal["batch", "none"] = "batch"  # of numbers; folded in fixed point
    positions: Positions = "none"  # a vector per place: learned, fixed (sines and cosines; of tokens), or none
    embed_norm: bool = False  # a norm behind the embedding (ListOps, Retrieval)
    heads: Few = 4  # h; each is n = H / h wide
    blocks: Few = 1  # of attention and feed-forward part
    ffn_width: Width = 128  # hidden layer of the feed-forward part
    residuals: Literal["pre", "half", "post"] = "half"
    # pre: x + f(norm(x)) (Text, EMBER); half: the same, and attention without norm (ListOps, Retrieval, Path);
    # post: norm(x + f(x)) (Image)
    norm: NormKind = "layer"  # of these; in fixed point batch costs nothing, rms a sum of squares and a product
    activation: Literal["gelu_tanh", "gelu", "silu", "relu"] = "gelu_tanh"  # of feed-forward part and head
    attention: Literal["hrr", "dot", "none"] = (
        "hrr"  # holographic; the controls: scalar products (softmax of q k), none
    )
    form: Literal["fft", "dft"] = "fft"  # of holographic attention; fft: as published; dft: the same function, with the
    # Fourier transform folded into the dense layers around it: the form that fixed point takes of its own accord
    inverse: Literal["approximate", "exact"] = "approximate"  # unbinding by the conjugate of the query, or by 1/query
    cosine_epsilon: Annotated[float, Field(ge=0.0, le=1.0)] = 1e-12  # least sum of squares in a cosine; with 0, as
    # published, a value of zeros makes the whole head NaN
    masked: bool = True  # pads have no weight in the softmax (ListOps, Text, Retrieval, EMBER)
    mask_beta: bool = False  # nor any part in beta, the sum of what keys and values bind to; published: they have
    mask_pool: bool = False  # nor in the mean over the tokens; published: they have
    scale_by_T: bool = False  # weights times the number of tokens: a variant, whose attention is not of size 1/T
    biases: bool = False  # of all dense layers of a block (EMBER); published otherwise: of the hidden layer alone
    head: Literal["mean", "class_token"] = (
        "mean"  # mean over the tokens, or a learned first one (EMBER), in float alone
    )
    pair: bool = False  # two sequences of half the length, one encoder (Retrieval), in float alone
    fc_widths: Widths = (64,)  # hidden layers of the head
    dropout: Share = 0.1  # of embedding, attention and feed-forward part, in training

    @property
    def width(self) -> int:
        """Model width H."""
        return self.embed_widths[-1]

    @property
    def head_width(self) -> int:
        """Width of a head, n."""
        return self.width // self.heads

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.embed_widths:
            raise ValueError("embed_widths needs at least the model width. Received: embed_widths=()")
        if self.vocabulary and len(self.embed_widths) > 1:
            raise ValueError(
                "tokens (vocabulary) have embed_widths of the model width alone. "
                f"Received: vocabulary={self.vocabulary}, embed_widths={self.embed_widths}"
            )
        if self.width % self.heads:
            raise ValueError(f"heads must divide the model width {self.width}. Received: heads={self.heads}")
        if self.attention == "hrr" and (self.head_width % 2 or self.head_width < 4):
            raise ValueError(
                "attention: hrr needs heads of an even width, 4 or more. "
                f"Received: heads={self.heads} of {self.width} channels"
            )
        if self.form == "dft" and self.inverse == "exact":
            raise ValueError("form: dft has inverse: approximate alone. Received: inverse=exact")
        if self.positions == "fixed" and not self.vocabulary:
            raise ValueError(
                "positions: fixed is of tokens (vocabulary); numbers take learned or none. Received: vocabulary=0"
            )
        return self
