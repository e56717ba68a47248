"""Damages of a finished run, one at a time: what a full disk, a broken copy or a wrong hand does to its files."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qformers.files import sha256
from qformers.records import write_record

# kind of artefact -> patterns in a run folder; of each pattern one file is damaged, chosen by the seed
ARTEFACTS: Mapping[str, tuple[str, ...]] = {
    "build": ("build.yaml",),
    "checkpoint": ("*/checkpoints/latest.json", "*/checkpoints/previous.json", "*/checkpoints/*.npz"),
    "model": ("float/model.keras", "qat/model.keras", "*/pareto/*.keras"),
    "manifest": ("float/manifest.json", "qat/manifest.json"),
    "training": ("*/metrics.json", "*/history.csv", "*/test_logits.npz"),
    "firmware manifest": ("firmware/*/manifest.json",),
    "firmware": (
        "firmware/*/layout.json", "firmware/*/ports.json", "firmware/*/precision.json", "firmware/*/model/comb.json.gz",
        "firmware/*/model/layers.json.gz", "firmware/*/src/*.v", "firmware/*/tb/*", "firmware/*/tb_data/*",
        "firmware/*/firmware/*.cpp", "firmware/*/firmware/*.h", "firmware/*/firmware/weights/*.txt",
        "firmware/*/project.tcl",
    ),
    "compiled": ("firmware/*/csim/*.o", "firmware/*/csim/*.so", "firmware/*/sim/*.so"),
    "record": ("csim.json", "rtl.json", "engine.json", "reports/*.json", "qat/sparsity.json"),
}  # fmt: skip

Change = Callable[[bytes], "bytes | None"]  # None: the file goes


@dataclass(frozen=True)
class Damage:
    """One file, and what happens to it.

    Attributes:
        kind: key of `ARTEFACTS`.
        file: relative to the run folder.
        how: key of `ways`.
        content: that the file gets; None: it goes.
    """

    kind: str
    file: str
    how: str
    content: bytes | None

    def __str__(self) -> str:
        return f"{self.file} {self.how}"

    def apply(self, run: Path) -> None:
        """Damage a copy of the run; a copy may be made of hard links, for files are not changed in place."""
        path = run / self.file
        path.unlink()
        if self.content is not None:
            path.write_bytes(self.content)


def ways(chance: random.Random, exchanged: bytes | None) -> dict[str, Change]:
    """What may happen to the content of a file: name -> what becomes of it."""
    found: dict[str, Change] = {
        "deleted": lambda old: None,
        "emptied": lambda old: b"",
        "truncated": lambda old: old[: chance.randrange(1, max(len(old), 2))],
        "zeroed": lambda old: bytes(len(old)),
        "flipped": lambda old: _flipped(old, chance),
        "as []": lambda old: b"[]",
        "as null": lambda old: b"null",
        "binary": lambda old: chance.randbytes(max(len(old), 16)),
        "edited": lambda old: _edited(old, chance),
    }
    return found if exchanged is None else {**found, "exchanged": lambda old: exchanged}


def damages(run: Path, seed: int, kinds: tuple[str, ...] = tuple(ARTEFACTS)) -> Iterator[tuple[str, Damage]]:
    """Description and damage, of every kind of artefact that a finished run has; the same for a seed.

    Args:
        run: is read only.
        seed: chooses files and places.
        kinds: keys of `ARTEFACTS`.
    """
    chance = random.Random(seed)  # noqa: S311  no secrets
    for kind in kinds:
        for pattern in ARTEFACTS[kind]:
            files = sorted(path for path in run.glob(pattern) if path.is_file())
            if not files:
                continue
            path = chance.choice(files)
            old = path.read_bytes()
            for how, change in ways(chance, _other(run, path, old)).items():
                content = change(old)
                if content != old:
                    damage = Damage(kind, path.relative_to(run).as_posix(), how, content)
                    yield str(damage), damage


def as_written(project: Path) -> None:
    """Let the manifest of a project say that its files were written as they are now: a fault that no hash shows."""
    manifest = json.loads((project / "manifest.json").read_text())
    written = {name: sha256(project / name) for name in manifest["written"]}
    write_record(project / "manifest.json", {**manifest, "written": written})


def _other(run: Path, path: Path, old: bytes) -> bytes | None:
    """Content of another file of the same kind: the same name of another phase or backend, or a neighbour."""
    same = [*sorted(run.rglob(path.name)), *sorted(path.parent.glob(f"*{path.suffix}"))]
    return next((one.read_bytes() for one in same if one.is_file() and one.read_bytes() != old), None)


def _flipped(old: bytes, chance: random.Random) -> bytes:
    """Three bits changed, the first of them in the second half: where the data are, behind a header."""
    if not old:
        return b"\xff"
    new = bytearray(old)
    for low in (len(old) // 2, 0, 0):
        new[chance.randrange(low, len(old))] ^= 1 << chance.randrange(8)
    return bytes(new)


def _edited(old: bytes, chance: random.Random) -> bytes:
    """A number of a text made another one; a file without numbers stays as it is."""
    try:
        text = old.decode()
    except UnicodeDecodeError:
        return old
    try:
        tree = json.loads(text)
    except ValueError:
        numbers = list(re.finditer(r"(?<=[ :=,\[(])\d+(?:\.\d+)?(?=[\s,;\]})]|$)", text))
        if not numbers:
            return old
        found = chance.choice(numbers)
        return (text[: found.start()] + f"{float(found[0]) + 1:g}" + text[found.end() :]).encode()
    places = [place for place in _places(tree, ()) if place]
    if not places:
        return old
    *way, last = chance.choice(places)
    inside: Any = tree
    for step in way:
        inside = inside[step]
    inside[last] = 0.99 if isinstance(inside[last], float) else inside[last] + 1
    return json.dumps(tree, indent=2).encode()


def _places(tree: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Of all numbers of a JSON tree."""
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _places(value, (*place, key))
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield place
