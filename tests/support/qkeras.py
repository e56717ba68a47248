"""Golden files of QKeras, and models imported from them."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.interop.qkeras.build import Imported, Options
from qformers.interop.qkeras.importer import load_qkeras
from support.paths import DATA

# `make test-qkeras` lets QKeras make the files anew, with more quantisers, and gives their folder
TRUTH = Path(os.environ.get("QKERAS_TRUTH", DATA / "qkeras"))
WIDE = "QKERAS_TRUTH" in os.environ
FLAVOURS = ("v3", "v0.9")
MODELS = {
    "jet_mlp_v3.keras": Options("fixed<16,6>", logits=True),
    "jet_mlp_v3.h5": Options("fixed<16,6>", logits=True),
    "jet_mlp_v0.9.h5": Options({"jet": "fixed<16,6>"}, logits=True),
    "cnn_v3.keras": Options(),  # begins with a QActivation
    "cnn_v0.9.h5": Options("fixed<16,6>"),
    "sequence_v3.keras": Options("fixed<16,6>"),
    "norms_v3.keras": Options(),
    "norms_v0.9.h5": Options(),
    "sequence_v0.9.h5": Options({"hits": "fixed<16,6>", "extra": "fixed<16,6>"}),
}


def single(values: Any) -> NDArray[Any]:
    """A float32 array."""
    return np.asarray(values, np.float32)


def quantiser_truth(flavour: str) -> dict[str, NDArray[Any]]:
    """Outputs of quantisers, and their spellings (see qkeras_truth.py)."""
    with np.load(TRUTH / f"quantisers_{flavour}.npz") as archive:
        return dict(archive)


def unpacked(name: str, folder: Path) -> Path:
    """A model as QKeras saved it."""
    if not name.endswith(".h5"):
        return TRUTH / name
    target = folder / name
    target.write_bytes(gzip.decompress((TRUTH / f"{name}.gz").read_bytes()))
    return target


def imported(name: str, folder: Path, options: Options | None = None) -> Imported:
    """The HGQ2 model of a golden file."""
    return load_qkeras(unpacked(name, folder), MODELS[name] if options is None else options)


def events(name: str) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Inputs and QKeras's outputs, in the order of the model."""
    with np.load(TRUTH / f"{Path(name).stem}.npz") as archive:
        arrays = dict(archive)
    return tuple([arrays[key] for key in sorted(arrays) if key.startswith(kind)] for kind in ("input", "output"))  # type: ignore[return-value]


def outputs(model: Any, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """What a Keras model answers, as a list."""
    made = model(inputs if len(inputs) > 1 else inputs[0])
    return [np.asarray(tensor) for tensor in (made if isinstance(made, (list, tuple)) else [made])]


def save_with(model: keras.Model, path: Path, changes: dict[str, dict[str, Any]]) -> None:
    """Save a Keras model whose layers say of themselves what QKeras layers would."""
    plain = path.with_suffix(".plain.keras")
    model.save(plain)
    with zipfile.ZipFile(plain) as given, zipfile.ZipFile(path, "w") as made:
        for name in given.namelist():
            content = given.read(name)
            if name == "config.json":
                tree = json.loads(content)
                for layer in tree["config"]["layers"]:
                    layer["config"] |= changes.get(layer["config"]["name"], {})
                content = json.dumps(tree).encode()
            made.writestr(name, content)
