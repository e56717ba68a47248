"""Plan, seeds, manifest, resuming, interruption and the command line, with a stand-in for Pythia."""

import json

import numpy as np
import pytest

from qformers.cli import generate as cli
from qformers.data.jets.hls4ml_lhc_writer import JET_FEATURES
from qformers.errors import DataError
from qformers.generate.jets import manifest, plan, processes, run
from qformers.generate.jets.plan import JetSettings
from qformers.progress import Silent

TWO = ("gluon", "TTBar")


def stand_in(settings, chunk, report):
    """Arrays that depend on the chunk alone, in no time."""
    rng = np.random.default_rng(plan.numpy_seed(settings.seed, chunk.class_index, chunk.number))
    jets = np.zeros((chunk.jets, len(JET_FEATURES)), np.float32)
    jets[:, JET_FEATURES.index("j_" + settings.table.process(chunk.process).label)] = 1
    report(chunk.jets)
    return {"constituents": rng.random((chunk.jets, settings.particles, 16), np.float32), "jets": jets}


@pytest.fixture
def no_pythia(monkeypatch):
    monkeypatch.setattr(run, "make", stand_in)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.h5"))}


def test_chunks_are_whole_and_splits_apart():
    settings = JetSettings("jetclass", jets=100_003)
    planned = plan.chunks(settings)
    assert sum(c.jets for c in planned) == 100_003
    assert max(c.jets for c in planned) <= 1000
    assert len({(c.process, c.number) for c in planned}) == len(planned)
    assert all(c.number in plan.SPLITS[c.split] for c in planned)
    assert sum(c.jets for c in planned if c.split == "test") == 10_000
    seeds = {plan.pythia_seed(run_number, c.class_index, c.number) for run_number in (0, 1) for c in planned}
    assert len(seeds) == 2 * len(planned)
    assert 0 not in seeds


def test_a_chunk_does_not_depend_on_the_chosen_classes():
    (alone,) = {c.class_index for c in plan.chunks(JetSettings("jetclass", jets=30, classes=("TTBar",)))}
    assert alone == [p.name for p in processes.JETCLASS.processes].index("TTBar")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "jetclas"}, "unknown preset. Received: 'jetclas'.*Did you mean 'jetclass'"),
        ({"classes": ("HToBbb",)}, "unknown class. Received: 'HToBbb'.*ZJetsToNuNu.*Did you mean 'HToBB'"),
        ({"classes": ("Hbb", "HToBB")}, "named twice. Received: Hbb HToBB"),
        ({"card": "cmss"}, "unknown detector card of jetclass. Received: 'cmss'.*Did you mean 'cms'"),
        ({"compression": "zip"}, "unknown compression. Received: 'zip'"),
        ({"jets": 29}, "that is 30. Received: jets=29"),
        ({"jets": 6_000_000}, "at most 500000 jets per class.*Received: jets=6000000"),
        ({"seed": -1}, "Received: seed=-1"),
        ({"particles": 40}, "Received: particles=40"),
    ],
)
def test_settings_are_refused_with_what_was_received(change, message):
    with pytest.raises(ValueError, match=message):
        JetSettings(**{"preset": "jetclass", "jets": 1000, **change})


def test_files_are_mixed_labelled_and_recorded(tmp_path, no_pythia):
    settings = JetSettings("lhc5", jets=100, classes=TWO)
    made = run.generate(settings, tmp_path, 1, "the command")
    assert sorted(made["files"]) == ["test/jets_950.h5", "train/jets_000.h5", "val/jets_900.h5"]
    stored = json.loads((tmp_path / manifest.NAME).read_text())
    assert stored == made
    assert stored["command"] == "the command"
    assert sum(entry["jets"] for entry in stored["files"].values()) == 100
    for name, entry in stored["files"].items():
        assert manifest.file_sha256(tmp_path / name) == entry["sha256"]
    import h5py

    with h5py.File(tmp_path / "train/jets_000.h5") as file:
        labels = file["jets"][:, -6:-1]
    assert labels.sum(axis=0).tolist() == [40, 0, 0, 0, 40]
    assert (np.diff(labels.argmax(axis=1)) != 0).sum() > 5  # classes are mixed, not in blocks
    assert not (tmp_path / run.PARTS).exists()


