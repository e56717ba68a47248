"""Quantisers that have lost their bits, as a target of EBOPs can make them: firmware is exact, or refused by layer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.battery import build_of as battery_build
from support.battery import cases, models_of
from support.configurations import events
from support.dead import KINDS_OF_LAYERS, LOST_IN_TABLES, Share, dead_model, kill
from support.hls_models import MIX, Compared, build_of, compared, dense, numbers

from hls.backends import open_backend
from hls.errors import ExportRefused
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree
from qformers.quant.fold import float_to_quantised
from qformers.quant.quantisers import quantisers

EVERY_RUN = {("all", "alkaid"), ("some", "alkaid")}
BACKENDS = [pytest.param("alkaid"), pytest.param("vitis"), pytest.param("vivado", marks=pytest.mark.slow)]
INPUTS = {"x": numbers(3, 3000), "y": numbers(6, 3000, 1).reshape(-1, 2, 3)}
FORMS = {("part", "input_class_token"), ("hept", "two_orders")}  # in every run, on alkaid


def without(backend: str) -> frozenset[str]:
    """Parts of layers whose loss a backend refuses."""
    return frozenset() if backend == "alkaid" else LOST_IN_TABLES


def assert_same(made: Compared, outputs: int) -> None:
    assert len(made.keras) == outputs > 0
    for name, wanted in made.keras.items():
        different = int((wanted != made.firmware[name]).sum())
        assert different == 0, f"{name}: {different} of {wanted.size} values differ"


@pytest.mark.parametrize(
    ("share", "backend"),
    [
        pytest.param(share, backend, marks=() if (share, backend) in EVERY_RUN else pytest.mark.slow)
        for share in ("all", "some")
        for backend in ("alkaid", "vitis", "vivado")
    ],
)
def test_each_quantiser_of_each_kind_of_layer(share: Share, backend: str, tmp_path: Path) -> None:
    model = dead_model(share, without(backend))
    made = compared(model, build_of("dead", backend=backend), tmp_path, INPUTS)
    assert_same(made, len(model.outputs))
    silent = [name for name, values in made.keras.items() if np.unique(values).size == 1]
    assert silent if share == "all" else not silent, "what has lost all bits says nothing, what has lost some does"
    missing = [kind for kind in KINDS_OF_LAYERS if not any(name.startswith(kind) for name in made.keras)]
    assert share == "some" or not missing


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", [(2.0, -3.0), (0.0, -1.0), (-4.0, 3.0), (7.0, -9.0)])
def test_an_input_port_without_bits(bits: tuple[float, float], backend: str, tmp_path: Path) -> None:
    if backend != "alkaid" and bits != (2.0, -3.0):
        pytest.skip("one compilation is enough: hls4ml sees no more of the bits than that there are none")
    x, y = keras.Input((3,), name="x"), keras.Input((2, 3), name="y")
    dead = dense(x, "first", "fixed<6,3,RND,SAT>", MIX, per_element=True, bias_axes="o")
    alive = dense(y, "other", "fixed<6,3,RND,SAT>", MIX, equation="bni,io->bno", shape=(2, 3))
    model = keras.Model({"x": x, "y": y}, {"dead": dead, "alive": alive})
    kill(next(iter(quantisers(model))), bits=bits)
    model.get_layer("first").bias.assign([1.5, -0.25, 0.0])
    assert_same(compared(model, build_of("dead_port", backend=backend), tmp_path, INPUTS), 2)


@pytest.mark.parametrize("part", sorted(LOST_IN_TABLES))
def test_a_softmax_that_hls4ml_cannot_address_is_refused_by_layer(part: str, tmp_path: Path) -> None:
    model = dead_model("all", frozenset(LOST_IN_TABLES - {part}), only="softmax")
    slot = {"exp_iq": "exp_input", "inv_iq": "inverse_input"}[part]
    with pytest.raises(ExportRefused, match=rf"softmax_{part}_last \(QSoftmax\): its {slot} has lost all its bits"):
        open_backend("vitis").write(model, build_of("dead", backend="vitis"), tmp_path / "project")
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize(
    ("name", "form", "backend"),
    [
        pytest.param(*case, marks=() if case[:2] in FORMS and case[2] == "alkaid" else pytest.mark.slow)
        for case in (case.values for case in cases())
    ],
)
def test_architectures_that_have_lost_much(name: str, form: str, backend: str, tmp_path: Path) -> None:
    cfg, quant, floating, model = models_of(name, form)
    inputs = events(model, 1000, fewest=0)
    float_to_quantised(floating, model, inputs)
    random = np.random.default_rng(len(name + form))
    found = [one for one in quantisers(model) if one.part not in without(backend)]
    for quantiser in random.choice(np.array(found, object), max(len(found) // 4, 2), replace=False):
        kill(quantiser, "all" if random.random() < 0.5 else "some")
    project = open_backend(backend).write(model, battery_build(f"{name}_{form}", cfg, quant, backend), tmp_path / "p")
    for asked in (inputs, adversarial(model).inputs):
        agreement = agree(project, model, asked)
        assert agreement.equal, str(agreement)
        assert agreement.values == math.prod(model.output.shape[1:]) * len(asked["features"]) > 0


def test_forms_of_every_run_are_there() -> None:
    known: set[Any] = {case.values[:2] for case in cases()}
    assert known >= FORMS
