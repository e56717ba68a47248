"""Runs of point tasks in the comparison: their score instead of an accuracy, beside each other and beside jets."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from support.compare_runs import complete, put, reported, simulated

from hls.compare.read.run import read_runs
from hls.compare.table.columns import tabulate
from hls.compare.table.points import points
from hls.errors import HlsError
from hls.stages.compare import compare
from hls.stages.summary import summary
from qformers.builds.build import load

YAML = """\
spec: 1
name: {name}
data: {{dataset: trackml, train: [a], val: [a], test: [a], features: place, num_particles: 32,
  points: {{task: {task}}}}}
model: {{architecture: hept, coords: 6, width: 8, heads: 2, layers: 2, block_size: 16, hashes: 2, head: {head}}}
quant: {{}}
firmware: {{backend: alkaid, clock_ns: 5.0}}
"""


def pointed(root: Path, name: str, task: str = "tracking", value: float = 0.412, lut: int = 50_000) -> Path:
    """A run of a point task with everything."""
    run = root / name
    run.mkdir(parents=True)
    head = "embedding" if task == "tracking" else "logits"
    (run / "build.yaml").write_text(YAML.format(name=name, task=task, head=head))
    score, unit = {"tracking": ("ap_0.9", "windows"), "pileup": ("auprc", "points")}[task]
    tree = json.loads(load(run / "build.yaml").model_dump_json())
    for phase, more in (("float", 0.05), ("qat", 0.0)):
        test = {unit: 1200, score: {"value": value + more, "error": 0.010}}
        put(run / phase / "metrics.json", {**test, "tracks": {}})
        facts = {"build_hash": load(run / "build.yaml").hash, "date": "2026-11-22", "ebops": 9000, "score": score}
        put(run / phase / "manifest.json", {**facts, "test": test, "settings": tree})
    simulated(run)
    reported(run, lut)
    return run


def test_two_runs_of_points_have_their_score_and_no_accuracy(tmp_path: Path) -> None:
    runs = [pointed(tmp_path, "hept_a"), pointed(tmp_path, "hept_b", value=0.3, lut=20_000)]
    console = Console(width=250, record=True, quiet=False, file=io.StringIO())
    result = compare(runs)
    result.show(console)
    result.save(tmp_path / "out")
    told = console.export_text()
    assert "AP@0.9" in told
    assert "0.4120 ± 0.0100" in told
    assert "0.4620 ± 0.0100" in told
    assert "accuracy" not in told
    assert "place + 6 coordinates" in told
    assert "hept, D 8, H 2, layers 2, S 16, hashes 2" in told
    header = (tmp_path / "out" / "comparison.csv").read_text().splitlines()[0].split(",")
    assert {"ap_0.9", "ap_0.9_error", "ap_0.9_float"} <= set(header)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h2>AP@0.9 against cost</h2>" in page
    assert '<option value="ap_0.9">AP@0.9</option>' in page
    assert "arXiv:2" not in page, "published results are of jets"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in result.files(tmp_path)}
    found = points(tabulate(read_runs(runs)), "lut", "ap_0.9")
    assert {(point.build, point.score) for point in found} == {("hept_a", 0.412), ("hept_b", 0.3)}


def test_beside_jets_each_run_has_its_own_score(tmp_path: Path) -> None:
    runs = [complete(tmp_path, "part_a", 0.684, 90_000), pointed(tmp_path, "hept_p", "pileup")]
    table = tabulate(read_runs(runs))
    assert table.cells[0]["auprc"].missing == table.cells[1]["accuracy"].missing == "another task"
    assert table.cells[1]["auprc"].value == 0.412
    assert table.cells[1]["auprc"].note == "test split, 1,200 points"
    assert not any(what == "another task" for _, what in table.missing())
    assert "builds of another task are left out" in " ".join(table.notes)
    assert {point.build for point in points(table, "lut")} == {"part_a"}
    compare(runs).save(tmp_path / "out")
    assert "arXiv:2" in (tmp_path / "out" / "report.html").read_text()


def test_metrics_without_a_score_are_refused(tmp_path: Path) -> None:
    run = pointed(tmp_path, "hept_a")
    put(run / "qat" / "metrics.json", {"windows": 3})
    with pytest.raises(HlsError, match=r"metrics\.json cannot be compared: .*'ap_0\.9' or 'auprc' is missing"):
        read_runs([run])


def test_the_summary_names_the_score(tmp_path: Path) -> None:
    run = pointed(tmp_path, "hept_a")
    facts = json.loads((run / "csim.json").read_text())
    (run / "rtl.json").unlink()
    put(run / "csim.json", {**facts, "what": "windows", "end": None, "splits": "test split", "project": "p"})
    text = str(summary(run))
    assert "hept_a: AP@0.9 on the 1,200 windows of the test split" in text
    assert "  quantised  0.4120 +- 0.0100" in text
    assert "C simulation == quantised model on 10,000 windows: 0 of 50,000 outputs differ" in text
