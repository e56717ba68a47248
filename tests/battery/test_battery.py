"""One battery for all: every form of ParT, of its peers and of HEPT is exact in the simulation of every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from support import hept_fixed as hept_fixed_helpers
from support.hls_models import build_of
from support.peers import NARROW, float_peer, peer_jets, quantised_peer
from support.quantised import float_part, inputs_of, jets, quantised_part, small

from hls.backends import BACKENDS, open_backend
from hls.backends.simulators.levels import Level
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree
from qformers.config.sections import QuantConfig
from qformers.models import MODELS
from qformers.quant.fold import float_to_quantised

# The RTL backend needs no compilation for the traced arithmetic (its simulation: tests/backends/test_rtl_exact.py), so
# all forms go through `make test` there; of the others the first one does, and all of them through `make test-all`.
# The block engine takes HEPT only, and any number of points: tests/backends/test_block_engine.py.
MARKS = {"alkaid": (), "vitis": pytest.mark.slow, "vivado": pytest.mark.slow}

# Which pair features and head.
FORMS = [
    pytest.param("input", "class_token", "vitis"),
    *(
        pytest.param(pairs, head, backend, marks=MARKS[backend])
        for backend in MARKS
        for pairs in ("onchip", "input", "none")
        for head in ("mean", "class_token")
        if (pairs, head, backend) != ("input", "class_token", "vitis")
    ),
]


@pytest.mark.parametrize(("pairs", "head", "backend"), FORMS)
def test_firmware_is_the_quantised_model(pairs: str, head: str, backend: str, tmp_path: Path) -> None:
    assert backend in BACKENDS
    cfg = small(pairs, head)
    model = quantised_part(cfg, QuantConfig(activation="fixed<8,4>", weight="fixed<6,2,RND,SAT_SYM>"))
    events = inputs_of(model, jets(2000))
    float_to_quantised(float_part(cfg), model, events)
    assert_exact(model, events, f"battery_{pairs}_{head}_{backend}", backend, tmp_path)


# Forms of the peers (`peers_helpers.FORMS`), with one width per channel or per slot and channel.
PEERS = [
    pytest.param("jedi", "channel", "vitis"),
    pytest.param("linformer", "element", "vitis"),
    *(
        pytest.param(form, granularity, backend, marks=MARKS[backend])
        for backend in MARKS
        for form, granularity in (
            ("deepsets", "channel"), ("deepsets_sum", "element"), ("mixer", "element"), ("mixer_flat", "channel"),
            ("jedi", "element"), ("mha", "element"), ("mha_mean", "channel"), ("linformer_mean", "channel"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("form", "granularity", "backend"), PEERS)
def test_firmware_is_the_quantised_peer(form: str, granularity: str, backend: str, tmp_path: Path) -> None:
    assert backend in BACKENDS
    model = quantised_peer(form, 3, NARROW.model_copy(update={"granularity": granularity}))
    events = inputs_of(model, peer_jets(3, 2000))
    float_to_quantised(float_peer(form, 3), model, events)
    assert_exact(model, events, f"battery_{form}_{granularity}_{backend}", backend, tmp_path)


# HEPT: (orders, norm, who sorts); only the RTL backend has gathers, the others refuse them
# (tests/models/test_hept_fixed.py)
HEPT = [(2, "batch", "host"), (1, "none", "host"), (1, "none", "onchip")]


@pytest.mark.parametrize(("hashes", "norm", "order"), HEPT)
def test_firmware_is_the_quantised_hept(hashes: int, norm: str, order: str, tmp_path: Path) -> None:
    cfg = hept_fixed_helpers.small(hashes=hashes, norm=norm, order=order, heads=1)
    _, model, events = hept_fixed_helpers.both(cfg, 8, hept_fixed_helpers.NARROW)
    assert_exact(model, events, f"battery_hept_{hashes}_{order}", "alkaid", tmp_path, points=8)


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
    _, model, events = hept_fixed_helpers.both(cfg, points, hept_fixed_helpers.NARROW)
    assert_exact(model, events, f"battery_hept_{points}_{head}", "alkaid", tmp_path, points=points)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["csim", "verilator"])
def test_simulators_of_hept_agree_with_it(level: Level, tmp_path: Path) -> None:
    cfg = hept_fixed_helpers.small(
        hashes=1, layers=2, head="logits", outputs=3, heads=1, block_size=8, head_widths=(4,)
    )
    _, model, events = hept_fixed_helpers.both(cfg, 32, hept_fixed_helpers.NARROW)
    assert_exact(model, events, f"battery_hept_{level}", "alkaid", tmp_path, points=32, level=level)


def test_the_battery_covers_every_architecture() -> None:
    assert set(MODELS) == {"part", "deepsets", "mixer", "jedi_linear", "transformer", "hept"}


def assert_exact(
    model: keras.Model,
    events: dict[str, Any],
    name: str,
    backend: str,
    folder: Path,
    points: int = 1,
    level: Level | None = None,
) -> None:
    """Write, compile, and compare `events` and the adversarial ones: three numbers each, or per point."""
    project = open_backend(backend).write(model, build_of(name, backend=backend), folder / "project")
    project.compile(level)
    for inputs in (events, adversarial(model).inputs):
        found = agree(project, model, inputs, level=level)
        assert found.equal, str(found)
        assert found.values == 3 * points * len(inputs["features"])
