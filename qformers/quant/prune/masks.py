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

from qformers.quant.prune.mdmm import Multiplier
from qformers.quant.prune.scores import NOTHING
from qformers.quant.prune.targets import Kernel

Tensor = Any


class Behind:
    """A variable that the model reads behind a mask; its dense values live on, so that what was masked can come back.

    Args:
        variable: this becomes its constraint; one that it had goes on to hold.
        optimiser: built; takes the state among its variables.
        name: of the state.
    """

    def __init__(self, variable: Any, optimiser: Any, name: str) -> None:
        self.variable, self._optimiser, self._name = variable, optimiser, name
        self.inner: Callable[[Tensor], Tensor] | None = variable.constraint
        values = np.asarray(ops.convert_to_numpy(variable), np.float32)
        self.dense, self.effective = self.state("dense", values), self.state("effective", values)
        self.mask = self.state("mask", np.ones_like(values))
        variable.constraint = self

    def state(self, word: str, start: NDArray[np.float32]) -> Any:
        """A variable of the optimiser."""
        variable = self._optimiser.add_variable(start.shape, initializer="zeros", name=f"{self._name}_{word}")
        variable.assign(start)
        return variable

    def kept(self, dense: Tensor) -> Tensor:
        """How much of each dense value the model reads."""
        return self.mask

    def moved(self, value: Tensor) -> Tensor:
        """The dense values after a step that took the variable to `value`."""
        return self.dense + (value - self.effective) * self.kept(self.dense)

    def show(self, dense: Tensor) -> Tensor:
        """Take these dense values over; returns what the model reads of them."""
        effective = dense * self.kept(dense)
        self.dense.assign(dense)
        self.effective.assign(effective)
        return effective

    def refresh(self) -> None:
        """Put the mask in force now, not behind the next step."""
        self.variable.assign(self.show(ops.convert_to_tensor(self.dense)))


class MaskedKernel(Behind):
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
        super().__init__(kernel.variable, optimiser, kernel.layer.name)
        self.kernel, self.temperature, self.multiplier = kernel, temperature, multiplier
        self.axes = kernel.summed if whole_units else ()
        self.scale = self.state("scale", np.ones(kernel.shape, np.float32))
        self.threshold = self.state("threshold", np.full(kernel.shape, NOTHING, np.float32))  # of squared scores

    def kept(self, dense: Tensor) -> Tensor:
        """How much of each weight the model reads: the soft mask."""
        score = ops.square(dense * self.scale)
        if self.axes:
            score = ops.mean(score, axis=self.axes, keepdims=True)
        return self.mask * ops.sigmoid((score - self.threshold) / self.temperature)

    def __call__(self, value: Tensor) -> Tensor:
        """The kernel to compute the next step with, from what the optimiser made of the last one."""
        dense = self.moved(value if self.inner is None else self.inner(value))
        if self.multiplier is not None:
            self.multiplier.ascend(dense)
        return self.show(dense)

    def freeze(self, keep: NDArray[np.bool_]) -> None:
        """Hold the weights that are not kept at exactly zero from now on; the others train freely."""
        mask = ops.convert_to_numpy(self.mask) * keep
        self.mask.assign(mask.astype(np.float32))
        self.dense.assign(ops.convert_to_numpy(self.dense) * mask)
        self.threshold.assign(np.full(self.kernel.shape, NOTHING, np.float32))
        self.refresh()


class Held(Behind):
    """A variable that is 0 wherever its mask is: the bits of a masked weight, the bias of a masked unit."""

    def __call__(self, value: Tensor) -> Tensor:
        """The variable behind a step; here the inner constraint (of bits) is one on the dense values."""
        dense = self.moved(value)
        return self.show(dense if self.inner is None else self.inner(dense))

    def hold(self, keep: NDArray[Any]) -> None:
        """Zero where `keep` is 0, until it is told otherwise."""
        self.mask.assign(np.asarray(keep, np.float32))
        self.refresh()
