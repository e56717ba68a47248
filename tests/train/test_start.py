"""Fine-tuning: what is taken from a model file and what is refused, new and frozen layers, exact to resume."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from rich.console import Console
from support import train_fakes

from qformers.builds.models import load_model
from qformers.builds.saved import save_model
from qformers.config.sections import PhaseConfig, TrainConfig
from qformers.errors import CheckpointError, ConfigError
from qformers.train import optimisers, phases, start

KILLED = -signal.SIGKILL
EPOCHS = ("train.float.epochs=2", "train.qat.epochs=1")


def config(**keys: Any) -> PhaseConfig:
    """A float phase that starts from a file."""
    return PhaseConfig.model_validate({"start": "model.keras", **keys})


def values(model: Any, layer: str) -> list[np.ndarray]:
    """The weights of a layer."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.get_layer(layer).weights]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model file for five classes, with weights that nothing else has."""
    keras.utils.set_random_seed(99)
    model = train_fakes.tiny_model(classes=5)
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(len(variable.shape)).normal(size=variable.shape).astype(np.float32))
    save_model(model, tmp_path / "trained.keras")
    return tmp_path / "trained.keras"


def test_all_but_the_head_is_taken_and_what_is_not_is_said(trained: Path) -> None:
    model, source = train_fakes.tiny_model(), load_model(trained)
    random = values(model, "logits")
    told = start.take(model, trained, config(new_layers_rate=50.0, frozen_layers=["hid*"]))
    for found, expected in zip(values(model, "hidden"), values(source, "hidden"), strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(values(model, "logits"), random, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert str(told) == (
        f"starts from {trained}: takes the weights of 1 layers; not taken: logits; made anew: logits, at 50 times the "
        "learning rate; frozen: hidden"
    )
    assert (told.taken, told.new, told.left) == (("hidden",), ("logits",), ("logits",))


def test_the_head_is_taken_too_where_nothing_is_to_be_new(tmp_path: Path) -> None:
    source, model = train_fakes.tiny_model(), train_fakes.tiny_model()
    save_model(source, tmp_path / "same.keras")
    told = start.take(model, tmp_path / "same.keras", config(new_layers=[]))
    np.testing.assert_array_equal(values(model, "logits")[0], values(source, "logits")[0])
    assert str(told) == f"starts from {tmp_path / 'same.keras'}: takes the weights of 2 layers"


def test_a_run_folder_stands_for_its_float_model(tmp_path: Path) -> None:
    assert start.start_file(config(start=str(tmp_path))) == tmp_path / "float" / "model.keras"
    assert start.start_file(config(start="a.keras")) == Path("a.keras")
    assert start.start_file(PhaseConfig()) is None
    assert start.new_variables(train_fakes.tiny_model(), PhaseConfig()) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"new_layers": []},
            r"layer 'logits' has kernel \(8, 5\) there and kernel \(8, 3\) in this build; make the sect",
        ),
        (
            {"new_layers": ["logit"]},
            r"train.float.new_layers: 'logit' is no layer with weights; did you mean 'logits'\?",
        ),
        (
            {"new_layers": ["drop"]},
            r"train.float.new_layers: 'drop' is no layer with weights; choose one of hidden, log",
        ),
        ({"frozen_layers": ["hiden"]}, r"frozen_layers: 'hiden' is no layer with weights; did you mean 'hidden'\?"),
    ],
)
def test_names_and_shapes_that_do_not_fit_are_refused(keys: dict[str, Any], words: str, trained: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        start.take(train_fakes.tiny_model(), trained, config(**keys))


def test_a_layer_that_the_file_lacks_or_has_in_another_shape_is_named(trained: Path) -> None:
    inputs = keras.Input((train_fakes.PARTICLES, 3), name="features")
    x = keras.layers.Dense(8, name="hiddden")(keras.layers.Flatten()(inputs))
    other = keras.Model({"features": inputs}, keras.layers.Dense(3, name="logits")(x))
    with pytest.raises(
        ConfigError,
        match=r"has no layer 'hiddden'; did you mean 'hidden'\?; make the sections model agree, or name it in train.fl",
    ):
        start.take(other, trained, config())
    with pytest.raises(
        ConfigError, match=r"layer 'hidden' has kernel \(6, 8\) there and kernel \(6, 16\) in this build"
    ):
        start.take(train_fakes.tiny_model(width=16), trained, config())
    start.take(other, trained, config(new_layers=["hiddden", "logits"]))


def test_weights_that_are_no_numbers_are_refused(trained: Path, tmp_path: Path) -> None:
    source = load_model(trained)
    kernel = source.get_layer("hidden").weights[0]
    kernel.assign(np.full(kernel.shape, np.nan, np.float32))
    save_model(source, tmp_path / "lost.keras")
    with pytest.raises(ConfigError, match=r"lost\.keras: layer 'hidden' has NaN or infinity in 'kernel'; name a model"):
        start.take(train_fakes.tiny_model(), tmp_path / "lost.keras", config())


def test_other_inputs_are_refused(trained: Path) -> None:
    inputs = keras.Input((train_fakes.PARTICLES, 4), name="features")
    other = keras.Model({"features": inputs}, keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(inputs)))
    with pytest.raises(
        ConfigError, match=r"takes 3 numbers per particle as 'features', and this build gives 4; choose data.features"
    ):
        start.take(other, trained, config())
    pairs = keras.Input((2, 2, 4), name="pairs")
    more = keras.Model({"pairs": pairs}, keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(pairs)))
    with pytest.raises(
        ConfigError, match=r"was made without the input 'pairs', which the model of this build takes.*inputs features$"
    ):
        start.take(more, trained, config())


