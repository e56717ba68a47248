"""Two builds layer by layer, the points of the Pareto plot, published results, budgets and vendor reports."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from support.compare_runs import LAYERS, audit, audited, bare, complete, put, simulated, trained

from hls.compare.draw.pareto import plot, spell
from hls.compare.read.published import FILE, WARNING, drawn, read_published
from hls.compare.read.run import read_run, read_runs
from hls.compare.table.columns import tabulate
from hls.compare.table.diff import change, spelt
from hls.compare.table.diff import compare as compare_layers
from hls.compare.table.layers import read_layers
from hls.compare.table.points import Point, frontier, points
from hls.errors import HlsError
from hls.reports.report import Report
from hls.stages.compare import compare, with_vendor


def test_the_difference_says_where_bits_and_luts_went(tmp_path: Path) -> None:
    first = complete(tmp_path, "part_a", 0.68, 100_000, pairs="onchip")
    second = complete(tmp_path, "part_b", 0.67, 60_000)
    put(second / "qat" / "audit.json", audited(second, [row for row in audit(3.0) if row["layer"] != "pool"]))
    diff = compare_layers(read_run(first), read_run(second))
    assert diff.settings == {"model.pairs": ("onchip", "none")}
    rows = {row.layer: row for row in diff.rows}
    assert rows["embed0"].bits["weight"] == (6.0, 3.0)
    assert rows["pool"].bits["weight"] == (1.0, None)
    assert rows["logits"].costs["LUT before fusing (alkaid)"] == (25_000, 15_000)
    assert diff.total.costs["LUT before fusing (alkaid)"] == (100_000, 60_000)
    assert rows["logits"].costs["zero weights"] == (13, 13)
    assert diff.total.costs["zero weights"] == (46, 46)
    assert diff.costs_known["zero weights"] == (True, True)
    (second / "qat" / "sparsity.json").unlink()
    unknown = compare_layers(read_run(first), read_run(second))
    assert unknown.costs_known["zero weights"] == (True, False)
    assert next(cell for row in spelt(unknown)[1] for cell in row if "?" in cell) == "10 → ?"
    assert "ns (alkaid)" not in diff.total.costs  # latencies of layers do not add up
    assert json.loads(json.dumps(diff.to_json()))["total"]["LUT before fusing (alkaid)"] == {
        "first": 100_000,
        "second": 60_000,
    }


def test_layers_keep_the_order_of_the_models(tmp_path: Path) -> None:
    runs = [trained(tmp_path, name) for name in ("part_a", "part_b")]
    rows = audit(4.0)
    extra = {**rows[0], "layer": "pair_bias"}
    put(runs[1] / "qat" / "audit.json", audited(runs[1], [rows[0], extra, *rows[1:]]))
    diff = compare_layers(*read_runs(runs))
    assert [row.layer for row in diff.rows] == ["embed0", "pair_bias", *LAYERS[1:], "pool"]


def test_widths_that_are_not_known_are_not_called_absent(tmp_path: Path) -> None:
    diff = compare_layers(read_run(trained(tmp_path, "part_a")), read_run(bare(tmp_path, "part_b")))
    assert diff.bits_known == (True, False)
    assert (
        f"part_b: no bit widths; not run: qformers audit {tmp_path}/part_b/build.yaml --run {tmp_path}/part_b"
        in diff.missing
    )
    assert change((8.0, None), diff.bits_known, 1) == "8.0 → ?"
    assert change((8.0, None), (True, True), 1) == "8.0 → –"
    assert change((8.0, 5.0), (True, True), 1) == "8.0 → 5.0 (-3.0)"
    assert change((8.0, 8.0), (True, True), 1) == "8.0"


def test_widths_come_from_the_firmware_where_there_is_no_audit(tmp_path: Path) -> None:
    run = bare(tmp_path, "part_a")
    file = run / "firmware" / "vitis" / "precision.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("fc1: {result: 'fixed<9,2,RND,SAT>', weight: 'fixed<4,1>', bias: 'ufixed<2,32,TRN,WRAP>'}\n")
    layers = read_layers(read_run(run))
    assert layers.source == "firmware/vitis/precision.yaml"
    assert {kind: bits.mean for kind, bits in layers.layers["fc1"].bits.items()} == {"activation": 9, "weight": 4}
    file.write_text("fc1: {result: 'float'}\n")
    with pytest.raises(
        HlsError, match=r"precision.yaml: 'fc1.result': a format is spelt fixed<W,I>.*Received: 'float'"
    ):
        read_layers(read_run(run))
    file.write_text("fc1: [")
    with pytest.raises(HlsError, match=r"(?s)precision.yaml is not YAML .*export the project again"):
        read_layers(read_run(run))


def test_widths_come_from_the_table_of_the_project_where_there_is_one(tmp_path: Path) -> None:
    run = bare(tmp_path, "part_a")
    file = run / "firmware" / "vitis" / "precision.json"
    file.parent.mkdir(parents=True)
    sums = {
        "input0": {"value": "fixed<7,3>", "source": "learned, 3 formats"},
        "input1": {"value": "fixed<4,1>", "source": "fixed"},
        "accumulator": {"value": "fixed<16,6>", "source": "computed"},
    }
    file.write_text(json.dumps({"layers": [{"layer": "sum", "type": "QAdd", **sums}]}))
    layers = read_layers(read_run(run))
    assert layers.source == "firmware/vitis/precision.json"
    (activation,) = layers.layers["sum"].bits.values()
    assert (activation.mean, activation.largest, activation.learned) == (5.5, 7, True)
    assert "input0 fixed<7,3,RND,SAT>, learned, 3 formats" in activation.note
    assert "widths as widest in firmware/vitis/precision.json" in " ".join(layers.missing)
    file.write_text(json.dumps({"layers": [{"layer": "sum", "type": "QAdd", "input0": {"value": 3, "source": ""}}]}))
    with pytest.raises(HlsError, match=r"(?s)precision.json is no table of formats .*'sum'.*export the project again"):
        read_layers(read_run(run))


def test_an_audit_of_another_model_is_noted(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    assert not any("audit.json" in line for line in read_layers(read_run(run)).missing)
    (run / "qat" / "model.keras").write_bytes(b"other weights")
    assert "qat/audit.json is of another model than qat/model.keras" in read_layers(read_run(run)).missing[0]


def test_points_carry_their_source_and_the_frontier_is_not_beaten(tmp_path: Path) -> None:
    runs = [
        complete(tmp_path, name, accuracy, lut) for name, accuracy, lut in (("part_a", 0.7, 90), ("part_b", 0.6, 80))
    ]
    table = tabulate(read_runs([*runs, bare(tmp_path, "part_c")]))
    found = points(table, "lut")
    assert [(p.build, p.source, p.value) for p in found if "route" in p.source] == [
        ("part_a", "vivado-route [route]", 93),
        ("part_b", "vivado-route [route]", 83),
    ]
    assert {p.source for p in points(table, "latency_ns")} == {"alkaid [estimate]", "verilator [rtlsim]"}
    assert [p.value for p in points(table, "ebops")] == [108, 96]
    many = [Point("", "s", value, accuracy, None, False) for value, accuracy in ((3, 70), (1, 60), (2, 59), (4, 70))]
    assert [(p.value, p.score) for p in frontier(many)] == [(1, 60), (3, 70)]


def test_published_results_are_cited_and_staged() -> None:
    references = read_published()
    assert {r.point.stage for r in references} == {"R", "P", "E"}
    assert all(r.work.citation and r.work.arxiv and (r.point.lut or r.point.latency_ns) for r in references)
    assert {r.dataset.task for r in drawn(references)} == {"particles"}
    jedi = [r.point for r in references if r.work.label == "JEDI-linear" and r.point.n == 64 and r.point.features == 3]
    assert [(p.accuracy, p.lut, p.latency_ns, p.stage) for p in jedi] == [
        (80.92, 70_704, 60.9, "R"),
        (81.81, 163_904, 78.2, "R"),
    ]
    best = max(r.point.accuracy for r in references if r.work.label == "Transformer")
    assert best == 79.8


def test_a_published_point_needs_a_described_work(tmp_path: Path) -> None:
    tree = yaml.safe_load(FILE.read_text())
    tree["points"][0]["work"] = "hearsay"
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(HlsError, match=r"p.yaml: .*points.0: work 'hearsay' is not described in this file"):
        read_published(tmp_path / "p.yaml")
    tree["points"][0] = {**tree["points"][1], "acuracy": 3}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(HlsError, match=r"'points.0.acuracy': Extra inputs are not permitted"):
        read_published(tmp_path / "p.yaml")


def test_the_plot_is_drawn_with_and_without_numbers(tmp_path: Path) -> None:
    stale = complete(tmp_path, "part_b", 0.6, 80)
    simulated(stale, build_hash="abcdefabcdef")
    table = tabulate(read_runs([complete(tmp_path, "part_a", 0.7, 90), stale, bare(tmp_path, "part_c")]))
    png, pdf = plot(table, read_published(), tmp_path / "out" / "pareto")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")
    alone = plot(tabulate(read_runs([bare(tmp_path, "part_d")])), (), tmp_path / "out" / "empty")
    assert all(path.stat().st_size > 1000 for path in alone)
    assert [spell(value) for value in (50, 2000, 1.5e6)] == ["50", "2k", "1.5M"]
    assert "measured on other data" in WARNING


def run_compare(paths: list[Path], out: Path, **options: object) -> tuple[int, str]:
    text = io.StringIO()
    result = compare(paths, **options)  # type: ignore[arg-type]
    result.show(Console(file=text, width=140))
    result.save(out)
    return result.exit_code, text.getvalue()


def test_budgets_pass_fail_and_unknown(tmp_path: Path) -> None:
    runs = [complete(tmp_path, "part_a", 0.7, 90_000), trained(tmp_path, "part_b")]
    code, text = run_compare(runs[:1], tmp_path / "out", budgets=["lut<=20%", "latency_ns<=200"])
    assert code == 0
    assert "pass part_a: lut<=20%: 5.417% vivado-route [route]" in text
    code, text = run_compare(runs, tmp_path / "out", budgets=["lut<=5%"])
    assert code == 1
    assert "fail part_a: lut<=5%" in text
    assert "unknown part_b: lut<=5%: no report states lut" in text
    assert "part_a -> part_b: mean bits per layer, sign included" in text  # two runs: the difference too
    verdicts = json.loads((tmp_path / "out" / "comparison.json").read_text())["budgets"]
    assert [verdict["outcome"] for verdict in verdicts] == ["fail", "unknown"]
    with pytest.raises(HlsError, match="budget 'lutt<=5': unknown key 'lutt'; did you mean 'lut'"):
        run_compare(runs, tmp_path / "out", budgets=["lutt<=5"])


def test_a_stale_report_keeps_no_budget(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    simulated(run, build_hash="abcdefabcdef")
    code, text = run_compare([run], tmp_path / "out", budgets=["latency_cycles<=100"])
    assert code == 1
    assert "unknown part_a: latency_cycles<=100" in text


def test_vendor_reports_need_a_run_where_there_are_several(tmp_path: Path) -> None:
    runs = read_runs([trained(tmp_path, "part_a"), trained(tmp_path, "part_b")])
    with pytest.raises(
        HlsError, match=r"--vendor with several runs needs RUN=PATH, RUN one of part_a, part_b. Received: x.rpt"
    ):
        with_vendor(runs, ["x.rpt"])
    with pytest.raises(HlsError, match=r"'part_c' is none of the runs part_a, part_b"):
        with_vendor(runs, ["part_c=x.rpt"])
    with pytest.raises(HlsError, match=r"x\.rpt"):
        with_vendor(runs[:1], [str(tmp_path / "x.rpt")])


def test_a_path_of_a_vendor_report_may_have_an_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = read_runs([trained(tmp_path, "part_a"), trained(tmp_path, "part_b")])
    place = tmp_path / "clock=5" / "solution"
    place.mkdir(parents=True)
    said = Report("csynth", "csynth", "Vitis HLS 2023.2", resources={"lut": 8851}, clock_ns=5.0)
    read: list[Path] = []
    monkeypatch.setattr("hls.stages.compare.read_reports", lambda path: read.append(path) or [said])
    with_vendor(runs[:1], [str(place)])
    with_vendor(runs, [f"part_b={place}"])
    assert read == [place, place]


def test_a_vendor_report_becomes_a_column_of_its_own_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = read_runs([trained(tmp_path, "part_a"), trained(tmp_path, "part_b")])
    said = Report("csynth", "csynth", "Vitis HLS 2023.2", resources={"lut": 8851}, clock_ns=5.0)
    monkeypatch.setattr("hls.stages.compare.read_reports", lambda path: [said])
    table = tabulate(with_vendor(runs, ["part_b=solution1"]))
    assert table.cells[0]["csynth.lut"].missing == "not run: the vendor's tool (csynth), then --vendor REPORTS"
    assert table.cells[1]["csynth.lut"].value == 8851
    assert "csynth [csynth]" in table.groups
