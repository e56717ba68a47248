"""YAML of build files: plain values as YAML 1.2 reads them, bounded in size, and nothing that stands for another text.

PyYAML follows YAML 1.1, in which ``016`` is 14, ``1:30`` is 90, ``1_000`` is a number and ``1e-3`` is none, and a list
of lists of references grows without end. Here a number is what it looks like, and a text is counted before it is built.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from qformers.errors import ConfigError, shown

MAX_CHARACTERS = 300_000  # of a text; a build has some thousand
MAX_DEPTH = 32  # of keys in keys: a build needs 5
MAX_NODES = 100_000  # keys and values with all references (*name, <<) written out
MERGE = "tag:yaml.org,2002:merge"  # <<
_TEXT, _NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "bool", "int", "float"))
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_PLAIN = (  # tag, what the whole of a plain value looks like, how it may begin; the first that fits counts
    (_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    (
        _BOOL,
        re.compile(r"^(?:(?:yes|no|on|off|true|false)|(?:Yes|No|On|Off|True|False)|(?:YES|NO|ON|OFF|TRUE|FALSE))$"),
        list("yYnNoOtTfF"),
    ),
    (_INT, re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    (_FLOAT, re.compile(rf"^(?:{_NUMBER.pattern}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"), list("-+.0123456789")),
    (MERGE, re.compile(r"^<<$"), ["<"]),
)
_LEADING_ZERO = re.compile(r"^[-+]?0[0-9]+$")


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the plain values of YAML 1.2, which in addition refuses a key that stands twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  as PyYAML has it


class Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts a text in quotes where `Loader` or another reader would take a value for it."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        start: list(some) for start, some in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


for _tag, _pattern, _starts in _PLAIN:
    Loader.add_implicit_resolver(_tag, _pattern, _starts)
    Dumper.add_implicit_resolver(_tag, _pattern, _starts)


def _refused(node: yaml.Node, words: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, words, node.start_mark)


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    """A whole number, and no other than the one that a reader sees."""
    text = str(loader.construct_scalar(node))
    if _LEADING_ZERO.match(text):
        plain = text.lstrip("+-").lstrip("0") or "0"
        raise _refused(
            node,
            f"a number does not begin with 0, for some read it in base 8; write {plain} (base 8: 0o...), or quote it "
            f"where it is a text. Received: {shown(text)}",
        )
    return int(text, 0)  # 0o17 and 0x1f too


def _float(loader: Loader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _mapping(loader: Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        key = "<<" if key_node.tag == MERGE else loader.construct_object(key_node, deep=True)
        if isinstance(key, Hashable):
            if key in seen:
                raise _refused(key_node, f"the key {shown(key)} stands there twice")
            seen.add(key)
    loader.flatten_mapping(node)
    return dict(loader.construct_mapping(node, deep=True))


Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
Loader.add_constructor(_INT, _int)
Loader.add_constructor(_FLOAT, _float)


def parse_yaml(text: str, name: str) -> Any:
    """Read YAML.

    Args:
        text: the YAML.
        name: of the file or setting, for messages.

    Raises:
        ConfigError: it is no YAML, a key stands twice, it is too large or nested without end, has a tag (``!!int``), or
            a number that is read in two ways.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{name}: has {len(text)} characters, {MAX_CHARACTERS} are enough for any build")
    try:
        _check_size(text, name)
        return yaml.load(text, Loader)  # noqa: S506  a safe loader
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: is not YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: is nested too deeply, {MAX_DEPTH} levels are enough for any build") from error
    except ConfigError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        # PyYAML's own conversions, e.g. of a number of thousands of digits
        raise ConfigError(f"{name}: is not YAML: a value cannot be converted ({shown(str(error))})") from error


def _check_size(text: str, name: str) -> None:
    """Count depth and nodes, references written out, before anything is built from them: a pass over the events.

    Raises:
        ConfigError: there are too many, a reference leads into itself, or a value has a tag.
    """
    sizes: dict[str, tuple[int, int]] = {}  # anchor -> nodes, levels
    above: list[tuple[str | None, int, int]] = []  # anchor, nodes so far, levels below so far
    for event in yaml.parse(text, Loader):
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in ("!", _TEXT):
            raise ConfigError(f"{name}: a value needs no tag, write it plainly or in quotes. Received: {shown(tag)}")
        if isinstance(event, yaml.CollectionStartEvent):
            above.append((event.anchor, 1, 0))
            if event.anchor is not None:
                sizes.pop(event.anchor, None)
            if len(above) > MAX_DEPTH:
                raise ConfigError(f"{name}: is nested too deeply, {MAX_DEPTH} levels are enough for any build")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, nodes, levels = above.pop()
            levels += 1
        elif isinstance(event, yaml.ScalarEvent):
            anchor, nodes, levels = event.anchor, 1, 0
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _, _ in above) and event.anchor not in sizes:
                raise ConfigError(f"{name}: the reference *{shown(event.anchor)[1:-1]} leads into itself")
            anchor, (nodes, levels) = (
                None,
                sizes.get(str(event.anchor), (1, 0)),
            )  # an unknown one is refused by the loader
        else:
            continue
        if anchor is not None:
            sizes[anchor] = (nodes, levels)
        if len(above) + levels > MAX_DEPTH:
            raise ConfigError(f"{name}: is nested too deeply, {MAX_DEPTH} levels are enough for any build")
        if above:
            outer, count, below = above[-1]
            above[-1] = (outer, count + nodes, max(below, levels))
            nodes = above[-1][1]
        if nodes > MAX_NODES:
            raise ConfigError(
                f"{name}: has more than {MAX_NODES} keys and values with all references (*name) written out; a build "
                "needs some hundred"
            )


def to_yaml(tree: Any, width: int | None = None) -> str:
    """`tree` as YAML that `parse_yaml` reads back equal, keys in their order."""
    return str(yaml.dump(tree, Dumper=Dumper, sort_keys=False, width=width))
