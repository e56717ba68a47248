"""The parts of a synthesis: one run of Yosys each, kept by the content of what went in."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hls.errors import HlsError
from hls.escaping import identifier, yosys_path
from hls.reports.yosys.run import Halt, Usage, Yosys, YosysHalted, YosysStopped, run_script
from hls.reports.yosys.shell import shell_verilog
from hls.reports.yosys.stat import parse_stat, text_of
from hls.templates import fill
from qformers.files import replacing, sha256, sweep, write_json
from qformers.progress import Ticker

FAMILY = "xcup"
PASSES = 100  # headings of one run that the progress bar counts; what a run has less is added at its end
HERE = Path(__file__).parent  # of the scripts, *.ys
MAPPINGS = (HERE / "add_three.v", HERE / "mul_rows.v")  # of Yosys' own cells to those of the devices


@dataclass(frozen=True)
class Job:
    """One run of Yosys.

    Attributes:
        name: of its log and its cache entry.
        module: what is synthesised.
        sources: Verilog.
        shells: of the stages, where they are done already.
        boxes: Verilog of modules that are black boxes here, each alone in its file, which is called like it.
        keeps_shell: leave a shell: the wires from input to output, all cells in one black box.
    """

    name: str
    module: str
    sources: tuple[Path, ...]
    shells: tuple[Path, ...] = ()
    boxes: tuple[Path, ...] = ()
    keeps_shell: bool = False


@dataclass(frozen=True)
class Part:
    """Result of a job: primitive, or module that is a black box -> number, what it took, and its shell."""

    cells: Mapping[str, int]
    usage: Usage
    shell: Path | None = None


@dataclass
class Bench:
    """Runs the jobs of one synthesis, side by side where it may.

    Attributes:
        tool: the Yosys.
        folder: of logs and cache entries.
        dsp: use DSP48E2.
        deadline: of `time.monotonic`.
        tick: told of passes, `PASSES` for every job.
        runs: jobs that were not in the cache.
    """

    tool: Yosys
    folder: Path
    dsp: bool
    deadline: float
    tick: Ticker
    runs: int = field(default=0, init=False)
    _halt: Halt = field(default_factory=Halt, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        yosys_path(self.folder.resolve())
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)

    @property
    def variant(self) -> str:
        """Ending of the names of what this synthesis leaves."""
        return "dsp" if self.dsp else "nodsp"

    @property
    def commands(self) -> tuple[str, ...]:
        """What is done with a stage, or with a design in one piece, between reading and counting."""
        return tuple(fill(HERE / "design.ys", family=FAMILY, dsp=self.dsp).splitlines())

    @property
    def top_commands(self) -> tuple[str, ...]:
        """What is done with registers around the shells of stages."""
        return tuple(fill(HERE / "top.ys", family=FAMILY, dsp=self.dsp).splitlines())

    @property
    def store_commands(self) -> tuple[str, ...]:
        """What is done with what stands around kernels."""
        return tuple(fill(HERE / "stores.ys", family=FAMILY, dsp=self.dsp).splitlines())

    def commands_of(self, job: Job) -> tuple[str, ...]:
        """What is done in a job between reading and counting."""
        if job.boxes:
            return self.store_commands
        return self.top_commands if job.shells else self.commands

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def run_all(self, jobs: Sequence[Job], workers: int, done: Callable[[Job, Part], None]) -> None:
        """Run jobs side by side, large ones first, so that none is left alone at the end.

        Args:
            jobs: that do not need one another.
            workers: number of Yosys at a time.
            done: told of every result, in this thread, also of those before an error.

        Raises:
            YosysStopped: the deadline came; words of the first job in order that it met.
            HlsError: a job failed; the others were ended.
        """
        large = sorted(jobs, key=lambda job: -sum(path.stat().st_size for path in job.sources))
        with ThreadPoolExecutor(max(1, workers), "yosys") as pool:
            futures = {job: pool.submit(self.run, job) for job in large}
            try:
                # at the deadline each run ends by itself; anything else, Ctrl-C too, ends the rest here
                late = set(futures.values())
                while late:
                    finished, late = wait(late, return_when=FIRST_EXCEPTION)
                    if any(not isinstance(one.exception(), YosysStopped | None) for one in finished):
                        break
            finally:
                for future in futures.values():
                    future.cancel()
                if any(not future.done() for future in futures.values()):
                    self._halt()
        met = []
        for job in jobs:
            error = None if futures[job].cancelled() else futures[job].exception()
            if error is not None:
                met.append(error)
            elif not futures[job].cancelled():
                done(job, futures[job].result())
        if met:  # what went wrong before what was ended for it
            raise min(met, key=lambda error: 2 if isinstance(error, YosysHalted) else isinstance(error, YosysStopped))

    def run(self, job: Job) -> Part:
        """Result of a job, from its cache entry or from Yosys.

        Raises:
            YosysStopped: the deadline came.
            YosysHalted: another job failed.
            HlsError: Yosys failed.
        """
        stem = f"{job.name}-{self.variant}-{self._key(job)}"
        entry, shell = self.folder / f"{stem}.json", self.folder / f"{stem}.v"
        part = _load(entry, shell if job.keeps_shell else None)
        told = 0
        if part is None:

            def on_pass(_: str) -> None:
                nonlocal told
                if told < PASSES:
                    told += 1
                    self._tell(1)

            if self.left_s() <= 0:
                raise YosysStopped(f"before '{job.module}'")
            part = self._synthesise(job, shell, on_pass)
            for stale in self.folder.glob(f"{job.name}-{self.variant}-*"):
                if stale != shell:
                    stale.unlink()
            _save(entry, part)
            with self._lock:
                self.runs += 1
        self._tell(PASSES - told)
        return part

    def _tell(self, steps: int) -> None:
        with self._lock:
            self.tick(steps)

    def _key(self, job: Job) -> str:
        inputs = [*job.sources, *job.shells, *job.boxes]
        content = [
            self.tool.version,
            *(path.read_text() for path in MAPPINGS),
            *self._script(job, names_only=True).splitlines(),
            *(sha256(path) for path in inputs),
        ]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]

    def _script(self, job: Job, names_only: bool = False) -> str:
        def quoted(path: Path) -> str:
            return yosys_path(Path(path.name) if names_only else path.resolve())

        return fill(
            HERE / "job.ys",
            module=identifier(job.module, "a module of the design"),
            sources=[quoted(path) for path in job.sources],
            shells=[quoted(path) for path in job.shells],
            boxes=[quoted(path) for path in job.boxes],
            commands=self.commands_of(job),
            keeps_shell=job.keeps_shell,
        )

    def _synthesise(self, job: Job, shell: Path, on_pass: Callable[[str], None]) -> Part:
        log = self.folder / f"{job.name}-{self.variant}.log"
        with tempfile.TemporaryDirectory(prefix="yosys-") as name:  # not in `folder`: abc takes no space in a path
            work = Path(name)
            for mapping in MAPPINGS:
                (work / mapping.name).write_text(mapping.read_text())
            try:
                usage = run_script(self.tool, self._script(job), work, log, self.left_s(), on_pass, self._halt)
            except (YosysStopped, YosysHalted) as stop:
                raise type(stop)(f"{stop} of '{job.module}'") from stop
            except HlsError as error:
                raise HlsError(f"'{job.module}': {error}") from error
            cells, _ = parse_stat(text_of(work / "stat.json"))
            if job.keeps_shell:
                text = shell_verilog(text_of(work / "shell.json"), job.module)
                with replacing(shell) as temporary:
                    temporary.write_text(text)
        boxes = {f"{path.name.rpartition(f'-{self.variant}-')[0]}_core" for path in job.shells}
        return Part({n: c for n, c in cells.items() if n not in boxes}, usage, shell if job.keeps_shell else None)


def _save(entry: Path, part: Part) -> None:
    shell = sha256(part.shell) if part.shell else ""
    write_json(entry, {"cells": dict(part.cells), "usage": asdict(part.usage), "shell": shell})


def _load(entry: Path, shell: Path | None) -> Part | None:
    """A cache entry; None = there is none, or it is damaged."""
    try:
        tree = json.loads(entry.read_text())
        cells = {str(name): int(count) for name, count in tree["cells"].items()}
        usage = Usage(*(float(tree["usage"][key]) for key in ("seconds", "cpu_seconds", "peak_mib")))
        if shell is not None and sha256(shell) != tree["shell"]:
            return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return Part(cells, usage, shell)
