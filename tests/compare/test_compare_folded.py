"""Folded firmware in the comparison: initiation intervals beside every number, EBOPs of what is built, kernels."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.compare_runs import bare, complete, folded, put, trained

from hls.compare.draw.page import plot_data
from hls.compare.draw.pareto import plot
from hls.compare.read.interval import interval_of
from hls.compare.read.published import read_published
from hls.compare.read.run import read_run, read_runs
from hls.compare.table.columns import tabulate
from hls.compare.table.points import frontiers, points
from hls.errors import HlsError
from hls.reports.report import Report, load_report
from hls.stages.compare import Compared, compare
from hls.stages.summary import _costs, _ebops, _kernels
from qformers.records import hashes


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two builds that take all points in one clock, and two of folded firmware with II = 16 and 4."""
    return [
        complete(tmp_path, "plain", 0.684, 90_000),
        complete(tmp_path, "wide", 0.701, 180_000),
        folded(tmp_path, "fold1", 0.695, 9_000),
        folded(tmp_path, "fold4", 0.699, 30_000, 4),
    ]


@pytest.fixture
def compared(runs: list[Path]) -> Compared:
    """The comparison of all of them."""
    return compare(runs)


def test_intervals_are_columns_in_cycles_and_time(compared: Compared, tmp_path: Path) -> None:
    compared.save(tmp_path / "out")
    with (tmp_path / "out" / "comparison.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["ii_cycles"], row["ii_ns"]) for row in rows] == [
        ("1", "5.0"),
        ("1", "5.0"),
        ("16", "80.0"),
        ("4", "20.0"),
    ]
    cells = compared.table.cells
    assert cells[0]["ii_cycles"].note == "verilator [rtlsim], a clock of 5 ns"
    assert cells[2]["ii_cycles"].note == "folded [estimate], a clock of 5 ns"
    for name in ("comparison.md", "report.html"):
        page = (tmp_path / "out" / name).read_text()
        assert "II: clocks from one event to the next" in page
    assert "| II [cycles] | II [ns] |" in (tmp_path / "out" / "comparison.md").read_text()
    assert re.search(
        r'<button type="button">II<span class="unit"> \[ns\]', (tmp_path / "out" / "report.html").read_text()
    )


def test_an_interval_is_that_of_the_hardware_of_a_number(tmp_path: Path) -> None:
    """Where a run has two projects, a number that states no interval has that of its own project."""
    run = folded(tmp_path, "fold1", 0.695, 9_000)
    Report(
        "alkaid", "estimate", resources={"lut": 90_000}, clock_ns=5.0, ii_cycles=1, detail={"backend": "alkaid"}
    ).save(run)
    Report("yosys-nodsp", "synthesis", resources={"lut": 8}, detail={"backend": "alkaid"}).save(run)
    Report("vivado-route", "route", resources={"lut": 9}).save(run)
    read = read_run(run)
    found = {
        source: interval_of(read, source) for source in ("", "folded", "yosys", "alkaid", "yosys-nodsp", "vivado-route")
    }
    assert {source: one and one.cycles for source, one in found.items()} == {
        "": 16, "folded": 16, "yosys": 16, "alkaid": 1, "yosys-nodsp": 1, "vivado-route": 16,
    }  # fmt: skip
    table = tabulate([read])
    assert {point.source: point.ii for point in points(table, "lut")} == {
        "alkaid [estimate]": 1, "folded [estimate]": 16, "yosys [synthesis]": 16, "yosys-nodsp [synthesis]": 1,
        "vivado-route [route]": 16,
    }  # fmt: skip
    assert table.cells[0]["ii_cycles"].value == 16


def test_an_interval_that_nothing_states_is_not_guessed(tmp_path: Path) -> None:
    run = bare(tmp_path, "part_a")
    cell = tabulate([read_run(run)]).cells[0]["ii_ns"]
    assert (cell.value, cell.missing) == (None, f"not run: qformers rtl {run / 'build.yaml'} --run {run}")


def test_the_best_builds_are_those_of_one_interval(compared: Compared) -> None:
    """Each by the source that is nearest to a routed design of those that know builds of this interval."""
    order = list(compared.table.groups)
    found = frontiers(points(compared.table, "lut"), order)
    assert {ii: [(point.build, point.source) for point in line] for ii, line in found.items()} == {
        1: [("plain", "vivado-route [route]"), ("wide", "vivado-route [route]")],
        4: [("fold4", "yosys [synthesis]")],
        16: [("fold1", "yosys [synthesis]")],
    }
    assert list(found) == [1, 4, 16]


def test_the_plots_know_the_intervals(compared: Compared, tmp_path: Path) -> None:
    table, references = compared.table, tuple(read_published())
    data = plot_data(table, references)
    assert {cost["ii"] for build in data["builds"] for cost in build["costs"]["lut"]} == {1, 4, 16}
    assert {build["name"]: build["costs"]["ii_cycles"][0]["value"] for build in data["builds"]} == {
        "plain": 1.0, "wide": 1.0, "fold1": 16.0, "fold4": 4.0,
    }  # fmt: skip
    stated = {reference["work_label"]: reference["ii"] for reference in data["references"]}
    assert (stated["JEDI-linear"], stated["Deep Sets (QKeras)"], stated["MLP-Mixer"]) == (1, 2, None)
    png, pdf = plot(table, references, tmp_path / "pareto")
    assert min(png.stat().st_size, pdf.stat().st_size) > 10_000


