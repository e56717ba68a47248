"""Defects of alkaid 0.8.2, each met here and watched by a test (`tests/test_rtl_upstream.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def mended() -> Iterator[None]:
    """For the length of the block, alkaid keeps the batch axis of a Reshape.

    It reshapes the array, which has a batch axis of one event, to the layer's target shape, which has none: what comes
    next then fails, or takes a wrong axis.
    """
    import keras
    from alkaid.converter.builtin.keras.layers._base import _registry
    from alkaid.converter.builtin.keras.layers.ops import ReplayReshape

    def with_batch(self: Any, inputs: Any) -> Any:
        return inputs.reshape((1, *self.op.compute_output_shape(inputs.shape)[1:]))

    before = _registry[keras.layers.Reshape]
    try:  # alkaid registers every subclass when it is made
        type("KeepBatch", (ReplayReshape,), {"handles": (keras.layers.Reshape,), "call": with_batch})
        yield
    finally:
        _registry[keras.layers.Reshape] = before
