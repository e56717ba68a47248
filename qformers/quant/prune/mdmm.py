"""Sparsity as a constraint of the training: the modified differential method of multipliers (Platt & Barr, 1987)."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from qformers.config.sections import PruneConfig
from qformers.quant.prune.targets import Kernel

Tensor = Any


class Multiplier:
    """Regulariser of one kernel: ``scale * (lambda * V + damping * V^2 / 2)``, V the violation of the constraint.

    V = (t^2 - s^2) * mean |w| with the sparsity t that is wanted and the share s of weights below `epsilon`: above zero
    it pulls all weights down until enough of them are small, below zero it lets them grow. s is a count and has no
    gradient. Where whole units are pruned, |w| is the root mean square of a unit. lambda climbs by
    ``rate * scale * V`` per step.

    Args:
        kernel: whose; its variable gets this regulariser.
        config: the prune section.
        optimiser: built; takes lambda among its variables.
    """

    def __init__(self, kernel: Kernel, config: PruneConfig, optimiser: Any) -> None:
        self.config, self.target = config, kernel.sparsity
        self.axes = kernel.summed if config.granularity == "unit" else ()
        self.price = optimiser.add_variable((), initializer="zeros", name=f"{kernel.layer.name}_lambda")
        self.active = optimiser.add_variable((), initializer="zeros", name=f"{kernel.layer.name}_active")
        kernel.variable.regularizer = self

    def violation(self, value: Tensor) -> Tensor:
        """V of these weights."""
        size = ops.sqrt(ops.mean(ops.square(value), axis=self.axes) + 1e-12) if self.axes else ops.abs(value)
        small = ops.stop_gradient(ops.mean(ops.cast(size <= self.config.mdmm_epsilon, "float32")))
        return (self.target**2 - small**2) * ops.mean(size)

    def __call__(self, value: Tensor) -> Tensor:
        """What it adds to the loss, in nats."""
        violation = self.violation(value)
        penalty = self.price * violation + self.config.mdmm_damping * ops.square(violation) / 2
        return self.active * self.config.mdmm_scale * penalty

    def ascend(self, value: Tensor) -> None:
        """Move lambda by one step."""
        self.price.assign_add(self.active * self.config.mdmm_rate * self.config.mdmm_scale * self.violation(value))

    def switch(self, on: bool) -> None:
        """Let it act, or not."""
        self.active.assign(np.float32(on))
