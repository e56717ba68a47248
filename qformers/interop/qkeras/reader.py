"""A saved QKeras model as plain data: layers, their settings, arrays and wiring. Nothing in the file is run.

Three ways of saving: ``.h5`` of Keras 2 (QKeras 0.9) or Keras 3, one HDF5 with the configuration as an attribute;
``.keras`` of Keras 3 (qkeras-v3), a zip with ``config.json`` and ``model.weights.h5``; and two files, the configuration
as ``.json`` (``model.to_json()``) and the weights as ``.h5`` (``model.save_weights()``).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from qformers.builds.archive import CONFIG_BYTES, check_keras_archive, parse_json
from qformers.errors import QkerasError, first_line, nearest
from qformers.files import unreadable
from qformers.hdf5_files import BROKEN_HDF5, refuse_bombs, refuse_broken_heaps
from qformers.interop.qkeras.origin import refuse_others

Arrays = Mapping[str, Mapping[str, NDArray[Any]]]  # layer -> name or number of an array -> array
ARCHITECTURE = ".json"
BOTH = "qformers import qkeras ARCH.json WEIGHTS.h5 OUT.keras"
WITH_ARRAYS = ("Dense", "Conv1D", "Conv2D", "Batchnorm", "BatchNormalization")  # ends of class names


@dataclass(frozen=True)
class SavedLayer:
    """One layer of the file.

    Attributes:
        name: as in the file.
        kind: class name without its package, e.g. "QDense".
        config: settings, as in the file.
        arrays: "kernel", "bias", "gamma", ... -> array.
        inputs: names of the layers whose outputs it takes.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class SavedModel:
    """The layers in the order of the file, and the names of inputs and outputs in the order of the model."""

    name: str
    layers: Mapping[str, SavedLayer]
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]


def read(path: Path, weights: Path | None = None) -> SavedModel:
    """Read what QKeras saved.

    Args:
        path: ``.h5`` or ``.keras``, a model; or ``.json``, its architecture alone.
        weights: ``.h5``, the weights of the architecture in `path`; None where `path` has them.

    Raises:
        QkerasError: no such file, another kind of file, a model that is neither sequential nor functional, a layer
            used twice or a model inside the model; a model of HGQ or HGQ2; weights of other layers.
    """
    for file in (path, weights):
        if file is not None and (reason := unreadable(file)):
            raise QkerasError(f"{file}: {reason}; give a model that QKeras saved by model.save('x.h5' or 'x.keras')")
    _refuse_half(path, weights)
    if weights is None:
        with _said_of(path):
            saved = _read_whole(path)
    else:
        with _said_of(path):
            content = path.read_bytes()
            if len(content) > CONFIG_BYTES:
                raise QkerasError(f"{path}: has {len(content):,} bytes, more than the architecture of a model")
            tree = parse_json(content)
        with _said_of(weights):
            arrays = _read_arrays(weights)
        with _said_of(path):
            saved = _model(path, tree, arrays)
        _refuse_other_layers(path, weights, saved, arrays)
    for layer in saved.layers.values():
        for name, array in layer.arrays.items():
            if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
                what = "NaN or infinity" if array.dtype.kind == "f" else f"no numbers ({array.dtype})"
                raise QkerasError(
                    f"{weights or path}: array '{name}' of layer '{layer.name}' holds {what}; train it again"
                )
    return saved


def _refuse_half(path: Path, weights: Path | None) -> None:
    """Refuse an architecture without weights, and two files that are not one of each.

    Raises:
        QkerasError: naming the file and the command.
    """
    if weights is None and path.suffix == ARCHITECTURE:
        raise QkerasError(f"{path}: is an architecture without its weights; give both: {BOTH}")
    if weights is not None and (path.suffix != ARCHITECTURE or weights.suffix == ARCHITECTURE):
        raise QkerasError(
            f"two files are the architecture as .json, then the weights: {BOTH}. Received: {path} {weights}"
        )


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """What h5py, and a configuration that is not one of Keras, runs into is said of the file.

    Raises:
        QkerasError: as the block; or the file is not one that Keras saved.
    """
    try:
        yield
    except QkerasError:
        raise
    except (*BROKEN_HDF5, zipfile.BadZipFile) as error:
        raise QkerasError(
            f"{path}: is not a model saved by Keras: {type(error).__name__}: {first_line(error)}; save or copy it again"
        ) from error


