"""What Yosys prints, to numbers: its statistics and the shell of a stage."""

from __future__ import annotations

import json

import pytest

from hls.errors import HlsError
from hls.reports.yosys.shell import shell_verilog
from hls.reports.yosys.stat import detail, parse_stat, resources

# `stat -json -top logic6` of Yosys 0.23 on a stage of a trained model: one table, used 512 times (wires left out)
STAT = r"""{
   "creator": "Yosys 0.23 (git sha1 7ce5011c24b)",
   "invocation": "stat -json -top logic6",
   "modules": {
      "\\logic6": {
         "num_cells":         41504,
         "num_cells_by_type": {
            "CARRY4": 3408,
            "LUT2": 8080,
            "LUT3": 17152,
            "LUT4": 3072,
            "LUT6": 192,
            "MUXF7": 6336,
            "MUXF8": 3072,
            "table_8314628c_e372_47a6_8fa9_55a42816a7dc": 512
         }
      },
      "\\table_8314628c_e372_47a6_8fa9_55a42816a7dc": {
         "num_cells":         51,
         "num_cells_by_type": {
            "LUT3": 2,
            "LUT4": 2,
            "LUT5": 1,
            "LUT6": 19,
            "MUXF7": 18,
            "MUXF8": 9
         }
      }
   },
      "design": {
         "num_cells":         67424,
         "num_cells_by_type": {
            "CARRY4": 3408,
            "LUT2": 8080,
            "LUT3": 18176,
            "LUT4": 4096,
            "LUT5": 512,
            "LUT6": 9920,
            "MUXF7": 15552,
            "MUXF8": 7680
         }
      }
}
"""


def test_parse_real_stat() -> None:
    cells, modules = parse_stat(STAT)
    assert cells["LUT6"] == 192 + 512 * 19
    assert modules == ("logic6", "table_8314628c_e372_47a6_8fa9_55a42816a7dc")
    assert resources(cells) == {
        "lut": 40784, "ff": 0, "srl": 0, "lutram": 0, "carry": 1704, "dsp": 0, "bram18": 0, "uram": 0,
    }  # fmt: skip
    assert detail(cells)["lut_by_size"] == {
        "LUT1": 0, "LUT2": 8080, "LUT3": 18176, "LUT4": 4096, "LUT5": 512, "LUT6": 9920, "LUT6_2": 0,
    }  # fmt: skip
    assert detail(cells)["wide_muxes"] == {"MUXF7": 15552, "MUXF8": 7680}


def test_every_cell_is_counted_or_listed() -> None:
    cells = {
        "LUT1": 1, "INV": 2, "FDRE": 10, "FDSE_1": 1, "FDCE": 1, "FDPE": 1, "SRL16E": 3, "SRLC32E": 1, "CARRY8": 2,
        "CARRY4": 3, "DSP48E2": 4, "RAMB18E2": 1, "RAMB36E2": 2, "URAM288": 1, "LDCE": 7, "BUFG": 1,
        "RAM32M16": 2, "RAM64X1D": 1,
    }  # fmt: skip
    assert resources(cells) == {
        "lut": 1, "ff": 13, "srl": 4, "lutram": 18, "carry": 4, "dsp": 4, "bram18": 5, "uram": 1,
    }  # fmt: skip
    assert detail(cells)["other_cells"] == {"LDCE": 7}
    assert detail(cells)["inverters"] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STAT[:-40], "cut off or no JSON"),
        ('{"creator": "Yosys"}', "no section 'modules'"),
        (STAT.replace('"design"', '"sketch"'), "no section 'design'"),
        (STAT.replace("9920", '"many"'), "no whole number for 'LUT6'. Received: 'many'"),
        (STAT.replace("9920", "-1"), "no whole number for 'LUT6'. Received: -1"),
        (STAT.replace("9920", "9" * 400), "no whole number for 'LUT6'. Received: 9"),
        (STAT.replace("9920", "true"), "no whole number for 'LUT6'. Received: True"),
        ("[" * 100_000, "cut off or no JSON"),
        (STAT.replace('"MUXF8": 7680', '"$mul": 7'), r"left 7 cells '\$mul'"),
    ],
)
def test_stat_that_is_not_whole(text: str, words: str) -> None:
    with pytest.raises(HlsError, match=words):
        parse_stat(text)


def test_shell_of_wires() -> None:
    """A stage without a cell: a bit straight through, a constant, an input that nobody reads."""
    ports = {
        "a[0]": {"direction": "input", "bits": [2]}, "a[1]": {"direction": "input", "bits": [3]},
        "y[0]": {"direction": "output", "bits": [3]}, "y[1]": {"direction": "output", "bits": ["1"]},
        "z": {"direction": "output", "bits": [2]},
    }  # fmt: skip
    text = shell_verilog(json.dumps({"modules": {"m": {"ports": ports, "cells": {}}}}), "m")
    assert text.splitlines() == [
        "module m(input [1:0] a, output [1:0] y, output z);",
        "    wire [0:0] driven;",
        "    assign y[0] = a[1];",
        "    assign y[1] = 1'b1;",
        "    assign z = a[0];",
        "endmodule",
    ]


def test_shell_with_a_core() -> None:
    ports = {
        "a[0]": {"direction": "input", "bits": [2]}, "a[1]": {"direction": "input", "bits": [3]},
        "y": {"direction": "output", "bits": [4]},
    }  # fmt: skip
    core = {"port_directions": {"p": "input", "q": "output"}, "connections": {"p": [3], "q": [4]}}
    text = shell_verilog(json.dumps({"modules": {"m": {"ports": ports, "cells": {"m_core": core}}}}), "m")
    assert "(* blackbox *) module m_core(input [0:0] used, output [0:0] driven); endmodule" in text
    assert "m_core core (.used({a[1]}), .driven(driven));" in text  # a[0] is read by nobody
    assert "assign y = driven[0];" in text


@pytest.mark.parametrize("text", ["{", '{"modules": {"other": {}}}', '{"modules": {"m": {"ports": {"a": {}}}}}'])
def test_shell_not_understood(text: str) -> None:
    with pytest.raises(HlsError, match="netlist of 'm' is not understood"):
        shell_verilog(text, "m")
