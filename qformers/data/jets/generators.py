"""Which version of `qformers generate` made the files of a build, and whether jets are made otherwise today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, get_args

from qformers.config.sections import DataConfig
from qformers.data.split import SplitName, split_files
from qformers.errors import DataError

MANIFEST = "manifest.json"  # in the folder of a data set, one above those of its splits
# By preset; raised whenever equal settings no longer give equal jets. lhc5, 1: boson decays of Pythia's own processes,
# with underlying event, in a window of pT; its particles, masses and separations are not those of the public set.
VERSIONS = {"jetclass": 1, "lhc5": 2}


class MadeBy(NamedTuple):
    """A preset of `qformers generate` and the version of it that made some jets."""

    preset: str
    version: int

    @property
    def former(self) -> bool:
        """Whether jets of this preset are made otherwise today."""
        return self.version != VERSIONS.get(self.preset, self.version)

    def __str__(self) -> str:
        """``lhc5, version 1 of its generator (now 2)``."""
        return f"{self.preset}, version {self.version} of its generator" + (
            f" (now {VERSIONS[self.preset]})" if self.former else ""
        )


def generators_of(config: DataConfig) -> tuple[MadeBy, ...]:
    """What made the files of all splits, each once; none where no manifest of generated jets lies above them."""
    folders: dict[Path, None] = {}
    for split in get_args(SplitName):
        try:
            folders |= dict.fromkeys(path.parent.parent for path in split_files(config, split))
        except DataError:  # they are not here: whoever needs the events says so
            continue
    made = (_made_by(folder / MANIFEST) for folder in folders)
    return tuple(dict.fromkeys(one for one in made if one is not None))


def _made_by(path: Path) -> MadeBy | None:
    """What a manifest says; None where there is none, or it is of something else."""
    try:
        text = json.loads(path.read_text())
        preset, version = text["settings"]["preset"], text["format"]
    except (OSError, ValueError, KeyError, TypeError):  # another tool's file may be called manifest.json too
        return None
    known = isinstance(preset, str) and preset in VERSIONS and type(version) is int
    return MadeBy(preset, version) if known else None
