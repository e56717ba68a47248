"""HEPT for events of thousands of points: a model of any size, points that never meet in a bank, RTL equal to Keras."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.hept_fixed import FEATURES, NARROW, events, small
from support.quantised import shaken

from hls.backends import open_project
from hls.backends.folded.banks import words
from hls.backends.folded.project import FoldedProject
from hls.errors import ExportRefused, HlsError
from hls.proof.agree import agree
from hls.stages.block_engine import EngineResult, simulate_engine
from qformers.builds.build import Build
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.models.hept import fixed_hept
from qformers.models.hept.blocks import resized
from qformers.models.hept.config import HeptConfig
from qformers.models.hept.hept import hept
from qformers.models.sizes import Points
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.quant.fold import float_to_quantised

LEARNED = NARROW.model_copy(update={"learn": True, "granularity": "channel"})
TINY: dict[str, Any] = {"layers": 2, "heads": 1, "head_widths": (2,), "head_width": 2, "coords": 2}


def quantised(cfg: HeptConfig, points: int, quant: QuantConfig) -> keras.Model:
    keras.utils.set_random_seed(2)
    floating = shaken(hept(cfg, Points(points, FEATURES), Float32()))
    fixed = hept(fixed_hept(cfg), Points(points, FEATURES), Hgq(quant))
    float_to_quantised(floating, fixed, events(cfg, points, 50))
    return fixed


@pytest.mark.parametrize(
    ("changes", "quant"),
    [
        ({"layers": 2, "heads": 1}, LEARNED),
        ({"hashes": 1}, NARROW),
        pytest.param({"hashes": 1, "norm": "layer", "activation": "silu"}, LEARNED, marks=pytest.mark.slow),
        ({"hashes": 3, "norm": "none", "head": "logits", "coord_scales": (2.0, 0.0, 0.5)}, NARROW),
    ],
)
def test_blocks_of_padding_change_nothing(changes: dict[str, Any], quant: QuantConfig) -> None:
    cfg = small(**changes, shared_scale=False)
    fixed = quantised(cfg, 8, quant)
    longer = resized(cfg, quant, fixed, 20)
    asked = events(cfg, 8, 4)
    wanted = np.asarray(fixed(asked))
    assert wanted.std() > 0.02
    padded = {name: np.concatenate([array, np.zeros_like(array, shape=(4, 12, *array.shape[2:]))], 1)
              for name, array in asked.items() if name != "order"}  # fmt: skip
    behind = np.broadcast_to(np.arange(8, 20), (4, asked["order"].shape[1], 12))
    padded["order"] = np.concatenate([asked["order"], behind], axis=2).astype(asked["order"].dtype)
    assert np.array_equal(np.asarray(longer(padded))[:, :8], wanted)


def test_formats_per_element_are_refused() -> None:
    quant = LEARNED.model_copy(update={"granularity": "element"})
    fixed = hept(fixed_hept(small()), Points(8, FEATURES), Hgq(quant))
    with pytest.raises(ConfigError, match=r"quant.granularity: .* channel or tensor.*Received: element"):
        resized(small(), quant, fixed, 12)


def test_a_model_of_another_build_is_refused() -> None:
    fixed = hept(fixed_hept(small()), Points(8, FEATURES), Hgq(NARROW))
    with pytest.raises(ConfigError, match=r"layer 'encoder0' has weights and formats of shapes.*another build"):
        resized(small(width=3), NARROW, fixed, 8)
    with pytest.raises(ConfigError, match=r"layer 'b1_\w+' is not in the model that was given"):
        resized(small(layers=2), NARROW, fixed, 8)


@pytest.mark.parametrize(("size", "blocks"), [(1, 3), (4, 1), (5, 7), (16, 20)])
def test_points_go_through_the_banks_and_back(size: int, blocks: int) -> None:
    order = np.random.default_rng(0).permutation(size * blocks)
    way = words(order, size)
    rows, bank = np.arange(size * blocks).reshape(blocks, size), np.arange(size)
    memory = np.take_along_axis(rows, way["in_lanes"], axis=1)  # (M, bank)
    read = memory[way["read_blocks"], bank]
    moved = np.take_along_axis(read, way["read_banks"], axis=1)
    assert np.array_equal(moved.ravel(), order)
    memory = np.take_along_axis(moved, way["sums_lanes"], axis=1)
    back = np.take_along_axis(memory[way["out_blocks"], bank], way["out_banks"], axis=1)
    assert np.array_equal(back, rows)


def build_of_points() -> Build:
    data = {"dataset": "trackml", "train": ["a"], "val": ["a"], "test": ["a"], "features": "place", "num_particles": 8}
    data["points"] = {"task": "tracking"}
    model, quant = small(**TINY).model_dump(), NARROW.model_dump()
    return Build.model_validate({"spec": 1, "name": "points8", "data": data, "model": model, "quant": quant})


@dataclass(frozen=True)
class Run:
    """What the stage made of an untrained model of two orders and two layers, blocks of four."""

    folder: Path
    cfg: HeptConfig
    model: keras.Model
    found: EngineResult

    def project(self, slots: int) -> FoldedProject:
        """Opened from its folder, as another process would."""
        project = open_project(self.folder / "block_engine" / str(slots))
        assert isinstance(project, FoldedProject)
        return project


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Run:
    build, folder = build_of_points(), tmp_path_factory.mktemp("run")
    assert isinstance(build.model, HeptConfig)
    (folder / "qat").mkdir()
    model = quantised(build.model, 8, NARROW)
    model.save(folder / "qat/model.keras")
    found = simulate_engine(build, folder, [14])
    found.save()
    return Run(folder, build.model, model, found)


def test_the_stage_writes_latency_and_cost(tiny: Run) -> None:
    tree = json.loads(tiny.found.path.read_text())
    assert tiny.found.equal
    assert tree["equal"]
    (size,) = tree["events"]
    assert (size["points"], size["blocks"], size["ii_cycles"]) == (14, 4, 4)
    assert size["source"] == "simulated by Verilator"
    assert size["values"] == size["events"] * 16 * 2
    assert size["events"] > 20
    assert size["latency_us"] == size["latency_cycles"] * 5.0 / 1000
    assert size["lut_estimate"] > 1000
    assert min(size["register_bits"], size["store_bits"]) > 1000
    assert tree["points"] == "random over the range of the input formats"
    assert "an event every 4 cycles" in repr(tiny.found)
    assert "estimates, nothing synthesised" in repr(tiny.found)


def test_a_reopened_engine_agrees_with_the_model_of_its_size(tiny: Run) -> None:
    project = tiny.project(16)
    assert (project.fold.together, project.fold.points, project.words) == (4, 16, 4)
    asked = events(tiny.cfg, 16, 5)
    for level in ("interpreter", "compiled", "emulator"):
        result = agree(project, resized(tiny.cfg, NARROW, tiny.model, 16), asked, level=level)
        assert result.equal, str(result)
        assert result.values == 5 * 16 * 2


def test_an_engine_that_is_there_is_not_written_again(tiny: Run) -> None:
    path = tiny.folder / "block_engine" / "16"
    before = (path / "plan.json").stat().st_mtime_ns
    assert simulate_engine(build_of_points(), tiny.folder, [16], events=1).equal
    assert (path / "plan.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_rtl_equals_keras_on_events_of_thousands_of_points(tiny: Run) -> None:
    found = simulate_engine(build_of_points(), tiny.folder, [1000, 4000])
    assert found.equal, repr(found)
    assert [(size.blocks, size.ii_cycles) for size in found.sizes] == [(250, 250), (1000, 1000)]


def test_what_is_no_quantised_hept_is_refused(tiny: Run, tmp_path: Path) -> None:
    build = build_of_points().model_copy(update={"quant": None})
    with pytest.raises(ExportRefused, match=r"architecture hept.*quant missing"):
        simulate_engine(build, tmp_path, [8])
    with pytest.raises(HlsError, match=r"at least 1. Received: points \[0\]"):
        simulate_engine(build_of_points(), tmp_path, [0])
    with pytest.raises(
        HlsError, match=r"model.keras is missing; build .* trains in float alone, since train.qat is null"
    ):
        simulate_engine(build_of_points(), tmp_path, [8])
    wider = build_of_points()
    model = wider.model.model_copy(update={"hashes": 3})
    with pytest.raises(HlsError):
        simulate_engine(wider.model_copy(update={"model": model}), tiny.folder, [8])


def test_files_of_somebody_else_stay_where_an_engine_would_be(tmp_path: Path) -> None:
    (tmp_path / "qat").mkdir()
    (tmp_path / "qat/model.keras").touch()  # they are looked for before it is read
    notes = tmp_path / "block_engine/12/notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with pytest.raises(HlsError, match=r"block_engine.12: holds files .*; move them away, or name another run folder"):
        simulate_engine(build_of_points(), tmp_path, [9])
    assert notes.read_text() == "mine"
