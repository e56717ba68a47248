"""The phases of a build: float training, then quantisation-aware training from its weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, get_args

import keras
from rich.console import Console

from qformers.builds.build import Build
from qformers.builds.models import build_model, load_model
from qformers.builds.saved import content_sha256
from qformers.builds.settings import differences, hardware_of, sections_of
from qformers.config.sections import PhaseConfig
from qformers.data import AnyEvents, Split, SplitName, open_split
from qformers.data.fingerprint import RECORDED, changed_files, data_files
from qformers.errors import CheckpointError, ConfigError, TrainingError
from qformers.files import alone, replacing, sweep, write_json
from qformers.nn.memory import memory_of
from qformers.progress import Reporter
from qformers.quant.prune.callback import Pruning
from qformers.tasks import task_of
from qformers.train.checkpoint import CheckpointStore
from qformers.train.feed import Feed, Inputs, bytes_per_jet
from qformers.train.finish import Finished, finish
from qformers.train.loop import Phase, Trainer
from qformers.train.progress import Display
from qformers.train.start import fingerprint, freeze, listed, start_file, take
from qformers.train.stop import forget_stop, stop_requests
from qformers.train.undo import as_before_unless_begun, begun
from qformers.train.variables import weights_digest

PhaseName = Literal["float", "qat"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
CALIBRATION_JETS = 1024  # for the calibration of each epoch; the exported model is calibrated with more
# keys of the settings of a phase: hashes of the float model of the run, of the model it was tuned from
START, TUNED = "float_model", "start_model"
QAT_SEED = 1_000_003  # added to the seed: the quantised phase draws other numbers than the float one


def exclusive(folder: Path) -> AbstractContextManager[None]:
    """Hold the run folder alone, as a context; the lock goes with the process, however it ends.

    Raises:
        TrainingError: another process trains there.
    """
    held = f"{folder}: another training runs in this folder; choose another one with --run"
    return alone(folder, TrainingError(held))


def deterministic(seed: int, jit_compile: bool) -> None:
    """Start a phase from a clean slate: fresh layer names, all seeds set, arithmetic in a fixed order.

    XLA on the CPU keeps its order by itself, and Keras would not use it beside TensorFlow's op determinism. Without
    XLA that is needed, and so is a graph without arithmetic rewriting: it regroups sums of gradients, differently in
    every process (seen with TensorFlow 2.21: the gradients of HGQ2's bit widths differ in their last bit).
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        from tensorflow.python.framework.config import disable_op_determinism

        if jit_compile:
            disable_op_determinism()
        else:
            tf.config.experimental.enable_op_determinism()
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def indeterministic() -> None:
    """Undo what `deterministic` sets for the whole process."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        from tensorflow.python.framework.config import disable_op_determinism

        disable_op_determinism()
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})


def settings_of(build: Build, phase: PhaseName) -> dict[str, Any]:
    """All of a build that the result of a phase depends on: without the cache's place, and of the section `firmware`
    with what EBOPs depend on alone."""
    kept = sections_of(build, "spec", "seed", "data", "model", *(["quant"] if phase == "qat" else []))
    train = json.loads(build.train.model_dump_json())
    if phase == "float":
        train.pop("qat")
    hardware = hardware_of(build) if phase == "qat" else {}
    return {**kept, "train": train, "backend": keras.backend.backend(), **hardware}


def feeds(splits: Sequence[Split], model: Any) -> list[Feed]:
    """Splits of a build, prepared for the inputs of `model`."""
    from qformers.models.inputs import host_inputs

    def prepare(events: AnyEvents) -> Inputs:
        return dict(host_inputs(model, events))

    return [Feed(split, prepare, bytes_per_jet(model)) for split in splits]


def _config(build: Build, phase: PhaseName) -> PhaseConfig:
    if phase == "float":
        return build.train.float
    if build.quant is None or build.train.qat is None:
        raise ConfigError(
            f"build '{build.name}': --phase qat needs the sections quant and train.qat. "
            f"Received: quant={build.quant is not None}, train.qat={build.train.qat is not None}"
        )
    if build.train.qat.ebops_target is not None and not build.quant.learn:
        raise ConfigError(
            f"build '{build.name}': train.qat.ebops_target moves learned widths only; set quant.learn: true or leave "
            f"the target out. Received: quant.learn=False, ebops_target={build.train.qat.ebops_target:g}"
        )
    return build.train.qat


def _float_start(build: Build, out: Path) -> tuple[Any, str]:
    """The finished float model of this build and a digest of its weights."""
    path = out / "float" / "model.keras"
    finished = Finished.read(out / "float")
    if finished is None:
        raise TrainingError(
            f"{path}: --phase qat starts from the float model, which is not there; run --phase float first"
        )
    settings = settings_of(build, "float")
    changed = differences({key: finished.settings.get(key) for key in settings}, settings)
    changed += changed_files(finished.settings.get(RECORDED), data_files(build.data))
    if changed:
        raise CheckpointError(
            f"{path} belongs to another build: train it again with --phase float --fresh, or give the run another name "
            f"with --run. Changed (model -> build):\n  " + "\n  ".join(changed)
        )
    model = load_model(path)
    return model, weights_digest(model)


def _finished_before(build: Build, name: PhaseName, out: Path) -> Finished | None:
    """What lies finished in the folder of a phase; it must belong to this build, its data and its float model."""
    folder, settings = out / name, settings_of(build, name)
    done = Finished.read(folder)
    if done is None:
        return None
    changed = differences({key: done.settings.get(key) for key in settings}, settings)
    changed += changed_files(done.settings.get(RECORDED), data_files(build.data))
    start = out / "float" / "model.keras"
    if name == "qat" and start.is_file() and done.settings.get(START) != content_sha256(start):
        changed.append(f"{start}: is another float model than the one it was trained from")
    tuned = start_file(build.train.float) if name == "float" else None
    if tuned is not None and tuned.is_file() and done.settings.get(TUNED) != fingerprint(tuned):
        changed.append(f"train.float.start: {tuned} holds another model than the one it started from")
    if changed:
        raise CheckpointError(
            f"{folder} holds a finished training of another build: give the run another name with --run, or start "
            f"over with --phase {name} --fresh. Changed (old -> build):\n  " + "\n  ".join(changed)
        )
    return done


def _tuned_start(model: Any, config: PhaseConfig, folder: Path, console: Console) -> str | None:
    """Start a float model from the file that its build names; returns the hash of what the file holds, None without.

    A training that goes on has all of it in its checkpoint: the file may be gone then, and where it is there it must be
    the one that the training started from.
    """
    path = start_file(config)
    if path is None:
        return None
    store = CheckpointStore(folder / "checkpoints", {}) if begun(folder) else None
    known = None if store is None else store.recorded(TUNED)
    hashed = str(known) if known is not None and not path.exists() else fingerprint(path)
    if known is not None and known != hashed:
        raise CheckpointError(
            f"train.float.start: {path} holds another model than the one that the training in {folder} started from; "
            f"put that one back, or start over with --fresh"
        )
    if known is None:
        started = take(model, path, config)
        console.print(f"{folder.name}: {started}", markup=False)
    freeze(model, config)
    return hashed


def _prepare(
    build: Build, name: PhaseName, out: Path, console: Console, reporter: Reporter | None
) -> tuple[Trainer, Feed]:
    """The trainer of a phase at its last checkpoint, and the test split."""
    config = _config(build, name)
    settings = {**settings_of(build, name), RECORDED: data_files(build.data)}
    deterministic(build.seed if name == "float" else build.seed + QAT_SEED, config.jit_compile)
    splits = [open_split(build.data, split, reporter) for split in SPLITS]
    names = splits[0].class_names
    model = build_model(build, splits[0].feature_set, names, "float32" if name == "float" else "hgq")
    if name == "float" and (tuned := _tuned_start(model, config, out / name, console)) is not None:
        settings[TUNED] = tuned
    train, val, test = feeds(splits, model)
    if val.in_memory:
        val.kept()  # a bad event in it is met now, not after the first epoch
    calibrate, sample = None, None
    if name == "qat":
        from qformers.quant import fold as transfer

        calibrate = transfer.calibrate
        start, settings["float_weights"] = _float_start(build, out)
        settings[START] = content_sha256(out / "float" / "model.keras")
        sample = train.sample(CALIBRATION_JETS, build.seed)
        transfer.float_to_quantised(start, model, sample)
    hold = name == "qat" and build.train.float.prune is not None
    pruning = None
    if config.prune is not None or hold:
        pruning = Pruning(config.prune, train.sample(CALIBRATION_JETS, build.seed), hold)
    phase = Phase(name, config, task_of(build, splits[0]), build.seed, out / name, settings, calibrate, sample, pruning)
    return Trainer(phase, model, train, val), test


def _refuse_early(build: Build) -> None:
    """Build the quantised model once before the float phase: what fixed point does not have is not said hours later.

    Raises:
        ConfigError: as `build_model`.
    """
    split = open_split(build.data, "val")
    build_model(build, split.feature_set, split.class_names, "hgq")


def _write_build(build: Build, out: Path) -> None:
    """Write the resolved build, once it is known that the folder is its own."""
    with replacing(out / "build.yaml") as temporary:
        temporary.write_text(build.to_yaml())


def _tell_precision(model: Any, folder: Path, console: Console) -> None:
    """Write the formats that the build file asks for, layer by layer, and print them when they are new."""
    memory = memory_of(model)
    if memory is None or not memory.asked.rows:  # a float model
        return
    table = memory.asked
    path, rows = folder / "precision.json", table.to_json()
    text = json.dumps(rows, indent=2, allow_nan=False) + "\n"
    if not path.is_file() or path.read_text(errors="replace") != text:
        write_json(path, rows)
        console.print(table.as_rich("Formats asked for; learned ones start here"))
    console.print(f"{folder.name}: formats of every layer in {path}", markup=False)


def _tell_pieces(trainer: Trainer, console: Console) -> None:
    """Say that a step is made of several micro-batches, and which layers can tell."""
    config, name = trainer.phase.config, trainer.phase.name
    if config.pieces == 1:
        return
    norms = [
        layer.name
        for layer in trainer.model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    words = f"a step sums the gradients of {config.pieces} micro-batches of {config.at_once}"
    if norms:
        words += f", whose statistics {len(norms)} batch norms take ({listed(norms)}) instead of the whole batch's"
    console.print(f"{name}: {words}", markup=False)


def _sweep_left(folder: Path) -> None:
    """Remove the temporary files that a killed training left under the folder of a phase."""
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sweep(place)


def train_phase(
    build: Build,
    name: PhaseName,
    out: Path,
    console: Console,
    reporter: Reporter | None = None,
    begins: Callable[[PhaseName], None] = lambda name: None,
) -> Finished | str:
    """Train one phase, or go on with it; returns what it left, or the reason of an early stop.

    Args:
        build: the resolved build.
        name: ``float`` or ``qat``.
        out: run folder; the phase works in ``out/<name>``.
        console: for a line per epoch and messages.
        reporter: told how far it is, step by step.
        begins: called with the name of the phase when it has all that it needs, before it trains.
    """
    _sweep_left(out / name)
    done = _finished_before(build, name, out)
    if done is not None:
        _write_build(build, out)
        console.print(f"{name}: finished before, in {done.folder} (--fresh trains it again)", markup=False)
        return done
    trainer, test = _prepare(build, name, out, console, reporter)
    begins(name)
    _write_build(build, out)
    _tell_precision(trainer.model, out / name, console)
    if name == "qat" and (together := build.firmware.together) is not None:
        words = f"EBOPs are those of firmware with firmware.points_per_clock = {together}"
        keys = build.firmware.keys_per_clock
        words += "" if keys is None else f", firmware.keys_per_clock = {keys}"
        console.print(f"{name}: {words}", markup=False)
    _tell_pieces(trainer, console)
    state, epochs = trainer.state, trainer.phase.config.epochs
    if state.epoch or state.step:
        console.print(f"{name}: goes on after epoch {state.epoch}, step {state.step}", markup=False)
    made = state.epoch * trainer.steps + state.step
    display = Display(name, epochs, trainer.steps, made, trainer.phase.task, console, reporter)
    with stop_requests(out) as stop:
        reason = trainer.run(stop, display)
    if reason:
        forget_stop(out)
        place = f"phase {name} after epoch {state.epoch}, step {state.step}"
        return f"{reason}: stopped in {place}; the same command goes on from there"
    return finish(build, trainer, test, console)


def train_build(
    build: Build,
    out: Path,
    phases: Sequence[PhaseName],
    fresh: bool = False,
    console: Console | None = None,
    reporter: Reporter | None = None,
    checked: bool = False,
) -> list[Finished]:
    """Train the phases of a build one after the other in the folder `out`.

    A phase that is finished is not trained again, an unfinished one goes on from its last checkpoint. The result is
    the same, bit for bit, however often and wherever it was interrupted.

    Args:
        build: the resolved build.
        out: run folder, e.g. ``runs/part_demo``.
        phases: in order.
        fresh: throw away what these phases left in `out` before.
        console: where to print a line per epoch; None for standard output.
        reporter: told how far it is, step by step; None = nobody.
        checked: whether the quantised model was built already to see whether it can be.

    Returns:
        what each phase left; shorter than `phases` after a stop by Ctrl-C, SIGTERM or a STOP file.

    Raises:
        TrainingError, ConfigError: with the way out in the message.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    results = []
    with exclusive(out):
        forget_stop(out)  # left from before; one that comes from now on is obeyed
        sweep(out)
        for name in phases:
            _config(build, name)  # all phases are checked before the first one spends hours
        if not checked and list(phases) == ["float", "qat"] and not (out / "float" / "model.keras").is_file():
            _refuse_early(build)
        with as_before_unless_begun(out, phases, fresh) as begins:
            for name in phases:
                outcome = train_phase(build, name, out, console, reporter, begins)
                if isinstance(outcome, str):
                    console.print(outcome, markup=False)
                    break
                results.append(outcome)
    return results
