"""hls4ml's side of layer classes: how each is converted exactly, or why it is not. `HANDLERS` is the only list.

Left to itself hls4ml falls back, for a layer that it does not know, to handlers that convert wrongly after printing a
line. Every `Handler` here has a test that its firmware equals Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from hgq.layers import (
    QGRU,
    QLIF,
    QAdd,
    QAffinedUnaryFunctionLUT,
    QAveragePooling1D,
    QAveragePooling2D,
    QAveragePooling3D,
    QAveragePow2,
    QBatchNormalization,
    QBatchNormDense,
    QConv1D,
    QConv2D,
    QConv3D,
    QConvT1D,
    QConvT2D,
    QDense,
    QDenseT,
    QDot,
    QEinsum,
    QEinsumDense,
    QEinsumDenseBatchnorm,
    QEinsumDenseT,
    QGlobalAveragePooling1D,
    QGlobalAveragePooling2D,
    QGlobalAveragePooling3D,
    QGlobalMaxPooling1D,
    QGlobalMaxPooling2D,
    QGlobalMaxPooling3D,
    QLinformerAttention,
    QLinformerAttentionT,
    QMaximum,
    QMaxPooling1D,
    QMaxPooling2D,
    QMaxPooling3D,
    QMeanPow2,
    QMinimum,
    QMultiHeadAttention,
    QMultiHeadAttentionT,
    QMultiply,
    QSimpleRNN,
    QSimpleSNN,
    QSoftmax,
    QSubtract,
    QSum,
    QUnaryFunctionLUT,
)
from hgq.quantizer import Quantizer
from keras.src.ops.numpy import GetItem
from numpy.typing import NDArray

from hls.backends import unfit
from hls.backends.hls4ml.points import convert as points
from hls.backends.hls4ml.points.convert import converter
from hls.backends.layer_settings import Abilities
from hls.backends.tables import MAX_ADDRESS_BITS, all_values, table_values
from hls.backends.unfit import Fault
from hls.errors import Gap
from qformers.nn.index.ball_slots import TreeOrder
from qformers.nn.index.lsh import FromBlocks, GivenOrder, ToBlocks
from qformers.nn.index.rounded_pairs import QSymmetricFill
from qformers.nn.index.select import Largest
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.index.sorted_tree import SortedTree
from qformers.nn.moves import Part
from qformers.precision.fixed import Fixed
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.products import spelled
from qformers.quant.kinds.record import Quantiser

MOST_ADDRESS_BITS = 16  # of a table that is looked at entry by entry
Array = NDArray[np.float32]
Convert = Callable[..., tuple[dict[str, Any], ...]]  # hls4ml: (layer, inputs, outputs) -> layers of its own


def _sound(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    yield from ()


def _quantises(layer: Any) -> bool:
    return bool(getattr(layer, "enable_iq", False))


def _always(layer: Any) -> bool:
    return True


@dataclass(frozen=True)
class Handler:
    """How hls4ml converts layers of a class.

    Attributes:
        upstream: key of the handler in hls4ml's registry; "" for the full name of the class.
        own: makes a handler of ours, to be used instead of hls4ml's.
        settings: keys of `LayerFirmware` that a build can say of such a layer.
        faults: what is wrong with a layer, given its quantisers.
        takes_inputs: whether a model input may go straight to a layer: what it makes of it has a format.
        vanishes: the firmware may have no step of this name: it only moves values, or its format is that of the layer
            in front.
    """

    upstream: str = ""
    own: Callable[[], Convert] | None = None
    settings: tuple[str, ...] = ()
    faults: Callable[[Any, Sequence[Quantiser]], Iterator[Fault]] = _sound
    takes_inputs: Callable[[Any], bool] = _quantises
    vanishes: bool = False


def _sum_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    if len({tuple(tensor.shape) for tensor in layer.input}) > 1:
        shapes = ", ".join(str(tuple(tensor.shape[1:])) for tensor in layer.input)
        yield f"hls4ml joins tensors of one shape only. Received: {shapes}", "repeat values by a QEinsumDense first"
    yield from _two(layer, formats)


def _two(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    if len(layer.input) != 2:
        yield f"hls4ml adds two tensors at a time. Received: {len(layer.input)}", "use a QAdd for each further one"


def _table_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    for quantiser in formats:
        bits = int(quantiser.widths().max())
        if np.size(quantiser.core.kif[0]) > 1:
            reason = f"its {quantiser.part} has one format per element, its table has one"
            yield reason, "set allow_heterogeneous_*=False"
        elif quantiser.place == "input" and bits > MAX_ADDRESS_BITS:
            reason = f"its table would have 2^{bits} entries, 2^{MAX_ADDRESS_BITS} are allowed"
            yield reason, "give its input fewer bits"


def _softmax_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    if not layer.stable:
        yield "it does not subtract the maximum (stable=False)", "set stable=True"
    for quantiser in formats:
        if (
            quantiser.slot in ("exp_input", "inverse_input")
            and not quantiser.widths().any()
            and not _only_zero(quantiser)
        ):
            reason = f"its {quantiser.slot} has lost all its bits, and hls4ml addresses its tables by one at least"
            yield reason, "set firmware.backend: alkaid, or train again with a higher ebops_target"
    if layer.stable:
        yield from _softmax_tables(layer)


def _only_zero(quantiser: Quantiser) -> bool:
    """Whether the one bit that hls4ml leaves is the sign, which makes 0 of what is never negative, as Keras does."""
    return quantiser.core.overflow_mode == "SAT" and bool((quantiser.kif()[0] == 1).all())


def _attention_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    within = layer._softmax
    yield from _softmax_faults(within, list(kind_of(within).quantisers(within)))


def _softmax_tables(layer: Any) -> Iterator[Fault]:
    """hls4ml computes the tables of a softmax in C++, from a float: the wider they are, the more entries are others
    than those of Keras, whose exponential has other last bits.
    """
    rank = np.ndim(layer.inv_table.oq.quantizer.kif[0])  # a softmax within attention has no input of its own
    for table, function in ((layer.exp_table, _exponential(layer.input_scaler)), (layer.inv_table, _inverse)):
        signed, integer, fraction = (int(np.max(np.asarray(part))) for part in table.iq.quantizer.kif)
        width, (k, i, f) = signed + integer + fraction, (int(np.max(np.asarray(x))) for x in table.oq.quantizer.kif)
        if not 0 < width <= MOST_ADDRESS_BITS or k + i + f <= 0:
            continue
        grid = all_values(bool(signed), width, fraction).astype(np.float32)
        grid = grid[grid > 0]  # a sum is never 0, and exp(0) is 1
        answer = table(keras.ops.convert_to_tensor(grid.reshape(-1, *[1] * (rank - 1))))
        wanted = np.asarray(keras.ops.convert_to_numpy(answer), np.float64).reshape(-1)
        made = Fixed(bool(k), i, f, "RND_CONV", "SAT").quantise(function(grid).astype(np.float64))
        if different := int(np.sum(made != wanted)):
            name = table.name.removeprefix(f"{layer.name}_")
            reason = f"{different} entries of its {name}, of {k + i + f} bits, are others in hls4ml's C++"
            yield reason, "give it fewer bits, or set firmware.backend: alkaid"


def _exponential(scale: float) -> Callable[[Array], Array]:
    return lambda x: np.exp(-(x * np.float32(scale)).astype(np.float64)).astype(np.float32)


def _inverse(x: Array) -> Array:
    return np.float32(1.0) / x


def _tables() -> Convert:
    """hls4ml's handler of tables calls the quantisers on rank 2, which fails for a layer of rank 3 (TensorFlow)."""
    from hls4ml.converters.keras_v3.hgq2.unary_lut import QUnaryLUTHandler
    from hls4ml.model.types import FixedPrecisionType

    class Tables(QUnaryLUTHandler):  # type: ignore[misc]
        handles = ()

        def handle(self, layer: Any, inputs: Any, outputs: Any) -> tuple[dict[str, Any], ...]:
            signed, integer, fraction = (int(np.max(np.asarray(part))) for part in layer.iq.quantizer.kif)
            values = table_values(layer, all_values(bool(signed), signed + integer + fraction, fraction))
            kind = {"class_name": "UnaryLUT", "activation": "unary_lut", "table_t": FixedPrecisionType(18, 8)}
            return ({**self.default_config, **kind, "table_data": values},)

    made: Convert = Tables()
    return made


