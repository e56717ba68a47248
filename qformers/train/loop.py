"""The one training loop, for float and quantised models alike.

It is a state machine over (epoch, step): all that it depends on is in the variables and in `LoopState`, and both are
in every checkpoint. A stop request writes a checkpoint in the middle of the epoch; a killed process goes back to the
last epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from qformers.config.sections import PhaseConfig
from qformers.errors import CheckpointError, DivergedError
from qformers.files import replacing
from qformers.quant.prune.callback import Pruning
from qformers.tasks.task import Task
from qformers.train import evaluate
from qformers.train.beta import BetaController, ebops, has_ebops, set_beta
from qformers.train.checkpoint import CheckpointStore
from qformers.train.feed import Batch, Feed, Inputs
from qformers.train.optimisers import make_optimiser
from qformers.train.pareto import ParetoSet, Point
from qformers.train.progress import COMPILING, Display, ScalarLog, write_csv
from qformers.train.schedule import learning_rate
from qformers.train.start import new_variables
from qformers.train.step import step_of
from qformers.train.stop import StopRequest
from qformers.train.variables import read_variables, write_variables

DIVERGED = "diverged_batch.npz"
CONTROL_UPDATES = 200  # the controller moves beta about so often in a phase, but not more than once per step


@dataclass
class LoopState:
    """Where the loop is; JSON in a checkpoint. `epoch` and `step` count from 0, sums are over the running epoch."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of the batches' mean losses and monitors, by name
    timed_steps: int = 0  # steps of this epoch but the first of each process, which compiles
    seconds: float = 0.0  # spent in them
    waited_s: float = 0.0  # of these, waiting for data
    beta: dict[str, Any] | None = None  # state of the controller
    history: list[dict[str, Any]] = field(default_factory=list)
    pareto: list[dict[str, Any]] = field(default_factory=list)

    def next_epoch(self) -> None:
        """Go to the start of the next epoch."""
        self.epoch, self.step, self.timed_steps = self.epoch + 1, 0, 0
        self.seconds = self.waited_s = 0.0
        self.sums = {}

    def means(self) -> dict[str, float]:
        """Of loss and monitors over the steps of the running epoch."""
        return {name: total / self.step for name, total in self.sums.items()}


@dataclass(frozen=True)
class Phase:
    """What one phase trains, and where.

    Attributes:
        name: ``float`` or ``qat``; named in messages and keys (``train.<name>``).
        config: its settings.
        task: what it trains for.
        seed: of the data order.
        folder: e.g. ``runs/part_demo/qat``.
        settings: all that its result depends on (see `CheckpointStore`).
        calibrate: called with the model and `sample` before each validation; None for a float model.
        sample: inputs for the calibration.
        pruning: what brings weights to zero, or None.
    """

    name: str
    config: PhaseConfig
    task: Task
    seed: int
    folder: Path
    settings: dict[str, Any]
    calibrate: Callable[[Any, Inputs], Any] | None = None
    sample: Inputs | None = None
    pruning: Pruning | None = None


def _state_of(saved: dict[str, Any], folder: Path) -> LoopState:
    """The state that a checkpoint holds.

    Raises:
        CheckpointError: it is of another version of the code.
    """
    try:
        return LoopState(**saved)
    except TypeError as error:
        raise CheckpointError(
            f"{folder}: the checkpoint was made by another version of the code ({error}); start over with --fresh"
        ) from error


