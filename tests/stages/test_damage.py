"""Damaged, stale and busy run folders before the firmware stages: named in one line, or made again; never believed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import hls_models as h
from support.damage import damages

from hls import cli
from hls.backends.simulators import cxx
from hls.backends.written import using
from hls.errors import HlsError
from hls.reports.report import Report, load_reports
from qformers.builds.build import load
from qformers.builds.settings import MADE_BY, differences, sections_of
from qformers.errors import ConfigError
from qformers.files import sha256
from qformers.manifest import read_manifest, write_manifest
from qformers.progress import Silent
from qformers.records import check_written, write_record

REFUSED = ("build", "model", "manifest", "firmware manifest", "firmware")  # by csim, before anything is loaded


@pytest.fixture(scope="module")
def finished(run4: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `run4` with what a training says of its models."""
    run = Path(shutil.copytree(run4, tmp_path_factory.mktemp("finished") / "run", copy_function=os.link))
    build = h.run_build()
    for name in ("float", "qat"):
        facts = {
            "settings": sections_of(build, *MADE_BY),
            "test": {"accuracy": {"value": 0.5, "error": 0.1}, "jets": 9},
        }
        files = {"model.keras": sha256(run / name / "model.keras")}
        write_manifest(run / name, f"train.{name}", build, {**facts, "ebops": 1}, files)
    return run


def copied(run: Path, place: Path) -> Path:
    return Path(shutil.copytree(run, place, copy_function=os.link))


def csim(run: Path, *more: str) -> int:
    return cli.main(["csim", str(run / "build.yaml"), "--run", str(run), "--events", "20", *more])


