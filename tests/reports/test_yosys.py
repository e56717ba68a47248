"""Yosys synthesis: counts that can be checked by hand, the cache, limits, and every way it can fail."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from hls.errors import HlsError
from hls.reports.report import load_report
from hls.reports.yosys.jobs import PASSES
from hls.reports.yosys.run import YosysMissing, YosysStopped, find_yosys
from hls.reports.yosys.synthesis import synthesise
from qformers.progress import Ticker

needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys not found: apt-get install yosys")

# Two stages between three registers. LUT: 4 LUT2 (a ^ b), 2 LUT6 (one table, used twice), 1 LUT6. c goes straight
# through three registers: 4 shift registers. FF: a, b, d 14 bits, then 4 + 2, then 1. unused: none at all.
SOURCES = {
    "two.v": """
module two (input clk, input [18:0] model_inp, output reg [4:0] model_out);
  reg [18:0] r0; reg [9:0] r1;
  wire [9:0] w0; wire [4:0] w1;
  logic0 s0 (.model_inp(r0), .model_out(w0));
  logic1 s1 (.model_inp(r1), .model_out(w1));
  always @(posedge clk) begin r0 <= model_inp; r1 <= w0; model_out <= w1; end
endmodule
""",
    "logic0.v": """
module logic0 (input [18:0] model_inp, output [9:0] model_out);
  wire unused = model_inp[18];
  assign model_out[3:0] = model_inp[3:0] ^ model_inp[7:4];
  assign model_out[7:4] = model_inp[11:8];
  table_x t0 (model_inp[17:12], model_out[8]);
  table_x t1 ({model_inp[17:13], model_inp[0]}, model_out[9]);
endmodule
""",
    "logic1.v": """
module logic1 (input [9:0] model_inp, output [4:0] model_out);
  assign model_out[3:0] = model_inp[7:4];
  assign model_out[4] = model_inp[8] & model_inp[9] & (^model_inp[3:0]);
endmodule
""",
    "tables.v": """
module table_x (input [5:0] in, output reg out);
  always @(*) case (in)
