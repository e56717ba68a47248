"""From the data section of a build to a split of a per-point data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qformers.config import DataConfig, PointsConfig, nearest
from qformers.data.errors import DataError
from qformers.data.tracks.point_readers import CandidateReader, PointReader, SegmentReader, TrackmlReader
from qformers.data.tracks.point_source import PointOptions, PointSource
from qformers.data.tracks.trackml import TrackmlOptions


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
    if config.dataset not in READERS:
        raise DataError(
            f"data.dataset: there is no per-point data set '{config.dataset}'{nearest(config.dataset, READERS)}"
        )
    cache = Path(config.cache) if config.cache else None
    options = PointOptions(config.num_particles, points.too_many, config.max_jets, cache, config.shuffle_jets)
    return PointSource(READERS[config.dataset](config, points), files, options, split)


def _trackml(config: DataConfig, points: PointsConfig) -> PointReader:
    options = TrackmlOptions(config.features, points.layers, points.task)
    return TrackmlReader(options, points.phi_sectors, points.eta_edges, points.overlap)


def _segments(config: DataConfig, points: PointsConfig) -> PointReader:
    if points.lda is None:
        raise DataError(
            "data.points.lda: line_segments need the file of an LDA fitted on training events; it is missing"
        )
    return SegmentReader(Path(points.lda), points.task, points.fakes_per_true)


def _candidates(config: DataConfig, points: PointsConfig) -> PointReader:
    if points.task != "pileup":
        raise DataError(f"data.points.task: candidates have pileup only. Received: task={points.task}")
    return CandidateReader()


READERS = {"trackml": _trackml, "line_segments": _segments, "candidates": _candidates}
