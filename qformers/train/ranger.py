"""Ranger: rectified Adam inside Lookahead, the optimiser of the published ParT.

RAdam is arXiv:1908.03265, Lookahead arXiv:1907.08610; constants as in weaver-core. Backend-neutral: every decision is
an `ops.where` on the step counter, so one compiled step serves all steps.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="qformers")
class Ranger(keras.optimizers.Optimizer):  # type: ignore[misc]
    """RAdam steps; every `sync_period` of them weight w and slow copy become ``slow + slow_step * (w - slow)``.

    While the variance of the second moment is not yet bounded (its effective length below 5) the step is plain
    momentum. Weight decay is decoupled: w loses ``learning_rate * weight_decay * w`` before the step.

    Args:
        learning_rate: step size.
        beta_1, beta_2: decay of the first and second moment.
        epsilon: added to the root of the second moment.
        sync_period: steps between two synchronisations, Lookahead's k.
        slow_step: share of the way that the slow weights go, Lookahead's alpha.
        **kwargs: of `keras.optimizers.Optimizer`, e.g. `weight_decay`, `global_clipnorm`.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta_1: float = 0.95,
        beta_2: float = 0.999,
        epsilon: float = 1e-5,
        sync_period: int = 6,
        slow_step: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **{"name": "ranger", **kwargs})
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.sync_period = sync_period
        self.slow_step = slow_step

    def build(self, variables: list[Any]) -> None:
        """Make the two moments and the slow copy of each variable; the slow copies start at the variables' values.

        Call it before the first step: under TensorFlow a compiled step cannot make variables that start as copies.
        """
        if self.built:
            return
        super().build(variables)
        self._first, self._second = self.add_optimizer_variables(variables, ["first", "second"])
        self._slow = []
        for variable in variables:
            # bound as a default argument: the initialiser runs later than the loop under some backends; a true copy:
            # under JAX a compiled step takes over the arrays of variables, and refuses one that two of them share
            copy = lambda shape, dtype=None, value=variable: ops.copy(ops.convert_to_tensor(value, dtype=dtype))  # noqa: E731
            self._slow.append(self.add_variable_from_reference(variable, name="slow", initializer=copy))

    def _rectified(self, step: Any) -> tuple[Any, Any]:
        """Step size over the learning rate, and whether the second moment may be trusted; `step` counts from 1."""
        decay_1, decay_2 = ops.power(self.beta_1, step), ops.power(self.beta_2, step)
        longest = 2.0 / (1.0 - self.beta_2) - 1.0
        length = longest - 2.0 * step * decay_2 / (1.0 - decay_2)  # effective length of the average of g^2
        trusted = length >= 5.0
        safe = ops.where(trusted, length, 5.0)  # keeps the root real where it is not used
        variance = (safe - 4.0) / (longest - 4.0) * (safe - 2.0) / safe * longest / (longest - 2.0)
        factor = ops.where(trusted, ops.sqrt((1.0 - decay_2) * variance), 1.0)
        return factor / (1.0 - decay_1), trusted

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable by one step; all shapes are the variable's."""
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        first = self.beta_1 * self._first[index] + (1.0 - self.beta_1) * gradient
        second = self.beta_2 * self._second[index] + (1.0 - self.beta_2) * ops.square(gradient)
        step = self.iterations + 1
        # float32 whatever the weights are: beta_2 ** step in half precision stays 1 for hundreds of steps
        size, trusted = self._rectified(ops.cast(step, "float32"))
        direction = ops.where(trusted, first / (ops.sqrt(second) + self.epsilon), first)
        fast = variable - rate * ops.cast(size, variable.dtype) * direction
        synchronise = ops.equal(step % self.sync_period, 0)
        old = ops.convert_to_tensor(self._slow[index])
        slow = ops.where(synchronise, old + self.slow_step * (fast - old), old)
        self.assign(self._first[index], first)
        self.assign(self._second[index], second)
        self.assign(self._slow[index], slow)
        self.assign(variable, ops.where(synchronise, slow, fast))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, as JSON."""
        own = {name: getattr(self, name) for name in ("beta_1", "beta_2", "epsilon", "sync_period", "slow_step")}
        return {**super().get_config(), **own}
