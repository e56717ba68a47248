"""How far a quantised model is from its float model, for any bits, through one compiled function."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.precision.fixed import Fixed
from qformers.quant.ptq.cost import Cost, Dials
from qformers.quant.ptq.slots import Slot
from qformers.quant.ptq.workshop import Inputs, Workshop
from qformers.tasks.metrics.jets import log_probabilities

BATCH = 1024  # largest; the jets are split evenly


@dataclass(frozen=True)
class Evaluation:
    """A model on the jets of the search, beside the float model on the same jets.

    Attributes:
        ebops: as HGQ2 counts them.
        divergence: mean Kullback-Leibler divergence of its class probabilities from those of float, in nats. It falls
            on every jet, where the accuracy falls on the few that change sides.
        cross_entropy: of the true class, in nats; this and all that needs labels on the jets that have them.
        accuracy: share of jets decided rightly.
        expected_lost: accuracy lost, judged by the float model's own probabilities: mean of p(its choice) - p(the
            choice of the quantised model). A jet that changes sides between two nearly equal classes counts that
            little, not as one right or wrong; so it says something on few jets. It is as good as float is calibrated.
        lost: accuracy of float minus accuracy, by the labels.
        lost_error: of `lost`, from the jets on which exactly one of the two is right.
        rise: cross-entropy minus that of float.
        rise_error: standard error of the mean difference per jet.
    """

    ebops: int
    divergence: float
    cross_entropy: float
    accuracy: float
    expected_lost: float
    lost: float
    lost_error: float
    rise: float
    rise_error: float

    def as_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class SearchJets:
    """Jets ready for the quantised model, with the answers of the float one."""

    inputs: Inputs
    labels: NDArray[np.int64]  # (m,) with m <= n: of the first ones, which float was not trained on
    float_logits: NDArray[np.float32]  # (n, classes)


class Evaluator:
    """Measures one model in many formats. The formats are variables of one function, which is compiled once.

    Args:
        shop: makes the model.
        formats: slot -> its format at the start, of all slots; only bits can be changed later.
        jets: what it is measured on.
        jit_compile: whether XLA compiles the function.
    """

    def __init__(
        self, shop: Workshop, formats: Mapping[Slot, Fixed], jets: SearchJets, jit_compile: bool = True
    ) -> None:
        self.model = shop.model(formats)
        self.dials = Dials(shop.slots(self.model))
        self.cost = Cost(self.model, self.dials)
        self.jets = jets
        self.model.compile(jit_compile=jit_compile)
        self._batches = _even(jets.inputs, len(jets.float_logits))
        self._float = log_probabilities(jets.float_logits)

    def logits(self, formats: Mapping[Slot, Fixed]) -> NDArray[np.float32]:
        """Outputs (n, classes) in these formats."""
        self.dials.set(formats)
        parts = [ops.convert_to_numpy(self.model.predict_on_batch(batch)) for batch in self._batches]
        return np.concatenate(parts)[: len(self.jets.float_logits)]

    def measure(self, formats: Mapping[Slot, Fixed]) -> Evaluation:
        """Run the model in these formats; all slots must be given."""
        ebops = self.cost.total(formats)
        return compared(self.logits(formats), self._float, self.jets.labels, ebops)


def compared(logits: NDArray[Any], float_log: NDArray[np.float64], labels: NDArray[np.int64], ebops: int) -> Evaluation:
    """Outputs of a model against those of float, jet by jet.

    Args:
        logits: (n, classes).
        float_log: log of the class probabilities of float, (n, classes).
        labels: (m,) with m <= n, of the first jets: those that count where labels do.
        ebops: of the model.
    """
    log, jets, judged = log_probabilities(logits), len(logits), len(labels)
    divergence = float(np.mean(np.sum(np.exp(float_log) * (float_log - log), axis=1)))
    true = (np.arange(judged), labels)
    rise = float_log[true] - log[true]
    right = log[:judged].argmax(axis=1) == labels
    float_right = float_log[:judged].argmax(axis=1) == labels
    change = float_right.astype(float) - right
    probability, rows = np.exp(float_log), np.arange(jets)
    given_up = probability.max(axis=1) - probability[rows, log.argmax(axis=1)]
    return Evaluation(
        ebops=ebops,
        divergence=max(divergence, 0.0),
        cross_entropy=float(-log[true].mean()),
        accuracy=float(right.mean()),
        expected_lost=float(given_up.mean()),
        lost=float(change.mean()),
        lost_error=float(change.std() / math.sqrt(judged)),
        rise=float(rise.mean()),
        rise_error=float(rise.std() / math.sqrt(judged)),
    )


def _even(inputs: Inputs, jets: int) -> list[Inputs]:
    """Batches of one size, so that one compilation serves all; the last one is filled up with its first jets."""
    count = math.ceil(jets / BATCH)
    size = math.ceil(jets / count)
    index = np.arange(count * size) % jets
    return [
        {name: array[index[at : at + size]] for name, array in inputs.items()} for at in range(0, count * size, size)
    ]
