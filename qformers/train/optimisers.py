"""From the YAML's words to a Keras optimiser, with a learning rate of its own for bit widths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from qformers.config.sections import PhaseConfig
from qformers.train.ranger import Ranger
from qformers.train.schedule import learning_rate


def is_width(variable: Any) -> bool:
    """Whether a variable is a learned bit width of HGQ2 (in bits, not a weight)."""
    return "fixed_point_quantizer" in variable.path


class WidthRate:
    """Multiplies the learning rate of bit widths by `width_factor`.

    An Adam step moves every number by about the learning rate. That suits weights, which are below 1; a width has to
    go some bits in the same number of steps, and a loss that prices bits cannot hurry it: Adam divides the gradient
    by its own size.
    """

    width_factor = 1.0

    def build(self, variables: list[Any]) -> None:
        """Note which variables are widths: under TensorFlow `update_step` sees native ones, without a path."""
        self._width_places = frozenset(i for i, variable in enumerate(variables) if is_width(variable))
        super().build(variables)  # type: ignore[misc]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable by one step."""
        place = self._get_variable_index(variable)  # type: ignore[attr-defined]
        factor = self.width_factor if place in self._width_places else 1.0
        super().update_step(gradient, variable, learning_rate * factor)  # type: ignore[misc]


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


def make_optimiser(phase: PhaseConfig, variables: Iterable[Any], steps_per_epoch: int) -> Any:
    """Return the optimiser of a phase, built on `variables` (the model's trainable ones, in its order).

    Args:
        phase: its settings.
        variables: what is trained.
        steps_per_epoch: optimiser steps in an epoch; with the schedule they decide the learning rate of the widths, so
            that `phase.width_travel` bits are the most that a width can move in the phase.
    """
    trained = list(variables)
    decay = phase.weight_decay or (0.0 if phase.optimiser == "adamw" else None)  # Keras: AdamW refuses None
    optimiser = OPTIMISERS[phase.optimiser](
        learning_rate=phase.learning_rate, weight_decay=decay, global_clipnorm=phase.clip_norm
    )
    way = sum(learning_rate(phase, step, steps_per_epoch) for step in range(phase.epochs * steps_per_epoch))
    optimiser.width_factor = max(1.0, phase.width_travel / way)
    if decay:
        optimiser.exclude_from_weight_decay(var_list=undecayed(trained))
    optimiser.build(trained)
    return optimiser
