"""Every layer of HGQ2, and layers of Keras that compute without rounding: exact on a backend, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq import layers as q
from hgq.config import QuantizerConfigScope
from hgq.quantizer import Quantizer
from hgq.utils import trace_minmax
from support import hls_models as h

from hls.backends import open_backend
from hls.errors import ExportRefused, HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree
from hls.proof.exact import exact
from qformers.nn.moves import Part
from qformers.quant.audit import audit
from qformers.quant.quantisers import Quantiser, quantisers, walk
from qformers.quant.ranges import ranges_of

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
    """A layer that moves the values of the input itself."""
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
    "mean_pow2": ((ROWS,), lambda x: q.QMeanPow2(axes=1)(x)),
    "dot": (((4,), (4,)), lambda x, y: q.QDot(axes=1)([x, y])),
    "dot_of_rows": (((4, 3), (2, 3)), lambda x, y: q.QDot(axes=2, enable_ebops=False)([x, y])),
    "einsum": ((ROWS, (6, 2)), lambda x, y: q.QEinsum("bij,bik->bjk")([x, y])),
    "add": ((ROWS, ROWS), lambda x, y: q.QAdd()([x, y])),
    "add_three": ((ROWS, ROWS, ROWS), lambda *x: q.QAdd()(list(x))),
    "subtract": ((ROWS, ROWS), lambda x, y: q.QSubtract()([x, y])),
    "multiply": ((ROWS, ROWS), lambda x, y: q.QMultiply()([x, y])),
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
    "activation": ((ROWS,), read(lambda: keras.layers.Activation("relu"))),
}  # fmt: skip

IN_EVERY_RUN = {"convolution", "dense_of_rows", "permute", "convolution_in_groups", "sum"}  # of hls4ml
NOT_IN_CPP = {  # words of hls4ml's refusal
    "einsum_dense_that_sums_an_axis": r"it sums an axis that its kernel has not\. Received: bnc,co->bo; use QSum",
    "norm_of_rows": r"hls4ml normalises the last axis\. Received: axis=1; set firmware.backend: alkaid",
    "convolution_in_groups": r"hls4ml has no groups\. Received: 4; set firmware.backend: alkaid",
    "convolution_dilated": r"hls4ml has no dilation_rate\. Received: \(2, 2\)",
    "convolution_of_volumes": "hls4ml has no layers of volumes",
    "sum": "hls4ml has no handler for it and its fallback is wrong; set firmware.backend: alkaid",
    "sum_scaled": "hls4ml has no handler for it",
    "mean_pow2": "hls4ml has no handler for it",
    "dot_of_rows": "hls4ml multiplies vectors only; use QEinsum",
    "add_three": r"hls4ml adds two tensors at a time\. Received: 3",
    "table": "its iq has one format per element",
    "table_of_a_line": "it was not shown to be exact in hls4ml",
    "join_rows": r"it joins along the last axis\. Received: axis 1",
    "relu": "hls4ml writes C\\+\\+ for it that does not compile",
}

UNFOLLOWED = {"attention", "linformer"}  # its layers are inside, and what it gives out is not followed
WIDE = {"dense_norm", "einsum_dense_norm", "norm", "dense", "convolution", "multiply"}  # sums of more than 24 bits too

# refused by alkaid: layer, and words of the reason
REFUSED: dict[str, tuple[tuple[int, ...], Layers, str]] = {
    "dense_tanh": ((6,), lambda x: q.QDense(4, activation="tanh")(x), "its activation 'tanh' would be a table of all"),
    "mean_of_three": ((6, 2), lambda x: q.QAvgPool1D(3)(x), "a mean over 3 positions is on no grid of fixed point"),
    "mean_of_five": ((5, 2), lambda x: q.QGlobalAvgPool1D()(x), "a mean over 5 positions"),
    "mean_same": ((5, 2), lambda x: q.QAvgPool1D(2, padding="same")(x), "a mean at the edge is over fewer positions"),
    "causal": ((6, 2), lambda x: q.QConv1D(2, 3, padding="causal")(x), r"put ZeroPadding1D\(\(2, 0\)\) in front"),
    "channels_first": (
        (2, 5, 4),
        lambda x: q.QMaxPool2D(2, data_format="channels_first")(x),
        "firmware takes channels last",
    ),
    "relu6": ((6, 2), read(lambda: keras.layers.ReLU(max_value=6)), "it is another function than the larger of"),
    "gelu": ((6, 2), read(lambda: keras.layers.Activation("gelu")), "it is another function than the larger of"),
    "bilinear": (
        (2, 2, 2),
        read(lambda: keras.layers.UpSampling2D(2, interpolation="bilinear")),
        "it computes values between others",
    ),
}


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


def rounded_weights(quantiser: Quantiser) -> Any:
    held = keras.ops.convert_to_tensor(quantiser.values(), "float32")
    return keras.ops.convert_to_numpy(quantiser.wrapper(held))


@pytest.mark.parametrize(
    "name", [name if name in IN_EVERY_RUN else pytest.param(name, marks=pytest.mark.slow) for name in LAYERS]
)
def test_cpp_is_the_layer_or_refuses_it(name: str, tmp_path: Path) -> None:
    model, inputs = model_of(*LAYERS[name])
    if name in NOT_IN_CPP:
        with pytest.raises(ExportRefused, match=NOT_IN_CPP[name]):
            open_backend("vitis").write(model, h.build_of("one", backend="vitis"), tmp_path / "project")
        return
    project: Any = open_backend("vitis").write(model, h.build_of("one", backend="vitis"), tmp_path / "project")
    project.compile()
    for events in (inputs, adversarial(model).inputs):
        equal = agree(project, model, events)
        assert equal.equal, str(equal)


@pytest.mark.parametrize("name", LAYERS)
def test_rtl_is_the_layer(name: str, tmp_path: Path) -> None:
    model, inputs = model_of(*LAYERS[name])
    project: Any = open_backend("alkaid").write(model, h.build_of("one", backend="alkaid"), tmp_path / "project")
    for events in (inputs, adversarial(model).inputs):
        equal = agree(project, model, events)
        assert equal.equal, str(equal)
    outputs = np.asarray(model(list(inputs.values())))
    assert np.ptp(outputs) > 0

    bounds = ranges_of(model)
    seen = {layer.name: values for layer, values in walk(model, inputs)}
    assert seen
    last = bounds[model.layers[-1].name]
    if name in UNFOLLOWED:
        return
    assert last is not None, "every other layer here says what it can give out"
    assert (outputs >= last.low).all()
    assert (outputs <= last.high).all()
    grid = outputs * 2.0 ** np.where(last.fraction_bits < -1000, 0, last.fraction_bits)
    assert np.array_equal(grid, np.rint(grid))

    rows = {row.name: row for row in audit(model, inputs)}
    for quantiser in quantisers(model):
        assert rows[quantiser.name].values > 0
        if quantiser.place == "weight" and hasattr(quantiser.layer, "qkernel"):  # what is rounded multiplies
            kernel = keras.ops.convert_to_numpy(quantiser.layer.qkernel)
            assert np.array_equal(rounded_weights(quantiser), kernel)


def test_a_layer_that_says_another_shape_than_it_has_is_named(tmp_path: Path) -> None:
    given = keras.Input((6, 3), name="given0")
    wrong = q.QEinsumDense("...c,co->...o", (6, 4), name="wrong")(given)
    with pytest.raises(HlsError, match=r"^layer 'wrong' .QEinsumDense. computes .* says .* shape .6, 6, 4."):
        open_backend("alkaid").write(keras.Model(given, wrong), h.build_of("one", backend="alkaid"), tmp_path / "one")


@pytest.mark.parametrize("name", sorted(WIDE))
def test_sums_of_more_bits_than_a_float32_are_exact(name: str, tmp_path: Path) -> None:
    """HGQ2's usual formats wrap what comes in, which may be of any size, so that Keras is compared in float64."""
    model, inputs = model_of(*LAYERS[name], overflow="WRAP")
    for quantiser in quantisers(model):
        if quantiser.place == "input":
            quantiser.core._f.assign(quantiser.core._f + 6.0)
    project: Any = open_backend("alkaid").write(model, h.build_of("one", backend="alkaid"), tmp_path / "project")
    twin = exact(model, project)
    assert twin is not model
    equal = agree(project, twin, inputs)
    assert equal.equal, str(equal)


