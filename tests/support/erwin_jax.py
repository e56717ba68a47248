"""An Erwin in a process of its own under JAX: outputs and the loss after a step, compiled (`support.under_jax`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np

from qformers.builds.models import load_model


def main(folder: Path) -> None:
    """Write ``jax.json`` and the outputs of every model of the folder."""
    assert keras.backend.backend() == "jax"
    losses = {}
    for path in sorted(folder.glob("*.keras")):
        arrays = dict(np.load(path.with_suffix(".npz")))
        target = arrays.pop("target")
        model = load_model(path)
        np.save(path.with_suffix(".npy"), np.asarray(model(arrays)))
        model.compile(keras.optimizers.SGD(1e-3), "mse")
        losses[path.stem] = model.fit(arrays, target, epochs=2, verbose=0).history["loss"]
    (folder / "jax.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
