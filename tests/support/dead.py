"""Models in which quantisers have lost their bits, as a target of EBOPs can bring it about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
from hgq.layers import QAdd, QEinsum
from hgq.quantizer import Quantizer as Rounding

from qformers.nn.index.rounded_pairs import QSymmetricFill
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import Quantiser
from support.hls_models import MIX, SOURCE, dense, form, softmax, table

Share = Literal["all", "some"]
NARROW = "fixed<6,3,RND,SAT>"


def kill(quantiser: Quantiser, share: Share = "all", bits: tuple[float, float] = (2.0, -3.0)) -> None:
    """Take the bits of all channels, or of the first.

    Args:
        quantiser: of a layer.
        share: which channels.
        bits: integer and fraction bits that are left; their sum with the sign is not above zero.
    """
    core = quantiser.core
    left = {"_b": 0.0} if hasattr(core, "_b") else {"_i": bits[0], "_f": bits[1]}  # widths counted as total bits
    for name, value in left.items():
        variable = getattr(core, name)
        array = np.array(keras.ops.convert_to_numpy(variable))
        array.flat[: None if share == "all" else 1] = value
        variable.assign(array)


def _add(x: Any, y: Any, name: str) -> Any:
    sides = [form(NARROW, per_element=True), form("fixed<7,2,TRN,WRAP>", per_element=True)]
    return QAdd(iq_confs=sides, name=name)([dense(x, f"{name}_a", SOURCE, MIX), dense(x, f"{name}_b", SOURCE, MIX)])


def _einsum(x: Any, y: Any, name: str) -> Any:
    sides = [form(NARROW, per_element=True), form("fixed<7,2,TRN,WRAP>", per_element=True)]
    rows = dense(y, f"{name}_a", SOURCE, MIX, equation="bni,io->bno", shape=(2, 3))
    return QEinsum("bni,bi->bn", iq_confs=sides, name=name)([rows, dense(x, f"{name}_b", SOURCE, MIX)])


def _dense(x: Any, y: Any, name: str) -> Any:
    return dense(dense(x, f"{name}_a", SOURCE, MIX), name, NARROW, MIX, True, bias_axes="o", bq_conf=_bias())


def _bias() -> Any:
    return form("fixed<6,3,RND,SAT>", "bias")


def _dense_relu(x: Any, y: Any, name: str) -> Any:
    return dense(dense(x, f"{name}_a", SOURCE, MIX), name, NARROW, MIX, True, activation="relu")


def _dense_result(x: Any, y: Any, name: str) -> Any:
    result = {"enable_oq": True, "oq_conf": form("fixed<6,4,RND,SAT>", per_element=True)}
    return dense(dense(x, f"{name}_a", SOURCE, MIX), name, NARROW, MIX, True, **result)


def _table(x: Any, y: Any, name: str) -> Any:
    return table(dense(x, f"{name}_a", SOURCE, MIX), name, NARROW)


def _softmax(x: Any, y: Any, name: str) -> Any:
    return softmax(dense(x, f"{name}_a", SOURCE, MIX), name)


def _rounding(x: Any, y: Any, name: str) -> Any:
    return Rounding(form(NARROW, per_element=True), name=name)(dense(x, f"{name}_a", SOURCE, MIX))


def _reshaped(x: Any, y: Any, name: str) -> Any:
    rows = dense(y, f"{name}_a", SOURCE, MIX, equation="bni,io->bno", shape=(2, 3))
    square = keras.layers.Reshape((3, 2), name=f"{name}_square")(rows)
    return dense(square, name, NARROW, MIX[:2], True, equation="bni,io->bno", shape=(3, 3))


def _filled(x: Any, y: Any, name: str) -> Any:
    rows = dense(y, f"{name}_a", SOURCE, MIX, equation="bni,io->bno", shape=(2, 3))
    pairs = keras.layers.Reshape((3, 2), name=f"{name}_pairs")(rows)
    return QSymmetricFill(iq_conf=form(NARROW, per_element=True), particles=3, self_pairs=False, name=name)(pairs)


KINDS_OF_LAYERS: dict[str, Callable[[Any, Any, str], Any]] = {
    "dense": _dense, "dense_relu": _dense_relu, "dense_result": _dense_result, "add": _add, "einsum": _einsum,
    "table": _table, "softmax": _softmax, "rounding": _rounding, "reshaped": _reshaped,
    "filled": _filled,
}  # fmt: skip


LOST_IN_TABLES = frozenset({"exp_iq", "inv_iq"})  # address the tables of a softmax, which hls4ml refuses without bits


def dead_model(share: Share, leave_out: frozenset[str] = frozenset(), only: str = "") -> keras.Model:
    """Per kind of layer and quantiser of it two branches in which that quantiser has lost its bits: one as an output,
    one with a layer behind it.

    Args:
        share: all channels, or the first of those that have formats of their own.
        leave_out: parts of layers, as in `Quantiser.part`.
        only: kind of layer; "" for all.
    """
    x, y = keras.Input((3,), name="x"), keras.Input((2, 3), name="y")
    outputs: dict[str, Any] = {}
    for kind, make in KINDS_OF_LAYERS.items():
        if only not in ("", kind):
            continue
        probe = make(x, y, f"{kind}_probe")._keras_history.operation
        parts = [one.part for one in kind_of(probe).quantisers(probe)]
        for number, part in enumerate(parts):
            if part in leave_out:
                continue
            for end in ("last", "inside"):
                name = f"{kind}_{part or 'itself'}_{end}"
                value = make(x, y, name)
                layer = value._keras_history.operation
                quantiser = list(kind_of(layer).quantisers(layer))[number]
                if share == "some" and np.size(quantiser.core._i) == 1:
                    break
                kill(quantiser, share)
                outputs[name] = value if end == "last" else _behind(value, name)
    return keras.Model({"x": x, "y": y}, outputs)


def _behind(value: Any, name: str) -> Any:
    """One more layer, of the same shape."""
    rows, width = "bnm"[: len(value.shape) - 1], int(value.shape[-1])
    shape = (*value.shape[1:-1], width)
    return dense(value, f"{name}_behind", SOURCE, np.eye(width), equation=f"{rows}i,io->{rows}o", shape=shape)
