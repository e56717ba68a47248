"""The notebook of the documentation, cell by cell."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from qformers.results import Result

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
SECONDS_PER_CELL = 1200


def read() -> Any:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra notebook")
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in read().cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


class Words(Result):
    """A result of one line."""

    def pieces(self) -> Iterator[str]:
        yield "all of it"

    def save(self) -> Path:
        raise NotImplementedError


def test_a_notebook_shows_a_result_once(monkeypatch: pytest.MonkeyPatch) -> None:
    displayed: list[Any] = []
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *words: displayed.append(words))
    assert "all of it" in Words()._repr_html_()
    assert displayed == []


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs the extra notebook")
    pytest.importorskip("ipykernel", reason="needs the extra notebook")
    for name in ("firmware_configs", "tests/data/jets"):
        shutil.copytree(ROOT / name, tmp_path / name)
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # commands that were run in this process set it
    notebook = read()
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert printed.count("equal: True") == 2
    assert "2080 jets" in printed
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3
    shown = "".join(output.data["text/html"] for output in outputs if "text/html" in output.get("data", {}))
    for title in ("tutorial: trained", "Firmware against the float model", "C simulation"):  # train, simulate, compare
        assert shown.count(title) >= 1
    assert shown.count("Firmware against the float model") == 1
    run = tmp_path / "runs" / "tutorial"
    for name in ("float/model.keras", "qat/model.keras", "csim.json", "reports/alkaid.json"):
        assert (run / name).is_file()
