"""Is a QONNX file equal, bit for bit, to the quantised Keras model? It is executed by qonnx, node by node."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.interop.qonnx.writer import Written
from qformers.progress import Reporter, Silent

MOST_VALUES = 50_000_000  # of all tensors at a time, 4 bytes each: of a large model fewer events go together
MOST_EVENTS = 512

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Place:
    """Where values differ first.

    Attributes:
        layer: of Keras.
        node: of the file, whose output has the values of the layer.
        values: of the layer that differ, in the events that were executed together.
        worst: by how much, at most.
    """

    layer: str
    node: str
    values: int
    worst: float

    def __str__(self) -> str:
        return f"first in layer '{self.layer}', node '{self.node}': {self.values} values, by up to {self.worst:g}"


@dataclass(frozen=True)
class Executed:
    """A file beside Keras.

    Attributes:
        events: compared.
        values: compared, over all outputs.
        different: of them that are not equal.
        worst: largest absolute difference.
        first: where it arises; None if all are equal, or no layer of the events with a difference differs.
    """

    events: int
    values: int
    different: int
    worst: float
    first: Place | None

    @property
    def equal(self) -> bool:
        """Whether every value is equal."""
        return self.different == 0

    def __str__(self) -> str:
        if self.equal:
            return f"QONNX = quantised Keras: 0 of {self.values} values in {self.events} events differ"
        where = f"; {self.first}" if self.first else ""
        return (
            f"QONNX is NOT equal to quantised Keras: {self.different} of {self.values} values in {self.events} events "
            f"differ, by up to {self.worst:g}{where}"
        )


def executed(
    path: Path, written: Written, model: keras.Model, inputs: Arrays, reporter: Reporter | None = None
) -> Executed:
    """Execute a file with qonnx and compare it with Keras.

    Args:
        path: the file, as it was saved.
        written: what was saved there.
        model: that it was made from.
        inputs: model input -> (n, ...), one event or more.
        reporter: told of progress.
    """
    names = [layer.name for layer in model.layers]
    function = keras.Model(model.inputs, [*model.outputs, *(layer.output for layer in model.layers)])
    events = len(next(iter(inputs.values())))
    tick = (reporter or Silent()).task("qonnx", events)
    different, values, worst, first = 0, 0, 0.0, None
    for batch in _batches(path, events):
        given = {name: np.asarray(array[batch], np.float32) for name, array in inputs.items()}
        answers = [keras.ops.convert_to_numpy(one) for one in function(given, training=False)]
        tensors = _run(path, given)
        count = len(model.outputs)
        errors = [_errors(wanted, tensors[name]) for name, wanted in zip(written.outputs, answers, strict=False)]
        values += sum(error.size for error in errors)
        different += sum(int(np.count_nonzero(error)) for error in errors)
        worst = max(worst, *(float(error.max(initial=0.0)) for error in errors))
        if first is None and different:
            first = _first(written.layers, dict(zip(names, answers[count:], strict=True)), tensors)
        tick(batch.stop - batch.start)
    return Executed(events, values, different, worst, first)


def _batches(path: Path, events: int) -> Iterator[slice]:
    import onnx

    graph = onnx.load(path).graph
    sizes = (math.prod(size.dim_value for size in info.type.tensor_type.shape.dim) for info in graph.value_info)
    step = max(1, min(MOST_EVENTS, MOST_VALUES // max(sum(sizes), 1)))
    for start in range(0, events, step):
        yield slice(start, min(start + step, events))


def _run(path: Path, inputs: Arrays) -> Arrays:
    """Every tensor of the file for some events."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    model = ModelWrapper(str(path))
    _of_events(model.graph, len(next(iter(inputs.values()))))
    made: Arrays = execute_onnx(model, dict(inputs), return_full_exec_context=True)
    return made


def _of_events(graph: Any, events: int) -> None:
    """Set the batch axis of every tensor that follows from an input; the file has one event."""
    reached = {one.name for one in graph.input}
    for node in graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.name in reached:
            info.type.tensor_type.shape.dim[0].dim_value = events


def _errors(wanted: NDArray[Any], found: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute differences; infinite where one side is no number."""
    one, other = np.asarray(wanted, np.float64), np.asarray(found, np.float64)
    return np.where(one == other, 0.0, np.nan_to_num(np.abs(one - other), nan=np.inf))


def _first(places: Mapping[str, str], wanted: Arrays, tensors: Arrays) -> Place | None:
    for layer, tensor in places.items():
        error = _errors(wanted[layer], tensors[tensor])
        if error.any():
            return Place(layer, tensor, int(np.count_nonzero(error)), float(error.max()))
    return None
