"""Events with the answers of a float model, to measure its quantised forms on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.builds.own_events import Metric
from qformers.interop.truth import flat, truth
from qformers.quant.ptq.evaluator import SearchJets


def judged(
    model: keras.Model, inputs: dict[str, NDArray[Any]], metric: Metric, labels: NDArray[Any] | None
) -> SearchJets:
    """Events with the answers of a float model.

    Args:
        model: the float model.
        inputs: n events by input.
        metric: see `qformers.interop.truth.truth`.
        labels: of these events; None, for "mse" alone: what float gives.

    Raises:
        ConfigError: a metric that the outputs of the model do not have.
        DataError: labels that are none of its classes, or of another shape.
    """
    said = None if labels is None else truth(model, metric, labels)
    answers = model.predict(inputs, batch_size=1024, verbose=0)
    floats = (flat if said is None else said.read)(answers)
    wanted = floats if said is None else said.labels
    read = flat if said is None else said.read
    return SearchJets(
        inputs, wanted, floats.astype(np.float32), values=metric == "mse", labelled=said is not None, read=read
    )
