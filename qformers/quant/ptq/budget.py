"""What a search has to keep to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from qformers.errors import ConfigError
from qformers.quant.ptq.bench import Trial
from qformers.quant.ptq.evaluator import Evaluation

NEAR = 0.01  # of the EBOPs: no difference between two models


@dataclass(frozen=True)
class Budget:
    """Either a loss of accuracy (R^2), for which EBOPs are made few, or EBOPs, for which the divergence is made small.

    Attributes:
        max_loss: accuracy or R^2 that may be lost against float, e.g. 0.002 for 0.2 %.
        ebops: most EBOPs.

    Raises:
        ConfigError: none or both, or a value that makes no sense.
    """

    max_loss: float | None = None
    ebops: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.max_loss, self.ebops) if value is not None]
        if len(given) != 1:
            raise ConfigError(
                f"one budget is needed, --max-loss or --ebops. Received: {self.max_loss} and {self.ebops}"
            )
        if not 0 < given[0] < math.inf or (self.max_loss is not None and self.max_loss >= 1):
            raise ConfigError(
                f"--max-loss is a share of accuracy between 0 and 1, --ebops a positive number. Received: {given[0]}"
            )

    def allows(self, measured: Evaluation) -> bool:
        """Whether the search may go there; the loss is judged by the probabilities of float, which are less noisy."""
        return self.max_loss is None or measured.expected_lost <= self.max_loss

    def met(self, measured: Evaluation) -> bool:
        """Whether a model may be the result: allowed, and by the labels not lost more within one standard error."""
        if self.ebops is not None:
            return measured.ebops <= self.ebops
        loss = self.max_loss or 0.0
        return measured.expected_lost <= loss and measured.lost <= loss + measured.lost_error

    def better(self, one: Evaluation, other: Evaluation) -> bool:
        """Whether `one` serves the budget better than `other`; neither may diverge more for fewer EBOPs."""
        if self.ebops is not None:
            return one.ebops <= self.ebops and one.divergence < other.divergence
        return self.allows(one) and one.ebops < other.ebops and one.divergence <= other.divergence

    def best(self, points: Iterable[Trial]) -> Trial | None:
        """Of those that meet the budget the one with fewest EBOPs, or the least divergence; None without.

        Of those with nearly as few EBOPs (`NEAR`) the one that diverges least: a budget of accuracy says nothing of the
        probabilities, which a few EBOPs more may keep.
        """
        good = [point for point in points if self.met(point.measured)]
        if self.ebops is None:
            fewest = min((point.measured.ebops for point in good), default=0)
            good = [point for point in good if point.measured.ebops <= (1.0 + NEAR) * fewest]
        return min(good, key=lambda point: (point.measured.divergence, point.measured.ebops), default=None)
