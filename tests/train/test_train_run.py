"""Whole trainings of a tiny model in processes of their own: killed, stopped, broken, refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import train_fakes
from support.damage import damages

from qformers.builds.build import load
from qformers.cli.status import exit_status
from qformers.errors import CheckpointError, ConfigError, DamagedError, DataError, TrainingError
from qformers.files import sha256
from qformers.records import write_record
from qformers.train import phases
from qformers.train.finish import Finished
from qformers.train.stage import train
from qformers.train.taken import take_trained

WORKER = Path(train_fakes.__file__)
KILLED = -signal.SIGKILL
# Moments of processes one after the other: the first checkpoint half written, a step, the end of the float phase, and
# wherever the twelfth moment after that is.
DEATHS = (9, 3, 44, 12)
CHECKPOINTED = "16"  # a moment after the first checkpoint


def start(out: Path, *arguments: str, backend: str = "tensorflow") -> subprocess.Popen[str]:
    """A worker process; PYTHONPATH as this one has it."""
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment = os.environ | paths | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": backend}
    command = [sys.executable, str(WORKER), str(out), *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(out: Path, *arguments: str, backend: str = "tensorflow") -> tuple[int, str, str]:
    """Exit status, output and errors of a worker."""
    with start(out, *arguments, backend=backend) as worker:
        output, errors = worker.communicate(timeout=300)
    return worker.returncode, output, errors


def state(out: Path, phase: str) -> tuple[str, list[dict[str, float]]]:
    """SHA-256 of all variables (weights, optimiser, seeds) at the end of a phase, and its history without times."""
    record = json.loads((out / phase / "checkpoints" / "latest.json").read_text())
    timed = ("seconds", "jets_per_s", "input_bound")
    history = [{key: row[key] for key in row if key not in timed} for row in record["state"]["history"]]
    return record["sha256"], history


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an uninterrupted training."""
    out = tmp_path_factory.mktemp("whole")
    status, output, errors = run(out)
    assert status == 0, output + errors
    return out


def assert_same(out: Path, whole: Path) -> None:
    """Both phases ended with the same variables, history and outputs."""
    for phase in ("float", "qat"):
        assert state(out, phase) == state(whole, phase)
        with np.load(out / phase / "test_logits.npz") as found, np.load(whole / phase / "test_logits.npz") as expected:
            np.testing.assert_array_equal(found["logits"], expected["logits"])
        assert (out / phase / "metrics.json").read_text() == (whole / phase / "metrics.json").read_text()
        models = [sorted(path.name for path in (folder / phase / "pareto").iterdir()) for folder in (out, whole)]
        assert models[0] == models[1]


def test_the_run_leaves_its_footprint(whole: Path):
    for phase in ("float", "qat"):
        names = {path.name for path in (whole / phase).iterdir()}
        assert {"model.keras", "metrics.json", "manifest.json", "history.csv", "test_logits.npz", "pareto"} <= names
        manifest = json.loads((whole / phase / "manifest.json").read_text())
        assert manifest["build_hash"] == train_fakes.build().hash
        assert manifest["jets"] == {"train": 400, "val": 400, "test": 400}
        assert {"versions", "git", "machine", "date", "seed", "jets_per_s", "settings"} <= set(manifest)
        assert len((whole / phase / "history.csv").read_text().splitlines()) == 4
    manifest = json.loads((whole / "qat" / "manifest.json").read_text())
    assert manifest["ebops"] > 0
    assert not list(whole.rglob("*.tmp*"))


def test_a_training_killed_at_any_moment_ends_with_the_same_weights(whole: Path, tmp_path: Path):
    """SIGKILL from within at chosen moments, then from outside in the middle of the quantised phase."""
    for moment in DEATHS:
        status, output, errors = run(tmp_path, "--die-at", str(moment))
        assert status == KILLED, output + errors
    with start(tmp_path, "--slow", "0.1") as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            if line.startswith("qat 2/3"):
                worker.kill()
                break
    assert worker.returncode == KILLED
    status, output, errors = run(tmp_path)
    assert status == 0, output + errors
    assert "qat: goes on after epoch 2, step 0" in output
    assert_same(tmp_path, whole)


