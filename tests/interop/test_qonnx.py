"""QONNX: executed by qonnx, a file gives the values of Keras, bit for bit; what it cannot say is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq import layers as q
from hgq.config import QuantizerConfigScope
from hgq.quantizer import Quantizer, QuantizerConfig
from support import dead, peers, verbs
from support import hls_models as h
from support.hept_fixed import NARROW, both, small
from support.hgq2_layers import LAYERS, OF_TABLES, RECURRENT, ROWS, Layers, dense, model_of, read

from hls import cli
from hls.proof.adversarial import adversarial, uniform
from qformers.errors import QonnxError
from qformers.interop.qonnx.check import Executed, executed
from qformers.interop.qonnx.kinds import FORMS
from qformers.interop.qonnx.writer import Written, written
from qformers.models import MODELS
from qformers.models.erwin import small as small_erwin
from qformers.models.sizes import Jet
from qformers.nn.hgq import Hgq
from qformers.nn.index.lsh import FromBlocks, GivenOrder, ToBlocks
from qformers.onnx_files import PACKAGES, require_qonnx
from qformers.quant.kinds import KINDS
from qformers.quant.kinds.record import ROUNDED
from qformers.quant.ranges import ranges_of

onnx = pytest.importorskip("onnx", reason="the extra qonnx: pip install qonnx onnxruntime")
pytest.importorskip("qonnx", reason="the extra qonnx: pip install qonnx onnxruntime")

MORE: dict[str, tuple[tuple[tuple[int, ...], ...], Layers]] = {  # that firmware refuses
    "causal": ((ROWS,), lambda x: q.QConv1D(4, 3, padding="causal", iq_conf=h.form(h.SOURCE), enable_ebops=False)(x)),
    "mean_of_three": ((ROWS,), lambda x: q.QAvgPool1D(3)(x)),
    "mean_at_the_edge": (((5, 5, 2),), lambda x: q.QAvgPool2D(2, padding="same")(x)),
    "mean_of_all_five": (((5, 3),), lambda x: q.QGlobalAvgPool1D()(x)),
    "relu6": ((ROWS,), read(lambda: keras.layers.ReLU(max_value=1.5))),
    "ranks": (((4, 3), (3,)), lambda x, y: q.QAdd()([x, y])),
    "scores_without_a_maximum": (((6,),), lambda x: q.QSoftmax(stable=False, enable_iq=True)(x)),
}
UNSAID = {
    **dict.fromkeys(RECURRENT, "its steps through time are not written"),
    **dict.fromkeys(OF_TABLES, "a table for each pair of input and output"),
}
SAID = {name: layer for name, layer in LAYERS.items() if name not in UNSAID}
EVERY = SAID | MORE
IN_EVERY_RUN = {"dense_of_rows", "convolution_same", "norm_of_rows", "table", "softmax", "pad_images"}
BEYOND_FLOAT32 = {"convolution_same", "convolution_of_images"}  # whose sums take 28 bits once their inputs wrap


def executed_on(model: keras.Model, inputs: dict[str, Any], folder: Path) -> tuple[Written, Executed]:
    """The file of a model, and its values beside those of Keras."""
    made = written(model)
    path = made.save(folder / "model.onnx")
    onnx.checker.check_model(made.proto)
    return made, executed(path, made, model, inputs)


def equal_on(model: keras.Model, folder: Path, *events: dict[str, Any]) -> Written:
    """The file of a model whose values are those of Keras on all of these events."""
    for inputs in events:
        made, found = executed_on(model, inputs, folder)
        assert found.equal, str(found)
        assert found.values > 0
    return made


def test_every_layer_that_the_tools_know_has_a_form() -> None:
    assert set(FORMS) == set(KINDS)


@pytest.mark.parametrize(
    "name", [name if name in IN_EVERY_RUN else pytest.param(name, marks=pytest.mark.slow) for name in EVERY]
)
def test_a_file_gives_the_values_of_the_layer(name: str, tmp_path: Path) -> None:
    model, inputs = model_of(*EVERY[name])
    equal_on(model, tmp_path, inputs, adversarial(model).inputs)
    assert np.ptp(np.asarray(model(list(inputs.values())))) > 0


@pytest.mark.parametrize("name", UNSAID)
def test_layers_without_a_form_are_refused_by_name(name: str) -> None:
    model, _ = model_of(*LAYERS[name])
    with pytest.raises(QonnxError, match=rf"{UNSAID[name]}; write firmware of it"):
        written(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_values_that_wrap_around_are_exact_as_far_as_keras_is(name: str, tmp_path: Path) -> None:
    model, inputs = model_of(*LAYERS[name], overflow="WRAP")
    made = equal_on(model, tmp_path, inputs)
    assert made.wrapped
    made, found = executed_on(model, adversarial(model).inputs, tmp_path)
    if name not in BEYOND_FLOAT32:
        assert found.equal, str(found)
        return
    assert found.first is not None
    assert found.first.layer in made.wide
    assert found.worst < 2.0**-20
    assert str(found).startswith("QONNX is NOT equal to quantised Keras: ")


@pytest.mark.parametrize(
    "variants", [{"coarse"}, pytest.param(set(h.VARIANTS), marks=pytest.mark.slow)], ids=["coarse", "all"]
)
def test_all_rounding_and_overflow_modes_are_exact(
    variants: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h, "BRANCHES", [branch for branch in h.BRANCHES if branch[2] in variants])
    made = equal_on(h.formats_model(), tmp_path, {"x": h.numbers(3, 600)})
    assert made.wrapped
    assert not [name for name in made.wrapped if "_wrap_" not in name]
    assert not [name for name in made.wrapped if "_wide_" in name]  # every value is known to fit


@pytest.mark.parametrize("overflow", ["SAT", "SAT_SYM"])
def test_rounding_modes_beyond_those_of_firmware_are_exact(overflow: str, tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    outputs = {}
    for mode in ROUNDED:
        first, second = (
            QuantizerConfig("kif", "datalane", k0=True, i0=2, f0=f, round_mode=mode, overflow_mode=overflow)
            for f in (3, 1)
        )
        rounded = Quantizer(first, name=f"{mode.lower()}_first")(x)
        outputs[mode.lower()] = Quantizer(second, name=mode.lower())(rounded)
    model = keras.Model(x, outputs)
    equal_on(model, tmp_path, {"x": h.numbers(3, 300)})
    bounds = ranges_of(model)
    for mode, values in model(h.numbers(3, 300)).items():
        assert bounds[mode].low.min() == np.min(values)
        assert bounds[mode].high.max() == np.max(values)


@pytest.mark.slow
def test_every_layer_kind_is_exact_in_several_forms(tmp_path: Path) -> None:
    model = h.operations_model()
    equal_on(model, tmp_path, adversarial(model).inputs)


@pytest.mark.slow
@pytest.mark.parametrize("share", ["all", "some"])
def test_quantisers_without_bits_are_exact(share: dead.Share, tmp_path: Path) -> None:
    model = dead.dead_model(share)
    equal_on(model, tmp_path, adversarial(model, each=8).inputs)


@pytest.mark.slow
def test_all_verbs_of_the_vocabulary_are_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "verbs", verbs.VERBS)
    model, inputs = verbs.all_verbs([verb for verb, case in verbs.CASES.items() if "hgq" not in case.refused])
    equal_on(model, tmp_path, {name: np.asarray(array, np.float32) for name, array in inputs.items()})


@pytest.mark.slow
@pytest.mark.parametrize("form", peers.FORMS)
def test_models_of_every_architecture_of_jets_are_exact(form: str, tmp_path: Path) -> None:
    model = peers.quantised_peer(form, 4)
    equal_on(model, tmp_path, adversarial(model).inputs)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"hashes": 2}, {"order": "onchip"}])
def test_blocks_of_points_are_exact(changes: dict[str, Any], tmp_path: Path) -> None:
    _, model, inputs = both(small(**changes), 8, NARROW)
    equal_on(model, tmp_path, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"rotate": 45.0}, {"order": "onchip"}])
def test_balls_of_points_are_exact(changes: dict[str, Any], tmp_path: Path) -> None:
    few: dict[str, Any] = {"enc_depths": (2,), "norm": "batch", "widths": (4,), "head": "points", "outputs": 2}
    cfg = small_erwin(**few, distance="none", **{"rotate": 0.0, **changes})
    keras.utils.set_random_seed(3)
    model = MODELS["erwin"].build(cfg, Jet(8, 3, 3), Hgq(peers.NARROW))
    equal_on(model, tmp_path, uniform(model, 200))


def test_an_order_of_every_head_and_padding_are_exact(tmp_path: Path) -> None:
    """What quantised models have not, and the layers can: two heads, an order for each, slots behind the points."""
    x, order, mask = keras.Input((6, 2, 3), name="x"), keras.Input((3, 4), name="order"), keras.Input((6,), name="mask")
    rounded = Quantizer(h.form(h.SOURCE), name="rounded")(x)
    given = GivenOrder([[2.0, 3.0]], [[1.0], [0.5]], name="given")([order, mask])  # (1, O, 1, P)
    shared = FromBlocks(name="shared")([ToBlocks(3, name="blocks")([rounded, given]), given])
    heads = keras.layers.Concatenate(axis=3, name="orders")([given, given])
    own = ToBlocks(2, name="own")([rounded, heads])
    model = keras.Model({"x": x, "order": order, "mask": mask}, {"shared": shared, "own": own})
    random = np.random.default_rng(0)
    orders = random.permuted(np.broadcast_to(np.arange(4.0), (50, 3, 4)), axis=-1)
    inputs = {"x": random.normal(0, 2, (50, 6, 2, 3)), "order": orders, "mask": np.ones((50, 6))}
    made = equal_on(model, tmp_path, {name: array.astype(np.float32) for name, array in inputs.items()})
    assert made.nodes["GatherND"] == 3


def test_quant_nodes_say_the_formats(tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    y = h.dense(x, "first", "fixed<8,4,RND_CONV,SAT>", h.MIX)
    made = written(keras.Model(x, h.dense(y, "second", "ufixed<5,3,RND,SAT>", h.MIX)))
    nodes = {node.name: node for node in made.proto.graph.node}
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in made.proto.graph.initializer}

    def said(name: str) -> tuple[float, float, dict[str, Any]]:
        _, scale, zero, width = nodes[name].input
        assert constants[zero] == 0.0
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in nodes[name].attribute}
        return float(constants[scale]), float(constants[width]), attributes

    assert said("first_iq") == (2**-4, 8.0, {"signed": 1, "narrow": 0, "rounding_mode": b"ROUND"})
    assert said("second_iq") == (2**-2, 5.0, {"signed": 0, "narrow": 0, "rounding_mode": b"FLOOR"})
    assert said("first_kq") == (2**-4, 8.0, {"signed": 1, "narrow": 0, "rounding_mode": b"ROUND"})
    assert nodes["second_iq"].domain == "qonnx.custom_op.general"
    assert constants[nodes["second_half_a_step"].input[1]] == 2**-3
    assert "first_half_a_step" not in nodes
    graph = made.proto.graph
    assert [one.name for one in graph.input] == ["x"]
    assert [size.dim_value for size in graph.input[0].type.tensor_type.shape.dim] == [1, 3]
    assert [one.name for one in graph.output] == ["second"]


def test_weights_beyond_their_integer_bits_are_held() -> None:
    """HGQ2 lets them grow where a format wraps; the width of the file holds them."""
    x = keras.Input((2,), name="x")
    layer = q.QDense(1, use_bias=False, kq_conf=h.form("fixed<4,2,RND,WRAP>", "weight"), iq_conf=h.form(h.SOURCE))
    y = layer(x)
    layer.kq.quantizer.trainable = True
    layer.kq.quantizer._is_weight = True
    layer._kernel.assign([[5.25], [-0.5]])
    assert float(layer.qkernel[0, 0]) == 5.25
    made = written(keras.Model(x, y))
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in made.proto.graph.initializer}
    node = next(node for node in made.proto.graph.node if node.name.endswith("_kq"))
    assert float(constants[node.input[3]]) == 6.0  # 21 steps of 1/4, and a sign


def test_a_value_that_differs_is_found_where_it_arises(tmp_path: Path) -> None:
    model, inputs = model_of((ROWS,), lambda x: q.QDense(2, name="second")(q.QDense(4, name="first")(x)))
    made = written(model)
    weights = next(one for one in made.proto.graph.initializer if one.name == "first_weight")
    changed = onnx.numpy_helper.to_array(weights).copy()
    changed[0, 0] += 1.0
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, "first_weight"))
    found = executed(made.save(tmp_path / "model.onnx"), made, model, inputs)
    assert not found.equal
    assert found.first is not None
    assert (found.first.layer, found.first.node) == ("first", "first_biased")
    assert "; first in layer 'first', node 'first_biased': " in str(found)


def test_an_input_that_is_an_output_and_one_tensor_twice_keep_their_names(tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    y = h.dense(x, "d", h.SOURCE, h.MIX)
    made = equal_on(keras.Model(x, {"same": x, "one": y, "other": y}), tmp_path, {"x": h.numbers(3, 30)})
    assert set(made.outputs) == {"same", "one", "other"}


def test_an_input_keeps_a_name_that_a_node_would_have(tmp_path: Path) -> None:
    x, late = keras.Input((3,), name="x"), keras.Input((3,), name="d_matmul")
    forms = [h.form(h.SOURCE), h.form(h.SOURCE)]
    model = keras.Model([x, late], q.QAdd(iq_confs=forms, name="sum")([h.dense(x, "d", h.SOURCE, h.MIX), late]))
    made = equal_on(model, tmp_path, {"x": h.numbers(3, 30), "d_matmul": h.numbers(3, 30, 1)})
    assert {one.name for one in made.proto.graph.input} == {"x", "d_matmul"}
    assert made.layers["d"] == "d_matmul_2"


class _Twice(keras.layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return 2 * x


def _masked(x: Any) -> Any:
    rounded = Quantizer(h.form(h.SOURCE))(x)
    return q.QMultiHeadAttention(1, 2)(rounded, rounded, use_causal_mask=True)


TABLE = "QUnaryFunctionLUT"
REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "activation": (
        lambda x: q.QDense(2, activation="tanh", name="bent")(x),
        rf"^QONNX cannot say this model exactly:\n  bent \(QDense\): its activation 'tanh' .*{TABLE}\('tanh'\) behind",
    ),
    "function": (read(lambda: keras.layers.Activation("gelu")), "its function 'gelu' is computed in float32"),
    "slope": (read(lambda: keras.layers.ReLU(negative_slope=0.1)), r"Received: negative_slope=0\.1, threshold=0"),
    "no_format": (lambda x: q.QUnaryFunctionLUT("tanh", enable_iq=False)(x), "what comes in has no format.*enable_iq"),
    "many_bits": (
        lambda x: q.QUnaryFunctionLUT("tanh", iq_conf=h.form("fixed<24,4,RND,SAT>"))(x),
        "its table has 16,777,216 entries, 1,048,576 is the most; give its input fewer bits",
    ),
    "causal": (_masked, r"it is called with use_causal_mask; call it with query, value and key alone"),
    "unknown": (lambda x: dense(_Twice(name="twice")(x)), r"  twice \(_Twice\): it has no form in QONNX here; use one"),
    "no_fixed_point": (
        lambda x: dense(Quantizer(QuantizerConfig("dummy", "datalane"), name="small")(x)),
        r"small \(Quantizer\): its quantiser 'small' is not of fixed point. Received: dummy",
    ),
    "scaled": (
        lambda x: dense(Quantizer(QuantizerConfig("kif", "datalane", scaler=3.0), name="third")(x)),
        r"its quantiser 'third' scales its values. Received: scaler=3\.0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_qonnx_cannot_say_is_refused_by_layer(name: str) -> None:
    make, words = REFUSED[name]
    given = keras.Input((6, 3), name="given")
    with QuantizerConfigScope(place="all", overflow_mode="SAT"):
        model = keras.Model(given, make(given))
    with pytest.raises(QonnxError, match=words):
        written(model)


def test_models_that_are_not_quantised_in_float32_are_refused() -> None:
    given = keras.Input((3,))
    with pytest.raises(QonnxError, match="is a float model, without a quantiser: give the quantised one"):
        written(keras.Model(given, keras.layers.Dense(2)(given)))
    wide = keras.Input((3,), dtype="float64", name="wide")
    with pytest.raises(QonnxError, match=r"input 'wide': QONNX is executed in float32\. Received: float64"):
        written(keras.Model(wide, q.QDense(2)(wide)))


@pytest.mark.parametrize("missing", PACKAGES)
def test_a_package_that_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(QonnxError, match=rf"not installed here: {missing}\. .*pip install qonnx onnxruntime"):
        require_qonnx(Path("model.onnx"))


def test_the_command_takes_a_model_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    model, _ = model_of((ROWS,), lambda x: q.QDense(2, name="a-b")(x), overflow="WRAP")
    model.save("net.keras")
    assert cli.main(["qonnx", "net.keras", "net.onnx", "--events", "50"]) == 0
    told = capsys.readouterr().out
    assert "renamed: a-b is a_b now\n" in told
    assert "note: values may wrap around, which Quant cannot say" in told
    assert "events (random over the range of the input formats): QONNX = quantised Keras: 0 of 600 values in 50" in told
    assert told.endswith("written: net.onnx\n")
    facts = {one.key: one.value for one in onnx.load("net.onnx").metadata_props}
    assert facts["model"] == "net.keras"
    for words, message in (
        (["net.keras", "net.txt"], "OUT is the file to write and ends in .onnx. Received: net.txt"),
        (["net.keras", "folder.onnx"], "OUT folder.onnx: is a folder; name a file to write"),
        (["none.keras", "net.onnx"], "MODEL none.keras: no such file"),
        (["net.keras", "net.onnx", "--run", "x"], "--run goes with a build file. Received: the model net.keras"),
    ):
        assert cli.main(["qonnx", *words]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_takes_the_model_of_a_run(run4: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["qonnx", str(run4 / "build.yaml"), str(tmp_path / "part4.onnx"), "--run", str(run4), "--events", "100"]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "events (test split): QONNX = quantised Keras: 0 of 1000 values in 100 events differ" in told
    assert "adversarial events: QONNX = quantised Keras: 0 of" in told


def _dense_for_hls4ml(x: Any) -> Any:
    """Ties go up, which is an addition and FLOOR."""
    hidden = h.dense(x, "hidden", "fixed<8,4,RND,SAT>", h.MIX, activation="relu", bias_axes="o")
    return h.dense(hidden, "last", "ufixed<7,3,RND,SAT>", h.MIX[:, :2])


def _convolution_for_hls4ml(x: Any) -> Any:
    weights = h.form("fixed<6,2,RND,SAT_SYM>", "weight")
    reads = ["fixed<8,4,RND_CONV,SAT>", "ufixed<7,3,RND_CONV,SAT>", "ufixed<6,3,RND_CONV,SAT>"]
    first, second, third = (h.form(text) for text in reads)
    seen = q.QConv2D(3, 3, activation="relu", iq_conf=first, kq_conf=weights, bq_conf=weights)(x)
    flat = keras.layers.Flatten()(q.QMaxPool2D(2, iq_conf=second)(seen))
    return q.QDense(2, iq_conf=third, kq_conf=weights, bq_conf=weights)(flat)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "make"), [((3,), _dense_for_hls4ml), ((6, 5, 2), _convolution_for_hls4ml)], ids=["dense", "convolution"]
)
def test_hls4ml_reads_the_file_and_computes_the_same(shape: tuple[int, ...], make: Layers, tmp_path: Path) -> None:
    from hls4ml.converters import convert_from_onnx_model
    from hls4ml.utils.config import config_from_onnx_model
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.util.cleanup import cleanup_model

    keras.utils.set_random_seed(1)
    x = keras.Input(shape, name="x")
    model = keras.Model(x, make(x))
    graph = cleanup_model(ModelWrapper(str(written(model).save(tmp_path / "model.onnx"))))
    graph = cleanup_model(graph.transform(ConvertToChannelsLastAndClean()))
    config = config_from_onnx_model(graph, granularity="name", backend="Vitis", default_precision="fixed<32,16>")
    project = convert_from_onnx_model(
        graph, output_dir=str(tmp_path / "project"), hls_config=config, backend="Vitis", io_type="io_parallel"
    )
    project.compile()
    events = np.random.default_rng(0).normal(0, 3, (300, *shape)).astype(np.float32)
    expected = np.asarray(model(events))
    assert np.ptp(expected) > 0
    assert np.array_equal(project.predict(events).reshape(expected.shape), expected)
