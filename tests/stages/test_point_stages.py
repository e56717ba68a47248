"""The stages behind the training of a point task: export by alkaid, C simulation, RTL, comparison and summary."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from rich.console import Console
from support.folded import bench_of, compiled
from support.quantised import shaken

from hls import cli
from hls.stages.compare import compare
from hls.stages.csim import simulate
from hls.stages.export import export
from hls.stages.rtl import simulate_rtl
from hls.stages.summary import summary
from qformers.builds.build import Build
from qformers.builds.models import build_model
from qformers.data import open_split
from qformers.generate.tracks import run as tracks
from qformers.generate.tracks.settings import TrackSettings
from qformers.models.inputs import host_inputs
from qformers.quant.fidelity import in_slots
from qformers.quant.fold import float_to_quantised

MODEL = {
    "architecture": "hept", "width": 2, "heads": 1, "layers": 1, "block_size": 4, "hashes": 2, "regions": 4,
    "hash": "coords", "order": "host", "kernel": "sink", "norm": "batch", "scale_terms": 1, "head_width": 2,
    "head_widths": [3], "head_activation": "relu", "dropout": 0,
}  # fmt: skip
QUANT = {
    "weight": "fixed<6,2,RND,SAT_SYM>", "bias": "fixed<6,2>", "activation": "fixed<7,4,RND,SAT>",
    "logits": "fixed<9,7,RND,SAT>", "coords": "fixed<6,3,RND,SAT>", "differences": "fixed<6,3,RND,SAT>",
    "exp_input_fraction_bits": 3, "exp_fraction_bits": 6, "inverse_input_fraction_bits": 3,
    "inverse_fraction_bits": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def hits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hits")
    tracks.generate(TrackSettings(events=10, pileup=3, seed=4, cells=False), folder, 1, "x")
    return folder


def build_of(hits: Path, task: str, **model: Any) -> Build:
    """Windows of 8 hits."""
    data: dict[str, Any] = {split: [str(hits / split / "*-hits.csv")] for split in ("train", "val", "test")}
    points = {"task": task, "phi_sectors": 8, "eta_edges": [-2, 0, 2], "too_many": "cut", "num_pairs": 128}
    data |= {"dataset": "trackml", "features": "place", "num_particles": 8, "points": points}
    phase = {"epochs": 1, "batch_size": 32, "learning_rate": 0.001, "jit_compile": False}
    head = "embedding" if task == "tracking" else "logits"
    tree = {"spec": 1, "name": f"tiny_{task}", "data": data, "model": {**MODEL, "head": head, **model}, "quant": QUANT}
    return Build.model_validate(
        {**tree, "train": {"float": phase, "qat": phase}, "firmware": {"backend": "alkaid", "clock_ns": 5}}
    )


def untrained(build: Build, run: Path) -> None:
    """A float model and its quantised form in a run folder."""
    source: Any = open_split(build.data, "train")
    events = source.load()
    keras.utils.set_random_seed(2)
    floating, fixed = (build_model(build, source.feature_set, source.class_names, v) for v in ("float32", "hgq"))
    float_to_quantised(shaken(floating), fixed, host_inputs(fixed, events))
    for name, model in (("float", floating), ("qat", fixed)):
        (run / name).mkdir(parents=True)
        model.save(run / name / "model.keras")
    (run / "build.yaml").write_text(build.to_yaml())


def simulated(build: Build, run: Path) -> tuple[str, dict[str, Any]]:
    """Export and simulate; what was printed, and csim.json."""
    export(build, run / "qat" / "model.keras", run / "firmware" / "alkaid")
    written = (run / "firmware/alkaid/manifest.json").stat().st_mtime_ns
    text = StringIO()
    for result in (simulate(build, run, 60), simulate_rtl(build, run, 60, ("interpreter",))):
        assert result.equal
        result.show(Console(width=200, file=text, soft_wrap=True))
        result.save()
    assert (run / "firmware/alkaid/manifest.json").stat().st_mtime_ns == written, "exported once"
    return text.getvalue(), json.loads((run / "csim.json").read_text())


@pytest.mark.slow
def test_tracking_through_all_stages(hits: Path, tmp_path: Path) -> None:
    build, run = build_of(hits, "tracking"), tmp_path / "tiny_tracking"
    untrained(build, run)
    told, csim = simulated(build, run)
    assert "60 windows (test split has 16, so test, val and train): firmware = quantised Keras: 0 of" in told
    assert "interpreter, windows: arithmetic = quantised Keras: 0 of" in told
    assert "AP@0.9" in told
    assert "decisions" not in told
    assert csim["what"] == "windows"
    assert csim["end"]["metrics"]["csim"] == csim["end"]["metrics"]["quantised"]
    assert csim["end"]["changes"]["quantised -> csim"] == {
        "max_difference": 0.0, "mean_difference": 0.0, "correlation": pytest.approx(1.0)
    }  # fmt: skip
    compared = {row["layer"]: row["correlation"] for row in csim["fidelity"]["layers"]}
    assert {"encoder0", "encoder1", "b0_ffn_fc1", "project", "head0", "embedding"} <= set(compared)
    assert compared["encoder0"] > 0.9
    text = str(summary(run))
    assert "AP@0.9 on the simulated windows (test split has 16, so test, val and train)" in text
    assert "C simulation == quantised model on 60 windows: 0 of" in text
    assert "RTL arithmetic == quantised model on 60 windows: 0 of" in text
    table = StringIO()
    compare([run]).show(Console(width=250, file=table))
    assert "equal" in table.getvalue()
    assert {path.name for path in (run / "plots").iterdir()} >= {"csim_scatter.png", "csim_differences.png"}


@pytest.mark.slow
def test_pileup_in_one_order_through_all_stages(hits: Path, tmp_path: Path) -> None:
    build, run = build_of(hits, "pileup", hashes=1), tmp_path / "tiny_pileup"
    untrained(build, run)
    told, csim = simulated(build, run)
    assert "AUPRC" in told
    assert "precision at recall" in told
    assert csim["end"]["metrics"]["csim"] == csim["end"]["metrics"]["quantised"]
    compared = {row["layer"]: row["correlation"] for row in csim["fidelity"]["layers"]}
    assert compared["encoder0"] > 0.9, "points that stand in order are put back into their slots"
    assert "AUPRC on the simulated windows" in str(summary(run))


@pytest.mark.slow
def test_tracking_in_folded_cpp_through_the_commands(hits: Path, tmp_path: Path) -> None:
    build, run = build_of(hits, "tracking"), tmp_path / "tiny_tracking"
    firmware = {"backend": "folded", "flavour": "vitis", "points_per_clock": 4}
    build = build.model_copy(update={"firmware": build.firmware.model_copy(update=firmware)})
    untrained(build, run)
    words = [str(run / "build.yaml"), "--run", str(run)]
    assert cli.main(["run", *words, "--from", "export", "--no-synth", "--quiet"]) == 0
    simulated = json.loads((run / "rtl.json").read_text())
    assert (simulated["flavour"], list(simulated["levels"]), simulated["equal"]) == ("vitis", ["interpreter"], True)
    project = run / "firmware/folded"
    compiled_again = (project / "csim/machine").stat().st_mtime_ns
    assert cli.main(["csim", *words, "--events", "60", "--quiet"]) == 0
    assert (project / "csim/machine").stat().st_mtime_ns == compiled_again, "compiled once"
    compared = json.loads((run / "csim.json").read_text())
    assert (compared["backend"], compared["what"], compared["equal"]) == ("folded", "windows", True)
    assert compared["end"]["metrics"]["csim"] == compared["end"]["metrics"]["quantised"]
    source = str(project / "src/tiny_tracking.cc")
    program = compiled(project, project / "tb/tb_tiny_tracking.cc", tmp_path / "bench", source)
    assert bench_of(project, program)[0] == 0
    beats, answers = ((project / f"tb_data/{name}.hex").read_text().split() for name in ("in_beat", "out_beat"))
    assert len(beats) == len(answers) > 1000


def test_rows_in_an_order_go_back_to_their_slots() -> None:
    order = np.array([[2, 0, 1], [0, 2, 1]])
    slots = np.arange(12.0).reshape(2, 3, 2)
    moved = np.take_along_axis(slots, order[..., None], axis=1)
    assert np.array_equal(in_slots(moved, order), slots)
