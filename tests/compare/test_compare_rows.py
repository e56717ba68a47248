"""The comparison's table: one row per run, nothing guessed, nothing out of date unmarked."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.compare_runs import bare, complete, put, reported, simulated, trained
from support.paths import DATA

from hls.compare.draw.page import write_page
from hls.compare.read.run import Run, read_run, read_runs
from hls.compare.table.cells import Cell, Column, Table
from hls.compare.table.columns import COLUMNS, ORIGIN, tabulate
from hls.compare.table.files import to_json, write_csv, write_markdown
from hls.errors import HlsError
from hls.reports.report import Report
from qformers.builds.build import load
from qformers.data.fingerprint import data_files
from qformers.data.jets.generators import VERSIONS
from qformers.files import sha256
from qformers.records import write_record


def table_of(*runs: Path) -> Table:
    return tabulate(read_runs(runs))


def text(table: Table, key: str, row: int = 0) -> str:
    column = next(column for column in table.columns if column.key == key)
    return table.cells[row][key].text(column)


def test_a_row_has_physics_resources_and_proof(tmp_path: Path) -> None:
    table = table_of(complete(tmp_path, "part_a", 0.684, 90_000, pairs="onchip"))
    assert text(table, "model") == "part, pairs onchip, D 16, H 2, blocks 1"
    assert text(table, "accuracy") == "68.40 ± 0.40"
    assert text(table, "accuracy_float") == "69.40 ± 0.40"
    assert text(table, "auc") == "0.8840 ± 0.0020"
    assert text(table, "ebops") == "108,000"
    assert text(table, "zeros") == "11.5"  # 46 of 400
    assert text(table, "alkaid.lut") == "90,000 (5.2 %)"  # of 1,728,000 LUT of a VU13P
    assert text(table, "verilator.latency_ns") == "105.0"
    assert text(table, "csim") == "equal (53,425)"
    assert text(table, "rtl") == "equal (160,275)"
    assert (text(table, "hash"), text(table, "date")) == (read_run(tmp_path / "part_a").build.hash, "2026-11-22")


def test_stages_never_share_a_column(tmp_path: Path) -> None:
    table = table_of(complete(tmp_path, "part_a", 0.68, 90_000))
    groups = [name for name in table.groups if "[" in name]
    assert groups == ["alkaid [estimate]", "verilator [rtlsim]", "yosys [synthesis]", "vivado-route [route]"]
    assert text(table, "yosys.lut") == "94,500 (5.5 %)"
    assert text(table, "vivado-route.lut") == "93,600 (5.4 %)"


def test_one_source_at_two_stages_makes_two_groups(tmp_path: Path) -> None:
    runs = [trained(tmp_path, name) for name in ("part_a", "part_b")]
    for run, stage in zip(runs, ("synthesis", "route"), strict=True):
        Report("vivado", stage, resources={"lut": 10}).save(run)
    table = table_of(*runs)
    assert {"vivado [synthesis]", "vivado [route]"} <= set(table.groups)
    assert table.cells[0]["vivado-route.lut"].value is None
    assert table.cells[1]["vivado-route.lut"].value == 10


def test_what_was_not_run_says_so_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hls.compare.table.sources.shutil.which", lambda name: f"/usr/bin/{name}")
    run = bare(tmp_path, "part_a")
    table, build = table_of(run), f"{run}/build.yaml --run {run}"
    assert text(table, "accuracy") == f"not run: qformers train {build}"
    assert text(table, "ebops") == text(table, "auc_float") == text(table, "date") == text(table, "accuracy")
    assert text(table, "zeros") == f"not run: qformers sparsity {build}"
    assert text(table, "csim") == f"not run: qformers csim {build}"
    for key in ("alkaid.lut", "verilator.latency_cycles", "yosys.lut", "rtl"):
        assert text(table, key).startswith("not run: qformers "), key
    assert len(table.missing()) == len({what for _, what in table.missing()})


def test_what_a_source_does_not_count_is_not_zero(tmp_path: Path) -> None:
    runs = [trained(tmp_path, name) for name in ("part_a", "part_b")]
    Report("alkaid", "estimate", resources={"lut": 5}).save(runs[0])
    Report("alkaid", "estimate", resources={"lut": 5, "dsp": 0}).save(runs[1])
    table = table_of(*runs)
    assert text(table, "alkaid.dsp", 0) == "not stated by alkaid"
    assert text(table, "alkaid.dsp", 1) == "0 (0 %)"


def test_firmware_that_differs_is_said(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    simulated(run, equal=False, rtl=False)
    assert text(table_of(run), "csim") == "DIFFERS (3 of 53,425)"


def test_a_simulation_of_another_build_is_stale(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    simulated(run, build_hash="abcdefabcdef")
    table = table_of(run)
    assert text(table, "csim") == "equal (53,425) STALE"
    assert text(table, "verilator.latency_cycles") == "21 STALE"
    assert ("part_a", "csim.json") in [entry[:2] for entry in table.stale()]
    assert "is of build abcdefabcdef" in table.stale()[0][2]


def test_a_simulation_of_another_model_is_stale(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    simulated(run)
    put(run / "firmware" / "vitis" / "manifest.json", {"backend": "vitis", "model_file_sha256": "0" * 64})
    stale = read_run(run).stale
    assert stale is not None
    assert set(stale) == {"firmware/vitis", "csim.json"}
    assert "another qat/model.keras" in stale["csim.json"]


def test_csim_of_several_backends_stands_in_one_cell(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    simulated(run)
    facts = json.loads((run / "csim.json").read_text())
    put(run / "csim_alkaid.json", {**facts, "backend": "alkaid"})
    column = next(column for column in table_of(run).columns if column.key == "csim")
    cell = table_of(run).cells[0]["csim"]
    values = 2 * (facts["jets"]["values"] + facts["adversarial"]["values"])
    assert (column.key, cell.value, cell.equal) == ("csim", f"equal ({values:,})", True)
    assert cell.note.startswith("vitis, alkaid: 0 of ")
    put(run / "csim_alkaid.json", {**facts, "backend": "alkaid", "equal": False, "build_hash": "abcdefabcdef"})
    cell = table_of(run).cells[0]["csim"]
    assert (cell.equal, "is of build abcdefabcdef" in cell.flag) == (False, True)


def test_another_clock_makes_projects_simulations_and_reports_stale(tmp_path: Path) -> None:
    """A training is the same with another clock, and so is its hash in what followed: the section is compared."""
    run = trained(tmp_path, "part_a")
    simulated(run)
    section = load(run / "build.yaml").firmware.model_dump(mode="json")
    other = {**section, "clock_ns": 9.0}
    for given, stale in ((section, set()), (other, {"firmware/vitis", "csim.json", "rtl.json", "reports/yosys.json"})):
        put(run / "firmware" / "vitis" / "manifest.json", {"backend": "vitis", "firmware": given})
        for name in ("csim.json", "rtl.json"):
            put(run / name, {**json.loads((run / name).read_text()), "firmware": given})
        Report("yosys", "synthesis", resources={"lut": 9}, detail={"firmware": given}).save(run)
        found = read_run(run).stale or {}
        assert set(found) == stale
        assert all(f"firmware.clock_ns 9.0 -> {section['clock_ns']}" in why for why in found.values())


def test_numbers_of_another_run_are_stale(tmp_path: Path) -> None:
    run, other = trained(tmp_path, "part_a"), trained(tmp_path, "part_b", 0.99)
    path = run / "qat" / "manifest.json"
    names = ("model.keras", "metrics.json")
    put(path, {**json.loads(path.read_text()), "written": {name: sha256(run / "qat" / name) for name in names}})
    assert read_run(run).stale == {}
    (run / "qat" / "metrics.json").write_bytes((other / "qat" / "metrics.json").read_bytes())
    assert text(table_of(run), "accuracy").endswith("STALE")
    assert "metrics.json: is not the file that was written there" in table_of(run).stale()[0][2]


@pytest.mark.parametrize("name", ["csim.json", "rtl.json", "qat/manifest.json", "qat/metrics.json"])
def test_a_number_that_was_edited_is_an_error(name: str, tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    simulated(run)
    facts = json.loads((run / name).read_text())
    write_record(run / name, facts)
    assert read_run(run).stale == {}
    put(run / name, {**json.loads((run / name).read_text()), "edited": 0.99})
    with pytest.raises(HlsError, match=rf"{name}: was changed after it was written.*; make it again"):
        read_run(run)


def test_a_score_that_could_not_be_computed_says_why(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    path = run / "qat" / "metrics.json"
    lacking = {"value": None, "error": None, "reason": "every class needs at least 2 jets"}
    put(path, {**json.loads(path.read_text()), "auc": lacking})
    assert text(table_of(run), "auc") == "n/a: every class needs at least 2 jets"
    assert text(table_of(run), "accuracy").startswith("70")


def test_a_report_of_another_build_is_stale(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    Report("yosys", "synthesis", resources={"lut": 9}, detail={"build_hash": "123456123456"}).save(run)
    assert text(table_of(run), "yosys.lut").endswith("STALE")


def test_a_training_with_other_settings_is_stale(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    path = run / "build.yaml"
    path.write_text(path.read_text().replace("epochs: 25", "epochs: 30"))
    table = table_of(run)
    assert text(table, "accuracy").endswith("STALE")
    assert "train.qat.epochs 25 -> 30" in table.stale()[0][2]


def test_a_key_that_the_schema_gained_is_not_stale(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    path = run / "qat" / "manifest.json"
    facts = json.loads(path.read_text())
    del facts["settings"]["model"]["scale_fc"]
    put(path, {**facts, "build_hash": "of an older schema"})
    assert read_run(run).stale == {}


def test_rtl_latency_that_the_backend_does_not_report_is_noted(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    simulated(run)
    facts = json.loads((run / "rtl.json").read_text())
    put(run / "rtl.json", {**facts, "latency_cycles_reported": 20})
    assert "latency 21 cycles by verilator, the backend reports 20" in table_of(run).cells[0]["rtl"].note


def test_csv_has_a_row_per_build_and_errors_of_their_own(tmp_path: Path) -> None:
    table = table_of(complete(tmp_path, "part_a", 0.68, 90_000), bare(tmp_path, "part_b"))
    write_csv(table, tmp_path / "out" / "c.csv")
    with (tmp_path / "out" / "c.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["build"] for row in rows] == ["part_a", "part_b"]
    assert float(rows[0]["accuracy"]) == pytest.approx(68)
    assert float(rows[0]["accuracy_error"]) == pytest.approx(0.4)
    assert float(rows[0]["alkaid.lut_percent"]) == pytest.approx(100 * 90_000 / 1_728_000)
    assert rows[1]["csim"].startswith("not run: ")


def test_csv_cells_are_no_formulas(tmp_path: Path) -> None:
    table = table_of(bare(tmp_path, "part_a"))
    table = replace(table, runs=(replace(table.runs[0], label="=1+1"),))
    cells = {**table.cells[0], "build": replace(table.cells[0]["build"], value="=cmd()")}
    write_csv(replace(table, cells=(cells,)), tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text().splitlines()[1].startswith("'=cmd()")


def test_markdown_and_json_carry_notes_and_markup_is_escaped(tmp_path: Path) -> None:
    table = table_of(complete(tmp_path, "part_a", 0.68, 90_000))
    cells = {**table.cells[0], "inputs": replace(table.cells[0]["inputs"], value="<b>|x")}
    write_markdown(replace(table, cells=(cells,)), None, tmp_path / "c.md")
    page = (tmp_path / "c.md").read_text()
    assert "&lt;b&gt;\\|x" in page
    assert "How far from a routed design: estimated / routed LUT: mean 0.953, 0.883-1.032." in page
    tree = json.loads(json.dumps(to_json(table, None), allow_nan=False))
    assert tree["builds"][0]["cells"]["accuracy"]["error"] == pytest.approx(0.4)
    assert any("mean 0.953" in note for note in tree["notes"])


def test_wrong_runs_are_refused(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    with pytest.raises(
        HlsError, match=r"nowhere is no run folder \(it has no build.yaml\); make one with qformers train"
    ):
        read_run(tmp_path / "nowhere")
    with pytest.raises(HlsError, match=r"each run is compared once. Received twice: .*part_a"):
        read_runs([run, run])
    put(run / "csim.json", {"build_hash": "x"})
    with pytest.raises(HlsError, match=r"csim.json cannot be compared: 'backend': Field required.*make it again"):
        read_run(run)
    (run / "csim.json").write_text("{")
    with pytest.raises(HlsError, match=r"csim.json cannot be compared: Expecting property name"):
        read_run(run)


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [trained(tmp_path / folder, "part_a") for folder in ("first", "second")]
    assert [run.name for run in read_runs(runs)] == [str(run) for run in runs]


def test_a_device_can_be_named(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    reported(run, 17_280, part="xcup")  # a family: percentages are of the build's device then
    table = table_of(run)
    assert text(table, "yosys.lut") == "18,144 (1.1 %)"
    assert "VU13P" in table.cells[0]["yosys.lut"].note
    small = tabulate(read_runs([run]), "PYNQ-Z2")
    assert text(small, "yosys.lut") == "18,144 (34.1 %)"


def test_a_column_is_added_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def epochs(run: Run) -> Cell:
        if run.manifest is None:
            return Cell(command="train it")
        return Cell(run.build.train.qat.epochs, note="of the quantised training")

    column = Column("epochs", ORIGIN, "epochs", epochs, unit="passes")
    monkeypatch.setattr("hls.compare.table.columns.COLUMNS", (*COLUMNS, column))
    table = table_of(trained(tmp_path, "part_a"), bare(tmp_path, "part_b"))
    assert [text(table, "epochs", row) for row in (0, 1)] == ["25", "not run: train it"]
    assert ("part_b", "not run: train it") in table.missing()
    write_csv(table, tmp_path / "t.csv")
    write_markdown(table, None, tmp_path / "t.md")
    write_page(table, None, (), [], tmp_path / "t.html")
    with (tmp_path / "t.csv").open(newline="") as handle:
        assert [row["epochs"] for row in csv.DictReader(handle)] == ["25", "not run: train it"]
    assert "epochs [passes]" in (tmp_path / "t.md").read_text()
    assert 'title="of the quantised training" data-value="25"' in (tmp_path / "t.html").read_text()
    assert to_json(table, None)["builds"][0]["cells"]["epochs"] == {"value": 25, "note": "of the quantised training"}


def with_jets(root: Path, version: int) -> tuple[Path, Path]:
    """A run on jets that a version of the generator made, and their folder."""
    jets, run = root / "jets", trained(root, "part_a")
    shutil.copytree(DATA / "lhc5", jets)
    made_by = json.loads((jets / "manifest.json").read_text())
    put(jets / "manifest.json", {**made_by, "format": version})
    files = [f"data.{split}=[{jets}/{split}/*.h5]" for split in ("train", "val", "test")]
    build = load(run / "build.yaml", files)
    (run / "build.yaml").write_text(build.to_yaml())
    for phase in ("float", "qat"):
        facts = json.loads((run / phase / "manifest.json").read_text())
        tree = json.loads(build.model_dump_json())
        facts["settings"] = {**facts["settings"], "data": tree["data"], "data_files": data_files(build.data)}
        put(run / phase / "manifest.json", facts)
    return run, jets


def test_jets_of_a_former_generator_are_named_as_such(tmp_path: Path) -> None:
    run, _ = with_jets(tmp_path, 1)
    (note,) = (note for note in table_of(run).notes if note.startswith("part_a"))
    assert note.startswith(
        "part_a: its jets are lhc5, version 1 of its generator (now 2): its scores are not comparable"
    )


def test_jets_of_today_need_no_note_and_exchanged_ones_do(tmp_path: Path) -> None:
    run, jets = with_jets(tmp_path, VERSIONS["lhc5"])
    assert not any(note.startswith("part_a") for note in table_of(run).notes)
    shutil.copy(jets / "val" / "jets_900.h5", jets / "test" / "jets_950.h5")
    (note,) = (note for note in table_of(run).notes if note.startswith("part_a"))
    assert "was trained on other events than those that lie there now (data.test: the files have another" in note
