"""Mutated files of every format that is read from outside, and hostile values of every text of a build file."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from support.formats import FORMATS, attempt
from support.hostile import HOSTILE
from support.mutations import mutations
from support.paths import DATA

from chaos.runs import BUILD
from chaos.tally import BELIEVED, CLEAN, OTHER, TRACEBACK, Section
from qformers.builds.build import Build


def mutated(times: int, seed: int) -> Section:
    """Files of all formats in turn, each damaged by its seed."""
    section = Section("mutated inputs of all formats")
    formats = [one for one in FORMATS if not one.needs or importlib.util.find_spec(one.needs)]
    each = -(-times // len(formats))
    with tempfile.TemporaryDirectory() as folder:
        sources = []
        for number, form in enumerate(formats):
            place = Path(folder) / str(number)
            place.mkdir()
            path = form.make(place)
            sources.append((form, path, mutations(path.read_bytes(), form.kind, seed, each)))
        trials = ((form, path, one) for form, path, made in sources for one in made)
        for form, path, (name, content) in itertools.islice(trials, each * len(formats)):
            said = attempt(form, path, content)
            what = f"{form.name} {name}"
            if said.startswith("traceback"):
                section.add(what, TRACEBACK, said)
            elif "\n" in said and form.kind != "yaml":  # a fault of YAML is shown in its place, on lines of its own
                section.add(what, OTHER, said)
            else:
                section.add(what, CLEAN)
    left = [one.name for one in FORMATS if one not in formats]
    section.note = f"without {', '.join(left)}: PyTorch is not installed" if left else ""
    return section


def hostile(times: int) -> Section:
    """Hostile texts in place of every text of a build file: refused by the schema, or written as a text like others."""
    section = Section("hostile values in every text of a build")
    tree = yaml.safe_load(BUILD.format(jets=DATA / "jets"))
    for place in _texts(tree, ()):
        for text in HOSTILE[:times]:
            changed = copy.deepcopy(tree)
            inside: Any = changed
            for step in place[:-1]:
                inside = inside[step]
            inside[place[-1]] = text
            what = f"{'.'.join(map(str, place))} = {text[:40]!r}"
            try:
                build = Build.model_validate(changed)
            except ValidationError:
                section.add(what, CLEAN)
                continue
            kept = {one for one in _values(build.model_dump()) if one == text}
            free = place[0] == "data" and place[1] in ("train", "val", "test", "cache")  # globs, which name files
            section.add(what, CLEAN if free or not kept else BELIEVED, "taken as it is")
    return section


def _texts(tree: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Places of all texts of a tree."""
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _texts(value, (*place, key))
    elif isinstance(tree, str):
        yield place


def _values(tree: Any) -> Iterator[Any]:
    """All leaves of a tree that are texts."""
    if isinstance(tree, dict | list | tuple):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _values(value)
    elif isinstance(tree, str):
        yield tree
