"""Generate a preset into a folder: chunk by chunk, in parallel, resumable, with progress and an ETA."""

import os
import re
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qformers.errors import DataError, GenerateError
from qformers.files import alone, foreign
from qformers.generate.jets import manifest as manifests
from qformers.generate.jets.chunk import Report, make
from qformers.generate.jets.plan import SPLITS, Chunk, JetSettings, chunks, numpy_seed
from qformers.generate.record import Arrays
from qformers.progress import Reporter, Silent

PARTS = ".parts"  # lhc5: chunks of single classes that wait to be mixed into one file


class WorkerStopped(Exception):
    """A worker was asked to stop between two batches."""


@dataclass(frozen=True)
class OutputFile:
    """One file and the chunks it is made of: one for jetclass, one per class for lhc5."""

    name: str  # relative to the output folder
    chunks: tuple[Chunk, ...]


def output_files(settings: JetSettings) -> list[OutputFile]:
    """Every file of a run, in the order of production."""
    planned = chunks(settings)
    if settings.preset == "jetclass":
        return [OutputFile(f"{c.split}/{c.process}_{c.number:03d}.root", (c,)) for c in planned]
    grouped: dict[str, list[Chunk]] = {}
    for chunk in planned:
        grouped.setdefault(f"{chunk.split}/jets_{chunk.number:03d}.h5", []).append(chunk)
    return [OutputFile(name, tuple(members)) for name, members in grouped.items()]


def part_path(folder: Path, chunk: Chunk) -> Path:
    """Where the jets of a chunk wait."""
    return folder / PARTS / f"{chunk.process}_{chunk.number:03d}.npz"


def save_part(path: Path, arrays: Arrays) -> None:
    """Write arrays under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own option
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def mix(parts: list[Arrays], seed: list[int]) -> Arrays:
    """Classes together, jets in random order."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.random.default_rng(seed).permutation(len(joined["jets"]))
    return {name: array[order] for name, array in joined.items()}


def finish(folder: Path, file: OutputFile, settings: JetSettings) -> manifests.FileEntry:
    """Turn the parts of a file into the file, and return its manifest entry."""
    parts = []
    for chunk in file.chunks:
        with np.load(part_path(folder, chunk)) as stored:
            parts.append({name: stored[name] for name in stored.files})
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if settings.preset == "lhc5":
        from qformers.data.jets.hls4ml_lhc_writer import write

        seed = numpy_seed(settings.seed, len(settings.table.processes), file.chunks[0].number)
        arrays = mix(parts, seed)
        write(path, arrays["constituents"], arrays["jets"])
    else:
        from qformers.generate.jets.layout_jetclass import write_root

        arrays = parts[0]
        write_root(path, arrays, settings.compression)
    return manifests.FileEntry(
        jets=sum(c.jets for c in file.chunks),
        sha256=manifests.file_sha256(path),
        content_sha256=manifests.content_sha256(arrays),
    )


_shared: dict[str, Any] = {}  # of a worker process: the counter and the stop flag it got from its parent


def _start_worker(counter: Any, stop: Any) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _shared.update(counter=counter, stop=stop, parent=os.getppid())


def _report_to_parent(new_jets: int) -> None:
    with _shared["counter"].get_lock():
        _shared["counter"].value += new_jets
    if _shared["stop"].is_set() or os.getppid() != _shared["parent"]:
        raise WorkerStopped


def _work(settings: JetSettings, chunk: Chunk, path: Path) -> None:
    save_part(path, make(settings, chunk, _report_to_parent))


def _in_turn(
    settings: JetSettings, waiting: list[Chunk], folder: Path, done: Callable[[Chunk], None], tick: Report
) -> None:
    for chunk in waiting:
        save_part(part_path(folder, chunk), make(settings, chunk, tick))
        done(chunk)


def _in_parallel(
    settings: JetSettings, waiting: list[Chunk], folder: Path, done: Callable[[Chunk], None], tick: Report, jobs: int
) -> None:
    import multiprocessing

    # Spawn, not fork: the parent may hold the threads of a machine-learning library.
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    shown = 0
    with ProcessPoolExecutor(jobs, context, _start_worker, (counter, stop)) as pool:
        running: dict[Future[None], Chunk] = {
            pool.submit(_work, settings, chunk, part_path(folder, chunk)): chunk for chunk in waiting
        }
        try:
            while running:
                finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                tick(counter.value - shown)
                shown = counter.value
                for future in finished:
                    chunk = running.pop(future)
                    future.result()
                    done(chunk)
        except BaseException:  # also Ctrl-C: stop the workers at their next batch, then let it through
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a run that was killed, and nothing else."""
    for place in (folder, folder / PARTS, *(folder / split for split in SPLITS)):
        for path in place.glob(".*.tmp"):
            if re.fullmatch(r"\..+\.(root|h5|npz|json)\.\d+\.tmp", path.name):
                path.unlink()


def generate(
    settings: JetSettings, folder: Path, jobs: int, command: str, reporter: Reporter | None = None
) -> manifests.JetManifest:
    """Make all files of ``settings`` that ``folder`` does not hold yet, and return its manifest.

    Args:
        settings: what to make.
        folder: made if it is missing; one run at a time.
        jobs: processes.
        command: that made it, for the manifest.
        reporter: told how many jets there are.

    Raises:
        DataError: no process, or the folder holds jets of other settings, or a file of it has been changed.
        GenerateError: another process generates into the folder.
    """
    if jobs < 1:
        raise DataError(f"jobs must be at least 1. Received: jobs={jobs}")
    if reason := foreign(folder, lambda place: (place / manifests.NAME).is_file(), "jets that were generated"):
        raise DataError(f"{folder}: {reason}; give another --out")
    held = GenerateError(f"another process is generating into {folder}; wait for it or give another --out")
    with alone(folder, held):
        return _generate(settings, folder, jobs, command, reporter or Silent())


def _generate(
    settings: JetSettings, folder: Path, jobs: int, command: str, reporter: Reporter
) -> manifests.JetManifest:
    manifest = manifests.open_folder(folder, settings, command)
    _remove_leftovers(folder)
    files = [file for file in output_files(settings) if file.name not in manifest["files"]]
    file_of = {chunk: file for file in files for chunk in file.chunks}
    waiting = [chunk for chunk in file_of if not part_path(folder, chunk).exists()]
    finished_jets = settings.jets - sum(chunk.jets for chunk in waiting)

    def done(chunk: Chunk | None, file: OutputFile) -> None:
        if all(part_path(folder, c).exists() for c in file.chunks):
            manifest["files"][file.name] = finish(folder, file, settings)
            manifests.save(folder, manifest)
            for member in file.chunks:
                part_path(folder, member).unlink()

    for file in files:
        done(None, file)
    tick = reporter.task(f"{settings.preset} jets", settings.jets, finished_jets)

    def chunk_done(chunk: Chunk) -> None:
        done(chunk, file_of[chunk])

    if jobs == 1:
        _in_turn(settings, waiting, folder, chunk_done, tick)
    else:
        _in_parallel(settings, waiting, folder, chunk_done, tick, jobs)
    if (folder / PARTS).exists():
        (folder / PARTS).rmdir()
    return manifest
