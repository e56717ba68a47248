"""Defects of alkaid 0.8.2, each met here and watched by a test (`tests/backends/test_rtl_upstream.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def mended() -> Iterator[None]:
    """For the length of the block, alkaid keeps a Reshape's batch axis, prices tables once, adds constants, lays wires.

    It reshapes the array, which has a batch axis of one event, to the layer's target shape, which has none: what comes
    next then fails, or takes a wrong axis.

    It counts the LUTs of a table anew for every value that is looked up, 50 ms each: half the time of a trace that
    looks up thousands.

    A row of a matrix product of which every sum is a constant (its inputs have lost all their bits) ends in a
    StopIteration, since alkaid looks for a variable in the sums to learn of the hardware.

    It looks for shared sums in a matrix that has none, only wires: laying out the bias of 276 pairs as 24 x 24 takes
    48 s and 2 GB, which grow as N^7 and N^6.
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

    def laid_or_summed(matrix: Any, row: Any, options: Any) -> Any:
        if not _only_lays_out(matrix):
            return summed(matrix, row, options)
        values, sources = np.asarray(row), np.abs(matrix).argmax(axis=0)
        return values[sources] * np.take_along_axis(matrix, sources[None], axis=0)[0]

    try:  # alkaid registers every subclass when it is made
        type("KeepBatch", (ReplayReshape,), {"handles": (keras.layers.Reshape,), "call": with_batch})
        surrogate.cost_lat_lut = counted
        fixed_variable_array.cmvm = laid_or_summed
        yield
    finally:
        fixed_variable_array.cmvm = solve
        _registry[keras.layers.Reshape], surrogate.cost_lat_lut = before, count


def _only_lays_out(matrix: Any) -> bool:
    """Whether each column has a single entry, plus or minus a power of two, or none: no sum, only wires."""
    mantissas, _ = np.frexp(np.abs(matrix[matrix != 0]))  # 0.5 for a power of two
    return bool((np.count_nonzero(matrix, axis=0) <= 1).all() and (mantissas == 0.5).all())
