"""Folded firmware of forms of the battery, and what is asked of all of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hls.backends import open_backend, open_project
from hls.backends.folded.project import FoldedProject
from hls.backends.folded.stream import Pauses
from hls.backends.simulators import cxx
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from qformers.models import MODELS
from qformers.models.mlp import pool
from qformers.nn.hgq import Hgq
from qformers.nn.vocabulary import Linear
from support.battery import build_of, models_of
from support.peers import NARROW

PAUSES = (
    Pauses(),
    Pauses(gaps=100, seed=1),
    Pauses(stalls=200, seed=2),
    Pauses(gaps=120, stalls=120, seed=3),
    Pauses(mixed=True, seed=4, resets=(0, 5, 300, 301, 1234)),
)


def written(
    name: str, form: str, together: int, out: Path, particles: int | None = None, **firmware: Any
) -> tuple[Any, FoldedProject]:
    """The quantised model of a form, and its project with T points per clock; `firmware`: keys of that section."""
    cfg, quant, _, model = models_of(name, form, particles)
    return model, project_of(model, name, cfg, quant, together, out, **firmware)


def project_of(model: Any, name: str, cfg: Any, quant: Any, together: int, out: Path, **firmware: Any) -> FoldedProject:
    """The project of a model with T points per clock; `firmware`: keys of that section."""
    build = build_of(name, cfg, quant, "folded")
    section = build.firmware.model_copy(update={"points_per_clock": together, **firmware})
    project = open_backend("folded").write(model, build.model_copy(update={"firmware": section}), out)
    assert isinstance(project, FoldedProject)
    return project


def compiled(folder: Path, source: Path, target: Path, *more: str) -> Path:
    """A C++ file of the project in a folder, alkaid's functions in one piece."""
    places = (folder / "src" / name for name in ("", "kernels", "static", "static/ap_types"))
    options = ["-O0", "-w", "-fPIC", "-std=c++11", *(f"-I{place}" for place in places)]
    cxx.run([cxx.compiler(), *options, str(source), *more], target, target.with_suffix(".log"))
    return target


def bench_of(folder: Path, program: Path) -> tuple[int, str]:
    """Status and first line of a compiled test bench of the project in a folder."""
    ran = subprocess.run([program], cwd=folder, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout.splitlines()[0]


def refuse_other_levels(model: Any, project: FoldedProject, interval: int) -> None:
    """All levels without RTL give what Keras gives, the emulator on time, at the interval, and with disturbances."""
    events = adversarial(model).inputs
    wanted = keras_outputs(model, events)
    (output, values), *_ = wanted.items()
    assert np.unique(values).size > 50
    opened = open_project(project.path)
    for level in ("interpreter", "compiled"):
        assert (opened.outputs(events, level)[output] != values).sum() == 0, level
    clocked = opened.clock(events, wanted, "emulator")
    assert (clocked.outputs[output] != values).sum() == 0
    assert clocked.on_time
    assert clocked.timing is not None
    assert clocked.timing.ii_cycles == interval
    disturbed = opened.disturb(events, "emulator", 1)
    assert disturbed is not None
    assert (disturbed.outputs[output] != values[disturbed.came]).sum() == 0
    assert not disturbed.came.all()


def refuse_other_cpp(model: Any, project: FoldedProject, each: int = 64) -> None:
    """The C++ gives what Keras gives, event behind event; `each`: events of a random kind."""
    events = adversarial(model, each=each).inputs
    for name, values in keras_outputs(model, events).items():
        assert np.unique(values).size > 50
        answers = open_project(project.path).outputs(events, "csim")[name]
        assert answers.shape == values.shape
        assert (answers != values).sum() == 0, name


def refuse_other_rtl(model: Any, project: FoldedProject) -> None:
    """The RTL gives what Keras gives, on time, with pauses and resets, and edge by edge as the emulator does."""
    events = adversarial(model).inputs
    wanted = keras_outputs(model, events)
    clocked = project.clock(events, wanted)
    (name, expected), *_ = wanted.items()
    assert (clocked.outputs[name] != expected).sum() == 0
    assert clocked.on_time
    assert clocked.timing is not None
    assert clocked.timing.ii_cycles == project.fold.interval == project.facts["ii_cycles"]
    flat = expected.reshape(len(expected), -1)
    for pauses in PAUSES:
        streamed = project.stream(events, pauses)
        assert (streamed.outputs[streamed.came] != flat[streamed.came]).sum() == 0, pauses
        assert streamed.came.all() == (not pauses.resets)
        if pauses.gaps:
            assert np.diff(streamed.taken).max() > project.fold.interval
        refuse_other_edges(project, events, pauses, "verilator")


def refuse_other_edges(project: FoldedProject, events: dict[str, Any], pauses: Pauses, level: str) -> None:
    """A level of simulation takes and gives at the same edges as the emulator, and the same values."""
    found, emulated = (project.stream(events, pauses, one) for one in (level, "emulator"))
    for edge_by_edge in ("taken", "given", "outputs"):
        np.testing.assert_array_equal(getattr(found, edge_by_edge), getattr(emulated, edge_by_edge))


def refuse_other_resets(model: Any, project: FoldedProject, level: str) -> None:
    """A reset at any edge of the first events ends those that are on their way, and no other."""
    events = {name: array[:40] for name, array in adversarial(model).inputs.items()}
    wanted = next(iter(keras_outputs(model, events).values())).reshape(40, -1)
    whole = project.stream(events, level=level)
    for edge in range(project.latency_cycles + 3 * project.fold.beats):
        streamed = project.stream(events, Pauses(resets=(edge,)), level)
        assert (streamed.outputs[streamed.came] != wanted[streamed.came]).sum() == 0, edge
        np.testing.assert_array_equal(~streamed.came, (whole.taken < edge) & (whole.given >= edge))


def points_model(also_of_events: bool = False) -> tuple[Any, Any]:
    """Configuration and model: of each of six points its channels times their mean over all points."""
    nn, cfg = Hgq(NARROW), MODELS["deepsets"].forms["mean"]
    nn.declare(point="n", channel="de")
    keras.utils.set_random_seed(3)
    features, mask = nn.input("features", (6, 3), "bnd"), nn.input("mask", (6,), "bn")
    x = nn.dense(features, "embed", Linear("bnd,de->bne", {"e": 4}, "e", activation="relu"))
    mean = pool(nn, x, mask, "mean", "pool")
    told = nn.einsum("bne,be->bne", x, mean, "told")
    points = nn.dense(told, "points", Linear("bnd,de->bne", {"e": 2}, "e"))
    jets = nn.dense(mean, "jets", Linear("bd,de->be", {"e": 2}, "e"))
    return cfg, nn.model({"features": features, "mask": mask}, [points, jets] if also_of_events else points, cfg)
