"""Firmware against quantised Keras, step by step: where does the first difference arise?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from hls.backends.protocol import Project, Step
from hls.proof.exact import precisely
from qformers.precision.fixed import Fixed
from qformers.quant.quantisers import walk
from qformers.quant.readers import input_quantisers

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """The first firmware step whose values are not those of Keras, and its worst value."""

    step: str  # firmware layer
    layer: str  # Keras layer
    event: int  # index among the events given
    index: tuple[int, ...]  # of the value in the layer's output
    keras: float
    firmware: float
    format: str  # of the firmware step, to which Keras's value is rounded as well
    lsb: float  # firmware - keras in steps of this format
    values_different: int
    events_different: int

    def __str__(self) -> str:
        return (
            f"first difference in layer '{self.layer}' (firmware step '{self.step}'): event {self.event}, value "
            f"{list(self.index)}: Keras {self.keras!r}, firmware {self.firmware!r}, {self.lsb:+g} LSB of "
            f"{self.format}; {self.values_different} values of {self.events_different} events differ there"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {**asdict(self), "index": list(self.index)}


def first_difference(project: Project, model: keras.Model, inputs: Mapping[str, NDArray[Any]]) -> Difference | None:
    """Trace events through firmware and Keras; None if every step agrees.

    Args:
        project: the firmware; compiled again with a record of every layer.
        model: the quantised model that it was made from.
        inputs: events by input name; a few dozen are enough.
    """
    traced = project.trace(inputs)
    expected = dict(keras_values(model, inputs))
    for step in project.layout.steps:
        if (wanted := expected_of(step, expected, project)) is None:
            continue
        wanted = Fixed.parse(step.format).quantise(wanted)
        firmware = traced[step.name]
        if not np.array_equal(wanted, firmware):
            return _describe(step, wanted, firmware)
    return None


def keras_values(model: keras.Model, inputs: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, Array]]:
    """(layer or quantiser name, its output (n, ...)) of the quantised model, in float64."""
    data = {tensor.name: np.asarray(inputs[tensor.name], tensor.dtype) for tensor in model.inputs}
    wanted: dict[str, list[Any]] = {}
    for quantiser in input_quantisers(model):
        wanted.setdefault(quantiser.layer.name, []).append(quantiser)
    with precisely(model):
        outputs = keras.Model(model.inputs, {layer.name: layer.output for layer in model.layers})(data, training=False)
        for layer, arguments in walk(model, data):
            for quantiser in wanted.get(layer.name, []):
                yield quantiser.name, _numpy(quantiser.wrapper(quantiser.tensor(arguments)))
            yield layer.name, _numpy(outputs[layer.name])


def expected_of(step: Step, expected: Mapping[str, Array], project: Project) -> Array | None:
    """What Keras has for a firmware step before the step's own rounding; None where Keras has no such value."""
    if step.of_input:
        return expected.get(step.name)
    later = [other for other in project.layout.steps if other.layer == step.layer and not other.of_input]
    last = later[-1] if later else step
    if step.name == last.name or last.part == "oq":
        value = expected.get(step.layer)
        return None if value is None else value.reshape(len(value), *step.shape)
    return None


def _describe(step: Step, wanted: Array, firmware: Array) -> Difference:
    unequal = wanted != firmware
    place = np.unravel_index(int(np.argmax(np.abs(wanted - firmware))), wanted.shape)
    index = tuple(int(i) for i in place)
    lsb = (firmware[index] - wanted[index]) / Fixed.parse(step.format).step
    events = int(unequal.reshape(len(unequal), -1).any(axis=1).sum())
    values = (float(wanted[index]), float(firmware[index]), step.format, float(lsb))
    return Difference(step.name, step.layer, index[0], index[1:], *values, int(unequal.sum()), events)


def _numpy(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float64)
