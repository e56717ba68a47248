"""Is the firmware equal, bit for bit, to the quantised Keras model? Shapes first, then every value of every event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from hls.backends.folder import refuse_not_finite
from hls.backends.protocol import Project
from hls.backends.writing import output_names
from hls.backends.written import refuse_damaged
from hls.errors import HlsError
from hls.proof.exact import exact, precisely, refuse_huge
from hls.proof.layerwise import Difference, first_difference
from qformers.progress import Reporter, Silent

Array = NDArray[np.float64]

TRACED = 32  # events followed through every layer after a difference
BATCH = 1024


@dataclass(frozen=True)
class Agreement:
    """Result of a comparison.

    Attributes:
        events: compared.
        values: compared, over all outputs.
        values_different: that are not equal.
        events_different: with at least one such value.
        worst: largest absolute difference.
        event: index of an event with it; None if all are equal.
        first: where the difference arises; None if all are equal or no single layer differs.
    """

    events: int
    values: int
    values_different: int
    events_different: int
    worst: float
    event: int | None
    first: Difference | None

    @property
    def equal(self) -> bool:
        """Whether every value is equal."""
        return self.values_different == 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {**asdict(self), "first": self.first.to_json() if self.first else None, "equal": self.equal}

    def __str__(self) -> str:
        return self.said_of("firmware")

    def said_of(self, side: str) -> str:
        """In words; `side` is what was compared with Keras."""
        if self.equal:
            return f"{side} = quantised Keras: 0 of {self.values} values in {self.events} events differ"
        where = str(self.first) if self.first else "no single layer differs on the traced events"
        return (
            f"{side} is NOT equal to quantised Keras: {self.values_different} of {self.values} values differ, in "
            f"{self.events_different} of {self.events} events, by up to {self.worst:g} (event {self.event}); {where}"
        )


def agree(
    project: Project,
    model: keras.Model,
    inputs: Mapping[str, NDArray[Any]],
    reporter: Reporter | None = None,
    level: str | None = None,
) -> Agreement:
    """Compare a simulation of the firmware and Keras on events.

    Args:
        project: the firmware.
        model: the quantised model that it was made from.
        inputs: input name -> (n, ...).
        reporter: told of progress.
        level: of simulation; the project's first, if not given.

    Raises:
        HlsError: outputs of other names or shapes, no events, NaN or infinity, no such level, or a file of the project
            that is not as it was written, also one that this level does not read.
    """
    wanted = {tensor.name for tensor in model.inputs}
    if not isinstance(inputs, Mapping) or set(inputs) != wanted:
        given = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise HlsError(f"inputs is a mapping of {', '.join(sorted(wanted))} to arrays. Received: {given}")
    for name, array in inputs.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or not array.ndim:
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise HlsError(f"input '{name}' is an array (events, ...) of real numbers. Received: {kind}")
        refuse_not_finite(name, array)
    if not len(next(iter(inputs.values()))):
        raise HlsError("at least one event is needed to compare. Received: 0")
    refuse_huge(model, inputs)
    refuse_damaged(project.path)
    model = exact(model, project)
    firmware = project.outputs(inputs, level, reporter)
    return compare(project, model, inputs, firmware, keras_outputs(model, inputs, reporter, "quantised Keras"))


def compare(
    project: Project,
    model: keras.Model,
    inputs: Mapping[str, NDArray[Any]],
    firmware: Mapping[str, Array],
    expected: Mapping[str, Array],
) -> Agreement:
    """Compare outputs that were computed before; a difference is followed through the layers.

    Args:
        project, model, inputs: as for `agree`.
        firmware, expected: output name -> (n, ...) of the project and of the model.

    Raises:
        HlsError: outputs of other names or shapes.
    """
    shapes = [{name: array.shape for name, array in side.items()} for side in (firmware, expected)]
    if shapes[0] != shapes[1]:
        raise HlsError(
            f"firmware and model have different outputs: {shapes[0]} and {shapes[1]}; export the model again"
        )
    events = len(next(iter(firmware.values())))
    error = np.concatenate([np.abs(firmware[n] - expected[n]).reshape(events, -1) for n in firmware], axis=1)
    unequal = ~(error == 0)  # NaN is unequal too
    if not unequal.any():
        return Agreement(events, unequal.size, 0, 0, 0.0, None, None)
    rows = np.flatnonzero(unequal.any(axis=1))
    sample = {name: np.asarray(array)[rows[:TRACED]] for name, array in inputs.items()}
    finite = np.nan_to_num(error, nan=np.finfo(float).max, posinf=np.finfo(float).max)
    worst = int(np.argmax(finite.max(axis=1)))
    first = first_difference(project, model, sample)
    if first is not None:
        first = replace(first, event=int(rows[first.event]))
    return Agreement(events, unequal.size, int(unequal.sum()), len(rows), float(finite[worst].max()), worst, first)


def keras_outputs(
    model: keras.Model, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None = None, what: str = "Keras"
) -> dict[str, Array]:
    """Outputs of a Keras model, name -> (n, ...) in float64."""
    events = len(next(iter(inputs.values())))
    tick = (reporter or Silent()).task(what, events)
    names = output_names(model)
    function = keras.Model(model.inputs, dict(zip(names, model.outputs, strict=True)))
    parts: list[dict[str, Array]] = []
    with precisely(model):
        for start in range(0, events, BATCH):
            batch = {
                tensor.name: np.asarray(inputs[tensor.name][start : start + BATCH], tensor.dtype)
                for tensor in model.inputs
            }
            answer = function(batch, training=False)
            parts.append({name: np.asarray(keras.ops.convert_to_numpy(answer[name]), np.float64) for name in names})
            tick(min(BATCH, events - start))
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


class CompiledKeras:
    """A Keras model as one compiled function (XLA, as `Model.predict` runs it), some sixty times as fast.

    A compiler may order sums otherwise and has functions of its own for what becomes tables, so that what it gives is
    to be held against `keras_outputs`.
    """

    def __init__(self, model: keras.Model, batch: int) -> None:
        """
        Args:
            model: a Keras model.
            batch: events of a call; of fewer, the last one is repeated, so that nothing is compiled twice.
        """
        self._model, self._batch = model, batch
        self._names = output_names(model)
        self._function = keras.Model(model.inputs, dict(zip(self._names, model.outputs, strict=True)))
        self._function.compile(jit_compile=True)

    def outputs(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
        """Outputs of at most one batch, name -> (n, ...) in float64."""
        events = len(next(iter(inputs.values())))
        rows = np.minimum(np.arange(self._batch), events - 1)
        batch = {tensor.name: np.asarray(inputs[tensor.name][rows], tensor.dtype) for tensor in self._model.inputs}
        with precisely(self._model):
            answer = self._function.predict(batch, batch_size=self._batch, verbose=0)
        return {name: np.asarray(answer[name], np.float64)[:events] for name in self._names}
