"""A tiny build and the jets that it needs, so that an installed package can be tried without a repository.

The jets are the first 40, 10 and 15 of each class of ``tests/data/jets/{train,val,test}``, in the branches that the
build reads. `part_tiny.yaml` is ``firmware_configs/part_tiny.yaml`` with every key written out that differs from the
default.
"""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from qformers.errors import ConfigError
from qformers.files import foreign

BUILD = "part_tiny.yaml"
JETS = ("train.root", "val.root", "test.root")


def _is_demo(folder: Path) -> bool:
    """Whether the jets are those of the package, the build file may have been changed."""
    shipped = resources.files(__package__) / "jets"
    places = {name: folder / "jets" / name for name in JETS}
    there = [name for name, place in places.items() if place.is_file()]
    return bool(there) and all(places[name].read_bytes() == (shipped / name).read_bytes() for name in there)


def write(folder: Path) -> Path:
    """Write the build file and ``jets/`` into a folder; returns the build file, whose paths are relative to the folder.

    What is there already stays, so that a changed build file is not lost.

    Args:
        folder: made if it is missing.

    Raises:
        ConfigError: it holds other files.
    """
    if reason := foreign(folder, _is_demo, "demo"):
        raise ConfigError(f"{folder}: {reason}; name another folder")
    (folder / "jets").mkdir(parents=True, exist_ok=True)
    shipped = resources.files(__package__)
    for source, target in [(BUILD, BUILD), *((f"jets/{name}", f"jets/{name}") for name in JETS)]:
        if not (folder / target).exists():
            with resources.as_file(shipped / source) as path:
                shutil.copyfile(path, folder / target)
    return folder / BUILD
