"""The thin scripts: what they refuse and what they leave."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hls.summary import summary

SCRIPTS = Path(__file__).parents[1] / "scripts"


def script(name: str) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
        ([], ["train", "export", "csim", "rtl", "compare"]),
        (["--synth", "--from", "rtl"], ["rtl", "synth", "compare"]),
        (["--from", "synth", "--to", "synth"], ["synth"]),
    ],
)
def test_the_slow_synthesis_is_run_when_asked_for(
    arguments: list[str], stages: list[str], run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hls.summary

    calls: list[list[str]] = []

    def fake(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run.subprocess, "run", fake)
    monkeypatch.setattr(hls.summary, "summary", lambda folder: "")
    build = SCRIPTS.parent / "firmware_configs" / "part_demo.yaml"
    monkeypatch.setattr(sys, "argv", ["run.py", str(build), *arguments])
    assert run.main() == 0
    assert [Path(call[1]).name for call in calls] == [run.STAGES[stage] for stage in stages]
    if "compare" in stages:
        assert calls[-1][2:] == ["runs/part_demo", "--out", "runs/part_demo/comparison"]


def test_levels_of_the_rtl_simulation_are_those_of_the_backend() -> None:
    from hls.backends.alkaid_project import LEVELS

    assert script("run_rtl").LEVELS == LEVELS


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