def test_ebops_are_those_of_the_hardware_that_the_build_says(tmp_path: Path) -> None:
    run = folded(tmp_path, "fold4", 0.699, 30_000, together=4, trained_for=1)
    read = read_run(run)
    cell = tabulate([read]).cells[0]["ebops"]
    assert (cell.value, cell.flag, cell.note) == (30_007, "", "4 of 16 points per clock; counted in firmware/folded")
    assert read.reports is not None
    assert read.reports["ebops"].detail == {"ebops": 30_007}
    assert read.stale == {}
    assert "EBOPs" not in tabulate([read]).cells[0]["zeros"].note  # of the hardware that it was trained for
    (run / "firmware" / "folded" / "manifest.json").unlink()
    cell = tabulate([read_run(run)]).cells[0]["ebops"]
    assert cell.missing == f"not run: qformers export {run / 'build.yaml'} --run {run}"
    assert "ebops" not in (read_run(run).reports or {})
    same = folded(tmp_path, "fold1", 0.699, 30_000)
    (same / "firmware" / "folded" / "manifest.json").unlink()
    cell = tabulate([read_run(same)]).cells[0]["ebops"]
    assert (cell.value, cell.note) == (30_000, "1 of 16 points per clock; counted in qat/manifest.json")
    plain = trained(tmp_path, "part_a")
    assert tabulate([read_run(plain)]).cells[0]["ebops"].value == 100_000


@pytest.mark.parametrize(("written", "says"), [(1, 4), (4, 1)])
def test_a_project_of_another_fold_is_stale(written: int, says: int, tmp_path: Path) -> None:
    """A default that the files do not spell counts as well."""
    run = folded(tmp_path, "fold", 0.699, 30_000, together=written)
    text = (run / "build.yaml").read_text()
    (run / "build.yaml").write_text(text.replace(f"points_per_clock: {written}", f"points_per_clock: {says}"))
    read = read_run(run)
    assert f"firmware.points_per_clock {written} -> {says}" in (read.stale or {})["firmware/folded"]
    table = tabulate([read])
    assert table.cells[0]["folded.lut"].flag
    assert table.cells[0]["ebops"].command == f"qformers export {run / 'build.yaml'} --run {run}"
    assert not table.cells[0]["accuracy"].flag  # the model is the same


@pytest.mark.parametrize("name", ["plan.json", "layers.json"])
def test_a_file_of_a_project_that_was_edited_is_stale(name: str, tmp_path: Path) -> None:
    run = folded(tmp_path, "fold", 0.699, 30_000, together=1)
    project = run / "firmware" / "folded"
    manifest = json.loads((project / "manifest.json").read_text())
    put(project / "manifest.json", {**manifest, "written": hashes(project, [name])})
    assert "firmware/folded" not in (read_run(run).stale or {})
    put(project / name, {**json.loads((project / name).read_text()), "latency_cycles": 7})
    read, table = read_run(run), compare([run])
    wanted = f"{project / name}: is not the file that was written there (damaged or exchanged): export it again"
    assert (read.stale or {})["firmware/folded"] == wanted
    (shown,) = table.kernels
    assert shown.title.endswith(" STALE")
    (project / name).unlink()
    assert (read_run(run).stale or {})["firmware/folded"] == f"{project / name}: is missing: export it again"


def test_kernels_and_stores_stand_in_every_form(compared: Compared, tmp_path: Path) -> None:
    compared.save(tmp_path / "out")
    (first, second) = compared.kernels
    assert first.title == "fold1: 1 of 16 points per clock, II 16 cycles = 80 ns, latency 56 cycles = 280 ns"
    assert first.heads() == [
        "kernel", "layers", "beats", "stages", "path [ns]", "LUT (alkaid)", "registers [bit]", "streamed [bit]",
        "filled [bit]", "running [bit]", "rom [bit]",
    ]  # fmt: skip
    assert first.rows() == [
        ["k0", "embed0 … pool_count (4)", "16", "9", "4.31", "2,250", "1,200", "640", "2,048", "12", "0"],
        ["k1", "pool, logits", "1", "4", "3.90", "6,750", "310", "0", "0", "0", "96"],
        ["all", "", "", "13", "4.31", "9,000", "1,510", "640", "2,048", "12", "96"],
    ]
    page, text = ((tmp_path / "out" / name).read_text() for name in ("report.html", "comparison.md"))
    for title in (first.title, second.title):
        assert f"<h3>{title}</h3>" in page
        assert f"## Kernels and stores, {title}" in text
    assert (
        '<td title="embed0, b0_attn_q, b0_attn_k, pool_count">embed0 … pool_count (4)</td><td class="number">16</td>'
        in page
    )
    assert '<a href="#kernels">Kernels and stores</a>' in page
    assert "| k0 | embed0 … pool_count (4) | 16 | 9 | 4.31 | 2,250 | 1,200 | 640 | 2,048 | 12 | 0 |" in text
    tree = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [kernel["stores"].get("filled_bits") for kernel in tree["kernels"][0]["kernels"]] == [2048, None]
    said = "".join(str(piece) for piece in compared.pieces())
    assert "Kernels and stores, fold4: 4 of 16 points per clock" in said


