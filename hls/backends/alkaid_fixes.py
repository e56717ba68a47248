"""Defects of alkaid 0.8.2, each met here and watched by a test (`tests/test_rtl_upstream.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def mended() -> Iterator[None]:
    """For the length of the block, alkaid keeps the batch axis of a Reshape, prices equal tables once, adds constants.

    It reshapes the array, which has a batch axis of one event, to the layer's target shape, which has none: what comes
    next then fails, or takes a wrong axis.

    It counts the LUTs of a table anew for every value that is looked up, 50 ms each: half the time of a trace that
    looks up thousands.

    A row of a matrix product of which every sum is a constant (its inputs have lost all their bits) ends in a
    StopIteration, since alkaid looks for a variable in the sums to learn of the hardware.
    """
    import keras
    from alkaid.converter.builtin.keras.layers._base import _registry
    from alkaid.converter.builtin.keras.layers.ops import ReplayReshape
    from alkaid.trace import fixed_variable_array
    from alkaid.trace.passes import surrogate

    def with_batch(self: Any, inputs: Any) -> Any:
        return inputs.reshape((1, *self.op.compute_output_shape(inputs.shape)[1:]))

    before, count = _registry[keras.layers.Reshape], surrogate.cost_lat_lut
    known: dict[Any, Any] = {}

    def counted(qint_in: Any, table: Any, *widths: int, **options: bool) -> Any:
        key = (tuple(qint_in), table.spec.hash, widths, tuple(options.items()))
        if key not in known:
            known[key] = count(qint_in, table, *widths, **options)
        return known[key]

    solve = fixed_variable_array.cmvm

    def summed(matrix: Any, row: Any, options: Any) -> Any:
        try:
            return solve(matrix, row, options)
        except StopIteration:
            return (np.array([float(value.low) for value in np.asarray(row)]) @ matrix).astype(object)

    try:  # alkaid registers every subclass when it is made
        type("KeepBatch", (ReplayReshape,), {"handles": (keras.layers.Reshape,), "call": with_batch})
        surrogate.cost_lat_lut = counted
        fixed_variable_array.cmvm = summed
        yield
    finally:
        fixed_variable_array.cmvm = solve
        _registry[keras.layers.Reshape], surrogate.cost_lat_lut = before, count
