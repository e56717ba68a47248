"""What alkaid 0.8.2 does that we work around: each test fails on the day it is mended, and the workaround can go."""

from __future__ import annotations

import hls_models as h
import keras
import numpy as np
import pytest
from alkaid.codegen import RTLModel
from alkaid.converter import trace_model
from alkaid.trace import FVArray, trace

from hls.backends.alkaid_fixes import mended
from hls.backends.alkaid_stages import pipeline


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
