#!/usr/bin/env python3
"""Time and memory of conversion, compilation and C simulation for several numbers of particles.

    python benchmarks/hls_compile.py 4 8 16

One block, width 16, two heads, pair bias computed in firmware, learned widths as at the start of training. CPU seconds
are given beside wall seconds: on a busy machine only the former mean anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
EVENTS = 2000


def measured(action: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, wall seconds and CPU seconds (children included) of an action."""
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    result = action()
    return result, time.perf_counter() - wall, sum(os.times()[:4]) - cpu


def model_of(particles: int) -> Any:
    """A quantised Particle Transformer of this size, untrained."""
    from qformers.config.sections import QuantConfig
    from qformers.data import FeatureSet
    from qformers.models.part.config import PartConfig
    from qformers.models.part.part import part
    from qformers.models.sizes import Jet
    from qformers.nn.hgq import Hgq

    names = ("part_pt_log", "part_deta", "part_dphi")
    features = FeatureSet(names, (0.0,) * 3, (1.0,) * 3, (-8.0,) * 3, (8.0,) * 3)
    config = PartConfig(
        embed_widths=(16,), pair_widths=(8,), pairs="onchip", heads=2, blocks=1, class_blocks=0, head="mean",
        ffn_ratio=2, norm="batch", activation="relu", pair_activation="relu", pre_activation_pair=True,
        scale_resids=False, dropout=0.0, attn_dropout=0.0, activation_dropout=0.0,
    )  # fmt: skip
    return part(config, Jet(particles, 3, 5, features), Hgq(QuantConfig()))


def compile_apart(project: Path) -> tuple[str, float]:
    """Compile in a small process of its own, whose children's memory is that of g++ alone; returns MB."""
    code = (
        "import resource, sys; from pathlib import Path; from hls.backends.hls4ml.csim import compile_project; "
        "compile_project(Path(sys.argv[1]), 'bench'); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, str(project)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  no shell
    return answer, float(answer) / 1024


def measure(particles: int) -> str:
    """One line of the table."""
    import numpy as np

    from hls.backends import open_backend
    from hls.proof.agree import keras_outputs
    from qformers.builds.build import Build

    data = {
        "dataset": "jetclass",
        "train": ["-"],
        "val": ["-"],
        "test": ["-"],
        "features": "-",
        "num_particles": particles,
    }
    build = Build.model_validate({"spec": 1, "name": "bench", "data": data, "model": {}})
    model, random = model_of(particles), np.random.default_rng(0)
    mask = (np.arange(particles) < random.integers(0, particles + 1, (EVENTS, 1))).astype(np.float32)
    inputs = {"features": random.normal(size=(EVENTS, particles, 3)).astype(np.float32), "mask": mask}
    with tempfile.TemporaryDirectory() as folder:
        project, *converted = measured(lambda: open_backend("vitis").write(model, build, Path(folder) / "vitis"))
        (_, memory), *compiled = measured(lambda: compile_apart(project.path))
        logits, *simulated = measured(lambda: project.predict(inputs))
    different = int((logits != keras_outputs(model, inputs)["logits"]).sum())
    times = "  ".join(f"{wall:6.1f} s {cpu:6.1f} s" for wall, cpu in (converted, compiled))
    speed = f"{EVENTS / simulated[0]:7.0f}/s {EVENTS / simulated[1]:7.0f}/s"
    return f"{particles:>3}  {times}  {memory:8.0f} MB  {speed}  {different:>9}"


def main() -> int:
    """Entry point."""
    print("  N  convert: wall, CPU  compile: wall, CPU   g++ memory   events: wall, CPU  different")
    for text in sys.argv[1:] or ["4", "8", "16"]:
        print(measure(int(text)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
