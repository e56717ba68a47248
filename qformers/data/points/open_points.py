"""From the data section of a build to a split of a per-point data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qformers.config.sections import DataConfig, PointsConfig
from qformers.data.points.readers import CandidateReader, PointReader, SegmentReader, TrackmlReader
from qformers.data.points.source import PointOptions, PointSource
from qformers.data.points.trackml import TrackmlOptions
from qformers.errors import DataError, nearest


def open_points(config: DataConfig, files: Sequence[Path], split: str) -> PointSource:
    """One split.

    Args:
        config: the data section, with `points`.
        files: of the split.
        split: its name, for messages.

    Raises:
        DataError: unknown data set or feature set, settings that do not go with it.
    """
    points = config.points or PointsConfig()
    reader = point_reader(config)
    cache = Path(config.cache) if config.cache else None
    options = PointOptions(config.num_particles, points.too_many, config.max_jets, cache, config.shuffle_jets)
    return PointSource(reader, files, options, split)


def point_reader(config: DataConfig) -> PointReader:
    """What reads the files of a data section with `points`.

    Raises:
        DataError: unknown data set or feature set, settings that do not go with it.
    """
    if config.dataset not in READERS:
        raise DataError(
            f"data.dataset: there is no per-point data set '{config.dataset}'{nearest(config.dataset, READERS)}"
        )
    return READERS[config.dataset](config, config.points or PointsConfig())


def _regions(points: PointsConfig) -> dict[str, Any]:
    return {"phi_sectors": points.phi_sectors, "eta_edges": points.eta_edges, "overlap": points.overlap}


def _trackml(config: DataConfig, points: PointsConfig) -> PointReader:
    options = TrackmlOptions(config.features, points.layers, points.task)
    return TrackmlReader(options, **_regions(points))


def _segments(config: DataConfig, points: PointsConfig) -> PointReader:
    if points.lda is None:
        raise DataError(
            "data.points.lda: line_segments need the file of an LDA fitted on training events; it is missing "
            "(scripts/fit_lda.py makes it)"
        )
    if points.phi_sectors > 1 or points.eta_edges:
        raise DataError(
            f"data.points: line_segments come as whole events, their coordinates are not eta and phi. "
            f"Received: phi_sectors={points.phi_sectors}, eta_edges={list(points.eta_edges)}"
        )
    return SegmentReader(Path(points.lda), points.task, points.fakes_per_true)


def _candidates(config: DataConfig, points: PointsConfig) -> PointReader:
    if points.task != "pileup":
        raise DataError(f"data.points.task: candidates have pileup only. Received: task={points.task}")
    return CandidateReader(config.features, **_regions(points))


READERS = {"trackml": _trackml, "line_segments": _segments, "candidates": _candidates}
