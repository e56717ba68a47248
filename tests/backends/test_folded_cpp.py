"""Folded firmware in C++ equals Keras, streams and all; scripts and constraints for vendors' tools; what ports say."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alkaid.trace import FVArray, HWConfig, trace
from numpy.typing import NDArray
from support.battery import build_of, models_of
from support.folded import bench_of, compiled
from support.paths import DATA

from hls import cli
from hls.backends import open_backend, open_project
from hls.backends.alkaid.ports import encode
from hls.backends.alkaid.stages import Pipeline, pipeline
from hls.backends.alkaid.trace import HARDWARE, SOLVER
from hls.backends.folded import channels, cpp, csim, kernels
from hls.backends.folded.machine import Ports, phases_of
from hls.backends.folded.project import FoldedProject
from hls.errors import ExportRefused, HlsError, VendorToolMissing
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from hls.reports.tools import read_reports
from hls.templates import fill
from qformers.quant.phases import Boundary, Folding, Move, Plan

SLOW = pytest.mark.slow
Array = NDArray[np.float64]
Made = list[tuple[str, str, Any]]  # tensor, kind of store, alkaid's array

# four points of two numbers, two of them per beat; every kind of store
AXES = {"x": 0, "twice": 0, "first": 0, "product": 0, "sum": None, "rows": None, "total": None}
PLAN = Plan(
    model=None,
    fold=Folding(4, 2, AXES, {"rows": 1}),
    works=((), (), (), ()),
    boundaries=(
        Boundary(streamed=("twice",), filled=("first",), running=("sum",)),
        Boundary(streamed=("product",), held=("sum",), spread=("rows",)),
        Boundary(running=("total",), held=("sum",)),
    ),
    shapes={"first": (4, 1), "rows": (3, 4)},
)


def _phase0(x: Any) -> Made:
    sums = np.stack([x[0, 0] + x[1, 1], x[0, 0] * 0, x[1, 0] * 3])  # of the second one nothing is left
    return [
        ("twice", "streamed", x * 2 - x[:, ::-1]),
        ("first", "filled", x[:, :1] * np.array([[1], [0.5]])),
        ("sum", "running", sums),
    ]


def _phase1(twice: Any, first: Any, sums: Any) -> Made:
    every = first[:, 0]
    rows = np.stack([every, every * 0.25 + sums[0], every * np.array([0, 1, 1, -1]) - sums[2] - sums[1]])
    return [("product", "streamed", twice + every[3] * every[0]), ("sum", "held", sums), ("rows", "spread", rows)]


def _phase2(product: Any, rows: Any, sums: Any) -> Made:
    total = np.concatenate([product[0] + rows[0, 0], rows[2] - rows[1, 1] + product[1]])  # other rows are not read
    return [("total", "running", total), ("sum", "held", sums)]


def _phase3(total: Any, sums: Any) -> Made:
    return [("y", "", np.stack([total[1] - total[0] + sums[0], total[2] + total[3], sums[1]]))]


# twelve points of two heads, four of them per beat, in blocks of two; two orders move rows there and back, and a third
# one, which is known when the event is complete, moves some of them again
MOVED_AXES = {"x": 0, "order": 1, "other": 0, "there": 2, "back": 2, "once": 0, "again": 2, "y": 0}
MOVING = Plan(
    model=None,
    fold=Folding(
        12,
        4,
        MOVED_AXES,
        {"other": 0},
        {"there": Move("x", "order"), "back": Move("summed", "order"), "again": Move("once", "other")},
    ),
    works=((), (), ()),
    boundaries=(
        Boundary(streamed=("order",), filled=("other",), gathered=("there",)),
        Boundary(spread=("other",), gathered=("again",), scattered=("back",), places=("order",)),
    ),
    shapes={"other": (12,), "there": (2, 2, 6, 2, 2), "back": (2, 2, 12, 3), "again": (1, 2, 6, 2, 2)},
)


def _moving0(x: Any, order: Any, other: Any) -> Made:
    factors = np.array([1, 0.5, -2, 0])[:, None, None]  # of the last lane of a beat nothing is left
    return [("order", "streamed", order), ("other", "filled", other), ("there", "gathered", x * factors)]


def _moving1(order: Any, there: Any, other: Any) -> Made:
    side = np.concatenate([there, there[..., :1] * 4 - there[..., 1:] * there[..., :1]], axis=4)
    once = there[1, :, 0].transpose(1, 0, 2) + there[0, :, 1].transpose(1, 0, 2)  # of two lanes of a beat
    rows = np.concatenate([once, once[::-1] * 2 + other[:2, None, None]])
    return [
        ("other", "spread", other),
        ("again", "gathered", rows),
        ("back", "scattered", side),
        ("order", "places", order),
    ]


def _moving2(other: Any, again: Any, back: Any) -> Made:  # that order leads rows here, and is not read
    rows = back[0] - back[1] * np.array([1, 0, 2])  # (H, T, E); of the second order one number is not read
    blocks = again[0].reshape(2, 4, 2)  # (H, T, E)
    return [("y", "", np.concatenate([rows[0], rows[1, :, :1] + blocks[0, :, 1:], blocks[1, :, :1]], axis=1))]


# pairs of four points that are known when the event is complete; a beat reads the rows of two points and two of their
# keys
PAIRS = Plan(
    model=None,
    fold=Folding(4, 2, {"x": 0, "pairs": None, "sum": 0, "y": 0}, {"pairs": 0}, keys=2),
    works=((), (), (), ()),
    boundaries=(),
    shapes={"x": (4,), "pairs": (4, 4)},
)


def _traced(ins: Sequence[kernels.Group], make: Callable[..., Made], beats: int) -> kernels.Kernel:
    """A kernel that computes what `make` says."""
    arrays = [
        FVArray.from_kif(
            *(part.ravel().astype(np.int64) for part in group.kif), hwconf=HWConfig(*HARDWARE), solver_options=SOLVER
        )
        for group in ins
    ]
    made = make(*(array.reshape(group.shape) for array, group in zip(arrays, ins, strict=True)))
    comb = trace(np.concatenate(arrays), np.concatenate([np.ravel(array) for _, _, array in made]))
    ends = np.cumsum([array.size for _, _, array in made])[:-1]
    parts = zip(*(np.split(np.asarray(part, np.int8), ends) for part in comb.out_kifs), strict=True)
    outs = [
        kernels.Group(tensor, kind, array.shape, tuple(part.reshape(array.shape) for part in kif))  # type: ignore[arg-type]
        for (tensor, kind, array), kif in zip(made, parts, strict=True)
    ]
    return kernels.Kernel(comb, tuple(ins), tuple(outs), beats)


@functools.cache
def pairs() -> tuple[kernels.Kernel, ...]:
    """The kernels of `PAIRS`."""
    x = _coming("x", 1, 2, 1, 2)
    first = _traced([x], lambda x: [("x", "filled", x)], 2)
    differences = np.array([1, 0.25, 2, 0])
    every = kernels._behind(PAIRS, 0, first.outs[0])
    second = _traced([every], lambda x: [("pairs", "spread", x[:, None] * differences - x[None] * 0.5)], 1)
    whole = kernels._behind(PAIRS, 1, second.outs[0])
    kif = tuple(np.maximum(*np.split(part, 2, axis=1)) for part in whole.kif)
    keys = kernels.Group("pairs", "spread", (2, 2), kif, keys=1)  # type: ignore[arg-type]
    third = _traced([whole, keys], lambda rows, some: [("sum", "row_sums", np.sum(some, axis=1) + rows[:, 3])], 4)
    sums = kernels._behind(PAIRS, 2, third.outs[0])
    return first, second, third, _traced([sums], lambda total: [("y", "", total * 2)], 4)


def _coming(tensor: str, signed: int, integer: int, fraction: int, *shape: int) -> kernels.Group:
    """Values of a beat from outside."""
    kif = tuple(np.full(shape, bits, np.int8) for bits in (signed, integer, fraction))
    return kernels.Group(tensor, "streamed", shape, kif)  # type: ignore[arg-type]


def _kernels_of(
    plan: Plan, ins: Sequence[kernels.Group], phases: Sequence[Callable[..., Made]]
) -> tuple[kernels.Kernel, ...]:
    """The kernels of a plan."""
    made: list[kernels.Kernel] = []
    for phase, make in enumerate(phases):
        made.append(_traced(ins, make, plan.beats_of(phase)))
        kept = [group for group in made[-1].outs if group.kind not in ("", "places")]
        ins = [kernels._behind(plan, phase, group) for group in kept]
        ins.sort(key=lambda group: group.kind not in kernels.BY_BEAT)
    return tuple(made)


@functools.cache
def design() -> tuple[kernels.Kernel, ...]:
    """The kernels of `PLAN`."""
    return _kernels_of(PLAN, [_coming("x", 1, 2, 1, 2, 2)], (_phase0, _phase1, _phase2, _phase3))


@functools.cache
def moving() -> tuple[kernels.Kernel, ...]:
    """The kernels of `MOVING`."""
    ins = [_coming("x", 1, 2, 1, 4, 2, 2), _coming("order", 0, 4, 0, 2, 4), _coming("other", 0, 4, 0, 4)]
    return _kernels_of(MOVING, ins, (_moving0, _moving1, _moving2))


def cut(made: Sequence[kernels.Kernel]) -> tuple[list[Pipeline], tuple[Ports, ...]]:
    """Kernels in stages, and their ports."""
    cuts = [pipeline(kernel.comb, 4.5) for kernel in made]
    return cuts, tuple(Ports.of(kernel, one) for kernel, one in zip(made, cuts, strict=True))


def written(
    folder: Path, made: Sequence[kernels.Kernel], most_bits: int = channels.MOST_BITS, plan: Plan = PLAN
) -> tuple[Path, tuple[Ports, ...]]:
    """The C++ of kernels and their ports."""
    cuts, ports = cut(made)
    layers = [[f"layer{phase}"] for phase in range(len(cuts))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channels, "MOST_BITS", most_bits)
        cpp.write_cpp(folder / "src", "tiny", plan.fold, made, [one.comb for one in cuts], ports, layers)
    return folder / "src", ports


def numbers(events: int) -> Array:
    """Events of `design`, all values of its inputs among them."""
    return np.random.default_rng(1).integers(-8, 8, (events, 4, 2)) / 2


def flat(side: Sequence[tuple[kernels.Group, Any]]) -> list[Any]:
    return [value for _, values in side for value in values]


def linked(folder: Path, machine: Path) -> Path:
    """A machine of `design` and the bridge to it as a library."""
    (folder / "csim").mkdir()
    (folder / "csim/bridge.cc").write_text(fill(csim.BRIDGE, top="tiny"))
    return compiled(folder, folder / "csim/bridge.cc", folder / "csim/tiny.so", str(machine), "-shared")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Ports, ...], Path]:
    """Folder of `design`, its ports, and its C++ compiled."""
    folder = tmp_path_factory.mktemp("tiny")
    source, ports = written(folder, design(), most_bits=30)
    return folder, ports, compiled(folder, source / "tiny.cc", folder / "tiny.o", "-c")


def test_streams_carry_every_kind_of_store(tiny: tuple[Path, tuple[Ports, ...], Path]) -> None:
    folder, ports, machine = tiny
    code = (folder / "src/tiny.cc").read_text()
    assert re.findall(r"^struct (\w+)_word", code, re.MULTILINE) == [
        "s0_streamed", "s0_filled", "s0_running", "s1_streamed", "s1_streamed_1", "s1_held", "s1_spread",
        "s1_spread_1", "s2_running", "s2_running_1", "s2_held",
    ], "words of 30 bits at most"  # fmt: skip
    events = numbers(3 * csim.EVENTS + 7)
    wanted = kernels.run(PLAN.fold, design(), {"x": events})["y"]
    assert np.unique(wanted[:, :2]).size > 100
    assert (wanted[:, 2] == 0).all(), "of the sum of nothing"
    beats = kernels.beats_of(PLAN.fold, "x", events)
    found = csim.run_library(linked(folder, machine), beats, flat(ports[0].ins), flat(ports[-1].outs))
    np.testing.assert_array_equal(found[:, 0], wanted)


def test_beats_read_keys_of_values_of_the_event_and_outputs_of_points_come_once(tmp_path: Path) -> None:
    source, ports = written(tmp_path, pairs(), plan=PAIRS)
    library = linked(tmp_path, compiled(tmp_path, source / "tiny.cc", tmp_path / "tiny.o", "-c"))
    events = np.random.default_rng(3).integers(-8, 8, (csim.EVENTS + 7, 4)) / 2
    wanted = kernels.run(PAIRS.fold, pairs(), {"x": events})["y"]
    assert np.unique(wanted).size > 50
    beats = kernels.beats_of(PAIRS.fold, "x", events)
    found = csim.run_library(library, beats, flat(ports[0].ins), flat(ports[-1].outs), 2)
    np.testing.assert_array_equal(kernels.of_event(PAIRS.fold, pairs()[-1].outs[0], found), wanted)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Ports, ...], Path]:
    """Folder of `moving`, its ports, and its C++ compiled."""
    folder = tmp_path_factory.mktemp("rows")
    source, ports = written(folder, moving(), 30, MOVING)
    return folder, ports, compiled(folder, source / "tiny.cc", folder / "tiny.o", "-c")


def permuted(events: int) -> dict[str, Array]:
    """Events of `moving`: each order is another permutation."""
    random = np.random.default_rng(2)
    some = np.tile(np.arange(12.0), (events, 3, 1))
    orders = random.permuted(some, axis=2)
    return {"x": random.integers(-8, 8, (events, 12, 2, 2)) / 2, "order": orders[:, :2], "other": orders[:, 2]}


def in_beats(events: Mapping[str, Array]) -> Array:
    """Events of `moving` as they come in."""
    return np.concatenate([kernels.beats_of(MOVING.fold, name, events[name]) for name in ("x", "order", "other")], 2)


def test_rows_move_as_orders_say_and_outputs_of_points_come_beat_by_beat(
    rows: tuple[Path, tuple[Ports, ...], Path],
) -> None:
    folder, ports, machine = rows
    code = (folder / "src/tiny.cc").read_text()
    words = re.findall(r"^struct (\w+)_word", code, re.MULTILINE)
    assert {"s0_gathered_1", "s1_gathered_1", "s1_scattered_1"} <= set(words), "words of 30 bits at most"
    assert "hls::stream<tiny_answer> &out_beat, unsigned events" in code
    assert not any(value.width for value in ports[2].read(moving()[1].outs[0])[1]), "the last kernel reads no order"
    events = permuted(2 * csim.EVENTS + 7)
    wanted = kernels.run(MOVING.fold, moving(), events)["y"]
    assert np.unique(wanted).size > 100
    found = csim.run_library(linked(folder, machine), in_beats(events), flat(ports[0].ins), flat(ports[-1].outs), 3)
    np.testing.assert_array_equal(kernels.of_event(MOVING.fold, moving()[-1].outs[0], found), wanted)
    events["order"][70, 1, 5] = 12
    said = "an order names a point that is none of the 12"
    with pytest.raises(HlsError, match=f"C simulation of {folder}: {said}"):
        csim.run_library(folder / "csim/tiny.so", in_beats(events), flat(ports[0].ins), flat(ports[-1].outs), 3)


def test_the_bench_counts_events_of_which_any_beat_differs(rows: tuple[Path, tuple[Ports, ...], Path]) -> None:
    folder, ports, machine = rows
    events = permuted(40)
    wanted = kernels.beats_of(MOVING.fold, "y", kernels.run(MOVING.fold, moving(), events)["y"])
    words = [
        encode(flat(side), values.reshape(120, -1))
        for side, values in ((ports[0].ins, in_beats(events)), (ports[-1].outs, wanted))
    ]
    cpp.write_bench(folder, "tiny", *words, "out_beat", 3)
    program = compiled(folder, folder / "tb/tb_tiny.cc", folder / "bench", str(machine))
    assert bench_of(folder, program) == (0, "PASS: 40 events")
    answers = folder / "tb_data/out_beat.hex"
    changed = answers.read_text().split()
    for beat in (3, 5, 119):  # two of one event
        changed[beat] = f"{int(changed[beat], 16) ^ 2:x}"
    answers.write_text("\n".join(changed))
    assert bench_of(folder, program) == (1, "FAIL: 2 of 40 events differ")


def test_kernels_in_verilog_read_as_many_bits_as_their_stores_have() -> None:
    cuts, ports = cut(design())
    _, *phases = phases_of(PLAN.fold, design(), cuts, ports)
    read = [sum(map(int, re.findall(r"\+: (\d+)\]", phase.given))) for phase in phases]
    assert read == [phase.in_width for phase in phases]
    assert [value.width for value in flat(ports[1].ins)[-3:]] == [6, 0, 7], "of the sum of nothing there is nothing"


def test_the_bench_says_whether_events_differ(tiny: tuple[Path, tuple[Ports, ...], Path]) -> None:
    folder, ports, machine = tiny
    events = numbers(150)
    wanted = kernels.run(PLAN.fold, design(), {"x": events})["y"]
    beats = encode(flat(ports[0].ins), kernels.beats_of(PLAN.fold, "x", events).reshape(300, -1))
    cpp.write_bench(folder, "tiny", beats, encode(flat(ports[-1].outs), wanted), "out_event")
    program = compiled(folder, folder / "tb/tb_tiny.cc", folder / "bench", str(machine))

    assert bench_of(folder, program) == (0, "PASS: 150 events")
    words = (folder / "tb_data/out_event.hex").read_text().split()
    words[70] = f"{int(words[70], 16) ^ 1:x}"
    (folder / "tb_data/out_event.hex").write_text("\n".join(words))
    assert bench_of(folder, program) == (1, "FAIL: 1 of 150 events differ")
    (folder / "tb_data/in_beat.hex").write_text("0\n" * 299)
    assert bench_of(folder, program) == (1, "FAIL: tb_data/in_beat.hex has 299 words of 300")


def test_a_word_that_stays_in_a_stream_is_an_error(tmp_path: Path) -> None:
    first = _traced(design()[0].ins, lambda x: [("kept", "held", x[0])], 2)
    source, ports = written(tmp_path, (first, _traced(first.outs, lambda kept: [("y", "", kept)], 1)))
    path = source / "tiny.cc"
    code = path.read_text()
    assert code.count("s0_held_now = s0_held.read();") == 1
    path.write_text(code.replace("s0_held_now = s0_held.read();", "s0_held_now.v0 = s0_held_now.v1 = 0;"))
    library = linked(tmp_path, compiled(tmp_path, path, tmp_path / "tiny.o", "-c"))
    beats = kernels.beats_of(PLAN.fold, "x", numbers(3))
    sides = flat(ports[0].ins), flat(ports[-1].outs)
    with pytest.raises(HlsError, match=f"C simulation of {tmp_path}: stream s0_held holds words behind the last event"):
        csim.run_library(library, beats, *sides)


def test_what_has_no_form_in_cpp_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(cpp, "MOST_BITS", 15)
        said = r"a beat has 16 bits, and a word of Vitis HLS 15 at most; take fewer points at"
        with pytest.raises(HlsError, match=said):
            written(tmp_path / "wide", design())
    ones = np.ones((2,), np.int8)
    weights = kernels.Group("weights", "by_hand", (2,), (ones, ones, ones))
    made = _traced([design()[0].ins[0], weights], lambda x, w: [("y", "", x[:, 0] + w)], 2)
    port = Ports.of(made, pipeline(made.comb, 4.5))
    said = "phase 0 reads tensor weights from a store 'by_hand', which the C\\+\\+ has not; set firmware.flavour"
    with pytest.raises(HlsError, match=said):
        cpp.processes_of(PLAN.fold, [made], [made.comb], [port], [[]])


def project_of(
    name: str, form: str, together: int, out: Path, dead: str = "", **firmware: object
) -> tuple[Any, FoldedProject]:
    """The quantised model of a form, where `dead` is a layer of which one input counts for nothing; and its project."""
    cfg, quant, _, model = models_of(name, form)
    if dead:
        layer = model.get_layer(dead)
        weights = layer.get_weights()
        weights[0][(0,) * (weights[0].ndim - 1)] = 0
        layer.set_weights(weights)
    build = build_of(name, cfg, quant, "folded")
    settings = {"points_per_clock": together, **firmware}
    build = build.model_copy(update={"firmware": build.firmware.model_copy(update=settings)})
    project = open_backend("folded").write(model, build, out)
    assert isinstance(project, FoldedProject)
    return model, project


Projects = Callable[..., tuple[Any, FoldedProject]]


@pytest.fixture(scope="module")
def deepsets(tmp_path_factory: pytest.TempPathFactory) -> Projects:
    """DeepSets of three points, a flavour each."""

    @functools.cache
    def make(flavour: str, **firmware: object) -> tuple[Any, FoldedProject]:
        return project_of("deepsets", "mean", 1, tmp_path_factory.mktemp(flavour) / "made", flavour=flavour, **firmware)

    return make


def different(model: Any, project: FoldedProject, level: str) -> int:
    """Values that a level gives otherwise than Keras, on events made to break it."""
    events = adversarial(model).inputs
    wanted = keras_outputs(model, events)["logits"]
    assert np.unique(wanted).size > 100
    return int((open_project(project.path).outputs(events, level)["logits"] != wanted).sum())


def test_cpp_is_the_model(deepsets: Projects) -> None:
    model, project = deepsets("vitis")
    assert (project.levels, project.timed) == (("interpreter", "compiled", "csim"), ())
    assert different(model, project, "csim") == 0
    said = "this project is vitis; set firmware.flavour: verilog and export again"
    for asked, why in (
        (lambda: project.compile("verilator"), "verilator simulates Verilog"),
        (lambda: project.clock({}, {}), "verilator simulates Verilog"),
        (lambda: project.sources, "synthesis reads Verilog"),
    ):
        with pytest.raises(HlsError, match=f"{why}, {said}"):
            asked()


@SLOW
@pytest.mark.parametrize(
    ("name", "form", "together"),
    [
        ("part", "none_mean", 1), ("part", "input_mean", 1), ("part", "none_class_token", 1),
        ("part", "onchip_mean", 1), ("part", "none_mean", 5), ("jedi_linear", "affine", 1), ("transformer", "mean", 1),
        ("deepsets", "mean", 3), ("mixer", "flat", 1),
    ],
)  # fmt: skip
def test_cpp_of_every_form_is_the_model(name: str, form: str, together: int, tmp_path: Path) -> None:
    model, project = project_of(name, form, together, tmp_path / "made", flavour="vitis")
    assert different(model, project, "csim") == 0


@SLOW
@pytest.mark.parametrize(("flavour", "level"), [("verilog", "verilator"), ("vitis", "csim")])
def test_values_that_nobody_reads_do_no_harm(flavour: str, level: str, tmp_path: Path) -> None:
    model, project = project_of("part", "none_mean", 1, tmp_path / "made", "b0_attn_out", flavour=flavour)
    assert different(model, project, level) == 0


def test_vhdl_is_refused_by_the_name_of_the_setting(tmp_path: Path) -> None:
    said = r"firmware.flavour \(setting\): .* in Verilog and C\+\+ for Vitis HLS alone. Received: vhdl; set firm"
    with pytest.raises(ExportRefused, match=said):
        project_of("deepsets", "mean", 1, tmp_path / "made", flavour="vhdl")


def test_ports_say_how_the_firmware_is_wired(deepsets: Projects) -> None:
    trees = {}
    for flavour in ("verilog", "vitis"):
        _, project = deepsets(flavour)
        trees[flavour] = tree = json.loads((project.path / "ports.json").read_text())
        assert tree["event"] == {"points": 3, "points_per_clock": 1, "beats": 3, "clocks": 3}
        for stream in tree["streams"].values():
            ends = [0, *np.cumsum([value["width"] for value in stream["values"]])]
            assert [value["low"] for value in stream["values"]] == ends[:-1]
            assert ends[-1] == stream["width"] <= stream["data_width"]
        beat = tree["streams"]["in_beat"]
        assert beat["words_per_event"] == 3
        assert beat["order"].startswith("3 words are an event: word b has point b. There is no signal for the last one")
        assert [(row["name"], row["shape"], row["shape_of_word"]) for row in beat["tensors"]] == [
            ("features", [3, 3], [1, 3]), ("mask", [3], [1]),
        ]  # fmt: skip
    _, project = deepsets("verilog")
    module = re.search(r"^module deepsets \((.*?)\);", (project.path / "src/deepsets.v").read_text(), re.S | re.M)
    assert module is not None
    widths = {name: int(high or 0) + 1 for high, name in re.findall(r"(?:\[(\d+):0\] )?(\w+)(?:,|\s*$)", module[1])}
    verilog, vitis = trees["verilog"], trees["vitis"]
    streams = verilog["streams"].values()
    told = {stream[wire]: stream["data_width"] if wire == "data" else 1 for stream in streams for wire in WIRES}
    assert widths == {**told, verilog["clock"]["port"]: 1, verilog["reset"]["port"]: 1}
    assert [vitis["streams"][name]["values"] for name in ("in_beat", "out_event")] == [
        verilog["streams"][name]["values"] for name in ("in_beat", "out_event")
    ], "the same words"


WIRES = ("data", "valid", "ready")


def _ran_as_tcl(script: Path, monkeypatch: pytest.MonkeyPatch, **results: str) -> list[list[str]]:
    """Commands of a vendor's tool that a script calls, none of which is here."""
    tkinter = pytest.importorskip("tkinter", reason="this Python has no tkinter: apt-get install python3-tk")
    monkeypatch.chdir(script.parent)  # scripts change the folder
    tcl, calls = tkinter.Tcl(), list[list[str]]()

    def called(*words: str) -> str:
        calls.append([str(word) for word in words])
        return results.get(words[0], "")

    tcl.createcommand("called", called)
    tcl.eval("proc unknown args {uplevel 1 [list called {*}$args]}")
    tcl.eval(f"set argv {{}}; source {{{script}}}")
    return calls


