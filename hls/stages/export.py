"""Stage "export": from a trained model to a firmware project with its test bench."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from hls.backends import open_backend
from hls.backends.protocol import Backend, Project
from hls.errors import HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from qformers.builds.build import Build
from qformers.builds.models import load_model
from qformers.data import DataError, open_split
from qformers.errors import ConfigError
from qformers.files import sha256
from qformers.models.inputs import host_inputs, takes_events
from qformers.progress import Reporter

BENCH_JETS = 100  # test jets of the C++ test bench, besides the adversarial events


def load_quantised(path: Path) -> keras.Model:
    """Load a model that `scripts/train.py` saved.

    Raises:
        HlsError: no file, or none that Keras can read.
    """
    if not path.is_file():
        raise HlsError(f"{path} is missing; train the build first (scripts/train.py), or give --model")
    try:
        return load_model(path)
    except ConfigError as error:  # Keras's own words are its cause
        raise HlsError(f"{path} cannot be read as a Keras model: {error.__cause__}") from error


def export(
    build: Build,
    model_path: Path,
    out: Path,
    backend: str | Backend | None = None,
    reporter: Reporter | None = None,
    allow_overflow: bool = False,
) -> Project:
    """Write the firmware project of a build.

    Args:
        build: its section `firmware` says how.
        model_path: the quantised model.
        out: folder of the project.
        backend: instead of the one of the build, or its name.
        reporter: told of progress.
        allow_overflow: write accumulators of the build that cannot hold their sums.

    Raises:
        HlsError: no model, an unknown backend, or a layer without exact firmware (`ExportRefused`).
    """
    chosen = backend or build.firmware.backend
    writer = open_backend(chosen) if isinstance(chosen, str) else chosen
    model = load_quantised(model_path)
    facts = {"model": str(model_path), "model_file_sha256": sha256(model_path)}
    project = writer.write(model, build, out, reporter, facts, allow_overflow)
    inputs = bench_inputs(build, model)
    project.write_bench(inputs, keras_outputs(model, inputs))
    return project


def bench_inputs(build: Build, model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Some test jets, where there are any, and the adversarial events."""
    hard = adversarial(model).inputs
    if not takes_events(model):
        return hard
    try:
        jets = open_split(build.data, "test").load()[:BENCH_JETS]
    except DataError:
        return hard
    easy = host_inputs(model, jets)
    return {name: np.concatenate([easy[name], hard[name]]) for name in hard}
