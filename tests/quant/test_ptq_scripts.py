"""qformers quantise and qformers tune from end to end, on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.ptq import DEMO, ROOT, gathered

from qformers.builds.models import load_model
from qformers.cli import COMMANDS
from qformers.quant.ptq import run_folder
from qformers.quant.ptq.journal import Journal
from qformers.quant.quantisers import quantisers


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> run_folder.Material:
    """A tiny float model and its data."""
    return gathered(tmp_path_factory.mktemp("float"))


def script(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command in this process, from the root of the repository."""
    monkeypatch.chdir(ROOT)
    return COMMANDS[name](arguments)


def variables(path: Path) -> Mapping[str, Any]:
    """Formats and weights of a saved model."""
    model = load_model(path)
    found = {q.name: [part.tolist() for part in q.kif()] for q in quantisers(model)}
    return found | {v.path: np.asarray(v).tolist() for v in model.weights if v.name in ("kernel", "bias")}


@pytest.mark.slow
def test_quantise_leaves_a_run_that_repeats_itself(
    material: run_folder.Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(material.build.to_yaml())
    first, second = tmp_path / "first", tmp_path / "second"
    arguments = [str(material.path), str(config), "--out", str(first), "--calibrate", "--calibration-jets", "50"]
    assert script("quantise", arguments, monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "b0_attn_k" in shown
    assert "test accuracy" in shown
    names = {str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()}
    left = {"model.keras", "manifest.json", "metrics.json", "test_logits.npz", "plots/roc.png", "plots/bit_widths.png"}
    assert {"build.yaml", "float/model.keras", *(f"qat/{name}" for name in left)} <= names
    manifest = json.loads((first / "qat" / "manifest.json").read_text())
    assert manifest["stage"] == "ptq"
    assert manifest["ebops"] > 0
    assert manifest["settings"]["ptq"] == {"formats": "calibrated", "quantile": 0.9999, "margin": 1.0}
    assert script("quantise", [*arguments[:1], str(first / "build.yaml"), "--out", str(second)], monkeypatch) == 0
    assert variables(second / "qat" / "model.keras") == variables(first / "qat" / "model.keras")
    with np.load(first / "qat" / "test_logits.npz") as a, np.load(second / "qat" / "test_logits.npz") as b:
        np.testing.assert_array_equal(a["logits"], b["logits"])


def test_quantile_without_calibrate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["none.keras", str(DEMO), "--out", str(tmp_path), "--quantile", "0.9"]
    assert script("quantise", arguments, monkeypatch) == 2
    assert "--quantile go with --calibrate. Received: no --calibrate" in capsys.readouterr().err
    assert script("quantise", [*arguments[:4]], monkeypatch) == 2
    assert "none.keras: no such file; train the float phase first" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        script("tune", arguments[:4], monkeypatch)
    assert "one of the arguments --max-loss --ebops is required" in capsys.readouterr().err


@pytest.mark.slow
def test_tune_precision_and_quantise_end_with_the_same_model(
    material: run_folder.Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped by a STOP file, gone on, and its build file quantised once more: the same model, bit for bit."""
    from qformers.quant.ptq import session

    config, out = tmp_path / "tiny.yaml", tmp_path / "tuned"
    config.write_text(material.build.to_yaml())
    monkeypatch.setattr(session, "UNIFORM", range(6, 12))
    arguments = [str(material.path), str(config), "--max-loss", "0.02", "--out", str(out), "--steps", "10"]
    arguments += ["--widest", "8", "--calibration-jets", "50"]
    add = Journal.add

    def stopping(self: Any, stage: str, formats: Any, measured: Any) -> None:
        add(self, stage, formats, measured)
        if len(self.known) == 20:
            (out / "STOP").touch()

    monkeypatch.setattr(Journal, "add", stopping)
    assert script("tune", arguments, monkeypatch) == 3
    assert "STOP exists: stopped; the same command goes on from there" in capsys.readouterr().out
    assert len((out / "search.jsonl").read_text().splitlines()) == 20
    assert script("tune", arguments, monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "20 evaluations are known" in shown
    assert "uniform / found: " in shown
    report = json.loads((out / "tune.json").read_text())
    assert report["found"]["expected_lost"] <= 0.02
    assert report["found"]["ebops"] == json.loads((out / "qat" / "manifest.json").read_text())["ebops"]
    assert {"tune_bits.png", "tune_ebops.png"} <= {path.name for path in (out / "plots").iterdir()}
    again = tmp_path / "again"
    assert script("quantise", [str(material.path), str(out / "tuned.yaml"), "--out", str(again)], monkeypatch) == 0
    assert variables(again / "qat" / "model.keras") == variables(out / "qat" / "model.keras")
