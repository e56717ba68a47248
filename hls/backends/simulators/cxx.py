"""The C++ compiler: many files on all cores, nothing compiled twice, an error that shows what the compiler said."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from hls.errors import CompileError
from qformers.files import replacing, sha256
from qformers.progress import Reporter

LAST_LINES = 15  # of the compiler's output, shown with an error


@dataclass(frozen=True)
class Job:
    """One source file; `target` has a hash of all that goes into it in its name, ``<stem>-<hash>.o``."""

    source: Path
    target: Path
    flags: tuple[str, ...] = ()


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compiler() -> str:
    """Path of the C++ compiler: $CXX or g++.

    Raises:
        CompileError: there is none.
    """
    name = os.environ.get("CXX", "g++")
    path = shutil.which(name)
    if path is None:
        raise CompileError(f"no C++ compiler '{name}' on PATH; install one (apt-get install g++) or set CXX")
    return path


def compile_all(jobs: Sequence[Job], options: Sequence[str], reporter: Reporter) -> None:
    """Compile the sources whose object file is missing, as many at a time as there are cores.

    Raises:
        CompileError: with the last lines of the compiler and the path of its log.
    """
    wanted = [job for job in jobs if not whole(job.target)]
    if not wanted:
        return
    tick = reporter.task("compile", len(jobs))
    tick(len(jobs) - len(wanted))
    with ThreadPoolExecutor(cores()) as pool:
        waiting = []
        for job in wanted:
            remove_older(job.target)
            command = [compiler(), *options, *job.flags, "-c", str(job.source)]
            waiting.append(pool.submit(run, command, job.target, job.target.parent / f"{job.source.stem}.log"))
        try:
            for done in as_completed(waiting):
                done.result()
                tick()
        finally:  # stopped, or one has failed: those that have not begun are not begun
            pool.shutdown(cancel_futures=True)


def precompile(header: Path, options: Sequence[str], levels: Sequence[str]) -> None:
    """Compile a header for the files that include it first, with the same options; g++ finds it beside the header.

    Verilator's header has every signal: reading it is half the work of compiling 80,000 LUT, and more of larger ones.

    Args:
        header: to compile.
        options: of the files.
        levels: of optimisation, one of which each file adds to them.

    Raises:
        CompileError: as for `compile_all`.
    """
    made = header.with_name(f"{header.name}.gch")  # a folder, in which g++ takes what fits the options
    for level in dict.fromkeys(levels):
        command = [compiler(), *options, level, "-x", "c++-header", str(header)]
        run(command, made / f"{level.lstrip('-')}.gch", header.with_suffix(".log"))


def link(objects: Sequence[Path], library: Path, log: Path) -> None:
    """Link a shared library.

    Raises:
        CompileError: as for `compile_all`.
    """
    run([compiler(), "-shared", *(str(path) for path in objects)], library, log)


def remove_older(target: Path) -> None:
    """Remove what earlier sources were compiled to: same name up to the hash."""
    for stale in target.parent.glob(f"{target.stem.rpartition('-')[0]}-*{target.suffix}"):
        _discard(stale)


def whole(target: Path) -> bool:
    """Whether a compiled file is there as the compiler left it.

    A damaged library ends the process when it is loaded, and what is linked of a damaged object is no better: their
    SHA-256 stands in a file beside them.
    """
    try:
        return target.is_file() and _digest_file(target).read_text() == sha256(target)
    except (OSError, ValueError):  # no hash, or none that can be read
        return False


def _digest_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _discard(target: Path) -> None:
    for path in (target, _digest_file(target)):
        path.unlink(missing_ok=True)


def run(command: Sequence[str], target: Path, log: Path) -> None:
    """Run a compiler command that ends in ``-o target``; the target appears, with its hash, only when it ended well."""
    with replacing(target) as temporary:
        run_logged([*command, "-o", str(temporary)], Path(command[0]).name, log)
        with replacing(_digest_file(target)) as digest:
            digest.write_text(sha256(temporary))


def run_logged(command: Sequence[str], name: str, log: Path, variables: Mapping[str, str] | None = None) -> None:
    """Run a compiler, called `name` in messages, with its output in a file and more environment variables.

    Raises:
        CompileError: with the last lines of the output and the path of the log.
    """
    environment = {**os.environ, **(variables or {})}
    with log.open("w") as handle:
        done = subprocess.run(command, stdout=handle, stderr=subprocess.STDOUT, env=environment, check=False)  # noqa: S603  no shell
    if done.returncode:
        last = last_lines(log.read_text(errors="replace"))
        raise CompileError(f"{name} failed with exit status {done.returncode}; whole log: {log}\n{last}")


def last_lines(text: str) -> str:
    """As much of a compiler's output as an error shows."""
    return "\n".join(text.splitlines()[-LAST_LINES:])


def digest(paths: Sequence[Path], *words: str) -> str:
    """SHA-256 over words and over the names and contents of files."""
    total = hashlib.sha256("\0".join(words).encode())
    for path in paths:
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def write_changed(path: Path, text: str) -> Path:
    """Write a file unless it has this text already; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_bytes() != text.encode():
        with replacing(path) as temporary:
            temporary.write_text(text)
    return path
