"""A toy backend, written with nothing but what a new one needs: a class, and the line of `BACKENDS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from hls.backends.folder import ProjectFolder
from hls.backends.protocol import LAYOUT, Layout, Port, read_layout
from hls.backends.writing import new_project, output_names
from hls.errors import ExportRefused, Refusal
from hls.proof.agree import keras_outputs
from hls.reports.report import Report
from qformers.builds.build import Build
from qformers.builds.models import load_model
from qformers.files import write_json
from qformers.progress import Reporter


@dataclass(frozen=True)
class ToyProject(ProjectFolder):
    """ "Firmware" that is the quantised model itself, saved in the folder."""

    @property
    def levels(self) -> tuple[str, ...]:
        return ("keras",)

    def outputs(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> dict[str, NDArray[np.float64]]:
        self.level_of(level)
        self.check_inputs(inputs)
        return keras_outputs(load_model(self.path / "model.keras"), inputs)

    def reports(self) -> list[Report]:
        return [Report("toy", "estimate", "a toy 1.0", resources={"lut": 7}, latency_cycles=3).of_project(self.path)]


@dataclass(frozen=True)
class ToyBackend:
    """Writes models of at most two layers, the input among them."""

    name: str = "toy"
    simulated_by: str = "qformers csim"

    def supports(self, model: Any, build: Build | None = None) -> list[Refusal]:
        late = model.layers[2:]
        return [Refusal(layer.name, type(layer).__name__, "it is one too many", "leave it out") for layer in late]

    def write(
        self,
        model: Any,
        build: Build,
        out: Path,
        reporter: Reporter | None = None,
        facts: Mapping[str, Any] | None = None,
        allow_overflow: bool = False,
    ) -> ToyProject:
        if refused := self.supports(model, build):
            raise ExportRefused(self.name, refused)
        names = [tensor.name for tensor in model.inputs], output_names(model)
        ports = [
            tuple(Port(name, name, tuple(tensor.shape[1:]), "fixed<32,16>") for name, tensor in zip(*side, strict=True))
            for side in zip(names, (model.inputs, model.outputs), strict=True)
        ]
        layout = Layout(self.name, build.name, *ports, steps=())
        with new_project(self.name, model, build, out.resolve(), facts) as (folder, _):
            folder.mkdir(parents=True)
            keras.saving.save_model(model, folder / "model.keras")
            write_json(folder / LAYOUT, layout.to_json())
        return ToyProject(out.resolve(), layout)

    def open(self, path: Path) -> ToyProject:
        return ToyProject(path, read_layout(path))
