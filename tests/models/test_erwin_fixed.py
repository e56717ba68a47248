"""Erwin in fixed point: what it is refused for, and rotated trees, which alkaid's RTL moves points into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.battery import QUANT, build_of
from support.configurations import events
from support.paths import ROOT
from support.peers import NARROW
from support.quantised import NATURAL, inputs_of, shaken

from hls.backends import open_backend
from hls.errors import ExportRefused
from hls.proof.agree import agree
from hls.proof.fidelity import layer_fidelity
from qformers.builds.build import load
from qformers.builds.models import fresh_model
from qformers.errors import ConfigError
from qformers.models import MODELS
from qformers.models.erwin import pooled, small
from qformers.models.erwin.config import ErwinConfig
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.quant.fold import float_to_quantised
from qformers.quant.phases import Unfolded, plan

TURNED = small(enc_depths=(2,), rotate=45.0, norm="batch", widths=(4,), head="points", outputs=2, distance="none")


def both(cfg: ErwinConfig, points: int = 8) -> tuple[keras.Model, dict[str, Any]]:
    """A quantised model filled from a shaken float one, and events."""
    sizes = Jet(points, 3, 3, NATURAL)
    keras.utils.set_random_seed(3)
    floating = shaken(MODELS["erwin"].build(cfg, sizes, Float32()))
    model = MODELS["erwin"].build(cfg, sizes, Hgq(QUANT.get("erwin", NARROW)))
    inputs = events(model, 500, fewest=0)
    float_to_quantised(floating, model, inputs_of(model, inputs))
    return model, inputs_of(model, inputs)


@pytest.mark.parametrize(
    ("changes", "points", "words"),
    [
        ({"pads": "duplicates"}, 8, "points that stand in two slots have no fixed point; set model.pads: masked"),
        ({"mp_steps": 1}, 8, "messages between neighbours have no fixed point; set model.mp_steps: 0"),
        ({}, 7, "slots beyond the points have no fixed point; set data.num_particles to a power of two"),
    ],
)
def test_what_fixed_point_has_not_is_refused_with_the_way_out(changes: dict[str, Any], points: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MODELS["erwin"].build(small(**changes), Jet(points, 3, 3), Hgq(NARROW))


def test_rotated_trees_are_exact_in_rtl_and_refused_by_hls4ml(tmp_path: Path) -> None:
    model, inputs = both(TURNED)
    assert inputs["order"].shape[1:] == (2, 8)
    assert (inputs["order"][:, 0] != inputs["order"][:, 1]).any()
    project = open_backend("alkaid").write(model, build_of("turned", TURNED, NARROW, "alkaid"), tmp_path / "alkaid")
    project.compile()
    found = agree(project, model, inputs)
    assert found.equal, str(found)
    with pytest.raises(ExportRefused, match="it picks one of 2 orders, and hls4ml cannot slice"):
        open_backend("vitis").write(model, build_of("turned", TURNED, NARROW, "vitis"), tmp_path / "vitis")


def test_folded_firmware_refuses_rotated_trees_and_says_which_t_a_pooled_level_takes() -> None:
    model, _ = both(TURNED)
    with pytest.raises(Unfolded, match=r"order_slots.*one of several orders of trees; set model.rotate: 0"):
        plan(model, 4)
    model, _ = both(pooled(), 16)
    with pytest.raises(Unfolded, match=r"multiple of the 8 points of a block.*Received: 4; take one of 8, 16"):
        plan(model, 4)
    assert len(plan(model, 8).works) > 1


def test_jets_need_a_number_per_class() -> None:
    build = load(ROOT / "firmware_configs" / "erwin_demo.yaml", ["model.head=points"])
    with pytest.raises(ConfigError, match=r"jets need a number per class, \(10,\).*model.head: jet.*model.head=points"):
        fresh_model(build)


def test_empty_balls_and_pads_never_change_another_point() -> None:
    cfg = pooled()
    model, inputs = both(cfg)
    before = np.asarray(model(inputs, training=False))
    pads = inputs["mask"] == 0
    changed = {**inputs, "features": inputs["features"] + 3.0 * pads[..., None]}
    changed["coords"] = inputs["coords"] + np.where(pads[..., None], 0.25, 0.0).astype(np.float32)
    after = np.asarray(model(changed, training=False))
    assert pads.any(axis=1).sum() > 100
    np.testing.assert_array_equal(after[~pads], before[~pads])
    assert np.ptp(before[~pads]) > 0.1


@pytest.mark.parametrize(("points", "together"), [(16, 8), (32, 8), (32, 16)])
def test_slots_of_a_pooled_level_come_beat_by_beat_as_well(points: int, together: int) -> None:
    """In one sweep, for only the mean over all points has to wait for the last beat."""
    sizes = Jet(points, 3, 3, NATURAL)
    sums = {}
    for name in ("unet", "encoder"):
        model = MODELS["erwin"].build(MODELS["erwin"].forms[name], sizes, Hgq(NARROW))
        works = plan(model, together).works
        assert len(works) == 3
        sums[name] = {work.layer.name for phase in works for work in phase if work.sums}
    assert sums == {"unet": set(), "encoder": {"pool_count", "pool_sum"}}


def test_layers_are_compared_with_those_of_the_same_particles(tmp_path: Path) -> None:
    """The float model stands in the order of the tree too, and empty slots are left out where they stand in it."""
    sizes = Jet(8, 3, 3, NATURAL)
    keras.utils.set_random_seed(3)
    floating = shaken(MODELS["erwin"].build(small(), sizes, Float32()))
    model = MODELS["erwin"].build(small(), sizes, Hgq(NARROW))
    inputs = events(model, 300, fewest=0)
    float_to_quantised(floating, model, inputs_of(model, inputs))
    project = open_backend("alkaid").write(model, build_of("erwin", small(), NARROW, "alkaid"), tmp_path / "p")
    found = layer_fidelity(project, model, floating, inputs_of(model, inputs), inputs_of(floating, inputs))
    alike = {row.layer: row.correlation for row in found.layers}
    assert {"embed", "positions", "e0_b0_attn_residual", "e0_b0_ffn_residual", "logits"} <= alike.keys()
    assert alike["positions"] > 0.9999
    assert min(alike[name] for name in ("embed", "e0_b0_attn_residual", "e0_b0_ffn_residual", "logits")) > 0.98
