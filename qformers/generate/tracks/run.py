"""Generate tracker events into a folder: event by event, in parallel, resumable, with a manifest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from qformers.errors import DataError, GenerateError
from qformers.files import alone, foreign, sha256, sweep, write_json
from qformers.generate.record import manifest_of
from qformers.generate.tracks.event import make_event
from qformers.generate.tracks.settings import FIRST_EVENT, SPLITS, TrackSettings
from qformers.generate.tracks.tables import write_detectors, write_event
from qformers.progress import Reporter, Silent

NAME, DETECTORS_FILE = "manifest.json", "detectors.csv"
FORMAT = 1  # raise it whenever equal settings no longer give equal events
SAVE_EVERY_S = 5.0
WAITING_PER_JOB = 2  # events handed to the workers at a time


class EventEntry(TypedDict):
    """One finished event."""

    split: Literal["train", "val", "test"]
    hits: Annotated[int, Field(ge=0)]
    particles: Annotated[int, Field(ge=0)]
    files: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")], str]


class TrackManifest(TypedDict):
    """The whole record of a folder."""

    kind: Literal["tracks"]
    format: int
    command: str
    packed: bool
    settings: dict[str, Any]
    events: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], EventEntry]


@dataclass(frozen=True)
class Made:
    """What a run did.

    Attributes:
        manifest: of the folder, all events in it.
        new: events made by this run.
        seconds: it took for them.
    """

    manifest: dict[str, Any]
    new: int
    seconds: float

    def line(self) -> str:
        """Events, hits per event and events per second, in one line."""
        hits = np.array([entry["hits"] for entry in self.manifest["events"].values()])
        rate = f"{self.new} new ones at {self.new / self.seconds:.2f} events/s" if self.new else "none of them new"
        return f"{len(hits)} events ({rate}), {hits.mean():.0f} hits per event on average, {hits.min()} to {hits.max()}"


def generate(
    settings: TrackSettings,
    folder: Path,
    jobs: int,
    command: str,
    packed: bool = False,
    reporter: Reporter | None = None,
) -> Made:
    """Make all events of `settings` that `folder` does not hold yet.

    Writes ``{train,val,test}/event*-{hits,truth,particles,vertices,cells}.csv[.gz]``, ``detectors.csv`` and
    ``manifest.json`` (settings, and of each event its hits, particles and the SHA-256 of its files).

    Args:
        settings: what to make.
        folder: made if it is missing; one run at a time.
        jobs: processes.
        command: that made it, for the manifest.
        packed: write .csv.gz.
        reporter: told how many events there are.

    Raises:
        DataError: the folder holds events of other settings, or a file of it has been changed.
        GenerateError: another process generates into the folder.
    """
    if jobs < 1:
        raise DataError(f"jobs must be at least 1. Received: jobs={jobs}")
    if reason := foreign(folder, lambda place: (place / NAME).is_file(), "events that were generated"):
        raise DataError(f"{folder}: {reason}; give another --out")
    held = GenerateError(f"another process is generating into {folder}; wait for it or give another --out")
    with alone(folder, held):
        return _generate(settings, folder, jobs, command, packed, reporter or Silent())


def _generate(settings: TrackSettings, folder: Path, jobs: int, command: str, packed: bool, reporter: Reporter) -> Made:
    manifest = _open(folder, settings, command, packed)
    for place in (folder, *(folder / split for split in SPLITS)):
        sweep(place)
    write_detectors(folder / DETECTORS_FILE, settings.tracker)
    waiting = [i for i in range(settings.events) if str(FIRST_EVENT + i) not in manifest["events"]]
    started = saved = time.monotonic()
    new = 0
    try:
        tick = reporter.task("events", settings.events, settings.events - len(waiting))
        for index, entry in _made(settings, folder, packed, waiting, jobs):
            manifest["events"][str(FIRST_EVENT + index)] = entry
            new += 1
            tick(1, f"{entry['hits']} hits in the last one")
            if time.monotonic() - saved > SAVE_EVERY_S:
                write_json(folder / NAME, manifest)
                saved = time.monotonic()
    finally:  # also at Ctrl-C: what is finished is not made again
        manifest["events"] = dict(sorted(manifest["events"].items(), key=lambda item: int(item[0])))
        write_json(folder / NAME, manifest)
    return Made(manifest, new, max(time.monotonic() - started, 1e-9))


def _event(settings: TrackSettings, folder: Path, packed: bool, index: int) -> tuple[int, dict[str, Any]]:
    """Make and write one event; returns its entry in the manifest."""
    tables = make_event(settings, index)
    paths = write_event(folder / settings.split_of(index), FIRST_EVENT + index, tables, packed)
    entry = {
        "split": settings.split_of(index),
        "hits": len(tables["hits"]["hit_id"]),
        "particles": len(tables["particles"]["particle_id"]),
        "files": {path.name: sha256(path) for path in paths},
    }
    return index, entry


def _made(
    settings: TrackSettings, folder: Path, packed: bool, waiting: list[int], jobs: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Entries of the waiting events, in order; a few events per process are under way at a time."""
    work = partial(_event, settings, folder, packed)
    if jobs == 1:
        yield from map(work, waiting)
        return
    import multiprocessing

    # Spawn, not fork: the parent may hold the threads of a machine-learning library.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for at in range(0, len(waiting), WAITING_PER_JOB * jobs):
            yield from pool.map(work, waiting[at : at + WAITING_PER_JOB * jobs])


def _open(folder: Path, settings: TrackSettings, command: str, packed: bool) -> dict[str, Any]:
    """Begin a folder, or resume it after checking what it holds."""
    fresh: dict[str, Any] = {"format": FORMAT, "kind": "tracks", "command": command, "packed": packed}
    fresh |= {"settings": settings.as_dict(), "versions": {"numpy": np.__version__}, "events": {}}
    path = folder / NAME
    if not path.exists():
        return fresh
    old = load_manifest(folder)
    compared = [(key, old.get(key), fresh[key]) for key in ("format", "packed")]
    compared += [(key, old["settings"].get(key), value) for key, value in fresh["settings"].items()]
    differing = [f"{key}: {there} there, {now} now" for key, there, now in compared if there != now]
    if differing:
        raise DataError(
            f"{folder} holds events of another run, which this one would mix up:\n  "
            + "\n  ".join(differing)
            + f"\nIt was made by: {old['command']}\nRepeat that, or give another --out, or delete the folder."
        )
    for event, entry in list(old["events"].items()):
        files = {folder / entry["split"] / name: digest for name, digest in entry["files"].items()}
        if not all(file.exists() for file in files):
            del old["events"][event]  # made again
            continue
        for file, digest in files.items():
            if sha256(file) != digest:
                raise DataError(
                    f"{file} is not the file that was generated (sha256 differs); delete it to make it again"
                )
    return old


def load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of tracker events.

    Raises:
        DataError: there is none, or it is of something else.
    """
    path = folder / NAME
    if not path.exists():
        raise DataError(f"{path} is missing: generate events with qformers generate tracks")
    loaded: dict[str, Any] = manifest_of(path, TrackManifest)
    return loaded