def _read_whole(path: Path) -> SavedModel:
    """A model with its weights in one file."""
    if path.suffix == ".keras" or zipfile.is_zipfile(path):
        archive = check_keras_archive(path, QkerasError)
        refuse_broken_heaps(archive.weights)
        with h5py.File(io.BytesIO(archive.weights)) as file:
            return _model(path, archive.config, _numbered_arrays(file))
    with _opened(path) as file:
        if "model_config" not in file.attrs:
            raise QkerasError(
                f"{path}: holds weights without the model; save it by model.save, not save_weights, or give its "
                f"architecture, which model.to_json() writes, in front: {BOTH}"
            )
        return _model(path, parse_json(file.attrs["model_config"]), _named_arrays(file["model_weights"]))


def _read_arrays(path: Path) -> Arrays:
    """The arrays of a file of weights, or of a whole model, by layer."""
    with _opened(path) as file:
        if "model_weights" in file:
            return _named_arrays(file["model_weights"])
        return _named_arrays(file) if "layer_names" in file.attrs else _numbered_arrays(file)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file that was looked through before."""
    refuse_broken_heaps(path.read_bytes())
    with h5py.File(path) as file:
        refuse_bombs(file, path.stat().st_size)
        yield file


def _refuse_other_layers(path: Path, weights: Path, saved: SavedModel, arrays: Arrays) -> None:
    """Refuse weights that are not those of the layers of an architecture.

    Raises:
        QkerasError: naming the first layer that only one of the files has.
    """
    there = [name for name, own in arrays.items() if own]
    way_out = "give the weights of this architecture"
    if extra := [name for name in there if name not in saved.layers]:
        raise QkerasError(
            f"{weights}: has arrays of a layer '{extra[0]}', which {path} lacks{nearest(extra[0], saved.layers)}; "
            f"{way_out}"
        )
    lacking = [layer for layer in saved.layers.values() if layer.kind.endswith(WITH_ARRAYS) and not layer.arrays]
    if lacking:
        raise QkerasError(
            f"{weights}: has no array of layer '{lacking[0].name}' ({lacking[0].kind}) of {path} (layers with arrays: "
            f"{', '.join(there) or 'none'}); {way_out}"
        )


def _numbered_arrays(file: h5py.File) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays of ``model.weights.h5``: the group of a layer carries its name as an attribute."""
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for group in file["layers"].values() if "layers" in file else ():
        own = group["vars"]
        name = str(own.attrs.get("name", ""))
        arrays = {str(key): np.asarray(value) for key, value in own.items() if key.isdigit()}
        inner = {f"batchnorm/{key}": np.asarray(value) for key, value in _batchnorm(group)}
        layers[name] = {**arrays, **inner}
    return layers