def test_files_that_are_no_float_model_are_refused(tmp_path: Path) -> None:
    model = train_fakes.tiny_model()
    (tmp_path / "text.keras").write_text("weights")
    save_model(train_fakes.tiny_model("hgq"), tmp_path / "quantised.keras")
    x = keras.Input((3,), name="features")
    mark = str(tmp_path / "mark")
    lured = keras.layers.Lambda(lambda tensor: (open(mark, "w").close(), tensor)[1])  # noqa: PTH123
    keras.Model(x, lured(x)).save(tmp_path / "hostile.keras")
    Path(mark).unlink()
    for name, words in (
        ("missing.keras", "no such file"),
        ("text.keras", "is not a model file that can be read"),
        ("hostile.keras", "is not a model file that can be read: .*lambda"),
        ("quantised.keras", "is a quantised model; name a float one, model.keras of the folder float of a run"),
    ):
        with pytest.raises(ConfigError, match=rf"^train.float.start: .*{name}: {words}"):
            start.take(model, tmp_path / name, config())
    for name in ("missing.keras", "text.keras"):
        with pytest.raises(ConfigError, match=rf"^train.float.start: .*{name}: "):
            start.fingerprint(tmp_path / name)
    assert not Path(mark).exists()


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            {"float": {"frozen_layers": ["embed*"]}},
            "frozen_layers goes with start, a trained model. Received: frozen_lay",
        ),
        ({"float": {"new_layers": []}}, "new_layers goes with start, a trained model. Received: new_layers="),
        ({"float": {"new_layers_rate": 50.0}}, "new_layers_rate goes with start, .* Received: new_layers_rate=50.0"),
        (
            {"qat": {"start": "a.keras"}},
            "qat.start: the quantised phase starts from the float model of its run; say tr",
        ),
    ],
)
def test_keys_without_sense_are_refused(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig.model_validate(tree)


def test_a_build_that_does_not_fine_tune_says_nothing_of_it() -> None:
    dumped = PhaseConfig().model_dump()
    assert not {"start", "new_layers", "new_layers_rate", "frozen_layers", "micro_batch"} & set(dumped)
    assert {"start", "new_layers", "frozen_layers"} <= set(config(new_layers=[], frozen_layers=["a"]).model_dump())


def test_frozen_layers_are_not_trained_and_their_batch_norms_keep_their_statistics() -> None:
    x = inputs = keras.Input((6,), name="features")
    x = keras.layers.Dense(8, name="hidden")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
    tuned = config(frozen_layers=["hidden", "norm"])
    assert start.freeze(model, tuned) == ["hidden", "norm"]
    assert [variable.path for variable in model.trainable_variables] == ["logits/kernel", "logits/bias"]
    before = [values(model, name) for name in ("hidden", "norm", "logits")]
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    rng = np.random.default_rng(1)
    model.train_on_batch(rng.normal(size=(32, 6)) + 3.0, np.eye(3)[rng.integers(0, 3, 32)])
    after = [values(model, name) for name in ("hidden", "norm", "logits")]
    same = [
        all(np.array_equal(a, b) for a, b in zip(old, new, strict=True)) for old, new in zip(before, after, strict=True)
    ]
    assert same == [True, True, False]
    start.thaw(model, tuned)
    assert all(layer.trainable for layer in model.layers)
    assert len(model.trainable_variables) == 6


def test_what_would_stay_random_or_leaves_nothing_is_no_frozen_layer() -> None:
    with pytest.raises(
        ConfigError, match=r"frozen_layers: 'logits' is made anew \(train.float.new_layers\), so that it"
    ):
        start.freeze(train_fakes.tiny_model(), config(frozen_layers=["*"]))
    with pytest.raises(
        ConfigError, match=r"frozen_layers: nothing is left to train\. Received: frozen_layers=\['\*'\]"
    ):
        start.freeze(train_fakes.tiny_model(), config(frozen_layers=["*"], new_layers=[]))


@pytest.mark.parametrize("name", ["adam", "adamw", "ranger"])
def test_new_layers_go_and_decay_at_their_own_rate(name: str) -> None:
    """As the published recipe: a parameter group with 50 times the rate, its decay included."""
    phase = config(
        epochs=1, optimiser=name, learning_rate=1e-4, schedule="constant", weight_decay=0.5, new_layers_rate=50.0
    )
    body = keras.Variable(np.full((2, 2), 3.0, np.float32), name="kernel")
    head = keras.Variable(np.full((2, 2), 3.0, np.float32), name="kernel")
    head._path = "head/kernel"
    optimiser = optimisers.make_optimiser(phase, [body, head], 1, [head])
    optimiser.apply([keras.ops.zeros((2, 2)), keras.ops.zeros((2, 2))])
    lost = [3.0 - float(keras.ops.convert_to_numpy(variable)[0, 0]) for variable in (body, head)]
    assert lost == pytest.approx([3.0 * 1e-4 * 0.5, 3.0 * 50e-4 * 0.5], rel=2e-2)
    plain = optimisers.make_optimiser(
        config(optimiser=name, learning_rate=1e-4, new_layers_rate=50.0), [body, head], 9, [head]
    )
    before = [float(keras.ops.convert_to_numpy(variable)[0, 0]) for variable in (body, head)]
    plain.apply([keras.ops.ones((2, 2)), keras.ops.ones((2, 2))])
    moved = [b - float(keras.ops.convert_to_numpy(v)[0, 0]) for b, v in zip(before, (body, head), strict=True)]
    assert moved[1] / moved[0] == pytest.approx(50.0, rel=1e-2)


def run(out: Path, *arguments: str) -> tuple[int, str]:
    """`train_fakes.worker`, for a few epochs."""
    return train_fakes.worker(out, EPOCHS, *arguments)


def end_of(out: Path) -> tuple[str, dict[str, str]]:
    """SHA-256 of all variables at the end of the float phase; the settings that it recorded."""
    record = json.loads((out / "float" / "checkpoints" / "latest.json").read_text())
    return record["sha256"], record["settings"]


@pytest.mark.slow
def test_a_fine_tuning_that_is_killed_goes_on_without_the_file(trained: Path, tmp_path: Path) -> None:
    tune = (
        f"train.float.start={trained}", 'train.float.frozen_layers=["hidden"]', "train.float.new_layers_rate=5.0",
        "train.float.micro_batch=16",
    )  # fmt: skip
    options = [word for text in tune for word in ("--set", text)]
    status, output = run(tmp_path / "whole", *options)
    assert status == 0, output
    assert (
        f"float: starts from {trained}: takes the weights of 1 layers; not taken: logits; made anew: logits" in output
    )
    assert "float: a step sums the gradients of 4 micro-batches of 16" in output
    status, output = run(tmp_path / "run", "--die-at", "16", *options)
    assert status == KILLED, output
    away = trained.rename(tmp_path / "away.keras")
    status, output = run(tmp_path / "run", *options)
    assert status == 0, output
    assert "float: goes on after epoch 1" in output
    assert "starts from" not in output
    assert end_of(tmp_path / "run") == end_of(tmp_path / "whole")
    finished = load_model(tmp_path / "run" / "float" / "model.keras")
    for found, expected in zip(values(finished, "hidden"), values(load_model(away), "hidden"), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert all(layer.trainable for layer in finished.layers)


@pytest.mark.slow
def test_another_start_than_that_of_the_training_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, other = tmp_path / "run", tmp_path / "other.keras"
    status, output = run(out, "--die-at", "16", "--set", f"train.float.start={trained}")
    assert status == KILLED, output
    save_model(train_fakes.tiny_model(classes=4), other)
    good = tmp_path / "good.keras"
    shutil.copy(trained, good)
    other.replace(trained)
    train_fakes.install(monkeypatch.setattr)
    build = train_fakes.build(*EPOCHS, f"train.float.start={trained}")
    with pytest.raises(
        CheckpointError,
        match=r"train.float.start: .*trained.keras holds another model than the one that the training in .*run/float ",
    ):
        phases.train_build(build, out, ["float"])
    good.replace(trained)
    assert len(phases.train_build(build, out, ["float"], console=Console(quiet=True))) == 1
    trained.rename(good)
    assert len(phases.train_build(build, out, ["float"], console=Console(quiet=True))) == 1  # finished: needs no file
    save_model(train_fakes.tiny_model(classes=4), trained)
    with pytest.raises(
        CheckpointError, match=r"(?s)finished training of another build.*trained.keras holds another mo"
    ):
        phases.train_build(build, out, ["float"])


def test_a_start_that_is_not_there_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_fakes.install(monkeypatch.setattr)
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"train.float.start: .*gone.keras: no such file"):
        phases.train_build(train_fakes.build(f"train.float.start={tmp_path / 'gone.keras'}"), out, ["float", "qat"])
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_a_fresh_start_that_is_refused_costs_no_trained_model(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_fakes.install(monkeypatch.setattr)
    out = tmp_path / "run"
    phases.train_build(train_fakes.build("train.float.epochs=1"), out, ["float"])
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    wrong = {
        f"train.float.start={out}": r"train.float.start: .*model.keras: no such file",  # what it would throw away
        f'train.float.start={trained}|train.float.frozen_layers=["hiden"]': r"frozen_layers.*hiden",
    }
    for words, said in wrong.items():
        with pytest.raises(ConfigError, match=said):
            phases.train_build(train_fakes.build("train.float.epochs=1", *words.split("|")), out, ["float"], fresh=True)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    phases.train_build(train_fakes.build("train.float.epochs=2"), out, ["float"], fresh=True)
    assert len((out / "float" / "history.csv").read_text().splitlines()) == 3
    assert not [path.name for path in out.iterdir() if path.name.endswith(".before")]


def test_what_a_kill_left_aside_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_fakes.install(monkeypatch.setattr)
    out, build = tmp_path / "run", train_fakes.build("train.float.epochs=1")
    phases.train_build(build, out, ["float"])
    before = (out / "float" / "model.keras").read_bytes()
    (out / "float").rename(out / ".float.before")  # as --fresh leaves it until the training begins
    (done,) = phases.train_build(build, out, ["float"])
    assert (out / "float" / "model.keras").read_bytes() == before
    assert done.folder == out / "float"
