"""HEPT, and all models with outputs of points, in folded firmware in C++: equal to Keras, event behind event."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
from support.folded import bench_of, compiled, points_model, project_of, refuse_other_cpp, written
from support.hept_fixed import NARROW as NARROW_HEPT
from support.peers import NARROW

from hls.backends.folded.project import FoldedProject
from hls.errors import HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from qformers.models import MODELS
from qformers.models.sizes import Jet
from qformers.nn.hgq import Hgq

SLOW = pytest.mark.slow


def hept(points: int, together: int, out: Path, **changes: Any) -> tuple[Any, FoldedProject]:
    """A HEPT of two orders, or as `changes` say, and its project in C++ with T points per clock."""
    arch = MODELS["hept"]
    cfg = arch.forms["two_orders"].model_copy(update=changes)
    keras.utils.set_random_seed(3)
    model = arch.build(arch.fixed(cfg), Jet(points, 3, 3), Hgq(NARROW_HEPT))
    return model, project_of(model, "hept", cfg, NARROW_HEPT, together, out, flavour="vitis")


def test_two_orders_of_two_beats_are_exact(tmp_path: Path) -> None:
    model, project = hept(4, 2, tmp_path / "cpp", block_size=2)
    assert (project.levels, project.timed) == (("interpreter", "compiled", "csim"), ())
    assert project.fold.beats == 2
    refuse_other_cpp(model, project)
    stream = json.loads((project.path / "ports.json").read_text())["streams"]["out_beat"]
    assert (stream["data"], stream["words_per_event"], stream["last"]) == ("out_beat_TDATA", 2, None)


@SLOW
@pytest.mark.parametrize("together", [4, 8])
@pytest.mark.parametrize("form", MODELS["hept"].forms)
def test_every_form_is_exact(form: str, together: int, tmp_path: Path) -> None:
    refuse_other_cpp(*written("hept", form, together, tmp_path / "cpp", flavour="vitis"))


@SLOW
@pytest.mark.parametrize(
    ("points", "together", "changes"),
    [
        (4, 4, {}),  # a single block
        (16, 4, {"layers": 2, "heads": 2}),
        (16, 8, {"layers": 2, "heads": 2}),
        (16, 16, {"layers": 2, "heads": 2}),
        (16, 8, {"layers": 2, "order": "onchip"}),
        (12, 4, {"hashes": 3, "block_size": 2}),  # no power of two
    ],
)
def test_blocks_orders_and_layers_are_exact(
    points: int, together: int, changes: dict[str, Any], tmp_path: Path
) -> None:
    refuse_other_cpp(*hept(points, together, tmp_path / "cpp", **changes))


@SLOW
@pytest.mark.parametrize("together", [1, 2, 6])
def test_outputs_of_points_are_exact(together: int, tmp_path: Path) -> None:
    cfg, model = points_model()
    refuse_other_cpp(model, project_of(model, "deepsets", cfg, NARROW, together, tmp_path / "cpp", flavour="vitis"))


@SLOW
def test_the_bench_of_a_project_says_which_events_differ(tmp_path: Path) -> None:
    model, project = hept(4, 2, tmp_path / "cpp", block_size=2)
    events = adversarial(model, each=2).inputs
    count = len(events["mask"])
    project.write_bench(events, keras_outputs(model, events))
    folder = project.path
    program = compiled(folder, folder / "tb/tb_hept.cc", tmp_path / "bench", str(folder / "src/hept.cc"))
    assert bench_of(folder, program) == (0, f"PASS: {count} events")
    answers = folder / "tb_data/out_beat.hex"
    words = answers.read_text().split()
    assert len(words) == 2 * count
    words[3] = f"{int(words[3], 16) ^ 1:x}"
    answers.write_text("\n".join(words))
    assert bench_of(folder, program) == (1, f"FAIL: 1 of {count} events differ")


def test_ports_that_were_edited_are_refused_by_stream(tmp_path: Path) -> None:
    _, project = hept(4, 4, tmp_path / "cpp", block_size=2)
    path = project.path / "ports.json"
    text = path.read_text()
    for change, words in (
        (lambda streams: streams["out_beat"]["values"][0].update(low=1), "stream out_beat: bits 1 of .* should be 0"),
        (lambda streams: streams["in_beat"]["values"][-1].update(low=5000), "stream in_beat: bits 5000 of"),
        (lambda streams: streams["in_beat"]["values"].pop(), "in_beat: its values have .* bits, and a word"),
        (lambda streams: streams["in_beat"].pop("values"), "it lacks 'values'"),
    ):
        tree = json.loads(text)
        change(tree["streams"])
        path.write_text(json.dumps(tree))
        with pytest.raises(HlsError, match=rf"ports\.json is damaged.*{words}"):
            replace(project).out_port  # noqa: B018  they are read here
