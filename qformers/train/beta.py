"""The price of bits: a controller of beta, the weight of EBOPs in the loss, that brings EBOPs to their target.

HGQ adds ``beta * EBOPs`` to the loss. `hgq.utils.sugar.BetaPID` moves beta once per epoch with gains made for
thousands of epochs; here a run has tens, and Adam lets a bit width fall by about the learning rate per step however
large beta is, so that a controller of the plain error winds up and then overshoots. This one follows a glide path: ln
EBOPs goes straight from where it starts to the target by a share of the training (`train.qat.ebops_arrival`), and beta
is moved by the distance from that path.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from keras import ops

from qformers.config.sections import EBOPS_ARRIVAL

MARGIN = 0.95  # aimed at this share of the target, since only epochs at or below the target count
INTEGRAL = 300.0  # d ln beta per unit of training and per unit of ln(EBOPs / path)
PROPORTIONAL = 10.0  # d ln beta per change of ln(EBOPs / path): damps the integral part
LOWEST = 1e-12
HIGHEST_COST = 3.0  # beta is bounded so that beta * target stays below this many nats of cross-entropy


def _priced_layers(model: Any) -> Iterator[Any]:
    """Layers of `model`, at any depth, that HGQ counts EBOPs in."""
    for layer in model._flatten_layers():
        if getattr(layer, "_beta", None) is not None and getattr(layer, "_ebops", None) is not None:
            yield layer


def has_ebops(model: Any) -> bool:
    """Whether `model` is a quantised one with EBOPs in its loss."""
    return next(_priced_layers(model), None) is not None


def ebops(model: Any) -> int:
    """Effective bit operations of a quantised model as of its last training step or calibration; 0 for a float model.

    All layers count, nested ones too (HGQ's own callbacks look at the outermost only).
    """
    return sum(int(ops.convert_to_numpy(layer._ebops)) for layer in _priced_layers(model))


def set_beta(model: Any, beta: float) -> None:
    """Set the weight of EBOPs in the loss, in nats per EBOP, in every layer."""
    for layer in _priced_layers(model):
        layer._beta.assign(np.float32(beta))


@dataclass
class BetaController:
    """State of the controller; `state` and `from_state` carry it through a checkpoint without a change.

    Attributes:
        target: EBOPs wanted.
        beta: weight of EBOPs in the loss now.
        start: share of the training before which beta is left alone.
        arrival: share of the training by which EBOPs should be at the target; the rest is for the accuracy.
        first_ebops: EBOPs at `start`, where the path begins; None before.
        error: ln(EBOPs / path) at the last update.
        share: share of the training at the last update.
    """

    target: float
    beta: float
    start: float = 0.0
    arrival: float = EBOPS_ARRIVAL
    first_ebops: float | None = None
    error: float = 0.0
    share: float = 0.0

    def path(self, share: float) -> float:
        """EBOPs that should be reached at this share of the training."""
        if self.first_ebops is None:
            raise ValueError("the glide path begins with the first update")
        arrival = max(self.arrival, self.start + 0.5 * (1.0 - self.start))  # a long warm-up leaves half of the rest
        # a warm-up as long as the training leaves no path, and its last step is at the end of it
        done = min(1.0, max(0.0, (share - self.start) / (arrival - self.start))) if self.start < 1.0 else 1.0
        aim = MARGIN * self.target
        if self.first_ebops <= aim:  # nothing to come down from: free up to the target
            return aim
        return math.exp((1.0 - done) * math.log(self.first_ebops) + done * math.log(aim))

    def update(self, ebops_now: float, share: float) -> float:
        """Return the beta to use from now on.

        Args:
            ebops_now: EBOPs measured in the last step; 0 (not measured yet) changes nothing.
            share: share of the training done, in [0, 1].
        """
        if share < self.start or ebops_now <= 0.0:
            return self.beta
        if self.first_ebops is None:
            self.first_ebops, self.share = float(ebops_now), share
        error = math.log(ebops_now / self.path(share))
        move = INTEGRAL * error * (share - self.share) + PROPORTIONAL * (error - self.error)
        highest = max(LOWEST, HIGHEST_COST / self.target)
        self.beta = min(highest, max(LOWEST, self.beta * math.exp(min(2.0, max(-2.0, move)))))
        self.error, self.share = error, share
        return self.beta

    def state(self) -> dict[str, float | None]:
        """All of the state, as JSON."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Inverse of `state`."""
        return cls(**state)
