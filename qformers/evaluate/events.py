"""Which data set some files are, what a model reads of it, and its outputs on them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.builds.build import Build
from qformers.config.sections import DataConfig, PointsConfig
from qformers.data import DATASETS, AnyEvents, dataset_of, holds, open_split
from qformers.data.clouds import PointEvents, stack
from qformers.data.jets.split import JetDataset
from qformers.data.points.dataset import PointDataset
from qformers.data.points.split import PointSplit
from qformers.errors import ConfigError, DataError, DivergedError, nearest
from qformers.evaluate import TASK_WORDS
from qformers.models.hept import MOST_POINTS
from qformers.models.inputs import host_inputs, takes_events
from qformers.nn.memory import memory_of
from qformers.progress import Reporter

BATCH = 256  # jets or windows that a model sees at a time
FEWEST_CLASSES = 2  # of jets


class Given(NamedTuple):
    """A Keras model with inputs of known shapes, and the file that it was read from."""

    path: Path
    model: Any

    @classmethod
    def of(cls, path: Path, model: Any) -> Given:
        """A model that was loaded.

        Raises:
            ConfigError: its inputs are not known, or are no numbers with fractions.
        """
        try:
            if isinstance(model, keras.Sequential):
                model = keras.Model(model.inputs, model.outputs, name=model.name)
            inputs, _ = model.inputs, model.outputs
        except (AttributeError, ValueError) as error:
            raise ConfigError(
                f"model {path}: has no inputs of known shapes; make it functional or sequential, from keras.Input"
            ) from error
        for tensor in inputs:
            if tensor.name != TOKENS and not keras.backend.is_float_dtype(tensor.dtype):
                raise ConfigError(
                    f"model {path}: input '{tensor.name}' must hold floats, or features are cut to whole numbers. "
                    f"Received: {tensor.dtype}"
                )
        return cls(path, model)


TOKENS = "tokens"  # the model input that holds whole numbers (`qformers.models.inputs`)


@dataclass(frozen=True)
class Asked:
    """What the user says of the events, where files and model do not tell; None or empty = nothing.

    Attributes:
        task: a key of `qformers.evaluate.TASK_WORDS`.
        dataset: a key of `qformers.data.DATASETS`.
        features: a feature set of it.
        classes: of jets, in the order of the model's outputs.
        layers: of TrackML events, ``pixel`` or ``all``.
        lda: of line segments, the file that ``qformers fit-lda`` wrote.
        most: jets or files, at most.
    """

    task: str | None = None
    dataset: str | None = None
    features: str | None = None
    classes: tuple[str, ...] = ()
    layers: str | None = None
    lda: Path | None = None
    most: int | None = None


def files_of(places: Sequence[Path]) -> list[Path]:
    """Files, and of folders those in them, at any depth, that are called as files of a data set, in order.

    Raises:
        DataError: a place that is not there, a folder without such files.
    """
    patterns = list(dict.fromkeys(pattern for dataset in DATASETS.values() for pattern in dataset.files))
    files: dict[Path, Path] = {}
    for place in places:
        found = [place]
        if place.is_dir():
            found = [path for path in sorted(place.rglob("*")) if any(fnmatch.fnmatch(path.name, p) for p in patterns)]
            if not found:
                raise DataError(f"--data {place}: holds no file of events; such are called {', '.join(patterns)}")
        elif not place.exists():
            raise DataError(f"--data {place}: no such file or folder; name files of events")
        for path in found:  # each file once, however it is spelt
            files.setdefault(path.resolve(), path)
    return list(files.values())


def config_of(given: Given, files: Sequence[Path], asked: Asked, build: Build | None) -> DataConfig:
    """The data section by which the events of a model are read.

    Args:
        given: the model.
        files: of events; none = those of the test split of the build.
        asked: what the user says; it counts before the build.
        build: that the model was trained from, if it is known.

    Raises:
        ConfigError: no file, or what has to be said and is not; it names the option.
        DataError: an unknown data set.
    """
    if build is not None:
        return _of_build(build, files, asked)
    if not all(asked.classes):
        raise ConfigError("--classes: a class has a name. Received: an empty one")
    if not files:
        raise ConfigError("--data names no file: name files of events, or a --build, whose test split is taken then")
    name = asked.dataset or _recognised(files)
    sets = dataset_of(name).feature_sets
    _refuse_idle(name, asked)
    slots, width, flat = _sizes(given)
    features = asked.features or _features(name, sets, width, flat)
    if features not in sets:
        raise ConfigError(f"--features: {name} has no feature set '{features}'{nearest(features, sets)}")
    if flat:
        slots, left = divmod(width, sets[features])
        if left:
            raise ConfigError(
                f"--features {features}: the model takes {width} numbers, which are no multiple of its {sets[features]}"
            )
    points = None
    if _is_points(name):
        task = asked.task or _task_of(given.model)
        if task == "tagging":
            raise ConfigError(f"--task: {name} has points, whose tasks are tracking and pileup. Received: tagging")
        points = PointsConfig.model_validate(
            {
                "task": task,
                **({"layers": asked.layers} if asked.layers else {}),
                **({"lda": str(asked.lda)} if asked.lda else {}),
            }
        )
    elif asked.task not in (None, own := _own_task(name)):
        raise ConfigError(
            f"--task: {name} has {'jets' if own == 'tagging' else 'targets'}, whose task is {own}. "
            f"Received: {asked.task}"
        )
    elif slots is None:
        raise ConfigError(
            f"model {given.path}: takes any number of particles, and jets are read with one that is fixed: name the "
            "--build of its training, with data.num_particles"
        )
    return DataConfig(
        dataset=name, train=(), val=(), test=tuple(escape(str(path)) for path in files), features=features,
        num_particles=slots or MOST_POINTS, classes=asked.classes, max_jets=asked.most, points=points,
    )  # fmt: skip


def _refuse_idle(dataset: str, asked: Asked) -> None:
    """Raise for what says nothing of a data set.

    Raises:
        ConfigError: naming the option.
    """
    options = (
        ("--classes", asked.classes, not _is_points(dataset) and _own_task(dataset) == "tagging"),
        ("--layers", asked.layers, dataset in ("trackml", "acts_odd", "acts_generic")),
        ("--lda", asked.lda, dataset == "line_segments"),
    )
    for option, value, read in options:
        if value and not read:
            raise ConfigError(f"{option}: says nothing of {dataset}; leave it out. Received: {value}")


def _of_build(build: Build, files: Sequence[Path], asked: Asked) -> DataConfig:
    data = build.data
    said = {"dataset": asked.dataset, "features": asked.features, "classes": asked.classes or None}
    points = {"task": asked.task, "layers": asked.layers, "lda": str(asked.lda) if asked.lda else None}
    if data.points is None and (asked.layers or asked.lda or asked.task not in (None, _own_task(data.dataset))):
        kind = "jets" if _own_task(data.dataset) == "tagging" else data.dataset
        raise ConfigError(f"--task, --layers, --lda: the build '{build.name}' is one of {kind}. Received: {asked.task}")
    change: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    if files:
        _refuse_others(data.dataset, build.name, files)
        change["test"] = tuple(escape(str(path)) for path in files)
    if asked.most is not None:
        change["max_jets"] = asked.most
    if data.points is not None:
        change["points"] = data.points.model_copy(update={k: v for k, v in points.items() if v is not None})
    return DataConfig.model_validate({**data.model_dump(), **change, "cache": None})


def _refuse_others(dataset: str, build: str, files: Sequence[Path]) -> None:
    """Raise for files that are called as those of other data sets, and of none that a build reads.

    Raises:
        ConfigError: naming one and what it looks like.
    """
    for path in files:
        others = [name for name, one in DATASETS.items() if any(fnmatch.fnmatch(path.name, p) for p in one.files)]
        if others and dataset not in others:
            raise ConfigError(
                f"--build: '{build}' reads {dataset}; name a build of {' or '.join(others)}, or files called "
                f"{', '.join(DATASETS[dataset].files)}. Received: --data {path}"
            )


def _recognised(files: Sequence[Path]) -> str:
    """The data set that all files are of, by their names and, where several have such, by what is in the first."""
    fitting = [
        {name for name, dataset in DATASETS.items() if any(fnmatch.fnmatch(path.name, p) for p in dataset.files)}
        for path in files
    ]
    if common := [name for name in DATASETS if all(name in names for names in fitting)]:
        own = [name for name in common if holds(name, files[0])] if len(common) > 1 else common
        return (own or common)[0]  # of a file of none of them the first says what is wrong with it
    if all(fitting):
        several = sorted({min(names) for names in fitting})
        raise ConfigError(f"--data: files of one data set are evaluated at a time. Received: {', '.join(several)}")
    known = "; ".join(f"{name}: {', '.join(dataset.files)}" for name, dataset in DATASETS.items())
    raise ConfigError(
        f"--data: no data set has files called so; say which it is with --dataset. Known are {known}. "
        f"Received: {', '.join(path.name for path in files[:3])}{', ...' if len(files) > 3 else ''}"
    )


def _own_task(name: str) -> str:
    """What events of a data set without points are for, a key of `TASK_WORDS`."""
    dataset = dataset_of(name)
    learns = dataset.learns if isinstance(dataset, JetDataset) else ""
    return next((word for word, task in TASK_WORDS.items() if task == learns), "tagging")


def _is_points(name: str) -> bool:
    return isinstance(dataset_of(name), PointDataset)


def _sizes(given: Given) -> tuple[int | None, int, bool]:
    """(slots, numbers per particle, False) of a model, or (None, all numbers, True) of one that takes them in a row."""
    shapes = {tensor.name: tuple(tensor.shape) for tensor in given.model.inputs}
    shape = shapes.get("features") or (next(iter(shapes.values())) if len(shapes) == 1 else None)
    if shape is None or len(shape) not in (2, 3) or shape[-1] is None:
        raise ConfigError(
            f"model {given.path}: events have features of (particles, numbers each) or all in a row, and the model "
            f"has inputs {shapes}; give it an input 'features'"
        )
    if len(shape) == 2:
        return None, int(shape[1]), True
    return shape[1], int(shape[2]), False


def _features(dataset: str, sets: Mapping[str, int], width: int, flat: bool) -> str:
    fitting = [name for name, size in sets.items() if (width % size == 0 if flat else size == width)]
    if len(fitting) == 1:
        return fitting[0]
    numbers = ", ".join(f"{name} ({size})" for name, size in sets.items())
    if not fitting:
        raise ConfigError(f"--features: no feature set of {dataset} has {width} numbers per particle. Known: {numbers}")
    raise ConfigError(
        f"--features: say which feature set of {dataset} the model was trained with: {' or '.join(fitting)}, or name "
        "the --build"
    )


def _task_of(model: Any) -> str:
    """tracking for an embedding, pileup for one number per point."""
    memory = memory_of(model)
    head = memory.config.get("head") if memory is not None else None
    if head in ("embedding", "logits"):
        return "tracking" if head == "embedding" else "pileup"
    return "pileup" if model.outputs[0].shape[-1] == 1 else "tracking"


def is_sized(model: Any) -> bool:
    """Whether a model has a number of slots, rather than any."""
    return all(size is not None for tensor in model.inputs for size in tensor.shape[1:])


def load_events(config: DataConfig, sized: bool, reporter: Reporter) -> AnyEvents:
    """All events of the files.

    Args:
        config: of `config_of`.
        sized: whether the model has a number of slots; else events of points are padded to the largest one.
        reporter: told how far reading is.

    Raises:
        DataError: a file cannot be used.
    """
    split = open_split(config, "test", reporter)
    if sized or not isinstance(split, PointSplit):
        return split.load()
    tick = reporter.task("read events", len(split.paths))
    clouds = []
    for path in split.paths:
        clouds += split.clouds(path)
        tick()
    return stack(clouds)


def inputs_of(model: Any, events: AnyEvents) -> dict[str, NDArray[Any]]:
    """The arrays that a model takes; one with a single input of any name gets the features.

    Raises:
        ConfigError: as `host_inputs`.
    """
    tensor = model.inputs[0]
    if len(model.inputs) != 1 or (takes_events(model) and len(tensor.shape) == 3):
        return host_inputs(model, events)
    features = events.features if len(tensor.shape) == 3 else events.features.reshape(len(events), -1)
    if any(wanted not in (None, size) for wanted, size in zip(tensor.shape[1:], features.shape[1:], strict=True)):
        raise ConfigError(
            f"input '{tensor.name}' of the model has shape {tuple(tensor.shape[1:])}, the events give "
            f"{features.shape[1:]}; see --features and data.num_particles"
        )
    return {tensor.name: np.ascontiguousarray(features, tensor.dtype)}


def outputs_of(given: Given, events: AnyEvents, reporter: Reporter) -> NDArray[Any]:
    """Outputs (n, ...) of a model; a model of events of any size sees each without its padding.

    Raises:
        ConfigError: events that the model does not take, more than one output.
        DivergedError: a weight or an output is NaN or infinite.
    """
    model = given.model
    if len(model.outputs) != 1:
        raise ConfigError(f"model {given.path}: has one output to be evaluated. Received: {len(model.outputs)}")
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight)).all():
            raise DivergedError(
                f"model {given.path}: weights must be finite: take one of before it diverged, or train it again. "
                f"Received: NaN or infinity in '{weight.path}'"
            )
    sized = is_sized(model)
    tick = reporter.task(f"evaluate {given.path}", len(events))
    parts = []
    for chosen in _batches(events, sized):
        some = events[chosen]
        if not sized and isinstance(some, PointEvents):
            some = stack([some.cloud(0)])
        (answer,) = keras.tree.flatten(model(as_taken(model, inputs_of(model, some)), training=False))
        made = np.asarray(answer)
        if isinstance(some, PointEvents) and (made.ndim != 3 or made.shape[:2] != some.mask.shape):
            raise ConfigError(
                f"model {given.path}: gives no row per point: for {some.mask.shape[1]} points it has outputs of shape "
                f"{made.shape[1:]}"
            )
        if not sized and isinstance(events, PointEvents):
            whole = np.zeros((1, events.mask.shape[1], *made.shape[2:]), made.dtype)
            whole[:, events.mask[chosen][0] > 0] = made
            made = whole
        parts.append(made)
        tick(len(some))
    whole = np.concatenate(parts)
    bad = ~np.isfinite(whole.reshape(len(whole), -1)).all(axis=1)
    if bad.any():
        raise DivergedError(
            f"outputs of model {given.path} must be finite: give events like those of its training. "
            f"Received: NaN or infinity for {bad.sum()} of {len(bad)}"
        )
    return whole


def refuse_probabilities(given: Given, outputs: NDArray[Any]) -> None:
    """Raise where each jet's outputs are positive and sum to 1: what is ranked are logits.

    Raises:
        ConfigError: naming the model.
    """
    if outputs.shape[-1] > 1 and (outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1.0, atol=1e-3):
        raise ConfigError(
            f"model {given.path}: its outputs are probabilities, as of a softmax; metrics take logits, since "
            "probabilities saturate: leave the softmax out of the model"
        )


def as_taken(model: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Arrays by the names of inputs, in the structure that the model takes: a mapping, a list, or a single array."""
    structure = model.input
    if isinstance(structure, dict):
        return arrays
    if isinstance(structure, list | tuple):
        return [arrays[tensor.name] for tensor in structure]
    return arrays[structure.name]