def test_an_interrupted_run_goes_on_and_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    settings = JetSettings("lhc5", jets=60, classes=TWO)
    made = []

    def stops_at_the_fourth(*arguments):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(arguments[1])
        return stand_in(*arguments)

    monkeypatch.setattr(run, "make", stops_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run.generate(settings, tmp_path / "a", 1, "x")
    assert list(contents(tmp_path / "a")) == ["train/jets_000.h5"]  # two parts make a file, one waits
    before = contents(tmp_path / "a")
    (tmp_path / "a" / "train" / ".jets_001.h5.77.tmp").write_bytes(b"left by a killed run")
    done = list(made)
    monkeypatch.setattr(run, "make", lambda *arguments: made.append(arguments[1]) or stand_in(*arguments))
    run.generate(settings, tmp_path / "a", 1, "x")
    assert not set(made[3:]) & set(done)
    run.generate(settings, tmp_path / "b", 1, "x")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert before.items() <= contents(tmp_path / "a").items()
    assert not list(tmp_path.rglob("*.tmp"))


def test_finished_files_are_not_made_again(tmp_path, monkeypatch, no_pythia):
    settings = JetSettings("lhc5", jets=60, classes=TWO)
    run.generate(settings, tmp_path, 1, "x")
    before = contents(tmp_path)
    (tmp_path / "val" / "jets_900.h5").unlink()
    asked = []
    monkeypatch.setattr(run, "make", lambda *arguments: asked.append(arguments[1].number) or stand_in(*arguments))
    run.generate(settings, tmp_path, 1, "x")
    assert asked == [900, 900]
    assert contents(tmp_path) == before


@pytest.mark.parametrize("change", [{"seed": 2}, {"jets": 61}, {"particles": 30}])
def test_a_folder_of_other_settings_is_refused(tmp_path, no_pythia, change):
    run.generate(JetSettings("lhc5", jets=60, classes=TWO), tmp_path, 1, "the first command")
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=rf"{name}: \d+ there, {value} now\n.*the first command"):
        run.generate(JetSettings(**{"preset": "lhc5", "jets": 60, "classes": TWO, **change}), tmp_path, 1, "x")


def test_a_folder_of_the_former_generator_is_refused(tmp_path, no_pythia):
    settings = JetSettings("lhc5", jets=60, classes=TWO)
    run.generate(settings, tmp_path, 1, "x")
    text = json.loads((tmp_path / manifest.NAME).read_text())
    (tmp_path / manifest.NAME).write_text(json.dumps({**text, "format": 1}))
    with pytest.raises(DataError, match=r"jets of version 1 of the generator of lhc5.*version 2.*give another --out"):
        run.generate(settings, tmp_path, 1, "x")


def test_a_folder_of_another_pythia_is_refused(tmp_path, no_pythia):
    settings = JetSettings("lhc5", jets=60, classes=TWO)
    run.generate(settings, tmp_path, 1, "x")
    text = json.loads((tmp_path / manifest.NAME).read_text())
    text["versions"]["pythia8mc"] = "8.1"
    (tmp_path / manifest.NAME).write_text(json.dumps(text))
    with pytest.raises(ValueError, match=r"another run.*\n  pythia8mc: 8.1 there"):
        run.generate(settings, tmp_path, 1, "x")


def test_a_changed_file_is_refused(tmp_path, no_pythia):
    settings = JetSettings("lhc5", jets=60, classes=TWO)
    run.generate(settings, tmp_path, 1, "x")
    (tmp_path / "val" / "jets_900.h5").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"jets_900.h5 is not the file that was generated"):
        run.generate(settings, tmp_path, 1, "x")