"""
    + "".join(f"    6'd{value}: out = 1'b{value.bit_count() % 2};\n" for value in range(64))
    + "    default: out = 1'bx;\n  endcase\nendmodule\n",
}


def write(folder: Path, **texts: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in texts.items():
        paths.append(folder / name)
        paths[-1].write_text(text)
    return paths


class Counting:
    """A reporter that adds up, and can stop everything at a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.total = 0
        self.done = 0
        self.stop_at = stop_at

    def task(self, text: str, total: int | None) -> Ticker:
        self.total = total or 0

        def tick(steps: int = 1) -> None:
            self.done += steps
            if self.stop_at is not None and self.done >= self.stop_at:
                raise KeyboardInterrupt

        return tick


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str, does: str = "exit 3") -> None:
    """Put a program called yosys first on PATH that tells `version` and, asked for more, does `does`."""
    folder.mkdir()
    program = folder / "yosys"
    program.write_text(f'#!/bin/sh\nif [ "$1" = -V ]; then echo "{version}"; exit 0; fi\n{does}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    """The design of two stages and a folder where it was synthesised."""
    folder = tmp_path_factory.mktemp("two stages")  # a space in the path
    return write(folder / "src", **SOURCES), folder / "yosys"


@needs_yosys
def test_count_by_hand(two: tuple[list[Path], Path], tmp_path: Path) -> None:
    sources, folder = two
    bar = Counting()
    report = synthesise(sources, "two", folder, dsp=False, time_limit_s=300, reporter=bar)
    assert {key: count for key, count in report.resources.items() if count} == {"lut": 7, "ff": 21, "srl": 4}
    assert {name: count for name, count in report.detail["lut_by_size"].items() if count} == {"LUT2": 4, "LUT6": 3}
    assert report.detail["other_cells"] == {}
    assert (report.source, report.stage) == ("yosys-nodsp", "synthesis")
    assert report.tool.startswith("Yosys 0.")
    assert "5,531 LUT against 5,804" in report.error_bar
    assert report.detail["parts"]["logic0"]["lut"] == 6
    assert 5 < report.detail["peak_mib"] < 400  # not that of this Python, which `wait4` would tell
    assert bar.done == bar.total == 3 * PASSES
    assert {Path(name).name for name in report.files} == {f"{n}-nodsp.log" for n in ("logic0", "logic1", "top")}
    assert load_report(report.save(tmp_path)).resources == report.resources

    piece = synthesise(sources, "two", folder, dsp=False, time_limit_s=300, flat=True)
    assert piece.resources == report.resources  # nothing is lost by going stage by stage


@needs_yosys
def test_cache(two: tuple[list[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, folder = two
    first = synthesise(sources, "two", folder, dsp=False, time_limit_s=300)
    with monkeypatch.context() as patch:  # a yosys that can only tell its version
        stand_in(tmp_path / "bin", patch, find_yosys().version)
        again = synthesise(sources, "two", folder, dsp=False, time_limit_s=300)
    assert again.detail["runs"] == 0
    assert again.resources == first.resources

    entry = next(folder.glob("logic1-nodsp-*.json"))
    entry.write_text(entry.read_text()[:30])
    mended = synthesise(sources, "two", folder, dsp=False, time_limit_s=300)
    assert mended.detail["runs"] == 1
    assert mended.resources == first.resources
    json.loads(entry.read_text())

    changed = SOURCES["logic1.v"].replace("& model_inp[9] ", "")
    (sources[2]).write_text(changed)
    other = synthesise(sources, "two", folder, dsp=False, time_limit_s=300)
    sources[2].write_text(SOURCES["logic1.v"])
    assert other.detail["runs"] == 2  # the stage and the top
    assert other.resources["ff"] == first.resources["ff"] - 1  # nobody reads the second table any more
    assert len(list(folder.glob("logic1-nodsp-*.json"))) == 1


# A kernel of one stage, twice, and a store: 8 words of 4 bits. Each kernel: 4 LUT2 (a ^ b), 8 + 4 FF. Stores: the place
# (3 FF), the value that comes (4), and what is read (4); memory in a RAM32M16, which is 8 LUTs.
FOLDED = {
    "fold.v": """
module fold (input clk, input rst, input [7:0] in_beat, output reg [3:0] out_event);
  reg [3:0] came; reg [2:0] beat; reg [3:0] memory [0:7];
  wire [3:0] first, second;
  fold_k0 k0 (.clk(clk), .model_inp(in_beat), .model_out(first));
  fold_k0 again (.clk(clk), .model_inp({memory[beat], came}), .model_out(second));
  always @(posedge clk) begin
    came <= first; memory[beat] <= came; out_event <= second;
    beat <= rst ? 0 : beat + 1;
  end
endmodule
""",
    "fold_k0.v": """
module fold_k0 (input clk, input [7:0] model_inp, output reg [3:0] model_out);
  reg [7:0] r; wire [3:0] w;
  fold_k0_stage0 s0 (.model_inp(r), .model_out(w));
  always @(posedge clk) begin r <= model_inp; model_out <= w; end
endmodule
""",
    "fold_k0_stage0.v": """
module fold_k0_stage0 (input [7:0] model_inp, output [3:0] model_out);
  assign model_out = model_inp[3:0] ^ model_inp[7:4];
endmodule
""",
}


@needs_yosys
def test_kernels_and_the_stores_around_them_are_counted_apart(tmp_path: Path) -> None:
    bar = Counting()
    sources = write(tmp_path / "src", **FOLDED)
    report = synthesise(sources, "fold", tmp_path / "yosys", dsp=False, time_limit_s=300, reporter=bar)
    counted = {
        name: {key: count for key, count in part.items() if count} for name, part in report.detail["kernels"].items()
    }
    assert counted["k0"] == {"lut": 2 * 4, "ff": 2 * 12}
    assert (counted["stores"]["ff"], counted["stores"]["lutram"]) == (3 + 4 + 4, 8)
    assert counted["stores"].get("lut", 0) <= 4  # of the counter
    for key in ("lut", "ff", "lutram"):
        assert report.resources[key] == sum(part.get(key, 0) for part in counted.values())
    assert set(report.detail["parts"]) == {"fold_k0_stage0", "fold_k0", "fold"}
    assert bar.done == bar.total == 3 * PASSES
    assert {Path(name).name for name in report.files} == {
        f"{name}-nodsp.log" for name in ("fold_k0_stage0", "fold_k0", "stores")
    }


@needs_yosys
def test_dsp(tmp_path: Path) -> None:
    text = """
module product (input clk, input signed [15:0] a, input signed [15:0] b, output reg signed [31:0] y);
  always @(posedge clk) y <= a * b;
endmodule
"""
    sources = write(tmp_path / "src", **{"product.v": text})
    with_dsp = synthesise(sources, "product", tmp_path / "yosys", dsp=True, time_limit_s=300)
    without = synthesise(sources, "product", tmp_path / "yosys", dsp=False, time_limit_s=300)
    assert (with_dsp.source, with_dsp.resources["dsp"], with_dsp.resources["lut"]) == ("yosys", 1, 0)
    assert (without.source, without.resources["dsp"], without.resources["ff"]) == ("yosys-nodsp", 0, 32)
    assert without.resources["lut"] == 15 * 16 + 1  # one per bit of every row, the first two in one; and the lowest bit


@needs_yosys
def test_alkaid_project(tmp_path: Path) -> None:
    import numpy as np
    from alkaid.codegen import RTLModel
    from alkaid.trace import FVArrayInput, HWConfig, trace

    x = FVArrayInput((4,), HWConfig(1, 1, -1)).quantize(np.ones(4, int), np.full(4, 3), np.full(4, 2))
    matrix = np.array([[1.0, 2], [3, -1], [0.5, 4], [-2, 1.5]])
    project = RTLModel(trace(x, x @ matrix), tmp_path / "tiny", "tiny", latency_cutoff=2, clock_period=5)
    project.write()
    sources = [*sorted((tmp_path / "tiny/src").glob("*.v")), *sorted((tmp_path / "tiny/src/static").glob("*.v"))]
    report = synthesise(sources, "tiny", tmp_path / "yosys", dsp=False, time_limit_s=300)
    assert list(report.detail["parts"]) == ["logic0", "logic1", "tiny"]
    assert report.detail["notes"][0].startswith("4 adders of three operands")
    assert project.reg_bits - 2 <= report.resources["ff"] <= project.reg_bits
    assert 0.5 < report.resources["lut"] / project._comb.cost < 2  # an estimate and a synthesis of one thing


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sources = write(tmp_path / "src", **SOURCES)
    with pytest.raises(YosysMissing) as caught:
        synthesise(sources, "two", tmp_path / "yosys", dsp=False, time_limit_s=60)
    assert str(caught.value) == "yosys not found: apt-get install yosys"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("Yosys 0.9 (git sha1 1979e0b)", r"too old: 0\.23 or newer .*Received: Yosys 0\.9 \(git sha1 1979e0b\)"),
        ("no such option", "does not tell a version.*Received: 'no such option'"),
    ],
)
def test_wrong_version(version: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", monkeypatch, version)
    with pytest.raises(HlsError, match=words):
        synthesise(write(tmp_path / "src", **SOURCES), "two", tmp_path / "yosys", dsp=False, time_limit_s=60)


@needs_yosys
def test_bad_verilog(tmp_path: Path) -> None:
    sources = write(tmp_path / "src", **{**SOURCES, "logic0.v": "module logic0 (input a);\n  assign = a;\nendmodule\n"})
    with pytest.raises(
        HlsError, match=r"(?s)failed with exit status 1; its last lines.*logic0\.v:2: ERROR: syntax"
    ) as e:
        synthesise(sources, "two", tmp_path / "yosys", dsp=False, time_limit_s=300)
    assert "logic0-nodsp.log" in str(e.value)
    assert "'logic0': Yosys" in str(e.value)
    assert not list((tmp_path / "yosys").glob("logic0-*.json"))


HANGS = 'echo "7. Executing ABC pass (technology mapping)."; : > {pid}.$$; sleep 60 & wait'


def gone(pid: Path) -> bool:
    """The process groups whose leaders put their numbers behind the name `pid` are empty."""
    leaders = [int(path.suffix[1:]) for path in pid.parent.glob(f"{pid.name}.*")]
    for _ in range(50):
        if leaders and not any(map(runs, leaders)):
            return True
        time.sleep(0.05)
    return False


def runs(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    stand_in(tmp_path / "bin", monkeypatch, "Yosys 0.23 (git sha1 0)", HANGS.format(pid=pid))
    begin = time.monotonic()
    words = r"stopped after \d+ s \(time limit 1 s\) in 'ABC pass .*' of 'logic0'; 0 of 3 parts are done"
    with pytest.raises(YosysStopped, match=words):
        synthesise(write(tmp_path / "src", **SOURCES), "two", tmp_path / "yosys", dsp=False, time_limit_s=1)
    assert time.monotonic() - begin < 20
    assert gone(pid)
    assert [path for path in (tmp_path / "yosys").iterdir() if path.suffix != ".log"] == []


def test_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    stand_in(tmp_path / "bin", monkeypatch, "Yosys 0.23 (git sha1 0)", "sleep 0.2\n" + HANGS.format(pid=pid))
    hangs = tmp_path / "bin" / "yosys"
    hangs.write_text(hangs.read_text().replace('echo "7.', f': > {pid}.$$; echo "7.'))
    with pytest.raises(KeyboardInterrupt):
        synthesise(
            write(tmp_path / "src", **SOURCES), "two", tmp_path / "yosys", dsp=False, time_limit_s=60,
            reporter=Counting(stop_at=1),
        )  # fmt: skip
    assert gone(pid)
    assert [path for path in (tmp_path / "yosys").iterdir() if path.suffix != ".log"] == []


@pytest.mark.parametrize(
    ("texts", "top", "limit", "words"),
    [
        (SOURCES, "three", 60, "no source declares the top module 'three'. Received: two.v, logic0.v"),
        (SOURCES, "two", 0, "time limit of the synthesis must be positive. Received: 0 s"),
        ({**SOURCES, "logic0.vhd": ""}, "two", 60, "reads Verilog .*, not logic0.vhd"),
        ({**SOURCES, "a;b.v": ""}, "two", 60, "Yosys cannot read 'a;b.v': no "),
    ],
)
def test_wrong_call(
    texts: dict[str, str], top: str, limit: float, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "bin", monkeypatch, "Yosys 0.23 (git sha1 0)")
    with pytest.raises(HlsError, match=words):
        synthesise(write(tmp_path / "src", **texts), top, tmp_path / "yosys", dsp=False, time_limit_s=limit)


def test_missing_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", monkeypatch, "Yosys 0.23 (git sha1 0)")
    with pytest.raises(HlsError, match=r"gone\.v cannot be read .*write the project again"):
        synthesise([tmp_path / "gone.v"], "gone", tmp_path / "yosys", dsp=False, time_limit_s=60)
