"""What most projects share: a folder with a layout, checks of inputs and levels, and no for what a backend lacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.protocol import Clocked, Disturbed, Layout
from hls.errors import HlsError
from hls.reports.report import Report
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter

Array = NDArray[np.float64]


def refuse_not_finite(name: str, array: NDArray[Any]) -> None:
    """Refuse numbers (n, ...) of an input that firmware cannot be given.

    Raises:
        HlsError: NaN or infinity; has the first one and its place.
    """
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(np.argwhere(bad)[0].tolist())
        raise HlsError(
            f"input '{name}' has NaN or infinity, which have no fixed-point form: leave such events out. "
            f"Received: {array[first]} at {first}"
        )


@dataclass(frozen=True)
class ProjectFolder(ABC):
    """A `hls.backends.protocol.Project` without a clock, a tool or a trace until a backend says otherwise.

    Attributes:
        path: the folder.
        layout: ports and layers.
    """

    path: Path
    layout: Layout

    @property
    @abstractmethod
    def levels(self) -> tuple[str, ...]:
        """See `Project.levels`."""

    @property
    def timed(self) -> tuple[str, ...]:
        """None of the levels has a clock."""
        return ()

    @property
    def sources(self) -> list[Path]:
        """No files for a synthesis tool."""
        return []

    def compile(self, level: str | None = None, reporter: Reporter | None = None) -> None:
        """Nothing is to be compiled."""
        self.level_of(level)

    @abstractmethod
    def outputs(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> dict[str, Array]:
        """See `Project.outputs`."""

    def predict(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> Array:
        """Simulate events of a model with one output; see `outputs`.

        Raises:
            HlsError: the model has several outputs.
        """
        if len(self.layout.outputs) != 1:
            names = ", ".join(port.name for port in self.layout.outputs)
            raise HlsError(f"predict() is for models with one output, use outputs(). Received: {names}")
        return self.outputs(inputs, level, reporter)[self.layout.outputs[0].name]

    def trace(self, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None = None) -> dict[str, Array]:
        """No layer is seen from outside."""
        return {}

    def clock(
        self,
        inputs: Mapping[str, NDArray[Any]],
        expected: Mapping[str, Array],
        level: str | None = None,
        reporter: Reporter | None = None,
    ) -> Clocked:
        """See `Project.clock`; for the levels of `timed`."""
        raise HlsError(f"no level of a project of backend '{self.layout.backend}' has a clock. Received: {level!r}")

    def disturb(
        self, inputs: Mapping[str, NDArray[Any]], level: str, seed: int = 0, reporter: Reporter | None = None
    ) -> Disturbed | None:
        """The interface knows no pauses."""
        return None

    def reports(self) -> list[Report]:
        """Nothing is known of its cost."""
        return []

    def write_bench(  # noqa: B027  nothing to do is the rule, not a gap
        self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, Array]
    ) -> None:
        """There is no vendor's tool that would read one."""

    def build(self) -> Path:
        """There is no vendor's tool.

        Raises:
            HlsError: always.
        """
        raise HlsError(f"backend '{self.layout.backend}' has no vendor's tool that is started from here")

    def level_of(self, level: str | None) -> str:
        """The level that is meant: `level`, or the first of all.

        Raises:
            HlsError: there is none of this name.
        """
        if level is None:
            return self.levels[0]
        if level not in self.levels:
            raise HlsError(f"levels of simulation are {', '.join(self.levels)}. Received: {level!r}")
        return level

    def named(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Output variable -> (n, size) as output name -> (n, ...)."""
        return {port.name: arrays[port.variable].reshape(-1, *port.shape) for port in self.layout.outputs}

    def flat(self, outputs: Mapping[str, Array]) -> Array:
        """Output name -> (n, ...) as (n, output values), in the order of the layout."""
        return np.concatenate([outputs[port.name].reshape(-1, port.size) for port in self.layout.outputs], axis=1)

    def rounded(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
        """Events in the formats of the ports, rounded and saturated.

        Raises:
            HlsError: as `check_inputs`.
        """
        self.check_inputs(inputs)
        return {
            port.name: Fixed.parse(port.format).quantise(np.asarray(inputs[port.name], np.float64))
            for port in self.layout.inputs
        }

    def check_inputs(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Refuse events that the ports do not take.

        Raises:
            HlsError: other names or shapes than the layout has, numbers without a fixed-point form, or no event.
        """
        wanted = {port.name: port.shape for port in self.layout.inputs}
        if set(inputs) != set(wanted):
            raise HlsError(f"the firmware takes {', '.join(sorted(wanted))}. Received: {', '.join(sorted(inputs))}")
        lengths = {len(array) for array in inputs.values()}
        for name, shape in wanted.items():
            if inputs[name].shape[1:] != shape or len(lengths) != 1:
                shapes = {key: array.shape for key, array in inputs.items()}
                raise HlsError(f"input '{name}' must be (events, {', '.join(map(str, shape))}). Received: {shapes}")
            refuse_not_finite(name, inputs[name])
        if lengths == {0}:
            raise HlsError("there is no event to compute; give at least one. Received: 0 events")
