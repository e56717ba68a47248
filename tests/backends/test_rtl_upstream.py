"""What alkaid 0.8.2 does that we work around: each test fails on the day it is mended, and the workaround can go."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
from alkaid.codegen import RTLModel
from alkaid.converter import trace_model
from alkaid.trace import FVArray, trace
from alkaid.trace.passes.retrace import _retrace
from alkaid.types import CombLogic, Op, QInterval
from hgq.layers import QEinsumDense
from support import hls_models as h

from hls.backends.alkaid import trace as alkaid_trace
from hls.backends.alkaid.fixes import mended
from hls.backends.alkaid.stages import pipeline


def reshaped() -> keras.Model:
    x = keras.Input((4,), name="x")
    y = keras.layers.Reshape((2, 2), name="square")(x)
    layer = h.dense(y, "last", "fixed<6,3,RND,SAT>", h.MIX[:2, :2], equation="bij,jo->bio", shape=(2, 2))
    return keras.Model(x, {"y": layer})


def test_reshape_loses_the_batch_axis() -> None:
    with pytest.raises(ValueError, match="requires 3 dimensions, but 2 is given"):
        trace_model(reshaped(), inputs_kif=(1, 3, 4))
    with mended():
        inputs, outputs = trace_model(reshaped(), inputs_kif=(1, 3, 4))
    assert (inputs.size, outputs.size) == (4, 4)


def test_the_reported_delay_of_a_stage_is_that_from_the_inputs(tmp_path: object) -> None:
    with mended():
        inputs, outputs = trace_model(h.operations_model(), inputs_kif=((1, 4, 6), (1, 4, 6)))
    comb = trace(inputs, outputs)
    model = RTLModel(comb, str(tmp_path), "delays", latency_cutoff=5.0)
    assert len(model.fsm.logic) > 2
    reported = max(stage.latency[1] for stage in model.fsm.logic.values())
    assert reported == pytest.approx(max(op.latency for op in model._comb.ops))
    assert max(pipeline(comb, 5.0).delays_ns) < reported / 2


def test_a_row_of_constants_stops_a_matrix_product() -> None:
    rows = FVArray.from_kif(np.ones((2, 2), bool), np.array([[3, 3], [-4, -4]]), np.array([[2, 2], [4, 4]]))
    rows = rows.quantize(np.ones((2, 2), bool), np.array([[3, 3], [-1, -1]]), np.array([[2, 2], [0, 0]]))
    with pytest.raises(StopIteration):
        rows @ h.MIX[:2, :2]
    with mended():
        found = rows @ h.MIX[:2, :2]
    low, high, _ = found.lhs
    assert np.all(low[1] == high[1])
    assert np.all(low[0] < high[0])


LAID_OUT = """
import re
from pathlib import Path
import numpy as np
from alkaid.trace import FVArray

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

pairs = [(i, j) for i in range(16) for j in range(i)]
layout = np.zeros((len(pairs), 256))
for number, (i, j) in enumerate(pairs):
    layout[number, [16 * i + j, 16 * j + i]] = 1
row = FVArray.from_kif(*(np.full((1, len(pairs)), part) for part in (1, 3, 2)))
before = peak()
row @ layout
print(peak() - before)
"""


def test_an_axis_that_only_the_input_has_is_not_summed() -> None:
    """`fixes.mended`."""
    given = keras.Input((6, 3), name="given")
    layer = QEinsumDense("bnc,co->bo", 4, iq_conf=h.form("fixed<6,3,RND,SAT>"), name="sums")
    model = keras.Model(given, layer(given))
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        trace_model(model, framework="keras", inputs_kif=((1, 2, 3),))


def test_equal_matrices_are_searched_anew_at_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fixes.mended` keeps the answers."""
    from alkaid.trace import fixed_variable_array

    solve, calls = fixed_variable_array.cmvm_solve, []

    def counted(matrix: np.ndarray, **options: object) -> object:
        calls.append(matrix.shape)
        return solve(matrix, **options)

    monkeypatch.setattr(fixed_variable_array, "cmvm_solve", counted)
    given = keras.Input((4, 3), name="given")
    layer = QEinsumDense("bni,io->bno", (4, 3), iq_conf=h.form("fixed<6,3,RND,SAT>"), name="places")
    model = keras.Model(given, layer(given))
    layer.kernel.assign(h.MIX)
    trace_model(model, framework="keras", inputs_kif=((1, 2, 3),))
    assert calls == [(3, 3)] * 4
    calls.clear()
    with mended():
        trace_model(model, framework="keras", inputs_kif=((1, 2, 3),))
    assert calls == [(3, 3)]


def test_tables_are_computed_in_float64() -> None:
    from hgq._alkaid_keras_plugin.activation import _QFunctionLUT

    x = keras.Input((3,), name="x")
    bent = h.table(h.dense(x, "first", h.SOURCE, h.MIX), "bent", "fixed<8,4,RND,SAT>", "fixed<28,3,RND,SAT>")
    seen: list[np.dtype] = []

    class Values:
        def apply(self, function: object) -> None:
            seen.append(function(np.linspace(-1, 1, 5)).dtype)  # type: ignore[operator]

    replay = type("Replay", (), {"op": bent._keras_history.operation})()
    _QFunctionLUT.call(replay, Values())
    assert seen == [np.float64]


def test_wires_are_searched_for_shared_sums() -> None:
    ran = subprocess.run([sys.executable, "-c", LAID_OUT], check=True, capture_output=True, text=True)
    assert float(ran.stdout) > 100  # MiB, to lay out 120 values in 256 places


def test_wires_are_laid_with_their_signs_and_shifts() -> None:
    layout = np.zeros((6, 7))
    layout[[3, 0, 3, 5], [1, 4, 5, 6]] = [1, -0.5, 4, -1]
    values = np.random.default_rng(1).integers(-32, 32, (100, 6)) / 4
    row = FVArray.from_kif(*(np.full((1, 6), part) for part in (1, 3, 2)))
    plain = trace(row, row @ layout)
    with mended():
        laid = trace(row, row @ layout)
        summed = trace(row, row @ (layout + np.eye(6, 7)))
    assert (laid.cost, laid.ops) == (plain.cost, plain.ops)
    np.testing.assert_array_equal(alkaid_trace.predict(laid, values), values @ layout)
    np.testing.assert_array_equal(alkaid_trace.predict(summed, values), values @ (layout + np.eye(6, 7)))


def test_a_choice_by_the_highest_bit_is_another_one_where_the_value_has_fewer() -> None:
    """-128 if x + 128 < 0, else x; x + 128 is 124 to 131, which is forgotten: bit 7 becomes the highest one."""
    x, bound, key = QInterval(-4, 3, 1), QInterval(-128, -128, 128), QInterval(-74, 330, 1)
    ops = [
        Op((), -1, (0,), x, 0, 0),
        Op((), 5, (-1,), bound, 0, 0),
        Op((0,), 4, (1, -7), key, 0, 0),
        Op((1, 0, 2), 6, (0,), QInterval(-128, 200, 1), 0, 0),
    ]
    comb = CombLogic((1, 1), [0], [3], [0], [False], ops, -1, -1)
    rows = np.arange(-4.0, 4.0)[:, None]
    assert (comb.predict(rows) == rows).all()
    assert (_retrace(comb).predict(rows) == np.where(rows >= 0, -128, rows)).all()
    with mended():
        assert (_retrace(comb).predict(rows) == rows).all()