def _batches(events: AnyEvents, sized: bool) -> Iterator[slice]:
    step = BATCH if sized else 1
    for at in range(0, len(events), step):
        yield slice(at, at + step)


def refuse_outputs(given: Given, config: DataConfig, class_names: Sequence[str]) -> None:
    """Raise where a model answers something else than its task asks.

    Raises:
        ConfigError: with both shapes.
    """
    shape = tuple(given.model.outputs[0].shape[1:])
    if config.points is None and _own_task(config.dataset) == "regression":
        if shape != (len(class_names),):
            raise ConfigError(
                f"model {given.path}: {config.dataset} has {len(class_names)} target ({', '.join(class_names)}), and "
                f"needs one output for each. Received: outputs of shape {shape}"
            )
        return
    if config.points is None and len(class_names) < FEWEST_CLASSES:
        raise ConfigError(
            f"model {given.path}: needs {FEWEST_CLASSES} classes of jets or more; say which with --classes, in "
            f"the order of the outputs. Received: {', '.join(class_names)}"
        )
    if config.points is None and shape != (len(class_names),):
        raise ConfigError(
            f"model {given.path}: jets of {len(class_names)} classes ({', '.join(class_names)}) need one output per "
            f"class; say which with --classes, or name the --build. Received: outputs of shape {shape}"
        )
    if config.points is not None and (
        len(shape) != 2 or shape[1] == 0 or (config.points.task == "pileup" and shape[1] != 1)
    ):
        wanted = "one number per point" if config.points.task == "pileup" else "an embedding of each point"
        raise ConfigError(
            f"model {given.path}: task {config.points.task} needs {wanted}; say another --task. "
            f"Received: outputs of shape {shape}"
        )
