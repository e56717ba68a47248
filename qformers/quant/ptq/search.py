"""The search for bits: a table of sensitivities, a path predicted from it, measured steps and exchanges."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from qformers.errors import ConfigError
from qformers.precision.fixed import Fixed
from qformers.quant.ptq.bench import Bench, Trial
from qformers.quant.ptq.budget import Budget
from qformers.quant.ptq.evaluator import Evaluation
from qformers.quant.ptq.moves import Limits, Move, down, saving, up
from qformers.quant.ptq.sensitivity import LEAST, Sensitivity, predicted_path, table
from qformers.quant.ptq.slots import Slot
from qformers.tasks.score_names import spell

PATH_POINTS = 60  # of the predicted path that are measured, evenly in log EBOPs
BEYOND = 5.0  # the path is followed until so many times the loss allowed, or down to 1 / 2 of the EBOPs allowed
HEAD_START = 0.5  # of the divergence at the end of the allowed path, from where the measured steps go on
TRIES = 4  # moves measured for one step, at most
ROUNDS, EXCHANGES = 2, 20  # rounds of exchanges, and how many are tried in each

Formats = Mapping[Slot, Fixed]


@dataclass(frozen=True)
class SearchResult:
    """Result of a search, and what was seen on the way."""

    point: Trial
    sensitivity: Sensitivity
    path: tuple[Trial, ...]  # measured points of the predicted path


def search(bench: Bench, limits: Limits, budget: Budget, evaluations: int) -> SearchResult:
    """Find bits that keep to the budget.

    Args:
        bench: measures.
        limits: where it starts and how far it may go.
        budget: what to keep to.
        evaluations: measured steps at most, after the table and the path.

    Raises:
        ConfigError: even the widest formats do not keep to the budget, or nothing does.
        Stopped: a stop was asked for.
    """
    known = table(bench, limits)
    if not budget.allows(known.start):
        raise ConfigError(
            f"even the widest formats lose {known.start.expected_lost:.2%} of {spell(known.start.of)}, judged by "
            "float: raise --max-loss or --widest, or the formats of tables in the build file. Received: "
            f"{budget.max_loss:.2%}"
        )
    path = predicted_path(limits, known, bench.cost)
    walked = _walk(bench, path, budget)
    formats = _head_start(path, walked, budget, bench)
    formats = _steps(bench, limits, known, budget, formats, evaluations)
    formats = _exchanges(bench, limits, budget, formats)
    if budget.max_loss is not None:
        _steps(bench, limits, known, budget, formats, evaluations)
    best = budget.best(bench.points)
    if best is None:
        lowest = min(point.measured.ebops for point in bench.points)
        raise ConfigError(
            f"no model of {len(bench.points)} measured keeps to the budget: raise it, or give more validation jets. "
            f"Received: {budget}; fewest EBOPs: {lowest}"
        )
    return SearchResult(best, known, tuple(walked))


def uniform(bench: Bench, start: Formats, free: frozenset[Slot], widths: range) -> dict[int, Trial]:
    """The usual way, for comparison: all weights, biases and values of one width, integer bits as in the search.

    Formats of tables, and of what the model fixes, stay at the start.
    """
    points = {}
    for width in widths:
        formats = {slot: _wide(form, width) if slot in free else form for slot, form in start.items()}
        points[width] = Trial(formats, bench.measure("uniform", formats))
    return points


def _wide(form: Fixed, width: int) -> Fixed:
    return replace(form, fraction_bits=form.fraction_bits + width - form.width)


def _walk(bench: Bench, path: list[dict[Slot, Fixed]], budget: Budget) -> list[Trial]:
    """Measure points of the predicted path, from its start until it is well beyond the budget."""
    costs = [bench.cost.total(formats) for formats in path]
    span = math.log(costs[0] / max(costs[-1], 1))
    points: list[Trial] = []
    due = 0.0
    for formats, ebops in zip(path, costs, strict=True):
        if math.log(costs[0] / ebops) < due:
            continue
        due += span / PATH_POINTS
        measured = bench.measure("path", formats)
        points.append(Trial(formats, measured))
        far = BEYOND * (budget.max_loss or math.inf)
        if measured.expected_lost > far or (budget.ebops is not None and ebops < budget.ebops / 2):
            break
    return points


def _head_start(path: list[dict[Slot, Fixed]], walked: list[Trial], budget: Budget, bench: Bench) -> Formats:
    """The point of the path from which single steps are measured."""
    if budget.ebops is not None:
        above = [formats for formats in path if bench.cost.total(formats) >= 1.25 * budget.ebops]
        return (above or path)[-1 if above else 0]
    inside = [point for point in walked if budget.allows(point.measured)]
    most = HEAD_START * inside[-1].measured.divergence
    return [point for point in inside if point.measured.divergence <= most or point is inside[0]][-1].formats


def _steps(
    bench: Bench, limits: Limits, known: Sensitivity, budget: Budget, formats: Formats, evaluations: int
) -> Formats:
    """Take bits one by one, each time those that add least divergence per EBOP saved, until the budget is used up.

    A move is measured when its last known or predicted price makes it the best; if it still is, it is made.
    """
    here, spent, prices, closed = bench.measure("step", formats), 0, dict[Move, float](), set[Move]()
    while spent < evaluations and not (budget.ebops is not None and here.ebops <= budget.ebops):
        queue = _queue(bench, limits, known, formats, prices, closed)
        tried: list[tuple[float, Move, Evaluation]] = []
        while queue and len(tried) < TRIES and spent < evaluations:
            price, _, move = heapq.heappop(queue)
            if tried and min(tried, key=lambda item: item[0])[0] <= price:
                break
            measured = bench.measure("step", move.on(formats))
            spent += 1
            if not budget.allows(measured):
                closed.add(move)
                continue
            gain = saving(bench.cost, formats, move)
            prices[move] = max(measured.divergence - here.divergence, LEAST) / gain
            tried.append((prices[move], move, measured))
        if not tried:
            break
        _, move, here = min(tried, key=lambda item: item[0])
        formats = move.on(formats)
    return formats


def _queue(
    bench: Bench,
    limits: Limits,
    known: Sensitivity,
    formats: Formats,
    prices: Mapping[Move, float],
    closed: set[Move],
) -> list[tuple[float, int, Move]]:
    """Moves by price, the cheapest first; the number between keeps equal prices in order."""
    queue = []
    for number, move in enumerate(down(limits, formats)):
        gain = saving(bench.cost, formats, move)
        if move in closed or gain <= 0:
            continue
        price = prices.get(move, max(known.rise(limits, formats, move), LEAST) / gain)
        if price < math.inf:
            queue.append((price, number, move))
    heapq.heapify(queue)
    return queue


def _exchanges(bench: Bench, limits: Limits, budget: Budget, formats: Formats) -> Formats:
    """Give a bit to one slot and take one from another, where that serves the budget better."""
    here = bench.measure("exchange", formats)
    for _ in range(ROUNDS):
        gives = [(move, bench.measure("exchange", move.on(formats))) for move in up(limits, formats)]
        takes = [(move, bench.measure("exchange", move.on(formats))) for move in down(limits, formats)]
        pairs = []
        for give, more in gives:
            for take, less in takes:
                if give.slots & take.slots:
                    continue
                divergence = more.divergence + less.divergence - here.divergence
                ebops = more.ebops + less.ebops - here.ebops
                guess = replace(here, divergence=max(divergence, 0.0), ebops=ebops)
                if budget.better(guess, here):
                    pairs.append((ebops if budget.ebops is None else divergence, give, take))
        pairs.sort(key=lambda pair: pair[0])
        used: frozenset[Slot] = frozenset()
        tried = 0
        for _, give, take in pairs:
            touched = give.slots | take.slots
            if touched & used or tried == EXCHANGES:
                continue
            tried += 1
            after = take.on(give.on(formats))
            measured = bench.measure("exchange", after)
            if budget.better(measured, here):
                formats, here, used = after, measured, used | touched
        if not used:
            break
    return formats
