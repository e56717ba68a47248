"""Folded firmware of tensors without bits: kernels that nothing goes into, or comes out of, are constants."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.battery import models_of
from support.dead import Share, kill
from support.folded import project_of

from hls.backends.folded.project import FoldedProject
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from qformers.quant.quantisers import quantisers

EVERY = None  # quantiser
SLOW = pytest.mark.slow
LEVELS = ("interpreter", "compiled", "emulator", "icarus" if shutil.which("iverilog") else "verilator")


@pytest.mark.parametrize(
    ("name", "form", "points", "together", "killed", "share"),
    [
        ("deepsets", "mean", 6, 1, ("logits.kq", "rho0.bq", "phi1.iq"), "all"),
        ("deepsets", "mean", 6, 2, EVERY, "all"),
        ("deepsets", "mean", 6, 2, EVERY, "some"),
        pytest.param("part", "none_mean", 6, 1, EVERY, "all", marks=SLOW),
        pytest.param("part", "onchip_mean", 6, 2, EVERY, "all", marks=SLOW),
        pytest.param("part", "onchip_mean", 6, 2, EVERY, "some", marks=SLOW),
        pytest.param("hept", "onchip", 16, 8, EVERY, "all", marks=SLOW),
        pytest.param("hept", "onchip", 16, 8, EVERY, "some", marks=SLOW),
        pytest.param("hept", "one_order", 16, 8, EVERY, "all", marks=SLOW),
    ],
)
def test_every_level_is_exact(
    name: str, form: str, points: int, together: int, killed: tuple[str, ...] | None, share: Share, tmp_path: Path
) -> None:
    cfg, quant, _, model = models_of(name, form, points)
    hit = [one for one in quantisers(model) if killed is EVERY or f"{one.layer.name}.{one.part}" in killed]
    assert len(hit) >= len(killed or ("any",))
    for one in hit:
        kill(one, share)
    project = project_of(model, name, cfg, quant, together, tmp_path / "rtl")
    assert not any("[-1:0]" in path.read_text() for path in project.sources)
    events = {key: array[:120] for key, array in adversarial(model).inputs.items()}
    (output, values), *_ = (wanted := keras_outputs(model, events)).items()
    for level in LEVELS:
        if level in project.timed:
            clocked = project.clock(events, wanted, level)
            assert clocked.on_time, level
            outputs = clocked.outputs
        else:
            outputs = project.outputs(events, level)
        np.testing.assert_array_equal(outputs[output], values, err_msg=level)


def refuse_other_csim(model: Any, project: FoldedProject) -> None:
    events = {key: array[:120] for key, array in adversarial(model).inputs.items()}
    (output, values), *_ = keras_outputs(model, events).items()
    np.testing.assert_array_equal(project.outputs(events, "csim")[output], values)


@SLOW
@pytest.mark.parametrize(("form", "share"), [("onchip", "all"), ("onchip", "some"), ("one_order", "all")])
def test_the_cpp_of_rows_that_an_order_moves_is_exact(form: str, share: Share, tmp_path: Path) -> None:
    cfg, quant, _, model = models_of("hept", form)
    for one in quantisers(model):
        kill(one, share)
    project = project_of(model, "hept", cfg, quant, 4, tmp_path / "cpp", flavour="vitis")
    refuse_other_csim(model, project)


@pytest.mark.parametrize("killed", [("logits.kq", "rho0.bq", "phi1.iq"), pytest.param(EVERY, marks=SLOW)])
def test_the_cpp_is_exact_where_a_process_has_no_streams(killed: tuple[str, ...] | None, tmp_path: Path) -> None:
    cfg, quant, _, model = models_of("deepsets", "mean", 4)
    for one in quantisers(model):
        if killed is EVERY or f"{one.layer.name}.{one.part}" in killed:
            kill(one)
    project = project_of(model, "deepsets", cfg, quant, 2, tmp_path / "cpp", flavour="vitis")
    refuse_other_csim(model, project)
    assert "ap_uint<0>" not in (project.path / "src/deepsets.hh").read_text()
    stream = json.loads((project.path / "ports.json").read_text())["streams"]["out_event"]
    assert (stream["width"], stream["data_width"]) == (0, 8)
