"""`PointDataset`: a per-point data set, from the data section of a build to its splits; and the readers' settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qformers.config.sections import DataConfig, PointsConfig
from qformers.data.events import FeatureSet
from qformers.data.jets.labels import refuse_labels
from qformers.data.points.acts import ActsOptions
from qformers.data.points.filtering import Kept
from qformers.data.points.readers import ActsReader, CandidateReader, PointReader, SegmentReader, TrackmlReader
from qformers.data.points.split import PointOptions, PointSplit, feature_set_of
from qformers.data.points.trackml import TrackmlOptions
from qformers.data.split import SplitName, split_files
from qformers.errors import DataError
from qformers.progress import Reporter


@dataclass(frozen=True)
class PointDataset:
    """A data set with events of points.

    Attributes:
        reader: knows the files, made from the data section of a build and its section `points`.
        files: patterns of its files of events in a folder.
        write: writes the kept points of a file, see `qformers.data.points.filtering`; called with the reader, the file,
            which of its points are kept (n,) and the folder of the new file, which it returns.
        known: name of each feature set -> names of its numbers.
        holds: whether a file with such a name is of the data set, for those that share their patterns.
    """

    reader: Callable[[DataConfig, PointsConfig], PointReader]
    files: tuple[str, ...]
    write: Callable[[Any, Path, Kept, Path], Path]
    known: Mapping[str, tuple[str, ...]]
    holds: Callable[[Path], bool] = lambda path: True

    @property
    def feature_sets(self) -> Mapping[str, int]:
        """Name of each feature set -> numbers per point."""
        return {name: len(columns) for name, columns in self.known.items()}

    @property
    def unit(self) -> str:
        """See `Dataset.unit`; an event that is not cut is one window."""
        return "windows"

    def reader_of(self, config: DataConfig) -> PointReader:
        """What reads the files of a data section.

        Raises:
            DataError: no section `points`, an unknown feature set, settings that do not go with the data set.
        """
        refuse_labels(config.labels, config.dataset)
        return self.reader(config, _section(config))

    def open(self, config: DataConfig, split: SplitName, reporter: Reporter | None = None) -> PointSplit:
        """One split of the data set.

        Raises:
            DataError: as `reader_of`, or no file.
        """
        reader, points, cache = self.reader_of(config), _section(config), Path(config.cache) if config.cache else None
        options = PointOptions(config.num_particles, points.too_many, config.max_jets, cache, config.shuffle_jets)
        return PointSplit(reader, split_files(config, split), options, split, reporter)

    def numbers(self, config: DataConfig) -> tuple[FeatureSet, tuple[str, ...]]:
        """See `Dataset.numbers`."""
        layout = self.reader_of(config).layout
        return feature_set_of(layout), layout.classes

    def task(self, config: DataConfig) -> str:
        """The one that the section `points` names."""
        return _section(config).task


def _section(config: DataConfig) -> PointsConfig:
    if config.points is None:
        raise DataError(
            f"data.points: '{config.dataset}' is a data set of points; say what is asked of each with a section "
            f"'points: {{task: tracking}}' or 'points: {{task: pileup}}'. Received: no section"
        )
    return config.points


def _regions(points: PointsConfig) -> dict[str, Any]:
    return {key: getattr(points, key) for key in ("phi_sectors", "eta_edges", "overlap", "local")}


def trackml(config: DataConfig, points: PointsConfig) -> TrackmlReader:
    """Of TrackML's tables."""
    options = TrackmlOptions(config.features, points.layers, points.task)
    return TrackmlReader(options, **_regions(points))


def acts(detector: str, config: DataConfig, points: PointsConfig) -> ActsReader:
    """Of the simulated hits that ACTS's examples write for a detector, a key of `acts.DETECTORS`."""
    options = ActsOptions(detector, config.features, points.layers, points.task)
    return ActsReader(options, **_regions(points))


def line_segments(config: DataConfig, points: PointsConfig) -> SegmentReader:
    """Of HEPT-CMS line segments.

    Raises:
        DataError: no LDA.
    """
    if points.lda is None:
        raise DataError(
            "data.points.lda: line_segments need the file of an LDA fitted on training events; it is missing "
            "(qformers fit-lda makes it)"
        )
    if points.local:
        raise DataError(
            "data.points.local: coordinates of line segments are the components of an LDA, which have no middle of a "
            "window; leave it out. Received: local=True"
        )
    return SegmentReader(Path(points.lda), points.task, points.fakes_per_true, **_regions(points))


def candidates(config: DataConfig, points: PointsConfig) -> CandidateReader:
    """Of particle-flow candidates.

    Raises:
        DataError: another task than pileup.
    """
    if points.task != "pileup":
        raise DataError(f"data.points.task: candidates have pileup only. Received: task={points.task}")
    return CandidateReader(config.features, **_regions(points))
