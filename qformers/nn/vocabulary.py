"""The verbs in which every architecture is written once; float and fixed point are two ways to say them.

An architecture says which role each letter of its equations plays (`Vocabulary.declare`), then speaks verbs. A norm in
front of a step is a layer in float and a `Normed` value in fixed point, where its learned factors and shifts (and all
of a batch norm) are folded into the dense step that reads it, or become a layer where a sum does: no other verb takes
one, and a model is not finished while one is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from qformers.errors import ConfigError
from qformers.nn.positions import Positions

if TYPE_CHECKING:
    from qformers.nn.formats import Formats
    from qformers.nn.index.host_order import HostOrder

Tensor = Any  # a symbolic Keras tensor, or a `Normed` one
Model = Any  # a Keras model, with its `memory`
Form: TypeAlias = "str | Callable[[Formats], str]"  # a fixed-point format, or how it follows from those of a build

Forms: TypeAlias = "tuple[Form | None, Form | None]"  # of two sides

NormKind = Literal["layer", "rms", "batch", "none"]
COMPUTED: tuple[NormKind, ...] = ("layer", "rms")  # by fixed point too; the others are folded or nothing
Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh", "linear"]  # gelu by the error function, or by tanh
# Initial kernels. torch_conv: PyTorch's of Linear too; lecun: flax's of Dense; small: Gaussian around 0, 0.02 wide;
# minus_one: around -1, 0.01 wide
Initial = Literal["glorot", "torch_conv", "silu", "kaiming", "lecun", "small", "minus_one"]
EPSILON = 1e-5  # of norms, as in PyTorch; Keras' 1e-3 gives other numbers


@dataclass(frozen=True)
class Norm:
    """A normalisation of one axis; `mask` says which positions count in the statistics of a batch norm.

    layer: (x - mean) / sqrt(variance + epsilon) over the channels of a point (arXiv:1607.06450); rms: without the mean
    and the shift (arXiv:1910.07467); batch: over events, which in inference is one factor and one shift per channel.
    """

    name: str
    kind: NormKind
    mask: Tensor = None
    axis: int = -1  # from the end; another one than the last for batch norms behind a dense step only
    epsilon: float = EPSILON  # of float; fixed point has a floor of its own in its place


@dataclass(frozen=True)
class Linear:
    """One dense step: einsum with a kernel, bias, fixed factor, factors per head, norm, activation, in this order."""

    equation: str  # batch first, e.g. "bnd,dhe->bnhe"
    sizes: Mapping[str, int]  # of the letters that the kernel adds, e.g. {"h": 4, "e": 8}
    bias_axes: str | None  # letters of the output that carry a bias
    activation: Activation = "linear"
    factor: float = 1.0  # e.g. 1/sqrt(d) on the query
    head_factors: str | None = None  # name of a layer of learned factors per head (weaver's c_attn)
    heads: int = 1
    norm: Norm | None = None
    initial: Initial = "glorot"
    gain: float = 1.0  # on the initial kernel
    folded_bias_axes: str | None = None  # the same where a norm is folded in; None = `bias_axes`

    def output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output without the batch axis."""
        left, output = self.equation.split("->")
        known = {**dict(zip(left.split(",")[0], input_shape, strict=True)), **self.sizes}
        return tuple(known[letter] for letter in output[1:])

    def fans(self, input_shape: tuple[int | None, ...]) -> tuple[int, int]:
        """(inputs that one output sums, outputs that one input feeds), for the initial weights."""
        left, output = self.equation.split("->")
        inputs, kernel = left.split(",")
        summed = [size or 1 for letter, size in zip(inputs, input_shape, strict=True) if letter not in output]
        return math.prod(summed), math.prod(size for letter, size in self.sizes.items() if letter in kernel)


