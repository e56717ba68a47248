"""A build whose data stand in another folder than the build file says."""

from __future__ import annotations

from pathlib import Path, PurePath

from qformers.builds.build import Build
from qformers.data import DATASETS
from qformers.data.points.dataset import PointDataset
from qformers.errors import ConfigError

SPLITS = ("train", "val", "test")


def in_folder(build: Build, folder: Path) -> Build:
    """The build with its files from ``folder/{train,val,test}``; their patterns stay, an LDA is ``folder/<its name>``.

    Args:
        build: e.g. with ``data.train: [data/tracks_demo/train/*-hits.csv]``.
        folder: that holds train, val and test.

    Raises:
        ConfigError: a folder is missing.
    """
    changes: dict[str, object] = {}
    for split in SPLITS:
        place = folder / split
        if not place.is_dir():
            raise ConfigError(
                f"--data: {folder} must hold the folders {', '.join(SPLITS)}; move its files there, e.g. 80/10/10 by "
                f"event number. Received: no {place}"
            )
        names = _matching(build, place, [PurePath(pattern).name for pattern in getattr(build.data, split)])
        changes[split] = tuple(str(place / name) for name in names)
    points = build.data.points
    if points is not None and points.lda is not None:
        changes["points"] = points.model_copy(update={"lda": str(folder / PurePath(points.lda).name)})
    return build.model_copy(update={"data": build.data.model_copy(update=changes)})


def _matching(build: Build, place: Path, names: list[str]) -> dict[str, None]:
    """The patterns of a build; where no file of `place` has such a name, those of its data set that one has.

    Public sets are packed (``event*-hits.csv.gz``), what the build was written for perhaps not.
    """
    dataset = DATASETS.get(build.data.dataset)
    others = dataset.files if isinstance(dataset, PointDataset) else ()
    if not any(any(place.glob(name)) for name in names):
        found = [name for name in others if any(place.glob(name))]
        return dict.fromkeys(found or names)
    return dict.fromkeys(names)
