"""The audit of a whole split: batch by batch, what overflows, and the events that overflow most."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.hgq2_layers import LAYERS, model_of
from support.quantised import inputs_of, jets, quantised_part, small

from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.precision.fixed import Fixed
from qformers.quant import audited
from qformers.quant.audit import Inputs, Overflow, as_json, audit, audit_stream, widths
from qformers.quant.within import made_of_layers
from qformers.quant.worst_events import read_worst, save_worst

EVENTS = 60


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Its first layer clips at 4, its attention query wraps around at 2."""
    layers = {"embed0": {"activation": "fixed<6,3>"}, "b0_attn_q": {"activation": "fixed<8,2,RND,WRAP>"}}
    return quantised_part(small("none"), QuantConfig.model_validate({"learn": False, "layers": layers}))


@pytest.fixture(scope="module")
def inputs(model: keras.Model) -> Inputs:
    """Events with one value of each far outside."""
    events = inputs_of(model, jets(EVENTS))
    events["features"] = np.clip(events["features"], -3.0, 3.0)
    events["features"][7, 0, 1] = 12.0
    events["features"][41, 1, 2] = -36.0
    return events


def parts(inputs: Inputs, size: int) -> list[Inputs]:
    """The same events in batches."""
    return [{name: array[at : at + size] for name, array in inputs.items()} for at in range(0, EVENTS, size)]


def test_batches_add_up_to_the_whole(model: keras.Model, inputs: Inputs) -> None:
    counted: list[int] = []
    whole, _ = audit_stream(model, [inputs])
    rows, _ = audit_stream(model, parts(inputs, 25), tick=counted.append)
    assert counted == [25, 25, 10]
    assert as_json(rows) == as_json(whole) == as_json(audit(model, inputs))
    row = next(row for row in rows if row.name == "embed0_iq")
    assert (row.overflow, row.events, row.events_outside) == ("SAT", EVENTS, 2)
    assert row.values == inputs["features"].size
    assert row.saturated == 2 / row.values
    assert (row.seen_low, row.seen_high) == (-36.0, 12.0)
    weight = next(row for row in rows if row.name == "embed0_kq")
    assert (weight.events, weight.events_outside) == (0, 0)
    assert weight.values == model.get_layer("embed0")._kernel.shape[0] * model.get_layer("embed0")._kernel.shape[1]


def test_formats_of_weights_are_counted_by_themselves(model: keras.Model, inputs: Inputs) -> None:
    rows = audit(model, inputs)
    some = [row for row in rows if row.name in ("embed0_iq", "embed0_kq", "b0_attn_q_iq", "b0_attn_q_kq")]
    some = [replace(row, saturated=0.1) if row.name == "embed0_kq" else row for row in some]
    some = [replace(row, events_outside=4) if row.name == "b0_attn_q_iq" else row for row in some]
    empty = np.zeros(0, np.int64)
    assert str(audited.Audited(Path("m"), "the test split", 9, tuple(some), (), empty, {})) == (
        "2 of 2 formats of values overflow on these jets, 1 of them wrap around; "
        "1 of 2 formats of weights and biases cut some off"
    )


def test_widths_of_a_model_that_learned_none_are_those_that_were_given(model: keras.Model) -> None:
    assert widths(model) == widths(model, learned_only=False)
    assert widths(model)["embed0_iq"] == [6]


def test_wrapping_formats_are_told_from_saturating_ones(model: keras.Model, inputs: Inputs) -> None:
    rows = {row.name: row for row in audit(model, inputs)}
    assert rows["b0_attn_q_iq"].overflow == "WRAP"
    assert rows["b0_attn_q_kq"].overflow == "SAT_SYM"


def test_the_worst_events_are_those_farthest_outside(model: keras.Model, inputs: Inputs) -> None:
    _, overflows = audit_stream(model, parts(inputs, 25), worst=1)
    first = next(one for one in overflows if one.quantiser == "embed0_iq")
    assert first == Overflow("embed0_iq", "SAT", 41, (36.0 - 4.0) / 4.0, 1)  # fixed<6,3> begins at -4
    _, two = audit_stream(model, parts(inputs, 25), worst=2)
    assert [one.event for one in two if one.quantiser == "embed0_iq"] == [41, 7]
    assert audit_stream(model, [inputs], worst=0)[1] == []


