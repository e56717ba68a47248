"""The wheel, installed into an empty environment and used outside the repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.damage import as_written
from support.paths import DATA, ROOT

from qformers.builds.build import Build, load
from qformers.demo import BUILD, JETS, write

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the working copy; made from a copy, so that nothing is left in the repository."""
    import shutil

    folder = tmp_path_factory.mktemp("wheel")
    for name in ("qformers", "hls"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that holds the wheel alone; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    command += ["--disable-pip-version-check", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # after the wheel, which comes first
    return folder / "bin" / "qformers"


def outside(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, without what would lead Python to the repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_holds_every_file_that_is_no_source_and_no_test(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    listed = subprocess.run(
        ["git", "ls-files", "qformers", "hls"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(listed.stdout.splitlines()) - names == set()
    assert {"qformers/py.typed", "hls/py.typed", f"qformers/demo/{BUILD}"} <= names
    assert not any(name.startswith(("tests", "scripts", "benchmarks")) for name in names)


@pytest.mark.slow
def test_the_installed_command_trains_exports_and_checks_the_tiny_build(installed: Path, tmp_path: Path) -> None:
    where = "import qformers, hls; print(qformers.__file__, hls.__file__)"
    told = outside([str(installed.with_name("python")), "-c", where], tmp_path).stdout.split()
    assert all(Path(path).is_relative_to(installed.parents[1]) for path in told), "not the repository's"
    done = outside([str(installed), "demo", "here", "--no-synth"], tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    run = tmp_path / "here" / "runs" / "part_tiny"
    csim, rtl = (json.loads((run / f"{name}.json").read_text()) for name in ("csim", "rtl"))
    assert csim["equal"] is True
    assert rtl["equal"] is True
    assert csim["jets"]["events"] == 650
    assert (run / "comparison" / "report.html").stat().st_size > 10_000
    assert "C simulation == quantised model on 650 jets: 0 of 6,500 outputs differ" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"here"}
    again = outside([str(installed), "run", BUILD, "--from", "csim", "--to", "csim"], tmp_path / "here")
    assert again.returncode == 0, again.stderr
    weights = run / "firmware" / "vitis" / "firmware" / "weights"
    path = next(iter(sorted(weights.glob("b0_ffn_fc1*weight*.txt"))))
    path.write_text(", ".join(str(-float(value)) for value in path.read_text().split(",")))
    as_written(run / "firmware" / "vitis")
    broken = outside([str(installed), "csim", BUILD], tmp_path / "here")
    assert broken.returncode == 1, "a check that fails has a status of its own"
    assert "firmware is NOT equal to quantised Keras" in broken.stdout


def test_the_build_that_is_shipped_is_that_of_the_repository(tmp_path: Path) -> None:
    ours, shipped = load(ROOT / "firmware_configs" / BUILD), load(write(tmp_path))

    def alike(build: Build) -> dict[str, Any]:
        """Without where the jets are, and without the epochs: there are fewer jets in each."""
        tree = build.model_dump(exclude={"data": {"train", "val", "test"}})
        for phase in ("float", "qat"):
            tree["train"][phase].pop("epochs")
        return tree

    assert alike(ours) == alike(shipped)


@pytest.mark.parametrize(("name", "jets"), list(zip(JETS, (40, 10, 15), strict=True)))
def test_the_jets_that_are_shipped_are_the_first_of_each_class(name: str, jets: int) -> None:
    import awkward as ak
    import numpy as np
    import uproot

    with uproot.open(ROOT / "qformers" / "demo" / "jets" / name) as file:
        branches = [key for key in file["tree"].keys() if key != "npart"]  # noqa: SIM118  a TTree is no mapping
        shipped = file["tree"].arrays(branches)
    assert len(shipped) == 10 * jets
    for number, path in enumerate(sorted((DATA / "jets" / name.removesuffix(".root")).glob("*.root"))):
        with uproot.open(path) as file:
            source = file["tree"].arrays(branches, entry_stop=jets)
        for branch in branches:
            np.testing.assert_array_equal(
                ak.to_numpy(ak.flatten(shipped[branch][number::10], axis=None)),
                ak.to_numpy(ak.flatten(source[branch], axis=None)),
            )


def test_no_two_extras_install_files_over_each_other_by_default() -> None:
    """TensorFlow comes in two wheels with the same files: neither is a dependency of the package itself."""
    named = {extra: " ".join(wanted) for extra, wanted in PROJECT["optional-dependencies"].items()}
    assert not any("tensorflow" in wanted for wanted in PROJECT["dependencies"])
    assert [extra for extra, wanted in named.items() if "tensorflow" in wanted] == ["cpu", "gpu"]
    assert {"cpu", "gpu", "jax", "hls", "qonnx", "synth", "datagen", "torch", "dev", "docs", "notebook"} == set(named)


def test_every_pinned_package_has_hashes_and_every_dependency_is_pinned() -> None:
    text = (ROOT / "requirements.txt").read_text()
    pinned = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        if found := re.match(r"([A-Za-z0-9_.-]+)==\S+", block):
            pinned[re.sub(r"[-_.]+", "-", found[1]).lower()] = block.count("--hash=sha256:")
    assert len(pinned) > 100
    assert [name for name, hashes in pinned.items() if not hashes] == []
    assert not re.search(r"https?://|--index-url|--find-links|file://", text), "no host of a registry"
    wanted = list(PROJECT["dependencies"])
    for extra, packages in PROJECT["optional-dependencies"].items():
        wanted += packages if extra not in ("gpu", "torch") else []
    names = {re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9_.-]+", entry)[0]).lower() for entry in wanted}  # type: ignore[index]
    assert names - set(pinned) == set()
