"""Which events a build names: a hash of its files, cheap enough to be taken at every start."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import get_args

from qformers.config.sections import DataConfig
from qformers.data import DATASETS
from qformers.data.points.dataset import PointDataset
from qformers.data.split import SplitName, split_files
from qformers.errors import DataError

RECORDED = "data_files"  # key of what `data_files` gave, in the settings that a training records
WHOLE_BYTES = 8 << 20  # a file up to here is read whole
TABLES = " tables"  # behind the name of a split
PARTS, PART_BYTES = 32, 1 << 14  # of a larger one so many places, evenly from its first byte to its last


def data_files(config: DataConfig) -> dict[str, str | None]:
    """Split -> SHA-256 of the names, lengths and contents of its files; None where they are not here.

    Where events of points have further tables beside their files, ``SPLIT tables`` is the same of those.

    Of large files only a part of the content is read: data that were made again or exchanged are noticed, a bit that
    flipped is not always. The folder and the time of change do not matter, so that a copy is the same.
    """
    found = {split: _of_split(config, split) for split in get_args(SplitName)}
    for split in get_args(SplitName):
        if tables := _tables(config, split):
            found[f"{split}{TABLES}"] = _of_files(tables)
    lda = None if config.points is None else config.points.lda
    return found if lda is None else {**found, "lda": _of_files([Path(lda)]) if Path(lda).is_file() else None}


def changed_files(old: object, new: dict[str, str | None]) -> list[str]:
    """Splits of which other files are here now than `old` says, in words; those that are not here are none."""
    before = old if isinstance(old, dict) else {}
    return [
        f"{_words(name)} have another content"
        for name, digest in new.items()
        if digest is not None and before.get(name) not in (None, digest)
    ]


def _words(name: str) -> str:
    if name.endswith(TABLES):
        return f"data.{name.removesuffix(TABLES)}: the tables beside the files"
    return f"data.{'points.lda' if name == 'lda' else name}: the files"


def _tables(config: DataConfig, split: SplitName) -> list[Path]:
    """What is read beside the files of a split, each once."""
    dataset = DATASETS.get(config.dataset)
    if not isinstance(dataset, PointDataset):
        return []
    try:
        reader, files = dataset.reader_of(config), split_files(config, split)
    except DataError:  # whoever needs the events says so
        return []
    return list(dict.fromkeys(table for path in files for table in reader.sources(path) if table != path))


def _of_split(config: DataConfig, split: SplitName) -> str | None:
    try:
        return _of_files(split_files(config, split))
    except DataError:  # whoever needs the events says so
        return None


def _of_files(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}|{size}|".encode())
        with path.open("rb") as file:
            if size <= WHOLE_BYTES:
                digest.update(file.read())
                continue
            for part in range(PARTS):
                file.seek(part * (size - PART_BYTES) // (PARTS - 1))
                digest.update(file.read(PART_BYTES))
    return digest.hexdigest()
