"""A small model around every layer of HGQ2, and around layers of Keras that compute without rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from hgq import layers as q
from hgq.config import QuantizerConfigScope
from hgq.quantizer import Quantizer
from hgq.utils import trace_minmax

from qformers.nn.moves import Part

EVENTS = 400
SHAKEN = ("bias", "bn_beta", "bn_gamma", "beta", "gamma", "moving_mean", "scale")  # variables of layers
Layers = Callable[..., Any]


def dense(x: Any) -> Any:
    """What reads the values that a layer without quantisers gives out."""
    return q.QDense(3, name="reader")(x)


def read(make: Layers) -> Layers:
    """A layer between a rounded input and a dense layer, for those that round nothing."""
    return lambda x: dense(make()(Quantizer(name="rounded")(x)))


def moved(make: Layers) -> Layers:
    """A layer that moves the values of the input itself, or rounds them with quantisers within it."""
    return lambda x: dense(make()(x))


def joined(axis: int) -> Layers:
    return lambda x, y: dense(keras.layers.Concatenate(axis=axis)([x, y]))


ROWS, IMAGE = (6, 3), (5, 4, 2)
LAYERS: dict[str, tuple[tuple[tuple[int, ...], ...], Layers]] = {  # name -> shapes of the inputs, layer
    "dense": (((6,),), lambda x: q.QDense(4, activation="relu")(x)),
    "dense_of_rows": ((ROWS,), lambda x: q.QDense(4)(x)),
    "dense_rounded": (((6,),), lambda x: q.QDense(4, enable_oq=True)(x)),
    "dense_norm": (((6,),), lambda x: q.QBatchNormDense(4)(x)),
    "einsum_dense": ((ROWS,), lambda x: q.QEinsumDense("bnc,nco->bo", 4, bias_axes="o")(x)),
    "einsum_dense_of_any_rank": ((ROWS,), lambda x: q.QEinsumDense("...c,co->...o", 4, enable_ebops=False)(x)),
    "einsum_dense_that_sums_an_axis": ((ROWS,), lambda x: q.QEinsumDense("bnc,co->bo", 4, bias_axes="o")(x)),
    "einsum_dense_norm": (
        (ROWS,),
        lambda x: q.QEinsumDenseBatchnorm("bnc,co->bno", (6, 4), bias_axes="o", activation="relu")(x),
    ),
    "norm": ((ROWS,), lambda x: q.QBatchNormalization()(x)),
    "norm_of_rows": ((ROWS,), lambda x: q.QBatchNormalization(axis=1)(x)),
    "convolution": ((ROWS,), lambda x: q.QConv1D(4, 3, activation="relu")(x)),
    "convolution_same": ((ROWS,), lambda x: q.QConv1D(4, 3, padding="same", strides=2)(x)),
    "convolution_of_images": ((IMAGE,), lambda x: q.QConv2D(3, 3, padding="same")(x)),
    "convolution_in_groups": (((4, 4, 4),), lambda x: q.QConv2D(4, 3, groups=4, use_bias=False)(x)),
    "convolution_dilated": ((IMAGE,), lambda x: q.QConv2D(3, 2, dilation_rate=2)(x)),
    "convolution_of_volumes": (((3, 3, 3, 2),), lambda x: q.QConv3D(2, 2)(x)),
    "max": ((ROWS,), lambda x: q.QMaxPool1D(2)(x)),
    "max_of_images": ((IMAGE,), lambda x: q.QMaxPool2D(2)(x)),
    "max_same": ((IMAGE,), lambda x: q.QMaxPool2D(2, padding="same")(x)),
    "max_of_all": ((ROWS,), lambda x: q.QGlobalMaxPool1D()(x)),
    "max_of_all_of_images": ((IMAGE,), lambda x: q.QGlobalMaxPool2D(keepdims=True)(x)),
    "mean": ((ROWS,), lambda x: q.QAvgPool1D(2)(x)),
    "mean_of_images": (((4, 4, 2),), lambda x: q.QAvgPool2D(2)(x)),
    "mean_of_all": (((8, 3),), lambda x: q.QGlobalAvgPool1D()(x)),
    "sum": ((ROWS,), lambda x: q.QSum(axes=1)(x)),
    "sum_scaled": ((ROWS,), lambda x: q.QSum(axes=(1, 2), scale=0.25, keepdims=True)(x)),
    "sum_times_four": ((IMAGE,), lambda x: q.QSum(axes=(1, 3), scale=4.0)(x)),
    "mean_pow2": ((ROWS,), lambda x: q.QMeanPow2(axes=1)(x)),
    "dot": (((4,), (4,)), lambda x, y: q.QDot(axes=1)([x, y])),
    "dot_of_rows": (((4, 3), (2, 3)), lambda x, y: q.QDot(axes=2, enable_ebops=False)([x, y])),
    "einsum": ((ROWS, (6, 2)), lambda x, y: q.QEinsum("bij,bik->bjk")([x, y])),
    "add": ((ROWS, ROWS), lambda x, y: q.QAdd()([x, y])),
    "add_repeated": ((ROWS, (1, 3)), lambda x, y: q.QAdd()([x, y])),
    "add_three": ((ROWS, ROWS, ROWS), lambda *x: q.QAdd()(list(x))),
    "subtract": ((ROWS, ROWS), lambda x, y: q.QSubtract()([x, y])),
    "multiply": ((ROWS, ROWS), lambda x, y: q.QMultiply()([x, y])),
    "multiply_repeated": (((4, 1), (4, 3)), lambda x, y: q.QMultiply()([x, y])),
    "rescaled": ((ROWS,), read(lambda: keras.layers.Rescaling(-0.375, 229.0))),
    "halved": ((ROWS,), read(lambda: keras.layers.Rescaling(0.5))),
    "maximum": ((ROWS, ROWS), lambda x, y: q.QMaximum()([x, y])),
    "minimum": ((ROWS, ROWS), lambda x, y: q.QMinimum()([x, y])),
    "average": ((ROWS, ROWS), lambda x, y: q.QAveragePow2()([x, y])),
    "table": (((6,),), lambda x: q.QUnaryFunctionLUT("tanh")(x)),
    "table_of_a_line": (((6,),), lambda x: q.QAffinedUnaryFunctionLUT("sigmoid")(x)),
    "softmax": (((6,),), lambda x: q.QSoftmax(enable_iq=True)(x)),
    "attention": (((4, 6),), lambda x: q.QMultiHeadAttention(2, 3)(Quantizer(name="rounded")(x), Quantizer()(x))),
    "linformer": (
        ((4, 6),),
        lambda x: q.QLinformerAttention(num_heads=2, key_dim=3, lin_kv_proj_dim=2)(*[Quantizer(name="rounded")(x)] * 2),
    ),
    "attention_of_inputs": (((4, 6), (3, 6)), lambda x, y: q.QMultiHeadAttention(2, 3)(x, y, y)),
    "attention_of_one_input": (((4, 6),), lambda x: q.QMultiHeadAttention(2, 3, fuse="qkv")(x, x)),
    "linformer_of_an_input": (
        ((4, 6),),
        lambda x: q.QLinformerAttention(num_heads=2, key_dim=3, lin_kv_proj_dim=2)(x, x),
    ),
    "flatten": ((ROWS,), moved(keras.layers.Flatten)),
    "reshape": ((ROWS,), moved(lambda: keras.layers.Reshape((9, 2)))),
    "permute": ((ROWS,), moved(lambda: keras.layers.Permute((2, 1)))),
    "repeat": (((4,),), moved(lambda: keras.layers.RepeatVector(3))),
    "part": ((ROWS,), moved(lambda: Part([[1, 5, 2], 0]))),
    "pad": ((ROWS,), moved(lambda: keras.layers.ZeroPadding1D(1))),
    "pad_images": ((IMAGE,), moved(lambda: keras.layers.ZeroPadding2D(((1, 0), (0, 2))))),
    "crop": ((ROWS,), moved(lambda: keras.layers.Cropping1D(1))),
    "crop_images": ((IMAGE,), moved(lambda: keras.layers.Cropping2D(1))),
    "repeat_rows": ((ROWS,), moved(lambda: keras.layers.UpSampling1D(2))),
    "repeat_images": (((2, 2, 3),), moved(lambda: keras.layers.UpSampling2D(2))),
    "join": ((ROWS, ROWS), joined(-1)),
    "join_rows": ((ROWS, ROWS), joined(1)),
    "relu": ((ROWS,), read(keras.layers.ReLU)),
    "gru": ((ROWS,), moved(lambda: q.QGRU(3))),
    "recurrent": ((ROWS,), moved(lambda: q.QSimpleRNN(4, return_sequences=True))),
    "spiking": ((ROWS,), moved(lambda: q.QSimpleSNN(3))),
    "leaky": ((ROWS,), moved(lambda: q.QLIF(3))),
    "dense_of_tables": (((5,),), moved(lambda: q.QDenseT(3))),
    "einsum_of_tables": ((ROWS,), moved(lambda: q.QEinsumDenseT("bnc,cd->bnd", (ROWS[0], 3), d_hl=1, bias_axes="d"))),
    "attention_of_tables": (((3, 4),), lambda x: q.QMultiHeadAttentionT(1, 2, d_hl=1)(x, x)),
    "linformer_of_tables": (
        ((4, 3),),
        lambda x: q.QLinformerAttentionT(num_heads=1, key_dim=2, lin_kv_proj_dim=2, d_hl=1)(x, x),
    ),
    "convolution_of_tables": ((ROWS,), moved(lambda: q.QConvT1D(2, 3))),
    "images_of_tables": (((4, 3, 2),), moved(lambda: q.QConvT2D(2, 2))),
    "activation": ((ROWS,), read(lambda: keras.layers.Activation("relu"))),
}  # fmt: skip


OF_ATTENTION = ("attention", "attention_of_inputs", "attention_of_one_input", "linformer", "linformer_of_an_input")
RECURRENT = ("gru", "recurrent", "spiking", "leaky")
OF_TABLES = (
    "dense_of_tables", "convolution_of_tables", "images_of_tables", "einsum_of_tables", "attention_of_tables",
    "linformer_of_tables",
)  # fmt: skip


def model_of(
    shapes: tuple[tuple[int, ...], ...], make: Layers, overflow: str = "SAT_SYM"
) -> tuple[keras.Model, dict[str, Any]]:
    """A calibrated model of HGQ2's default quantisers, saturating, with shaken weights; inputs beyond its ranges."""
    keras.utils.set_random_seed(5)
    random = np.random.default_rng(5)
    inputs = [keras.Input(shape, name=f"given{index}") for index, shape in enumerate(shapes)]
    with QuantizerConfigScope(place="all", overflow_mode=overflow, round_mode="RND"):
        model = keras.Model(inputs, make(*inputs), name="own")
    for variable in model.variables:
        if variable.name in SHAKEN and variable.shape:
            variable.assign(random.normal(0.3, 0.6, variable.shape))
        if variable.name == "moving_variance":
            variable.assign(random.uniform(0.5, 2.0, variable.shape))
    values = {t.name: random.normal(0, 1.5, (EVENTS, *t.shape[1:])).astype(np.float32) for t in inputs}
    trace_minmax(model, [0.5 * array for array in values.values()], verbose=False)
    return model, values
