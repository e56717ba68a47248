"""Run by test_part_float under KERAS_BACKEND=jax: evaluates and trains a saved ParT, writes jax.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np

import qformers.models.part.layers  # noqa: F401  (registers the layers)


def main(folder: Path) -> None:
    """Logits of the saved model on jets.npz, then ten steps of Adam on that one batch."""
    model = keras.saving.load_model(folder / "part.keras", safe_mode=True)
    data = dict(np.load(folder / "jets.npz"))
    labels = data.pop("labels")
    logits = model.predict_on_batch(data)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=loss)
    losses = [float(model.train_on_batch(data, labels)) for _ in range(10)]
    result = {"backend": keras.backend.backend(), "logits": logits.tolist(), "losses": losses}
    (folder / "jax.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
