"""The end of a phase: choose the model, save it, read it back, and measure what was read back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from qformers.builds.build import Build
from qformers.errors import DamagedError, TrainingError
from qformers.manifest import MANIFEST, read_manifest, write_manifest
from qformers.quant.prune.sparsity import sparsity
from qformers.records import hashes, refuse_changed, write_record
from qformers.train import evaluate
from qformers.train.beta import ebops
from qformers.train.deliver import DELIVERED, Delivered, Terms, deliver, width_picture
from qformers.train.feed import Feed
from qformers.train.loop import Trainer
from qformers.train.pareto import choose
from qformers.train.start import thaw
from qformers.train.variables import read_variables, write_variables

FINAL_CALIBRATION_JETS = 8192
FRESH = "put the file back, or start over with --fresh"


@dataclass(frozen=True)
class Finished:
    """A finished phase: its folder (``model.keras``, ``metrics.json``, ...), settings and main numbers."""

    folder: Path
    settings: dict[str, Any]
    score: str  # name of the number that was to be large
    value: float | None  # of it, on the test split; None where it could not be computed
    error: float | None
    ebops: int  # 0 for a float model
    test: Mapping[str, Any] = field(default_factory=dict)  # the headline of the report on the test split

    @property
    def model(self) -> Path:
        """The exported model."""
        return self.folder / "model.keras"

    @classmethod
    def read(cls, folder: Path) -> Finished | None:
        """The finished phase in `folder`, None if there is none. The manifest is written last, so it decides.

        Raises:
            DamagedError: the manifest, or a file that it names, is not as it was written.
            TrainingError: the manifest is of another version.
        """
        path = folder / MANIFEST
        if not os.path.lexists(path):
            return None
        manifest = read_manifest(folder, FRESH)
        if manifest.get("stage") not in (f"train.{folder.name}", "ptq"):
            raise DamagedError(f"{path}: is of another folder, of stage {manifest.get('stage')!r}; {FRESH}")
        refuse_changed(folder, manifest, FRESH)
        try:
            score = manifest.get("score", "accuracy")  # a quantisation without training has no other
            test, settings = manifest["test"], manifest["settings"]
            number = test[score]
            return cls(folder, settings, score, number["value"], number["error"], manifest["ebops"], test)
        except (KeyError, TypeError) as error:
            raise TrainingError(f"{path}: is not a manifest of this version ({error}); {FRESH}") from error


def _restore_chosen(trainer: Trainer, console: Console) -> tuple[int, bool]:
    """Put the model to export into the trainer's, say which; returns its epoch and whether it met the target."""
    phase, config, key = trainer.phase, trainer.phase.config, f"train.{trainer.phase.name}"
    target = config.ebops_target if phase.calibrate else None
    last = read_variables(trainer.model.variables)
    trainer.pareto.export(trainer.model)
    point = choose(trainer.pareto.points, target)
    if point is None:
        write_variables(trainer.model.variables, last)
        lowest = min(kept.ebops for kept in trainer.pareto.points)
        console.print(
            f"{phase.name}: NO epoch met {key}.ebops_target={target:g} (lowest: {lowest}); the last epoch is exported. "
            f"More epochs, a larger {key}.width_travel or a higher target would help",
            markup=False,
        )
        return config.epochs, False
    trainer.pareto.restore(point, trainer.model)
    bits = f", EBOPs {point.ebops}" if point.ebops else ""
    text = f"{phase.name}: exports epoch {point.epoch}, validation {phase.task.score} {point.score:.4f}{bits}"
    console.print(text, markup=False)
    return point.epoch, True


def finish(build: Build, trainer: Trainer, test: Feed, console: Console) -> Finished:
    """Export the best model of a phase and write all that belongs to it.

    Writes ``model.keras``, ``pareto/*.keras``, ``metrics.json``, ``test_logits.npz`` (outputs and
    labels), plots and last ``manifest.json``. The numbers on the test split are those of the file read back.

    Raises:
        TrainingError: the file read back does not give the outputs of the model in memory.
    """
    phase, config, model, task = trainer.phase, trainer.phase.config, trainer.model, trainer.phase.task
    thaw(model, config)
    epoch, met = _restore_chosen(trainer, console)
    if phase.calibrate is not None:
        phase.calibrate(model, trainer.train.sample(FINAL_CALIBRATION_JETS, phase.seed))
    terms = Terms(phase.seed, config.at_once, config.jit_compile)
    delivered = deliver(model, phase.folder, test, task, terms)
    report = delivered.report
    if phase.calibrate is not None or phase.pruning is not None:
        zeros = sparsity(delivered.model)
        write_record(phase.folder / "sparsity.json", zeros.to_json())
        console.print(f"{phase.name}: {zeros}", markup=False)
    _plots(trainer, delivered)
    bits, target = ebops(delivered.model), config.ebops_target if phase.calibrate else None
    headline = {name: report[name] for name in task.headline}
    facts = {
        "settings": phase.settings,
        "exported_epoch": epoch,
        "ebops": bits,
        "ebops_target": target,
        "ebops_target_met": bool(met and (target is None or bits <= target)),
        "score": task.score,
        "validation": task.measured(*evaluate.outputs_of(model, trainer.val, config.at_once, task)).as_json(),
        "test": headline,
        "jets": {"train": len(trainer.train), "val": len(trainer.val), "test": len(test)},
        **_speed(trainer),
    }
    pareto = [f"pareto/{point.file}" for point in trainer.pareto.points]
    written = hashes(phase.folder, (*DELIVERED, "history.csv", *pareto))
    write_manifest(phase.folder, f"train.{phase.name}", build, facts, written)
    trainer.pareto.drop_arrays()
    number = report[task.score]
    return Finished(phase.folder, phase.settings, task.score, number["value"], number["error"], bits, headline)


def _speed(trainer: Trainer) -> dict[str, Any]:
    """Medians over the epochs, so that the compilation in the first one does not count."""
    history = trainer.state.history
    return {
        "jets_per_s": float(np.median([row["jets_per_s"] for row in history])),
        "input_bound": float(np.median([row["input_bound"] for row in history])),
        "data_in_memory": trainer.train.in_memory,
        "data_on_device": trainer.train.on_device,
    }


def _plots(trainer: Trainer, delivered: Delivered) -> None:
    from qformers.tasks.plots import jets as plots

    phase, folder = trainer.phase, trainer.phase.folder / "plots"
    phase.task.pictures(delivered.outputs, delivered.labels, delivered.report, folder)
    plots.training(
        trainer.state.history,
        phase.task.score,
        phase.config.ebops_target if phase.calibrate else None,
        folder / "training.png",
    )
    if phase.calibrate is not None:
        width_picture(delivered.model, folder)
