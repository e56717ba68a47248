"""``.keras`` archives, looked through before Keras opens them: whole, of a size that can be, nothing in them run.

Needs neither Keras nor TensorFlow. Keras trusts what an archive says of itself, and tells a damaged one from a missing
one by nothing.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qformers.errors import QformersError, first_line
from qformers.files import BROKEN_ZIP, unpacked, unreadable
from qformers.hdf5_files import BROKEN_HDF5, refuse_bombs, refuse_broken_heaps

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
CONFIG_BYTES = 64 << 20  # a model of a thousand layers has some MB
WEIGHTS_BYTES = 2 << 30
ARCHIVE_BYTES = 4 << 30  # all members together
DEPTH = 100  # brackets within brackets; nested models have some 20


@dataclass(frozen=True)
class KerasArchive:
    """What a ``.keras`` file holds: its configuration, and the bytes of its weights (an HDF5 file)."""

    config: Mapping[str, Any]
    weights: bytes


def check_keras_archive(path: Path, error: type[QformersError]) -> KerasArchive:
    """The content of a ``.keras`` file, read to the end (so that a flipped bit shows), with bounded memory.

    Args:
        path: the file.
        error: class of what is raised.

    Raises:
        QformersError: of the class `error`: no such file, no archive, a damaged or cut one, one that unpacks to more
            than a model has, one without configuration or weights, a configuration that is none.
    """
    if reason := unreadable(path):
        raise error(f"{path}: {reason}")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > ARCHIVE_BYTES:
                raise ValueError(f"unpacks to {size:,} bytes, more than {ARCHIVE_BYTES:,}")
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ValueError("holds two members of one name")
            lacking = [name for name in (CONFIG, WEIGHTS) if name not in names]
            if lacking:
                raise error(
                    f"{path}: is not a model file that can be read: the archive has no '{lacking[0]}'; save it again"
                )
            texts = {name: unpacked(archive, name, CONFIG_BYTES) for name in names if name.endswith(".json")}
            weights = unpacked(archive, WEIGHTS, WEIGHTS_BYTES)
            for member in archive.infolist():  # assets too: a cut archive is not believed in part
                if member.filename not in (*texts, WEIGHTS) and not member.is_dir():
                    unpacked(archive, member.filename, ARCHIVE_BYTES)
        config = {name: parse_json(text) for name, text in texts.items()}[CONFIG]
    except QformersError:  # said already: many of these are a ValueError, too
        raise
    except BROKEN_ZIP as fault:
        raise error(
            f"{path}: is not a model file that can be read: {first_line(fault)}; it is damaged, cut short or something "
            f"else; save or copy it again"
        ) from fault
    if not isinstance(config, Mapping) or not isinstance(config.get("config"), Mapping) or "class_name" not in config:
        raise error(f"{path}: is not a model file that can be read: its {CONFIG} describes no model; save it again")
    refuse_weights(path, weights, error)
    return KerasArchive(config, weights)


def parse_json(text: bytes | str) -> Any:
    """JSON of bounded depth.

    Raises:
        ValueError: not JSON, or deeper than `DEPTH`.
    """
    try:
        tree = json.loads(text)
    except RecursionError as fault:
        raise ValueError("JSON nested too deeply") from fault
    level, depth = [tree], 0
    while level := [node for node in level if isinstance(node, dict | list)]:
        depth += 1
        if depth > DEPTH:
            raise ValueError(f"JSON nested more than {DEPTH} deep")
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
    return tree


def refuse_weights(path: Path, weights: bytes, error: type[QformersError]) -> None:
    """Refuse weights whose arrays claim more than is there, or stand in other files.

    Raises:
        QformersError: of the class `error`.
    """
    import h5py

    try:
        refuse_broken_heaps(weights)
        with h5py.File(io.BytesIO(weights)) as file:
            refuse_bombs(file, len(weights))
    except BROKEN_HDF5 as fault:
        words = f"its weights are damaged ({first_line(fault)})"
        raise error(f"{path}: is not a model file that can be read: {words}; save or copy it again") from fault
