"""The recipes of the tutorial and of the page about models of one's own, run as they stand there: every line, and what
it ends in.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from hls.cli import COMMANDS

TUTORIAL = ROOT / "docs" / "tutorial.md"
COMMAND = [sys.executable, "-c", "import sys; from hls.cli import main; sys.exit(main())"]  # qformers, not installed
SECTION = "Three kinds of model"
KINDS = ("A float model", "A QKeras model", "Learned bits")
LINES = 5  # of a recipe, at most
OWN_MODEL = ROOT / "docs" / "own_model.md"
OWN_KINDS = ("HGQ2", "Float Keras", "QKeras")


def recipes(text: str) -> dict[str, list[list[str]]]:
    """Heading of level 3 -> the command lines of the bash block below it, split into words, of the section."""
    section = re.search(rf"^## {SECTION}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"the tutorial has no section '{SECTION}'"
    blocks = re.findall(r"^### (.+?)\n(?:(?!^### ).*?)^```bash\n(.*?)^```", section.group(1), re.MULTILINE | re.DOTALL)
    return {
        name: [words for line in block.splitlines() if (words := shlex.split(line, True))] for name, block in blocks
    }


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the recipes name, copied, so that they leave their runs beside the copies."""
    folder = tmp_path_factory.mktemp("recipes")
    for name in ("firmware_configs", "tests/data/jets", "tests/data/qkeras"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def follow(kind: str, workplace: Path, lines_of: Mapping[str, list[list[str]]] | None = None) -> list[str]:
    """Run the lines of a recipe one after the other; returns what each printed."""
    told = []
    for words in (lines_of or recipes(TUTORIAL.read_text()))[kind]:
        assert words[0] == "qformers", words
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*COMMAND, *words[1:]], cwd=workplace, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{shlex.join(words)}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        told.append(done.stdout)
    return told


def read(workplace: Path, name: str) -> Any:
    """A JSON file of the run folders."""
    return json.loads((workplace / "runs" / name).read_text())


def assert_exact(compared: dict[str, Any], events: int) -> None:
    """Nothing differs, on so many events and on the adversarial ones."""
    for group in (compared["jets"], compared["adversarial"]):
        assert group["equal"] is True
        assert group["values_different"] == 0
    assert compared["jets"]["events"] == events
    assert compared["adversarial"]["events"] > 500


def test_the_tutorial_has_a_short_recipe_for_each_kind_of_model() -> None:
    lines_of = recipes(TUTORIAL.read_text())
    assert tuple(lines_of) == KINDS
    for lines in lines_of.values():
        assert 0 < len(lines) <= LINES
        for words in lines:
            assert words[0] == "qformers", words
            assert words[1] in COMMANDS, words


def own_recipes() -> dict[str, list[list[str]]]:
    """Heading of level 2 -> the command lines of the first bash block below it, of the page about own models."""
    blocks = re.findall(
        r"^## (.+?)\n(?:(?!^## ).*?)^```bash\n(.*?)^```", OWN_MODEL.read_text(), re.MULTILINE | re.DOTALL
    )
    return {
        name: [words for line in block.splitlines() if (words := shlex.split(line, True))] for name, block in blocks
    }


def test_the_page_of_own_models_has_a_short_recipe_for_each_kind() -> None:
    lines_of = own_recipes()
    assert tuple(lines_of) == OWN_KINDS
    for lines in lines_of.values():
        assert 0 < len(lines) <= LINES
        for words in lines:
            assert words[1] in COMMANDS, words


@pytest.fixture(scope="module")
def own_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the recipes of the page name."""
    import keras
    import numpy as np
    from hgq.config import QuantizerConfigScope
    from hgq.layers import QDense
    from hgq.utils import trace_minmax
    from support.float_keras import made

    folder = tmp_path_factory.mktemp("own_recipes")
    model, events = made("mlp")
    (array,) = events.values()
    model.save(folder / "float_net.keras")
    np.save(folder / "labels.npy", model.predict(array, verbose=0).argmax(axis=1))
    with QuantizerConfigScope(place="all", overflow_mode="SAT"):
        net = keras.Sequential([keras.Input((5,)), QDense(6, activation="relu"), QDense(3)])
    trace_minmax(net, array, verbose=False)
    net.save(folder / "net.keras")
    np.savez(folder / "events.npz", **{net.inputs[0].name: array})
    (folder / "jets.h5").write_bytes(gzip.decompress((ROOT / "tests/data/qkeras/jet_mlp_v0.9.h5.gz").read_bytes()))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "run", "events"), [("HGQ2", "net", 200), ("Float Keras", "float_net", 200), ("QKeras", "jets", 10_000)]
)
def test_a_model_of_ones_own(own_place: Path, kind: str, run: str, events: int) -> None:
    told = follow(kind, own_place, own_recipes())
    assert_exact(read(own_place, f"{run}/csim.json"), events)
    assert told
    if kind == "Float Keras":
        assert "accuracy lost" in told[0]
        assert "Firmware against the float model, per layer" in told[-1]
    if kind == "HGQ2":
        assert read(own_place, f"{run}/rtl.json")["equal"] is True


@pytest.mark.slow
def test_a_float_model(workplace: Path) -> None:
    told = follow("A float model", workplace)
    assert "firmware = quantised Keras: 0 of 26000 values in 2600 events differ" in told[-1]
    assert_exact(read(workplace, "part_tiny_tuned/csim.json"), 2600)
    uniform, tuned = (read(workplace, f"{name}/qat/manifest.json") for name in ("part_tiny_ptq", "part_tiny_tuned"))
    assert uniform["settings"]["ptq"]["formats"] == "calibrated"
    assert tuned["settings"]["ptq"]["formats"] == "tuned"
    assert tuned["settings"]["ptq"]["found"]["expected_lost"] <= 0.01
    assert 0 < tuned["ebops"] < uniform["ebops"]
    end = read(workplace, "part_tiny_tuned/csim.json")["end"]
    assert end["metrics"]["csim"] == end["metrics"]["quantised"]


@pytest.mark.slow
def test_a_qkeras_model(workplace: Path) -> None:
    told = follow("A QKeras model", workplace)
    assert "every value is computed as QKeras computes it, bit for bit" in told[0]
    assert (
        "10000 events (random over the range of the input formats): firmware = quantised Keras: 0 of 50000" in told[2]
    )
    assert_exact(read(workplace, "jet_mlp/csim.json"), 10_000)
    rtl = read(workplace, "jet_mlp/rtl.json")
    assert rtl["equal"] is True
    assert_exact(rtl["levels"]["interpreter"], 10_000)
    quant = read(workplace, "part_tiny_qkeras/qat/manifest.json")["settings"]["quant"]
    assert quant["learn"] is False
    assert quant["weight"] == "fixed<6,2,RND_CONV,SAT>"
    assert (workplace / "runs/part_tiny_qkeras/qat/model.keras").is_file()


@pytest.mark.slow
def test_learned_bits(workplace: Path) -> None:
    told = follow("Learned bits", workplace)
    assert "firmware = quantised Keras: 0 of 26000 values in 2600 events differ" in told[2]
    assert_exact(read(workplace, "part_tiny/csim.json"), 2600)
    rtl = read(workplace, "part_tiny/rtl.json")
    assert rtl["equal"] is True
    for level in ("interpreter", "verilator"):
        assert_exact(rtl["levels"][level], 2600)
    assert rtl["levels"]["verilator"]["latency_cycles"] == rtl["latency_cycles_reported"]
    manifest = read(workplace, "part_tiny/qat/manifest.json")
    assert manifest["settings"]["quant"]["learn"] is True
    assert manifest["ebops"] > 0