def stop_after(line: str, out: Path, file: bool) -> str:
    """Run until a line is printed, then ask for a stop (file STOP or Ctrl-C); returns what came after the line."""
    with start(out, "--slow", "0.3") as worker:
        assert worker.stdout is not None
        for found in worker.stdout:
            if found.startswith(line):
                break
        time.sleep(0.5)
        if file:
            (out / "STOP").touch()
        else:
            worker.send_signal(signal.SIGINT)
        rest = worker.stdout.read()
    assert worker.returncode == 3, rest
    return rest


def test_ctrl_c_and_a_stop_file_write_where_they_are_and_it_goes_on_from_there(whole: Path, tmp_path: Path):
    rest = stop_after("float 1/3", tmp_path, file=False)
    assert "SIGINT received: stopped in phase float after epoch 1, step" in rest
    record = json.loads((tmp_path / "float" / "checkpoints" / "latest.json").read_text())
    assert record["state"]["epoch"] == 1
    assert record["state"]["step"] > 0
    rest = stop_after("qat 2/3", tmp_path, file=True)
    assert f"{tmp_path / 'STOP'} exists: stopped in phase qat after epoch 2, step" in rest
    status, output, errors = run(tmp_path)
    assert status == 0, output + errors
    assert "qat: goes on after epoch 2, step" in output
    assert_same(tmp_path, whole)


@pytest.mark.slow
def test_a_killed_training_is_exact_under_jax_too(tmp_path: Path):
    for name, moments in (("whole", ("0",)), ("killed", ("27", "9", "0"))):
        for moment in moments:
            status, output, errors = run(tmp_path / name, "--die-at", moment, backend="jax")
            assert status == (0 if moment == "0" else KILLED), output + errors
    assert_same(tmp_path / "killed", tmp_path / "whole")
    status, _, errors = run(tmp_path / "whole", backend="tensorflow")
    assert status == 1
    assert "backend: 'jax' -> 'tensorflow'" in errors


def test_a_nan_stops_the_training_and_saves_the_batch(tmp_path: Path):
    status, output, errors = run(tmp_path, "--nan-at", "7")
    assert status == 1, output
    last = errors.strip().splitlines()[-1]
    assert "the loss of phase float must be finite. Received: nan at epoch 1, batch " in last
    assert "its inputs features hold NaN or infinity: mend the data" in last
    with np.load(tmp_path / "float" / "diverged_batch.npz") as saved:
        assert np.isnan(saved["features"]).sum() == 1
        assert "previous_features" in saved or "batch 1." in last
        assert saved["labels"].shape == (64,)


