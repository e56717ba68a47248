"""A build whose data stand in another folder than the build file says."""

from __future__ import annotations

from pathlib import Path, PurePath

from qformers.builds.build import Build
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
        names = dict.fromkeys(PurePath(pattern).name for pattern in getattr(build.data, split))
        changes[split] = tuple(str(place / name) for name in names)
    points = build.data.points
    if points is not None and points.lda is not None:
        changes["points"] = points.model_copy(update={"lda": str(folder / PurePath(points.lda).name)})
    return build.model_copy(update={"data": build.data.model_copy(update=changes)})