OUTPUTS: dict[str, tuple[Layers, str]] = {
    "as_it_comes": (lambda x: [x, q.QDense(2)(x)], "an output gives it out as it comes in"),
    "moved": (lambda x: [keras.layers.Flatten()(x), q.QDense(2)(x)], "an output gives it out as it comes in"),
    "not_rounded": (
        lambda x: [q.QDense(2)(x), q.QDense(2, name="last")(keras.layers.Activation("relu", name="bent")(x))],
        "layer 'bent' reads it without rounding",
    ),
    "twice": (lambda x: [q.QDense(2, name="d")(x)] * 2, "it is the same tensor as the output 'd'"),
}


@pytest.mark.parametrize("backend", ["alkaid", "vitis"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_that_no_port_suits_are_refused(name: str, backend: str, tmp_path: Path) -> None:
    make, words = OUTPUTS[name]
    words = words if backend == "alkaid" else f"{words}|is an output of the model and is used inside|without an input q"
    given = keras.Input((6, 3), name="given0")
    outputs = make(given)
    with pytest.raises(ExportRefused, match=words):
        open_backend(backend).write(keras.Model(given, outputs), h.build_of("one", backend=backend), tmp_path / "one")


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_rtl_is_refused_by_layer(name: str, tmp_path: Path) -> None:
    shape, make, words = REFUSED[name]
    keras.utils.set_random_seed(5)
    given = keras.Input(shape, name="given0")
    model = keras.Model(given, make(given))
    with pytest.raises(ExportRefused, match=words):
        open_backend("alkaid").write(model, h.build_of("one", backend="alkaid"), tmp_path / "project")
