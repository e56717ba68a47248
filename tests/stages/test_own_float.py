"""Float Keras models of one's own: formats, training that follows, and the firmware on both backends."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.float_keras import made, seq

from hls import cli
from qformers.builds.build import load
from qformers.builds.models import load_model
from qformers.cli.status import _not_of_convolutions


def command(*words: object) -> int:
    return cli.main([*map(str, words)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(name: str) -> None:
    """The model, its events, and the classes that it gives them."""
    model, events = made(name)
    model.save("net.keras")
    np.savez("events.npz", **events)
    arrays = list(events.values())
    outputs = model.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0)
    if not isinstance(outputs, dict | list):
        np.save("labels.npy", outputs.argmax(axis=-1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "norm_read_twice", "pooling", "merges"])
@pytest.mark.parametrize("backend", ["alkaid", "vitis"])
def test_firmware_of_a_float_model_is_exact(
    folder: Path, name: str, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(name)
    assert command("quantise", "net.keras", "--calibrate", "events.npz") == 0
    assert command("export", "runs/net/build.yaml", "--backend", backend) == 0
    assert command("csim", "runs/net/build.yaml", "--backend", backend) == 0
    facts = json.loads(next(Path("runs/net").glob("csim*.json")).read_text())
    assert facts["jets"]["values_different"] == facts["adversarial"]["values_different"] == 0
    told = capsys.readouterr().out
    assert "Firmware against the float model, per layer (all values, " in told or backend == "alkaid"
    assert "jet" not in json.dumps(facts["adversarial"]["cases"])  # no mask says that it has any
    assert "beside float: mean |error|" in told


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "merges"])
def test_errors_of_layers_are_the_same_numbers_for_all_backends(folder: Path, name: str) -> None:
    save(name)
    assert command("quantise", "net.keras", "--calibrate", "events.npz") == 0
    found = []
    for backend in ("alkaid", "vitis"):
        assert command("export", "runs/net/build.yaml", "--backend", backend) == 0
        assert command("csim", "runs/net/build.yaml", "--backend", backend) == 0
        (path,) = (path for path in Path("runs/net").glob("csim*.json")
                   if json.loads(path.read_text())["backend"] == backend)  # fmt: skip
        rows = {row.pop("layer"): row for row in json.loads(path.read_text())["fidelity"]["layers"]}
        found.append({layer: {key: row[key] for key in row if key not in ("step", "format")}
                      for layer, row in rows.items()})  # fmt: skip
    assert len(found[0]) >= 2
    both = found[0].keys() & found[1].keys()
    assert len(both) >= 2
    assert {layer: found[0][layer] for layer in both} == {layer: found[1][layer] for layer in both}


def test_a_float_model_gets_formats_and_a_build_file_that_says_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save("mlp")
    words = ("--types", "Dense.weight=fixed<6,1,RND,SAT_SYM>", "--set", "quant.activation=fixed<9,4>", "--logits")
    assert command("quantise", "net.keras", "--calibrate", "events.npz", *words) == 0
    told = capsys.readouterr().out
    assert "ranges:    of 200 events of events.npz" in told
    assert "Quantised against float, on all 200 events" in told
    assert "renamed:   output is output_layer now" in told
    build: Any = load(Path("runs/net/build.yaml"))
    assert build.quant.layers["first"].weight.startswith("fixed<6,")
    assert build.quant.layers["first"].input.startswith("fixed<9,")
    assert build.model.layers["first"] == "QEinsumDense"
    assert build.data.test == (str(folder / "events.npz"),)
    record = json.loads(Path("runs/net/qat/errors.json").read_text())
    assert [row["layer"] for row in record["layers"]] == ["first", "second_gelu", "output_layer"]
    assert [row["float_layer"] for row in record["layers"]][1:] == ["second", "output_layer"]
    # the same file again writes the same run; another model may not have its folder
    assert command("quantise", "net.keras", "--calibrate", "events.npz", "--quiet") == 0
    seq(keras.layers.Dense(2), shape=(5,)).save("other.keras")
    assert command("quantise", "other.keras", "--calibrate", "events.npz", "--run", "runs/net") == 2


@pytest.mark.slow
def test_a_plain_fit_trains_it_further(folder: Path) -> None:
    """The three lines of the page."""
    save("mlp")
    assert command("quantise", "net.keras", "--calibrate", "events.npz") == 0
    model = load_model("runs/net/qat/model.keras")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    events, labels = next(iter(np.load("events.npz").values())), np.load("labels.npy")
    before = model.evaluate(events, labels, verbose=0)[0]
    model.fit(events, labels, epochs=3, verbose=0)
    assert model.evaluate(events, labels, verbose=0)[0] < before
    model.save("trained.keras")
    assert command("export", "trained.keras", "--backend", "alkaid", "--events", "events.npz") == 0
    assert command("csim", "runs/trained/build.yaml") == 0


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_bits_are_searched_by_a_metric(folder: Path, metric: str, capsys: pytest.CaptureFixture[str]) -> None:
    save("mlp")
    said = ("--labels", "labels.npy") if metric == "accuracy" else ("--metric", "mse")
    words = ("tune", "net.keras", "--calibrate", "events.npz", "--max-loss", 0.02, "--steps", 10, *said)
    assert command(*words) == 0
    told = capsys.readouterr().out
    assert "found: EBOPs" in told
    assert ("by the labels" in told) == (metric == "accuracy")  # which nobody gave for the other one
    found = json.loads(Path("runs/net_tuned/tune.json").read_text())["found"]
    assert found["of"] == ("accuracy" if metric == "accuracy" else "r2")
    assert found["expected_lost"] <= 0.02
    manifest = json.loads(Path("runs/net_tuned/qat/manifest.json").read_text())
    assert manifest["ebops"] == found["ebops"]  # the search counts what the model that was written costs
    assert command("export", "runs/net_tuned/build.yaml", "--backend", "alkaid") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("quantise", "net.keras"), "give a build file behind net.keras, or --calibrate DATA.npy"),
        (("quantise", "net.keras", "--calibrate"), "or --calibrate DATA.npy with events of a model"),
        (("quantise", "net.keras", "--calibrate", "none.npy"), "--calibrate none.npy: no such file; give events as"),
        (("quantise", "none.keras", "--calibrate", "events.npz"), "MODEL none.keras: no such file"),
        (("tune", "net.keras", "--max-loss", "0.1"), "give a build file behind net.keras, or --calibrate"),
        (("quantise", "net.keras", "build.yaml", "--logits"), "--logits goes with a model of your own"),
        (("quantise", "net.keras", "build.yaml", "--calibrate", "events.npz"), "--calibrate takes a file where"),
        (("quantise", "net.keras", "--quantile", "0.9", "--calibrate"), "Received: neither"),
    ],
)
def test_what_is_missing_is_named(folder: Path, words: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("net.keras", "events.npz", "build.yaml"):
        (folder / name).write_bytes(b"")
    assert command(*words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_keras_still_compiles_eager_convolutions_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, the filter of `qformers.cli.status` has nothing left to do."""
    from tensorflow.python.eager.polymorphic_function import polymorphic_function

    # TensorFlow warns twice in a process, which other tests may have heard already
    monkeypatch.setattr(polymorphic_function, "FREQUENT_TRACING_WARNING_MAX_WARNING_PER_DETECTOR", 10**6)
    records: list[logging.LogRecord] = []
    logger, handler = logging.getLogger("tensorflow"), logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    filters, logger.filters[:] = list(logger.filters), []
    logger.addHandler(handler)
    try:
        layer = keras.layers.Conv1D(4, 3, groups=2)
        for length in range(8, 40):
            layer(np.zeros((2, length, 4), np.float32))
    finally:
        logger.removeHandler(handler)
        logger.filters[:] = filters
    said = [record for record in records if "retracing" in record.getMessage()]
    assert said
    assert not any(_not_of_convolutions(record) for record in said)
