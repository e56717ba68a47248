"""Events of a model of one's own and their labels: arrays of its inputs, from NumPy or HDF5 files or a data set."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qformers.builds.build import Build, load
from qformers.config.section import architecture_of
from qformers.data import OWN, SplitName, open_split
from qformers.errors import ConfigError, DataError, first_line
from qformers.models.inputs import host_inputs, takes_events

__all__ = ["OWN", "is_own", "own_events"]

ENDINGS = (".npy", ".npz", ".h5", ".hdf5")
BUILDS = (".yaml", ".yml")
Metric = Literal["accuracy", "mse"]


@dataclass(frozen=True)
class Said:
    """What the user said of labels.

    Attributes:
        labels: a ``.npy`` file, or a build file for those of its data set.
        metric: "accuracy" of classes, "mse" of what the outputs should be.
    """

    labels: Path
    metric: Metric = "accuracy"


def said_of(labels: Path | None, metric: Metric | None, events: Path | None) -> Said | None:
    """What options say of labels: a data set that is asked for accuracy has its own.

    Raises:
        ConfigError: labels without events, or accuracy without labels.
    """
    if labels is None and metric == "accuracy" and events is not None and events.suffix in BUILDS:
        labels = events
    if labels is None and metric == "accuracy":
        raise ConfigError("--metric accuracy needs the classes of the events: give --labels LABELS.npy")
    if labels is not None and events is None:
        raise ConfigError(f"--labels are those of events: give --events FILE too. Received: {labels}")
    return None if labels is None else Said(labels, metric or "accuracy")


def is_own(build: Build) -> bool:
    """Whether the model of a build was given as a file."""
    return bool(architecture_of(build.model) == OWN)


def own_events(build: Build, model: Any) -> dict[str, NDArray[np.float32]] | None:
    """The events that a build of such a model names, input -> (n, ...); None where it names none.

    Args:
        build: its key data.test names one file.
        model: whose inputs they are.

    Raises:
        DataError: no such file, arrays that are missing or have another shape, numbers that are not finite.
    """
    config: Any = build.model
    return events_of(Path(build.data.test[0]), model, config.renamed) if build.data.test else None


def events_of(
    path: Path, model: Any, renamed: Mapping[str, str], split: SplitName = "test"
) -> dict[str, NDArray[np.float32]]:
    """The events of a file, input -> (n, ...).

    Args:
        path: ``.npy``, ``.npz`` or ``.h5``; or a build file, for the events of its data set.
        model: whose inputs they are.
        renamed: old name -> the one that an input has now; the file may say either.
        split: of a data set.

    Raises:
        DataError: as `own_events`.
    """
    if path.suffix in BUILDS:
        return _of_data_set(path, model, split)
    given = _arrays(path)
    old = {new: name for name, new in renamed.items()}
    names = [tensor.name for tensor in model.inputs]
    if len(names) == 1 and len(given) == 1:  # whatever it is called: Keras names the input of a Sequential anew
        given = {names[0]: next(iter(given.values()))}
    found: dict[str, NDArray[np.float32]] = {}
    for tensor in model.inputs:
        key = tensor.name if tensor.name in given else old.get(tensor.name, tensor.name)
        if key not in given:
            there = ", ".join(name or "one array without a name" for name in given) or "none"
            raise DataError(
                f"{path}: has no array '{tensor.name}', an input of the model; save it so. Received: {there}"
            )

        found[tensor.name] = _checked(path, key, given[key], tuple(tensor.shape[1:]))
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"{path}: every input has as many events. Received: {counts}")
    return found


def number_of(events: Mapping[str, NDArray[Any]]) -> int:
    """How many events there are."""
    return len(next(iter(events.values())))


def read_labels(path: Path, events: int, split: SplitName = "test") -> NDArray[Any]:
    """The labels of events, or what the outputs should be: the one array of a ``.npy`` file.

    Of a build file, those of a split of its data set.

    Raises:
        DataError: no such file, no numbers, or another number of events.
    """
    if path.suffix in BUILDS:
        labels = np.asarray(open_split(load(path).data, split).load().labels)
        if len(labels) != events:
            raise DataError(
                f"{path}: has labels of {len(labels)} events in its {split} split. Received: {events} events"
            )
        return labels
    if path.suffix != ".npy":
        raise DataError(f"{path}: labels are the array of a .npy file. Received: {path.suffix or 'no ending'}")
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:  # NumPy's own words tell how to load any object there is
        raise DataError(f"{path}: is no array of numbers that numpy.save wrote") from error
    if labels.dtype.kind not in "biuf" or labels.ndim < 1 or len(labels) != events:
        received = f"{labels.dtype} {labels.shape}"
        raise DataError(f"{path}: holds a number or a row for each of the {events} events. Received: {received}")
    with np.errstate(over="ignore"):
        finite = np.isfinite(labels.reshape(events, -1).astype(np.float32)).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{path}: labels are finite numbers, within float32. Received: another one in event {int(finite.argmin())}"
        )
    return np.asarray(labels)


def _of_data_set(path: Path, model: Any, split: SplitName) -> dict[str, NDArray[np.float32]]:
    """By the names of the inputs as in a model that was trained here; one input of another name takes the features."""
    events = open_split(load(path).data, split).load()
    if takes_events(model):
        return {name: np.asarray(array, np.float32) for name, array in host_inputs(model, events).items()}
    shapes = {tensor.name: tuple(tensor.shape[1:]) for tensor in model.inputs}
    features = events.features
    flat = features.reshape(len(features), -1)
    if len(shapes) == 1:
        ((name, shape),) = shapes.items()
        for array in (features, flat):
            if array.shape[1:] == shape:
                return {name: _checked(path, name, array, shape)}
    raise DataError(
        f"{path}: its events have features {features.shape[1:]} (data.features, data.num_particles), the model takes "
        f"{shapes}; save that as an .npz with an array for each"
    )


def _checked(path: Path, name: str, array: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    where = f"{path}: array '{name}'" if name else f"{path}: the array"
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        kind = getattr(array, "dtype", type(array).__name__)
        raise DataError(f"{where} must hold an array of numbers. Received: {kind}")
    if array.shape[1:] != shape or not len(array):
        wanted = ", ".join(map(str, shape))
        raise DataError(f"{where} must be (events, {wanted}), one event or more. Received: {array.shape}")
    values = np.ascontiguousarray(array, np.float32)
    whole = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not whole.all():
        raise DataError(f"{where} must be finite, within float32. Received: another number in event {np.argmin(whole)}")
    return values


def _arrays(path: Path) -> Mapping[str, Any]:
    """The arrays of a file by name; "" for one that has none."""
    if not path.is_file():
        why = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {why}; name a file of events, one of {', '.join(ENDINGS)}")
    try:
        if path.suffix == ".npy":
            return {"": np.load(path, allow_pickle=False)}
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        if path.suffix in ENDINGS:
            import h5py

            with h5py.File(path, "r") as file:
                return {name: item[()] for name, item in file.items() if isinstance(item, h5py.Dataset)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise DataError(f"{path}: cannot be read: {first_line(error)}") from error
    raise DataError(f"{path}: events come as one of {', '.join(ENDINGS)}. Received: {path.suffix or 'no ending'}")
