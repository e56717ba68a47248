"""What a build says about single layers, in firmware: obeyed, refused by layer name, or allowed and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq.layers import QEinsum, QEinsumDense
from support import hls_models as h

from hls.backends import open_backend
from hls.backends.hls4ml.config import from_hls4ml, to_hls4ml
from hls.errors import ExportRefused
from hls.proof.agree import agree, keras_outputs
from qformers.errors import ConfigError
from qformers.precision.fixed import Fixed
from qformers.precision.rules import layer_types
from qformers.precision.table import PrecisionTable, Row, Setting
from qformers.quant.formats import model_table
from qformers.quant.ranges import sums_of


def small() -> keras.Model:
    """Every layer that has an accumulator, and one bit with a sign."""
    x = keras.Input((3,), name="x")
    first = h.dense(x, "first", "fixed<6,4,RND,SAT>", h.MIX, bias_axes="o", activation="relu")
    first_layer_bias = np.array([0.5, -1.0, 2.0], np.float32)
    weights = h.softmax(h.dense(x, "scores", "fixed<7,4,RND,SAT>", h.MIX), "weights")
    sides = [h.form("ufixed<6,3,RND,SAT>"), h.form("ufixed<8,1,RND,SAT>")]
    mixed = QEinsum("bi,bi->b", iq_confs=sides, name="mixed")([first, weights])
    bit = h.dense(x, "bit", "fixed<1,1,TRN,SAT>", h.MIX, enable_oq=True, oq_conf=h.form("fixed<5,3,RND_CONV,SAT>"))
    model = keras.Model(x, {"mixed": keras.layers.Reshape((1,), name="out")(mixed), "bit": bit})
    model.get_layer("first").bias.assign(first_layer_bias)
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small()


INPUTS = {"x": h.numbers(3, 3000)}


def exact_accumulators(model: keras.Model) -> dict[str, dict[str, str]]:
    """For each layer the narrowest accumulator that holds its sums."""
    return {name: {"accumulator": str(sums.format())} for name, sums in sums_of(model).items()}


def test_the_narrowest_accumulators_that_hold_all_sums_are_exact(model: keras.Model, tmp_path: Path) -> None:
    layers: dict[str, Any] = exact_accumulators(model)
    assert set(layers) == {"first", "scores", "weights", "mixed", "bit"}
    layers["first"] |= {"reuse_factor": 3, "parallelisation_factor": 1}
    made = h.compared(model, h.build_of("narrow", layers=layers), tmp_path, INPUTS)
    for name, wanted in made.keras.items():
        np.testing.assert_array_equal(made.firmware[name], wanted)

    said = json.loads((made.project.path / "precision.json").read_text())
    table = PrecisionTable.from_json(said["layers"])
    for name, entry in layers.items():
        assert str(table[name]["accumulator"].value) == entry["accumulator"]
        assert table[name]["accumulator"].source == f"layer {name}"
    assert table["first"]["reuse_factor"].value == 3
    assert said["overflow_allowed"] == []
    assert "reuse factor of first" in said["notes"][0]
    header = (made.project.path / "firmware" / "parameters.h").read_text()
    defines = (made.project.path / "firmware" / "defines.h").read_text()
    assert "static const unsigned reuse_factor = 3;" in header
    weights = Fixed.parse(layers["weights"]["accumulator"])
    assert f"ap_ufixed<{weights.width},{weights.integer_bits}> weights_accum_t" in defines.replace(", ", ",")


@pytest.fixture(scope="module")
def narrowed(model: keras.Model) -> dict[str, Any]:
    """The accumulator of `scores` one integer bit short, where the softmax behind it shows it."""
    needed = sums_of(model)["scores"].format()
    short = Fixed(needed.signed, needed.integer_bits - 1, needed.fraction_bits, "TRN", "WRAP")
    return {"scores": {"accumulator": str(short)}}


def test_a_narrow_accumulator_is_refused_with_layer_and_bits(
    model: keras.Model, narrowed: dict[str, Any], tmp_path: Path
) -> None:
    words = r"scores \(QEinsumDense\): its accumulator fixed<.*> lacks 1 integer bit: sums reach .*--allow-overflow"
    with pytest.raises(ExportRefused, match=words):
        open_backend("vitis").write(model, h.build_of("refused", layers=narrowed), tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_an_allowed_overflow_is_told_and_found(model: keras.Model, narrowed: dict[str, Any], tmp_path: Path) -> None:
    build = h.build_of("allowed", layers=narrowed)
    project = open_backend("vitis").write(model, build, tmp_path / "project", allow_overflow=True)
    manifest = json.loads((project.path / "manifest.json").read_text())
    assert "its accumulator" in manifest["overflow_allowed"][0]
    (told,) = json.loads((project.path / "precision.json").read_text())["overflow_allowed"]
    assert (told["layer"], told["integer_bits"], told["fraction_bits"]) == ("scores", 1, 0)
    project.compile()
    found = agree(project, model, INPUTS)
    assert not found.equal
    assert "'mixed'" in str(found) or "scores" in str(found)


@pytest.mark.parametrize(
    ("backend", "firmware", "words"),
    [
        (
            "vitis",
            {"layers": {"scors": {"reuse_factor": 2}}},
            r"firmware.layers.scors \(setting\): no layer has this name; did you mean 'scores'",
        ),
        (
            "vitis",
            {"types": {"QEinsumm": {}}},
            r"firmware.types.QEinsumm .*no layer is of this type; did you mean 'QEinsum",
        ),
        (
            "vitis",
            {"layers": {"out": {"accumulator": "fixed<9,4>"}}},
            r"out \(Reshape\): it has no accumulator to be set: hls",
        ),
        (
            "vitis",
            {"layers": {"mixed": {"parallelisation_factor": 2}}},
            r"mixed \(QEinsum\): it has no parallelisation_f.*QEinsumDense only. Received: 2; leave firmware.layers",
        ),
        (
            "vitis",
            {"layers": {"first": {"parallelisation_factor": 2}}},
            r"first \(QEinsumDense\): its 1 positions cannot be",
        ),
        (
            "vitis",
            {"types": {"QEinsum": {"strategy": "resource"}}},
            r"mixed \(QEinsum\): it exists for strategy latency only",
        ),
        (
            "alkaid",
            {"layers": {"first": {"accumulator": "fixed<30,9>"}}},
            r"first \(QEinsumDense\): it has no accumulator to be set: its RTL adds in trees of adders",
        ),
        (
            "alkaid",
            {"types": {"QEinsum": {"reuse_factor": 2}}},
            r"mixed \(QEinsum\): it has no reuse_factor to be set: its R",
        ),
    ],
)
def test_what_a_backend_cannot_do_is_refused_by_layer(
    model: keras.Model, backend: str, firmware: dict[str, Any], words: str
) -> None:
    found = open_backend(backend).supports(model, h.build_of("refused", backend=backend, **firmware))
    assert len(found) == 1
    with pytest.raises(ExportRefused, match=words):
        raise ExportRefused(backend, found)


def test_one_signed_bit_that_saturates_symmetrically_is_refused() -> None:
    x = keras.Input((3,), name="x")
    config = h.form("fixed<1,1,RND,SAT>")
    config.config["overflow_mode"] = "SAT_SYM"
    layer = QEinsumDense("bi,io->bo", (3,), iq_conf=config, kq_conf=h.form("fixed<8,4>", "weight"), name="sign")
    (found,) = open_backend("vitis").supports(keras.Model(x, layer(x)))
    assert "its iq has one signed bit and SAT_SYM, which is 0 in HGQ2 and -1 in C++" in str(found)


def test_a_glob_may_name_layers_that_lack_the_slot(model: keras.Model) -> None:
    firmware = {"layers": {"*": {"reuse_factor": 2}}}
    assert open_backend("vitis").supports(model, h.build_of("globs", **firmware)) == []


def test_alkaid_writes_the_formats_of_the_model(model: keras.Model, tmp_path: Path) -> None:
    project = open_backend("alkaid").write(model, h.build_of("rtl", backend="alkaid"), tmp_path / "rtl")
    said = json.loads((project.path / "precision.json").read_text())
    assert PrecisionTable.from_json(said["layers"]) == model_table(model)
    found = project.outputs(INPUTS)  # one signed bit and a rounded result among them
    for name, wanted in keras_outputs(model, INPUTS).items():
        np.testing.assert_array_equal(found[name], wanted)


def test_the_table_comes_back_from_hls4ml_words(model: keras.Model) -> None:
    more = {
        "accumulator": Setting(Fixed.parse("fixed<20,-3,RND_CONV,SAT_SYM>"), ""),
        "reuse_factor": Setting(4, ""),
        "strategy": Setting("latency", ""),
        "parallelisation_factor": Setting(1, ""),
    }
    table = model_table(model).joined(PrecisionTable((Row("first", "QEinsumDense", more),)))
    config = to_hls4ml(table)
    assert config["first_iq"] == {"Precision": {"result": "ap_fixed<6,4,RND,SAT>"}}
    assert config["first"]["Precision"]["accum"] == "ap_fixed<20,-3,RND_CONV,SAT_SYM>"
    assert config["weights"]["Precision"]["inv_table"] == "ap_ufixed<9,1,RND_CONV,SAT>"
    again = from_hls4ml(json.loads(json.dumps(config)), layer_types(model.layers))
    values = [
        {row.layer: {slot: s.value for slot, s in row.settings.items()} for row in t.rows} for t in (table, again)
    ]
    assert values[0] == values[1]
    assert to_hls4ml(again) == config


def test_hls4ml_itself_reads_the_words_so(model: keras.Model) -> None:
    from hls4ml.backends.fpga.fpga_backend import FPGABackend

    for row in model_table(model).rows:
        for setting in row.settings.values():
            form = setting.value
            assert isinstance(form, Fixed)
            read = FPGABackend.convert_precision_string(f"ap_{form}")
            assert (read.width, read.integer, read.signed) == (form.width, form.integer_bits + form.signed, form.signed)
            assert (str(read.rounding_mode), str(read.saturation_mode)) == (form.rounding, form.overflow)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"frst": {"ReuseFactor": 1}}, r"no layer is called 'frst'; did you mean 'first'"),
        ({"first": {"ReuseFaktor": 1}}, r"layer 'first': unknown key 'ReuseFaktor'; did you mean 'ReuseFactor'"),
        ({"first": {"Precision": {"acum": "fixed<8,3>"}}}, r"unknown precision 'acum'; did you mean 'accum'"),
        ({"first": {"Precision": {"accum": "float"}}}, r"layer 'first': a format is spelt .* Received: 'float'"),
    ],
)
def test_wrong_words_are_refused(model: keras.Model, config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_hls4ml(config, layer_types(model.layers))


def test_formats_of_hls4ml_configurations_are_read_as_hls4ml_means_them(model: keras.Model) -> None:
    formats = {"weight": "ap_fixed<16,6>", "bias": "auto", "accum": "ap_fixed<9,3,AP_RND,AP_SAT,0>"}
    config = {"first": {"Precision": formats, "Strategy": "Latency"}}
    said = from_hls4ml(config, layer_types(model.layers))["first"]
    assert str(said["weight"].value) == "fixed<16,6,TRN,WRAP>"
    assert str(said["accumulator"].value) == "fixed<9,3,RND,SAT>"
    assert said["strategy"].value == "latency"
    assert "bias" not in said
