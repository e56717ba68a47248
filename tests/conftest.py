"""Fixtures that tests of several folders share, imported when one is asked for; and what a run left out, at its end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.hls_models import Compared


@pytest.fixture(scope="session")
def run4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a ParT of four particles and its Vitis project."""
    from support.hls_models import write_run4

    return write_run4(tmp_path_factory.mktemp("run4"))


@pytest.fixture(scope="session")
def part4(run4: Path) -> Compared:
    """The model and the project of `run4`, and what both make of 10,000 jets."""
    from support.hls_models import compared_run

    return compared_run(run4)


@pytest.fixture(scope="session")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """All rounding and overflow modes on Vitis."""
    from support.hls_models import compared_formats

    return compared_formats(tmp_path_factory.mktemp("formats"))


@pytest.fixture(scope="session")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """Every layer kind on Vitis."""
    from support.hls_models import compared_operations

    return compared_operations(tmp_path_factory.mktemp("operations"))


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """Undo what a test that trains set for its whole process; else what fails hangs on which tests ran before."""
    yield
    if (phases := sys.modules.get("qformers.train.phases")) is not None:
        phases.indeterministic()


LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Start counting."""
    config.stash[LEFT_OUT] = Counter()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count tests that `-m` or `-k` leave out, by the markers that say why."""
    for item in items:
        why = dict(line.split(": ", 1) for line in item.config.getini("markers") if ": " in line)
        marks = [mark.name for mark in item.iter_markers() if mark.name in ("slow", "reference")]
        reason = "; ".join(f"{name}: {why[name]}" for name in marks) or "not asked for by -k or -m"
        item.config.stash[LEFT_OUT][reason] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With xdist, tell the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Each worker of xdist collects, and leaves out, all tests: any of them knows the numbers."""
    node.config.stash[LEFT_OUT] |= Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What was left out or skipped, and why."""
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    if not (skipped or config.stash[LEFT_OUT]):
        return
    terminalreporter.section("left out")
    for reason, count in [*config.stash[LEFT_OUT].most_common(), *skipped.most_common()]:
        terminalreporter.line(f"{count:5d} - {reason}")
