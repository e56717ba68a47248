"""Programs under Keras's JAX backend, beside the TensorFlow of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.paths import ROOT


def under_jax(code: Path, folder: Path) -> dict[str, Any]:
    """Run a program in a process of its own under JAX; what it left in ``jax.json`` of `folder`, its argument."""
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    command = [sys.executable, str(code), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads((folder / "jax.json").read_text())
    return result
