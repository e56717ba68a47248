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
from support.configurations import events
from support.peers import NARROW
from support.quantised import NATURAL, shaken

from hls.backends import BACKENDS, open_backend
from hls.backends.simulators.levels import Level
from hls.errors import ExportRefused
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree
from qformers.builds.build import Build
from qformers.config.sections import QuantConfig
from qformers.models import MODELS
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.quant.fold import float_to_quantised

# The RTL backend needs no compilation for the traced arithmetic (its simulation: tests/backends/test_rtl_exact.py), so
# all forms go through `make test` there; of the others a few do, and all of them through `make test-all`.
WITHOUT_COMPILER = {"alkaid"}
IN_EVERY_RUN = {
    ("part", "input_class_token", "vitis"), ("jedi_linear", "relu", "vitis"), ("transformer", "linformer", "vitis"),
}  # fmt: skip

# (architecture, backend) -> why it is refused.
NO_GATHER = "no sort and no gather"
ONLY_HEPT = "the block engine is for a quantised model of architecture hept"
REFUSED: dict[tuple[str, str], str] = {
    ("hept", "vitis"): NO_GATHER,
    ("hept", "vivado"): NO_GATHER,
    **{(name, "block_engine"): ONLY_HEPT for name in MODELS if name != "hept"},
}
# Each of the engine's events is simulated for itself, from its first clock: tests/backends/test_block_engine.py
ELSEWHERE = {("hept", "block_engine")}

SLOTS = {"part": 5, "hept": 8}  # particles; 3 of all others
QUANT = {"hept": hept_fixed_helpers.NARROW}  # all others: NARROW
PER_ELEMENT = {  # one width per slot and channel; all others: one per channel
    ("deepsets", "sum"), ("mixer", "weighted"), ("jedi_linear", "relu"), ("transformer", "flat"),
    ("transformer", "linformer"),
}  # fmt: skip


def cases() -> list[Any]:
    """Architecture, form and backend of everything that is not refused, slow where a compiler is needed."""
    return [
        pytest.param(
            name,
            form,
            backend,
            marks=() if backend in WITHOUT_COMPILER or (name, form, backend) in IN_EVERY_RUN else pytest.mark.slow,
            id=f"{name}-{form}-{backend}",
        )
        for name, arch in MODELS.items()
        for form in arch.forms
        for backend in BACKENDS
        if (name, backend) not in REFUSED and (name, backend) not in ELSEWHERE
    ]


def models_of(name: str, form: str) -> tuple[Any, QuantConfig, keras.Model, keras.Model]:
    """Configuration, formats, shaken float model and quantised model (as built) of a form."""
    arch, sizes = MODELS[name], Jet(SLOTS.get(name, 3), 3, 3, NATURAL)
    granularity = "element" if (name, form) in PER_ELEMENT else "channel"
    cfg, quant = arch.forms[form], QUANT.get(name, NARROW).model_copy(update={"granularity": granularity})
    keras.utils.set_random_seed(3)
    return cfg, quant, shaken(arch.build(cfg, sizes, Float32())), arch.build(arch.fixed(cfg), sizes, Hgq(quant))


def build_of(name: str, cfg: Any, quant: QuantConfig, backend: str) -> Build:
    """A build of this model; its data are not read."""
    data = {"dataset": "jetclass", "train": ["a"], "val": ["a"], "test": ["a"], "features": "kin", "num_particles": 4}
    model, firmware = cfg.model_dump(), {"backend": backend}
    sections = {"data": data, "model": model, "quant": quant.model_dump(), "firmware": firmware}
    return Build.model_validate({"spec": 1, "name": name, **sections})


@pytest.mark.parametrize(("name", "form", "backend"), cases())
def test_firmware_is_the_quantised_model(name: str, form: str, backend: str, tmp_path: Path) -> None:
    cfg, quant, floating, model = models_of(name, form)
    inputs = events(model, 2000, fewest=0)
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
    assert {name for name, _, _ in tested} == set(MODELS)
    assert {backend for _, _, backend in tested} | {backend for _, backend in ELSEWHERE} == set(BACKENDS)
    assert tested >= IN_EVERY_RUN
    assert {(name, form) for name, form, _ in tested} >= PER_ELEMENT
    assert {backend for _, backend in REFUSED} | WITHOUT_COMPILER <= set(BACKENDS)
    assert {name for name, _ in REFUSED} | set(SLOTS) | set(QUANT) <= set(MODELS)


@pytest.mark.slow
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
    points: int, head: str, order: str, hashes: int, tmp_path: Path
) -> None:
    cfg = hept_fixed_helpers.small(
        hashes=hashes, layers=2, head=head, outputs=3, order=order, heads=1, block_size=16, head_widths=(4,)
    )
    _, model, inputs = hept_fixed_helpers.both(cfg, points, hept_fixed_helpers.NARROW)
    assert_exact(model, inputs, build_of(f"hept_{points}_{head}", cfg, hept_fixed_helpers.NARROW, "alkaid"), tmp_path)


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
        assert agreement.values == numbers * len(asked["features"]) > 0