def _fit(check: Callable[[Any], Iterator[Fault]]) -> Callable[[Any, Sequence[Quantiser]], Iterator[Fault]]:
    """A check of the layer alone, as a handler has it."""

    def faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
        yield from check(layer)

    return faults


def _dense_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    """Of a dense layer with an equation."""
    yield from unfit.looked_up(layer)
    given, kernel, made = spelled(layer.equation, len(layer.input.shape)).replace("->", ",").split(",")
    alone = [letter for letter in given if letter not in kernel + made]
    if alone:
        yield f"it sums an axis that its kernel has not. Received: {layer.equation}", f"use QSum in front, or {_ALKAID}"


def _convolution_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    yield from unfit.convolution(layer)
    for setting in ("groups", "dilation_rate"):
        value = getattr(layer, setting)
        if any(number != 1 for number in (value if isinstance(value, tuple) else (value,))):
            yield f"hls4ml has no {setting}. Received: {value}", _ALKAID


def _norm_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    if axis % len(layer.input.shape) != len(layer.input.shape) - 1:
        yield f"hls4ml normalises the last axis. Received: axis={axis}", _ALKAID


def _dot_faults(layer: Any, formats: Sequence[Quantiser]) -> Iterator[Fault]:
    if any(len(tensor.shape) != 2 for tensor in layer.input):
        yield "hls4ml multiplies vectors only", f"use QEinsum, or {_ALKAID}"


