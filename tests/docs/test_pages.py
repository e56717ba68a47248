"""The pages of the documentation: those that commands write are current, every command and link in them exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "docs"))
import write_reference

from benchmarks import write_docs
from hls.cli import COMMANDS
from qformers.builds.build import load

PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = {"reference.md", "commands.md"}


@pytest.mark.parametrize("name", write_reference.PAGES)
def test_reference_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == write_reference.PAGES[name](), "python docs/write_reference.py"


def test_pages_of_figures_are_current() -> None:
    for path, text in write_docs.pages().items():
        assert path.read_text() == text, f"{path}: python benchmarks/write_docs.py"


def test_a_page_that_is_not_current_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(write_docs, "ROOT", tmp_path)
    monkeypatch.setattr(write_docs, "pages", lambda: {tmp_path / "docs" / "results.md": "new"})
    monkeypatch.setattr(sys, "argv", ["write_docs.py", "--check"])
    assert write_docs.main() == 1
    assert "docs/results.md is not current: python benchmarks/write_docs.py" in capsys.readouterr().err


def test_marks_that_are_missing_are_named() -> None:
    first, last = write_docs.MARKS
    assert write_docs.between_marks(f"a\n{first}\nold\n{last}\nb", "new\n") == f"a\n{first}\nnew\n{last}\nb"
    with pytest.raises(
        SystemExit, match=r"README.md must hold <!-- benchmarks/write_docs.py --> and <!-- end --> once"
    ):
        write_docs.between_marks("no marks", "new")


def test_comments_below_a_field_belong_to_it() -> None:
    comments = write_reference.comments_of(write_reference.sections.PruneConfig)
    assert comments["method"].startswith("which weights go: magnitude: small weights")
    assert comments["sparsity"].endswith("anything else is refused")


@pytest.mark.parametrize(
    ("title", "record"), write_reference.SECTIONS, ids=[title for title, _ in write_reference.SECTIONS]
)
def test_every_key_says_what_it_is(title: str, record: Any) -> None:
    said = write_reference.comments_of(record)
    assert [name for name in record.model_fields if not said.get(name)] == []


def commands() -> list[tuple[str, list[str]]]:
    """Every ``qformers ...`` line of the bash blocks, as (page, words)."""
    lines = []
    for page in PROSE:
        if page.name in WRITTEN:
            continue
        for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            words = [shlex.split(line, comments=True) for line in block.splitlines()]
            lines += [(page.name, line) for line in words if line[:1] == ["qformers"]]
    return lines


def test_commands_of_the_pages_can_be_read() -> None:
    given = commands()
    assert len(given) > 20
    for page, words in given:
        assert words[1] in COMMANDS, f"{page}: {shlex.join(words)}"
        command = COMMANDS[words[1]]
        if command.raw is None:
            command.parse(words[2:])  # wrong ones end with SystemExit
        for word in words:
            if word.startswith("firmware_configs/"):
                assert (ROOT / word).is_file(), f"{page}: {word}"


def test_settings_of_the_pages_fit_the_build() -> None:
    for _, words in commands():
        changes = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
        builds = [word for word in words if word.startswith("firmware_configs/")]
        for build in builds[:1]:
            load(ROOT / build, changes)


def test_commands_in_sentences_exist() -> None:
    for page in PROSE:
        for name in re.findall(r"`qformers ([a-z][a-z-]*)", page.read_text()):
            assert name in COMMANDS, f"{page.name}: qformers {name}"


def test_files_that_are_named_exist() -> None:
    for page in PROSE:
        text = page.read_text()
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for name in re.findall(r"`((?:qformers|hls|tests|benchmarks|firmware_configs|docs)/[\w/.]+)`", text):
            if "/x" not in name and "libero" not in name:
                assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    pytest.importorskip("material", reason="needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference" / "index.html").read_text()
    assert "ebops_target" in page
    outside = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', page)
    assert outside == []  # nothing is fetched from elsewhere


def test_the_example_of_a_point_model_is_exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import numpy as np

    from hls.backends import open_project
    from hls.proof.agree import agree

    page = (ROOT / "docs/architecture.md").read_text()
    code = next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Largest" in code)
    (tmp_path / "firmware_configs").symlink_to(ROOT / "firmware_configs")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  a page of ours
    inputs = {"points": np.random.default_rng(1).normal(0.0, 3.0, (300, 6, 3)).astype(np.float32)}
    found = agree(open_project(tmp_path / "runs/of_points"), names["model"], inputs)
    assert found.equal, str(found)


def test_the_examples_of_writers_give_files_that_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from qformers.config.sections import DataConfig
    from qformers.data import open_split
    from qformers.data.points.acts import ActsOptions, read_event
    from qformers.data.points.line_segments import read_segments

    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL)
    assert len(blocks) == 6
    for code in blocks:
        exec(code, {})  # noqa: S102  a page of ours
    read = {
        "top.h5": ("top_landscape", ("top", "qcd"), [0, 1], [2, 1]),
        "QG_jets.npz": ("quark_gluon", ("quark", "gluon"), [0, 1], [2, 1]),
        "jets.h5": ("hls4ml_lhc", ("g", "q", "w", "z", "t"), [4, 1], [2, 2]),
        "jets.root": ("jetclass", ("top", "QCD"), [0, 1], [2, 1]),
    }
    for name, (dataset, classes, labels, counts) in read.items():
        section = {"dataset": dataset, "train": (name,), "val": (), "test": (), "num_particles": 8}
        section |= {"features": "pt_eta_phi" if dataset == "hls4ml_lhc" else "kin"}
        section |= {"labels": ["top", "QCD"]} if dataset == "jetclass" else {}
        events: Any = open_split(DataConfig.model_validate(section), "train").load()
        assert (events.class_names, events.labels.tolist()) == (classes, labels), name
        assert events.mask.sum(axis=1).tolist() == counts, name
    hits = read_event(tmp_path / "odd" / "event000000007-hits.csv", ActsOptions("odd"))
    assert (hits.layers.tolist(), hits.labels.tolist()) == ([7, 8], [1, 1])
    assert hits.pt.tolist() == pytest.approx([1.204, 1.204], abs=1e-3)
    segments = read_segments(tmp_path / "graph_3.npz")
    assert segments.particle_id.tolist() == [12, -1]
    assert {path.name for path in tmp_path.iterdir()} == {*read, "odd", "graph_3.npz"}  # all of them were looked at
