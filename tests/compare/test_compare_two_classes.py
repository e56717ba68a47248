"""Background rejections of two-class builds in the comparison: with errors, as limits, only where there are some."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from support.compare_runs import bare, float_only, put, reported, trained, two_classes

from hls.compare.draw.page import plot_data, write_page
from hls.compare.read.run import read_runs
from hls.compare.table.cells import OTHER_TASK, Table
from hls.compare.table.columns import tabulate
from hls.compare.table.files import to_json, write_csv, write_markdown
from hls.compare.table.points import points
from hls.compare.table.scores import REJECTIONS
from qformers.tasks.metrics.jets import LIMIT

KEYS = [f"{key}_{signal}{end}" for signal in ("top", "qcd") for key in ("rejection", "rejection_30")
        for end in ("", "_float")]  # fmt: skip


def table_of(*runs: Path) -> Table:
    return tabulate(read_runs(runs))


def text(table: Table, key: str, row: int = 0) -> str:
    column = next(column for column in table.columns if column.key == key)
    return table.cells[row][key].text(column)


def test_both_rejections_stand_in_a_group_of_their_own(tmp_path: Path) -> None:
    table = table_of(two_classes(trained(tmp_path, "top_a")))
    assert list(table.groups)[:2] == ["Build", REJECTIONS]
    columns = table.groups[REJECTIONS]
    assert [column.key for column in columns] == KEYS
    heads = ["rejection top @ 50%", "float rejection top @ 50%", "rejection top @ 30%", "float rejection top @ 30%"]
    assert [column.head for column in columns[:4]] == heads
    assert text(table, "rejection_top") == "40.0 ± 4.0"
    assert text(table, "rejection_top_float") == "41.0 ± 4.1"
    assert text(table, "rejection_30_qcd") == "164.0 ± 16.4"
    assert text(table, "auc") == "0.9000 ± 0.0020"
    assert [column.key for column in table.metrics] == ["accuracy", "auc", *(key for key in KEYS if "float" not in key)]
    (note,) = [note for note in table.notes if note.startswith(REJECTIONS)]
    assert note.endswith(f"> is {LIMIT}.")


def test_small_rejections_keep_two_digits(tmp_path: Path) -> None:
    run = two_classes(trained(tmp_path, "top_a"))
    metrics = json.loads((run / "qat" / "metrics.json").read_text())
    metrics["rejection"]["top"] |= {"value": 2.204, "error": 0.046}
    put(run / "qat" / "metrics.json", metrics)
    assert text(table_of(run), "rejection_top") == "2.20 ± 0.05"


def test_builds_without_them_have_no_such_columns(tmp_path: Path) -> None:
    run = trained(tmp_path, "part_a")
    metrics = json.loads((run / "qat" / "metrics.json").read_text())
    five = {name: {"efficiency": 0.5, "value": 9.0, "error": 1.0, "limit": False} for name in "gqwzt"}
    put(run / "qat" / "metrics.json", {**metrics, "rejection": five})  # as every training of jets has them
    table = table_of(run)
    assert REJECTIONS not in table.groups
    assert not [note for note in table.notes if note.startswith(REJECTIONS)]


def test_a_limit_is_shown_as_one_and_no_plot_takes_it_for_a_value(tmp_path: Path) -> None:
    runs = [two_classes(trained(tmp_path, "top_a"), limit=True), two_classes(trained(tmp_path, "top_b"))]
    for run in runs:
        reported(run)
    table = table_of(*runs)
    assert text(table, "rejection_30_top") == "> 34.6"
    assert LIMIT in table.cells[0]["rejection_30_top"].note
    assert {point.build for point in points(table, "lut", "rejection_30_top")} == {"top_b"}
    assert {point.build for point in points(table, "lut", "rejection_top")} == {"top_a", "top_b"}
    drawn = {build["name"]: build for build in plot_data(table, ())["builds"]}
    assert drawn["top_a"]["rejection_30_top"] is None
    assert drawn["top_b"]["rejection_30_top"]["value"] == 160.0

    write_csv(table, tmp_path / "c.csv")
    first, second = csv.DictReader((tmp_path / "c.csv").read_text().splitlines())
    assert (first["rejection_30_top"], first["rejection_30_top_limit"], first["rejection_30_top_error"]) == (
        "34.6", "True", "",
    )  # fmt: skip
    assert (second["rejection_30_top"], second["rejection_30_top_limit"]) == ("160.0", "")
    assert "rejection_top_limit" not in first
    cells = to_json(table, None)["builds"][0]["cells"]
    assert cells["rejection_30_top"]["limit"] is True
    assert "limit" not in cells["rejection_top"]
    write_markdown(table, None, tmp_path / "c.md")
    assert "| &gt; 34.6 |" in (tmp_path / "c.md").read_text()
    write_page(table, None, (), (), tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text()
    assert "&gt; 34.6" in page
    assert "rejection top @ 30%" in page


def test_other_builds_beside_them_say_why_they_have_none(tmp_path: Path) -> None:
    runs = [
        two_classes(trained(tmp_path, "top_a")),
        two_classes(trained(tmp_path, "qg_a"), ("quark", "gluon")),
        trained(tmp_path, "part_a"),
        bare(tmp_path, "part_b"),
        two_classes(float_only(tmp_path, "top_f")),
    ]
    table = table_of(*runs)
    assert [text(table, "rejection_top", row) for row in range(1, 5)] == [
        OTHER_TASK, OTHER_TASK, f"not run: qformers train {runs[3] / 'build.yaml'} --run {runs[3]}", "float only",
    ]  # fmt: skip
    assert text(table, "rejection_quark", 1) == "40.0 ± 4.0"
    assert text(table, "rejection_top_float", 4) == "41.0 ± 4.1"


def test_a_class_may_be_called_anything(tmp_path: Path) -> None:
    run = two_classes(trained(tmp_path, "top_a"), ("=a|b", "<i>"))
    table = table_of(run)
    write_markdown(table, None, tmp_path / "c.md")
    assert r"rejection =a\|b @ 50%" in (tmp_path / "c.md").read_text()
    assert "<i>" not in (tmp_path / "c.md").read_text()
