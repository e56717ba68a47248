"""The search for precision on models made of formulas: budgets, journal, resuming, better than uniform."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from qformers.errors import ConfigError
from qformers.precision.fixed import Fixed
from qformers.quant.ptq.bench import Bench, Stopped, Trial
from qformers.quant.ptq.budget import NEAR, Budget
from qformers.quant.ptq.evaluator import Evaluation, compared
from qformers.quant.ptq.journal import Journal, key_of, spelled
from qformers.quant.ptq.moves import Limits, down
from qformers.quant.ptq.ranges import Rule, Seen, fitted, integer_bits, measured
from qformers.quant.ptq.report import Trade, bits_picture, compare, in_words, trade_picture
from qformers.quant.ptq.search import SearchResult, search, uniform
from qformers.quant.ptq.slots import LOGITS, Slot
from qformers.tasks.plots import jets as plots

Formats = Mapping[Slot, Fixed]
LAYERS = 6
SLOTS = [Slot(f"dense{i}", name) for i in range(LAYERS) for name in ("input", "weight")]
START = {slot: Fixed(True, 1, 12) for slot in SLOTS}
RULE = Rule()


class FormulaCost:
    """EBOPs of dense layers: weight bits times input bits times the size of the layer, which grows with its number."""

    readers: ClassVar = {f"dense{i}": [Slot(f"dense{i}", "input"), Slot(f"dense{i}", "weight")] for i in range(LAYERS)}
    elements: ClassVar = dict.fromkeys(SLOTS, 10)

    def total(self, formats: Formats) -> int:
        """All layers."""
        return sum(
            math.prod(formats[slot].width for slot in read) * 4 ** int(name[-1]) for name, read in self.readers.items()
        )

    def change(self, formats: Formats, changed: Formats) -> int:
        """Difference of two sums."""
        return self.total({**formats, **changed}) - self.total(formats)


class FormulaEvaluator:
    """Rounding noise of each slot, 4^-f, times a sensitivity that falls with the number of the layer."""

    def __init__(self) -> None:
        self.cost = FormulaCost()
        self.calls = 0

    def measure(self, formats: Formats) -> Evaluation:
        """Divergence and a loss of accuracy proportional to it."""
        self.calls += 1
        noise = sum(4.0**-form.fraction_bits * 8.0 ** -int(slot.layer[-1]) for slot, form in formats.items())
        clipped = sum(0.3 * (1 - form.integer_bits) for form in formats.values())
        loss = noise + clipped
        return Evaluation(
            self.cost.total(formats), loss, 1.0 + loss, 0.8 - loss / 4, loss / 4, loss / 4, 0.001, loss, 0.1
        )


def bench(path: Path, stop: Callable[[], str] = lambda: "") -> Bench:
    """A bench of formulas with its journal at `path`."""
    return Bench(FormulaEvaluator(), Journal(path, "key"), stop)  # type: ignore[arg-type]


def stop_after(evaluations: int) -> Callable[[], str]:
    """Asks for a stop after so many evaluations."""
    left = iter(range(evaluations))
    return lambda: "" if next(left, None) is not None else "STOP exists"


def found(bench: Bench, budget: Budget) -> SearchResult:
    """The search that the tests make."""
    return search(bench, Limits(START, frozenset(SLOTS)), budget, 300)


def test_the_search_keeps_the_budget_and_beats_uniform_precision(tmp_path: Path) -> None:
    one = bench(tmp_path / "search.jsonl")
    curve = uniform(one, START, frozenset(SLOTS), range(3, 15))
    best = found(one, Budget(max_loss=0.001)).point
    assert best.measured.expected_lost <= 0.001
    result = compare(best.measured, curve, 0.001)
    assert result.width is not None
    assert curve[result.width].measured.expected_lost <= 0.001
    assert curve[result.width - 1].measured.expected_lost > 0.001
    assert result.ebops_ratio == curve[result.width].measured.ebops / best.measured.ebops
    assert result.ebops_ratio > 1.5  # large layers need few bits here
    assert result.same_divergence_ratio is not None
    assert 1.2 < result.same_divergence_ratio <= result.ebops_ratio
    bits = {slot: form.fraction_bits for slot, form in best.formats.items()}
    assert bits[Slot("dense0", "weight")] > bits[Slot("dense5", "weight")]
    assert all(form.integer_bits == 1 for form in best.formats.values())  # clipping costs more than it saves


def test_the_search_is_near_the_best_of_all(tmp_path: Path) -> None:
    """With f real, noise * sensitivity of each slot over its cost is the same everywhere: solved by Lagrange."""
    best = found(bench(tmp_path / "search.jsonl"), Budget(max_loss=0.001)).point
    for move in down(Limits(START, frozenset()), best.formats):
        less = FormulaEvaluator().measure(move.on(best.formats))
        assert less.expected_lost > 0.001 or less.ebops > best.measured.ebops / (1.0 + NEAR), "a bit could still go"


def test_of_nearly_equal_ebops_the_least_divergence_counts() -> None:
    measured = FormulaEvaluator().measure(START)
    shapes = {"few": (1000, 0.15), "near": (1009, 0.05), "far": (1011, 0.01)}
    points = {
        name: Trial(START, replace(measured, ebops=ebops, divergence=divergence, expected_lost=0.0, lost=0.0))
        for name, (ebops, divergence) in shapes.items()
    }
    assert Budget(max_loss=0.01).best(points.values()) == points["near"]
    assert Budget(ebops=1010).best(points.values()) == points["near"]
    assert Budget(ebops=2000).best(points.values()) == points["far"]


def test_ebops_as_the_budget(tmp_path: Path) -> None:
    one = bench(tmp_path / "search.jsonl")
    target = 0.4 * FormulaCost().total(START)
    best = found(one, Budget(ebops=target)).point.measured
    assert 0.8 * target < best.ebops <= target
    curve = uniform(one, START, frozenset(SLOTS), range(3, 15))
    width = max(width for width, point in curve.items() if point.measured.ebops <= target)
    assert best.divergence < 0.5 * curve[width].measured.divergence


def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = found(bench(tmp_path / "whole.jsonl"), Budget(max_loss=0.001))
    path = tmp_path / "search.jsonl"
    calls = 0
    for limit in (5, 60, 150):
        with pytest.raises(Stopped, match="STOP exists"):
            found(bench(path, stop_after(limit)), Budget(0.001))
        calls += limit
        assert len(path.read_text().splitlines()) == calls
        with path.open("a") as handle:
            handle.write('{"key": "key", "sta')  # killed while writing
    last = bench(path)
    again = found(last, Budget(max_loss=0.001))
    assert again == whole
    assert last.fresh == len((tmp_path / "whole.jsonl").read_text().splitlines()) - calls
    assert path.read_text() == (tmp_path / "whole.jsonl").read_text()
    repeated = bench(path)
    assert found(repeated, Budget(max_loss=0.001)) == whole
    assert repeated.fresh == 0


def test_the_journal_knows_its_search_by_its_key(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    result = FormulaEvaluator().measure(START)
    Journal(path, "one").add("start", START, result)
    assert Journal(path, "one").find(START) == result
    assert Journal(path, "two").find(START) is None
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1}) != key_of({"a": 1, "b": [3]})
    assert spelled({SLOTS[0]: Fixed(True, 2, 5), SLOTS[1]: Fixed(False, -1, 4)}) == "s2.5 u-1.4"
    path.write_text(json.dumps({"key": "one", "stage": "start"}) + "\n")
    with pytest.raises(ConfigError, match=r"search.jsonl, line 1: is not an evaluation of this .*; move the file away"):
        Journal(path, "one")


@pytest.mark.parametrize(
    ("max_loss", "ebops", "words"),
    [
        (None, None, "one budget is needed, --max-loss or --ebops. Received: None and None"),
        (0.1, 1e5, "one budget is needed, --max-loss or --ebops. Received: 0.1 and 100000.0"),
        (1.5, None, "--max-loss is a share of accuracy between 0 and 1.*Received: 1.5"),
        (None, -3.0, "--ebops a positive number. Received: -3.0"),
    ],
)
def test_budgets_without_sense_are_refused(max_loss: float | None, ebops: float | None, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Budget(max_loss, ebops)


def test_budgets_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"even the widest formats lose 0\.00%.*raise --max-loss.*Received: 0.00%"):
        found(bench(tmp_path / "a.jsonl"), Budget(max_loss=1e-9))
    with pytest.raises(ConfigError, match=r"no model of \d+ measured keeps to the budget.*fewest EBOPs: \d+"):
        found(bench(tmp_path / "b.jsonl"), Budget(ebops=10.0))


def test_moves_take_a_bit_where_one_is_left() -> None:
    add = {Slot("add", "input0"): Fixed(True, 2, 3), Slot("add", "input1"): Fixed(True, 0, 1)}
    scores = {LOGITS: Fixed(True, 3, 1), Slot("soft", "exp_input"): Fixed(False, 3, 0)}
    count = {Slot("pool_inverse", "input"): Fixed(False, 4, 0)}
    here = {**add, **scores, **count}
    moves = [dict(move.changes) for move in down(Limits(here, frozenset(add)), here)]
    first, second = add
    assert {first: Fixed(True, 2, 2)} in moves
    assert {first: Fixed(True, 1, 3)} in moves
    assert {LOGITS: Fixed(True, 3, 0)} in moves
    assert len(moves) == 3  # input1 has one bit left, so that both inputs at once cannot go; exp_input has
    # no more grid, and the count of particles stays as it is
    equal = {first: Fixed(True, 2, 3), second: Fixed(True, 2, 3)}
    both = [dict(move.changes) for move in down(Limits(equal, frozenset()), equal)]
    assert {first: Fixed(True, 2, 2), second: Fixed(True, 2, 2)} in both


def test_losses_are_counted_jet_by_jet() -> None:
    """Three jets; the quantised model changes the second one's side, from right to wrong."""
    probabilities = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    logits = np.log(np.array([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8]]))
    result = compared(logits, np.log(probabilities), np.array([0, 0, 0]), 7)
    assert result.ebops == 7
    assert result.score == pytest.approx(1 / 3)
    assert result.lost == pytest.approx(1 / 3)
    assert result.lost_error == pytest.approx(math.sqrt(1 / 3 * 2 / 3) / math.sqrt(3))
    assert result.expected_lost == pytest.approx((0.6 - 0.4) / 3)
    assert result.divergence == pytest.approx((0.6 * math.log(1.5) - 0.4 * math.log(1.5)) / 3)
    assert result.rise == pytest.approx(math.log(1.5) / 3)
    first = compared(logits, np.log(probabilities), np.array([0]), 7)  # the others have no labels that may count
    assert (first.lost, first.score, first.lost_error) == (0.0, 1.0, 0.0)
    assert (first.divergence, first.expected_lost) == (result.divergence, result.expected_lost)


