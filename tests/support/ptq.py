"""A tiny float ParT with random weights and its data, for the tests of post-training quantisation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qformers.builds.build import Build, load
from qformers.builds.models import build_model
from qformers.config.sections import QuantConfig
from qformers.data import open_split
from qformers.quant.ptq import run_folder
from support.paths import ROOT

DEMO = ROOT / "firmware_configs" / "part_demo.yaml"
TINY = [
    "data.num_particles=4",
    "data.max_jets=60",
    "model.embed_widths=[4]",
    "model.pair_widths=[2]",
    "model.ffn_ratio=1",
]
FORMATS = {
    "weight": "fixed<8,2,RND,SAT_SYM>",
    "bias": "fixed<9,3>",
    "activation": "fixed<10,4>",
    "logits": "fixed<9,4>",
}


def tiny(**quant: Any) -> Build:
    """The demo with 4 particles and few jets, none of its formats learned."""
    build = load(DEMO, TINY)
    assert build.quant is not None
    found = QuantConfig.model_validate({**build.quant.model_dump(), "learn": False, **FORMATS, **quant})
    return build.model_copy(update={"quant": found})


def gathered(folder: Path) -> run_folder.Material:
    """A tiny float model with random weights, saved in `folder`, and its data."""
    before = Path.cwd()
    os.chdir(ROOT)  # the build names its data from there
    try:
        build = tiny()
        source = open_split(build.data, "train")
        path = folder / "model.keras"
        build_model(build, source.feature_set, source.class_names).save(path)
        return run_folder.gather(path, build, 50)
    finally:
        os.chdir(before)
