"""Defects of alkaid 0.8.2, each met here and watched by a test (`tests/backends/test_rtl_upstream.py`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from qformers.quant.kinds.products import spelled

MSB_MUX = 6  # opcode of ALIR: one of two values, by the highest bit of a third one


@contextmanager
def mended() -> Iterator[None]:
    """For the length of the block, alkaid keeps a Reshape's batch axis, prices tables once, adds constants, lays wires,
    finds the lowest bit of wide constants, has the tables of Keras and chooses by the sign that was meant.

    It reshapes the array, which has a batch axis of one event, to the layer's target shape, which has none: what comes
    next then fails, or takes a wrong axis.

    It counts the LUTs of a table anew for every value that is looked up, 50 ms each: half the time of a trace that
    looks up thousands.

    A row of a matrix product of which every sum is a constant (its inputs have lost all their bits) ends in a
    StopIteration, since alkaid looks for a variable in the sums to learn of the hardware.

    It looks for shared sums in a matrix that has none, only wires: laying out the bias of 276 pairs as 24 x 24 takes
    48 s and 2 GB, which grow as N^7 and N^6.

    It solves the same matrix anew at every place of a convolution, up to a minute each: answers are kept, which are a
    function of the matrix, of what is known of its inputs, and of the options.

    It searches the lowest bit of a constant in float32: the largest value of a saturating format of 26 bits becomes a
    power of two there, and every positive value 0. What of a constant does not fit its 32 bits is cut off; here that
    ends in a ValueError.

    It traces what it has optimised once more, and a choice by the highest bit of a value (as a saturation makes it) is
    then one by the highest bit that is left: where the value turns out to have fewer bits, or no sign, that is another.

    Its einsum does not sum axes that only one side has: they are summed first.

    It computes the functions that become tables in float64, where Keras computes, and rounds, in float32: from 17 bits
    on, some values are others.
    """
    import keras
    from alkaid.converter.builtin.keras.layers._base import _registry
    from alkaid.converter.builtin.keras.layers.dense import ReplayDense
    from alkaid.converter.builtin.keras.layers.ops import ReplayReshape
    from alkaid.trace import affine_interval, fixed_variable, fixed_variable_array, tracer
    from alkaid.trace.passes import canon, surrogate
    from alkaid.types import CombLogic
    from hgq._alkaid_keras_plugin import activation as plugin
    from hgq.layers import QAffinedUnaryFunctionLUT

    def with_batch(self: Any, inputs: Any) -> Any:
        return inputs.reshape((1, *self.op.compute_output_shape(inputs.shape)[1:]))

    before, count = _registry[keras.layers.Reshape], surrogate.cost_lat_lut
    known: dict[Any, Any] = {}

    def counted(qint_in: Any, table: Any, *widths: int, **options: bool) -> Any:
        key = (tuple(qint_in), table.spec.hash, widths, tuple(options.items()))
        if key not in known:
            known[key] = count(qint_in, table, *widths, **options)
        return known[key]

    solve_matrix, solved = fixed_variable_array.cmvm_solve, {}

    def solved_once(matrix: Any, **options: Any) -> Any:
        known_of_inputs = (tuple(map(tuple, options["qintervals"])), tuple(options["latencies"]))
        others = tuple(sorted((key, value) for key, value in options.items() if key not in ("qintervals", "latencies")))
        key = (matrix.shape, matrix.tobytes(), *known_of_inputs, others)
        if key not in solved:
            solved[key] = solve_matrix(matrix, **options)
        return solved[key]

    solve, in_float64 = fixed_variable_array.cmvm, plugin._QFunctionLUT.call
    searching = (affine_interval, canon, fixed_variable, fixed_variable_array, tracer)
    search = fixed_variable.get_lsb_loc

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

    def values_of(replay: Any, inputs: Any) -> Any:
        layer = replay.op
        form = layer.oq.quantizer.kif[0] if layer.enable_oq else None
        one_format, rank = form is not None and np.size(form) == 1, max(np.ndim(form) if form is not None else 0, 1)

        def values(grid: Any) -> Any:
            column = np.reshape(grid, (-1, *[1] * (rank - 1)))
            argument = keras.ops.convert_to_tensor(column, "float32")
            if isinstance(layer, QAffinedUnaryFunctionLUT):
                argument = argument * layer.scale + layer.bias
            answer = layer.activation(argument)
            answer = layer.oq(answer, training=False) if one_format else answer
            return np.reshape(keras.ops.convert_to_numpy(answer), np.shape(grid)).astype(np.float64)

        return inputs.apply(values)

    variable = fixed_variable.FVariable
    add, made = variable._const_add, variable.from_const

    def added(self: Any, other: Any) -> Any:
        _whole(float(other or 0.0) / self._factor)
        return add(self, other)

    def constant(kind: Any, const: float, hwconf: Any) -> Any:
        _whole(float(const))
        return made(const, hwconf)

    einsummed = ReplayDense.call

    def summed_first(self: Any, inputs: Any) -> Any:
        if not isinstance(self.op, keras.layers.EinsumDense):
            return einsummed(self, inputs)
        left, right, output = spelled(self.op.equation, inputs.ndim).replace("->", ",").split(",")
        if {*left, *right} <= {*output} | ({*left} & {*right}):
            return einsummed(self, inputs)
        values, left = _without(inputs, left, right + output)
        kernel, right = _without(self._load_weight("kernel"), right, left + output)
        return np.einsum(f"{left},{right}->{output}", values, kernel) + self._load_weight("bias")

    executed = CombLogic.exec_op

    def chosen(comb: Any, op: Any, buffer: Any, given: Any) -> Any:
        if op.opcode == MSB_MUX and isinstance(buffer[op.addr[2]], variable):
            key, meant = buffer[op.addr[2]], comb.ops[op.addr[2]].qint
            signed = meant.min < 0  # then the first value is chosen below 0, else from half the range on
            least = 0.0 if signed else 2.0 ** (meant.kif[1] - 1)
            if key.low >= least or key.high < least:
                first = (key.high < least) == signed
                return buffer[op.addr[0]] if first else buffer[op.addr[1]] * 2.0 ** op.data[0]
        return executed(comb, op, buffer, given)

    try:  # alkaid registers every subclass when it is made
        type("KeepBatch", (ReplayReshape,), {"handles": (keras.layers.Reshape,), "call": with_batch})
        surrogate.cost_lat_lut = counted
        fixed_variable_array.cmvm = laid_or_summed
        fixed_variable_array.cmvm_solve = solved_once
        for module in searching:
            module.get_lsb_loc = lowest_bit
        variable._const_add, variable.from_const = added, classmethod(constant)
        plugin._QFunctionLUT.call = values_of
        CombLogic.exec_op = chosen
        ReplayDense.call = summed_first
        yield
    finally:
        ReplayDense.call = einsummed
        CombLogic.exec_op = executed
        plugin._QFunctionLUT.call = in_float64
        variable._const_add, variable.from_const = add, made
        for module in searching:
            module.get_lsb_loc = search
        fixed_variable_array.cmvm = solve
        fixed_variable_array.cmvm_solve = solve_matrix
        _registry[keras.layers.Reshape], surrogate.cost_lat_lut = before, count


def _without(values: Any, letters: str, others: str) -> tuple[Any, str]:
    """The sum over axes whose letters nobody else has, and the letters that are left."""
    alone = tuple(place for place, letter in enumerate(letters) if letter not in others)
    kept = "".join(letter for letter in letters if letter in others)
    return (np.sum(values, axis=alone) if alone else values), kept


@lru_cache(maxsize=100_000)
def lowest_bit(value: float) -> int:
    """Exponent of the lowest bit of a float64; 127 for zero, as alkaid says it."""
    mantissa, exponent = math.frexp(value)
    whole = int(mantissa * 2.0**53)
    return exponent - 53 + (whole & -whole).bit_length() - 1 if whole else 127


def _whole(value: float) -> None:
    """A constant, as the whole number that alkaid makes of it, has to fit 32 bits."""
    if value and abs(value * 2.0 ** -lowest_bit(value)) >= 2**31:
        raise ValueError(f"the constant {value!r} needs more than 32 bits; give what is added here fewer bits")


def _only_lays_out(matrix: Any) -> bool:
    """Whether each column has a single entry, plus or minus a power of two, or none: no sum, only wires."""
    mantissas, _ = np.frexp(np.abs(matrix[matrix != 0]))  # 0.5 for a power of two
    return bool((np.count_nonzero(matrix, axis=0) <= 1).all() and (mantissas == 0.5).all())
