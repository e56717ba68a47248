"""The sizes of one model: what the data decides and the configuration does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from qformers.data.events import FeatureSet


class Sizes(Protocol):
    """What the data decides of a model (`qformers.models.sizes.Jet`, or `Points`)."""

    @property
    def num_particles(self) -> int | None:
        """N, points per event; None where events may have any number, the same for all of a batch."""

    @property
    def num_features(self) -> int:
        """F."""


@dataclass(frozen=True)
class Points:
    """The sizes of a model for events of points."""

    num_particles: int | None
    num_features: int


@dataclass(frozen=True)
class Jet:
    """The sizes of one model: what the data decides and the configuration does not."""

    num_particles: int  # N
    num_features: int  # F
    num_classes: int  # outputs: of classes, or of numbers to be predicted
    feature_set: FeatureSet | None = None  # needed for pairs: onchip, to find ln pT, eta and phi