class Trainer:
    """Runs the epochs of one phase on one model.

    Args:
        phase: see `Phase`.
        model: the Keras model; its outputs are what the task of the phase takes.
        train, val: the two splits.
    """

    def __init__(self, phase: Phase, model: Any, train: Feed, val: Feed) -> None:
        self.phase, self.model, self.train, self.val = phase, model, train, val
        train.targets = phase.task.targets
        config = phase.config
        self.steps = train.steps(config.batch_size, config.jets_per_epoch)
        self.optimiser = make_optimiser(config, model.trainable_variables, self.steps, new_variables(model, config))
        model.compile(
            optimizer=self.optimiser,
            loss=phase.task.loss(config),
            metrics=phase.task.monitors(),
            # JAX has no graphs without XLA: its other way is operation by operation, many times slower
            jit_compile=config.jit_compile or keras.backend.backend() == "jax",
        )
        self.learn = step_of(model)
        if phase.pruning is not None:
            phase.pruning.attach(model, self.optimiser, config.epochs * self.steps)
        self.variables = [*model.variables, *self.optimiser.variables]
        self.store = CheckpointStore(phase.folder / "checkpoints", phase.settings)
        self.state = self._resume_or_start()
        self.pareto = ParetoSet(phase.folder / "pareto", (Point(**point) for point in self.state.pareto))
        self.pareto.prune()
        self.scalars = ScalarLog(phase.folder / "tensorboard")
        self.ebops = ebops(model)
        self.control_steps = max(1, config.epochs * self.steps // CONTROL_UPDATES)
        self.controller = BetaController.from_state(self.state.beta) if self.state.beta else None
        self._previous: Batch | None = None

    def _resume_or_start(self) -> LoopState:
        """The state of the last checkpoint, its variables put in place; else that of the start.

        The start is no checkpoint: it comes out the same every time, and data that cannot be read, or a build that is
        mended after its first batch, must not leave one that refuses the mended build.
        """
        saved = self.store.load(self.variables)
        if saved is not None:
            return _state_of(saved, self.store.folder)
        state, config = LoopState(), self.phase.config
        if has_ebops(self.model):
            # A price without a target would shrink the model without end, so it is zero then.
            beta = config.beta_start if config.ebops_target else 0.0
            set_beta(self.model, beta)
            if config.ebops_target:
                start = config.beta_warmup_epochs / config.epochs
                state.beta = BetaController(config.ebops_target, beta, start, config.ebops_arrival).state()
        if self.phase.pruning is not None:
            self.phase.pruning.start()
        return state

    def run(self, stop: StopRequest, display: Display) -> str:
        """Train to the end. Returns an empty string, or the reason of a stop before it."""
        while self.state.epoch < self.phase.config.epochs:
            reason = self._epoch(stop, display)
            if reason:
                if self.state.epoch or self.state.step:
                    self._save()
                return reason
            self._close_epoch(display)
        return stop.reason  # asked for while the last epoch was closed

    def _epoch(self, stop: StopRequest, display: Display) -> str:
        state, config = self.state, self.phase.config
        batches = self.train.epoch(config.batch_size, self.phase.seed, state.epoch, state.step)
        display.doing(COMPILING if self._previous is None else f"epoch {state.epoch + 1}/{config.epochs}")
        try:
            while state.step < self.steps:
                if stop.reason:
                    return stop.reason
                before, waited = time.perf_counter(), self.train.waited_s
                compiles = self._previous is None
                self._step(next(batches))
                if not compiles:
                    state.timed_steps += 1
                    state.seconds += time.perf_counter() - before
                    state.waited_s += self.train.waited_s - waited
                display.step(state.epoch + 1, state.means(), self.ebops, self._jets_per_s())
        finally:
            batches.close()  # type: ignore[attr-defined]
        return ""

    def _step(self, batch: Batch) -> None:
        state, config = self.state, self.phase.config
        step = state.epoch * self.steps + state.step
        self.optimiser.learning_rate = learning_rate(config, step, self.steps)
        if batch.broken:
            raise self._diverged(batch, math.nan)  # a ReLU can hide it from the loss, not from the weights
        logs = self._learn(batch)
        loss = logs["loss"]
        if not math.isfinite(loss):
            raise self._diverged(batch, loss)
        self._previous = batch
        state.step += 1
        state.sums = {name: state.sums.get(name, 0.0) + value for name, value in logs.items()}
        if self.phase.pruning is not None:
            self.phase.pruning.after_step(step + 1)
        if (step + 1) % self.control_steps:
            return
        self.ebops = ebops(self.model)
        if self.controller is not None:
            set_beta(self.model, self.controller.update(self.ebops, (step + 1) / (config.epochs * self.steps)))
            state.beta = self.controller.state()

    def _learn(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser; returns loss and monitors, means over the batch.

        The losses are means over events, so that the mean over equal micro-batches is that of the batch, of the
        gradients too; what the loss has beside them (EBOPs, penalties) counts once in the mean.
        """
        size = self.phase.config.at_once
        sums: dict[str, float] = {}
        for at in range(0, len(batch), size):
            part = batch if size == len(batch) else batch.part(at, size)
            logs = self.learn(part.inputs, part.targets)
            sums = {name: sums.get(name, 0.0) + value for name, value in logs.items()}
        pieces = self.phase.config.pieces
        return {name: total / pieces for name, total in sums.items()}

    def _jets_per_s(self) -> float:
        return self.state.timed_steps * self.phase.config.batch_size / max(self.state.seconds, 1e-9)

    def _validate(self) -> dict[str, Any]:
        """Validation of what would be saved now, kept in the Pareto set if nothing beats it.

        A quantised model is calibrated for it, as it will be at the end; the training goes on from the state before.
        """
        before = read_variables(self.model.variables) if self.phase.calibrate else None
        if self.phase.calibrate:
            self.phase.calibrate(self.model, self.phase.sample or {})
        task = self.phase.task
        loss, score = task.validate(*evaluate.outputs_of(self.model, self.val, self.phase.config.at_once, task))
        bits = ebops(self.model)
        pruning = self.phase.pruning
        if pruning is None or pruning.settled((self.state.epoch + 1) * self.steps):
            self.pareto.offer(Point(self.state.epoch + 1, score, bits), self.model)
        if before is not None:
            write_variables(self.model.variables, before)
        return {"val_loss": loss, f"val_{task.score}": score, "ebops": bits}

    def _refuse_broken_weights(self) -> None:
        """A gradient can break weights without the loss showing it; such weights must not get into a checkpoint."""
        broken = [v.path for v in self.variables if not np.isfinite(np.array(ops.convert_to_numpy(v))).all()]
        if broken:
            key = f"train.{self.phase.name}"
            raise DivergedError(
                f"the variables of phase {self.phase.name} must be finite: lower {key}.learning_rate or set "
                f"{key}.clip_norm, and start over with --fresh. Received: NaN or infinity in {broken[0]} and "
                f"{len(broken) - 1} others after epoch {self.state.epoch + 1}"
            )

    def _close_epoch(self, display: Display) -> None:
        self._refuse_broken_weights()
        state = self.state
        display.doing(f"epoch {state.epoch + 1}/{self.phase.config.epochs}  validation")
        row = {
            "epoch": state.epoch + 1,
            **state.means(),
            **self._validate(),
            "beta": self.controller.beta if self.controller else 0.0,
            "learning_rate": float(self.optimiser.learning_rate),
            "seconds": state.seconds,
            "jets_per_s": self._jets_per_s(),
            "input_bound": state.waited_s / max(state.seconds, 1e-9),
        }
        state.history.append(row)
        state.pareto = self.pareto.state()
        state.next_epoch()
        self._save()
        self.pareto.prune()
        write_csv(self.phase.folder / "history.csv", state.history)
        self.scalars.write(row)
        display.epoch(row)

    def _save(self) -> None:
        self.store.save(self.variables, asdict(self.state))

    def _diverged(self, batch: Batch, loss: float) -> DivergedError:
        """Save the batch, and the one before it (its step may have broken the weights), and say so."""
        path, state, key = self.phase.folder / DIVERGED, self.state, f"train.{self.phase.name}"
        arrays: dict[str, Any] = {**batch.on_host(), **self.phase.task.arrays(batch.labels)}
        if self._previous is not None:
            arrays |= {f"previous_{name}": array for name, array in self._previous.on_host().items()}
            labels = self.phase.task.arrays(self._previous.labels)
            arrays |= {f"previous_{name}": array for name, array in labels.items()}
        with replacing(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, **arrays)
        bad = batch.broken
        cause = f"its inputs are finite: lower {key}.learning_rate or set {key}.clip_norm"
        if bad:
            cause = f"its inputs {', '.join(bad)} hold NaN or infinity: mend the data"
        return DivergedError(
            f"the loss of phase {self.phase.name} must be finite. Received: {loss} at epoch {state.epoch + 1}, batch "
            f"{state.step + 1}. The batch and the one before it are saved in {path}; {cause}, and start over with "
            f"--fresh"
        )
