"""Models of one's own, exported without a build file, through the commands that follow."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from hgq.config import QuantizerConfigScope
from hgq.layers import QGRU, QConv1D, QDense, QMaxPool1D
from hgq.utils import trace_minmax

from hls import cli
from hls.compare.read.run import read_run
from hls.compare.table.columns import tabulate
from qformers.builds.build import load
from qformers.builds.models import build_model, fresh_model, load_model
from qformers.builds.own_events import own_events
from qformers.data.jets.standardise import RAW, feature_set
from qformers.errors import ConfigError, DataError
from qformers.interop.own_run import build_name, own_run

EVENTS = 300


def save(folder: Path) -> Path:
    """A model with names that no C++ can have, and events for it."""
    keras.utils.set_random_seed(1)
    with QuantizerConfigScope(place="all", overflow_mode="SAT", round_mode="RND"):
        given = keras.Input((6, 2), name="_M1")
        x = QMaxPool1D(2, name="output")(QConv1D(4, 3, padding="same", activation="relu", name="conv-1")(given))
        x = keras.layers.Dropout(0.1, name="dropout")(keras.layers.Flatten()(x))
        model = keras.Model(given, QDense(3, name="input")(x))
    events = np.random.default_rng(0).normal(0, 1, (EVENTS, 6, 2)).astype(np.float32)
    trace_minmax(model, events, verbose=False)
    model.save(folder / "my model.keras")
    np.savez(folder / "events.npz", _M1=events)
    return folder / "my model.keras"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save(tmp_path)


def command(*words: object) -> int:
    return cli.main([*map(str, words)])


def test_a_model_goes_through_the_flow_without_a_build_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("export", model, "--backend", "alkaid", "--events", "events.npz", "--clock-ns", 4) == 0
    told = capsys.readouterr().out
    for line in ("_M1 is M1 now", "conv-1 is conv_1 now", "output is output_layer now", "input is input_layer now"):
        assert f"renamed:   {line}" in told
    run = Path("runs/my_model")
    build: Any = load(run / "build.yaml")
    assert build.firmware.clock_ns == 4.0
    assert build.firmware.backend == "alkaid"
    assert build.model.inputs == {"M1": (6, 2)}
    assert list(build.model.layers.items())[1] == ("conv_1", "QConv1D")
    manifest = json.loads((run / "qat/manifest.json").read_text())
    assert manifest["renamed"]["conv-1"] == "conv_1"
    assert manifest["left_out"] == ["dropout"]
    facts = json.loads((run / "firmware/alkaid/metadata.json").read_text())
    after, before = (round(facts[f"lut_estimate{which}"]) for which in ("", "_before_ternary_adders"))
    assert after <= before
    assert f"{after:,} LUT ({before:,} before adders of three operands)" in told
    row = tabulate([read_run(run)]).cells[0]  # the estimate is there before anything is simulated
    assert (row["alkaid.lut"].value, row["alkaid.lut_unfused"].value) == (after, before)
    assert row["alkaid.latency_cycles"].value == facts["latency_cycles"]

    assert command("csim", run / "build.yaml") == 0
    assert (
        f"{EVENTS} events ({EVENTS} in {run.resolve().parents[1] / 'events.npz'}): firmware = quantised Keras: 0 of"
        in capsys.readouterr().out
    )
    assert command("rtl", run / "build.yaml", "--levels", "interpreter") == 0
    assert command("audit", run / "build.yaml") == 0
    assert f"formats on {EVENTS} events of {run.resolve().parents[1] / 'events.npz'}" in capsys.readouterr().out
    row = tabulate([read_run(run)]).cells[0]
    assert row["model"].value == f"{model}, 5 layers"
    assert row["inputs"].value == "M1 (6, 2)"
    assert row["particles"].missing == "given as a file"
    assert row["csim"].equal
    assert command("compare", run) == 0
    assert "qformers train" not in capsys.readouterr().out
    page = Path("runs/comparison/report.html").read_text()
    assert "2508.15468" not in page  # published results are of jets
    assert "Test split" not in page
    assert " jets" not in page


def test_without_events_numbers_are_drawn(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("export", model, "--backend", "alkaid", "--run", "runs/other") == 0
    assert command("rtl", "runs/other/build.yaml", "--levels", "interpreter") == 0
    assert "written: runs/other/rtl.json" in capsys.readouterr().out  # the folder of the build file, not of its name
    with refused(capsys, "its formats are looked at on events"):
        assert command("audit", "runs/other/build.yaml") == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda x: keras.layers.Dense(3)(x),
            "is a float model, without a quantiser: give it formats (qformers quantise",
        ),
        (lambda x: QDense(3, activation="softmax")(x), "leave it out there and put QSoftmax behind"),
    ],
)
def test_a_model_that_is_refused_leaves_nothing(
    make: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = keras.Input((4,))
    keras.Model(given, make(given)).save("net.keras")
    with refused(capsys, words):
        assert command("export", "net.keras", "--backend", "alkaid") == 2
    assert not (tmp_path / "runs").exists()


@contextmanager
def refused(capsys: pytest.CaptureFixture[str], words: str) -> Iterator[None]:
    """A block whose command says this on standard error."""
    capsys.readouterr()
    yield
    assert words in capsys.readouterr().err


def test_a_build_file_behind_the_model_gives_its_firmware(model: Path, tmp_path: Path) -> None:
    other = {"spec": 1, "name": "other", "data": {"dataset": "jetclass", "train": ["a"], "val": ["a"], "test": ["a"]}}
    other["data"] |= {"features": "kin", "num_particles": 4}  # type: ignore[operator]
    other |= {"model": {}, "firmware": {"backend": "alkaid", "clock_ns": 2.5}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    made = own_run(model, firmware=tmp_path / "other.yaml", overrides=["firmware.part=xcku115-flvb2104-2-i"])
    assert (made.build.firmware.clock_ns, made.build.firmware.backend) == (2.5, "alkaid")
    assert made.build.firmware.part == "xcku115-flvb2104-2-i"
    assert load_model(made.model).count_params() == load_model(model).count_params()


@pytest.mark.parametrize("stopped_at", ["save_model", "write_metrics", "write_manifest"])
def test_an_export_that_was_stopped_is_done_again_by_the_same_command(
    model: Path, stopped_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_run(model)
    first = (own.folder / "build.yaml").read_text()

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    for changed in (False, True):  # a new folder, and one whose model has another file since
        folder = Path("runs/again")
        with monkeypatch.context() as during:
            during.setattr(f"qformers.interop.own_run.{stopped_at}", stop)
            with pytest.raises(KeyboardInterrupt):
                own_run(model, folder)
        assert own_run(model, folder).model.is_file()
        assert (folder / "build.yaml").read_text() == first
        assert json.loads((folder / "qat/manifest.json").read_text())["source_sha256"]
        if not changed:
            keras.saving.load_model(model, compile=False).save(model)  # other bytes
    other = save(Path.cwd()).rename("other.keras")  # with the time of its saving in it
    with pytest.raises(ConfigError, match="holds another model"):
        own_run(other, folder)


def test_layers_inside_of_layers_make_a_quantised_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = keras.Input((4, 3))
    keras.Model(given, QGRU(2)(given)).save("gru_net.keras")
    assert [type(layer).__name__ for layer in own_run(Path("gru_net.keras")).adopted.model.layers] == [
        "InputLayer", "QGRU",
    ]  # fmt: skip


def test_mixed_precision_is_refused(tmp_path: Path) -> None:
    given = keras.Input((3,))
    keras.Model(given, QDense(2)(keras.layers.Rescaling(0.5, name="half", dtype="float16")(given))).save(
        tmp_path / "net.keras"
    )
    with pytest.raises(ConfigError, match=r"layer 'half' \(Rescaling\) computes in float16"):
        own_run(tmp_path / "net.keras", tmp_path / "run")


def test_what_does_not_go_together_is_refused(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own_run(model)
    cases: list[tuple[list[object], str]] = [
        (["export", "none.keras"], "none.keras: no such file"),
        (["export", "model.h5"], "a model is given as a .keras file"),
        (["export", model, "--model", model], "a model is given once"),
        (["export", "runs/my_model/build.yaml", "--events", "events.npz"], "--events goes with a model (.keras)"),
        (["export", "runs/my_model/build.yaml", "other.yaml"], "a second BUILD goes with a model (.keras)"),
        (["train", "runs/my_model/build.yaml"], "own says that the model was given as a file"),
    ]
    (tmp_path / "model.h5").write_bytes(b"no")
    for words, said in cases:
        with refused(capsys, said):
            assert command(*words) == 2
    keras.Model(given := keras.Input((4,)), QDense(2)(given)).save("second.keras")
    with pytest.raises(ConfigError, match=r"runs/my_model: holds another model \(.*my model.keras\); name another"):
        own_run(Path("second.keras"), run=Path("runs/my_model"))
    before = Path("runs/my_model/build.yaml").read_bytes()
    with refused(capsys, "none.npy: no such file; name a file of events"):
        assert command("export", model, "--backend", "alkaid", "--events", "none.npy") == 2
    assert Path("runs/my_model/build.yaml").read_bytes() == before
    with pytest.raises(DataError, match=r"data.dataset: own says that the model was given as a file"):
        fresh_model(load("runs/my_model/build.yaml"))
    with pytest.raises(ConfigError, match=r"the model was given as a file \(.*\); it is not made from its build file"):
        build_model(load("runs/my_model/build.yaml"), feature_set({"a": RAW}), ["a"])


@pytest.mark.parametrize(
    ("name", "arrays", "words"),
    [
        (
            "e.npz",
            {"x": np.ones((2, 6, 2)), "y": 1},
            "has no array 'M1', an input of the model; save it so. Received: x, y",
        ),
        ("e.npz", {"M1": np.ones((2, 5, 2))}, r"array 'M1' must be \(events, 6, 2\), .* Received: \(2, 5, 2\)"),
        ("e.npz", {"M1": np.ones((0, 6, 2))}, r"one event or more. Received: \(0, 6, 2\)"),
        ("e.npz", {"M1": np.full((3, 6, 2), np.nan)}, "must be finite, within float32. Received: .* in event 0"),
        ("e.npz", {"M1": np.full((3, 6, 2), "a")}, "must hold an array of numbers. Received: <U1"),
        ("e.npz", None, "no such file; name a file of events, one of"),
        ("e.txt", b"1 2", r"events come as one of .npy, .npz, .h5, .hdf5. Received: .txt"),
        ("e.npz", b"PK damaged", "cannot be read"),
        ("e.h5", b"damaged", "cannot be read"),
    ],
)
def test_events_that_are_none(model: Path, name: str, arrays: Any, words: str, tmp_path: Path) -> None:
    if isinstance(arrays, bytes):
        (tmp_path / name).write_bytes(arrays)
    elif arrays is not None:
        np.savez(tmp_path / name, **arrays)
    with pytest.raises(DataError, match=words):
        own_run(model, events=Path(name))
    assert not (tmp_path / "runs").exists()


def test_members_that_are_no_arrays(model: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as file:
        file.writestr("M1.npy", b"hello")
    with pytest.raises(DataError, match=r"array 'M1' must hold an array of numbers\. Received: bytes"):
        own_run(model, events=Path("e.npz"))


@pytest.mark.parametrize("save_as", [np.save, np.savez])
def test_one_array_without_a_name_is_that_of_the_only_input(save_as: Any, model: Path, tmp_path: Path) -> None:
    name = "e.npy" if save_as is np.save else "e.npz"
    save_as(tmp_path / name, np.ones((2, 6, 2)))
    made = own_run(model, events=Path(name))
    found = own_events(made.build, load_model(made.model))
    assert found is not None
    assert found["M1"].shape == (2, 6, 2)
    assert made.events is not None  # as they were read, so that nobody has to read the file again
    np.testing.assert_array_equal(made.events["M1"], found["M1"])


@pytest.mark.parametrize(
    ("stem", "name"), [("My Net", "my_net"), ("3x", "model_3x"), ("class", "class_model"), ("é", "model_model")]
)
def test_names_of_builds(stem: str, name: str) -> None:
    assert build_name(stem) == name
    assert build_name("net", ["net"]) == "net_model"


@pytest.mark.slow
def test_run_goes_from_export_to_comparison(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("export", model, "--backend", "alkaid", "--events", "events.npz") == 0
    build = Path("runs/my_model/build.yaml")
    assert command("run", build, "--levels", "interpreter", "--no-synth") == 0
    told = capsys.readouterr().out
    assert "== train" not in told
    assert "== compare: done" in told
    with refused(capsys, "describes a model that was given as a file: it is not trained here"):
        assert command("run", build, "--to", "train") == 2