_ALKAID = "set firmware.backend: alkaid, which takes it"
_NOT_FOLDED = Gap("a norm of Keras has no formats", "fold it into the next QEinsumDense (the hgq vocabulary does)")
_PLAIN = Gap("it has no fixed-point format", "use hgq.layers.QEinsumDense")

_NO_VOLUMES = Gap("hls4ml has no layers of volumes", _ALKAID)
_NOT_SHOWN = Gap("it was not shown to be exact in hls4ml", _ALKAID)
_MOVED = Handler(own=converter("moved", points.moved), takes_inputs=_always, vanishes=True)


HANDLERS: dict[type, Handler | Gap] = {
    keras.layers.InputLayer: Handler(),
    keras.layers.Reshape: Handler(takes_inputs=_always, vanishes=True),
    Quantizer: Handler(takes_inputs=_always, vanishes=True),
    QEinsumDense: Handler(
        settings=("accumulator", "reuse_factor", "strategy", "parallelisation_factor"), faults=_dense_faults
    ),
    QEinsum: Handler(
        own=points.einsum, settings=("accumulator", "reuse_factor", "strategy"), faults=points.einsum_faults
    ),
    QAdd: Handler(own=points.repeating("add_repeated"), faults=_two),
    QSoftmax: Handler(settings=("accumulator",), faults=_softmax_faults),
    QUnaryFunctionLUT: Handler(own=_tables, faults=_table_faults),
    # hls4ml 1.3.0 registers these two under the module names of HGQ2 <= 0.1.6, so that they fall into the fallback
    QMultiHeadAttention: Handler(
        "hgq.layers.multi_head_attention.QMultiHeadAttention", faults=_attention_faults, takes_inputs=_always
    ),
    QLinformerAttention: Handler(
        "hgq.layers.linformer_attention.QLinformerAttention", faults=_attention_faults, takes_inputs=_always
    ),
    keras.layers.Dense: Gap("it has no fixed-point format", "use hgq.layers.QDense"),
    keras.layers.EinsumDense: _PLAIN,
    keras.layers.LayerNormalization: Gap(
        "hls4ml has no exact layer norm for Keras 3", "build it by the verb norm of a vocabulary (model.norm: layer)"
    ),
    keras.layers.BatchNormalization: _NOT_FOLDED,
    QBatchNormalization: Handler(faults=_norm_faults),
    keras.layers.Softmax: Gap("its tables are not those of Keras", "use hgq.layers.QSoftmax"),
    keras.layers.Activation: Handler(faults=_fit(unfit.no_relu)),
    keras.layers.ReLU: Gap(
        "hls4ml writes C++ for it that does not compile", "use keras.layers.Activation('relu'), which is the same"
    ),
    **dict.fromkeys(
        (QSum, QMeanPow2),
        Handler(own=converter("sum_over", points.sums, shift=points.shift_of)),
    ),
    keras.layers.Rescaling: Handler(
        own=converter("rescaled", points.size_of, factor=points.factor_of, offset=points.offset_of),
        faults=_fit(unfit.rescaled),
    ),
    QMultiply: Handler(own=points.repeating("multiply_repeated"), faults=_two),
    **dict.fromkeys((QMaximum, QMinimum, QAveragePow2), Handler(faults=_sum_faults)),
    QDot: Handler(faults=_dot_faults),
    **dict.fromkeys((QAffinedUnaryFunctionLUT, QMultiHeadAttentionT, QLinformerAttentionT), _NOT_SHOWN),
    **dict.fromkeys((QGRU, QSimpleRNN, QSimpleSNN, QLIF, QDenseT, QConvT1D, QConvT2D, QEinsumDenseT), _NOT_SHOWN),
    QEinsumDenseBatchnorm: Handler(faults=_dense_faults),
    **dict.fromkeys((QDense, QBatchNormDense), Handler(faults=_fit(unfit.looked_up))),
    **dict.fromkeys((QConv1D, QConv2D), Handler(faults=_convolution_faults)),
    **dict.fromkeys(
        (QMaxPooling1D, QMaxPooling2D, QGlobalMaxPooling1D, QGlobalMaxPooling2D),
        Handler(faults=_fit(unfit.channels_first)),
    ),
    **dict.fromkeys((QAveragePooling1D, QAveragePooling2D), Handler(faults=_fit(unfit.uneven_mean))),
    **dict.fromkeys((QGlobalAveragePooling1D, QGlobalAveragePooling2D), Handler(faults=_fit(unfit.uneven_mean))),
    **dict.fromkeys((QConv3D, QMaxPooling3D, QGlobalMaxPooling3D), _NO_VOLUMES),
    **dict.fromkeys((QAveragePooling3D, QGlobalAveragePooling3D), _NO_VOLUMES),
    **dict.fromkeys((keras.layers.Flatten, keras.layers.Permute, keras.layers.RepeatVector, Part), _MOVED),
    **dict.fromkeys((keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D), _MOVED),
    **dict.fromkeys((keras.layers.Cropping1D, keras.layers.Cropping2D), _MOVED),
    keras.layers.UpSampling1D: _MOVED,
    keras.layers.UpSampling2D: replace(_MOVED, faults=_fit(unfit.between)),
    GetItem: Gap("hls4ml cannot slice", "use QEinsumDense with a kernel of zeros and ones"),
    QSubtract: Handler(own=converter("subtract_repeated", points.repeated_sides)),
    keras.layers.Concatenate: Handler(
        own=converter("side_by_side", points.side_by_side), faults=points.side_faults, takes_inputs=_always
    ),
    GivenOrder: Handler(
        own=lambda: points.given_order(), faults=points.order_faults, takes_inputs=_always, vanishes=True
    ),
    TreeOrder: Handler(
        own=lambda: points.given_order(), faults=points.tree_faults, takes_inputs=_always, vanishes=True
    ),
    SortedOrder: Handler(own=converter("sorted_order", points.sorted_order)),
    SortedTree: Handler(own=converter("sorted_tree", points.sorted_tree)),
    ToBlocks: Handler(own=converter("to_blocks", points.to_blocks), faults=points.block_faults),
    FromBlocks: Handler(own=converter("from_blocks", points.from_blocks), faults=points.block_faults),
    Largest: Handler(own=converter("largest", points.largest, axis=points.axis_of, floor=points.floor_of)),
    QSymmetricFill: Handler(own=converter("symmetric_fill", points.symmetric_fill)),
    keras.layers.Dropout: Gap("firmware has no dropout", "build the model for inference without it"),
}


