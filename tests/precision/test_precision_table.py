"""Formats per layer: who wins, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from hls.cli import export
from hls.stages.export import Exported
from qformers.config.sections import FirmwareConfig, QuantConfig
from qformers.errors import ConfigError
from qformers.precision.fixed import Fixed
from qformers.precision.rules import Rules
from qformers.precision.table import PrecisionTable, Row, Setting

A, B, C, D = (Fixed.parse(f"fixed<{width},3,RND,SAT>") for width in (8, 9, 10, 11))
LAYERS = {"embed0": "QEinsumDense", "b0_attn_q": "QEinsumDense", "b0_attn_scores": "QEinsum", "b0_residual": "QAdd"}


def rules(types: Any, layers: Any) -> Rules:
    quant = QuantConfig(types=types, layers=layers)
    return Rules("quant", quant.types, quant.layers)


def asked(resolver: Rules) -> Rules:
    """Look up what the model has."""
    for name, kind in LAYERS.items():
        for slot in {"QEinsumDense": ("weight", "input"), "QEinsum": ("input0", "input1"), "QAdd": ("input0",)}[kind]:
            resolver.look_up(name, kind, slot, A)
    return resolver


def test_default_then_type_then_name_then_later_name() -> None:
    table = asked(
        rules(
            {"QEinsumDense": {"weight": str(B)}},
            {"b0_attn_*": {"weight": str(C)}, "b0_attn_q": {"weight": str(D), "activation": str(B)}},
        )
    ).table()
    assert table["embed0"] == {"weight": Setting(B, "type QEinsumDense"), "input": Setting(A, "default")}
    assert table["b0_attn_q"] == {"weight": Setting(D, "layer b0_attn_q"), "input": Setting(B, "layer b0_attn_q")}


def test_an_entry_for_one_of_two_inputs_counts_before_one_for_both() -> None:
    table = asked(rules({}, {"b0_attn_scores": {"input": str(B), "input1": str(C)}})).table()
    where = "layer b0_attn_scores"
    assert table["b0_attn_scores"] == {"input0": Setting(B, where), "input1": Setting(C, where)}


def test_a_slot_is_resolved_once() -> None:
    resolver = rules({}, {})
    assert resolver.look_up("embed0", "QEinsumDense", "weight", A) == Setting(A, "default")
    assert resolver.look_up("embed0", "QEinsumDense", "weight", B) == Setting(A, "default")
    assert resolver.look_up("embed0", "QEinsumDense", "result", None) is None


@pytest.mark.parametrize(
    ("types", "layers", "words"),
    [
        ({}, {"embd0": {"weight": "fixed<8,3>"}}, r"quant.layers: no layer is called 'embd0'; did you mean 'embed0'\?"),
        ({"QEinsumDens": {}}, {}, r"quant.types: no layer is of type 'QEinsumDens'; did you mean 'QEinsumDense'\?"),
        ({}, {"b0_attn_q": {"table": "fixed<8,3>"}}, r"layers.b0_attn_q.table: layer 'b0_attn_q' has no table to be se"
         r"t; what can be said of it: input, weight. Received: fixed<8,3>"),
        ({}, {"b0_a*": {"bias": "fixed<8,3>"}}, r"layers.b0_a\*.bias: none of the 2 layers has no bias to be set"),
        ({"QAdd": {"weight": "fixed<8,3>"}}, {}, r"quant.types.QAdd.weight: layer 'b0_residual' has no weight to be"),
    ],
)  # fmt: skip
def test_entries_about_nothing_are_refused(types: Any, layers: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        asked(rules(types, layers)).refuse_unmatched(LAYERS)


def test_entries_that_are_used_are_not_refused() -> None:
    asked(rules({"QAdd": {"input": str(B)}}, {"b0_*": {"input": str(C)}, "e*": {"input": str(A)}})).refuse_unmatched(
        LAYERS
    )


TABLE = PrecisionTable(
    (
        Row("embed0", "QEinsumDense", {
            "weight": Setting(Fixed.parse("fixed<7,-2,RND,SAT_SYM>"), "learned, 6 formats"),
            "accumulator": Setting(Fixed.parse("fixed<20,30,TRN,WRAP>"), "computed"),
            "reuse_factor": Setting(2, "layer embed*"),
            "strategy": Setting("latency", "default"),
        }),
        Row("b0_attn_weights", "QSoftmax", {"exp_table": Setting(Fixed.parse("ufixed<9,1,RND_CONV,SAT>"), "default")}),
        Row("mask_bit", "QEinsum", {"input0": Setting(Fixed.parse("fixed<1,1,TRN,WRAP>"), "default")}),
    )
)  # fmt: skip


def test_the_table_comes_back_from_json() -> None:
    assert PrecisionTable.from_json(json.loads(json.dumps(TABLE.to_json()))) == TABLE


def test_a_build_file_made_from_the_table_says_the_table() -> None:
    said = TABLE.as_rules()
    quant, firmware = QuantConfig(layers=said["quant"]), FirmwareConfig(layers=said["firmware"])  # type: ignore[arg-type]
    assert quant == QuantConfig.model_validate(json.loads(quant.model_dump_json()))
    formats, rest = Rules("quant", {}, quant.layers), Rules("firmware", {}, firmware.layers)
    for row in TABLE.rows:
        for slot in row.settings:
            (formats if slot in said["quant"].get(row.layer, {}) else rest).look_up(row.layer, row.kind, slot, None)
    again = formats.table().joined(rest.table())
    values = {row.layer: {slot: item.value for slot, item in row.settings.items()} for row in TABLE.rows}
    assert {row.layer: {slot: item.value for slot, item in row.settings.items()} for row in again.rows} == values
    assert again["embed0"]["reuse_factor"].source == "layer embed0"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"layer": "a", "type": "QAdd", "wieght": {"value": "fixed<8,3>", "source": ""}}, r"unknown slot 'wieght'"),
        ({"layer": "a", "type": "QAdd", "weight": {"value": "fixed<8>", "source": ""}}, r"'a', slot 'weight': a form"),
        ({"layer": "a", "type": "QAdd", "reuse_factor": {"source": ""}}, r"layer 'a', slot 'reuse_factor': 'value'"),
    ],
)  # fmt: skip
def test_a_damaged_table_is_named(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PrecisionTable.from_json([row])


def test_joined_tables_keep_what_either_says() -> None:
    more = PrecisionTable((Row("embed0", "QEinsumDense", {"reuse_factor": Setting(4, "default")}),))
    joined = TABLE.joined(more)
    assert joined["embed0"]["reuse_factor"].value == 4
    assert joined["embed0"]["weight"] == TABLE["embed0"]["weight"]
    with pytest.raises(ConfigError, match=r"no layer is called 'embd0'; did you mean 'embed0'"):
        joined["embd0"]


def test_the_export_shows_the_table_and_what_was_allowed(tmp_path: Path) -> None:
    short = {"layer": "embed0", "accumulator": "fixed<9,2>", "needed": "fixed<11,3>", "integer_bits": 1}
    said = {"layers": TABLE.to_json(), "notes": ["of interest"], "overflow_allowed": [{**short, "fraction_bits": 1}]}
    project: Any = SimpleNamespace(path=tmp_path, reports=list)
    out = io.StringIO()
    Exported(project, said).show(Console(file=out, width=180))
    text = " ".join(out.getvalue().split())
    assert "note: of interest" in text
    assert "OVERFLOW ALLOWED: layer 'embed0': accumulator fixed<9,2> lacks 1 integer and 1 fraction bits" in text
    assert "fixed<7,-2,RND,SAT_SYM>" in text
    assert export.COMMAND.parse(["a.yaml", "--allow-overflow"]).allow_overflow


def test_the_printed_table_marks_what_the_build_file_said() -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(TABLE.as_rich("Precision"))
    line = next(line for line in out.getvalue().splitlines() if "embed0" in line)
    assert "fixed<7,-2,RND,SAT_SYM>" in line
    assert "2 *" in line
    assert "fixed<20,30,TRN,WRAP> *" not in line
