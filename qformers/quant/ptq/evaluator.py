"""How far a quantised model is from its float model, for any bits, through one compiled function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
            on every jet, where the accuracy falls on the few that change sides. Of a regression the mean squared
            difference of outputs.
        loss: cross-entropy of the true class, in nats, or mean squared error of outputs; this and all that needs labels
            on the jets that have them.
        score: share of jets decided rightly, or R^2.
        expected_lost: accuracy lost, judged by the float model's own probabilities: mean of p(its choice) - p(the
            choice of the quantised model). A jet that changes sides between two nearly equal classes counts that
            little, not as one right or wrong; so it says something on few jets. It is as good as float is calibrated.
            Of a regression the divergence in variances of the truth: what R^2 falls by where rounding knows nothing of
            the errors of float.
        lost: score of float minus score, by the labels.
        lost_error: of `lost`, from the jets on which exactly one of the two is right, or from what each event adds.
        rise: loss minus that of float.
        rise_error: standard error of the mean difference per jet.
        of: what the score is, a key of `qformers.tasks.score_names.NAMES`.
    """

    ebops: int
    divergence: float
    loss: float
    score: float
    expected_lost: float
    lost: float
    lost_error: float
    rise: float
    rise_error: float
    of: str = "accuracy"

    def as_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class SearchJets:
    """Jets ready for the quantised model, with the answers of the float one."""

    inputs: Inputs
    labels: NDArray[Any]  # (m,) with m <= n: of the first ones, which float was not trained on; or (m, k), see `values`
    float_logits: NDArray[np.float32]  # (n, classes)
    values: bool = False  # whether outputs are numbers to be predicted, and labels what they should be
    labelled: bool = True  # whether somebody said what is right; else labels are what float says
    read: Callable[[Any], NDArray[Any]] = ops.convert_to_numpy  # from what the model gives to (n, classes)


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

    def logits(self, formats: Mapping[Slot, Fixed]) -> NDArray[np.float32]:
        """Outputs (n, classes) in these formats."""
        self.dials.set(formats)
        parts = [self.jets.read(self.model.predict_on_batch(batch)) for batch in self._batches]
        return np.concatenate(parts)[: len(self.jets.float_logits)]

    def measure(self, formats: Mapping[Slot, Fixed]) -> Evaluation:
        """Run the model in these formats; all slots must be given."""
        ebops = self.cost.total(formats)
        return beside_float(self.logits(formats), self.jets, ebops)


def beside_float(outputs: NDArray[Any], jets: SearchJets, ebops: int) -> Evaluation:
    """Outputs of a model against those of float, by what they are."""
    if jets.values:
        return compared_values(outputs, jets.float_logits, jets.labels, ebops)
    return compared(outputs, log_probabilities(jets.float_logits), jets.labels, ebops)


def compared_values(outputs: NDArray[Any], floats: NDArray[Any], labels: NDArray[Any], ebops: int) -> Evaluation:
    """Predicted numbers against those of float, event by event.

    Args:
        outputs, floats: (n, k), of the model and of float; means are over all k.
        labels: (m, k) with m <= n, what the first ones should be.
        ebops: of the model.
    """
    wide, ideal, truth = (np.asarray(array, np.float64) for array in (outputs, floats, labels))
    judged, spread = len(truth), float(np.var(truth, axis=0).mean()) or 1.0
    divergence = float(np.mean((wide - ideal) ** 2))
    squares, float_squares = (((one[:judged] - truth) ** 2).mean(axis=1) for one in (wide, ideal))
    rise = squares - float_squares
    return Evaluation(
        ebops=ebops,
        divergence=divergence,
        loss=float(squares.mean()),
        score=1.0 - float(squares.mean()) / spread,
        expected_lost=divergence / spread,
        lost=float(rise.mean()) / spread,
        lost_error=float(rise.std()) / spread / math.sqrt(judged),
        rise=float(rise.mean()),
        rise_error=float(rise.std()) / math.sqrt(judged),
        of="r2",
    )


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
        loss=float(-log[true].mean()),
        score=float(right.mean()),
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
