"""Fixtures that tests of several folders share; what they import is imported when one is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
