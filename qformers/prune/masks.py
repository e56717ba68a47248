"""The constraint that holds pruned weights at zero, and the one that takes their bits away.

Its state lives among the variables of the optimiser: there it is part of every checkpoint, and every Keras backend
updates it inside the compiled step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.prune.mdmm import Multiplier
from qformers.prune.scores import NOTHING
from qformers.prune.targets import Kernel

Tensor = Any


def _state(optimiser: Any, name: str, start: NDArray[np.float32]) -> Any:
    variable = optimiser.add_variable(start.shape, initializer="zeros", name=name)
    variable.assign(start)
    return variable


class MaskedKernel:
    """Soft mask while the threshold rises, hard mask at the end (after PDP, arXiv:2305.11203).

    The model computes with ``dense * mask * sigmoid((score^2 - threshold^2) / temperature)``; the dense weights live on
    behind the mask, so that one which was masked too early can come back. What the optimiser did to the masked weights
    is done to the dense ones, times the soft mask. The derivative of the mask itself, a spike at the threshold that
    Adam would turn into a jump, is left out.

    Args:
        kernel: what is pruned.
        optimiser: built; takes the state among its variables.
        temperature: of the soft mask, in units of the squared score.
        whole_units: whether a unit is kept or goes as a whole.
        multiplier: what pulls the weights towards zero beforehand (MDMM), or None.
    """

    def __init__(
        self, kernel: Kernel, optimiser: Any, temperature: float, whole_units: bool, multiplier: Multiplier | None
    ) -> None:
        self.kernel, self.temperature, self.multiplier = kernel, temperature, multiplier
        self.axes = kernel.summed if whole_units else ()
        self.inner: Callable[[Tensor], Tensor] | None = kernel.variable.constraint
        values = np.asarray(ops.convert_to_numpy(kernel.variable), np.float32)

        def state(word: str, start: NDArray[np.float32]) -> Any:
            return _state(optimiser, f"{kernel.layer.name}_{word}", start)

        self.dense, self.effective = state("dense", values), state("effective", values)
        self.mask, self.scale = state("mask", np.ones_like(values)), state("scale", np.ones_like(values))
        self.threshold = state("threshold", np.full_like(values, NOTHING))  # of squared scores
        kernel.variable.constraint = self

    def soft(self, dense: Tensor) -> Tensor:
        """How much of each weight is kept."""
        score = ops.square(dense * self.scale)
        if self.axes:
            score = ops.mean(score, axis=self.axes, keepdims=True)
        return self.mask * ops.sigmoid((score - self.threshold) / self.temperature)

    def __call__(self, value: Tensor) -> Tensor:
        """The kernel to compute the next step with, from what the optimiser made of the last one."""
        if self.inner is not None:
            value = self.inner(value)
        dense = self.dense + (value - self.effective) * self.soft(self.dense)
        if self.multiplier is not None:
            self.multiplier.ascend(dense)
        effective = dense * self.soft(dense)
        self.dense.assign(dense)
        self.effective.assign(effective)
        return effective

    def refresh(self) -> None:
        """Put the mask in force now, not behind the next step."""
        effective = self.dense * self.soft(self.dense)
        self.effective.assign(effective)
        self.kernel.variable.assign(effective)

    def freeze(self, keep: NDArray[np.bool_]) -> None:
        """Hold the weights that are not kept at exactly zero from now on; the others train freely."""
        mask = ops.convert_to_numpy(self.mask) * keep
        self.mask.assign(mask.astype(np.float32))
        self.dense.assign(ops.convert_to_numpy(self.dense) * mask)
        self.threshold.assign(np.full(self.kernel.shape, NOTHING, np.float32))
        self.refresh()


class Held:
    """Constraint of a variable that is 0 wherever its mask is: the bits of a masked weight, the bias of a masked unit.

    What was there lives on behind the mask, for a weight that comes back.
    """

    def __init__(self, variable: Any, optimiser: Any, name: str) -> None:
        self.inner: Callable[[Tensor], Tensor] | None = variable.constraint
        self.variable = variable
        values = np.asarray(ops.convert_to_numpy(variable), np.float32)

        self.mask = _state(optimiser, f"{name}_mask", np.ones_like(values))
        self.dense, self.effective = (_state(optimiser, f"{name}_{word}", values) for word in ("dense", "effective"))
        variable.constraint = self

    def __call__(self, value: Tensor) -> Tensor:
        """The variable behind a step."""
        dense = self.dense + (value - self.effective) * self.mask
        if self.inner is not None:
            dense = self.inner(dense)
        effective = dense * self.mask
        self.dense.assign(dense)
        self.effective.assign(effective)
        return effective

    def hold(self, keep: NDArray[Any]) -> None:
        """Zero where `keep` is 0, until it is told otherwise."""
        self.mask.assign(np.asarray(keep, np.float32))
        effective = self.dense * self.mask
        self.effective.assign(effective)
        self.variable.assign(effective)
