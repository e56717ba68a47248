"""The summary of a run folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from support.paths import CONFIGS

from hls.stages.summary import summary
from qformers.builds.build import load


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
    text = str(summary(tmp_path))
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
    lines = summary(tmp_path).lines
    assert lines[:2] == (
        f"{tmp_path.name}:",
        "C simulation == quantised model on 10 events: 0 of 50 outputs differ",
    )
    assert "RTL arithmetic == quantised model on 10 events: 0 of 50 outputs differ" in lines
    assert not any("accuracy" in line or "EBOPs" in line for line in lines)
    assert f"details    {tmp_path}/csim.json and {tmp_path}/plots/csim_*.png" in lines  # it shows no layers
    (tmp_path / "csim.json").write_text(json.dumps({**report, "fidelity": {"layers": [{"layer": "embed0"}]}}))
    assert f"per layer  {tmp_path}/csim.json and {tmp_path}/plots/csim_*.png" in summary(tmp_path).lines


def test_the_summary_of_a_float_model_of_ones_own_has_no_scores(tmp_path: Path) -> None:
    """Both phases have a manifest, and nobody says what is right."""
    found = {"equal": True, "events": 10, "values": 50, "values_different": 0}
    report = {"jets": found, "adversarial": found, "what": "events", "end": None, "project": "here", "splits": "file"}
    (tmp_path / "csim.json").write_text(json.dumps(report))
    for phase in ("float", "qat"):
        (tmp_path / phase).mkdir()
        (tmp_path / phase / "manifest.json").write_text(json.dumps({"stage": "own.ptq", "ebops": 1234}))
    lines = summary(tmp_path).lines
    assert lines[1] == "C simulation == quantised model on 10 events: 0 of 50 outputs differ"
    assert "EBOPs      1,234" in lines
    assert not any("jets" in line for line in lines)


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
        lines = module._costs(tmp_path, "vitis")
        assert lines[0] == "estimate   1,000 LUT, 20 FF, 0 DSP, 0 BRAM18 (alkaid 1; a bar)"
        assert lines[1].startswith(words)
    monkeypatch.setattr("hls.compare.table.sources.shutil.which", lambda name: f"/usr/bin/{name}")
    assert module._costs(tmp_path, "vitis")[1].endswith(f"complete: qformers synth BUILD --run {tmp_path}")
    (tmp_path / "build.yaml").write_text(load(CONFIGS / "part_tiny.yaml").to_yaml())
    assert module._costs(tmp_path, "vitis")[1].endswith(f"qformers synth {tmp_path}/build.yaml --run {tmp_path}")
