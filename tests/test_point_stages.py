"""The stages behind the training of a point task: export by alkaid, C simulation, RTL, comparison and summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hls.compare.compare import compare
from hls.export import export
from hls.progress import Silent
from hls.rtl import simulate_rtl
from hls.simulate import simulate
from hls.summary import summary
from qformers.config import Build
from qformers.data.generate.tracks import run as tracks
from qformers.data.generate.tracks.settings import TrackSettings
from qformers.train import phases

MODEL = {
    "architecture": "hept", "width": 4, "heads": 1, "layers": 1, "block_size": 4, "hashes": 2, "regions": 4,
    "hash": "coords", "order": "host", "kernel": "sink", "norm": "batch", "scale_terms": 2, "head_width": 3,
    "head_widths": [5], "head_activation": "relu", "dropout": 0,
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
    tracks.generate(TrackSettings(events=10, pileup=1, seed=4, cells=False), folder, 1, "x")
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


def through_all(build: Build, run: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Train, export, simulate; what was printed, csim.json and rtl.json."""
    with Console(width=200, record=True, quiet=True) as console:
        phases.train_build(build, run, ["float", "qat"], console=Console(quiet=True))
    export(build, run / "qat" / "model.keras", run / "firmware" / "alkaid")
    written = (run / "firmware/alkaid/manifest.json").stat().st_mtime_ns
    import io

    text = io.StringIO()
    console = Console(width=200, file=text)
    assert simulate(build, run, 60, Silent(), console).equal
    assert simulate_rtl(build, run, 60, Silent(), console, ("interpreter",)).equal
    assert (run / "firmware/alkaid/manifest.json").stat().st_mtime_ns == written, "exported once"
    csim, rtl = (json.loads((run / f"{name}.json").read_text()) for name in ("csim", "rtl"))
    return text.getvalue(), csim, rtl
