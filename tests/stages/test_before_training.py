"""A build whose firmware cannot be is refused before its training, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.paths import DATA

from hls import cli
from hls.cli import run as whole
from hls.errors import ExportRefused, HlsError
from hls.stages.refusals import refuse_before_training
from qformers.builds.build import load
from qformers.errors import ConfigError


@pytest.fixture
def build_file(tmp_path: Path) -> Path:
    """A small DeepSets with both phases, on the jets of the repository."""
    phase = {"epochs": 1, "batch_size": 64}
    tree = {
        "spec": 1, "name": "small_sets",
        "data": {
            "dataset": "jetclass", "features": "lnpt_eta_phi", "num_particles": 4,
            **{split: [str(DATA / "jets" / split / "*.root")] for split in ("train", "val", "test")},
        },
        "model": {"architecture": "deepsets", "phi_widths": [4], "rho_widths": []},
        "quant": {}, "train": {"float": phase, "qat": phase},
    }  # fmt: skip
    path = tmp_path / "small_sets.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ("quant.layers={phi9: {weight: 'fixed<4,1>'}}", ConfigError, "quant.layers: no layer is called 'phi9'; did"),
        ("firmware.layers={phi9: {reuse_factor: 2}}", ExportRefused, "firmware.layers.phi9 .*no layer has this name"),
        ("firmware.strategy=resource", ExportRefused, "einsum layers for strategy latency only. Received: resource"),
        ("firmware={backend: alkaid, reuse_factor: 2}", ExportRefused, "takes an event every clock cycle. Received: 2"),
        (
            "firmware={backend: folded, keys_per_clock: 2}", ExportRefused,
            r"firmware.keys_per_clock \(setting\): no layer of this model works on pairs of its 4 points. Received: 2",
        ),
        (
            "firmware={backend: folded, points_per_clock: 3}", ExportRefused,
            r"firmware.points_per_clock \(setting\): must divide the 4 points of an event. Received: 3",
        ),
        ("firmware.backend=vits", HlsError, "unknown backend 'vits'; did you mean 'vitis'"),
        ("name=phi0", ExportRefused, r"name \(setting\): a layer, input or output of the model has this name too"),
    ],
)  # fmt: skip
def test_what_firmware_cannot_be_is_refused(setting: str, error: type[Exception], words: str, build_file: Path) -> None:
    with pytest.raises(error, match=words):
        refuse_before_training(load(build_file, [setting]))


def test_formats_that_cannot_fold_are_refused_by_layer(build_file: Path) -> None:
    settings = ["firmware.backend=folded", "quant.granularity=element"]
    with pytest.raises(
        ExportRefused, match=r"phi0 \(QEinsumDense\): its formats differ from point to point; use quant."
    ):
        refuse_before_training(load(build_file, settings))
    refuse_before_training(load(build_file, [settings[0]]))


def test_a_sound_build_and_one_without_firmware_pass(build_file: Path) -> None:
    refuse_before_training(load(build_file))
    refuse_before_training(load(build_file, ["train.qat=null", "firmware.backend=vits"]))


def test_a_refused_build_leaves_no_run_folder(
    build_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(build_file), "--phase", "float", "--run", str(tmp_path / "run")]
    assert cli.main([*words, "--set", "firmware.strategy=resource"]) == 2
    assert "set firmware.strategy: latency" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small_sets.yaml"]


@pytest.mark.parametrize("command", ["export", "csim", "rtl", "synth", "prove", "audit", "sparsity", "run"])
def test_a_float_only_build_is_not_sent_to_train_once_more(
    command: str, build_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its training is finished: the section that is missing is named instead."""
    run = tmp_path / "run"
    (run / "float").mkdir(parents=True)
    (run / "float" / "model.keras").write_bytes(b"of a finished training")
    words = [command, str(build_file), "--run", str(run), "--set", "quant=null", "--set", "train.qat=null"]
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert "build 'small_sets' is float only: it has no section 'quant'" in told
    assert "as firmware_configs/part_demo.yaml has them" in told
    assert "train the build" not in told


def test_the_whole_flow_trains_a_float_only_build_where_that_is_all(build_file: Path, tmp_path: Path) -> None:
    words = ["run", str(build_file), "--run", str(tmp_path / "run"), "--set", "quant=null", "--set", "train.qat=null"]
    assert cli.main([*words, "--to", "train", "--quiet"]) == 0
    assert (tmp_path / "run" / "float" / "model.keras").is_file()
    assert cli.main([*words, "--from", "compare", "--quiet"]) == 0
    assert (tmp_path / "run" / "comparison" / "report.html").is_file()


def test_the_whole_flow_asks_too() -> None:
    assert whole.STAGES["train"] is cli.COMMANDS["train"]
