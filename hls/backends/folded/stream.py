"""Events through folded firmware in one stream: what the world does at each clock edge, and what came of it.

The world offers beats, takes outputs and resets at the edges that a `Script` names. A level of simulation plays it and
notes at which edge the first beat of each event was taken and its output given; so two levels can be compared edge by
edge. After a reset the world goes on with the first event of which no beat was taken: those on their way are lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hls.errors import HlsError

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

SHARES = 256  # of clocks
LONGEST = 200  # clock edges, at most, of a stretch of a mix
SLOWER = 10  # times that a mix takes, at most: it takes about twice the clocks


@dataclass(frozen=True)
class Script:
    """What the world does at each clock edge; arrays (edges,).

    Attributes:
        offered: a beat is offered, if one is left.
        wanted: an output is taken, if there is one.
        reset: the machine is reset; nothing is offered or wanted then.
    """

    offered: Bits
    wanted: Bits
    reset: Bits

    def __len__(self) -> int:
        return len(self.offered)


@dataclass(frozen=True)
class Pauses:
    """In which clocks no beat is offered, and no output is taken, and when a reset comes.

    Attributes:
        gaps, stalls: of 256 clocks, those without a beat and without an output taken, drawn at random.
        seed: of the draw.
        resets: clock edges.
        mixed: gaps and stalls are drawn anew for every stretch of up to `LONGEST` edges, from none to nearly all; then
            `gaps` and `stalls` say nothing.
    """

    gaps: int = 0
    stalls: int = 0
    seed: int = 0
    resets: tuple[int, ...] = ()
    mixed: bool = False

    def script(self, edges: int) -> Script:
        """For so many clock edges."""
        random, reset = np.random.default_rng(self.seed), np.zeros(edges, bool)
        reset[[edge for edge in self.resets if edge < edges]] = True
        shares = np.array([[self.gaps], [self.stalls]]) if not self.mixed else _stretches(random, edges)
        gap, stall = random.integers(0, SHARES, (2, edges)) < shares
        return Script(~gap & ~reset, ~stall & ~reset, reset)

    def edges(self, clocks: int) -> int:
        """Edges that surely suffice for a stream that takes so many clocks without pauses."""
        if self.mixed:
            return SLOWER * (clocks + SLOWER * LONGEST)
        going = (SHARES - self.gaps) * (SHARES - self.stalls) / SHARES**2
        return clocks if not self.gaps and not self.stalls else int(2 * clocks / going) + LONGEST


def _stretches(random: np.random.Generator, edges: int) -> NDArray[np.int64]:
    """Shares of gaps and stalls (2, edges): each none, nearly all, or in between, for a stretch at a time."""
    shares, start = np.zeros((2, edges), np.int64), 0
    while start < edges:
        stop = start + int(random.integers(1, LONGEST + 1))
        shares[:, start:stop] = random.choice(np.array([0, 0, int(random.integers(0, SHARES)), SHARES - 8]), (2, 1))
        start = stop
    return shares


@dataclass(frozen=True)
class Words:
    """Events as they came out of the port of outputs.

    Attributes:
        values: (n, words of an event, values of a word); NaN where none came or a bit of it is undefined.
        taken, given: as of `Streamed`.
    """

    values: Array
    taken: NDArray[np.int64]
    given: NDArray[np.int64]


@dataclass(frozen=True)
class Streamed:
    """Events as they came out.

    Attributes:
        outputs: (n, output values); NaN where no output came or a bit of it is undefined.
        taken, given: (n,), clock edge of the first beat and of the (last) output of each event; -1 where there was
            none.
    """

    outputs: Array
    taken: NDArray[np.int64]
    given: NDArray[np.int64]

    @property
    def came(self) -> Bits:
        """(n,), the events whose output came: all, but for those on their way at a reset."""
        return np.asarray(self.given >= 0)


def refuse_unfinished(over: int, events: int, edges: int) -> None:
    """Refuse a stream that has not come to its end.

    Args:
        over: events whose output has come, or that a reset has ended.
        events: all of them.
        edges: that were played.

    Raises:
        HlsError: the machine stands still.
    """
    if over != events:
        raise HlsError(f"after {edges} clock edges {over} of {events} events are over: the machine stands still")
