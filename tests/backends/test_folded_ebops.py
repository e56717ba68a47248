"""EBOPs of folded hardware: shares of a plan, training for them, and those of other hardware for the same model."""

from __future__ import annotations

import json
import math
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from rich.console import Console
from support.battery import models_of
from support.paths import ROOT
from support.ptq import DEMO, TINY
from support.quantised import NATURAL

from hls.backends.alkaid.fixes import mended
from hls.backends.alkaid.kinds import replays
from hls.backends.alkaid.trace import HARDWARE, SOLVER
from hls.backends.folded.kernels import _replayed
from hls.compare.read.run import read_run
from hls.compare.table.columns import tabulate
from hls.compare.table.kernels import read_kernels
from hls.stages.export import export
from qformers.builds.build import Build, load
from qformers.builds.models import build_model, load_model
from qformers.errors import CheckpointError
from qformers.quant.fold import calibrate
from qformers.quant.hardware import counts, layer_ebops, recounted
from qformers.quant.kinds import kind_of
from qformers.quant.phases import Plan, Unfolded, Work, plan, shares
from qformers.train import finish
from qformers.train.beta import ebops
from qformers.train.phases import settings_of, train_build
from qformers.train.stage import as_before

INPUT, CONSTANT, ADDERS = -1, 5, (0, 1)  # opcodes of alkaid
ONCE = {"b0_attn_logits_mask"}  # the same for all queries: alkaid makes it once, whoever asks, where HGQ counts copies
NAMES = ("g", "q", "t")
TOGETHER = 2  # of 4 points
FOLDED = ("firmware.backend=folded", f"firmware.points_per_clock={TOGETHER}")


def operations(cut: Plan, work: Work) -> int:
    """Operations that alkaid makes of a layer by itself for a beat; of a sum those in front of its adders."""
    from alkaid.trace import FVArray, HWConfig, trace
    from alkaid.trace.passes import optimize

    with mended(), replays(), redirect_stdout(StringIO()):
        flat, shaped = [], []
        for use in work.uses:
            shape = cut.beat_shape(use.tensor, use.axis)
            bits = (np.full(math.prod(shape), part) for part in (1, 2, 3))
            flat.append(FVArray.from_kif(*bits, hwconf=HWConfig(*HARDWARE), solver_options=SOLVER))
            shaped.append(flat[-1].reshape(1, *shape))
        out = np.ravel(_replayed(cut, work, shaped, {}))
        comb = optimize(trace(np.concatenate(flat), out, optimize=False))
    left_out = (INPUT, CONSTANT, *(ADDERS if work.sums else ()))
    return sum(op.opcode not in left_out for op in comb.ops)


@pytest.mark.parametrize(
    "form",
    ["none_mean", *(pytest.param(form, marks=pytest.mark.slow) for form in ("input_class_token", "onchip_mean"))],
)
def test_shares_are_those_of_the_operations_that_are_traced(form: str) -> None:
    """Each layer alone, for a beat and for all points at once."""
    *_, model = models_of("part", form)
    beat, whole = plan(model, 1), plan(model, 5)
    said = shares(beat)
    assert set(shares(whole).values()) == {1.0}
    assert set(said) == {layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}
    whole_works = {work.layer.name: work for works in whole.works for work in works if not work.ends}
    compared = set()
    for work in (work for works in beat.works for work in works if not work.ends):
        name = work.layer.name
        if work.choice is not None or work.rom:
            continue  # made in another way: from a ROM
        least, most = operations(beat, work), operations(whole, whole_works[name])
        if name in ONCE:
            assert least == most
        elif most:
            assert least / most == pytest.approx(said[name], rel=1e-12), name
            compared.add(name)
    assert len(compared) > 12
    assert {said[name] for name in ("b0_attn_q", "b0_attn_scores", "b0_attn_context", "b0_ffn_fc1")} == {1 / 5}
    assert said["logits"] == 1.0
    if form == "onchip_mean":  # a row of 5 of the 10 pairs at a time
        assert {"pair_dr2", "pair0", "pair1"} <= compared
        assert {said[name] for name in ("pair_deta", "pair_dr2", "pair0", "pair1")} == {1 / 2}


def test_a_build_of_other_firmware_is_counted_as_ever() -> None:
    model = build_model(small(), NATURAL, NAMES, "hgq")
    assert {part.ebops_factor for layer in model.layers for part in layer._flatten_layers() if counts(part)} == {1.0}
    assert "firmware" not in settings_of(small(), "qat")
    assert "firmware" not in settings_of(small(*FOLDED), "float")
    assert build_model(small(*FOLDED), NATURAL, NAMES).name == build_model(small(), NATURAL, NAMES).name  # float


def test_what_cannot_fold_is_refused_when_the_model_is_made() -> None:
    words = (
        "firmware.backend: folded: firmware.points_per_clock .setting.: must divide the 4 points of an event. Received"
    )
    with pytest.raises(Unfolded, match=words):
        build_model(small("firmware.backend=folded", "firmware.points_per_clock=3"), NATURAL, NAMES, "hgq")
    with pytest.raises(Unfolded, match=r"folded: embed0 \(QEinsumDense\): its formats differ from point to point"):
        build_model(small(*FOLDED, "quant.granularity=element"), NATURAL, NAMES, "hgq")