@pytest.mark.parametrize("text", ["fixed<6,3,TRN,SAT>", "fixed<6,3,RND,SAT_SYM>", "fixed<6,3,RND_CONV,SAT_SYM>"])
def test_outside_is_what_the_format_cuts_off(text: str) -> None:
    """Ties and truncated values at both edges: outside is what changes when the format gets more integer bits."""
    form = Fixed.parse(text)
    cut = quantised_part(
        small("none"), QuantConfig.model_validate({"learn": False, "layers": {"embed0": {"activation": text}}})
    )
    events = inputs_of(cut, jets(EVENTS))
    grid = np.arange(-4.5, 4.5, form.step / 4)
    events["features"] = np.resize(grid, events["features"].shape).astype(np.float32)
    wide = replace(form, integer_bits=form.integer_bits + 3)
    outside = form.quantise(events["features"]) != wide.quantise(events["features"])
    rows, overflows = audit_stream(cut, [events], worst=EVENTS)
    row = next(row for row in rows if row.name == "embed0_iq")
    assert row.values == outside.size
    assert row.saturated == outside.mean()
    assert row.events_outside == outside.any(axis=(1, 2)).sum()
    counts = {one.event: one.values for one in overflows if one.quantiser == "embed0_iq"}
    assert counts == {event: count for event, count in enumerate(outside.sum(axis=(1, 2))) if count}


def test_worst_events_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "worst.npz"
    features = np.arange(24, dtype=np.float32).reshape(8, 3)
    overflows = [
        Overflow("a_iq", "SAT", 6, 2.0, 3),
        Overflow("b_iq", "WRAP", 2, 1.0, 1),
        Overflow("c", "SAT", 6, 0.5, 1),
    ]
    assert save_worst(path, overflows, lambda events: {"features": features[events]}) == 2
    events, found = read_worst(path)
    assert events.tolist() == [2, 6]
    np.testing.assert_array_equal(found["features"], features[[2, 6]])
    with np.load(path, allow_pickle=False) as content:
        assert content["of"].tolist() == [1, 0, 1]
        assert content["mode"].tolist() == ["SAT", "WRAP", "SAT"]
    path.write_text("no file of arrays")
    with pytest.raises(ConfigError, match=r"worst.npz: is no file of events as qformers audit and prove write them"):
        read_worst(path)


def test_an_audit_of_nothing_is_refused(model: keras.Model) -> None:
    with pytest.raises(ValueError, match=r"an audit needs at least one event. Received: 0"):
        audit_stream(model, [])


@pytest.mark.parametrize("keep", [1000, 50])
def test_every_jet_of_a_split_is_seen_once(keep: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the files where it fits in memory, in that of the stream where it does not."""
    from support.train_fakes import FakeSource

    source: Any = FakeSource(400)
    monkeypatch.setattr(audited, "BATCH", 64)
    seen = [part.features for part in audited.batches(source, None, keep)]
    assert len(seen) == 7
    order = np.arange(400) if keep == 1000 else np.random.default_rng([0, 0]).permutation(400)
    np.testing.assert_array_equal(np.concatenate(seen), source.events.features[order])
    assert sum(len(part) for part in audited.batches(source, 100, keep)) == 100


def test_numbers_without_sense_are_refused() -> None:
    from support.ptq import tiny

    with pytest.raises(ConfigError, match=r"--events must be at least 1 and --worst at least 0. Received: 0 and 3"):
        audited.audit_split(tiny(), Path("none.keras"), events=0)


@pytest.mark.parametrize("name", ["attention_of_one_input", "linformer_of_an_input", "gru", "leaky"])
def test_formats_inside_of_layers_are_audited_as_if_they_were_alone(name: str) -> None:
    model, inputs = model_of(*LAYERS[name])
    before = np.asarray(model(list(inputs.values())))
    rows = {row.name: row for row in audit(model, inputs)}
    layer = next(layer for layer in model.layers if made_of_layers(model)[0].startswith(f"{layer.name} ("))
    inner = [row for row in rows.values() if row.layer == layer.name and row.place == "input"]
    assert len(inner) > 1
    assert all(row.events == len(before) for row in inner)
    assert not any(row.name.endswith(("kq", "bq")) for row in inner)
    first = next(row for row in inner if row.name.endswith("query_iq" if "query_iq" in str(rows) else "cell_iq"))
    calibrated = audit(model, {key: 0.5 * array for key, array in inputs.items()})
    assert first.saturated > next(row for row in calibrated if row.name == first.name).saturated == 0.0
    assert np.array_equal(before, np.asarray(model(list(inputs.values()))))  # nobody listens any more


def test_a_model_whose_formats_are_all_listed_has_none_inside() -> None:
    for name in ("dense", "softmax", "table", "convolution", "dense_of_tables"):
        assert made_of_layers(model_of(*LAYERS[name])[0]) == []
