"""Data: loaders for public sets and generators for our own, one in-memory layout (`events.Events`)."""

from __future__ import annotations

from collections.abc import Callable
from glob import glob
from pathlib import Path
from typing import Literal, cast

from qformers.config.sections import DataConfig
from qformers.data.events import Events, FeatureSet
from qformers.data.jets.hls4ml_lhc import Hls4mlLhc
from qformers.data.jets.jetclass import JetClass
from qformers.data.jets.reader import Reader
from qformers.data.jets.source import Source
from qformers.errors import DataError, nearest

__all__ = ["DATASETS", "DataError", "Events", "FeatureSet", "Source", "open_split", "split_files"]

# name -> reader of its files; uproot and h5py are imported when a file is opened
DATASETS: dict[str, Callable[[DataConfig], Reader]] = {"jetclass": JetClass, "hls4ml_lhc": Hls4mlLhc}


def open_split(config: DataConfig, split: Literal["train", "val", "test"]) -> Source:
    """One split of a data set; files are opened to be counted, nothing is decoded yet.

    With `config.points` it is a `PointSource` of `PointEvents`, which can be used in the same way.

    Args:
        config: the data section of a build.
        split: which of its three globs.

    Raises:
        DataError: unknown data set, feature set or class (with the nearest name), a glob without files, a file that
            cannot be used.
    """
    if config.points is not None:
        from qformers.data.points.open_points import open_points

        return cast("Source", open_points(config, split_files(config, split), split))
    if config.dataset not in DATASETS:
        raise DataError(f"data.dataset: unknown data set '{config.dataset}'{nearest(config.dataset, DATASETS)}")
    reader = DATASETS[config.dataset](config)
    return Source(config, reader, split_files(config, split), split)


def split_files(config: DataConfig, split: Literal["train", "val", "test"]) -> list[Path]:
    """The files that the globs of a split match, in their order.

    Raises:
        DataError: no glob is given, or one matches nothing.
    """
    globs: tuple[str, ...] = getattr(config, split)
    if not globs:
        raise DataError(f"data.{split}: no glob is given; name the files, e.g. [data/{split}/*.root]")
    found: dict[Path, None] = {}  # ordered, and each file once even where two globs match it
    for pattern in globs:
        matches = sorted(glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not matches:
            raise DataError(
                f"data.{split}: no file matches '{pattern}' (looked from {Path.cwd()}); "
                f"correct the glob, or make jets with scripts/generate_data.py"
            )
        found.update(dict.fromkeys(Path(match) for match in matches))
    return list(found)