def small(*settings: str) -> Build:
    """A tiny ParT of 4 points, without U."""
    return load(DEMO, [*TINY, "model.pairs=none", *settings])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Build, Path]:
    """A run folder of a DeepSets: float, then two updates of the quantised model for a target of folded hardware."""
    phase = {"epochs": 1, "batch_size": 32, "jit_compile": False, "jets_per_epoch": 64}
    tree = yaml.safe_load(DEMO.read_text())
    tree["model"] = {"architecture": "deepsets", "phi_widths": [6, 4], "rho_widths": [4]}
    tree["train"] = {"float": phase, "qat": {**phase, "ebops_target": 1500, "beta_start": 1.0e-3}}
    path = tmp_path_factory.mktemp("folded") / "sets.yaml"
    path.write_text(yaml.safe_dump(tree))
    build, run = load(path, ["data.num_particles=4", "data.max_jets=80", *FOLDED]), path.with_name("run")
    with pytest.MonkeyPatch.context() as patch, as_before():
        patch.chdir(ROOT)  # the build names its data from there
        patch.setattr(finish, "_plots", lambda *things: None)  # seconds each; tests/tasks/test_metrics.py draws them
        train_build(build, run, ["float", "qat"], console=Console(file=StringIO()))
    return build, run


def test_training_counts_the_share_of_every_layer(trained: tuple[Build, Path]) -> None:
    _, run = trained
    model = load_model(run / "qat" / "model.keras")
    cut = plan(model, TOGETHER)
    expected = 0
    for layer in model.layers:
        for part, shapes in kind_of(layer).counted(layer):
            if counts(part):
                whole = np.float32(part._compute_ebops(*((1, *shape[1:]) for shape in shapes)))
                expected += math.floor(whole * np.float32(shares(cut)[layer.name]))
    manifest = json.loads((run / "qat" / "manifest.json").read_text())
    assert manifest["ebops"] == ebops(model) == expected
    assert manifest["settings"]["firmware"] == {"backend": "folded", "points_per_clock": TOGETHER}
    assert ebops(model) < sum(layer_ebops(model).values()) == sum(layer_ebops(model, shares(plan(model, 4))).values())
    history = (run / "qat" / "history.csv").read_text()
    assert str(expected) in history.splitlines()[-1].split(",")
    pareto = json.loads((run / "qat" / "pareto" / "pareto.json").read_text())
    assert [point["ebops"] for point in pareto] == [expected]


def test_a_model_that_is_read_again_counts_the_same(tmp_path: Path) -> None:
    """Keras saves the factor of a softmax, not those of its tables."""
    model = build_model(small(*FOLDED), NATURAL, NAMES, "hgq")
    calibrate(model, {tensor.name: np.ones((2, *tensor.shape[1:]), np.float32) for tensor in model.inputs})
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    found = layer_ebops(model, shares(plan(model, TOGETHER)))
    assert {name: recounted(again.get_layer(name)) for name in found} == found
    assert sum(found.values()) == ebops(model) == ebops(again)
    softmax = again.get_layer("b0_attn_weights")
    assert {softmax.ebops_factor, softmax.exp_table.ebops_factor, softmax.inv_table.ebops_factor} == {0.5}


def test_a_training_for_other_hardware_is_another_training(
    trained: tuple[Build, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    build, run = trained
    firmware = build.firmware.model_copy(update={"points_per_clock": 1})
    other = build.model_copy(update={"firmware": firmware})
    monkeypatch.chdir(ROOT)
    with pytest.raises(CheckpointError, match=r"firmware.points_per_clock: 2 -> 1"):
        train_build(other, run, ["qat"], console=Console(file=StringIO()))


@pytest.mark.parametrize(
    ("backend", "together"),
    [
        ("folded", 1),
        ("alkaid", None),
        *(pytest.param("folded", points, marks=pytest.mark.slow) for points in (2, 4)),
    ],
)
def test_a_project_states_the_ebops_of_what_it_writes(
    backend: str, together: int | None, trained: tuple[Build, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the model was trained for: project, report, table of layers and comparison have one number."""
    build, trained_run = trained
    settings: dict[str, Any] = {"backend": backend, "points_per_clock": together or 1}
    build = build.model_copy(update={"firmware": build.firmware.model_copy(update=settings)})
    model = load_model(trained_run / "qat" / "model.keras")
    wanted = layer_ebops(model, shares(plan(model, together)) if together else {})
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    (run / "build.yaml").write_text(build.to_yaml())
    cell = tabulate([read_run(run)]).cells[0]["ebops"]
    assert (cell.value, bool(cell.command)) == ((sum(wanted.values()), False) if together == 2 else (None, True))
    monkeypatch.chdir(ROOT)
    project = export(build, run / "qat" / "model.keras", run / "firmware" / backend).project
    rows = json.loads((project.path / "layers.json").read_text())["layers"]
    assert {row["layer"]: row["ebops"] for row in rows if row["ebops"]} == {k: v for k, v in wanted.items() if v}
    assert json.loads((project.path / "manifest.json").read_text())["ebops"] == sum(wanted.values())
    (report,) = project.reports()
    assert report.detail["ebops"] == sum(wanted.values())
    report.save(run)
    table = tabulate([read_run(run)])
    assert table.cells[0]["ebops"].value == sum(wanted.values())
    assert table.cells[0]["ii_cycles"].value == (4 // together if together else 1)
    assert not table.stale()
    shown = read_kernels([read_run(run)])
    assert len(shown) == (backend == "folded")
    for one in shown:
        assert one.title.startswith(f"run: {together} of 4 points per clock, II {4 // (together or 1)} cycles")
        assert one.rows()[-1][5] == f"{report.resources['lut']:,}"
        assert [row[0] for row in one.rows()] == [f"k{number}" for number in range(len(project.kernels))] + ["all"]
