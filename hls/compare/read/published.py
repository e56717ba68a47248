"""Published results, read from ``published.yaml``: each with its citation, stage and data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hls.compare.read.records import explain
from hls.errors import HlsError

FILE = Path(__file__).with_name("published.yaml")
WARNING = (
    "Published points were measured on other data (hls4ml LHC jets, Zenodo 3602260), not on the jets of these builds: "
    "they show where the field stands, the accuracies are not comparable."
)

Stage = Literal["R", "P", "E"]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Base: nothing unknown gets in, so that a typing error is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dataset(Section):
    """What a result was measured on."""

    label: str
    short: str
    source: str
    task: Literal["particles", "high-level"]


class Work(Section):
    """A publication."""

    label: str
    citation: str
    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{5}$")]
    device: str
    note: str
    ii: Count | None = None  # clocks between two events, of all its points that state none


class Point(Section):
    """One result."""

    work: str
    variant: str
    n: Count | None  # particles; None for high-level features
    features: Count
    accuracy: Annotated[float, Field(gt=0, lt=100)]  # per cent
    stage: Stage
    dataset: str
    auc: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    ebops: Count | None = None
    lut: Count | None = None
    ff: Count | None = None
    dsp: Count | None = None
    latency_ns: Positive | None = None
    ii: Count | None = None


class Published(Section):
    """The whole file."""

    spec: Literal[1]
    stages: Mapping[Stage, str]
    datasets: Mapping[str, Dataset]
    works: Mapping[str, Work]
    points: tuple[Point, ...]

    @model_validator(mode="after")
    def _known(self) -> Self:
        for index, point in enumerate(self.points):
            for kind, name, choices in (
                ("work", point.work, self.works),
                ("dataset", point.dataset, self.datasets),
                ("stage", point.stage, self.stages),
            ):
                if name not in choices:
                    raise ValueError(f"points.{index}: {kind} '{name}' is not described in this file")
        return self


@dataclass(frozen=True)
class Reference:
    """A published point with its publication, data set and stage."""

    point: Point
    work: Work
    dataset: Dataset
    stage: str  # in words

    @property
    def label(self) -> str:
        """Short, e.g. "JEDI-linear pT-sorted, N = 16, 3 features"."""
        size = f"N = {self.point.n}, " if self.point.n else ""
        return f"{' '.join(filter(None, (self.work.label, self.point.variant)))}, {size}{self.point.features} features"

    @property
    def ii(self) -> int | None:
        """Clocks between two events, where that is published."""
        return self.work.ii if self.point.ii is None else self.point.ii


def read_published(path: Path = FILE) -> tuple[Reference, ...]:
    """Read the file of published results.

    Raises:
        HlsError: it cannot be read, has an unknown key, or a point without a described work, data set or stage.
    """
    try:
        tree = Published.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise HlsError(f"{path}: {explain(error)}") from error
    return tuple(Reference(p, tree.works[p.work], tree.datasets[p.dataset], tree.stages[p.stage]) for p in tree.points)


def drawn(references: tuple[Reference, ...]) -> tuple[Reference, ...]:
    """Those that belong into a plot of particle-level taggers."""
    return tuple(reference for reference in references if reference.dataset.task == "particles")