def test_a_finished_phase_is_left_alone_and_another_build_refused(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    train_fakes.install(monkeypatch.setattr)
    found = phases.train_build(train_fakes.build(), whole, ["float", "qat"])
    assert [done.folder.name for done in found] == ["float", "qat"]
    assert "finished before" in capsys.readouterr().out
    other = train_fakes.build("train.float.learning_rate=0.05")
    with pytest.raises(CheckpointError, match=r"(?s)finished training of another build.*learning_rate: 0.1 -> 0.05"):
        phases.train_build(other, whole, ["float"])
    with pytest.raises(CheckpointError, match=r"(?s)finished training of another build.*learning_rate: 0.1 -> 0.05"):
        phases.train_build(other, whole, ["qat"])
    written = (whole / "build.yaml").read_bytes()
    quantised = train_fakes.build("train.qat.epochs=9")
    with pytest.raises(CheckpointError, match=r"(?s)start over with --phase qat --fresh.*train.qat.epochs"):
        phases.train_build(quantised, whole, ["float", "qat"])  # the float phase is of this build too
    assert (whole / "build.yaml").read_bytes() == written
    clock = train_fakes.build()
    clock = clock.model_copy(update={"firmware": clock.firmware.model_copy(update={"clock_ns": 2.5})})
    assert len(phases.train_build(clock, whole, ["float", "qat"])) == 2  # nothing that training depends on


def test_no_damage_of_a_finished_training_is_believed(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever happens to a file that a finished phase left: it is named with the way out, and nothing is written."""
    train_fakes.install(monkeypatch.setattr)
    shutil.copytree(whole, tmp_path / "good", copy_function=os.link)
    assert len(phases.train_build(train_fakes.build(), tmp_path / "good", ["float", "qat"])) == 2
    tried = 0
    for number, (words, damage) in enumerate(damages(whole, 3, ("model", "manifest", "training"))):
        run_folder = tmp_path / str(number)
        shutil.copytree(whole, run_folder, copy_function=os.link)
        damage.apply(run_folder)
        if damage.how == "deleted" and damage.kind == "manifest":  # not finished, then: it is finished again
            continue
        with pytest.raises(DamagedError, match=r"--fresh$") as caught:
            phases.train_build(train_fakes.build(), run_folder, ["float", "qat"])
        assert str(run_folder / damage.file) in str(caught.value), words
        assert "\n" not in str(caught.value)
        tried += 1
    assert tried > 50


def test_what_stands_in_the_way_of_a_training_is_one_line(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A file in place of a folder, a dangling link, a manifest that is a folder: status 2, nothing else is touched."""
    train_fakes.install(monkeypatch.setattr)
    file, link, run_folder = tmp_path / "file", tmp_path / "link", tmp_path / "run"
    file.write_text("a file")
    link.symlink_to(tmp_path / "nowhere")
    shutil.copytree(whole, run_folder, copy_function=os.link)
    manifest = run_folder / "float" / "manifest.json"
    manifest.unlink()
    manifest.mkdir()
    for out in (file, link, run_folder):
        work = lambda out=out: len(phases.train_build(train_fakes.build(), out, ["float", "qat"]))  # noqa: E731
        assert exit_status(work) == 2
        told = capsys.readouterr().err
        assert str(out) in told
        assert told.count("\n") == 1
    manifest.rmdir()
    manifest.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DamagedError, match=r"float/manifest.json: is missing; put the file back"):
        phases.train_build(train_fakes.build(), run_folder, ["float"])
    assert file.read_text() == "a file"


def test_what_a_killed_training_left_is_swept(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train_fakes.install(monkeypatch.setattr)
    run_folder = tmp_path / "run"
    shutil.copytree(whole, run_folder, copy_function=os.link)
    left = [
        run_folder / name for name in ("float/.model.x-1.tmp.keras", "qat/plots/.roc.x-1.tmp.png", ".build.1.tmp.yaml")
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    assert len(phases.train_build(train_fakes.build(), run_folder, ["float", "qat"])) == 2
    assert not any(path.exists() for path in left)


def test_another_float_model_makes_the_quantised_one_stale(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train_fakes.install(monkeypatch.setattr)
    shutil.copytree(whole, tmp_path / "run")
    folder = tmp_path / "run" / "float"
    chosen = json.loads((folder / "manifest.json").read_text())["exported_epoch"]
    other = next(path for path in sorted((whole / "qat" / "pareto").glob("*.keras")))
    (folder / "model.keras").write_bytes(other.read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["written"]["model.keras"] = sha256(other)
    write_record(folder / "manifest.json", manifest)
    assert chosen
    with pytest.raises(CheckpointError, match=r"float/model.keras: is another float model than the one it was trained"):
        phases.train_build(train_fakes.build(), tmp_path / "run", ["float", "qat"])


def test_other_events_under_the_same_names_are_noticed(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train_fakes.install(monkeypatch.setattr)
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "float" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["settings"]["data_files"]["val"] = "another hash"
    write_record(path, manifest)
    monkeypatch.setattr(phases, "data_files", lambda config: {"train": None, "val": "a hash", "test": None})
    with pytest.raises(CheckpointError, match=r"(?s)another build.*data\.val: the files have another content"):
        phases.train_build(train_fakes.build(), tmp_path / "run", ["float"])


def test_data_that_cannot_be_read_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A bad file refuses the training, and the mended build is not refused for what it left."""
    train_fakes.install(monkeypatch.setattr)

    def broken(*_: Any, **__: Any) -> Any:
        raise DataError("b.root: is damaged")

    monkeypatch.setattr(train_fakes.FakeSource, "load", broken)
    out = tmp_path / "run"
    out.mkdir()
    (out / "STOP").touch()
    with pytest.raises(DataError, match=r"b\.root: is damaged"):
        phases.train_build(train_fakes.build("seed=7"), out, ["float", "qat"])
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train_fakes.install(monkeypatch.setattr)
    build = train_fakes.build()
    with pytest.raises(
        TrainingError, match=r"starts from the float model, which is not there; run --phase float first"
    ):
        phases.train_build(build, tmp_path / "a", ["qat"])
    with pytest.raises(ConfigError, match=r"--phase qat needs the sections quant and train.qat. Received: quant=False"):
        phases.train_build(build.model_copy(update={"quant": None}), tmp_path / "b", ["float", "qat"])
    assert build.quant is not None
    fixed = build.model_copy(update={"quant": build.quant.model_copy(update={"learn": False})})
    with pytest.raises(ConfigError, match=r"moves learned widths only; .* Received: quant.learn=False"):
        phases.train_build(fixed, tmp_path / "b", ["float", "qat"])
    assert not (tmp_path / "b" / "float").exists()
    with phases.exclusive(tmp_path), pytest.raises(TrainingError, match=r"another training runs in this folder"):
        phases.train_build(build, tmp_path, ["float"])


def test_a_checkpoint_of_another_build_is_refused_and_fresh_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    status, _, errors = run(tmp_path, "--die-at", CHECKPOINTED, "--set", "seed=7")
    assert status == KILLED, errors
    train_fakes.install(monkeypatch.setattr)
    with pytest.raises(CheckpointError, match=r"(?s)belongs to another build.*--fresh.*seed: 7 -> 1"):
        phases.train_build(train_fakes.build(), tmp_path, ["float"])
    status, _, errors = run(tmp_path, "--fresh", "--die-at", CHECKPOINTED)
    assert status == KILLED, errors
    record = json.loads((tmp_path / "float" / "checkpoints" / "latest.json").read_text())
    assert record["settings"]["seed"] == 1


def test_unknown_key_is_refused_with_the_nearest_name(tmp_path: Path):
    path = tmp_path / "build.yaml"
    path.write_text(train_fakes.build().to_yaml())
    script = WORKER.parents[2] / "scripts" / "train.py"
    command = [sys.executable, str(script), str(path), "--set", "train.float.learning_rat=0.1"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert found.returncode == 2
    assert "unknown key 'train.float.learning_rat'; did you mean 'learning_rate'?" in found.stderr
    assert [item.name for item in tmp_path.iterdir()] == ["build.yaml"]


@pytest.mark.parametrize(("names", "words"), [
    (["flaot"], r"phases: unknown phase 'flaot'; did you mean 'float'\?"),
    ("float", r"phases is a list of some of float, qat. Received: 'float'"),
    ([], r"phases is a list of some of float, qat. Received: \[\]"),
])  # fmt: skip
def test_wrong_phases_train_nothing(names: Any, words: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=words):
        train(train_fakes.build(), tmp_path / "run", names)
    assert not (tmp_path / "run").exists()


def test_another_run_takes_the_trained_model_for_other_firmware(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, other = load(whole / "build.yaml", ["firmware.clock_ns=3.5", "name=other"]), tmp_path / "other"
    for _ in range(2):  # the second time all is there
        assert [phase.folder for phase in take_trained(whole, other, build)] == [whole / "float", whole / "qat"]
        assert load(other / "build.yaml") == build
        for phase in ("float", "qat"):
            finished = Finished.read(other / phase)
            assert finished is not None
            assert finished.model.read_bytes() == (whole / phase / "model.keras").read_bytes()
            assert not {path.name for path in (other / phase).iterdir()} & {"checkpoints", "tensorboard"}

    with pytest.raises(ConfigError, match=r"by another build, which only its firmware may be:\n  seed: \d+ -> 99"):
        take_trained(whole, tmp_path / "seed", load(whole / "build.yaml", ["seed=99"]))
    assert not (tmp_path / "seed").exists()
    with pytest.raises(ConfigError, match="is the run folder itself; name another one with --run"):
        take_trained(whole, whole, build)
    with pytest.raises(ConfigError, match=r"has no finished quantised model \(qat/manifest.json\); train it first"):
        take_trained(tmp_path / "nothing", other, build)
    monkeypatch.setattr("qformers.train.taken.content_sha256", str)
    with pytest.raises(ConfigError, match=r"other/float: holds another model than .*; name another run with --run"):
        take_trained(whole, other, build)
