"""From the YAML's words to a Keras optimiser, with learning rates of their own for bit widths and for new layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from qformers.config.sections import PhaseConfig
from qformers.train.ranger import Ranger
from qformers.train.schedule import learning_rate


def is_width(variable: Any) -> bool:
    """Whether a variable is a learned bit width of HGQ2 (in bits, not a weight)."""
    return "fixed_point_quantizer" in variable.path


class WidthRate:
    """Multiplies the learning rate of bit widths by `width_factor` and of the variables `new` by `new_factor`.

    An Adam step moves every number by about the learning rate. That suits weights, which are below 1; a width has to
    go some bits in the same number of steps, and a loss that prices bits cannot hurry it: Adam divides the gradient
    by its own size. A head that is made anew has a longer way to go than the trained layers in front of it.
    """

    width_factor = 1.0
    new_factor = 1.0
    new: frozenset[str] = frozenset()  # paths of variables

    def build(self, variables: list[Any]) -> None:
        """Note which variables are which: under TensorFlow `update_step` sees native ones, without a path."""
        self._factors = tuple(
            (self.width_factor if is_width(variable) else 1.0) * (self.new_factor if variable.path in self.new else 1.0)
            for variable in variables
        )
        super().build(variables)  # type: ignore[misc]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable by one step."""
        factor = self._factors[self._get_variable_index(variable)]  # type: ignore[attr-defined]
        super().update_step(gradient, variable, learning_rate * factor)  # type: ignore[misc]

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        """Keras decays all by one learning rate; published recipes decay each by its own."""
        if self.new_factor == 1.0 or self.weight_decay is None:  # type: ignore[attr-defined]
            super()._apply_weight_decay(variables)  # type: ignore[misc]
            return
        for variable in variables:
            if self._use_weight_decay(variable):  # type: ignore[attr-defined]
                factor = self._factors[self._get_variable_index(variable)]  # type: ignore[attr-defined]
                rate = ops.cast(self.learning_rate, variable.dtype) * (self.weight_decay * factor)  # type: ignore[attr-defined]
                self.assign(variable, variable - variable * rate)  # type: ignore[attr-defined]


@keras.saving.register_keras_serializable(package="qformers")
class WidthAdam(WidthRate, keras.optimizers.Adam):  # type: ignore[misc]
    """Keras's Adam with `WidthRate`."""


@keras.saving.register_keras_serializable(package="qformers")
class WidthAdamW(WidthRate, keras.optimizers.AdamW):  # type: ignore[misc]
    """Keras's AdamW with `WidthRate`."""


@keras.saving.register_keras_serializable(package="qformers")
class WidthRanger(WidthRate, Ranger):
    """Ranger with `WidthRate`."""


OPTIMISERS: dict[str, Any] = {"adam": WidthAdam, "adamw": WidthAdamW, "ranger": WidthRanger}


def undecayed(variables: Iterable[Any]) -> list[Any]:
    """Variables that weight decay must leave alone: all but the kernels of dense layers.

    ParT decays no one-dimensional tensor, bias or class token; a quantised model also trains bit widths, which are
    no weights at all.
    """
    return [v for v in variables if v.name != "kernel" or len(v.shape) < 2]


def make_optimiser(phase: PhaseConfig, variables: Iterable[Any], steps_per_epoch: int, new: Iterable[Any] = ()) -> Any:
    """Return the optimiser of a phase, built on `variables` (the model's trainable ones, in its order).

    With micro-batches it is called once for each of them, sums their gradients and moves the variables at the last one
    of a step; the sums are among its variables, zero between steps.

    Args:
        phase: its settings.
        variables: what is trained.
        steps_per_epoch: optimiser steps in an epoch; with the schedule they decide the learning rate of the widths, so
            that `phase.width_travel` bits are the most that a width can move in the phase.
        new: those of them that have `phase.new_layers_rate`.
    """
    trained = list(variables)
    decay = phase.weight_decay or (0.0 if phase.optimiser == "adamw" else None)  # Keras: AdamW refuses None
    optimiser = OPTIMISERS[phase.optimiser](
        learning_rate=phase.learning_rate,
        weight_decay=decay,
        global_clipnorm=phase.clip_norm,
        gradient_accumulation_steps=phase.pieces if phase.pieces > 1 else None,
    )
    way = sum(learning_rate(phase, step, steps_per_epoch) for step in range(phase.epochs * steps_per_epoch))
    optimiser.width_factor = max(1.0, phase.width_travel / way)
    optimiser.new, optimiser.new_factor = frozenset(variable.path for variable in new), phase.new_layers_rate
    if decay:
        optimiser.exclude_from_weight_decay(var_list=undecayed(trained))
    optimiser.build(trained)
    return optimiser