def test_no_damage_passes_csim(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tried = set()
    for number, (words, damage) in enumerate(damages(finished, 1, REFUSED)):
        if damage.file == "float/manifest.json" and damage.how == "deleted":
            continue  # csim reads the float model only
        if damage.file == "float/model.keras" and damage.how == "deleted":
            continue  # it says that it compares with none
        if damage.file == "qat/manifest.json" and damage.how == "deleted":
            continue  # a model that came from elsewhere
        run = copied(finished, tmp_path / str(number))
        damage.apply(run)
        if damage.kind == "build" and _says_the_same(run / "build.yaml"):
            continue  # keys with their defaults were cut off
        status = csim(run)
        assert status == 2, words
        told = capsys.readouterr().err
        assert "Traceback" not in told, words
        place = "build.yaml" if damage.kind == "build" else damage.file
        assert place in told or "holds no firmware project" in told or damage.kind == "build", f"{words}: {told}"
        assert not (run / "csim.json").exists(), words
        tried.add(damage.kind)
        shutil.rmtree(run)
    assert tried == set(REFUSED)


def _says_the_same(path: Path) -> bool:
    """Whether a damaged build file is a build all the same, with the settings that the run was made with."""
    try:
        found = load(path)
    except ConfigError:
        return False
    keys = (*MADE_BY, "firmware")
    return not differences(sections_of(h.run_build(), *keys), sections_of(found, *keys))


@pytest.mark.parametrize(
    ("command", "change", "words"),
    [
        ("csim", "firmware.clock_ns=4", "was written with other settings.* firmware.clock_ns: 5.0 -> 4.0"),
        (
            "csim",
            "firmware.layers={logits: {accumulator: 'fixed<20,9>'}}",
            "was written with other settings.* firmware.layers",
        ),
        ("csim", "model.heads=1", "was made by another build.* model.heads: 2 -> 1"),
        ("csim", "quant.weight=fixed<6,2>", "was made by another build.* quant.weight"),
        ("csim", "seed=9", "was made by another build.* seed: 1 -> 9"),
        ("export", "quant.weight=fixed<6,2>", "was made by another build.* quant.weight"),
        ("export", "model.heads=1", "was made by another build.* model.heads: 2 -> 1"),
        ("export", "train.float.epochs=7", "was made by another build.* train.float.epochs"),
        ("export", "data.num_particles=8", "was made by another build.* data.num_particles: 4 -> 8"),
        ("rtl", "quant.weight=fixed<6,2>", "was made by another build.* quant.weight"),
        ("synth", "model.heads=1", "was made by another build.* model.heads"),
    ],
)
def test_another_build_is_refused(
    command: str, change: str, words: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("hls.stages.synth.find_yosys", lambda: None)
    run = copied(finished, tmp_path / "run")
    before = read_manifest(run / "firmware" / "vitis", "")
    assert cli.main([command, str(run / "build.yaml"), "--run", str(run), "--set", change]) == 2
    told = capsys.readouterr().err
    assert re.search(words, told), told
    assert read_manifest(run / "firmware" / "vitis", "") == before
    assert not list(run.glob("*.json"))


def test_a_model_without_a_manifest_says_itself_what_it_is_of(
    run4: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(run4, tmp_path / "run")
    assert cli.main(["export", str(run / "build.yaml"), "--run", str(run), "--set", "model.ffn_ratio=4"]) == 2
    assert "was made by another build" in capsys.readouterr().err
    (run / "qat" / "checkpoints").mkdir()
    assert cli.main(["export", str(run / "build.yaml"), "--run", str(run)]) == 2
    assert "its training is not finished; go on with it first" in capsys.readouterr().err


def test_the_manifest_of_a_project_names_every_file(run4: Path, tmp_path: Path) -> None:
    project = copied(run4, tmp_path / "run") / "firmware" / "vitis"
    manifest = read_manifest(project, "")
    names = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    compiled = {name for name in names if name.startswith("csim/")}
    assert set(manifest["written"]) == names - compiled - {"manifest.json"}
    assert {"tb_data/tb_input_features.dat", "layout.json", "precision.json"} <= set(manifest["written"])
    assert check_written(project, manifest) == []
    (project / "tb_data" / "tb_input_features.dat").unlink()
    faults = [str(fault) for fault in check_written(project, manifest)]
    assert faults == [f"{project / 'tb_data/tb_input_features.dat'}: is missing"]


def test_a_project_in_use_is_left_alone_and_its_user_named(run4: Path, tmp_path: Path) -> None:
    project = copied(run4, tmp_path / "run") / "firmware" / "vitis"
    script = (
        "import sys; from pathlib import Path; from hls.backends.written import using\n"
        "with using(Path(sys.argv[1]), 'qformers csim'):\n    print('held', flush=True); sys.stdin.read()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(project)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        words = rf"vitis is in use by qformers csim \(process {other.pid} on .*\); wait until it ends, or stop it"
        with pytest.raises(HlsError, match=words), using(project, "qformers export"):
            pass
        other.kill()
    with using(project, "qformers export"), using(project, "again, within"):
        assert "qformers export" in (project.parent / ".vitis.holder").read_text()
    assert not (project.parent / ".vitis.holder").exists()


@pytest.mark.parametrize("how", ["emptied", "truncated", "deleted", "flipped"])
def test_a_damaged_library_or_object_is_compiled_again(how: str, tmp_path: Path) -> None:
    source, made, library = tmp_path / "a.cc", tmp_path / "a-1.o", tmp_path / "a-1.so"
    source.write_text('extern "C" int answer() { return 42; }\n')

    def compile_and_link() -> None:
        cxx.compile_all([cxx.Job(source, made)], ("-fPIC",), Silent())
        if not cxx.whole(library):
            cxx.link([made], library, tmp_path / "link.log")

    compile_and_link()
    good = {path: path.read_bytes() for path in (made, library)}
    for path, content in good.items():
        new = {"emptied": b"", "truncated": content[: len(content) // 2], "deleted": None}
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        broken = new.get(how, flipped)
        if broken is None:
            path.unlink()
        else:
            path.write_bytes(broken)
        assert not cxx.whole(path)
    compile_and_link()
    assert {path: path.read_bytes() for path in good} == good
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["a-1.o", "a-1.o.sha256", "a-1.so", "a-1.so.sha256", "a.cc", "a.log", "link.log"]


def test_a_report_or_record_that_was_edited_is_named(tmp_path: Path) -> None:
    path = Report("yosys", "synthesis", resources={"lut": 1200}).save(tmp_path)
    assert load_reports(tmp_path)["yosys"].resources == {"lut": 1200}
    tree = json.loads(path.read_text())
    tree["resources"]["lut"] = 12
    path.write_text(json.dumps(tree))
    with pytest.raises(HlsError, match=r"reports/yosys.json: was changed after it was written.*; make it again"):
        load_reports(tmp_path)
    for content in (b"", b"[]", b"null", b"\xff\xfe", b"{"):
        path.write_bytes(content)
        with pytest.raises(HlsError, match=r"reports/yosys.json: .*; make it again"):
            load_reports(tmp_path)
    write_record(path, {"nothing": 1})
    with pytest.raises(HlsError, match=r"reports/yosys.json is no report of this program"):
        load_reports(tmp_path)
