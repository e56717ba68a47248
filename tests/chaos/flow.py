"""Processes that are killed or interrupted at random moments of the whole flow, and disks that take nothing more."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.paths import ROOT

from chaos.runs import artefacts, different
from chaos.tally import BELIEVED, CLEAN, OTHER, TRACE, TRACEBACK, Section

COMMAND = [sys.executable, "-c", "import sys; from hls.start import main; sys.exit(main())"]
SHORTEST = 0.2  # seconds until a signal
STAGES = ("train", "export", "csim", "rtl", "compare")


@dataclass(frozen=True)
class Undisturbed:
    """A whole flow without disturbance.

    Attributes:
        build: its file.
        run: its folder.
        seconds: that it took.
        made: its artefacts.
    """

    build: Path
    run: Path
    seconds: float
    made: dict[str, Any]


def words_of(build: Path, run: Path, *more: str) -> list[str]:
    """The flow of a build, without synthesis."""
    return [*COMMAND, "run", str(build), "--run", str(run), "--no-synth", *more]


def environment() -> dict[str, str]:
    """Of a process that imports this tree."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "JOBS": "2"}


def undisturbed(build: Path, run: Path) -> Undisturbed:
    """Run the flow once."""
    start = time.monotonic()
    done = subprocess.run(words_of(build, run), env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the undisturbed flow ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return Undisturbed(build, run, time.monotonic() - start, artefacts(run))


def interrupted(calm: Undisturbed, run: Path, how: signal.Signals, times: int, seed: int) -> Section:
    """Send a signal at random moments, go on, and begin anew whenever the flow came to its end; the end is the same.

    Args:
        calm: what is to come of it.
        run: folder of the disturbed run; the same path as that of `calm`, whose folder has been moved away.
        how: SIGKILL to all processes of the flow, or SIGINT as a terminal sends it.
        times: signals.
        seed: of the moments.
    """
    chance = random.Random(seed)  # noqa: S311  no secrets
    section, sent, hit = Section(f"{how.name} in the whole flow"), 0, Counter[str]()
    while True:
        last = sent >= times
        delay = chance.uniform(SHORTEST, calm.seconds)  # over all stages of a flow that begins anew
        status, text = _signalled(calm, run, how, None if last else delay)
        begun = re.findall(r"^== (\w+): \S+\.yaml$", text, re.MULTILINE)
        stage = begun[-1] if begun else "start"
        what = f"signal {sent + 1} after {delay:.1f} s in {stage}"
        if status == 0:
            changed = different(calm.made, artefacts(run))
            section.add(f"flow with {sent} signals so far", BELIEVED if changed else CLEAN, ", ".join(changed))
            shutil.rmtree(run)
            if last:
                break
            continue
        sent += not last
        hit[stage] += 1
        if TRACE in text:
            section.add(what, TRACEBACK, text)
        elif last or status not in ((-how,) if how is signal.SIGKILL else (3,)):
            section.add(what, OTHER, f"exit status {status}: {text}")
            if last:
                break
        else:
            section.add(what, CLEAN)
    section.note = "hit: " + ", ".join(f"{stage} {count}" for stage, count in hit.items())
    return section


def _signalled(calm: Undisturbed, run: Path, how: signal.Signals, delay: float | None) -> tuple[int, str]:
    """Exit status and output of the flow, which gets a signal after `delay` seconds; None: it gets none."""
    log = run.parent / "flow.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            words_of(calm.build, run), env=environment(), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, how)
            process.wait()
    return process.returncode, log.read_text(errors="replace")


def full_and_read_only(calm: Undisturbed, folder: Path) -> list[Section]:
    """Each stage on a file system without room, and on one that cannot be written, in a mount name space of its own."""
    sections = []
    for name, prepare in (
        ("disk full at each stage", "mount -t tmpfs -o size={size}k none {at} && cp -a {copy}/. {at}"),
        ("read-only at each stage", "mount --bind {copy} {at} && mount -o remount,ro,bind {at}"),
    ):
        section = Section(name)
        sections.append(section)
        if not _may_mount():
            section.left_out = "this user may not mount (unshare --mount)"
            continue
        for stage in STAGES:
            _one_disk(section, stage, prepare, calm, folder)
    return sections


def _one_disk(section: Section, stage: str, prepare: str, calm: Undisturbed, folder: Path) -> None:
    """A stage of a copy of the run in which what this stage makes is missing."""
    copy, at = folder / "copy", folder / "at"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(calm.run, copy)
    at.mkdir(exist_ok=True)
    gone = {"train": ["float", "qat"], "export": ["firmware"], "csim": ["csim.json", "firmware/vitis/csim"],
            "rtl": ["rtl.json", "firmware/alkaid"], "compare": ["comparison"]}  # fmt: skip
    for name in gone[stage]:
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    size = sum(path.stat().st_size // 1024 + 4 for path in copy.rglob("*") if path.is_file()) + 32
    words = ["run", str(calm.build), "--run", str(at), "--no-synth", "--from", stage, "--to", stage]
    line = f'{prepare.format(size=size, at=at, copy=copy)} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", line, "sh", *COMMAND, *words],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    text = done.stdout + done.stderr
    if TRACE in text:
        section.add(stage, TRACEBACK, text)
    elif done.returncode != 2 or not done.stderr.strip():
        section.add(stage, OTHER, f"exit status {done.returncode}: {text}")
    else:
        section.add(stage, CLEAN)


def _may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0