def test_a_synthesis_of_kernels_stands_beside_the_estimates(runs: list[Path], tmp_path: Path) -> None:
    report = load_report(runs[2] / "reports/yosys.json")
    parts = {
        "k0": {"lut": 2400, "ff": 900, "dsp": 12},
        "k1": {"lut": 6000, "ff": 300},
        "stores": {"ff": 2800, "lutram": 80},
    }
    replace(report, detail={**report.detail, "kernels": parts}).save(runs[2])
    plan = json.loads((runs[2] / "firmware/folded/plan.json").read_text())
    plan["kernels"][0]["dsp_estimate"] = 12
    put(runs[2] / "firmware/folded/plan.json", plan)
    compared = compare(runs[2:])
    first, second = compared.kernels
    added = ["LUT (yosys)", "FF (yosys)", "DSP (yosys)", "LUTRAM (yosys)"]
    assert first.heads()[5:8] == ["LUT (alkaid)", "DSP (alkaid)", "registers [bit]"]
    assert first.heads()[-4:] == added
    assert [row[0] for row in first.rows()] == ["k0", "k1", "stores", "all"]
    assert [row[-4:] for row in first.rows()] == [
        ["2,400", "900", "12", "0"], ["6,000", "300", "0", "0"], ["0", "2,800", "0", "80"],
        ["8,400", "4,000", "12", "80"],
    ]  # fmt: skip
    assert [row[6] for row in first.rows()] == ["12", "0", "", "12"]
    assert all(len(row) == len(first.heads()) for row in first.rows())
    assert not set(added) & set(second.heads())
    compared.save(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<tr><th scope="row">stores</th>' in page
    assert '<tr class="total"><th scope="row">all</th>' in page
    tree = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert tree["kernels"][0]["synthesised"]["yosys"]["k0"]["dsp"] == 12
    stale = replace(report, detail={**report.detail, "kernels": parts, "build_hash": "0" * 12})
    stale.save(runs[2])
    assert compare(runs[2:]).kernels[0].synthesised == {}


def test_a_page_without_folded_firmware_has_no_kernels(tmp_path: Path) -> None:
    result = compare([complete(tmp_path, "plain", 0.684, 90_000)])
    result.save(tmp_path / "out")
    assert "Kernels and stores" not in (tmp_path / "out" / "report.html").read_text()


def test_a_source_of_other_hardware_says_how_to_get_it(compared: Compared, runs: list[Path]) -> None:
    cells = compared.table.cells
    assert cells[0]["folded.lut"].command == f"qformers rtl {runs[0] / 'build.yaml'} --run {runs[0]} --backend folded"
    assert cells[2]["alkaid.lut"].command == f"qformers rtl {runs[2] / 'build.yaml'} --run {runs[2]} --backend alkaid"
    assert cells[2]["verilator.ii_cycles"].command == f"qformers rtl {runs[2] / 'build.yaml'} --run {runs[2]}"
    alone = tabulate(read_runs(runs[2:]))
    assert not [column.key for column in alone.columns if column.source == "alkaid"]  # nobody has to run it


def test_layers_of_folded_firmware_have_ebops(compared: Compared, runs: list[Path]) -> None:
    diff = compare(runs[2:]).diff
    assert diff is not None
    assert diff.total.costs["EBOPs"] == (9_000.0, 30_000.0)
    assert not [reason for reason in diff.missing if "cost per layer" in reason]


def test_the_summary_has_kernels_and_ebops_of_the_project(tmp_path: Path) -> None:
    run = folded(tmp_path, "fold4", 0.699, 30_000, 4)
    assert _ebops(run, "folded", {"qat": {"ebops": 12, "settings": {"firmware": {}}}}) == ["EBOPs      30,007"]
    assert _ebops(run, "vitis", {"qat": {"ebops": 12, "settings": {"firmware": {"backend": "folded"}}}}) == []
    assert _ebops(run, "vitis", {"qat": {"ebops": 12, "settings": {}}}) == ["EBOPs      12"]
    assert _kernels(run) == [
        "folded     4 of 16 points per clock, II = 4",
        "  kernel 0: embed0 … pool_count (4): beats 4, stages 9, 7,500 LUT, 1,200 FF (estimates); bits in memories: "
        "640 streamed, 2,048 filled, 12 running",
        "  kernel 1: pool, logits: beats 1, stages 4, 22,500 LUT, 310 FF (estimates); bits in memories: 96 rom",
    ]
    assert [line.split(",")[0] for line in _costs(run, "folded")] == ["estimate   30", "synthesis  33"]
    put(run / "firmware" / "folded" / "plan.json", {"points": 16})
    with pytest.raises(HlsError, match=r"plan.json cannot be compared: 'points_per_clock': Field required"):
        _kernels(run)
