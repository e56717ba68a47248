"""``import qformers`` and ``import hls``: what they offer, what they leave out, and that Keras knows the layers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hls
import qformers

LOAD = "print(*(len(keras.models.load_model(path).layers) for path in sys.argv[1:]))"


def python(code: str, *words: str) -> str:
    """What a new process prints."""
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("package", ["qformers", "hls"])
def test_the_front_door_lists_its_names_and_imports_nothing_heavy(package: str) -> None:
    code = f"import sys, {package}; print(dir({package})); print(sorted(sys.modules))"
    names, modules = (set(eval(line)) for line in python(code).splitlines())  # noqa: S307  lists that we printed
    assert set(sys.modules[package].__all__) <= names
    assert not modules & {"keras", "tensorflow", "numpy", "rich", "pydantic", "hgq", "hls4ml", "alkaid"}


def test_every_name_of_the_front_doors_is_there() -> None:
    from hls.backends import BACKENDS
    from hls.proof.agree import agree
    from qformers.builds.build import load

    assert all(callable(getattr(qformers, name)) for name in qformers.__all__)
    assert all(callable(getattr(hls, name)) for name in hls.__all__ if name != "BACKENDS")
    assert (qformers.load, hls.BACKENDS, hls.agree) == (load, BACKENDS, agree)


@pytest.mark.parametrize("package", [qformers, hls])
def test_an_unknown_name_lists_the_known_ones(package: object) -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'trian'; it offers .*(train|simulate)"):
        package.trian  # type: ignore[attr-defined]  # noqa: B018


def test_a_function_and_a_folder_of_one_name_work_both(tmp_path: Path) -> None:
    """``qformers.train`` and ``hls.compare``, before and after something of the folder was imported."""
    code = """
import qformers, hls
first = qformers.train, hls.compare
import qformers.train.phases, hls.compare.table.columns
from qformers.train.stage import train
from hls.errors import HlsError
print(first[0] is train, qformers.train.phases.train_build.__name__)
try:
    hls.compare(["nowhere"])
except HlsError as error:
    print(error)
try:
    qformers.train(qformers.load("part.yaml"), "out", phases=["qat"])
except qformers.errors.ConfigError as error:
    print(error)
"""
    told = python(code.replace("part.yaml", str(write_float_build(tmp_path))))
    assert told.splitlines()[0] == "True train_build"
    assert "nowhere is no run folder" in told
    assert "--phase qat needs the sections quant and train.qat" in told


def write_float_build(folder: Path) -> Path:
    """A build without a quantised phase."""
    path = folder / "float.yaml"
    path.write_text(
        "spec: 1\nname: floating\n"
        "data: {dataset: jetclass, train: [x], val: [x], test: [x], features: kin, num_particles: 4}\n"
        "model: {architecture: part, blocks: 1, class_blocks: 0, head: mean}\n"
    )
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, int]:
    """A saved ParT, quantised and float -> how many layers it has."""
    from support.paths import CONFIGS

    from qformers.data.jets.inputs import FEATURES
    from qformers.tasks.losses.packed import PairInfoNce, PointFocal
    from qformers.train.optimisers import WidthAdam, WidthRanger

    build, folder, layers = qformers.load(CONFIGS / "part_tiny.yaml"), tmp_path_factory.mktemp("saved"), {}
    for vocabulary in ("hgq", "float32"):
        model = qformers.build_model(build, FEATURES[build.data.features], ["a", "b", "c"], vocabulary)
        optimiser = WidthAdam(1e-3) if vocabulary == "hgq" else WidthRanger(1e-3)
        model.compile(optimizer=optimiser, loss=PointFocal() if vocabulary == "hgq" else PairInfoNce())
        model.save(folder / f"{vocabulary}.keras")
        layers[folder / f"{vocabulary}.keras"] = len(model.layers)
    return layers


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, qformers",
        *(pytest.param(f"import {first}, keras", marks=pytest.mark.slow) for first in ("qformers", "qformers.nn.hgq")),
    ],
)
def test_keras_loads_our_models_in_every_order_of_imports(imports: str, saved: dict[Path, int]) -> None:
    told = python(f"import sys; {imports}; {LOAD}", *map(str, saved))
    assert told.split() == [str(layers) for layers in saved.values()]


def test_keras_alone_does_not_know_the_layers(saved: dict[Path, int]) -> None:
    """So the test above tests something."""
    code = f"import sys, keras\ntry: {LOAD}\nexcept (TypeError, ValueError) as error: print('Could not' in str(error))"
    assert python(code, *map(str, saved)) == "True\n"


def test_the_hook_is_set_once_and_leaves_other_names_alone() -> None:
    from keras.src.saving import object_registration as registry

    from qformers.builds import registration

    wrapped = registry.get_registered_object
    registration.register()
    assert registry.get_registered_object is wrapped
    assert registry.get_registered_object("qformers>NoSuchLayer") is None
    assert registry.get_registered_object("mine", {"mine": dict}) is dict
