"""Pruned models in firmware: the same zeros, the same outputs, fewer LUT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import hls_models

from hls.backends import open_backend
from hls.proof.agree import keras_outputs
from hls.stages.zeros import lut_without_zeros
from qformers.builds.models import load_model
from qformers.config.sections import PhaseConfig, PruneConfig
from qformers.quant.fold import calibrate
from qformers.quant.prune.callback import Pruning
from qformers.quant.prune.sparsity import sparsity
from qformers.train.optimisers import make_optimiser

PARTICLES = 3


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised ParT, half of whose weights were masked (without training: the masks are what is tested)."""
    model = hls_models.part_model(PARTICLES)
    calibrate(model, hls_models.jets(PARTICLES, 256), start=True)
    pruning = Pruning(PruneConfig(sparsity=0.5, start=0.0, end=0.5))
    pruning.attach(model, make_optimiser(PhaseConfig(), model.trainable_variables, 2), 2)
    pruning.after_step(1)
    path = tmp_path_factory.mktemp("pruned") / "model.keras"
    model.save(path)
    return path


@pytest.mark.parametrize("backend", [pytest.param("vitis", marks=pytest.mark.slow), "alkaid"])
def test_firmware_of_a_pruned_model_is_exact(pruned: Path, tmp_path: Path, backend: str) -> None:
    model, inputs = load_model(pruned), hls_models.jets(PARTICLES, 2000, seed=3)
    assert sparsity(model).share >= 0.5
    project = open_backend(backend).write(model, hls_models.build_of("pruned", backend=backend), tmp_path / backend)
    wanted, found = keras_outputs(model, inputs), project.outputs(inputs)
    assert np.unique(wanted["logits"]).size > 10
    np.testing.assert_array_equal(found["logits"], wanted["logits"])


@pytest.mark.slow
def test_zeros_save_lut(pruned: Path) -> None:
    costs = lut_without_zeros(pruned)
    now, without_zeros = costs["total"]
    assert now < 0.9 * without_zeros
    assert costs["b0_ffn_fc1"][0] < costs["b0_ffn_fc1"][1]
