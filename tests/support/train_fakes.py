"""A tiny model and data set for the tests of the training; as a script it trains them in a process of its own.

    python tests/support/train_fakes.py OUT [--die-at N] [--slow SECONDS] [--nan-at N] [--set KEY=VALUE]

The float model is a dense layer with dropout, the quantised one the same in HGQ2, so that seeds, bit widths and the
EBOPs controller all take part; the float phase runs without XLA, the quantised one with it. `--die-at N` sends SIGKILL
to the process itself at the N-th of the moments at which a file is about to take its place or a step is about to be
made.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qformers.builds.build import Build
from qformers.data.events import Events, FeatureSet

FEATURES = FeatureSet(("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, (-np.inf,) * 3, (np.inf,) * 3)
CLASSES = ("g", "q", "t")
PARTICLES = 2
SEEDS = {"train": 1, "val": 2, "test": 3}


def build(*overrides: str) -> Build:
    """A build of two epochs per phase, with dropout, an EBOPs target and fewer jets than a second takes."""
    tree: dict[str, Any] = {
        "spec": 1,
        "name": "tiny",
        "data": dict.fromkeys(("train", "val", "test"), ("none",))
        | {"dataset": "jetclass", "features": "abc", "num_particles": PARTICLES},
        "model": {},
        "quant": {},
        "train": {
            "float": {
                "epochs": 3,
                "batch_size": 64,
                "jit_compile": False,
                "optimiser": "ranger",
                "learning_rate": 0.1,
            },
            "qat": {"epochs": 3, "batch_size": 64, "ebops_target": 3000.0, "learning_rate": 0.02},
        },
    }
    for text in overrides:
        key, _, value = text.partition("=")
        *path, last = key.split(".")
        section = tree
        for step in path:
            section = section.setdefault(step, {})
        try:
            section[last] = json.loads(value)
        except ValueError:  # a text
            section[last] = value
    return Build.model_validate(tree)


class FakeSource:
    """Three overlapping Gaussian clouds."""

    class_names = CLASSES
    feature_set = FEATURES

    def __init__(self, jets: int = 400, seed: int = 0, nan_at: int | None = None) -> None:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, len(CLASSES), jets)
        centres = np.eye(len(CLASSES))[labels][:, None, :]
        features = (rng.normal(size=(jets, PARTICLES, 3)) + 2.0 * centres).astype(np.float32)
        if nan_at is not None:
            features[nan_at, 0, 0] = np.nan
        vectors, mask = np.zeros((jets, PARTICLES, 4), np.float32), np.ones((jets, PARTICLES), np.float32)
        self.events = Events(features, vectors, mask, labels, CLASSES, FEATURES)

    def __len__(self) -> int:
        return len(self.events)

    def load(self) -> Events:
        """All jets in order."""
        return self.events

    def stream(self, batch_size: int, seed: int, epoch: int, drop_last: bool) -> Iterator[Events]:
        """Batches in an order of (seed, epoch)."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        last = len(self) - batch_size + 1 if drop_last else len(self)
        for at in range(0, last, batch_size):
            yield self.events[order[at : at + batch_size]]


def tiny_model(vocabulary: str = "float32", classes: int = len(CLASSES), width: int = 8, dropout: float = 0.1) -> Any:
    """Flatten, a hidden layer, logits; float with dropout, or HGQ2."""
    import keras

    x = inputs = keras.Input((PARTICLES, len(FEATURES)), name="features")
    x = keras.layers.Reshape((PARTICLES * len(FEATURES),), name="flat")(x)
    if vocabulary == "float32":
        x = keras.layers.Dense(width, activation="relu", name="hidden")(x)
        x = keras.layers.Dropout(dropout, name="drop")(x)
        return keras.Model({"features": inputs}, keras.layers.Dense(classes, name="logits")(x), name="tiny")
    from hgq.layers import QDense

    x = QDense(8, activation="relu", name="hidden")(x)
    return keras.Model({"features": inputs}, QDense(len(CLASSES), name="logits")(x), name="tiny_quantised")


def host_inputs(model: Any, events: Events) -> dict[str, Any]:
    """The one input of the tiny model."""
    return {"features": events.features}


def calibrate(model: Any, inputs: dict[str, Any]) -> None:
    """HGQ2's calibration."""
    from hgq.utils.minmax_trace import TrainingFlagWrapper, _reset_minmax

    _reset_minmax(model)
    model(inputs, training=TrainingFlagWrapper("tracing"))


def float_to_quantised(start: Any, model: Any, inputs: dict[str, Any]) -> None:
    """Copy kernels and biases, then calibrate."""
    for name in ("hidden", "logits"):
        for part in ("kernel", "bias"):
            getattr(model.get_layer(name), f"_{part}" if hasattr(model.get_layer(name), f"_{part}") else part).assign(
                getattr(start.get_layer(name), part)
            )
    calibrate(model, inputs)


def install(put: Callable[[Any, str, Any], None] = setattr, nan_at: int | None = None) -> None:
    """Put the fakes in the place of data set and models; `put` is `setattr`, or a fixture's that undoes it."""
    from qformers.models import inputs
    from qformers.quant import fold as transfer
    from qformers.train import finish, phases

    def open_split(config: Any, split: str, reporter: Any = None) -> FakeSource:
        return FakeSource(seed=SEEDS[split], nan_at=nan_at if split == "train" else None)

    put(phases, "open_split", open_split)
    put(phases, "build_model", lambda build, features, names, vocabulary: tiny_model(vocabulary))
    put(inputs, "host_inputs", host_inputs)
    put(transfer, "calibrate", calibrate)
    put(transfer, "float_to_quantised", float_to_quantised)
    put(finish, "_plots", lambda *things: None)  # seconds each; tests/tasks/test_metrics.py draws them


def arm(die_at: int, slow_s: float) -> None:
    """Kill this process at the given moment; make every step slower."""
    from qformers.train.loop import Trainer

    moments = 0

    def moment() -> None:
        nonlocal moments
        moments += 1
        if moments == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    replace, step = Path.replace, Trainer._step

    def dying_replace(self: Path, target: Any) -> Path:
        moment()
        return replace(self, target)

    def dying_step(self: Trainer, batch: Any) -> None:
        moment()
        time.sleep(slow_s)
        step(self, batch)

    Path.replace, Trainer._step = dying_replace, dying_step  # type: ignore[method-assign]


def worker(out: Path, settings: Iterable[str], *arguments: str) -> tuple[int, str]:
    """Exit status and output of a training of the fakes in a process of its own.

    Args:
        out: run folder.
        settings: ``KEY=VALUE`` of the build.
        arguments: more of them, of the command line.
    """
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, str(out), *(word for text in settings for word in ("--set", text)), *arguments]
    done = subprocess.run(command, env=os.environ | paths, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    """Train the fakes; 0 when finished, 3 after a stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--nan-at", type=int)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    from qformers.errors import TrainingError
    from qformers.train.phases import train_build

    install(nan_at=options.nan_at)
    arm(options.die_at, options.slow)
    try:
        done = train_build(build(*options.overrides), options.out, ["float", "qat"], options.fresh)
    except TrainingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if len(done) == 2 else 3


if __name__ == "__main__":
    sys.exit(main())
