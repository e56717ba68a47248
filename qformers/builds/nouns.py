"""What commands call the events of a build and their parts: one place, so that no stage has to ask what it works on."""

from __future__ import annotations

from dataclasses import dataclass

from qformers.builds.build import Build
from qformers.builds.own_events import is_own
from qformers.data import DATASETS

PARTS = {"jets": "particles", "sequences": "tokens", "windows": "points", "events": "particles"}  # by `Dataset.unit`


@dataclass(frozen=True)
class Nouns:
    """Words for messages, tables and pictures.

    Attributes:
        events: jets, sequences, windows or events.
        part: of an event, where its slots are padded, e.g. particles; "" for a model of one's own.
        file: that all events come from; "" where a data set is split.
    """

    events: str = "jets"
    part: str = "particles"
    file: str = ""

    @property
    def event(self) -> str:
        """One of them."""
        return self.events.removesuffix("s")

    @property
    def compared(self) -> str:
        """The values of a layer that are compared."""
        return f"real {self.part}" if self.part else "all values"

    def of_split(self, split: str) -> str:
        """Where events come from, behind "of"."""
        return self.file or f"the {split} split"


def nouns_of(build: Build) -> Nouns:
    """The words for the events of a build; of a data set that is not known, as of an old run, those of any events."""
    if is_own(build):
        return Nouns("events", "", build.data.test[0] if build.data.test else "")
    known = DATASETS.get(build.data.dataset)
    unit = "events" if known is None else known.unit
    return Nouns(unit, PARTS[unit])
