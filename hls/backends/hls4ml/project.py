"""A written project of hls4ml's: its C simulation, its layers, the vendor's synthesis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.folder import ProjectFolder
from hls.backends.hls4ml.csim import compile_project
from hls.backends.hls4ml.vendor import synthesise
from qformers.files import replacing
from qformers.progress import Reporter

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Hls4mlProject(ProjectFolder):
    """A project of hls4ml's in a folder; its one level of simulation is its C++, compiled by g++."""

    @property
    def levels(self) -> tuple[str, ...]:
        """Only C simulation."""
        return ("csim",)

    @property
    def sources(self) -> list[Path]:
        """C++ of the top function and its header; weights and layers are headers beside them."""
        return sorted((self.path / "firmware").glob(f"{self.layout.top}.*"))

    def compile(self, level: str | None = None, reporter: Reporter | None = None) -> None:
        """Compile the C simulation with g++ on all cores; what has not changed is not compiled again.

        Raises:
            CompileError: with the compiler's last lines and its log.
        """
        self.level_of(level)
        compile_project(self.path, self.layout.top, False, reporter)

    def outputs(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> dict[str, Array]:
        """See `Project.outputs`."""
        self.level_of(level)
        return self.named(self._run(inputs, False, reporter))

    def trace(self, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None = None) -> dict[str, Array]:
        """Output of every firmware layer: name of the step -> (n, ...)."""
        arrays = self._run(inputs, True, reporter)
        return {step.name: arrays[step.variable].reshape(-1, *step.shape) for step in self.layout.steps}

    def build(self) -> Path:
        """See `Project.build`."""
        return synthesise(self.path, self.layout.backend, self.layout.top)

    def write_bench(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, Array]) -> None:
        """Write ``tb_data/tb_input_features.dat`` and ``tb_output_predictions.dat``, read by the vendor's C simulation.

        One line per event, all inputs (outputs) of the top function behind each other; nine digits keep a float32
        exactly.
        """
        columns = {
            "tb_input_features.dat": [inputs[port.name] for port in self.layout.inputs],
            "tb_output_predictions.dat": [outputs[port.name] for port in self.layout.outputs],
        }
        for name, arrays in columns.items():
            table = np.concatenate([np.asarray(array, np.float64).reshape(len(array), -1) for array in arrays], axis=1)
            with replacing(self.path / "tb_data" / name) as temporary:
                np.savetxt(temporary, table, fmt="%.9g")

    def _run(self, inputs: Mapping[str, NDArray[Any]], trace: bool, reporter: Reporter | None) -> dict[str, Array]:
        self.check_inputs(inputs)
        library = compile_project(self.path, self.layout.top, trace, reporter)
        events = len(next(iter(inputs.values())))
        data = {p.variable: np.asarray(inputs[p.name], np.float64).reshape(events, -1) for p in self.layout.inputs}
        return library.run(data, [port.variable for port in self.layout.outputs], reporter)
