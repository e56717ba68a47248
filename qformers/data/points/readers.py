"""`PointReader`: what a per-point data set has to know about its files; streams, cache and shuffling are common.

One file is one event; an event may be cut into regions, always the same number, so that a split can be counted without
reading it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from qformers.data.clouds import PointCloud, PointLayout
from qformers.data.points import acts, trackml
from qformers.data.points.acts import ActsOptions
from qformers.data.points.candidates import layout_of, read_candidates
from qformers.data.points.line_segments import read_segments
from qformers.data.points.regions import SECTOR_OVERLAP, Window, regions, windows
from qformers.data.points.segment_features import LAYOUT as SEGMENTS
from qformers.data.points.segment_features import Lda, segment_cloud
from qformers.data.points.trackml import TrackmlOptions, read_event


class PointReader(Protocol):
    """One per-point data set read in one way."""

    @property
    def layout(self) -> PointLayout:
        """Names of features, coordinates and classes."""

    @property
    def per_file(self) -> int:
        """Clouds (regions) of every file."""

    def key(self) -> str:
        """Text of everything that decides what `read` returns, for the cache."""

    def sources(self, path: Path) -> list[Path]:
        """The files, itself among them, from which the event of a file is read: whoever keeps it looks at all."""

    def event(self, path: Path) -> PointCloud:
        """The whole event of a file."""

    def windows(self, event: PointCloud) -> list[Window]:
        """Its regions: points in the core of each, and all that it sees."""

    def read(self, path: Path) -> list[PointCloud]:
        """The clouds of a file."""


@dataclass(frozen=True, kw_only=True)
class Regions(ABC):
    """A reader of events whose points have eta and phi, by which they are cut into regions; a point counts in one core.

    Attributes:
        phi_sectors, eta_edges, overlap, local: as `regions`; one sector and no edges = the whole event.
    """

    phi_sectors: int = 1
    eta_edges: tuple[float, ...] = ()
    overlap: float = SECTOR_OVERLAP
    local: bool = False

    @property
    def per_file(self) -> int:
        """Regions of an event."""
        return self.phi_sectors * max(len(self.eta_edges) - 1, 1)

    def windows(self, event: PointCloud) -> list[Window]:
        """The regions of an event, sector by sector."""
        return windows(event, self.phi_sectors, self.eta_edges, self.overlap, self.local)

    def cut(self, event: PointCloud) -> list[PointCloud]:
        """The regions of an event, sector by sector."""
        if self.per_file == 1 and not self.eta_edges:
            return [event]
        return regions(event, self.phi_sectors, self.eta_edges, self.overlap, self.local)

    def key(self) -> str:
        """All fields."""
        return repr(self)

    @abstractmethod
    def event(self, path: Path) -> PointCloud:
        """The whole event of a file."""

    def read(self, path: Path) -> list[PointCloud]:
        """The regions of an event, sector by sector."""
        return self.cut(self.event(path))


@dataclass(frozen=True)
class TrackmlReader(Regions):
    """TrackML tables, whole or in regions; a path names the hits, ``event*-hits.csv``.

    Attributes:
        options: features, layers and task.
    """

    options: TrackmlOptions = field(default_factory=TrackmlOptions)

    @property
    def layout(self) -> PointLayout:
        """Names of features, coordinates and classes."""
        return self.options.layout

    def sources(self, path: Path) -> list[Path]:
        """The tables of the event, and that of the modules."""
        return trackml.sources(path)

    def event(self, path: Path) -> PointCloud:
        """The whole event of a file."""
        return read_event(path, self.options)


@dataclass(frozen=True)
class ActsReader(Regions):
    """Simulated hits of ACTS, whole or in regions; a path names the hits, ``event*-hits.csv``.

    Attributes:
        options: detector, features, layers and task.
    """

    options: ActsOptions

    @property
    def layout(self) -> PointLayout:
        """Names of features, coordinates and classes."""
        return self.options.layout

    def sources(self, path: Path) -> list[Path]:
        """Hits and particles."""
        return acts.sources(path)

    def event(self, path: Path) -> PointCloud:
        """The whole event of a file."""
        return acts.read_event(path, self.options)


@dataclass(frozen=True)
class SegmentReader(Regions):
    """HEPT-CMS line segments, ``graph_*.pt`` or ``graph_*.npz``, whole or in regions of the segments' own eta and phi.

    Features and coordinates are made of the whole event, before it is cut.

    Attributes:
        lda: fitted on training events (`segment_features.fit_lda`), or its file.
        task: ``pileup`` (all segments, true or fake) or ``tracking`` (true ones).
        fakes_per_true: for tracking; the fakes of an event depend on its number alone.
    """

    lda: Lda | Path
    task: Literal["pileup", "tracking"] = "pileup"
    fakes_per_true: float = 0.0

    @property
    def layout(self) -> PointLayout:
        """Names of features, coordinates and classes."""
        return SEGMENTS

    def _fitted(self) -> Lda:
        return Lda.load(self.lda) if isinstance(self.lda, Path) else self.lda

    def key(self) -> str:
        """The numbers of the LDA, and the other fields."""
        cut = f"{self.phi_sectors}|{self.eta_edges}|{self.overlap}"
        return f"{self._fitted().scalings.tobytes().hex()}|{self.task}|{self.fakes_per_true}|{cut}"

    def sources(self, path: Path) -> list[Path]:
        """The file alone; the LDA is in the key."""
        return [path]

    def event(self, path: Path) -> PointCloud:
        """The event of a file."""
        segments = read_segments(path)
        rng = np.random.default_rng(segments.event)
        return segment_cloud(segments, self._fitted(), self.task, self.fakes_per_true, rng)


@dataclass(frozen=True)
class CandidateReader(Regions):
    """Particle-flow candidates for the particle-level pile-up task, ``candidates_*.npz``, whole or in regions.

    Attributes:
        features: a key of `candidates.FEATURE_SETS`.
    """

    features: str = "hept"

    @property
    def layout(self) -> PointLayout:
        """Names of features, coordinates and classes."""
        return layout_of(self.features)

    def sources(self, path: Path) -> list[Path]:
        """The file alone."""
        return [path]

    def event(self, path: Path) -> PointCloud:
        """The whole event of a file."""
        return read_candidates(path, self.features)
