"""Activations with settings as functions of one number that can be saved, for the tables of fixed point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from qformers.errors import ConfigError, nearest
from qformers.nn.layers import serialisable
from qformers.nn.vocabulary import Tensor

FUNCTIONS = ("elu", "leaky_relu", "relu")


@serialisable
class Elementwise:
    """A function of `keras.activations` with settings.

    Args:
        function: its name, one of `FUNCTIONS`.
        settings: its arguments behind the first one, numbers.

    Raises:
        ConfigError: another function.
    """

    __name__ = "elementwise"  # HGQ2 asks activations for it

    def __init__(self, function: str, **settings: float) -> None:
        if function not in FUNCTIONS:
            raise ConfigError(f"no function of one number{nearest(function, FUNCTIONS)}. Received: {function!r}")
        self.function, self.settings = function, settings

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return getattr(keras.activations, self.function)(x, **self.settings)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {"function": self.function, **self.settings}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Elementwise:
        """Inverse of `get_config`."""
        return cls(**config)
