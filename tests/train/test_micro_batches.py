"""Micro-batches: the step of the whole batch, made of smaller ones; what is measured counts once; exact to resume."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from rich.console import Console
from support import train_fakes
from support.paths import ROOT

from qformers import tasks
from qformers.config.sections import PhaseConfig
from qformers.quant.prune.callback import Pruning
from qformers.train import beta, feed, loop, phases

KILLED = -signal.SIGKILL


def trained(
    folder: Path, vocabulary: str, micro_batch: int | None, **keys: Any
) -> tuple[loop.Trainer, list[np.ndarray]]:
    """A trainer behind five steps of batch 64, and its trainable weights."""
    phases.deterministic(1, keys.get("jit_compile", True))
    model = train_fakes.tiny_model(vocabulary, dropout=0.0)
    source = train_fakes.FakeSource(400, 1)
    feeds = [feed.Feed(source, lambda events: train_fakes.host_inputs(None, events), 24) for _ in range(2)]
    if vocabulary == "hgq":
        train_fakes.calibrate(model, {"features": source.events.features})
    config = PhaseConfig.model_validate({"epochs": 1, "batch_size": 64, "micro_batch": micro_batch, **keys})
    pruning = None if config.prune is None else Pruning(config.prune, {"features": source.events.features})
    task = tasks.JetTagging(train_fakes.CLASSES)
    trainer = loop.Trainer(loop.Phase("float", config, task, 1, folder, {}, pruning=pruning), model, *feeds)
    if vocabulary == "hgq":
        beta.set_beta(model, 1e-5)
    batches = trainer.train.epoch(64, 1, 0)
    for _ in range(5):
        trainer._step(next(batches))
    return trainer, [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.trainable_variables]


def compare(tmp_path: Path, vocabulary: str, **keys: Any) -> None:
    """Weights, loss and monitors of a training in micro-batches of 16 are those of one in whole batches."""
    whole, weights = trained(tmp_path / "whole", vocabulary, None, **keys)
    parts, same = trained(tmp_path / "parts", vocabulary, 16, **keys)
    assert whole.phase.config.pieces == 1
    assert parts.phase.config.pieces == 4
    for one, other in zip(weights, same, strict=True):
        np.testing.assert_allclose(one, other, rtol=5e-6, atol=2e-6)
    start = train_fakes.tiny_model(vocabulary, dropout=0.0).trainable_variables
    assert max(np.abs(one - np.asarray(other)).max() for one, other in zip(weights, start, strict=True)) > 1e-3
    for name, value in whole.state.sums.items():
        assert parts.state.sums[name] == pytest.approx(value, rel=1e-5), name
    assert int(keras.ops.convert_to_numpy(parts.optimiser.iterations)) == 5
    sums = [variable for variable in parts.optimiser.variables if "gradient_accumulator" in variable.path]
    assert len(sums) == len(weights)
    assert not any(np.asarray(keras.ops.convert_to_numpy(variable)).any() for variable in sums), "between two steps"


@pytest.mark.parametrize(
    ("name", "jit_compile"), [("adam", False), ("adamw", True), ("ranger", False), ("ranger", True)]
)
def test_the_step_is_that_of_the_whole_batch(name: str, jit_compile: bool, tmp_path: Path) -> None:
    settings = {"optimiser": name, "learning_rate": 1e-2, "weight_decay": 0.1, "clip_norm": 0.5}
    compare(tmp_path, "float32", jit_compile=jit_compile, **settings)


def test_ebops_count_once_in_a_step(tmp_path: Path) -> None:
    """Their price is part of the loss, 1e-5 nats each; the first steps of Ranger are linear in its gradient."""
    compare(tmp_path, "hgq", optimiser="ranger", learning_rate=5e-2, width_travel=1.0)


def test_masks_of_pruned_weights_move_as_with_whole_batches(tmp_path: Path) -> None:
    prune = {"sparsity": 0.5, "start": 0.1, "end": 0.9, "temperature": 1e-2}
    compare(tmp_path, "float32", learning_rate=1e-2, prune=prune)


@pytest.mark.slow
def test_the_step_is_that_of_the_whole_batch_under_jax() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", __file__]
    command += ["-k", "the_step_is_that or ebops or masks"]
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "6 passed" in done.stdout


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"micro_batch": 100}, "micro_batch must divide batch_size=512. Received: micro_batch=100"),
        ({"micro_batch": 0}, "greater than 0"),
        (
            {"micro_batch": 64, "prune": {"sparsity": 0.5, "method": "mdmm"}},
            "prune.method: mdmm moves its price with ev",
        ),
    ],
)
def test_sizes_that_do_not_divide_a_step_are_refused(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PhaseConfig.model_validate(tree)


def test_a_micro_batch_of_a_batch_or_more_is_the_batch() -> None:
    for size in (None, 512, 4096):
        config = PhaseConfig(micro_batch=size)
        assert (config.at_once, config.pieces) == (512, 1)


def test_it_is_said_which_norms_see_less_than_a_batch(tmp_path: Path) -> None:
    x = keras.Input((train_fakes.PARTICLES, 3), name="features")
    y = keras.layers.BatchNormalization(name="input_norm")(x)
    model = keras.Model({"features": x}, keras.layers.Dense(3)(keras.layers.Flatten()(y)))
    feeds = [
        feed.Feed(train_fakes.FakeSource(400, 1), lambda events: train_fakes.host_inputs(None, events), 24)
        for _ in range(2)
    ]
    config = PhaseConfig(batch_size=64, micro_batch=16)
    phase = loop.Phase("float", config, tasks.JetTagging(train_fakes.CLASSES), 1, tmp_path, {})
    console = Console(file=io.StringIO(), width=300)
    phases._tell_pieces(loop.Trainer(phase, model, *feeds), console)
    assert console.file.getvalue() == (  # type: ignore[attr-defined]
        "float: a step sums the gradients of 4 micro-batches of 16, whose statistics 1 batch norms take (input_norm) "
        "instead of the whole batch's\n"
    )


def run(out: Path, *arguments: str) -> tuple[int, str]:
    """`train_fakes.worker`, in micro-batches."""
    settings = ("train.float.micro_batch=16", "train.qat.micro_batch=32", "train.float.epochs=2", "train.qat.epochs=2")
    return train_fakes.worker(out, settings, *arguments)


@pytest.mark.slow  # without micro-batches: test_train_run.py, in every run
def test_a_killed_training_in_micro_batches_ends_with_the_same_weights(tmp_path: Path) -> None:
    status, output = run(tmp_path / "whole")
    assert status == 0, output
    for moment in ("16", "40"):
        status, output = run(tmp_path / "killed", "--die-at", moment)
        assert status == KILLED, output
    status, output = run(tmp_path / "killed")
    assert status == 0, output
    for phase in ("float", "qat"):
        ends = [
            json.loads((tmp_path / name / phase / "checkpoints" / "latest.json").read_text())
            for name in ("whole", "killed")
        ]
        assert ends[0]["sha256"] == ends[1]["sha256"]
        assert ends[0]["settings"]["train"][phase]["micro_batch"] == {"float": 16, "qat": 32}[phase]
