"""Runs of builds without a section `quant`: finished with the float model, and nothing is to be run for more."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from support.compare_runs import bare, complete, float_only, trained, two_classes

from hls.compare.read.run import read_run, read_runs
from hls.compare.table.cells import FLOAT_ONLY, Table
from hls.compare.table.columns import SIMULATED, tabulate
from hls.compare.table.layers import read_layers
from hls.stages.compare import compare

QUANTISED = ("accuracy", "auc", "ebops", "ii_cycles", "ii_ns", "zeros", "csim", "rtl")


def table_of(*runs: Path) -> Table:
    return tabulate(read_runs(runs))


def text(table: Table, key: str, row: int = 0) -> str:
    column = next(column for column in table.columns if column.key == key)
    return table.cells[row][key].text(column)


def test_a_float_only_run_is_finished(tmp_path: Path) -> None:
    run = float_only(tmp_path, "part_f")
    table = table_of(run)
    assert {text(table, key) for key in QUANTISED} == {FLOAT_ONLY}
    assert text(table, "accuracy_float") == "71.00 ± 0.40"
    assert text(table, "auc_float") == "0.9100 ± 0.0020"
    assert (text(table, "hash"), text(table, "date")) == (read_run(run).build.hash, "2026-11-22")
    assert (table.missing(), table.stale()) == ([], [])
    assert [name for name in table.groups if "[" in name] == []  # no firmware, and no source of its numbers
    (note,) = [note for note in table.notes if note.startswith(FLOAT_ONLY)]
    assert "no section 'quant'" in note
    assert "firmware_configs/part_demo.yaml" in note
    assert read_layers(read_run(run)).missing == ("part_f: float only: no layer has a bit width or a cost",)


def test_before_its_training_only_that_is_to_be_run(tmp_path: Path) -> None:
    run = bare(tmp_path, "part_f")
    text_ = (run / "build.yaml").read_text()
    (run / "build.yaml").write_text(text_.replace("quant: {}\n", "").replace("train: {qat: {epochs: 25}}\n", ""))
    table, command = table_of(run), f"not run: qformers train {run / 'build.yaml'} --run {run}"
    assert text(table, "accuracy_float") == text(table, "date") == command
    assert text(table, "accuracy") == FLOAT_ONLY
    assert table.missing() == [("part_f", command)]


def test_beside_a_build_with_firmware(tmp_path: Path) -> None:
    runs = [complete(tmp_path, "part_a", 0.68, 90_000), float_only(tmp_path, "part_f")]
    found = compare(runs, reference=False)
    assert text(found.table, "alkaid.lut", 1) == text(found.table, "vivado-route.ff", 1) == FLOAT_ONLY
    assert SIMULATED in found.table.groups
    assert [name for name, _ in found.table.missing() if name == "part_f"] == []
    found.save(tmp_path / "out")
    assert "part_f: not run" not in (tmp_path / "out" / "report.html").read_text()
    shown = io.StringIO()
    found.show(Console(file=shown, width=200))
    assert "part_f: float only: no layer has a bit width or a cost" in shown.getvalue()


def test_two_float_only_runs_make_all_files(tmp_path: Path) -> None:
    runs = [two_classes(float_only(tmp_path, name)) for name in ("top_a", "top_b")]
    found = compare(runs, ["lut<=20%"], reference=False)
    found.save(tmp_path / "out")
    assert all(path.is_file() for path in found.files(tmp_path / "out"))


def test_a_build_with_formats_and_no_quantised_training_is_quantised(tmp_path: Path) -> None:
    run = float_only(tmp_path, "part_q")
    (run / "build.yaml").write_text((run / "build.yaml").read_text() + "quant: {}\n")
    table = table_of(run)
    model = run / "float" / "model.keras"
    wanted = f"not run: qformers quantise {model} {run / 'build.yaml'} --run {run}"
    assert text(table, "accuracy") == text(table, "ebops") == text(table, "date") == wanted
    assert text(table_of(trained(tmp_path, "part_a")), "date") == "2026-11-22"
