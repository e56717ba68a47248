"""One gradient of a compiled model: Keras's own step, without what that costs per variable and step under JAX.

Keras lists all variables of a model anew for every batch, hands them to the compiled function and assigns what comes
back one by one, with checks. A quantised model has hundreds of them, and that took longer than the arithmetic
(`benchmarks/train_backends.py --profile`). Here they are listed once, and the arrays change hands without a copy. What
is computed is the function that Keras compiled, so that all bits are those of `train_on_batch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from qformers.train.feed import Inputs

Step = Callable[[Inputs, Any], dict[str, float]]


def step_of(model: Any) -> Step:
    """The function of inputs and targets that makes a step and returns loss and monitors.

    Args:
        model: compiled; its optimiser built, and with all its variables when the first step is made.
    """
    if keras.backend.backend() == "jax":
        return JaxStep(model)
    return lambda inputs, targets: _numbers(model.train_on_batch(inputs, targets, return_dict=True))


def _numbers(logs: Any) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}


class JaxStep:
    """`train_on_batch` under JAX, for a model whose variables stay the same ones.

    The compiled function takes the arrays of the variables over (they are donated) and refuses one that it is given
    twice: where one was assigned to two variables, as pruning does, the second gets a copy.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._held: tuple[list[Any], ...] = ()
        self._metrics: list[Any] = []

    def __call__(self, inputs: Inputs, targets: Any) -> dict[str, float]:
        """One step."""
        import jax

        model = self._model
        if not self._held:
            model._symbolic_build(data_batch=(inputs, targets, None))  # makes the variables of the metrics
            model.make_train_function()
            self._metrics = list(model.metrics)
            parts = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
            self._held = tuple(list(part) for part in (*parts, model.metrics_variables))
        for metric in self._metrics:
            metric.reset_state()
        seen: set[int] = set()
        state = tuple([_own(variable.value, seen) for variable in part] for part in self._held)
        logs, state = model.train_function(state, iter([(inputs, targets, None)]))
        for part, arrays in zip(self._held, state, strict=True):
            for variable, array in zip(part, arrays, strict=True):
                variable._value = array  # what `assign` comes to, without its checks
        return _numbers(jax.device_get(logs))


def _own(array: Any, seen: set[int]) -> Any:
    """The array, or a copy where it was seen before."""
    if id(array) in seen:
        return array.copy()
    seen.add(id(array))
    return array
