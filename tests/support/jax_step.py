"""Run by test_step under KERAS_BACKEND=jax: steps of `qformers.train.step` beside Keras's own, writes jax.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from qformers.config.sections import PhaseConfig
from qformers.tasks import JetTagging
from qformers.train import phases
from qformers.train.optimisers import make_optimiser
from qformers.train.step import JaxStep, step_of
from support import train_fakes


def trained(vocabulary: str, own: bool, optimiser: str) -> tuple[list[dict[str, float]], list[Any]]:
    """Logs of six steps, and all variables behind them."""
    phases.deterministic(1, True)
    model, task = train_fakes.tiny_model(vocabulary), JetTagging(train_fakes.CLASSES)
    source = train_fakes.FakeSource(64, 1)
    inputs, targets = train_fakes.host_inputs(None, source.events), task.targets(source.events.labels)
    if vocabulary == "hgq":
        train_fakes.calibrate(model, inputs)
    config = PhaseConfig.model_validate({"optimiser": optimiser, "learning_rate": 1e-2})
    made = make_optimiser(config, model.trainable_variables, 4)
    model.compile(optimizer=made, loss=task.loss(config), metrics=task.monitors(), jit_compile=True)
    step = step_of(model)
    if not isinstance(step, JaxStep):
        raise TypeError(f"expected a JaxStep. Received: {step}")
    logs = []
    for number in range(6):
        made.learning_rate = 1e-2 / (1 + number)
        if number == 3:  # what others change between two steps is not lost
            model.get_layer("logits").bias.assign(np.full(3, 0.25, np.float32))
        plain = model.train_on_batch(inputs, targets, return_dict=True) if not own else step(inputs, targets)
        logs.append({name: float(value) for name, value in plain.items()})
    variables = [*model.variables, *made.variables]
    return logs, [np.asarray(keras.ops.convert_to_numpy(variable)).tolist() for variable in variables]


def main(folder: Path) -> None:
    """Both, of a float model (with dropout) and a quantised one."""
    cases = [("float32", "ranger"), ("hgq", "adam")]
    result = {
        vocabulary: [trained(vocabulary, own, optimiser) for own in (True, False)] for vocabulary, optimiser in cases
    }
    (folder / "jax.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
