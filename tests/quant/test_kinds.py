"""Layer classes: each has one record and one handler per backend, and a new one needs no more than that."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support import hls_models as h
from support.paths import ROOT
from support.toy_layers import ALKAID_NEGATE, NEGATE, QNegate

from hls.backends import BACKENDS, open_backend
from hls.backends.alkaid import kinds as alkaid_kinds
from hls.backends.hls4ml import kinds as hls4ml_kinds
from hls.errors import Gap
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree
from qformers.config.sections import QuantConfig
from qformers.nn.hgq import Hgq
from qformers.nn.vocabulary import Linear
from qformers.precision.fixed import Fixed
from qformers.precision.table import SLOTS
from qformers.quant.audit import audit
from qformers.quant.fold import calibrate
from qformers.quant.formats import model_table
from qformers.quant.kinds import KINDS, kind_of
from qformers.quant.ptq.cost import Cost, Dials
from qformers.quant.ptq.slots import Slot, formats_of, place_of, slots_of
from qformers.quant.quantisers import quantisers
from qformers.quant.ranges import ranges_of
from qformers.train.beta import ebops

TABLES: dict[str, dict[type, Any]] = {
    "vitis": hls4ml_kinds.HANDLERS,
    "vivado": hls4ml_kinds.HANDLERS,
    "alkaid": alkaid_kinds.HANDLERS,
    "folded": alkaid_kinds.HANDLERS,  # which traces its kernels
}
FORM = "fixed<6,3,RND,SAT>"


def negating() -> keras.Model:
    """A dense layer behind the toy; the build file says the format of its type."""
    keras.utils.set_random_seed(7)
    nn = Hgq(QuantConfig.model_validate({"learn": False, "types": {"QNegate": {"input": FORM}}}))
    nn.declare(channel="io")
    x = nn.input("x", (3,), "bi")
    y = QNegate(iq_conf=nn.formats.value("negated", nn.roles.of("bi", "negated"), "QNegate"), name="negated")(x)
    model: keras.Model = nn.model({"x": x}, nn.dense(y, "out", Linear("bi,io->bo", {"o": 2}, "o")), "toy")
    return model


def test_a_toy_class_is_registered_by_a_record_and_a_handler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, inputs = negating(), {"x": h.numbers(3, 500)}
    assert ranges_of(model)["negated"] is None
    refused = [str(refusal) for refusal in open_backend("alkaid").supports(model)]
    assert refused[0].startswith("negated (QNegate): its RTL was not shown to be exact; use one of")
    monkeypatch.setitem(KINDS, QNegate, NEGATE)
    monkeypatch.setitem(alkaid_kinds.HANDLERS, QNegate, ALKAID_NEGATE)

    form = Fixed.parse(FORM)
    assert model_table(model)["negated"]["input"].value == form
    row = next(row for row in audit(model, inputs) if row.name == "negated_iq")
    assert row.seen_high == inputs["x"].max()
    assert row.saturated > 0
    bounds = ranges_of(model)["negated"]
    assert bounds is not None
    assert (bounds.low.min(), bounds.high.max()) == (-form.high, -form.low)

    slots = slots_of(model)
    assert {Slot("negated", "input"), Slot("out", "weight")} <= set(slots)
    assert place_of(Slot("negated", "input")) == "value"
    formats = {**formats_of(slots), Slot("negated", "input"): Fixed(True, 2, 1)}
    cost = Cost(model, Dials(slots))
    assert cost.elements[Slot("negated", "input")] == 3
    cost.dials.set(formats)
    calibrate(model, inputs)  # HGQ2 counts
    assert cost.total(formats) == ebops(model)
    assert cost.change(formats, {Slot("negated", "input"): form}) == 3 * 2  # two bits more for each of three values

    project: Any = open_backend("alkaid").write(model, h.build_of("toy", backend="alkaid"), tmp_path / "project")
    for events in (inputs, adversarial(model).inputs):
        equal = agree(project, model, events)
        assert equal.equal, str(equal)
    assert np.ptp(np.asarray(model(inputs))) > 0

    for backend in ("vitis", "vivado"):
        words = [str(refusal) for refusal in open_backend(backend).supports(model)]
        assert words == [f"negated (QNegate): it has no exact handler; use one of {hls4ml_kinds.known_layers()}"]
    monkeypatch.setitem(hls4ml_kinds.HANDLERS, QNegate, Gap("hls4ml cannot negate", "use weights of the other sign"))
    words = [str(refusal) for refusal in open_backend("vitis").supports(model)]
    assert words == ["negated (QNegate): hls4ml cannot negate; use weights of the other sign"]


def test_alkaid_forgets_the_replays_of_a_trace() -> None:
    from alkaid.converter.builtin.keras.layers._base import _registry

    own = {kind for kind, handler in alkaid_kinds.HANDLERS.items() if getattr(handler, "replay", None) is not None}
    before = dict(_registry)
    with alkaid_kinds.replays():
        assert own <= set(_registry)
    assert _registry == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_kind_has_a_handler_or_a_reason(backend: str) -> None:
    table = TABLES[backend]
    assert set(KINDS) <= set(table)
    for kind, entry in table.items():
        if isinstance(entry, Gap):
            assert entry.reason, kind
            assert entry.way_out, kind
        else:
            assert kind in KINDS, f"{kind.__name__} is converted, but nothing is known of it"


def test_class_names_tell_kinds_apart() -> None:
    """Build files speak of types by these names."""
    for table in (KINDS, *TABLES.values()):
        assert len({kind.__name__ for kind in table}) == len(table)


def test_quantisers_say_their_slot_and_what_they_see() -> None:
    model = h.operations_model()
    for quantiser in quantisers(model):
        assert quantiser.slot in SLOTS
        taken = quantiser.layer.input if isinstance(quantiser.layer.input, list) else [quantiser.layer.input]
        seen = quantiser.tensor(taken)
        assert any(seen is tensor for tensor in taken) == (quantiser.sees is not None)
        if quantiser.sees is not None:
            assert seen is taken[quantiser.sees]
        for held in kind_of(quantiser.layer).quantisers(quantiser.layer):
            assert held.name.startswith(quantiser.layer.name)
    names = [quantiser.name for quantiser in quantisers(model)]
    assert len(set(names)) == len(names)


def test_a_softmax_with_a_quantiser_at_its_input_has_it_in_the_list() -> None:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, h.softmax(x, "soft", enable_iq=True, iq_conf=h.form("fixed<4,3,RND,SAT>")))
    assert [(q.name, q.slot) for q in quantisers(model)][:2] == [("soft_iq", "input"), ("soft_exp_iq", "exp_input")]
    rows = {row.name: row for row in audit(model, {"x": np.array([[0.3, 3.0, -1.1, 0.0]], np.float32)})}
    assert (rows["soft_iq"].seen_low, rows["soft_iq"].seen_high) == (np.float32(-1.1), 3.0)
    assert (rows["soft_exp_iq"].seen_low, rows["soft_exp_iq"].seen_high) == (0.0, 4.0)  # of 3 - -1, both rounded


RECORDS = ("qformers/quant/kinds/", "hls/backends/hls4ml/kinds.py", "hls/backends/alkaid/kinds.py")
OTHER_CLASSES = (  # of files of QKeras models, operations of Keras, and of hls4ml's own graph
    "qformers/interop/qkeras/",
    "qformers/interop/adopt.py",
    "hls/backends/hls4ml/handlers.py",
    "hls/backends/hls4ml/passes.py",
)
ATTRIBUTES = {"exp_table", "inv_table", "_iq", "_oq", "_bq"}  # of HGQ2's layers


def keyed_by_class(tree: ast.AST, names: set[str]) -> Iterator[tuple[int, str]]:
    """Lines that ask for the class of a layer by its name, or by an attribute that only one class has."""
    for node in ast.walk(tree):
        texts: list[Any] = []
        if isinstance(node, ast.Compare):
            texts = [part for side in (node.left, *node.comparators) for part in ast.walk(side)]
        elif isinstance(node, ast.Dict):
            texts = list(node.keys)
        elif isinstance(node, ast.MatchValue):
            texts = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr"):
            texts = node.args[1:2]
            yield from (
                (node.lineno, text.value)
                for text in texts
                if isinstance(text, ast.Constant) and text.value in ATTRIBUTES
            )
            continue
        yield from ((node.lineno, t.value) for t in texts if isinstance(t, ast.Constant) and t.value in names)


def test_the_search_for_tables_of_classes_can_fail() -> None:
    text = 'if type(layer).__name__ in ("QAdd", "x"):\n    TABLE = {"QSoftmax": 1}\nhasattr(layer, "exp_table")\n'
    lines = sorted(keyed_by_class(ast.parse(text), {"QAdd", "QSoftmax"}))
    assert lines == [(1, "QAdd"), (2, "QSoftmax"), (3, "exp_table")]


def test_nothing_else_is_keyed_by_layer_classes() -> None:
    names = {kind.__name__ for table in (KINDS, *TABLES.values()) for kind in table}
    elsewhere = []
    for package in ("qformers", "hls"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith((*RECORDS, *OTHER_CLASSES)):
                elsewhere += [
                    f"{name}:{line}: {text}" for line, text in keyed_by_class(ast.parse(path.read_text()), names)
                ]
    assert elsewhere == []