def _batchnorm(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """The batch norm inside a QDenseBatchnorm and its like."""
    if "batchnorm" in group:
        yield from group["batchnorm"]["vars"].items()


def _named_arrays(weights: h5py.Group) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays of the legacy layout: the last part of each array's name says what it is."""
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for name, group in weights.items():
        names = [
            text.decode() if isinstance(text, bytes) else str(text) for text in group.attrs.get("weight_names", ())
        ]
        layers[name] = {full.rpartition("/")[2].partition(":")[0]: np.asarray(group[full]) for full in names}
    return layers


def _model(path: Path, tree: Mapping[str, Any], arrays: Arrays) -> SavedModel:
    kind, config = str(tree["class_name"]), tree["config"]
    if kind not in ("Functional", "Sequential", "Model"):
        raise QkerasError(f"{path}: is a {kind}; functional and sequential models can be read")
    refuse_others(path, config["layers"])
    layers: dict[str, SavedLayer] = {}
    before: tuple[str, ...] = ()
    for entry in config["layers"]:
        settings = dict(entry["config"])
        name, label = str(settings.get("name", entry.get("name"))), str(entry["class_name"]).rpartition(">")[2]
        if label in ("Functional", "Sequential", "Model"):
            raise QkerasError(f"{path}: layer '{name}' is a model inside the model; save the model with it unrolled")
        sources = before if kind == "Sequential" else _sources(path, name, entry.get("inbound_nodes", []))
        if kind == "Sequential" and not layers and label != "InputLayer":
            layers["input"] = _first_input(path, settings)
            sources = ("input",)
        layers[name] = SavedLayer(name, label, settings, _named(label, settings, arrays.get(name, {})), sources)
        before = (name,)
    outputs = before if kind == "Sequential" else tuple(str(ref[0]) for ref in _references(config["output_layers"]))
    inputs = tuple(layer.name for layer in layers.values() if layer.kind == "InputLayer")
    if "input_layers" in config:
        inputs = tuple(str(ref[0]) for ref in _references(config["input_layers"]))
    if unknown := [name for name in (*outputs, *inputs) if name not in layers]:
        raise QkerasError(f"{path}: '{unknown[0]}' is an input or output but no layer of the model")
    return SavedModel(str(config.get("name", "model")), layers, outputs, inputs)


def _first_input(path: Path, settings: Mapping[str, Any]) -> SavedLayer:
    shape = settings.get("batch_input_shape") or settings.get("batch_shape")
    if shape is None:
        raise QkerasError(f"{path}: the sequential model does not say its input shape; build it before saving")
    return SavedLayer("input", "InputLayer", {"batch_shape": shape}, {}, ())


def _references(tree: Any) -> list[Any]:
    """``[name, node, tensor]`` entries of input_layers and output_layers, however deep they are nested."""
    if isinstance(tree, Mapping):
        return [reference for value in tree.values() for reference in _references(value)]
    if isinstance(tree, list) and tree and isinstance(tree[0], str):
        return [tree]
    return [reference for value in tree for reference in _references(value)] if isinstance(tree, list) else []


def _sources(path: Path, name: str, nodes: Any) -> tuple[str, ...]:
    """Names of the layers in front; Keras 2 lists them, Keras 3 hides them in the arguments of the call."""
    if len(nodes) > 1:
        raise QkerasError(f"{path}: layer '{name}' is used {len(nodes)} times; give each use a layer of its own")
    if not nodes:
        return ()
    node = nodes[0]
    sources = list(_histories(node)) if isinstance(node, Mapping) else [(ref[0], ref[2]) for ref in _references(node)]
    if any(index for _, index in sources):
        raise QkerasError(f"{path}: layer '{name}' takes a second output of a layer; layers have one here")
    return tuple(str(source) for source, _ in sources)


def _histories(tree: Any) -> Iterator[tuple[str, int]]:
    if isinstance(tree, Mapping):
        if tree.get("class_name") == "__keras_tensor__":
            layer, _, tensor = tree["config"]["keras_history"]
            yield layer, tensor
            return
        tree = list(tree.values())
    if isinstance(tree, list):
        for value in tree:
            yield from _histories(value)


def _named(kind: str, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays under their names: Keras 3 saves those of a layer under numbers, in the order of their making."""
    if not any(key.rpartition("/")[2].isdigit() for key in arrays):
        return dict(arrays)
    norm = [name for name, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True)]
    norm += ["moving_mean", "moving_variance"]
    own = ["depthwise_kernel" if "Depthwise" in kind else "kernel", "bias"]
    if kind in ("BatchNormalization", "QBatchNormalization"):
        own = norm
    names = {str(index): name for index, name in enumerate(own)}
    names |= {f"batchnorm/{index}": name for index, name in enumerate(norm)}
    return {names.get(key, key): array for key, array in arrays.items()}
