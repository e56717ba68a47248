"""Text of build files to trees of plain values: YAML without surprises, `extends`, and ``--set``.

Whatever is in a file, the only error that comes out is a `ConfigError` that names the file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from qformers.config.section import DEFAULT_ARCHITECTURE
from qformers.errors import ConfigError, shown

MAX_DEPTH = 32  # of keys in keys: a build needs 5; a tree that holds itself (YAML anchors) has no end
MAX_EXTENDS = 16  # files that extend one another


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which in addition refuses a key that stands twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # <<
            continue
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, Hashable):
            if key in seen:
                mark = key_node.start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {shown(key)} stands there twice", mark)
            seen.add(key)
    loader.flatten_mapping(node)
    return dict(loader.construct_mapping(node, deep=True))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse_yaml(text: str, name: str) -> Any:
    """Read YAML.

    Args:
        text: the YAML.
        name: of the file or setting, for messages.

    Raises:
        ConfigError: it is no YAML, a key stands twice, or it is nested without end.
    """
    try:
        tree = yaml.load(text, _Loader)  # noqa: S506  a safe loader
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: is not YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: is nested too deeply, {MAX_DEPTH} levels are enough for any build") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        # PyYAML's own conversions, e.g. of 2001-99-99 or !!int x
        raise ConfigError(f"{name}: is not YAML: a value cannot be converted ({shown(str(error))})") from error
    if _depth(tree, MAX_DEPTH) > MAX_DEPTH:
        raise ConfigError(f"{name}: is nested too deeply, {MAX_DEPTH} levels are enough for any build")
    return tree


def _depth(tree: Any, limit: int) -> int:
    """Levels of mappings and lists, counted up to one beyond `limit`; each level is walked once, whatever is shared."""
    level = [tree]
    for depth in range(limit + 2):
        parts = [part for part in level if isinstance(part, dict | list | tuple | set)]
        below = {id(item): item for part in parts for item in _items(part)}
        level = list(below.values())
        if not level:
            return depth
    return limit + 1


def _items(part: Any) -> Iterable[Any]:
    return part.values() if isinstance(part, dict) else part


def read_tree(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Keys and values of a build file, with those of the file that it extends.

    Args:
        path: the file.
        below: files that extend this one.

    Raises:
        ConfigError: a file that cannot be read or is no YAML, or files that extend one another in a circle.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder; name a build file, e.g. one of firmware_configs/*.yaml") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); builds are in firmware_configs/") from error
    except ValueError as error:  # a byte that is no UTF-8, or a zero in the path
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({shown(str(error))})") from error
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values at the top. Received: {type(tree).__name__}")
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{path}: 'extends' needs the name of a file beside this one. Received: {shown(base)}")
    if len(below) >= MAX_EXTENDS or (path.parent / base).absolute() in [file.absolute() for file in (*below, path)]:
        raise ConfigError(f"{path}: 'extends' leads back to a file that was read before. Received: {shown(base)}")
    return onto(read_tree(path.parent / base, (*below, path)), tree)


def override(text: str) -> dict[str, Any]:
    """``"train.float.epochs=3"`` as nested dictionaries.

    Raises:
        ConfigError: no ``=``, or a value that is no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set needs section.key=value. Received: {shown(text)}")
    try:
        tree = parse_yaml(value, f"--set {key}")
    except ConfigError as error:
        raise ConfigError(f"--set {key}: the value is not YAML (quote it?). Received: {shown(value)}") from error
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
