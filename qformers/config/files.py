"""Text of build files to trees of plain values: YAML without surprises, `extends`, and ``--set``.

Whatever is in a file, the only error that comes out is a `ConfigError` that names the file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from qformers.config.section import DEFAULT_ARCHITECTURE
from qformers.config.yaml_text import MAX_CHARACTERS, MAX_DEPTH, parse_yaml
from qformers.errors import ConfigError, shown

MAX_EXTENDS = 16  # files that extend one another


def read_text(path: Path) -> str:
    """The text of a build file.

    Raises:
        ConfigError: no file, none that may be read, no regular one (a pipe or a device has no end), one that is too
            large or no UTF-8.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"{path}: is a folder; name a build file, e.g. one of firmware_configs/*.yaml")
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: is no regular file but a device, pipe or socket; name a build file")
        with path.open("rb") as handle:
            content = handle.read(MAX_CHARACTERS + 1)
        if len(content) > MAX_CHARACTERS:
            raise ConfigError(f"{path}: has more than {MAX_CHARACTERS} bytes, and a build some thousand; name another")
        return content.decode("utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); builds are in firmware_configs/") from error
    except ConfigError:
        raise
    except ValueError as error:  # a byte that is no UTF-8, or a zero in the path
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({shown(str(error))})") from error


def read_tree(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Keys and values of a build file, with those of the file that it extends.

    Args:
        path: the file.
        below: files that extend this one.

    Raises:
        ConfigError: a file that cannot be read or is no YAML, or files that extend one another in a circle.
    """
    tree = parse_yaml(read_text(path), str(path))
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values at the top. Received: {type(tree).__name__}")
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str) or not base or "\0" in base:
        raise ConfigError(f"{path}: 'extends' needs the name of a file beside this one. Received: {shown(base)}")
    if os.path.realpath(path.parent / base) in [os.path.realpath(file) for file in (*below, path)]:
        raise ConfigError(f"{path}: 'extends' leads back to a file that was read before. Received: {shown(base)}")
    if len(below) >= MAX_EXTENDS:
        raise ConfigError(f"{path}: 'extends' goes through more than {MAX_EXTENDS} files. Received: {shown(base)}")
    if not (path.parent / base).exists():
        raise ConfigError(
            f"{path}: extends {shown(base)}, and there is no such file in {path.parent.resolve()}; give its path from "
            "there, or copy it too"
        )
    return onto(read_tree(path.parent / base, (*below, path)), tree)


def override(text: str) -> dict[str, Any]:
    """``"train.float.epochs=3"`` as nested dictionaries.

    Raises:
        ConfigError: no ``=``, or a value that is no YAML.
    """
    key, equals, value = text.partition("=") if isinstance(text, str) else ("", "", "")
    if not equals:
        raise ConfigError(f"--set needs section.key=value. Received: {shown(text)}")
    try:
        tree = parse_yaml(value, f"--set {key}")
    except ConfigError as error:
        if not isinstance(error.__cause__, yaml.MarkedYAMLError):
            raise
        problem = error.__cause__.problem or "it ends too early"
        raise ConfigError(
            f"--set {key}: the value is not YAML (quote it?): {problem}. Received: {shown(value)}"
        ) from error
    parts = key.split(".")
    if len(parts) > MAX_DEPTH:
        raise ConfigError(f"--set {shown(key)}: a key has at most {MAX_DEPTH} parts. Received: {len(parts)}")
    for part in reversed(parts):
        tree = {part: tree}
    return dict(tree)


def onto(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`base` changed by `top`; of a model of another architecture nothing is left."""
    old, new = base.get("model"), top.get("model")
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return _merge(base, top)
    before = old.get("architecture", DEFAULT_ARCHITECTURE)
    same = new.get("architecture", before) == before
    return _merge(base if same else {**base, "model": {}}, top)


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