@pytest.mark.parametrize(("text", "message"), [("{", "is not a manifest"), ("{}", "lacks command, files")])
def test_a_broken_manifest_is_refused(tmp_path, text, message):
    (tmp_path / manifest.NAME).write_text(text)
    with pytest.raises(ValueError, match=message):
        run.generate(JetSettings("lhc5", jets=60), tmp_path, 1, "x")


def test_a_second_run_into_the_folder_is_refused(tmp_path, monkeypatch):
    settings = JetSettings("lhc5", jets=60, classes=TWO)
    monkeypatch.setattr(run, "make", lambda *arguments: run.generate(settings, tmp_path, 1, "second"))
    with pytest.raises(RuntimeError, match="another process is generating into"):
        run.generate(settings, tmp_path, 1, "first")


def test_files_of_others_are_left_alone(tmp_path, no_pythia):
    settings, others = JetSettings("lhc5", jets=60, classes=TWO), [tmp_path / ".editor.tmp"]
    others[0].touch()
    run.generate(settings, tmp_path, 1, "x")
    others.append(tmp_path / "deep" / "er" / ".x.h5.1.tmp")
    others[1].parent.mkdir(parents=True)
    others[1].touch()
    run.generate(settings, tmp_path, 1, "x")
    assert all(path.exists() for path in others)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"holds other files, e.g. deep, and no jets that were generated; give another"):
        run.generate(settings, tmp_path, 1, "x")


def test_jobs_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="Received: jobs=0"):
        run.generate(JetSettings("lhc5", jets=60), tmp_path, 0, "x")


def test_content_checksum_sees_names_types_shapes_and_values():
    base = {"a": np.arange(4.0)}
    others = [
        {"b": np.arange(4.0)},
        {"a": np.arange(4)},
        {"a": np.arange(4.0).reshape(2, 2)},
        {"a": np.array([0.0, 1.0, 2.0, 4.0])},
    ]
    assert manifest.content_sha256(base) == manifest.content_sha256({"a": np.arange(4.0)})
    assert all(manifest.content_sha256(base) != manifest.content_sha256(other) for other in others)


def test_a_run_tells_its_jets_and_those_of_the_run_before(tmp_path, no_pythia, monkeypatch):
    told = []

    class Heard(Silent):
        def task(self, text, total, done=0):
            told.append([text, total, done])
            return lambda steps=1, note="": told[-1].append(steps)

    settings = JetSettings("lhc5", jets=60, classes=TWO)
    run.generate(settings, tmp_path, 1, "x", Heard())
    (tmp_path / "val" / "jets_900.h5").unlink()
    run.generate(settings, tmp_path, 1, "x", Heard())
    first, again = told
    assert first[:3] == ["lhc5 jets", 60, 0]
    assert sum(first[3:]) == 60
    assert again == ["lhc5 jets", 60, 54, 3, 3]


def test_command_line_makes_the_files(tmp_path, capsys, no_pythia):
    assert cli.COMMAND(["lhc5", "--out", str(tmp_path), "--jets", "60", "--jobs", "1"]) == 0
    assert f"wrote 60 jets in 3 files under {tmp_path}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["lhc6"],
            "unknown preset. Received: 'lhc6'. Choices: jetclass, lhc5, tracks, listops, digits, clusters, plot. Did "
            "you mean 'lhc5'?",
        ),
        (["lhc5", "somewhere"], "a preset takes its folder with --out. Received: 'somewhere'"),
        (["plot"], "plot needs a folder"),
        (["plot", "nowhere"], "no manifest.json in 'nowhere'"),
    ],
)
def test_command_line_errors(arguments, message, capsys):
    assert cli.COMMAND(arguments) == 2
    assert message in capsys.readouterr().err


def test_ctrl_c_is_told_and_gives_a_status(tmp_path, monkeypatch, capsys):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "make", pressed)
    assert cli.COMMAND(["lhc5", "--out", str(tmp_path), "--jets", "60", "--jobs", "1"]) == 3
    assert capsys.readouterr().err == "stopped; what was finished and written is kept\n"
