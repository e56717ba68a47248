"""Tables and pictures of a comparison say what they show: whose firmware, how many events, in which steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from hls.proof import show
from hls.proof.fidelity import Fidelity, LayerFidelity

NONE = LayerFidelity("same", "same", "fixed<8,4,TRN,WRAP>", 9, 0.0, 0.0, 0.125, 0.0, 0.0, 0.0, 1.0)
SOME = LayerFidelity("other", "other", "fixed<20,4,TRN,WRAP>", 9, 5.0, 0.05, 0.125, 40.0, 0.4, 0.01, 0.99)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The axes of each picture, which is written all the same."""
    seen: list[Any] = []
    before = show.canvas

    @contextmanager
    def canvas(*arguments: Any) -> Iterator[Any]:
        with before(*arguments) as axes:
            yield axes
            seen.append(axes)

    monkeypatch.setattr(show, "canvas", canvas)
    return seen


def test_the_table_says_the_step_of_each_layer_and_whose_it_is() -> None:
    console = Console(width=100, file=StringIO())
    console.print(show.layer_table(Fidelity((SOME,), ()), "all values"))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    row = next(line.split() for line in told.splitlines() if "other" in line)
    assert row == ["other", "2^-3", "5", "40.0", "0.40", "1.00%", "0.9900"]
    assert "LSB: step of the layer's format in quantised Keras, the same for every backend" in " ".join(told.split())


@pytest.mark.parametrize("rows", [(NONE, SOME), (NONE,), (SOME,)])
def test_no_difference_is_said_in_words(rows: tuple[LayerFidelity, ...], drawn: list[Any], tmp_path: Path) -> None:
    show.plot_layers(rows, tmp_path / "layers.png", "net, firmware of vitis: 9 events")
    (axes,) = drawn
    assert [text.get_text() for text in axes.texts] == ["no difference"] * rows.count(NONE)
    assert axes.get_title("left") == "net, firmware of vitis: 9 events"
    assert "[LSB: step of the layer's format in quantised Keras]" in axes.get_xlabel()
    low, high = axes.get_xlim()
    assert low < 0.4 <= 1.0 < high  # 1 LSB can be seen, and so can all that is drawn
    assert list(axes.patches) == []  # no bars: they would start nowhere on a logarithmic axis
    points = {line.get_label(): line.get_xdata() for line in axes.lines}
    assert [list(points[key]) for key in ("mean", "largest")] == ([[0.4], [40.0]] if SOME in rows else [[], []])
    assert high > 40.0 or SOME not in rows


def test_what_stands_beside_a_name_is_said_to_be_a_spread(drawn: list[Any], tmp_path: Path) -> None:
    firmware = np.array([[0.001, 0.0], [-0.003, 0.0]])
    words = "Output", "Events", "net: 2 events"
    show.plot_differences(firmware, np.zeros((2, 2)), ("a", "b"), tmp_path / "x.png", *words)
    (axes,) = drawn
    legend = axes.get_legend()
    assert legend.get_title().get_text() == "mean ± standard deviation of the differences"
    assert [text.get_text() for text in legend.get_texts()] == ["a: -0.001 ± 0.002", "b: +0 ± 0"]
    assert (axes.get_title("left"), axes.get_ylabel()) == ("net: 2 events", "Events per bin")