def handler_of(layer: Any) -> Handler | Gap:
    """How a layer is converted, or why it is not."""
    unknown = Gap("it has no exact handler", f"use one of {known_layers()}")
    return HANDLERS.get(type(layer), unknown)


def known_layers() -> str:
    """The classes that are converted, for messages."""
    return ", ".join(unfit.public(kind for kind, handler in HANDLERS.items() if isinstance(handler, Handler)))


def full_name(kind: type) -> str:
    """Module and name of a class, as in hls4ml's registry."""
    return f"{kind.__module__}.{kind.__name__}"


def _settings(layer: Any) -> tuple[str, ...]:
    handler = handler_of(layer)
    return handler.settings if isinstance(handler, Handler) else ()


_NO_PRODUCTS = "hls4ml multiplies and adds in QEinsumDense and QEinsum"
ABLE = Abilities(
    settings=_settings,
    why={
        "accumulator": f"{_NO_PRODUCTS} and sums exponentials in QSoftmax; two values are added without rounding",
        "reuse_factor": _NO_PRODUCTS,
        "strategy": _NO_PRODUCTS,
        "parallelisation_factor": "hls4ml has it for QEinsumDense only",
    },
    multipliers="in hls4ml's C++ the vendor's HLS tool binds each product, by its own directive (config_op, BIND_OP)",
)