@pytest.mark.parametrize(("script", "reads"), [("build_vivado_prj.tcl", "read_verilog"), ("build_quartus_prj.tcl", "")])
def test_scripts_read_all_verilog_and_the_constraints(
    script: str, reads: str, deepsets: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, project = deepsets("verilog")
    calls = _ran_as_tcl(project.path / script, monkeypatch)
    shutil.rmtree(project.path / "output_deepsets")
    if reads:
        files = [file for call in calls if call[0] == reads for part in call[1:] for file in part.split()]
        constraints = [call[1] for call in calls if call[0] == "read_xdc"]
        synth = next(call for call in calls if call[0] == "synth_design")
        assert synth[1:5] == ["-top", "deepsets", "-mode", "out_of_context"]
        made = [call[-1] for call in calls if call[0].startswith("report_") and call[-2] == "-file"]
        wanted = f"{project.path}/output_deepsets/reports/deepsets_post_route_"
        assert {f"{wanted}timing.rpt", f"{wanted}util.rpt", f"{wanted}power.rpt"} <= set(made)
    else:
        assigned = [call[2:] for call in calls if call[:2] == ["set_global_assignment", "-name"]]
        files = [value for name, value in assigned if name == "VERILOG_FILE"]
        constraints = [value for name, value in assigned if name == "SDC_FILE"]
        assert ["TOP_LEVEL_ENTITY", "deepsets"] in assigned
    assert sorted(map(Path, files)) == project.sources
    assert [Path(path).name for path in constraints] == [f"deepsets.{'xdc' if reads else 'sdc'}"]


@pytest.mark.parametrize("ending", ["xdc", "sdc"])
def test_constraints_hold_for_every_port(ending: str, deepsets: Projects, monkeypatch: pytest.MonkeyPatch) -> None:
    _, project = deepsets("verilog")
    calls = _ran_as_tcl(project.path / f"src/deepsets.{ending}", monkeypatch)
    assert ["create_clock", "-period", "5.0", "-name", "sys_clk", ""] in calls
    bounds = {(call[0], call[-2]) for call in calls if call[0].startswith("set_")}
    assert bounds == {
        ("set_clock_uncertainty", "0.5"), ("set_input_delay", "2"), ("set_input_delay", "1"),
        ("set_output_delay", "2"), ("set_output_delay", "1"),
    }  # fmt: skip
    ports = {call[1].removesuffix("[*]") for call in calls if call[0] == "get_ports"}
    streams = json.loads((project.path / "ports.json").read_text())["streams"].values()
    assert ports == {"clk", "rst", *(stream[wire] for stream in streams for wire in WIRES)}


def test_the_script_of_vitis_hls_simulates_and_synthesises(deepsets: Projects, monkeypatch: pytest.MonkeyPatch) -> None:
    _, project = deepsets("vitis")
    calls = _ran_as_tcl(project.path / "build_prj.tcl", monkeypatch)
    assert ["set_top", "deepsets"] in calls
    assert ["set_part", "xcvu13p-flga2577-2-e"] in calls
    assert ["create_clock", "-period", "5.0", "-name", "default"] in calls
    steps = ("csim_design", "csynth_design", "cosim_design", "export_design", "exec")
    assert [call[0] for call in calls if call[0] in steps] == ["csim_design", "csynth_design", "export_design"]
    added = [call for call in calls if call[0] == "add_files"]
    assert [call[-3] if "-cflags" in call else call[-1] for call in added] == [
        "src/deepsets.cc", "tb/tb_deepsets.cc", "tb_data",
    ]  # fmt: skip
    behind = (project.path / "build_vivado_hls_prj.tcl").read_text()
    assert "${prj_root}/${project_name}_prj/solution1/syn/verilog" in behind
    assert 'set top_module "${project_name}"' in behind


@pytest.mark.parametrize(
    ("firmware", "tool", "command", "reports", "source"),
    [
        ({}, "vivado", "-mode batch -source build_vivado_prj.tcl", "vivado_2025_1/output_jetnet", "vivado-route"),
        (
            {"part": "AGFB014R24A2E2V"}, "quartus_sh", "-t build_quartus_prj.tcl", "quartus_pro_25_1/output_jetnet",
            "quartus-fit",
        ),
        (
            {"flavour": "vitis"}, "vitis-run", "--mode hls --tcl build_prj.tcl", "vitis_hls_2024_1/tagger_prj",
            "csynth",
        ),
    ],
)  # fmt: skip
def test_the_vendor_s_tool_is_run_and_its_reports_are_read(
    firmware: Mapping[str, str],
    tool: str,
    command: str,
    reports: str,
    source: str,
    deepsets: Projects,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, project = deepsets(**{"flavour": "verilog", **firmware})
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(VendorToolMissing, match=f"synthesis needs {tool}[^;]*cd made && {tool} {command}"):
        project.build()
    made = {"csynth": "deepsets_prj"}.get(source, "output_deepsets")
    fake = tmp_path / "bin" / tool
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$*" > called\ncp -r {DATA}/reports/{reports} {made}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    folder = project.build()
    assert (project.path / "called").read_text() == f"{command}\n"
    assert folder.relative_to(project.path).parts[0] == made
    assert source in {report.source for report in read_reports(folder)}
    shutil.rmtree(project.path / made)


@SLOW
def test_the_commands_take_it_as_any_other_firmware(run4: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run4, tmp_path / "run"))
    settings = ("firmware.backend=folded", "firmware.flavour=vitis", "firmware.points_per_clock=2")
    words = [str(run / "build.yaml"), "--run", str(run), *(word for one in settings for word in ("--set", one))]
    assert cli.main(["run", *words, "--from", "export", "--no-synth", "--quiet"]) == 0
    compared = json.loads((run / "csim.json").read_text())
    assert (compared["backend"], compared["equal"]) == ("folded", True)
    assert compared["adversarial"]["values"] > 1000
    simulated = json.loads((run / "rtl.json").read_text())
    assert (simulated["flavour"], list(simulated["levels"]), simulated["equal"]) == ("vitis", ["interpreter"], True)
    assert "not simulated at this level" in simulated["skipped"]["verilator"]
    project = run / "firmware/folded"
    assert len((project / "tb_data/in_beat.hex").read_text().split()) == 2 * len(
        (project / "tb_data/out_event.hex").read_text().split()
    )
    assert cli.main(["csim", *words, "--events", "50", "--quiet"]) == 0
