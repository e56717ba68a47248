"""`PointReader`: what a per-point data set has to know about its files; streams, cache and shuffling are common.

One file is one event; an event may be cut into regions, always the same number, so that a split can be counted without
reading it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from qformers.data.tracks.candidates import LAYOUT as CANDIDATES
from qformers.data.tracks.candidates import read_candidates
from qformers.data.tracks.line_segments import read_segments
from qformers.data.tracks.point_events import PointCloud, PointLayout
from qformers.data.tracks.regions import SECTOR_OVERLAP, regions
from qformers.data.tracks.segment_features import LAYOUT as SEGMENTS
from qformers.data.tracks.segment_features import Lda, segment_cloud
from qformers.data.tracks.trackml import TrackmlOptions, event_number, read_event


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

    def read(self, path: Path) -> list[PointCloud]:
        """The clouds of a file."""


@dataclass(frozen=True)
class TrackmlReader:
    """TrackML tables, whole or in regions; a path names the hits, ``event*-hits.csv``.

    Attributes:
        options: features, layers and task.
        phi_sectors, eta_edges, overlap: as `regions`; one sector and no edges = the whole event.
    """

    options: TrackmlOptions = field(default_factory=TrackmlOptions)
    phi_sectors: int = 1
    eta_edges: tuple[float, ...] = ()
    overlap: float = SECTOR_OVERLAP

    @property
    def layout(self) -> PointLayout:
        """Names of features, coordinates and classes."""
        return self.options.layout

    @property
    def per_file(self) -> int:
        """Regions of an event."""
        return self.phi_sectors * max(len(self.eta_edges) - 1, 1)

    def key(self) -> str:
        """All fields."""
        return repr(self)

    def read(self, path: Path) -> list[PointCloud]:
        """The regions of an event, sector by sector."""
        event_number(path)
        cloud = read_event(path, self.options)
        if self.per_file == 1 and not self.eta_edges:
            return [cloud]
        return regions(cloud, self.phi_sectors, self.eta_edges, self.overlap)


@dataclass(frozen=True)
class SegmentReader:
    """HEPT-CMS line segments, ``graph_*.pt`` or ``graph_*.npz``.

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

    @property
    def per_file(self) -> int:
        """1."""
        return 1

    def _fitted(self) -> Lda:
        return Lda.load(self.lda) if isinstance(self.lda, Path) else self.lda

    def key(self) -> str:
        """The numbers of the LDA, and the other fields."""
        return f"{self._fitted().scalings.tobytes().hex()}|{self.task}|{self.fakes_per_true}"

    def read(self, path: Path) -> list[PointCloud]:
        """The event as one cloud."""
        segments = read_segments(path)
        rng = np.random.default_rng(segments.event)
        return [segment_cloud(segments, self._fitted(), self.task, self.fakes_per_true, rng)]


@dataclass(frozen=True)
class CandidateReader:
    """Particle-flow candidates for the particle-level pile-up task, ``candidates_*.npz``."""

    @property
    def layout(self) -> PointLayout:
        """Names of features, coordinates and classes."""
        return CANDIDATES

    @property
    def per_file(self) -> int:
        """1."""
        return 1

    def key(self) -> str:
        """Nothing to choose."""
        return "candidates"

    def read(self, path: Path) -> list[PointCloud]:
        """The event as one cloud."""
        return [read_candidates(path)]


POINT_DATASETS: dict[str, Callable[..., Any]] = {
    "trackml": TrackmlReader,
    "line_segments": SegmentReader,
    "candidates": CandidateReader,
}
