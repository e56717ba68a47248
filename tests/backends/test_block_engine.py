"""HEPT block by block: parts make the whole model, points never meet in a bank, RTL equals Keras on whole events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from support.hept_fixed import FEATURES, NARROW, events, small
from support.quantised import shaken

from hls.backends import BACKENDS, open_project
from hls.backends.alkaid.ports import Value, wires
from hls.backends.block_engine.project import EngineProject
from hls.backends.block_engine.rows import Row, Spot, numbers, raw
from hls.backends.folded.banks import words
from hls.errors import HlsError
from hls.proof.agree import agree
from hls.stages.block_engine import EngineResult, simulate_engine
from hls.stages.rtl import written_before
from qformers.builds.build import Build
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.models.hept import fixed_hept
from qformers.models.hept.blocks import parts, resized
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


def one_of(asked: dict[str, NDArray[Any]], event: int) -> dict[str, NDArray[Any]]:
    return {name: array[event] for name, array in asked.items()}


@pytest.mark.parametrize(
    ("changes", "quant"),
    [
        ({"layers": 2, "heads": 1}, LEARNED),
        ({"hashes": 1}, NARROW),
        pytest.param({"hashes": 1, "norm": "layer", "activation": "silu"}, LEARNED, marks=pytest.mark.slow),
        ({"hashes": 3, "norm": "none", "head": "logits", "coord_scales": (2.0, 0.0, 0.5)}, NARROW),
    ],
)
def test_parts_make_the_whole_model_at_every_size(changes: dict[str, Any], quant: QuantConfig) -> None:
    cfg = small(**changes, shared_scale=False)
    fixed = quantised(cfg, 8, quant)
    cut = parts(cfg, quant, fixed)
    for points, whole in ((8, fixed), (20, resized(cfg, quant, fixed, 20))):
        asked = events(cfg, points, 4)
        wanted = np.asarray(whole(asked))
        assert wanted.std() > 0.02
        assert np.array_equal([cut.run(one_of(asked, event)) for event in range(4)], wanted)


def test_formats_per_element_are_refused() -> None:
    quant = LEARNED.model_copy(update={"granularity": "element"})
    fixed = hept(fixed_hept(small()), Points(8, FEATURES), Hgq(quant))
    with pytest.raises(ConfigError, match=r"quant.granularity: .* channel or tensor.*Received: element"):
        parts(small(), quant, fixed)


def test_a_model_of_another_build_is_refused() -> None:
    fixed = hept(fixed_hept(small()), Points(8, FEATURES), Hgq(NARROW))
    with pytest.raises(ConfigError, match=r"layer 'encoder0' has weights and formats of shapes.*another build"):
        parts(small(width=3), NARROW, fixed)
    with pytest.raises(ConfigError, match=r"layer 'b1_\w+' is not in the model that was given"):
        parts(small(layers=2), NARROW, fixed)


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


def test_rows_hold_the_widest_values_and_give_them_by_wires() -> None:
    narrow, wide = Value("", (), 0, False, 2, 1), Value("", (), 3, True, 1, 3)
    row = Row.of([(Spot("x", 0, "x", (0,)), narrow), (Spot("x", 1, "x", (0,)), wide)])
    field = row.fields["x", (0,)]
    assert (field.signed, field.integer_bits, field.fraction_bits, row.width) == (True, 2, 3, 6)
    values = np.array([[-1.875], [0.0], [3.5], [1.125]])
    assert np.array_equal(numbers(row, "x", raw(row, {"x": values})), values)
    assert wires(narrow, "bus", 10, field) == "{1{1'b0}}, bus[12:10], 2'd0"
    assert wires(wide, "bus", 10, field) == "{1{bus[17]}}, bus[17:13]"
    assert wires(field, "bus", 0, narrow) == "bus[4:2]"


def build_of_points() -> Build:
    data = {"dataset": "trackml", "train": ["a"], "val": ["a"], "test": ["a"], "features": "place", "num_particles": 8}
    data["points"] = {"task": "tracking"}
    model, quant = small(**TINY).model_dump(), NARROW.model_dump()
    return Build.model_validate({"spec": 1, "name": "points8", "data": data, "model": model, "quant": quant})


@dataclass(frozen=True)
class Run:
    """What the stage made of an untrained model of two orders and two layers, blocks of four, at most 1,000 blocks."""

    cfg: HeptConfig
    model: keras.Model
    found: EngineResult

    @property
    def project(self) -> EngineProject:
        """Opened from its folder, as another process would."""
        return BACKENDS["block_engine"].open(self.found.project.path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Run:
    build, folder = build_of_points(), tmp_path_factory.mktemp("run")
    assert isinstance(build.model, HeptConfig)
    (folder / "qat").mkdir()
    model = quantised(build.model, 8, NARROW)
    model.save(folder / "qat/model.keras")
    found = simulate_engine(build, folder, [14, 24], most=4000)
    found.save()
    return Run(build.model, model, found)


@pytest.mark.slow
def test_the_stage_writes_latency_and_cost(tiny: Run) -> None:
    tree = json.loads(tiny.found.path.read_text())
    assert tiny.found.equal
    assert tree["equal"]
    assert [(size["points"], size["blocks"]) for size in tree["events"]] == [(14, 4), (24, 6)]
    size = tree["events"][0]
    assert size["source"] == "simulated by Verilator"
    assert size["values"] == size["events"] * 16 * 2
    assert size["events"] > 20
    assert size["latency_us"] == size["latency_cycles"] * 5.0 / 1000
    assert tree["points"] == "random over the range of the input formats"
    costs = tree["costs"]
    assert "nothing synthesised" in costs["source"]
    assert costs["lut_estimate_parts"] > 1000
    assert costs["memory_bits"]["ways of the points"] == 2 * 1000 * 4 * (2 * 10 + 4 * 2)  # O M S (2 blocks, 4 lanes)


def test_events_follow_each_other_without_a_reset_and_with_pauses(tiny: Run) -> None:
    with tiny.project.bench() as bench:
        for points in (16, 4, 24):
            asked = events(tiny.cfg, points, 4)
            wanted = np.asarray(resized(tiny.cfg, NARROW, tiny.model, points)(asked))
            for event in range(len(wanted)):
                found, cycles = tiny.project.simulate(bench, one_of(asked, event), pause=event)
                assert np.array_equal(found, wanted[event])
                assert cycles == tiny.project.ports.latency_cycles(points // 4) + event * (points // 4 - 1)


@pytest.mark.slow
def test_rtl_equals_keras_on_events_of_thousands_of_points(tiny: Run) -> None:
    with tiny.project.bench() as bench:
        for points, latency in ((1000, 1750), (4000, 7000)):
            whole, asked = resized(tiny.cfg, NARROW, tiny.model, points), events(tiny.cfg, points, 2)
            for event, wanted in enumerate(np.asarray(whole(asked))):
                found, cycles = tiny.project.simulate(bench, one_of(asked, event))
                assert np.array_equal(found, wanted)
                assert cycles == latency + tiny.project.ports.depth_cycles + 11


def test_what_the_engine_cannot_hold_is_refused(tiny: Run) -> None:
    with pytest.raises(HlsError, match=r"1 to 1000 whole blocks of 4 points. Received: 10 points"):
        tiny.project.words(one_of(events(tiny.cfg, 10, 1), 0))
    twice = one_of(events(tiny.cfg, 8, 1), 0)
    twice["order"][0] = 0
    with pytest.raises(HlsError, match="slots 0 to 7 once each"):
        tiny.project.words(twice)


def test_a_reopened_engine_agrees_with_the_model_of_any_size(tiny: Run) -> None:
    project = open_project(tiny.found.project.path)
    assert project.levels == project.timed == ("verilator",)
    for points in (8, 20):
        asked = events(tiny.cfg, points, 5)
        result = agree(project, resized(tiny.cfg, NARROW, tiny.model, points), asked)
        assert result.equal, str(result)
        assert result.values == 5 * points * 2
    with pytest.raises(HlsError, match=r"inputs of \(5, 20\) events and points must be .*Received: "):
        project.outputs({**asked, "coords": asked["coords"][:, :8]})
    (estimate,) = project.reports()
    assert estimate.resources["lut"] > 1000
    assert estimate.detail["model_sha256"]


def test_the_engine_is_written_again_only_for_other_memories(tiny: Run) -> None:
    run, build = tiny.found.path.parent, build_of_points()
    assert written_before(build, tiny.found.project.path, run / "qat/model.keras", most_blocks=1000)
    assert not written_before(build, tiny.found.project.path, run / "qat/model.keras", most_blocks=999)


def test_a_backend_says_what_it_cannot_take(tiny: Run) -> None:
    backend = BACKENDS["block_engine"]
    assert backend.supports(tiny.model, build_of_points()) == []
    (refusal,) = backend.supports(tiny.model)
    assert "quantised model of architecture hept. Received: no build" in str(refusal)
    wider = build_of_points()
    model = wider.model.model_copy(update={"layers": 3})
    (refusal,) = backend.supports(tiny.model, wider.model_copy(update={"model": model}))
    assert "is not in the model that was given" in str(refusal)


def test_what_is_no_quantised_hept_is_refused(tmp_path: Path) -> None:
    build = build_of_points().model_copy(update={"quant": None})
    with pytest.raises(HlsError, match=r"architecture hept.*quant missing"):
        simulate_engine(build, tmp_path, [8])
    with pytest.raises(HlsError, match=r"at least 1. Received: points \[0\]"):
        simulate_engine(build_of_points(), tmp_path, [0])
