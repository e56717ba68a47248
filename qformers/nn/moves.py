"""A layer that moves values and computes nothing, for what Keras has as an operation without a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from qformers.nn.layers import Tensor, serialisable

Key = int | Sequence[int | None]


@serialisable
class Part(keras.layers.Layer):  # type: ignore[misc]
    """A part of a tensor, as a subscript says it: (B, ...) -> (B, ...).

    Args:
        keys: for each axis behind the batch an index, which takes the axis away, or [start, stop, step] of a slice;
            axes that are not named stay whole.
    """

    def __init__(self, keys: Sequence[Key], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keys = tuple(key if isinstance(key, int) else tuple(key) for key in keys)

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return inputs[self.subscript]

    @property
    def subscript(self) -> tuple[Any, ...]:
        """As Python has it, the batch axis first."""
        return (slice(None), *(key if isinstance(key, int) else slice(*key) for key in self.keys))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        keys = [key if isinstance(key, int) else list(key) for key in self.keys]
        return {**super().get_config(), "keys": keys}
