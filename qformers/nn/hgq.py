"""The fixed-point vocabulary on HGQ2: every value has a format, learned (HGQ) or given in the build file.

Norms are not computed but folded into their dense neighbours (`folds` says which), so that only sums, products, tables
and roundings remain: what firmware has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from hgq.layers import QAdd, QEinsum, QEinsumDense, QSoftmax, QSubtract, QUnaryFunctionLUT
from hgq.quantizer import Quantizer
from keras import ops

from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.nn.formats import Formats, exact_quantiser
from qformers.nn.layers import serialisable
from qformers.nn.vocabulary import Fold, Linear, Model, Norm, Table, Tensor, total_scale
from qformers.precision.fixed import Fixed, exact_format
from qformers.precision.rules import layer_types

WIDE = Fixed(True, 8, 12)  # of values that a constant layer only passes on
EXP_INTEGER_BITS = 3  # the exponential table covers [0, 8): exp(-8) rounds to 0 up to 10 fraction bits


class Hgq:
    """Fixed-point arithmetic.

    Args:
        quant: formats and how they are learned.
    """

    name = "hgq"
    norms = False
    key_bias_axes: str | None = None

    def __init__(self, quant: QuantConfig) -> None:
        self.quant = quant
        self.logits_format = quant.logits
        self.formats = Formats(quant)
        self.folds: dict[str, Fold] = {}
        self.derived: dict[str, Callable[[Any], tuple[Any, Any]]] = {}  # dense layer -> its weights from a float model
        self._pending: dict[int, tuple[Tensor, tuple[str, ...]]] = {}  # tensor -> norms in front of its consumer
        self._constants: list[tuple[Any, Any, Any]] = []  # variable, its quantiser, values

    def input(self, name: str, shape: tuple[int | None, ...]) -> Tensor:
        """A Keras input; the layers that read it quantise it."""
        return keras.Input(shape, name=name)

    def dense(self, x: Tensor, name: str, linear: Linear) -> Tensor:
        """QEinsumDense; norms and factors around it are noted in `folds`."""
        if linear.activation not in ("linear", "relu"):
            raise ConfigError(
                f"{name}: {linear.activation.upper()} has no exact fixed-point form here; set activation "
                "(pair_activation, head_activation): relu"
            )
        after = [linear.head_factors] if linear.head_factors else []
        after += [linear.norm.name] if linear.norm is not None and self._folds_norm(linear.norm) else []
        before = self._pending.get(id(x), (x, ()))[1]
        axis = linear.norm.axis if linear.norm else -1
        self.folds[name] = Fold(before, tuple(after), linear.factor, axis, bool(linear.bias_axes))
        axes = linear.equation.split(",")[0]
        layer = QEinsumDense(
            linear.equation,
            linear.output_shape(x.shape),
            bias_axes=linear.bias_axes,
            activation=None if linear.activation == "linear" else linear.activation,
            iq_conf=self.formats.value(name, axes),
            kq_conf=self.formats.weight(name),
            bq_conf=self.formats.bias(name) if linear.bias_axes else None,
            name=name,
            **self.formats.result(name, "QEinsumDense"),
        )
        return layer(x)

    def derived_dense(self, x: Tensor, name: str, linear: Linear, weights: Callable[[Any], tuple[Any, Any]]) -> Tensor:
        """A dense step that stands for several float layers; `weights` computes its kernel and bias from them."""
        y = self.dense(x, name, linear)
        del self.folds[name]
        self.derived[name] = weights
        return y

    def einsum(self, equation: str, a: Tensor, b: Tensor, name: str) -> Tensor:
        """QEinsum, both sides quantised."""
        axes = equation.split("->")[0].split(",")
        sides = [self.formats.value(name, letters, "QEinsum", f"input{i}") for i, letters in enumerate(axes)]
        return QEinsum(equation, iq_confs=sides, name=name, **self.formats.result(name, "QEinsum"))([a, b])

    def wires(self, x: Tensor, kernel: Any, equation: str, name: str, form: str, bias: Any = None) -> Tensor:
        """QEinsumDense with an exact constant kernel, and a constant that is added to its result."""
        return self._constant(x, kernel, equation, name, self.formats.fixed(form), bias)

    def stack(self, columns: Sequence[Tensor], form: str, name: str) -> Tensor:
        """Adders of which one side is always zero: wires, once compiled; they count no EBOPs."""
        one_hot, last = np.eye(len(columns)), len(columns) - 1
        spread = [self.wires(x, one_hot[i], "bp,f->bpf", f"{name}_column{i}", form) for i, x in enumerate(columns)]
        total = spread[0]
        for index, part in enumerate(spread[1:], 1):
            step = name if index == last else f"{name}_stack{index}"
            total = self.sum(total, part, form, step, count=False)
        return total

    def sum(self, a: Tensor, b: Tensor, form: str, name: str, count: bool = True) -> Tensor:
        """QAdd in one fixed format; `count` says whether its EBOPs count."""
        sides = [self.formats.fixed(form), self.formats.fixed(form)]
        return QAdd(iq_confs=sides, enable_ebops=count, name=name)([a, b])

    def add(self, a: Tensor, b: Tensor, axes: str, name: str) -> Tensor:
        """QAdd, both sides quantised."""
        sides = [self.formats.value(name, axes, "QAdd", slot) for slot in ("input0", "input1")]
        return QAdd(iq_confs=sides, name=name, **self.formats.result(name, "QAdd"))([a, b])

    def minus(self, a: Tensor, b: Tensor, name: str, form: str | None = None, axes: str = "") -> Tensor:
        """QSubtract of tensors that broadcast, in one fixed format `form`, or with learned ones (axes spelt `axes`)."""
        slots = ("input0", "input1")
        sides = [
            self.formats.value(name, axes, "QSubtract", slot) if form is None else self.formats.fixed(form)
            for slot in slots
        ]
        return QSubtract(iq_confs=sides, name=name)([a, b])

    def norm(self, x: Tensor, norm: Norm) -> Tensor:
        """Notes that the dense layer which reads `x` has to take the norm in."""
        if self._folds_norm(norm):
            self._pending[id(x)] = (x, (*self._pending.get(id(x), (x, ()))[1], norm.name))
        return x

    def table(self, x: Tensor, table: Table, name: str) -> Tensor:
        """QUnaryFunctionLUT: one table for the whole tensor."""
        kind = "QUnaryFunctionLUT"
        layer = QUnaryFunctionLUT(
            table.function,
            iq_conf=self.formats.fixed(str(self.formats.own(name, kind, "input", table.argument))),
            oq_conf=self.formats.fixed(str(self.formats.own(name, kind, "table", table.value)), place="table"),
            allow_heterogeneous_input=False,
            allow_heterogeneous_table=False,
            name=name,
        )
        return layer(x)

    def logits(self, scores: Tensor, bias: Tensor | None, mask: Tensor | None, name: str) -> Tensor:
        """Scores plus pair bias; real keys are lifted above padded ones (see `lift`)."""
        if bias is not None:
            sides = [self.formats.fixed(self.quant.logits), self.formats.fixed(self.quant.logits)]
            scores = QAdd(iq_confs=sides, name=f"{name}_bias")([scores, bias])
        if mask is None:
            return scores if bias is not None else Quantizer(self.formats.fixed(self.quant.logits), name=name)(scores)
        heads, queries = scores.shape[1:3]
        one_bit = self.formats.fixed("ufixed<1,1>")
        lift = np.full((heads, queries), self.lift)
        return self.lifted(scores, self._constant(mask, lift, "bk,hq->bhqk", f"{name}_mask", one_bit), name)

    def class_logits(self, scores: Tensor, mask: Tensor, name: str) -> Tensor:
        """Scores (B, H, 1 + N) with padded particles pushed away; slot 0 is the class token, always valid."""
        heads, slots = scores.shape[1:]
        lift = np.zeros((slots - 1, heads, slots))
        lift[np.arange(slots - 1), :, np.arange(1, slots)] = self.lift
        always = np.zeros((heads, slots))
        always[:, 0] = self.lift
        one_bit = self.formats.fixed("ufixed<1,1>")
        return self.lifted(scores, self._constant(mask, lift, "bn,nhm->bhm", f"{name}_mask", one_bit, always), name)

    @property
    def lift(self) -> float:
        """C, by which real keys are lifted, instead of padded ones lowered: the softmax only sees differences.

        The sum before the lift saturates to the format F of the logits, so C >= (F.high - F.low) + 8 leaves padded
        keys at least 8 below the largest real one, whose exponential is 0 in the table: a padded slot cannot be seen.
        """
        form = Fixed.parse(self.quant.logits)
        return float(2.0 ** math.ceil(math.log2(form.high - form.low + 2.0**EXP_INTEGER_BITS)))

    def lifted(self, scores: Tensor, lifted: Tensor, name: str) -> Tensor:
        """Scores plus what `lift` gives real keys, exact."""
        above = self.formats.fixed(str(Fixed(False, int(math.log2(self.lift)) + 1, 0)))
        return QAdd(iq_confs=[self.formats.fixed(self.quant.logits), above], name=name)([scores, lifted])

    def softmax(self, x: Tensor, name: str) -> Tensor:
        """QSoftmax: subtract the maximum, table of exp, sum, table of 1/x, product."""
        total = math.ceil(math.log2(x.shape[-1])) + 1
        return QSoftmax(axis=-1, name=name, **self.formats.softmax(name, EXP_INTEGER_BITS, total))(x)

    def mean(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Sum over real particles times a table of 1/n; the value of the table at n = 0 meets a sum of 0."""
        particles = x.shape[1]
        one_bit = self.formats.fixed("ufixed<1,1>")
        total = self._with_mask("bn,bnd->bd", mask, x, f"{name}_sum")
        count = self._constant(mask, np.ones((particles, 1)), "bn,no->bo", f"{name}_count", one_bit)
        bits = particles.bit_length()
        table = Table(reciprocal, f"ufixed<{bits},{bits}>", "ufixed<10,1,RND,SAT>")
        inverse = self.table(count, table, f"{name}_inverse")
        share = self.formats.own(f"{name}_product", "QEinsum", "input1", "ufixed<10,1,RND,SAT>")
        sides = [self.formats.value(f"{name}_product", "bd", "QEinsum", "input0"), self.formats.fixed(str(share))]
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
        return self._with_mask("bn,bnd->bnd", mask, x, name)

    def spread(self, x: Tensor, particles: int, name: str) -> Tensor:
        """Wires: the adder that reads them quantises."""
        return self.wires(x, np.ones(particles), "bd,n->bnd", name, str(WIDE))

    def _with_mask(self, equation: str, mask: Tensor, x: Tensor, name: str, worth: float = 1.0) -> Tensor:
        """Mask, one bit that is 0 or `worth`, times values."""
        bit = self.formats.fixed(str(Fixed(False, 1 + round(math.log2(worth)), -round(math.log2(worth)))))
        sides = [bit, self.formats.value(name, "bnd", "QEinsum", "input1")]
        return QEinsum(equation, iq_confs=sides, name=name, **self.formats.result(name, "QEinsum"))([mask, x])

    def dropout(self, x: Tensor, rate: float, name: str) -> Tensor:
        """None: rounding is noise enough for models of this size."""
        return x

    def residual_factors(self, x: Tensor, name: str) -> Tensor:
        """Refused: see the error."""
        raise ConfigError(
            f"{name}: learned factors on the residual have no neighbour to be folded into; "
            "set model.scale_resids: false"
        )

    def model(self, inputs: Mapping[str, Tensor], output: Tensor, name: str) -> Model:
        """Writes the constants, checks the names in `quant.layers`, hangs the folding recipe on the model."""
        model = keras.Model(dict(inputs), output, name=name)
        self.formats.refuse_unmatched(layer_types(model.layers))
        for variable, wrapper, values in self._constants:
            _fix(variable, wrapper, values)
        model._qformers_folds, model._qformers_derived = self.folds, self.derived
        model._qformers_precision = self.formats.rules.table()
        return model

    def _folds_norm(self, norm: Norm) -> bool:
        if norm.kind == "layer":
            raise ConfigError(f"{norm.name}: a layer norm has no exact fixed-point form here; set model.norm: batch")
        return norm.kind == "batch"

    def _constant(self, x: Tensor, kernel: Any, equation: str, name: str, value: Any, bias: Any = None) -> Tensor:
        """Einsum with a kernel that is exact and never trained; it costs wires and adders, so it counts no EBOPs."""
        array = np.asarray(kernel, np.float32)
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


def _fix(variable: Any, wrapper: Any, values: Any) -> None:
    """Write constants and the exact format of each."""
    variable.assign(values)
    core = wrapper.quantizer
    for target, numbers in zip((core._k, core._i, core._f), exact_format(values), strict=True):
        target.assign(numbers.astype(target.dtype))


@serialisable
def reciprocal(x: Tensor) -> Tensor:
    """1 / max(x, 1)."""
    return 1.0 / ops.maximum(x, 1.0)
