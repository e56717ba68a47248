"""`qformers import` and the reading of checkpoints, with a stand-in for PyTorch.

What PyTorch itself says about each kind of file is tested in test_reference_weaver.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from support import oracle_part
from support.part import CLASSES, FEATURES, logits, random_model, small

from qformers.cli import importing
from qformers.errors import ConfigError, WeightsError
from qformers.interop.checkpoint import read_checkpoint
from qformers.interop.importers import Sizes, import_weights, parse_options
from qformers.interop.state_dict import array_of

Torch = Callable[[Any], None]


@pytest.fixture
def main() -> Callable[[list[str]], int]:
    """The command."""
    return importing.COMMAND


@pytest.fixture
def torch_gives(monkeypatch: pytest.MonkeyPatch) -> Torch:
    """Makes ``torch.load`` return, or raise, what it is given; arrays stand for tensors."""

    def install(content: Any) -> None:
        def load(path: Path, map_location: str, weights_only: bool) -> Any:
            assert weights_only
            assert map_location == "cpu"
            if isinstance(content, Exception):
                raise content
            return content

        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(load=load, Tensor=np.ndarray))

    return install


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "part.pt"
    path.write_bytes(b"read by the stand-in")
    return path


def _state() -> dict[str, Any]:
    return oracle_part.random_state_dict(small(), FEATURES, CLASSES, seed=1)


def test_script_saves_the_same_model(
    main: Callable[[list[str]], int], torch_gives: Torch, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch_gives({"epoch": 3, "state_dict": {f"mod.{name}": array for name, array in _state().items()}})
    target = checkpoint.with_suffix(".keras")
    assert main(["part", str(checkpoint), str(target), "--particles", "6", "--dtype", "float64"]) == 0
    jets = oracle_part.random_jets(6, FEATURES, [6, 2, 0], seed=2)
    saved = keras.saving.load_model(target, safe_mode=True)
    assert {tensor.name: (tensor.shape, tensor.dtype) for tensor in saved.inputs} == {
        "features": ((None, 6, FEATURES), "float64"),
        "vectors": ((None, 6, 4), "float64"),
        "mask": ((None, 6), "float64"),
    }
    np.testing.assert_array_equal(logits(saved, *jets), logits(random_model(small(), 6), *jets))
    printed = capsys.readouterr().out
    assert "part.keras" in printed
    assert "pre_activation_pair=False" in printed
    assert [path.name for path in sorted(checkpoint.parent.iterdir())] == ["part.keras", "part.pt"]


def test_option_of_the_command_line_reaches_the_model(
    main: Callable[[list[str]], int], torch_gives: Torch, checkpoint: Path
) -> None:
    torch_gives(_state())
    target = checkpoint.with_suffix(".keras")
    options = ["--particles", "5", "--dtype", "float64", "--set", "activation=relu", "--set", "remove_self_pair=true"]
    assert main(["part", str(checkpoint), str(target), *options]) == 0
    jets = oracle_part.random_jets(5, FEATURES, [5, 3], seed=2)
    expected = logits(random_model(small(activation="relu", remove_self_pair=True), 5), *jets)
    np.testing.assert_array_equal(logits(keras.saving.load_model(target), *jets), expected)


def test_script_names_the_file_and_fails(main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["part", "nowhere.pt", "part.keras"]) == 2
    assert "nowhere.pt: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            RuntimeError("failed finding central directory\nmore"),
            r"or a damaged one \(failed finding central directory\)",
        ),
        (EOFError(), r"not a PyTorch checkpoint, or a damaged one \(no more to read\)"),
        (RuntimeError("Unsupported global: GLOBAL __main__.Tagger"), r"a whole pickled module, perhaps(?s:.*)run code"),
        (RuntimeError("Cannot use weights_only=True with TorchScript archives"), r"a TorchScript archive"),
        (np.zeros(3), r"expected names and tensors(?s:.*)Received: ndarray"),
        ({"epoch": 3, "lr": [0.1]}, r"Received: a mapping to int, list"),
    ],
)
def test_other_files_are_refused(content: Any, words: str, torch_gives: Torch, checkpoint: Path) -> None:
    torch_gives(content)
    with pytest.raises(WeightsError, match=rf"part\.pt: {words}|part\.pt: .*{words}"):
        read_checkpoint(checkpoint)


def test_missing_pytorch_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        WeightsError, match=r"needs PyTorch, which is not installed here: .*python.* -m pip install torch"
    ):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("architecture", "name", "sizes", "words"),
    [
        ("prat", "a.keras", Sizes(), r"unknown architecture 'prat'; did you mean 'part'\?"),
        ("part", "a.h5", Sizes(), r"must end in \.keras\. Received: .*a\.h5"),
        ("part", "a.keras", Sizes(particles=0), r"particles must be positive\. Received: particles=0"),
        ("part", "a.keras", Sizes(dtype="float46"), r"unknown data type 'float46'; did you mean 'float64'\?"),
        ("part", "a.keras", Sizes(options={"activaton": "relu"}), r"option 'activaton' .* did you mean 'activation'\?"),
        ("part", "a.keras", Sizes(options={"heads": 4}), r"option 'heads' is not one that the weights leave open"),
        ("part", "a.keras", Sizes(options={"activation": "tanh"}), r"an option cannot be used(?s:.*)'silu' or 'relu'"),
    ],
)
def test_wrong_arguments_are_refused(
    architecture: str, name: str, sizes: Sizes, words: str, torch_gives: Torch, checkpoint: Path
) -> None:
    torch_gives(_state())
    target = checkpoint.with_name(name)
    with pytest.raises(WeightsError, match=words):
        import_weights(architecture, checkpoint, target, sizes)
    assert not target.exists()


def test_options_that_contradict_the_weights_are_reported(
    main: Callable[[list[str]], int], torch_gives: Torch, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch_gives(oracle_part.random_state_dict(small(pairs="none"), FEATURES, CLASSES, seed=1))
    target = checkpoint.with_suffix(".keras")
    assert main(["part", str(checkpoint), str(target), "--set", "remove_self_pair=true"]) == 2
    assert "remove_self_pair: true goes with pairs: vectors" in capsys.readouterr().err


def test_option_without_a_value_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"--set needs key=value\. Received: 'relu'"):
        parse_options(["relu"])


def test_a_value_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set activation: is not YAML"):
        parse_options(["activation=[relu"])


HEAVY = ("keras", "qformers.interop.importers", "qformers.interop.qkeras.importer")  # seconds to import


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["part", "gone.pt", "a.keras"], r"gone\.pt: no such file; give a checkpoint written by torch\.save"),
        (["hept", ".", "a.keras"], r"\.: is a folder; name a file in it"),
        (["qkeras", "gone.keras", "a.keras"], r"gone\.keras: no such file; give a model saved by model\.save"),
        (["qkeras", "gone.h5", "a.keras"], r"gone\.h5: no such file"),
        (["part", "best.pt", "a.h5"], r"TARGET is the model to write and ends in \.keras\. Received: a\.h5"),
        (["part", "best.pt", "folder.keras"], r"folder\.keras: is a folder; name a file to write"),
        (
            ["hept", "best.pt", "a.keras"],
            r"best\.pt: reading it needs PyTorch, which is not installed here: .* -m pip install",
        ),
        (["hrrformer", "gone.npz", "a.keras"], r"gone\.npz: no such file; give a \.npz of the params"),
        (
            ["hrrformer", "best.pt", "a.keras"],
            r"best\.pt: of hrrformer a \.npz is read\. .*numpy\.savez\(\"w\.npz\", \*\*flax\.traverse",
        ),
        (
            ["qkeras", "best.keras", "a.keras"],
            r"best\.keras: is not a model file that can be read: File is not a zip file",
        ),
    ],
)
def test_what_can_be_known_is_said_before_keras_is_imported(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.pt").write_bytes(b"never read")
    (tmp_path / "best.keras").write_bytes(b"no archive")
    (tmp_path / "folder.keras").mkdir()
    for module in ("torch", *HEAVY):
        monkeypatch.setitem(sys.modules, module, None)  # an import of it would be another error
    assert importing.COMMAND(words) == 2
    err = capsys.readouterr().err
    assert re.search(said, err)
    assert err.count("\n") == 1
    assert not (tmp_path / "a.keras").exists()


class Odd:
    """What a tensor says of itself that NumPy has no form for."""

    layout, dtype = "torch.strided", None

    def __init__(self, **facts: Any) -> None:
        for name, value in facts.items():
            setattr(self, name, value)

    def detach(self) -> Odd:
        return self

    cpu = detach

    def numpy(self) -> Any:
        raise TypeError("Got unsupported ScalarType")


@pytest.mark.parametrize(
    "facts", [{}, {"is_quantized": True}, {"is_nested": True}, {"is_meta": True}, {"layout": "torch.sparse_coo"}]
)
def test_tensors_without_plain_numbers_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match=r"entry 'w' is not an array of numbers\. Received: Odd"):
        array_of("w", Odd(**facts))


def test_hostile_and_damaged_checkpoints_are_called_so(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: checkpoints cannot be read")
    path = tmp_path / "best.pt"
    torch.save({"w": torch.ones(2, dtype=torch.bfloat16, requires_grad=True), "v": torch.ones(2).to_sparse()}, path)
    state = read_checkpoint(path)
    np.testing.assert_array_equal(array_of("w", state["w"]), [1, 1])
    with pytest.raises(WeightsError, match=r"entry 'v' is not an array of numbers\. Received: Tensor"):
        array_of("v", state["v"])
    torch.save({"w": Path("x")}, path)
    with pytest.raises(
        WeightsError, match=r"best\.pt: refused as hostile: it asks for the Python object pathlib\."
    ) as said:
        read_checkpoint(path)
    assert "weights_only" not in str(said.value)
    torch.save({"w": torch.ones(1000)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # PyTorch itself would take the changed number
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"best\.pt: not a PyTorch checkpoint, or a damaged one \(Bad CRC-32"):
        read_checkpoint(path)
