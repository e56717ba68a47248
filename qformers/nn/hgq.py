"""The fixed-point vocabulary on HGQ2: every value has a format, learned (HGQ) or given in the build file.

Batch norms are not computed but folded into the dense steps that read them (`Memory.folds` says which), and so are the
factors and shifts that other norms learn; what is left of these is computed (`qformers.nn.norms`). So only sums,
products, tables and roundings remain: what firmware has. Any other verb refuses a value with a norm in front.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from hgq.layers import QAdd, QEinsum, QEinsumDense, QSoftmax, QSubtract
from hgq.quantizer import Quantizer

from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.nn import activations, norms
from qformers.nn.formats import Formats, exact_quantiser, write_constant
from qformers.nn.index.host_order import HostOrder
from qformers.nn.index.rounded_pairs import QSymmetricFill
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.layers import remembering
from qformers.nn.lookups import looked_up_by
from qformers.nn.memory import Fold, Role, layer_of
from qformers.nn.positions import Positions
from qformers.nn.roles import Roles
from qformers.nn.softmax import EXP_INTEGER_BITS, lift_of
from qformers.nn.table import reciprocal
from qformers.nn.vocabulary import (
    COMPUTED,
    Form,
    Forms,
    Linear,
    Model,
    Norm,
    Normed,
    Table,
    Tensor,
    by_channel,
    gating,
    refuse_gated,
    spelt,
    total_scale,
)
from qformers.precision.fixed import Fixed
from qformers.precision.rules import layer_types

TABULATED = ("gelu", "gelu_tanh", "silu", "tanh")  # activations
SHARE_BITS = 5  # of 1/N of N particles: a mean is as precise whatever their number
WIDE = Fixed(True, 8, 12)  # of values that a constant layer only passes on


class Hgq:
    """Fixed-point arithmetic.

    Args:
        quant: formats and how they are learned.
    """

    name = "hgq"
    key_bias_axes: str | None = None

    def __init__(self, quant: QuantConfig) -> None:
        self.quant = quant
        self.formats = Formats(quant)
        self.roles = Roles()
        self._folds: dict[str, Fold] = {}
        self._derived: dict[str, tuple[str, str]] = {}  # dense layer -> rule of its weights
        self._affines: dict[str, tuple[str, ...]] = {}  # factors per channel -> the float layers that they are
        self._stands_for: dict[str, str] = {}
        self._ranged: list[str] = []  # constant layers whose input format calibration moves
        self._shifts: list[str] = []  # those that are shifts, which calibration sets
        self._shifted: list[str] = []  # layers whose values a softmax reads
        self._inputs: dict[str, tuple[Role, ...]] = {}
        self._norms: dict[str, bool] = {}  # norms in front of a step -> whether a step took them in
        self._made: dict[str, Tensor] = {}  # norm -> the value behind it, where a layer of its own gives it
        self._constants: list[tuple[Any, Any, Any]] = []  # variable, its quantiser, values

    def declare(self, **roles: str) -> None:
        """Roles decide which axes share a width."""
        self.roles.declare(**roles)

    def input(self, name: str, shape: tuple[int | None, ...], axes: str) -> Tensor:
        """A Keras input; the layers that read it quantise it."""
        self._inputs[name] = self.roles.of(axes, f"input '{name}'")
        return keras.Input(shape, name=name)

    def dense(self, x: Tensor, name: str, linear: Linear) -> Tensor:
        """QEinsumDense; norms and factors around it are noted for folding."""
        return self._dense(x, name, linear)

    def _dense(self, x: Tensor, name: str, linear: Linear, given: Any = None) -> Tensor:
        """`given`: the format of the input; None = as the build says."""
        norm = linear.norm
        computed = norm is not None and norm.kind in COMPUTED
        tabulated = linear.activation in TABULATED
        after = [linear.head_factors] if linear.head_factors else []
        after += [norm.name] if norm is not None and norm.kind == "batch" else []
        before: tuple[str, ...] = ()
        if isinstance(x, Normed):
            x, before = x.value, x.norms
            self._norms.update(dict.fromkeys(before, True))
        axis = norm.axis if norm else -1
        bias_axes = linear.bias_axes
        if linear.folded_bias_axes is not None and (before or after):
            bias_axes = linear.folded_bias_axes
        _refuse_unfoldable(name, linear, bias_axes, bool(before), bool(after))
        self._folds[name] = Fold(before, tuple(after), linear.factor, axis, bool(bias_axes))
        roles = self.roles.of(linear.equation.split(",")[0], f"layer '{name}'")
        layer = QEinsumDense(
            linear.equation,
            linear.output_shape(x.shape),
            bias_axes=bias_axes,
            activation="relu" if linear.activation == "relu" and not computed else None,
            iq_conf=given or self.formats.value(name, roles),
            kq_conf=self.formats.weight(name),
            bq_conf=self.formats.bias(name) if bias_axes else None,
            name=name,
            **self.formats.result(name, "QEinsumDense"),
        )
        y = layer(x)
        if computed or tabulated:  # the float step of this name goes on behind what this layer gives
            scaled = f"{name}_scaled" if linear.factor != 1.0 else name
            self._stands_for[name] = after[-1] if after else scaled
        if norm is not None and computed:
            rectified = linear.activation == "relu"
            y = self._affine(self.normalised(y, norm), norm.name, (norm.name,), rectified=rectified, shifted=True)
            if rectified:
                self._stands_for[norm.name] = f"{name}_relu"
        if tabulated:
            y = self.activated(y, linear.activation, f"{name}_{linear.activation}")
        return y

    def tokens(self, name: str, length: int, entries: int) -> Tensor:
        """One-hot."""
        return self.input(f"{name}_one_hot", (length, entries), "bnv")

    def embedding(self, tokens: Tensor, name: str, entries: int, linear: Linear, positions: Positions) -> Tensor:
        """The dense step of the one-hot form; its bias starts as the vectors of places, also where those are fixed."""
        linear = replace(linear, bias_axes=linear.bias_axes if positions == "none" else "nd")
        return self._dense(tokens, name, linear, self.formats.fixed("ufixed<1,1>"))

    def derived_dense(self, x: Tensor, name: str, linear: Linear, rule: str, of: str = "") -> Tensor:
        """A dense step that stands for several float layers; `rule` says how its kernel and bias follow from them."""
        self._derived[name] = (rule, of)
        return self.dense(x, name, linear)

    def einsum(self, equation: str, a: Tensor, b: Tensor, name: str, forms: Forms = (None, None)) -> Tensor:
        """QEinsum, both sides quantised."""
        axes = [self.roles.of(letters, f"layer '{name}'") for letters in equation.split("->")[0].split(",")]
        sides = []
        for slot, roles, form in zip(("input0", "input1"), axes, forms, strict=True):
            if form is None:
                sides.append(self.formats.value(name, roles, "QEinsum", slot))
            else:
                own = self.formats.own(name, "QEinsum", slot, spelt(form, self.formats))
                sides.append(self.formats.fixed(str(own)))
        tensors = [self._plain(a, name), self._plain(b, name)]
        return QEinsum(equation, iq_confs=sides, name=name, **self.formats.result(name, "QEinsum"))(tensors)

    def wires(self, x: Tensor, kernel: Any, equation: str, name: str, form: Form, bias: Any = None) -> Tensor:
        """QEinsumDense with an exact constant kernel, and a constant that is added to its result."""
        return self._constant(x, kernel, equation, name, self.formats.fixed(spelt(form, self.formats)), bias)

    def concatenate(self, parts: Sequence[Tensor], name: str) -> Tensor:
        """Wires."""
        return keras.layers.Concatenate(name=name)([self._plain(part, name) for part in parts])

    def stack(self, columns: Sequence[Tensor], form: Form, name: str) -> Tensor:
        """Adders of which one side is always zero: wires, once compiled; they count no EBOPs."""
        one_hot, last = np.eye(len(columns)), len(columns) - 1
        spread = [self.wires(x, one_hot[i], "bp,f->bpf", f"{name}_column{i}", form) for i, x in enumerate(columns)]
        total = spread[0]
        for index, part in enumerate(spread[1:], 1):
            step = name if index == last else f"{name}_stack{index}"
            total = self._sum(total, part, form, step, count=False)
        return total

    def sum(self, a: Tensor, b: Tensor, form: Form, name: str) -> Tensor:
        """QAdd in one fixed format."""
        return self._sum(a, b, form, name, count=True)

    def _sum(self, a: Tensor, b: Tensor, form: Form, name: str, count: bool) -> Tensor:
        """`count` says whether its EBOPs count."""
        text = spelt(form, self.formats)
        sides = [self.formats.fixed(text), self.formats.fixed(text)]
        tensors = [self._plain(a, name), self._plain(b, name)]
        return QAdd(iq_confs=sides, enable_ebops=count, name=name)(tensors)

    def add(self, a: Tensor, b: Tensor, axes: str, name: str) -> Tensor:
        """QAdd, both sides quantised; what norms in front have learned is a layer of its own."""
        roles = self.roles.of(axes, f"layer '{name}'")
        sides = [self.formats.value(name, roles, "QAdd", slot) for slot in ("input0", "input1")]
        tensors = [self._taken(a), self._taken(b)]
        return QAdd(iq_confs=sides, name=name, **self.formats.result(name, "QAdd"))(tensors)

    def minus(self, a: Tensor, b: Tensor, name: str, form: Form | None = None, axes: str = "") -> Tensor:
        """QSubtract of tensors that broadcast, in one fixed format `form`, or with learned ones (axes spelt `axes`)."""
        if form is None:
            roles = self.roles.of(axes, f"layer '{name}'")
            sides = [self.formats.value(name, roles, "QSubtract", slot) for slot in ("input0", "input1")]
        else:
            sides = [self.formats.fixed(spelt(form, self.formats)) for _ in range(2)]
        return QSubtract(iq_confs=sides, name=name)([self._plain(a, name), self._plain(b, name)])

    def norm(self, x: Tensor, norm: Norm) -> Tensor:
        """The value with the norm, or what is learned of it, in front of the dense step that has to take it in."""
        if norm.kind == "none":
            return x
        if norm.axis != -1:
            raise ConfigError(
                f"{norm.name}: in front of a dense step a norm is folded along the last axis only. "
                f"Received: axis {norm.axis}"
            )
        self._norms[norm.name] = False
        if norm.kind in COMPUTED:
            # nothing else can take in a norm in front of one that is computed
            return Normed(self.normalised(self._taken(x), norm), (norm.name,))
        return Normed(x.value, (*x.norms, norm.name)) if isinstance(x, Normed) else Normed(x, (norm.name,))

    def normalised(self, x: Tensor, norm: Norm) -> Tensor:
        """A layer or RMS norm without its learned factors, step by step as `qformers.nn.norms` has it."""
        name, shape, formats = norm.name, tuple(x.shape), self.formats
        if norm.axis != -1:
            raise ConfigError(f"{name}: a {norm.kind} norm is computed along the last axis. Received: axis {norm.axis}")
        if len(shape) == 2:  # sums of an event have no axis but its own, which firmware does not have
            x = keras.layers.Reshape((1, shape[-1]), name=f"{name}_row")(x)
        each = by_channel(x.shape)
        places, channels = each[: each.index("d")], int(x.shape[-1])
        roles, forms = roles_of(x), norms.Forms.of(self.quant.norm_bits)
        if norm.kind == "layer":
            share = np.full((channels, 1), norms.share_of(channels))
            mean = self._ranged_wires(x, share, f"{places}d,do->{places}o", f"{name}_mean", forms.averaged)
            sides = [formats.value(f"{name}_centred", roles, "QSubtract", slot) for slot in ("input0", "input1")]
            x = QSubtract(iq_confs=sides, name=f"{name}_centred")([x, mean])
        x = self._shifted_values(x, each, f"{name}_shifted")
        root = self._root(x, places, roles, name)
        step = f"{name}_normed"
        sides = [
            formats.value(step, roles, "QEinsum", "input0", forms.shifted),
            formats.fixed(str(formats.own(step, "QEinsum", "input1", norms.root_form()))),
        ]
        y = QEinsum(f"{places}d,{places}->{places}d", iq_confs=sides, name=step)([x, root])
        return keras.layers.Reshape(shape[1:], name=f"{name}_flat")(y) if len(shape) == 2 else y

    def _shifted_values(self, x: Tensor, each: str, name: str) -> Tensor:
        """Values (B, ..., D) by the power of two that brings them into (-1, 1), which calibration sets."""
        self._shifts.append(name)
        unshifted = norms.Forms.of(self.quant.norm_bits).unshifted
        return self._ranged_wires(x, np.ones(int(x.shape[-1])), each, name, unshifted)

    def _root(self, x: Tensor, places: str, roles: tuple[Role, ...], name: str, mean: bool = False) -> Tensor:
        """sqrt(D / sum of squares) of shifted values (B, ..., D), for `mean` divided by D: (B, ...)."""
        step, channels = f"{name}_squares", int(x.shape[-1])
        squared = norms.Forms.of(self.quant.norm_bits).squared
        sides = [self.formats.value(step, roles, "QEinsum", slot, squared) for slot in ("input0", "input1")]
        squares = QEinsum(f"{places}d,{places}d->{places}", iq_confs=sides, name=step)([x, x])
        tables = norms.root_tables(channels, mean)
        parts = [self.table(squares, table, f"{name}_root{index}") for index, table in enumerate(tables)]
        root = parts[0]
        for index, part in enumerate(parts[1:], 1):
            step = f"{name}_root" if index == len(parts) - 1 else f"{name}_root_sum{index}"
            root = self.sum(root, part, norms.root_form(channels, mean), step)
        return root

    def unit(self, x: Tensor, name: str, epsilon: float = 0.0) -> Tensor:
        """An RMS norm without learned factors."""
        y = self.normalised(self._plain(x, name), Norm(name, "rms"))
        self._stands_for[layer_of(y)] = name
        return y

    def cosine(self, a: Tensor, b: Tensor, axes: str, name: str, epsilon: float = 0.0) -> Tensor:
        """The scalar product of values shifted into (-1, 1), times the roots of both (`qformers.nn.norms`)."""
        roles, forms = self.roles.of(axes, f"layer '{name}'"), norms.Forms.of(self.quant.norm_bits)
        each = by_channel(a.shape)
        places, channels = each[: each.index("d")], int(a.shape[-1])
        shifted, roots = [], []
        for side, value in (("left", self._plain(a, name)), ("right", self._plain(b, name))):
            x = self._shifted_values(value, each, f"{name}_{side}_shifted")
            roots.append(self._root(x, places, roles, f"{name}_{side}", mean=side == "right"))
            shifted.append(x)
        step = f"{name}_product"
        sides = [self.formats.value(step, roles, "QEinsum", slot, forms.shifted) for slot in ("input0", "input1")]
        value = QEinsum(f"{places}d,{places}d->{places}", iq_confs=sides, name=step)(shifted)
        scalar = norms.scalar_form(self.quant.norm_bits, channels)
        for step, root, mean in ((f"{name}_half", roots[0], False), (name, roots[1], True)):
            form = str(self.formats.own(step, "QEinsum", "input1", norms.root_form(channels, mean)))
            sides = [self.formats.value(step, roles[:-1], "QEinsum", "input0", scalar), self.formats.fixed(form)]
            value = QEinsum(f"{places},{places}->{places}", iq_confs=sides, name=step)([value, root])
        return value

    def _ranged_wires(self, x: Tensor, kernel: Any, equation: str, name: str, default: str) -> Tensor:
        """`wires` of a format that calibration moves to the range of the data, where the build file says none."""
        setting = self.formats.rules.look_up(name, "QEinsumDense", "input", Fixed.parse(default))
        if setting is not None and setting.source == "default":
            self._ranged.append(name)
        return self.wires(x, kernel, equation, name, str(setting.value if setting is not None else default))

    def _affine(
        self, x: Tensor, name: str, of: tuple[str, ...], rectified: bool = False, shifted: bool = False
    ) -> Tensor:
        """A learned factor per channel, and a shift if `shifted`: what the float layers `of` multiply and add."""
        equation = by_channel(x.shape)
        roles = roles_of(x)
        layer = QEinsumDense(
            equation,
            x.shape[1:],
            bias_axes="d" if shifted else None,
            activation="relu" if rectified else None,
            iq_conf=self.formats.value(name, roles),
            kq_conf=self.formats.weight(name),
            bq_conf=self.formats.bias(name) if shifted else None,
            name=name,
            **self.formats.result(name, "QEinsumDense"),
        )
        self._affines[name] = of
        return layer(x)

    def activated(self, x: Tensor, activation: str, name: str) -> Tensor:
        """See `qformers.nn.activations`."""
        if activation == "tanh":
            return self.table(x, activations.TANH, name)
        smooth = activations.CORRECTIONS[activation]
        correction = self.table(x, smooth, f"{name}_table")
        rectified = self.round(x, activations.RECTIFIED, f"{name}_rectified", told=True)
        roles = roles_of(x)
        default = spelt(smooth.value, self.formats)
        table = self.formats.own(f"{name}_table", "QUnaryFunctionLUT", "table", default)
        sides = [
            self.formats.value(name, roles, "QAdd", "input0"),
            self.formats.fixed(str(self.formats.own(name, "QAdd", "input1", str(table)))),
        ]
        return QAdd(iq_confs=sides, name=name, **self.formats.result(name, "QAdd"))([rectified, correction])

    def round(self, x: Tensor, form: Form, name: str, told: bool = False) -> Tensor:
        """A quantiser as a layer of its own."""
        text = spelt(form, self.formats)
        own = str(self.formats.own(name, "Quantizer", "input", text)) if told else text
        return Quantizer(self.formats.fixed(own), name=name)(self._plain(x, name))

    def table(self, x: Tensor, table: Table, name: str) -> Tensor:
        """QUnaryFunctionLUT: one table for the whole tensor."""
        kind = "QUnaryFunctionLUT"
        argument, value = spelt(table.argument, self.formats), spelt(table.value, self.formats)
        forms = (self.formats.own(name, kind, "input", argument), self.formats.own(name, kind, "table", value))
        return looked_up_by(table.function, *forms, name)(self._plain(x, name))

    def logits(self, scores: Tensor, bias: Tensor | None, mask: Tensor | None, name: str) -> Tensor:
        """Scores plus pair bias; real keys are lifted above padded ones (see `zero_logit`)."""
        scores = self._plain(scores, name)
        self._shifted.append(layer_of(scores))
        if bias is not None:
            sides = [self.formats.fixed(self.quant.logits), self.formats.fixed(self.quant.logits)]
            scores = QAdd(iq_confs=sides, name=f"{name}_bias")([scores, self._plain(bias, name)])
            self._shifted.append(f"{name}_bias")
            if mask is None:
                return scores
        self._shifted.append(name)
        if mask is None:
            return Quantizer(self.formats.fixed(self.quant.logits), name=name)(scores)
        heads, queries = scores.shape[1:3]
        one_bit = self.formats.fixed("ufixed<1,1>")
        lift = np.full((heads, queries), self.zero_logit)
        return self.key_logits(scores, self._constant(mask, lift, "bk,hq->bhqk", f"{name}_mask", one_bit), name)

    def class_logits(self, scores: Tensor, mask: Tensor, name: str) -> Tensor:
        """Scores (B, H, 1 + N) with padded particles pushed away; slot 0 is the class token, always valid."""
        self._shifted.append(name)
        heads, slots = scores.shape[1:]
        lift = np.zeros((slots - 1, heads, slots))
        lift[np.arange(slots - 1), :, np.arange(1, slots)] = self.zero_logit
        always = np.zeros((heads, slots))
        always[:, 0] = self.zero_logit
        one_bit = self.formats.fixed("ufixed<1,1>")
        return self.key_logits(scores, self._constant(mask, lift, "bn,nhm->bhm", f"{name}_mask", one_bit, always), name)

    def hidden_keys(self, real: Tensor, shape: tuple[int, ...], equation: str, name: str) -> Tensor:
        """The lift of real keys and 0 of padded ones."""
        return self.wires(real, np.full(shape, self.zero_logit), equation, name, "ufixed<1,1>")

    @property
    def zero_logit(self) -> float:
        """The lift (`qformers.nn.softmax`)."""
        return lift_of(self.quant)

    def on_logit_grid(self, value: float) -> float:
        """A multiple of the step of the logits, at least their lowest value."""
        form = Fixed.parse(self.quant.logits)
        return max(round(value / form.step) * form.step, form.low)

    def key_logits(self, scores: Tensor, hidden: Tensor, name: str) -> Tensor:
        """Scores plus what the lift gives real keys, exact."""
        above = self.formats.fixed(str(Fixed(False, int(math.log2(self.zero_logit)) + 1, 0)))
        return QAdd(iq_confs=[self.formats.fixed(self.quant.logits), above], name=name)(
            [self._plain(scores, name), self._plain(hidden, name)]
        )

    def softmax(self, x: Tensor, name: str) -> Tensor:
        """QSoftmax: subtract the maximum, table of exp, sum, table of 1/x, product."""
        total = math.ceil(math.log2(x.shape[-1])) + 1
        return QSoftmax(axis=-1, name=name, **self.formats.softmax(name, EXP_INTEGER_BITS, total))(self._plain(x, name))

    def mean(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Sum over real particles times a table of 1/n; the value of the table at n = 0 meets a sum of 0."""
        particles = x.shape[1]
        one_bit = self.formats.fixed("ufixed<1,1>")
        total = self._with_mask("bn,bnd->bd", mask, x, f"{name}_sum")
        count = self._constant(mask, np.ones((particles, 1)), "bn,no->bo", f"{name}_count", one_bit)
        bits = particles.bit_length()
        shares = str(Fixed(False, 1, max(9, SHARE_BITS + (particles - 1).bit_length()), "RND", "SAT"))
        inverse = self.table(count, Table(reciprocal, f"ufixed<{bits},{bits}>", shares), f"{name}_inverse")
        share = self.formats.own(f"{name}_product", "QEinsum", "input1", shares)
        sides = [
            self.formats.value(f"{name}_product", ("event", "channel"), "QEinsum", "input0"),
            self.formats.fixed(str(share)),
        ]
        mean = QEinsum("bd,bo->bdo", iq_confs=sides, name=f"{name}_product")([total, inverse])
        # a constant layer, since hls4ml's einsum cannot sum an axis of one operand alone
        return self.wires(mean, np.ones(1), "bdo,o->bd", name, str(WIDE))

    def total(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """The mask is scaled, not the sum: one bit that is worth 2^-round(log2 N)."""
        scale = total_scale(x.shape[1])
        share = self.wires(mask, np.full(x.shape[1], scale), "bn,n->bn", f"{name}_share", "ufixed<1,1>")
        return self._with_mask("bn,bnd->bd", share, x, name, scale)

    def gate(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """One bit times each value: AND gates."""
        return self._with_mask(gating(len(x.shape)), mask, x, name)

    def spread(self, x: Tensor, particles: int, name: str) -> Tensor:
        """Wires: the adder that reads them quantises."""
        return self.wires(x, np.ones(particles), "bd,n->bnd", name, str(WIDE))

    def _with_mask(self, equation: str, mask: Tensor, x: Tensor, name: str, worth: float = 1.0) -> Tensor:
        """Mask, one bit that is 0 or `worth`, times values."""
        bit = self.formats.fixed(str(Fixed(False, 1 + round(math.log2(worth)), -round(math.log2(worth)))))
        sides = [bit, self.formats.value(name, roles_of(x), "QEinsum", "input1")]
        return QEinsum(equation, iq_confs=sides, name=name, **self.formats.result(name, "QEinsum"))(
            [self._plain(mask, name), self._taken(x)]
        )

    def dropout(self, x: Tensor, rate: float, name: str) -> Tensor:
        """None: rounding is noise enough for models of this size."""
        return x

    def residual_factors(self, x: Tensor, name: str) -> Tensor:
        """QEinsumDense with one weight per channel."""
        return self._affine(self._plain(x, name), name, (name,))

    def swiglu(self, x: Tensor, name: str, linear: Linear) -> Tensor:
        """Two dense steps, a table and a product."""
        refuse_gated(name, linear)
        value, gate = self.dense(x, name, linear), self.dense(x, f"{name}_gate", replace(linear, activation="silu"))
        axes = linear.equation.split("->")[1]
        return self.einsum(f"{axes},{axes}->{axes}", value, gate, f"{name}_gated")

    def move(self, layer: type, x: Tensor, name: str, *more: Tensor, **settings: Any) -> Tensor:
        """The layer, which rounds nothing; a norm stays in front of what moves along other axes than the norm's."""
        if isinstance(x, Normed) and _keeps_rows(layer, x.shape, settings):
            return Normed(self.move(layer, x.value, name, *more, **settings), x.norms)
        tensors = [self._plain(tensor, name) for tensor in (x, *more)]
        return layer(name=name, **settings)(tensors if more else tensors[0])

    def symmetric(self, x: Tensor, points: int, form: Form, name: str, self_pairs: bool = False) -> Tensor:
        """`QSymmetricFill`: values are rounded where they come in, once for each pair; wires count no EBOPs."""
        rounded = self.formats.fixed(spelt(form, self.formats))
        layer = QSymmetricFill(iq_conf=rounded, particles=points, self_pairs=self_pairs, enable_ebops=False, name=name)
        return layer(self._plain(x, name))

    def sorted_order(self, coords: Tensor, mask: Tensor, drawn: HostOrder, rounded_by: str, name: str) -> Tensor:
        """Coordinates are sorted as whole numbers, in steps of the format that `rounded_by` gave them."""
        form = self.formats.own(rounded_by, "Quantizer", "input", self.quant.coords)
        regions, alpha = drawn.regions.tolist(), drawn.alpha.tolist()
        return SortedOrder(regions, alpha, form.fraction_bits, name=name)([coords, mask])

    def real(self, layer: type, inputs: Any, name: str, refusal: str, **settings: Any) -> Tensor:
        """Refused."""
        raise ConfigError(f"{name}: {refusal}")

    def unread(self, layer: type, inputs: Any, name: str, **settings: Any) -> Tensor:
        """Left out."""
        return inputs[0]

    def counted(self, layer: type, inputs: Tensor | None, name: str, **settings: Any) -> Tensor | None:
        """None: a folded norm has its statistics from the float model."""
        return None

    def stands(self, layer: str, of: str) -> None:
        """Note that a layer gives the values of a float layer of another name."""
        self._stands_for[layer] = of

    def model(self, inputs: Mapping[str, Tensor], output: Tensor, cfg: Any) -> Model:
        """Writes the constants, checks the norms and the names in `quant.layers`, keeps the folding recipe."""
        left = [name for name, taken in self._norms.items() if not taken]
        left += [norm for value in keras.tree.flatten(output) if isinstance(value, Normed) for norm in value.norms]
        if left:
            raise ConfigError(
                f"norm '{left[0]}': no dense step reads it, so that fixed point has nothing to fold "
                "it into; set model.norm: none"
            )
        model = remembering(
            inputs,
            output,
            cfg,
            vocabulary=self.name,
            folds=self._folds,
            derived=self._derived,
            affine=self._affines,
            stands_for=self._stands_for,
            ranged=tuple(self._ranged),
            shifts=tuple(self._shifts),
            shifted=tuple(self._shifted),
            asked=self.formats.rules.table(),
            inputs=self._inputs,
            roles=self.roles.letters,
        )
        self.formats.refuse_unmatched(layer_types(model.layers))
        for variable, wrapper, values in self._constants:
            write_constant(variable, wrapper, values)
        return model

    def _taken(self, x: Tensor) -> Tensor:
        """A value with what norms in front of it have learned, in a layer of its own, made once."""
        if not isinstance(x, Normed):
            return x
        name = x.norms[-1]
        if name not in self._made:
            self._norms.update(dict.fromkeys(x.norms, True))
            self._made[name] = self._affine(x.value, name, x.norms, shifted=True)
        return self._made[name]

    def _plain(self, x: Tensor, reader: str) -> Tensor:
        """A value that `reader` may take as it is.

        Raises:
            ConfigError: there is a norm in front of it, which `reader` cannot take in.
        """
        if isinstance(x, Normed):
            raise ConfigError(
                f"{reader}: reads what norm '{x.norms[-1]}' gives, which fixed point folds into dense steps, and this "
                "is none; set model.norm: none, or leave that norm out"
            )
        return x

    def _constant(self, x: Tensor, kernel: Any, equation: str, name: str, value: Any, bias: Any = None) -> Tensor:
        """Einsum with a kernel that is exact and never trained; it costs wires and adders, so it counts no EBOPs."""
        x, array = self._plain(x, name), np.asarray(kernel, np.float32)
        kernel_axes, output = equation.split(",")[1].split("->")
        sizes = dict(zip(kernel_axes, array.shape, strict=True))
        layer = QEinsumDense(
            equation,
            Linear(equation, sizes, None).output_shape(x.shape),
            bias_axes=None if bias is None else output[1:],
            iq_conf=value,
            kq_conf=exact_quantiser(),
            bq_conf=None if bias is None else exact_quantiser(),
            enable_ebops=False,
            name=name,
        )
        layer.trainable = False
        y = layer(x)
        self._constants.append((layer._kernel, layer.kq, array))
        if bias is not None:
            self._constants.append((layer.bias, layer.bq, np.asarray(bias, np.float32)))
        return y


def roles_of(x: Tensor) -> tuple[Role, ...]:
    """Of the axes of a tensor whose last one counts channels, for steps along it that know no equation: all between the
    event and the channel are places that share a width.
    """
    places: list[Role] = ["point"] * (len(x.shape) - 2)
    return ("event", *places, "channel")


def _keeps_rows(layer: type, shape: tuple[int | None, ...], settings: Mapping[str, Any]) -> bool:
    """Whether every vector along the last axis comes out as it went in, or not at all."""
    if layer is keras.layers.Reshape:
        return bool(settings["target_shape"][-1] == shape[-1])
    return getattr(layer, "keeps_rows", False)


def _refuse_unfoldable(name: str, linear: Linear, bias_axes: str | None, before: bool, after: bool) -> None:
    """Raise where a dense step cannot take in its norms exactly; `before` and `after` say whether there are some.

    A norm is y = scale x + shift along one axis: the kernel takes the scale, the bias what the shift gives, so that the
    kernel needs that axis and the bias every axis along which the result then changes. A step without a bias is a
    matter of its float form (`qformers.quant.fold`): that of attention keys drops out of the softmax.

    Raises:
        ConfigError: naming the step.
    """
    inputs, rest = linear.equation.split(",")
    kernel, output = rest.split("->")
    needed = {letter for letter in output if letter in kernel} if before else set()
    if before and inputs[-1] not in kernel:
        raise ConfigError(
            f"{name}: a norm in front of '{linear.equation}' cannot be folded: its axis '{inputs[-1]}' is not the "
            "kernel's"
        )
    if after:
        axis = linear.norm.axis if linear.norm else -1
        if linear.head_factors and axis != -1:
            raise ConfigError(f"{name}: factors per head and a norm must be of the last axis. Received: axis {axis}")
        if output[axis] not in kernel:
            raise ConfigError(
                f"{name}: a norm behind '{linear.equation}' cannot be folded: its axis '{output[axis]}' is not the "
                "kernel's"
            )
        needed.add(output[axis])
    if bias_axes and (missing := "".join(letter for letter in output if letter in needed - set(bias_axes))):
        raise ConfigError(
            f"{name}: a norm beside '{linear.equation}' needs a bias along '{missing}' too. "
            f"Received: bias_axes {bias_axes}"
        )
