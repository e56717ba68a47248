"""The loop and the end of a phase inside this process, where they can be reached into."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console
from support import train_fakes

from qformers import tasks
from qformers.errors import DamagedError, DivergedError, TrainingError
from qformers.records import write_record
from qformers.train import evaluate, feed, finish, loop, phases
from qformers.train.beta import ebops, has_ebops, set_beta
from qformers.train.progress import epoch_line, short


def trainer(folder: Path, *overrides: str) -> loop.Trainer:
    """A trainer of the tiny float model, not yet run."""
    build = train_fakes.build(*overrides)
    phases.deterministic(1, False)
    feeds = [
        feed.Feed(train_fakes.FakeSource(200, seed), lambda events: train_fakes.host_inputs(None, events), 24)
        for seed in (1, 2)
    ]
    phase = loop.Phase(
        "float", build.train.float, tasks.JetTagging(train_fakes.CLASSES), 1, folder, phases.settings_of(build, "float")
    )
    return loop.Trainer(phase, train_fakes.tiny_model(), *feeds)


def run(made: loop.Trainer) -> None:
    """Train without a bar and without listening for signals."""
    display = loop.Display("float", made.phase.config.epochs, made.steps, 0, made.phase.task, Console(quiet=True))
    made.run(loop.StopRequest(made.phase.folder), display)


def test_a_loss_that_runs_away_names_its_settings_and_saves_the_batches(tmp_path: Path):
    made = trainer(tmp_path)
    run_step = made.model.train_on_batch

    def explode(*things: object, **named: object) -> dict[str, float]:
        logs = run_step(*things, **named)
        return {**logs, "loss": float("inf")} if made.state.step == 1 else logs

    made.model.train_on_batch = explode
    words = r"Received: inf at epoch 1, batch 2\. .*its inputs are finite: lower train.float.learning_rate or set"
    with pytest.raises(DivergedError, match=words):
        run(made)
    with np.load(tmp_path / "diverged_batch.npz") as saved:
        assert set(saved.files) == {"features", "labels", "previous_features", "previous_labels"}


def test_broken_weights_do_not_get_into_a_checkpoint(tmp_path: Path):
    made = trainer(tmp_path)
    step = made._step

    def breaking(batch: feed.Batch) -> None:
        step(batch)
        kernel = made.model.get_layer("hidden").kernel
        kernel.assign(np.full(kernel.shape, np.nan, np.float32))

    made._step = breaking  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match=r"must be finite"):
        run(made)
    assert not list((tmp_path / "checkpoints").glob("epoch_0001*"))


def test_jets_per_epoch_cuts_the_epoch(tmp_path: Path):
    made = trainer(tmp_path, "train.float.jets_per_epoch=100")
    assert made.steps == 1
    run(made)
    assert [row["epoch"] for row in made.state.history] == [1, 2, 3]
    assert int(made.optimiser.iterations) == 3


def test_outputs_of_a_split_do_not_depend_on_the_batch_size():
    model, jets = train_fakes.tiny_model(), train_fakes.FakeSource(100)
    model.compile(jit_compile=False)
    source = feed.Feed(jets, lambda events: train_fakes.host_inputs(None, events), 24)
    logits, labels = evaluate.outputs_of(model, source, 64, tasks.JetTagging(train_fakes.CLASSES))
    np.testing.assert_array_equal(labels, jets.events.labels)
    expected = keras.ops.convert_to_numpy(model({"features": jets.events.features}, training=False))
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    reference = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    assert tasks.JetTagging(train_fakes.CLASSES).validate(logits, labels)[0] == pytest.approx(
        float(reference), rel=1e-5
    )


def test_outputs_that_are_not_finite_are_refused():
    model = train_fakes.tiny_model()
    bias = model.get_layer("logits").bias
    bias.assign(np.full(bias.shape, np.inf, np.float32))
    model.compile(jit_compile=False)
    source = feed.Feed(train_fakes.FakeSource(10), lambda events: train_fakes.host_inputs(None, events), 24)
    with pytest.raises(DivergedError, match=r"outputs of model 'tiny' must be finite: .* for 10 of 10 jets"):
        evaluate.outputs_of(model, source, 10, tasks.JetTagging(train_fakes.CLASSES))


def test_a_file_that_gives_other_outputs_is_refused(tmp_path: Path):
    model, path = train_fakes.tiny_model(), tmp_path / "model.keras"
    inputs = {"features": train_fakes.FakeSource(10).events.features}
    model.save(path)
    assert evaluate.reload_equal(path, model, inputs).name == "tiny"
    bias = model.get_layer("logits").bias
    bias.assign(np.array([0.0, 1e-6, 0.0], np.float32))
    with pytest.raises(TrainingError, match=r"bit for bit: .* Received: \d+ of 30 outputs differ"):
        evaluate.reload_equal(path, model, inputs)


def test_ebops_and_their_price_are_read_and_set_in_every_layer():
    model = train_fakes.tiny_model("hgq")
    assert has_ebops(model)
    train_fakes.calibrate(model, {"features": train_fakes.FakeSource(10).events.features})
    assert ebops(model) == sum(int(layer.ebops) for layer in model.layers[2:])
    assert ebops(model) > 0
    set_beta(model, 0.5)
    assert [float(layer._beta) for layer in model.layers[2:]] == [0.5, 0.5]
    assert not has_ebops(train_fakes.tiny_model())
    assert ebops(train_fakes.tiny_model()) == 0


def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path):
    assert finish.Finished.read(tmp_path) is None
    path = tmp_path / "manifest.json"
    write_record(path, {"stage": f"train.{tmp_path.name}", "settings": {}})
    with pytest.raises(TrainingError, match=r"is not a manifest of this version"):
        finish.Finished.read(tmp_path)
    write_record(path, {"stage": "train.other"})
    with pytest.raises(DamagedError, match=r"manifest.json: is of another folder, of stage 'train.other'"):
        finish.Finished.read(tmp_path)
    path.write_text("{}")
    with pytest.raises(DamagedError, match=r"manifest.json: has no seal: .* start over with --fresh"):
        finish.Finished.read(tmp_path)


def test_epoch_line_is_one_line_with_all_numbers():
    row = {"epoch": 3, "loss": 1.25, "accuracy": 0.5, "val_accuracy": 0.4, "ebops": 60123, "beta": 1e-6}
    line = epoch_line(
        "qat", 10, {**row, "jets_per_s": 1500.0, "input_bound": 0.01}, tasks.JetTagging(train_fakes.CLASSES)
    )
    assert line.startswith(
        "qat  3/10  loss 1.2500  accuracy 0.5000  val 0.4000  EBOPs 60.1k  beta 1.0e-06  1500 jets/s"
    )
    of_tokens = tasks.TASKS["jet_tagging"](
        train_fakes.build().data.model_copy(update={"dataset": "listops"}), ("0", "1")
    )
    assert "1500 sequences/s" in epoch_line("qat", 10, {**row, "jets_per_s": 1500.0, "input_bound": 0.01}, of_tokens)


@pytest.mark.parametrize(("number", "text"), [(950, "950"), (9999, "9999"), (35100, "35.1k"), (2142166, "2.14M")])
def test_short_counts(number: float, text: str):
    assert short(number) == text
