"""The two stages, export and csim, and their commands, on jets of the repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support import hls_models as h
from support.damage import as_written

from hls import cli
from hls.backends import open_project
from hls.backends.protocol import Step
from hls.errors import HlsError
from hls.proof import fidelity as f
from hls.proof.samples import load_jets
from hls.stages.csim import simulate
from hls.stages.export import export, load_quantised
from qformers.builds.build import load
from qformers.config.sections import QuantConfig
from qformers.files import sha256
from qformers.models import MODELS
from qformers.models.sizes import Jet
from qformers.nn.hgq import Hgq
from qformers.progress import Bars
from qformers.quant.fidelity import Distance, centred, correlation, real_values

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(run4: Path, tmp_path: Path) -> Path:
    """A copy of the run folder, compiled objects included."""
    return Path(shutil.copytree(run4, tmp_path / "run"))


def command(name: str, *arguments: object) -> int:
    """Run a command as a user would and return its exit status."""
    return cli.main([name, *map(str, arguments)])


def flip(run: Path, layer: str) -> None:
    """Plant a fault in the written project."""
    path = run / f"firmware/vitis/firmware/weights/{layer}_weight.txt"
    values = [float(value) for value in path.read_text().split(", ")]
    path.write_text(", ".join(str(-value) for value in values))
    as_written(run / "firmware/vitis")


def test_csim_of_a_build(run: Path, part4: h.Compared, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("csim", run / "build.yaml", "--run", run, "--events", 10_000) == 0
    told = capsys.readouterr().out
    assert "2600 jets (test split has 260, so test, val and train): firmware = quantised Keras: 0 of 26000" in told
    assert "adversarial events: firmware = quantised Keras: 0 of" in told
    for word in (
        "b0_attn_residual",
        "accuracy",
        "AUC",
        "rejection Hbb",
        "quantised -> csim",
        f"written: {run / 'csim.json'}",
    ):
        assert word in told
    written = json.loads((run / "csim.json").read_text())
    assert written["equal"] is True
    assert written["jets"]["events"] == 2600
    assert written["adversarial"]["cases"]["empty jet"] == 1
    assert written["end"]["changes"]["quantised -> csim"]["decisions_changed"] == 0
    assert written["end"]["metrics"]["csim"] == written["end"]["metrics"]["quantised"]
    rows = {row["layer"]: row for row in written["fidelity"]["layers"]}
    assert {"embed0", "pair1", "b0_attn_q", "b0_attn_k", "b0_attn_scores", "b0_attn_weights", "pool", "logits"} <= set(
        rows
    )
    assert {name: row["correlation"] for name, row in rows.items() if row["correlation"] < 0.9} == {}
    assert rows["embed0"]["mean_lsb"] < 5
    assert rows["logits"]["values"] == 10_000
    for name in ("csim_layers", "csim_scatter", "csim_differences"):
        assert (run / "plots" / f"{name}.png").read_bytes().startswith(PNG)


def test_a_difference_is_told_and_ends_with_status_one(
    run: Path, part4: h.Compared, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "float" / "model.keras").unlink()
    flip(run, "b0_ffn_fc1")
    assert command("csim", run / "build.yaml", "--run", run, "--events", 200) == 1
    told = capsys.readouterr().out
    assert "200 jets (test split): firmware is NOT equal to quantised Keras" in told
    assert "first difference in layer 'b0_ffn_fc1'" in told
    assert "no comparison with the float model" in told
    written = json.loads((run / "csim.json").read_text())
    assert written["equal"] is False
    assert written["jets"]["first"]["layer"] == "b0_ffn_fc1"


def test_export_writes_the_project_and_its_test_bench(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = run / "qat" / "model.keras", tmp_path / "project"
    arguments = ("--model", model, "--out", out, "--backend", "vivado", "--set", "firmware.clock_ns=4")
    assert command("export", run / "build.yaml", *arguments) == 0
    assert f"project:   {out}" in capsys.readouterr().out
    project = open_project(out)
    assert project.layout.backend == "vivado"
    assert "set clock_period 4.0" in (out / "project.tcl").read_text()
    assert json.loads((out / "manifest.json").read_text())["model_file_sha256"] == sha256(model)
    given, wanted = (
        np.loadtxt(out / "tb_data" / f"tb_{name}.dat") for name in ("input_features", "output_predictions")
    )
    assert given.shape[1] == 4 * 3 + 4 + 4 * 4 * 4
    assert len(given) == len(wanted) > 600
    ports = {"features": (0, 12, (4, 3)), "mask": (12, 16, (4,)), "pairs": (16, 80, (4, 4, 4))}
    inputs = {name: given[:, a:b].reshape(-1, *shape).astype(np.float32) for name, (a, b, shape) in ports.items()}
    np.testing.assert_array_equal(h.keras_outputs(load_quantised(model), inputs)["logits"], wanted.astype(np.float32))


def test_synthesis_without_tool_ends_with_status_two(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hls.backends.vendor.shutil.which", lambda program: None)
    model, out = run / "qat" / "model.keras", tmp_path / "project"
    assert command("export", run / "build.yaml", "--model", model, "--out", out, "--synth") == 2
    assert "cd project && vitis-run --mode hls --tcl build_prj.tcl" in capsys.readouterr().err
    assert open_project(out).layout.top == "part4", "the project is there all the same"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("export", ("--model", "nowhere.keras"), "nowhere.keras is missing; train the build first"),
        ("export", ("--backend", "oneapi"), "backend 'oneapi' is refused"),
        (
            "export",
            ("--set", "firmware.clock_perod=4"),
            "unknown key 'firmware.clock_perod'; did you mean 'clock_ns'",
        ),
        ("csim", ("--run", "nowhere"), "build 'part4' trains in float alone, since train.qat is null"),
    ],
)
def test_errors_are_one_message_and_status_two(
    run4: Path, name: str, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(name, run4 / "build.yaml", *arguments) == 2
    told = capsys.readouterr().err
    assert message.split(";")[0] in told
    assert "Traceback" not in told


def test_a_model_of_another_architecture_is_no_model_of_the_build(run4: Path, tmp_path: Path) -> None:
    mixer = MODELS["mixer"]
    jet = Jet(4, 3, 10, None)  # type: ignore[arg-type]  # it reads no feature set
    mixer.build(mixer.forms["weighted"], jet, Hgq(QuantConfig())).save(tmp_path / "mixer.keras")
    with pytest.raises(HlsError, match=r"mixer.keras is of architecture mixer, build 'part4' of part"):
        export(load(run4 / "build.yaml"), tmp_path / "mixer.keras", tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("not a model")
    with pytest.raises(HlsError, match="cannot be read as a Keras model"):
        load_quantised(tmp_path / "model.keras")


def test_a_project_of_another_model_is_refused(run: Path) -> None:
    model = load_quantised(run / "qat" / "model.keras")
    layer = model.get_layer("logits")
    layer._kernel.assign(np.asarray(layer._kernel) + 1)
    model.save(run / "qat" / "model.keras")
    with pytest.raises(HlsError, match=r"was written from another model.*export this one first"):
        simulate(h.run_build(), run, 100)


def test_jets_are_taken_in_random_order_and_repeatable() -> None:
    one, words = load_jets(h.run_build(), 100)
    two, _ = load_jets(h.run_build(), 100)
    assert words == "test split"
    np.testing.assert_array_equal(one.labels, two.labels)
    assert len(np.unique(one.labels)) == 10, "files hold one class each: the first jets would be of few classes"


def test_at_least_one_jet_is_needed() -> None:
    with pytest.raises(HlsError, match=r"at least one jet is needed: set --events\. Received: 0"):
        load_jets(h.run_build(), 0)


def test_bars_count_steps() -> None:
    with Bars(Console(quiet=True)) as bars:
        tick = bars.task("compile", 3)
        tick()
        assert bars._counts[0].new == 1
        tick(2)
        assert bars._counts == [], "finished"


def test_errors_per_layer_are_numbers_of_the_values_given() -> None:
    step = Step("a_relu", "a", "relu", "a_relu_out", (3,), "fixed<8,4,RND,SAT>", False)
    wanted = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, 100.0]])
    firmware = wanted + np.array([[0.125, 0.0, -0.0625], [0.0, 0.0, 50.0]])
    real = np.array([[True, True, True], [True, True, False]])
    row = f._row(step, 0.125, Distance.between(firmware[real], wanted[real]))
    assert (row.values, row.max_error, row.mean_error) == (5, 0.125, 0.0375)
    assert (row.lsb, row.max_lsb, row.mean_lsb) == (0.125, 1.0, 0.3)  # not of the firmware's format
    assert row.relative == pytest.approx(0.0375 / 1.3)
    assert row.correlation == pytest.approx(np.corrcoef(firmware[real], wanted[real])[0, 1])


def test_padded_particles_do_not_count() -> None:
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    real = real_values((2, 2, 3, 3), ("event", "head", "point", "point"), mask)
    np.testing.assert_array_equal(real[0, 1], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(real_values((2, 5), ("event", "channel"), mask), np.ones((2, 5)))
    with_token = real_values((2, 2, 4), ("event", "head", "point"), mask)
    np.testing.assert_array_equal(with_token[1, 0], [1, 1, 0, 0])
    assert real_values((2, 3), None, mask).all()


def test_scores_are_compared_up_to_a_constant_per_query() -> None:
    random = np.random.default_rng(0)
    scores, real = random.normal(size=(4, 2, 3, 3)), random.random((4, 2, 3, 3)) < 0.7
    moved = scores + random.normal(size=(4, 2, 3, 1))
    np.testing.assert_allclose(centred(moved, real)[real], centred(scores, real)[real], atol=1e-12)


def test_correlation_of_a_constant_is_zero() -> None:
    assert correlation(np.ones(5), np.arange(5.0)) == 0.0
    assert correlation(np.arange(5.0), -np.arange(5.0)) == pytest.approx(-1.0)
