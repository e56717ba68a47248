"""Every layer of HGQ2, and layers of Keras that compute without rounding: exact on a backend, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq import layers as q
from hgq.quantizer import Quantizer
from support import hls_models as h
from support.hgq2_layers import LAYERS, OF_ATTENTION, OF_TABLES, RECURRENT, Layers, model_of, read

from hls.backends import open_backend
from hls.errors import ExportRefused, HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree
from hls.proof.exact import exact
from qformers.quant.audit import audit
from qformers.quant.quantisers import Quantiser, quantisers, walk
from qformers.quant.ranges import ranges_of

IN_EVERY_RUN = {"convolution", "dense_of_rows", "permute", "convolution_in_groups"}  # of hls4ml
NOT_IN_CPP = {  # words of hls4ml's refusal
    **dict.fromkeys((*RECURRENT, *OF_TABLES), "it was not shown to be exact in hls4ml; set firmware.backend: alkaid"),
    "einsum_dense_that_sums_an_axis": r"it sums an axis that its kernel has not\. Received: bnc,co->bo; use QSum",
    "norm_of_rows": r"hls4ml normalises the last axis\. Received: axis=1; set firmware.backend: alkaid",
    "convolution_in_groups": r"hls4ml has no groups\. Received: 4; set firmware.backend: alkaid",
    "convolution_dilated": r"hls4ml has no dilation_rate\. Received: \(2, 2\)",
    "convolution_of_volumes": "hls4ml has no layers of volumes",
    "dot_of_rows": "hls4ml multiplies vectors only; use QEinsum",
    "add_three": r"hls4ml adds two tensors at a time\. Received: 3",
    "table": "its iq has one format per element",
    "table_of_a_line": "it was not shown to be exact in hls4ml",
    "join_rows": r"it joins along the last axis\. Received: axis 1",
    "relu": "hls4ml writes C\\+\\+ for it that does not compile",
}

# its layers are inside, or it goes through time, and what it gives out is not followed
UNFOLLOWED = {*OF_ATTENTION, *RECURRENT, *OF_TABLES}
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
    "attention_by_keyword": (
        (4, 6),
        lambda x: q.QMultiHeadAttention(2, 3)(x, value=x, key=x),
        "its value and key come by keyword; call it with query, value, key, in this order",
    ),
    "attention_fused": (
        (4, 6),
        lambda x: q.QMultiHeadAttention(2, 3, fuse="kv")(x, x, Quantizer()(x)),
        "its projections are fused and read several tensors",
    ),
    "rescaled_by_a_third": (
        (6, 2),
        read(lambda: keras.layers.Rescaling(1 / 3)),
        "its factor has more than 12 bits. Received: 0.3333333333333333; take a number of fewer bits",
    ),
    "rescaled_by_more_than_a_float32": (
        (6, 2),
        read(lambda: keras.layers.Rescaling(0.375 + 1e-10)),
        "its factor has more than 12 bits. Received: 0.3750000001",
    ),
    "rescaled_to_nothing": (
        (6, 2),
        read(lambda: keras.layers.Rescaling(0.0)),
        "its factor is out of reach. Received: 0",
    ),
    "offset_of_infinity": (
        (6, 2),
        read(lambda: keras.layers.Rescaling(1.0, np.inf)),
        "its offset is out of reach. Received: inf",
    ),
    "recurrent_with_state": ((6, 2), lambda x: q.QGRU(2, return_state=True)(x)[0], "it has return_state=True"),
    "attention_causal": (
        (4, 6),
        lambda x: q.QMultiHeadAttention(2, 3)(x, x, use_causal_mask=True),
        "it is called with use_causal_mask; call it with query, value and key alone",
    ),
    "rescaled_by_channel": ((6, 2), read(lambda: keras.layers.Rescaling([1.0, 2.0])), "its factor is one for each"),
    "relu6": ((6, 2), read(lambda: keras.layers.ReLU(max_value=6)), "it is another function than the larger of"),
    "gelu": ((6, 2), read(lambda: keras.layers.Activation("gelu")), "it is another function than the larger of"),
    "bilinear": (
        (2, 2, 2),
        read(lambda: keras.layers.UpSampling2D(2, interpolation="bilinear")),
        "it computes values between others",
    ),
}


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


def test_hgq2_still_builds_einsums_of_tables_for_the_width_of_their_hidden_layer() -> None:
    """When this fails, `OF_TABLES` can take HGQ2's own eight hidden values instead of one."""
    layer = q.QEinsumDenseT("bnc,cd->bnd", (6, 3), d_hl=8)
    with pytest.raises(Exception, match=r"Expected dimension 1|not compatible|incompatible"):
        layer(np.zeros((2, 6, 3), np.float32))
