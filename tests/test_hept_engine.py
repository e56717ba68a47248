"""HEPT block by block: parts make the whole model, points never meet in a bank, RTL equals Keras on whole events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hept_fixed_helpers import FEATURES, NARROW, events, small
from numpy.typing import NDArray
from quantised_helpers import shaken
from rich.console import Console

from hls.adversarial import adversarial
from hls.backends.alkaid_ports import Value
from hls.backends.engine_banks import words
from hls.backends.engine_parts import engine
from hls.backends.engine_rows import Row, Spot, numbers, raw, wires
from hls.backends.hept_engine import EngineProject, write_engine
from hls.block_engine import simulate_engine
from hls.errors import HlsError
from hls.progress import Silent
from qformers.architectures import HeptConfig
from qformers.config import Build, ConfigError, QuantConfig
from qformers.models.hept import Points, hept
from qformers.models.hept_engine import parts, resized
from qformers.models.transfer import float_to_quantised
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq

LEARNED = NARROW.model_copy(update={"learn": True, "granularity": "channel"})
TINY: dict[str, Any] = {"layers": 2, "heads": 1, "head_widths": (2,), "head_width": 2, "coords": 2}


def quantised(cfg: HeptConfig, points: int, quant: QuantConfig) -> keras.Model:
    keras.utils.set_random_seed(2)
    floating = shaken(hept(cfg, Points(points, FEATURES), Float32()))
    fixed = hept(cfg, Points(points, FEATURES), Hgq(quant))
    float_to_quantised(floating, fixed, events(cfg, points, 50))
    return fixed


def one_of(asked: dict[str, NDArray[Any]], event: int) -> dict[str, NDArray[Any]]:
    return {name: array[event] for name, array in asked.items()}


@pytest.mark.parametrize(
    ("changes", "quant"),
    [
        ({"layers": 2, "heads": 1}, LEARNED),
        ({"hashes": 1}, NARROW),
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
    fixed = hept(small(), Points(8, FEATURES), Hgq(quant))
    with pytest.raises(ConfigError, match=r"quant.granularity: .* channel or tensor.*Received: element"):
        parts(small(), quant, fixed)


def test_a_model_of_another_build_is_refused() -> None:
    fixed = hept(small(), Points(8, FEATURES), Hgq(NARROW))
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


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[EngineProject, HeptConfig, keras.Model]:
    """An engine of two orders and two layers, blocks of four points, for up to 1,024 blocks."""
    cfg = small(**TINY)
    fixed = quantised(cfg, 8, NARROW)
    made = engine(parts(cfg, NARROW, fixed), fixed, 4.5)
    return write_engine(made, "tiny", tmp_path_factory.mktemp("engine"), 1024), cfg, fixed


def test_rtl_equals_keras_on_events_of_several_sizes(tiny: tuple[EngineProject, HeptConfig, keras.Model]) -> None:
    project, cfg, fixed = tiny
    with project.bench() as bench:
        for points, kind in ((16, "random"), (24, "random"), (4, "random"), (16, "adversarial")):
            whole = resized(cfg, NARROW, fixed, points)
            asked = events(cfg, points, 5) if kind == "random" else adversarial(whole, each=2).inputs
            wanted = np.asarray(whole(asked))
            for event in range(len(wanted)):
                pause = event % 3  # clocks without a block
                found, cycles = project.simulate(bench, one_of(asked, event), pause)
                assert np.array_equal(found, wanted[event])
                late = pause * (points // 4 - 1)
                assert cycles == project.made.latency_cycles(points // 4) + late


@pytest.mark.slow
def test_rtl_equals_keras_on_events_of_thousands_of_points(
    tiny: tuple[EngineProject, HeptConfig, keras.Model],
) -> None:
    project, cfg, fixed = tiny
    with project.bench() as bench:
        for points, latency in ((1000, 1750), (4000, 7000)):
            whole, asked = resized(cfg, NARROW, fixed, points), events(cfg, points, 2)
            for event in range(2):
                found, cycles = project.simulate(bench, one_of(asked, event))
                assert np.array_equal(found, np.asarray(whole({n: a[event : event + 1] for n, a in asked.items()}))[0])
                assert cycles == latency + sum(part.depth for part in project.made.all) + 11


def test_what_the_engine_cannot_hold_is_refused(tiny: tuple[EngineProject, HeptConfig, keras.Model]) -> None:
    project, cfg, _ = tiny
    with pytest.raises(HlsError, match=r"1 to 1024 whole blocks of 4 points. Received: 10 points"):
        project.words(one_of(events(cfg, 10, 1), 0))
    twice = one_of(events(cfg, 8, 1), 0)
    twice["order"][0] = 0
    with pytest.raises(HlsError, match="slots 0 to 7 once each"):
        project.words(twice)


def build_of_points(**model: Any) -> Build:
    data = {"dataset": "trackml", "train": ["a"], "val": ["a"], "test": ["a"], "features": "place", "num_particles": 8}
    data["points"] = {"task": "tracking"}
    cfg = small(**{**TINY, "layers": 1, "block_size": 2, **model}).model_dump()
    quant = NARROW.model_dump()
    return Build.model_validate({"spec": 1, "name": "points8", "data": data, "model": cfg, "quant": quant})


def test_the_stage_writes_latency_and_cost(tmp_path: Path) -> None:
    build = build_of_points()
    assert isinstance(build.model, HeptConfig)
    (tmp_path / "qat").mkdir()
    quantised(build.model, 8, NARROW).save(tmp_path / "qat/model.keras")
    found = simulate_engine(build, tmp_path, [13], Silent(), Console(quiet=True))
    tree = json.loads((tmp_path / "engine.json").read_text())
    assert found.equal
    assert tree["equal"]
    size = tree["events"][0]
    assert (size["points"], size["blocks"], size["source"]) == (13, 7, "simulated by Verilator")
    assert size["values"] == size["events"] * 14 * 2
    assert size["events"] > 20
    assert size["latency_us"] == size["latency_cycles"] * 5.0 / 1000
    assert tree["points"] == "random over the range of the input formats"
    costs = tree["costs"]
    assert "nothing synthesised" in costs["source"]
    assert costs["lut_estimate_parts"] > 1000
    assert costs["memory_bits"]["ways of the points"] == 2 * 7 * 2 * (2 * 3 + 4 * 1)  # O M S (2 blocks, 4 lanes)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    build = build_of_points().model_copy(update={"quant": None})
    with pytest.raises(HlsError, match=r"architecture hept.*quant missing"):
        simulate_engine(build, tmp_path, [8], Silent(), Console(quiet=True))