def test_the_report_says_so_when_no_uniform_width_is_as_good() -> None:
    result = FormulaEvaluator().measure(START)
    bad = replace(result, expected_lost=0.5, divergence=0.5)
    lines = in_words(result, "100 jets", compare(result, {4: Trial(START, bad)}, 0.001))
    assert lines[-1] == "uniform precision: no width measured is as accurate"


def test_the_report_speaks_of_labels_where_there_are_some() -> None:
    result = replace(FormulaEvaluator().measure(START), of="r2")
    beside = compare(result, {4: Trial(START, result)}, 1.0)
    assert all("by the labels" in line for line in in_words(result, "100 jets", beside)[:2])
    assert not any("labels" in line for line in in_words(result, "100 events", beside, labelled=False))


@pytest.mark.parametrize(
    ("max_loss", "ebops", "budget", "lines"),
    [(0.01, None, "budget: a loss of 1.00%", 1), (None, 150.0, "budget: 150 EBOPs", 2)],
)
def test_the_picture_names_start_path_result_and_budget_and_shows_them(
    max_loss: float | None,
    ebops: float | None,
    budget: str,
    lines: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    any_one = FormulaEvaluator().measure(START)
    start, found, wild = (
        replace(any_one, ebops=size, divergence=10 * lost + 1e-4, expected_lost=lost)
        for size, lost in ((1000, 0.0), (140, 0.009), (120, 0.6))
    )
    figures = []
    before = plots.canvas

    @contextmanager
    def canvas(*arguments: Any) -> Iterator[Any]:
        with before(*arguments) as axes:
            figures.append(axes.figure)
            yield axes

    monkeypatch.setattr(plots, "canvas", canvas)
    trade = Trade("net", start, found, [start, found], [start, found, wild], {6: wild, 8: start}, max_loss, ebops)
    trade_picture(trade, tmp_path / "tune_ebops.png")
    (figure,) = figures
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert budget in told
    assert {"start: the widest formats", "path predicted from the table of sensitivities"} <= set(told)
    assert sum(word.startswith("found: ") for word in told) == 1
    above, below = figure.axes
    assert sum(line.get_label() == budget for axes in (above, below) for line in axes.lines) == lines
    assert below.get_ylim()[0] < 0.0
    assert 0.009 < below.get_ylim()[1] < 0.02  # the wild one flattens nothing,
    assert [text.get_text() for text in below.texts] == ["1 of 3 measured lose more than shown"]  # and is told of
    assert above.get_xlim()[0] < 120
    assert above.get_xlim()[1] > 1000
    assert figure.get_suptitle().startswith("net: 140 EBOPs found, accuracy ")


@pytest.mark.parametrize(
    ("low", "high", "symmetric", "bits"),
    [
        (0.0, 0.99, False, 0),
        (0.0, 1.0, False, 1),  # 1 itself does not fit in [0, 1)
        (-1.0, 0.5, False, 0),  # but -1 does
        (-1.0, 0.5, True, 1),
        (-0.2, 0.1, False, -2),
        (0.0, 0.0, False, None),
        (0.0, 6.5, False, 3),
    ],
)
def test_integer_bits_hold_the_range(low: float, high: float, symmetric: bool, bits: int | None) -> None:
    assert integer_bits(Seen(low, high, low, high), 1.0, symmetric) == bits


def test_fitted_formats_keep_their_width() -> None:
    form = Fixed(True, 3, 6)
    assert fitted(form, Seen(-0.4, 0.4, -0.4, 0.4), RULE) == Fixed(True, -1, 10)
    assert fitted(form, Seen(0.0, 5.0, 0.0, 5.0), RULE) == Fixed(False, 3, 7)  # the sign bit is worth more elsewhere
    assert fitted(form, Seen(-0.1, 5.0, 0.0, 5.0), RULE).signed  # one value below zero was enough
    assert fitted(form, Seen(0.0, 0.0, 0.0, 0.0), RULE) == form
    assert fitted(form, Seen(0.0, 5.0, 0.0, 5.0), Rule(margin=2.0)).integer_bits == 4


def test_a_quantile_leaves_the_largest_values_out() -> None:
    values = np.append(np.linspace(-1.0, 1.0, 999), 50.0)
    assert measured(values, 1.0) == Seen(-1.0, 50.0, -1.0, 50.0)
    assert measured(values, 0.99).high_used <= 1.0
    assert measured(values, 0.99).high == 50.0
    with pytest.raises(ConfigError, match=r"the quantile must be in \(0, 1\]: set --quantile. Received: 1.5"):
        Rule(quantile=1.5)
    with pytest.raises(ConfigError, match=r"the margin must be positive: set --margin. Received: 0"):
        Rule(margin=0)


def test_the_picture_has_a_column_for_the_format_that_logits_share(tmp_path: Path) -> None:
    bits_picture({**START, LOGITS: Fixed(True, 3, 5)}, tmp_path / "bits.png")
    assert (tmp_path / "bits.png").read_bytes().startswith(b"\x89PNG")
