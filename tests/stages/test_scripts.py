"""The thin scripts: what they refuse and what they leave."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.paths import SCRIPTS
from support.scripts import script

from hls import cli
from hls.errors import HlsError
from hls.stages.summary import summary
from qformers.builds.build import Build
from qformers.data import DataError
from qformers.errors import ConfigError


@pytest.fixture(scope="module")
def run() -> ModuleType:
    """scripts/run.py."""
    return script("run")


def test_stages_are_taken_in_order(run: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.parse(["build.yaml", "--from", "csim", "--to", "train"])
    assert "--from must not come after --to. Received: --from csim --to train" in capsys.readouterr().err


def test_the_first_failing_stage_ends_the_run(run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = SCRIPTS.parent / "firmware_configs" / "part_demo.yaml"
    calls: list[list[str]] = []

    def fake(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 7 if "export_hls.py" in command[1] else 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run.subprocess, "run", fake)
    monkeypatch.setattr(sys, "argv", ["run.py", str(build), "--fresh", "--set", "seed=3"])
    assert run.main() == 7
    assert [Path(call[1]).name for call in calls] == ["train.py", "export_hls.py"]
    assert calls[0][2:] == [str(build), "--set", "seed=3", "--fresh"]
    assert calls[1][2:] == [str(build), "--set", "seed=3"]


@pytest.mark.parametrize(
    ("arguments", "stages"),
    [
        ([], ["train", "export", "csim", "rtl", "synth", "compare"]),
        (["--no-synth", "--from", "rtl"], ["rtl", "compare"]),
        (["--from", "synth", "--to", "synth", "--synth-limit", "60"], ["synth"]),
    ],
)
def test_the_synthesis_has_a_time_limit_and_can_be_left_out(
    arguments: list[str], stages: list[str], run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hls.stages.summary

    calls: list[list[str]] = []

    def fake(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run.subprocess, "run", fake)
    monkeypatch.setattr(hls.stages.summary, "summary", lambda folder: "")
    build = SCRIPTS.parent / "firmware_configs" / "part_demo.yaml"
    monkeypatch.setattr(sys, "argv", ["run.py", str(build), *arguments])
    assert run.main() == 0
    assert [Path(call[1]).name for call in calls] == [run.STAGES[stage] for stage in stages]
    if "synth" in stages:
        limit = "60.0" if "60" in arguments else "450.0"
        assert calls[stages.index("synth")][2:] == [str(build), "--if-available", "--time-limit", limit]
    if "compare" in stages:
        assert calls[-1][2:] == ["runs/part_demo", "--out", "runs/part_demo/comparison"]


def test_a_stage_that_is_named_is_not_left_out(run: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.parse(["build.yaml", "--to", "synth", "--no-synth"])
    assert "--no-synth leaves out the stage that --from or --to names: synth" in capsys.readouterr().err


@pytest.mark.parametrize("available", [True, False])
def test_synthesis_out_of_time_says_how_to_finish_it(
    available: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hls.reports.yosys.run import YosysStopped

    synthesise = script("synthesise")

    def late(build: object, options: object) -> None:
        raise YosysStopped("yosys was stopped")

    monkeypatch.setattr(synthesise, "_synthesise", late)
    build = str(SCRIPTS.parent / "firmware_configs" / "part_demo.yaml")
    arguments = ["synthesise.py", build, "--set", "seed=3", *(["--if-available"] if available else [])]
    monkeypatch.setattr(sys, "argv", arguments)
    assert synthesise.main() == (0 if available else 1)
    told = capsys.readouterr()
    assert f"to finish it: python scripts/synthesise.py {build} --set seed=3\n" in told.out
    assert "yosys was stopped" in (told.out if available else told.err)


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_help_answers_at_once(name: str) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = [sys.argv[1], '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    print('status', end.code)\n"
        "print('heavy', [name for name in ('keras', 'tensorflow', 'hls4ml', 'alkaid') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(SCRIPTS / f"{name}.py")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("usage: ")
    assert told.endswith("status 0\nheavy []\n")


@pytest.mark.parametrize("error", [ConfigError, DataError, HlsError])
def test_what_a_user_can_mend_is_one_message_and_status_one(
    error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise error("mend this")

    assert cli.exit_status(work) == 1
    assert capsys.readouterr() == ("", "mend this\n")
    assert cli.exit_status(lambda: 3) == 3


def test_what_nobody_can_mend_is_not_hidden() -> None:
    def work() -> int:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        cli.exit_status(work)


def test_a_build_is_loaded_with_its_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.parser_of("")
    cli.add_build(parser)
    cli.add_run(parser)
    cli.add_set(parser, "seed=3")
    build = str(SCRIPTS.parent / "firmware_configs" / "part_demo.yaml")

    def work(build: Build, options: argparse.Namespace) -> int:
        print(cli.run_folder(build, options.run), cli.model_path(build), build.seed)
        return 0

    assert cli.on_build(parser.parse_args([build, "--set", "seed=3", "--set", "name=other"]), work) == 0
    assert cli.on_build(parser.parse_args([build, "--run", "here", "--set", "seed=4"]), work) == 0
    told = "runs/other runs/other/qat/model.keras 3\nhere runs/part_demo/qat/model.keras 4\n"
    assert capsys.readouterr().out == told
    assert cli.on_build(parser.parse_args([build, "--set", "sed=3"]), work) == 1
    assert "unknown key 'sed'; did you mean 'seed'" in capsys.readouterr().err


def test_a_wrong_build_stops_before_any_stage(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", str(tmp_path / "no.yaml")])
    assert run.main() == 1
    assert "no.yaml: cannot be read" in capsys.readouterr().err


def test_the_summary_says_when_firmware_differs(tmp_path: Path) -> None:
    found = {"equal": True, "events": 10, "values": 50, "values_different": 0}
    wrong = {**found, "equal": False, "values_different": 3}
    metrics = {"csim": {"accuracy": {"value": 0.5, "error": 0.1}}}
    report = {"jets": found, "adversarial": wrong, "end": {"metrics": metrics}, "project": "here", "splits": "all"}
    (tmp_path / "csim.json").write_text(json.dumps(report))
    for phase, value in (("float", 0.6), ("qat", 0.4)):
        (tmp_path / phase).mkdir()
        manifest = {"ebops": 1234, "test": {"jets": 7, "accuracy": {"value": value, "error": 0.2}}}
        (tmp_path / phase / "manifest.json").write_text(json.dumps(manifest))
    text = summary(tmp_path)
    assert "C simulation == quantised model on 10 jets: 0 of 50 outputs differ" in text
    assert "C simulation != quantised model on 10 adversarial events: 3 of 50 outputs differ" in text
    assert "accuracy on the 7 jets of the test split\n  float      0.6000 +- 0.2000\n  quantised  0.4000" in text
    assert "accuracy on the simulated jets (all)" in text
    assert "csim       0.5000 +- 0.1000" in text
    assert "EBOPs      1,234" in text
    assert "synthesis" not in text  # no RTL, nothing to synthesise


def test_the_summary_of_an_imported_model_has_no_training(tmp_path: Path) -> None:
    found = {"equal": True, "events": 10, "values": 50, "values_different": 0}
    report = {"jets": found, "adversarial": found, "what": "events", "end": None, "project": "here", "splits": "random"}
    (tmp_path / "csim.json").write_text(json.dumps(report))
    rtl = {"levels": {"interpreter": {"jets": found, "adversarial": found}}, "skipped": {}}
    (tmp_path / "rtl.json").write_text(json.dumps(rtl))
    lines = summary(tmp_path).splitlines()
    assert lines[:2] == [
        f"{tmp_path.name}:",
        "C simulation == quantised model on 10 events: 0 of 50 outputs differ",
    ]
    assert "RTL arithmetic == quantised model on 10 events: 0 of 50 outputs differ" in lines
    assert not any("accuracy" in line or "EBOPs" in line for line in lines)


def test_the_summary_has_the_synthesis_of_this_model_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hls.reports.report import Report
    from hls.stages import summary as module

    counts = {"lut": 1000, "ff": 20, "dsp": 0, "bram18": 0}
    alkaid = Report("alkaid", "estimate", "alkaid 1", "part", counts, error_bar="a bar", detail={"model_sha256": "new"})
    yosys = Report("yosys-nodsp", "synthesis", "Yosys 1", "xcup", {**counts, "lut": 2000}, error_bar="one design; more")
    for model, words in (
        ("new", "synthesis  2,000 LUT, 20 FF, 0 DSP, 0 BRAM18 (Yosys 1; one design)"),
        ("old", "synthesis  not complete: "),
    ):
        reports = {"alkaid": alkaid, "yosys-nodsp": dataclasses.replace(yosys, detail={"model_sha256": model})}
        monkeypatch.setattr(module, "load_reports", lambda run, reports=reports: reports)
        lines = module._costs(tmp_path)
        assert lines[0] == "estimate   1,000 LUT, 20 FF, 0 DSP, 0 BRAM18 (alkaid 1; a bar)"
        assert lines[1].startswith(words)
