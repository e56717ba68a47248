"""The mappings that Yosys is given for products and adders of three operands: proved equal, and counted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hls.reports.yosys.jobs import HERE, MAPPINGS
from hls.reports.yosys.run import find_yosys
from hls.reports.yosys.synthesis import synthesise
from hls.templates import fill

needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys not found: apt-get install yosys")
LIBRARY = "read_verilog -lib +/xilinx/cells_sim.v"  # what the mappings put in


def prove_equal(folder: Path, modules: str, mapping: str) -> str:
    """Prove module m equal to what `mapping` makes of it, for every value of its inputs; returns the cells then."""
    (folder / "m.v").write_text(modules)
    for file in MAPPINGS:
        shutil.copy(file, folder)
    script = (
        f"{LIBRARY}; read_verilog -sv -defer m.v; hierarchy -top m; proc; opt_clean; copy m gold; flatten gold; "
        f"{mapping}; flatten m; tee -q -o stat.txt stat m; "
        "techmap -autoproc -map +/xilinx/cells_sim.v m; flatten m; opt_clean m; "
        "miter -equiv -flatten -make_assert gold m both; sat -verify -prove-asserts both"
    )
    done = subprocess.run([find_yosys().program, "-p", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "SAT proof finished - no model found: SUCCESS" in done.stdout
    return (folder / "stat.txt").read_text()


@needs_yosys
@pytest.mark.parametrize(
    ("signs", "widths"),
    [("ss", (5, 6, 11)), ("uu", (7, 4, 11)), ("ss", (6, 6, 9)), ("uu", (5, 5, 14)), ("ss", (1, 6, 7)),
     ("ss", (2, 1, 3)), ("uu", (1, 1, 2)), ("ss", (4, 4, 12)), ("su", (5, 4, 9)), ("us", (6, 4, 7)), ("su", (3, 2, 8)),
     ("us", (7, 1, 8)), ("ss", (2, 7, 9)), ("us", (2, 6, 10))],
)  # fmt: skip
def test_multiplier_is_a_product(signs: str, widths: tuple[int, int, int], tmp_path: Path) -> None:
    a, b, y = (f"[{width - 1}:0]" for width in widths)
    mixed = {"s": "$signed({})", "u": "$signed({{1'b0, {}}})" if "s" in signs else "{}"}
    product = " * ".join(mixed[sign].format(name) for sign, name in zip(signs, "ab", strict=True))
    text = f"module m(input {a} a, input {b} b, output {y} y);\n  assign y = {product};\nendmodule\n"
    cells = prove_equal(tmp_path, text, "wreduce t:$mul; techmap -map mul_rows.v m; select -assert-none m/t:$mul")
    assert "$alu" in cells or "CARRY4" in cells or sum(widths[:2]) <= 6


# three times width, signed, negated, places to the left; width of the sum, places cut off; LUTs with two outputs
ADDERS = [
    [(5, 0, 0, 0), (8, 1, 1, 3), (7, 0, 0, 0), (13, 0), 7],
    [(4, 1, 1, 0), (6, 1, 0, 0), (5, 0, 1, 1), (8, 0), 8],
    [(6, 1, 0, 3), (6, 1, 0, 0), (5, 0, 1, 1), (9, 1), 7],
    [(7, 0, 1, 2), (4, 1, 0, 5), (9, 0, 0, 0), (8, 0), 3],
    [(1, 1, 0, 2), (4, 0, 0, 2), (1, 0, 0, 3), (4, 2), 3],
    [(4, 0, 0, 0), (4, 1, 0, 0), (1, 0, 0, 0), (6, 0), 4],
    [(1, 0, 0, 0), (2, 0, 0, 1), (4, 1, 0, 0), (6, 0), 0],  # never three in a column
    [(1, 1, 1, 0), (2, 0, 1, 2), (5, 0, 1, 1), (5, 0), 0],  # three negated: left to Yosys
]


@needs_yosys
@pytest.mark.parametrize("adder", ADDERS)
def test_adder_of_three_is_their_sum(adder: list[Any], tmp_path: Path) -> None:
    import alkaid

    ports = ", ".join(f"input [{a[0] - 1}:0] {name}" for name, a in zip("xyz", adder[:3], strict=True))
    values = ",".join(str(value) for part in adder[:4] for value in part)
    text = (
        f"module m({ports}, output [{adder[3][0] - 1}:0] o);\n  ternary_adder #({values}) op (x, y, z, o);\nendmodule\n"
    )
    theirs = next(Path(alkaid.__file__).parent.rglob("ternary_adder.v")).read_text()
    cells = prove_equal(tmp_path, text + theirs, "; ".join(fill(HERE / "add_three.ys").splitlines()))
    assert sum(int(line.split()[1]) for line in cells.splitlines() if "LUT6_2" in line) == adder[4]


@needs_yosys
def test_adder_of_three_is_one_lut_per_bit(tmp_path: Path) -> None:
    import alkaid

    text = """
module three (input [11:0] x, input [11:0] y, input [11:0] z, output [13:0] o);
  ternary_adder #(12,1,0,0,12,1,0,0,12,1,0,0,14,0) op (x, y, z, o);
endmodule
"""
    theirs = next(Path(alkaid.__file__).parent.rglob("ternary_adder.v"))
    (tmp_path / "three.v").write_text(text)
    sources = [tmp_path / "three.v", theirs]
    report = synthesise(sources, "three", tmp_path / "yosys", dsp=False, time_limit_s=300)
    assert report.detail["lut_by_size"]["LUT6_2"] == report.resources["lut"] == 14
    assert report.detail["notes"][0].startswith("1 adders of three operands are mapped to one LUT per bit")