@dataclass(frozen=True)
class Normed:
    """A value with norms in front of its reader, which only a step that takes them in accepts."""

    value: Tensor
    norms: tuple[str, ...]  # names, in order of application

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of the value."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        """Of the value."""
        return str(self.value.dtype)


@dataclass(frozen=True)
class Table:
    """A function of one variable and, for fixed point, the formats of its argument and value."""

    function: Callable[[Tensor], Tensor]  # registered as Keras serialisable
    argument: Form  # e.g. "ufixed<5,5>"
    value: Form


class Vocabulary(Protocol):
    """What a quantiser has to offer (`qformers.nn.float32`, `qformers.nn.hgq`)."""

    name: str
    key_bias_axes: str | None  # the bias of the attention keys drops out of a softmax: fixed point has none

    @property
    def zero_logit(self) -> float:
        """What `key_logits` makes of a logit of 0 of a real key."""

    def declare(self, **roles: str) -> None:
        """Say which role the letters of the equations play, e.g. ``point="nqk", head="h", channel="def"``.

        Raises:
            ValueError: no such role, or a letter with two.
        """

    def input(self, name: str, shape: tuple[int | None, ...], axes: str) -> Tensor:
        """A model input, shape without the batch axis; `axes` spells all of its axes, e.g. "bnf"."""

    def dense(self, x: Tensor, name: str, linear: Linear) -> Tensor:
        """Learned einsum of `x`, which may be normed, with a kernel."""

    def tokens(self, name: str, length: int, entries: int) -> Tensor:
        """A model input of tokens, for `embedding`.

        Float takes whole numbers (B, N) under this name; fixed point takes a one in the place of each number,
        (B, N, V), under the name with ``_one_hot`` behind it. The host makes both (`qformers.models.inputs`).

        Args:
            name: of the input.
            length: N.
            entries: V.
        """

    def embedding(self, tokens: Tensor, name: str, entries: int, linear: Linear, positions: Positions) -> Tensor:
        """Learned vectors of tokens: a table in float, in fixed point the dense step of the one-hot form.

        Args:
            tokens: of the verb `tokens`.
            name: of the layer.
            entries: V.
            linear: "bnv,vd->bnd".
            positions: vectors of the places, which are added.
        """

    def derived_dense(self, x: Tensor, name: str, linear: Linear, rule: str, of: str = "") -> Tensor:
        """A dense step that stands for several steps of another form of the architecture.

        Args:
            x: may be normed.
            name: of the layer.
            linear: the step.
            rule: key of the architecture's `Arch.derivations`: how kernel and bias follow from a model of that form.
            of: layer of that form which the rule reads, where it needs one.
        """

    def einsum(self, equation: str, a: Tensor, b: Tensor, name: str, forms: Forms = (None, None)) -> Tensor:
        """Product of two data tensors, each in the fixed format `forms` has for it, or in a learned one."""

    def wires(self, x: Tensor, kernel: Any, equation: str, name: str, form: Form, bias: Any = None) -> Tensor:
        """Einsum with a constant kernel of small numbers (selections, differences, fills) on values of format `form`.

        Args:
            x: values.
            kernel: constant.
            equation: of `x` and the kernel.
            name: of the layer.
            form: `Form` of the values.
            bias: constant that is added, of the shape of the output without its batch axis; None = nothing.
        """

    def stack(self, columns: Sequence[Tensor], form: Form, name: str) -> Tensor:
        """Tensors (B, P) side by side, (B, P, number of columns), in the format `form`."""

    def concatenate(self, parts: Sequence[Tensor], name: str) -> Tensor:
        """Tensors behind each other on the last axis."""

    def sum(self, a: Tensor, b: Tensor, form: Form, name: str) -> Tensor:
        """Sum of two tensors of one shape in the fixed format `form`."""

    def add(self, a: Tensor, b: Tensor, axes: str, name: str) -> Tensor:
        """Sum of two data tensors whose axes are spelt `axes`, e.g. "bnd"."""

    def minus(self, a: Tensor, b: Tensor, name: str, form: Form | None = None, axes: str = "") -> Tensor:
        """Difference of tensors that broadcast, in the fixed format `form`, or in learned ones (axes spelt `axes`)."""

    def norm(self, x: Tensor, norm: Norm) -> Tensor:
        """Normalisation in front of a dense step, which has to read what is returned."""

    def round(self, x: Tensor, form: Form, name: str, told: bool = False) -> Tensor:
        """`x` on the grid of a format, which the build file can set where it is `told`; as it is in float."""

    def table(self, x: Tensor, table: Table, name: str) -> Tensor:
        """A function of one variable."""

    def logits(self, scores: Tensor, bias: Tensor | None, mask: Tensor | None, name: str) -> Tensor:
        """Attention scores (B, H, Q, K) plus pair bias (same shape or None), padded keys (mask (B, K)) pushed away.

        Without a mask every key counts, as the projected ones of a Linformer do.
        """

    def class_logits(self, scores: Tensor, mask: Tensor, name: str) -> Tensor:
        """Scores (B, H, 1 + N) with padded particles (mask (B, N)) pushed away; slot 0, the class token, is valid."""

    def hidden_keys(self, real: Tensor, shape: tuple[int, ...], equation: str, name: str) -> Tensor:
        """What pushes padded keys away: from `real` (1 or 0 per key) and ones of `shape`, spread by `equation`."""

    def key_logits(self, scores: Tensor, hidden: Tensor, name: str) -> Tensor:
        """Scores with what `hidden_keys` gave; a real key's logit of 0 becomes `zero_logit`."""

    def on_logit_grid(self, value: float) -> float:
        """A constant logit as attention scores can hold it."""

    def softmax(self, x: Tensor, name: str) -> Tensor:
        """Softmax over the last axis."""

    def mean(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Mean of (B, N, D) over real particles."""

    def total(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Sum of (B, N, D) over real particles times 2^-round(log2 N), which is a shift."""

    def gate(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """(B, N, ..., D) with zeros in padded slots."""

    def spread(self, x: Tensor, particles: int, name: str) -> Tensor:
        """(B, D) repeated for every particle, (B, N, D)."""

    def dropout(self, x: Tensor, rate: float, name: str) -> Tensor:
        """Dropout in training."""

    def residual_factors(self, x: Tensor, name: str) -> Tensor:
        """Learned factors per channel, the last axis, of a residual (weaver's w_resid)."""

    def unit(self, x: Tensor, name: str, epsilon: float = 0.0) -> Tensor:
        """`x` (B, ..., E) over the root of the mean square of its last axis; zeros stay zeros.

        Args:
            x: values.
            name: of the layer.
            epsilon: least mean square of float.
        """

    def cosine(self, a: Tensor, b: Tensor, axes: str, name: str, epsilon: float = 0.0) -> Tensor:
        """Cosine of the angle between vectors along the last axis, (B, ..., E) twice -> (B, ...), in [-1, 1].

        Args:
            a, b: of one shape.
            axes: spells it, e.g. "bnhe".
            name: of the layer.
            epsilon: least sum of squares of float; with 0 the cosine with a vector of zeros is none (NaN). In fixed
                point it is 0.
        """

    def swiglu(self, x: Tensor, name: str, linear: Linear) -> Tensor:
        """SwiGLU (arXiv:2002.05202): `linear` of `x` times the SiLU of another such step, `name`_gate.

        Raises:
            ConfigError: `linear` has a norm or an activation of its own.
        """

    def move(self, layer: type, x: Tensor, name: str, *more: Tensor, **settings: Any) -> Tensor:
        """A Keras layer that moves or picks values of `x` (and of `more`) and rounds none.

        What `x` may be normed for: a class that says ``keeps_rows = True``, and a Reshape that keeps the last axis.
        """

    def symmetric(self, x: Tensor, points: int, form: Form, name: str, self_pairs: bool = False) -> Tensor:
        """Values (B, P, H) of pairs of N points, each once, as (B, H, N, N): symmetric, 0 for pairs that P leaves out.

        Args:
            x: pairs i > j as of ``np.tril_indices(N, -1)``, or with those of i = j as of ``np.tril_indices(N)``.
            points: N.
            form: `Form` of the values.
            name: of the layer.
            self_pairs: whether P counts pairs i = j.
        """

    def sorted_order(self, coords: Tensor, mask: Tensor, drawn: HostOrder, rounded_by: str, name: str) -> Tensor:
        """The order of points in blocks, by regions and hashes of their coordinates.

        Args:
            coords: (B, N, C).
            mask: (B, N, 1).
            drawn: the numbers that make the order.
            rounded_by: layer that put the coordinates on their grid (`round`).
            name: of the layer.

        Returns:
            (B, 1, O, 1, N), slots of the points.
        """

    def real(self, layer: type, inputs: Any, name: str, refusal: str, **settings: Any) -> Tensor:
        """A Keras layer that exists in floating point only; fixed point refuses with the words `refusal`."""

    def unread(self, layer: type, inputs: Any, name: str, **settings: Any) -> Tensor:
        """A layer on the first of `inputs` that changes only what nothing reads; fixed point leaves it out."""

    def counted(self, layer: type, inputs: Tensor | None, name: str, **settings: Any) -> Tensor | None:
        """Which positions the statistics of norms count; None where norms have none, because they are folded."""

    def model(self, inputs: Mapping[str, Tensor], output: Tensor, cfg: Any) -> Model:
        """The finished Keras model of an architecture's configuration, with its `memory`.

        Raises:
            ConfigError: a norm that no step took in, or a build file that speaks of layers that are not there.
        """


def refuse_gated(name: str, linear: Linear) -> None:
    """See `Vocabulary.swiglu`."""
    if linear.norm is not None or linear.activation != "linear":
        own = f"norm {linear.norm.name}" if linear.norm is not None else f"activation {linear.activation}"
        raise ConfigError(f"{name}: the two steps of a SwiGLU are linear, and one goes through a SiLU. Received: {own}")


def gating(rank: int) -> str:
    """Equation that multiplies a tensor (B, N, ..., D) of this rank by a mask (B, N)."""
    axes = "bn" + "mkl"[: rank - 3] + "d"
    return f"bn,{axes}->{axes}"


def by_channel(shape: tuple[int | None, ...]) -> str:
    """Equation that multiplies the last axis of tensors of this shape, batch first, by one factor per channel."""
    places = "bnmkl"[: len(shape) - 1]
    return f"{places}d,d->{places}d"


def spelt(form: Form, formats: Formats) -> str:
    """The text of a format."""
    return form if isinstance(form, str) else form(formats)


def total_scale(particles: int) -> float:
    """The power of two next to 1/N: what a sum over N particle slots is scaled by."""
    return float(2.0 ** -round(math.log2(particles)))
