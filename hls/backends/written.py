"""A written project before it is believed: is it whole, of these settings, and is nobody else at work in it?"""

from __future__ import annotations

import datetime
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hls.backends.protocol import LAYOUT
from hls.errors import HlsError
from qformers.builds.build import Build
from qformers.builds.settings import differences
from qformers.errors import DamagedError
from qformers.files import locked, replacing
from qformers.manifest import MANIFEST, read_manifest
from qformers.records import WRITTEN, all_hashes, refuse_changed, write_record

AGAIN = "write the project again with qformers export"
WIDE = "wider_than_float32"  # key of a manifest: layers with sums of more bits than a float32 has
UNFINISHED = "unfinished"  # key of a manifest: the export goes on, with the test bench

_held: dict[Path, int] = {}  # projects that this process holds, and how often


def check_project(path: Path) -> dict[str, Any]:
    """The manifest of a project, after a look at every file that its export wrote; imports and compiles nothing.

    Raises:
        HlsError: no project there, an export that was cut short, or a file that is missing, damaged or exchanged.
    """
    if not (path / MANIFEST).exists() and not (path / LAYOUT).exists():
        others = sorted(other.parent.name for other in path.parent.glob(f"*/{MANIFEST}"))
        known = f", or take the one that is there: --backend {' or '.join(others)}" if others else ""
        raise HlsError(f"{path} holds no firmware project; train the build, then write it with qformers export{known}")
    manifest = refuse_damaged(path)
    if manifest.get(UNFINISHED):
        raise HlsError(f"{path}: its export was stopped before the test bench was written; {AGAIN}")
    return manifest


def refuse_damaged(path: Path) -> dict[str, Any]:
    """The manifest of a project, after a look at every file that it names; its test bench may still be missing.

    Raises:
        HlsError: a file that is missing, damaged or exchanged.
    """
    try:
        manifest = read_manifest(path, AGAIN)
        if LAYOUT not in manifest.get(WRITTEN, {}):
            raise DamagedError(f"{path / MANIFEST}: does not name {LAYOUT}, it is of another folder; {AGAIN}")
        refuse_changed(path, manifest, AGAIN)
    except DamagedError as error:
        raise HlsError(str(error)) from error
    return manifest


def refuse_other_settings(path: Path, manifest: Mapping[str, Any], build: Build) -> None:
    """Refuse to take a project for one of a build whose section `firmware` says something else.

    Raises:
        HlsError: naming every key.
    """
    if changed := differences(
        {"firmware": manifest.get("firmware")}, {"firmware": build.firmware.model_dump(mode="json")}
    ):
        raise HlsError(
            f"{path} was written with other settings; export it again with those of this build, or leave the change "
            f"out. Changed (project -> build): {'; '.join(changed)}"
        )


def complete(path: Path) -> None:
    """Say in the manifest of a project that its export is done, with the hashes of all its files."""
    manifest = read_manifest(path, AGAIN)
    manifest.pop(UNFINISHED, None)
    write_record(path / MANIFEST, {**manifest, WRITTEN: all_hashes(path, [MANIFEST])})


@contextmanager
def using(path: Path, what: str) -> Iterator[None]:
    """Hold a project against other processes for the length of a block; one that holds it already may do so again.

    The lock stands beside the folder, since an export puts another folder in its place; it goes with the process,
    however that ends.

    Args:
        path: folder of the project, which need not be there yet.
        what: is done with it, e.g. "qformers csim"; for the message of whoever finds it held.

    Raises:
        HlsError: another process holds it; the message says which one.
    """
    path = path.resolve()
    if path in _held:
        _held[path] += 1
        try:
            yield
        finally:
            _held[path] -= 1
        return
    lock, holder = (path.with_name(f".{path.name}.{ending}") for ending in ("lock", "holder"))
    made = [place for place in (path.parent, *path.parent.parents) if not place.exists()]

    def taken() -> HlsError:
        who = holder.read_text(errors="replace").strip() if holder.is_file() else "another process"
        return HlsError(f"{path} is in use by {who}; wait until it ends, or stop it")

    with locked(lock, taken):
        try:
            now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            with replacing(holder) as temporary:
                temporary.write_text(f"{what} (process {os.getpid()} on {socket.gethostname()}, since {now})\n")
            _held[path] = 1
            yield
        finally:
            _held.pop(path, None)
            holder.unlink(missing_ok=True)
            if not path.exists():  # nothing came of it: leave no trace
                lock.unlink(missing_ok=True)
                for place in made:
                    with suppress(OSError):
                        place.rmdir()


def command() -> str:
    """What this process is, for `using`: the command line's first words, or the program."""
    return " ".join(["qformers", *sys.argv[1:2]]) if sys.argv[1:2] else Path(sys.executable).name
