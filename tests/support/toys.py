"""Small things that tests register in the tables of the package, each written with what the table asks for alone."""

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
from qformers.config.sections import DataConfig
from qformers.data.events import Events
from qformers.data.jets.reader import choose_features
from qformers.data.jets.split import JetDataset
from qformers.data.jets.standardise import RAW, feature_set
from qformers.files import write_json
from qformers.progress import Reporter

# data set: a reader of files, and the line of `DATASETS`
TOY_CLASSES = ("near", "far")
TOY_FEATURES = {"plain": feature_set({"part_deta": RAW, "part_dphi": RAW})}


def write_toy_jets(folder: Path, jets: int, seed: int) -> None:
    """Two files of jets of four particles; the particles of class ``far`` lie apart from those of ``near``."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(2):
        labels = rng.integers(0, 2, jets // 2)
        particles = rng.normal(size=(jets // 2, 4, 2)) + 2.0 * labels[:, None, None]
        np.savez(folder / f"{number}.npz", particles=particles.astype(np.float32), labels=labels)


class ToyReader:
    """Reads the files of `write_toy_jets`."""

    def __init__(self, config: DataConfig) -> None:
        self.class_names = TOY_CLASSES
        self.feature_set = choose_features(config.features, TOY_FEATURES, "toy_jets")
        self._particles = config.num_particles

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """All."""
        with np.load(path) as file:
            return np.ones(len(file["labels"]), bool)

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Jets [start, stop)."""
        with np.load(path) as file:
            features, labels = file["particles"][start:stop, : self._particles], file["labels"][start:stop]
        vectors, mask = np.zeros((*features.shape[:2], 4), np.float32), np.ones(features.shape[:2], np.float32)
        return Events(features, vectors, mask, labels, self.class_names, self.feature_set)


TOY_JETS = JetDataset(ToyReader)


# backend: a class, and the line of `BACKENDS`


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
