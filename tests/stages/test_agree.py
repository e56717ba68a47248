"""The comparison finds planted faults and names the layer; adversarial events reach every corner."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import hls_models as h
from support.damage import as_written
from support.hls_models import Compared

from hls.backends import open_project
from hls.backends.protocol import Project
from hls.errors import HlsError
from hls.proof.adversarial import adversarial, ranges
from hls.proof.agree import agree
from hls.proof.layerwise import first_difference
from hls.stages.export import load_quantised


def copy_of(made: Compared, folder: Path) -> Project:
    return open_project(Path(shutil.copytree(made.project.path, folder / "copy")))


def few(made: Compared, count: int = 400) -> dict[str, np.ndarray]:
    return {name: array[:count] for name, array in made.inputs.items()}


def flip_weight(path: Path) -> None:
    """Change the sign of the largest weight."""
    values = path.read_text().split(", ")
    index = int(np.argmax([abs(float(value)) for value in values]))
    values[index] = f"{-float(values[index])}"
    path.write_text(", ".join(values))


def edit(name: str, old: str, new: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        path = project.path / name
        assert path.read_text().count(old) == 1, f"{old!r} must be in {name} once"
        path.write_text(path.read_text().replace(old, new))

    return change


def weight(layer: str, kind: str = "weight") -> Callable[[Project], None]:
    return lambda project: flip_weight(project.path / f"firmware/weights/{layer}_{kind}.txt")


def test_equal_on_jets_and_on_adversarial_events(part4: Compared) -> None:
    hard = adversarial(part4.model)
    result = agree(part4.project, part4.model, hard.inputs)
    assert result.equal, str(result)
    assert result.events == len(hard) > 500
    assert result.values == 10 * len(hard)
    assert "0 of" in str(result)
    assert first_difference(part4.project, part4.model, few(part4, 50)) is None


def table_entry(project: Project) -> None:
    """1/2 becomes 1/4."""
    path = project.path / "firmware/weights/pool_inverse_table.txt"
    values = path.read_text().split(", ")
    assert float(values[2]) == 0.5
    path.write_text(", ".join([*values[:2], "0.25", *values[3:]]))


FAULTS: dict[str, tuple[str, str, Callable[[Project], None]]] = {
    "weight of the first layer": ("embed0", "embed0_relu", weight("embed0")),
    "weight of the values": ("b0_attn_v", "b0_attn_v", weight("b0_attn_v")),
    "weight of the last layer": ("logits", "logits", weight("logits")),
    "entry of a table": ("pool_inverse", "pool_inverse", table_entry),
    "rounding of the scores": (
        "b0_attn_scores",
        "b0_attn_scores",
        edit(
            "firmware/defines.h",
            "typedef ap_fixed<10,4,AP_RND,AP_SAT,0> b0_attn_scores_t;",
            "typedef ap_fixed<10,4,AP_TRN,AP_SAT,0> b0_attn_scores_t;",
        ),
    ),
    "another input of a quantiser": (
        "b0_attn_residual",
        "b0_attn_residual_iq1",
        edit(
            "firmware/part4.cpp",
            "nnet::b0_attn_residual_iq1<embed0_relu_t, b0_attn_residual_iq1_t>(embed0_relu_out,",
            "nnet::b0_attn_residual_iq1<pair1_t, b0_attn_residual_iq1_t>(pair1_out,",
        ),
    ),
}
COMPILED_AGAIN = ("rounding of the scores", "another input of a quantiser")


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=[pytest.mark.slow] if name in COMPILED_AGAIN else []) for name in FAULTS]
)
def test_a_planted_fault_is_found_in_its_layer(part4: Compared, fault: str, tmp_path: Path) -> None:
    layer, step, plant = FAULTS[fault]
    project = copy_of(part4, tmp_path)
    plant(project)
    as_written(project.path)
    result = agree(project, part4.model, few(part4))
    assert not result.equal
    assert result.first is not None
    assert (result.first.layer, result.first.step) == (layer, step)
    assert result.first.keras != result.first.firmware
    assert abs(result.first.lsb) >= 1
    assert f" LSB of {result.first.format};" in str(result)
    assert 0 <= result.first.event < result.events
    assert f"first difference in layer '{layer}'" in str(result)
    json.dumps(result.to_json(), allow_nan=False)


def test_the_named_event_and_value_are_the_ones_that_differ(part4: Compared, tmp_path: Path) -> None:
    project = copy_of(part4, tmp_path)
    weight("logits")(project)
    as_written(project.path)
    inputs = few(part4)
    first = agree(project, part4.model, inputs).first
    assert first is not None
    one = {name: array[first.event : first.event + 1] for name, array in inputs.items()}
    assert project.predict(one)[(0, *first.index)] == first.firmware
    assert h.keras_outputs(part4.model, one)["logits"][(0, *first.index)] == first.keras


def test_another_model_is_found(part4: Compared, run4: Path) -> None:
    other = load_quantised(run4 / "qat" / "model.keras")
    layer = other.get_layer("b0_ffn_fc1")
    layer._kernel.assign(np.asarray(layer._kernel) * -1)
    result = agree(part4.project, other, few(part4, 100))
    assert result.first is not None
    assert result.first.layer == "b0_ffn_fc1"


def test_no_events_and_other_shapes_are_errors(part4: Compared, operations: Compared) -> None:
    with pytest.raises(HlsError, match="at least one event is needed"):
        agree(part4.project, part4.model, few(part4, 0))
    with pytest.raises(HlsError, match="the firmware takes"):
        agree(part4.project, operations.model, few(operations, 4))


def test_every_layer_of_the_operations_is_traced(operations: Compared) -> None:
    assert first_difference(operations.project, operations.model, few(operations, 300)) is None


def test_ranges_come_from_the_input_quantisers(part4: Compared, formats: Compared) -> None:
    spans = ranges(part4.model)
    assert {name: span.shape for name, span in spans.items()} == {"features": (4, 3), "mask": (4,), "pairs": (4, 4, 4)}
    assert (spans["mask"].low.min(), spans["mask"].high.max(), spans["mask"].step.min()) == (0, 1, 1)
    x = ranges(formats.model)["x"]
    assert (x.low.min(), x.high.max(), x.step.min()) == (-8, 7.875, 0.125)


def test_adversarial_events_reach_every_corner(part4: Compared) -> None:
    hard = adversarial(part4.model)
    features, mask, span = hard.inputs["features"], hard.inputs["mask"], ranges(part4.model)["features"]
    assert {array.dtype for array in hard.inputs.values()} == {np.dtype(np.float32)}
    assert {len(array) for array in hard.inputs.values()} == {len(hard)}
    counts = set(mask.sum(axis=1)[np.isin(mask, (0, 1)).all(axis=1)])
    assert {0, 1, 4} <= counts
    for value in (span.low, span.high, 1e6, -1e6, span.step / 2, -span.step / 2, span.high + span.step):
        assert (features == np.asarray(value, np.float32)).all(axis=(1, 2)).any(), value
    assert (np.signbit(features) & (features == 0)).any(), "minus zero"
    ties = np.abs(features / span.step.astype(np.float32) % 1 - 0.5) == 0
    assert ties.any(axis=(1, 2)).sum() > 50
    assert (features[:, 0] == features[:, 1]).all(axis=1).sum() > 100, "ties in pT"
    again = adversarial(part4.model)
    np.testing.assert_array_equal(again.inputs["pairs"], hard.inputs["pairs"])


def test_wrapping_inputs_are_kept_where_keras_is_exact() -> None:
    import keras

    x = keras.Input((3,), name="x")
    model = keras.Model(x, h.dense(x, "first", "fixed<20,4,RND,WRAP>", h.MIX))
    hard = adversarial(model)
    assert np.abs(hard.inputs["x"]).max() <= 2.0**22 * 2.0**-16
