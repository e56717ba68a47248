"""Where the search measures: the journal first, then the compiled model; stops when asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qformers.precision.fixed import Fixed
from qformers.quant.ptq.cost import Cost
from qformers.quant.ptq.evaluator import Evaluation, Evaluator
from qformers.quant.ptq.journal import Journal
from qformers.quant.ptq.slots import Slot


class Stopped(Exception):
    """The search was asked to stop; all that it measured is in the journal. Its text is the reason."""


@dataclass(frozen=True)
class Trial:
    """Formats and what they gave."""

    formats: Mapping[Slot, Fixed]
    measured: Evaluation


class Bench:
    """Measures formats, each once.

    Args:
        evaluator: does it.
        journal: remembers it.
        stop: asked before each evaluation; a reason, or empty.
        tick: told of each evaluation: stage, result.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        journal: Journal,
        stop: Callable[[], str] = lambda: "",
        tick: Callable[[str, Evaluation], None] = lambda stage, measured: None,
    ) -> None:
        self.evaluator, self.journal, self.stop, self.tick = evaluator, journal, stop, tick
        self.points: list[Trial] = []  # of the search, in order; those of other curves are not among them
        self.fresh = 0  # evaluations made by this process

    @property
    def cost(self) -> Cost:
        """EBOPs by formats."""
        return self.evaluator.cost

    def measure(self, stage: str, formats: Mapping[Slot, Fixed]) -> Evaluation:
        """What these formats give.

        Raises:
            Stopped: a stop was asked for.
        """
        known = self.journal.find(formats)
        if known is None:
            if reason := self.stop():
                raise Stopped(reason)
            known = self.evaluator.measure(formats)
            self.journal.add(stage, formats, known)
            self.fresh += 1
        if stage != "uniform":
            self.points.append(Trial(dict(formats), known))
        self.tick(stage, known)
        return known
