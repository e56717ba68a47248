"""One battery for all: each form of each architecture is exact in each backend, or refused.

The cases are made from MODELS x `Arch.forms` x BACKENDS: what is registered is tested, and what a backend cannot write
stands in `REFUSED` with the words of its refusal.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import pytest
from support import hept_fixed as hept_fixed_helpers
from support.battery import (
    ELSEWHERE,
    FLOAT_ONLY,
    IN_EVERY_RUN,
    LONG,
    PER_ELEMENT,
    QUANT,
    REFUSED,
    SLOTS,
    WITHOUT_COMPILER,
    build_of,
    cases,
    models_of,
)
from support.configurations import events
from support.peers import NARROW
from support.quantised import inputs_of

from hls.backends import BACKENDS, open_backend
from hls.backends.simulators.levels import Level
from hls.errors import ExportRefused
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree
from qformers.builds.build import Build
from qformers.errors import ConfigError
from qformers.models import MODELS
from qformers.models.sizes import Jet
from qformers.nn.hgq import Hgq
from qformers.quant.fold import float_to_quantised


@pytest.mark.parametrize(("name", "form", "backend"), cases())
def test_firmware_is_the_quantised_model(name: str, form: str, backend: str, tmp_path: Path) -> None:
    cfg, quant, floating, model = models_of(name, form)
    inputs = events(model, 2000, fewest=0)
    inputs = inputs_of(model, inputs)
    float_to_quantised(floating, model, inputs)
    assert_exact(model, inputs, build_of(f"{name}_{form}", cfg, quant, backend), tmp_path)


@pytest.mark.parametrize(("name", "backend"), REFUSED)
def test_what_a_backend_cannot_write_is_refused(name: str, backend: str, tmp_path: Path) -> None:
    form = next(iter(MODELS[name].forms))
    cfg, quant, _, model = models_of(name, form)
    build = build_of(name, cfg, quant, backend)
    assert open_backend(backend).supports(model, build)
    with pytest.raises(ExportRefused, match=REFUSED[name, backend]):
        open_backend(backend).write(model, build, tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_everything_registered_is_in_the_battery() -> None:
    tested = {case.values for case in cases()}
    assert {name for name, _, _ in tested} == set(MODELS) - FLOAT_ONLY
    assert {name for name, arch in MODELS.items() if not arch.forms} == FLOAT_ONLY
    assert {backend for _, _, backend in tested} | {backend for _, backend in ELSEWHERE} == set(BACKENDS)
    assert tested >= IN_EVERY_RUN
    assert {(name, form) for name, form, _ in tested} >= LONG
    assert {(name, form) for name, form, _ in tested} >= PER_ELEMENT
    assert {backend for _, backend in REFUSED} | WITHOUT_COMPILER <= set(BACKENDS)
    assert {name for name, _ in REFUSED} | set(SLOTS) | set(QUANT) <= set(MODELS)


@pytest.mark.parametrize("name", FLOAT_ONLY)
def test_what_has_no_form_in_fixed_point_is_refused(name: str) -> None:
    cfg = MODELS[name].config()
    sizes = Jet(MODELS[name].particles(cfg)[0], 3, 3)
    with pytest.raises(ConfigError, match=f"architecture {name} has no form in fixed point yet; set train.qat: null"):
        MODELS[name].build(cfg, sizes, Hgq(NARROW))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["alkaid", "vitis"])
@pytest.mark.parametrize(
    ("points", "head", "order", "hashes"),
    [
        (32, "embedding", "onchip", 2),
        (32, "logits", "host", 1),
        (64, "embedding", "host", 1),
        (64, "logits", "onchip", 1),
    ],
)
def test_firmware_is_the_quantised_hept_of_two_layers(
    points: int, head: str, order: str, hashes: int, backend: str, tmp_path: Path
) -> None:
    cfg = hept_fixed_helpers.small(
        hashes=hashes, layers=2, head=head, outputs=3, order=order, heads=1, block_size=16, head_widths=(4,)
    )
    _, model, inputs = hept_fixed_helpers.both(cfg, points, hept_fixed_helpers.NARROW)
    assert_exact(model, inputs, build_of(f"hept_{points}_{head}", cfg, hept_fixed_helpers.NARROW, backend), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["csim", "verilator"])
def test_simulators_of_hept_agree_with_it(level: Level, tmp_path: Path) -> None:
    cfg = hept_fixed_helpers.small(
        hashes=1, layers=2, head="logits", outputs=3, heads=1, block_size=8, head_widths=(4,)
    )
    _, model, inputs = hept_fixed_helpers.both(cfg, 32, hept_fixed_helpers.NARROW)
    assert_exact(model, inputs, build_of(f"hept_{level}", cfg, hept_fixed_helpers.NARROW, "alkaid"), tmp_path, level)


def assert_exact(
    model: keras.Model, inputs: dict[str, Any], build: Build, folder: Path, level: Level | None = None
) -> None:
    """Write, compile, and compare every output of `inputs` and of the adversarial events."""
    project = open_backend(build.firmware.backend).write(model, build, folder / "project")
    project.compile(level)
    numbers = math.prod(model.output.shape[1:])
    for asked in (inputs, adversarial(model).inputs):
        agreement = agree(project, model, asked, level=level)
        assert agreement.equal, str(agreement)
        assert agreement.values == numbers * len(next(iter(asked.values()))) > 0
