"""A written firmware project: simulate it, look inside it, synthesise it. It can be opened again from its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.errors import HlsError
from qformers.files import replacing
from qformers.progress import Reporter

LAYOUT = "layout.json"


@dataclass(frozen=True)
class Port:
    """An input or output of the top function: `name` as in the Keras model, `variable` as in C++."""

    name: str
    variable: str
    shape: tuple[int, ...]  # without the batch axis
    format: str  # spelling of qformers.precision.fixed.Fixed

    @property
    def size(self) -> int:
        """Values per event."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Step:
    """One firmware layer, in order of computation."""

    name: str  # firmware layer, e.g. b0_attn_residual_iq1
    layer: str  # Keras layer it belongs to, e.g. b0_attn_residual
    part: str  # "" the layer itself; "iq", "iq0", "oq" a quantiser; "relu" its activation
    variable: str
    shape: tuple[int, ...]
    format: str  # of the variable
    fused: bool  # the variable has the format of the quantiser that follows

    @property
    def size(self) -> int:
        """Values per event."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """What a project holds, for those who did not write it (``layout.json``)."""

    backend: str
    top: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        tree: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Layout:
        """Inverse of `to_json`."""

        def ports(key: str) -> tuple[Port, ...]:
            return tuple(Port(**{**entry, "shape": tuple(entry["shape"])}) for entry in tree[key])

        steps = tuple(Step(**{**entry, "shape": tuple(entry["shape"])}) for entry in tree["steps"])
        return cls(tree["backend"], tree["top"], ports("inputs"), ports("outputs"), steps)


@dataclass(frozen=True)
class Project:
    """A project in a folder.

    Attributes:
        path: the folder, as the vendor's tool wants it.
        layout: ports and layers.
    """

    path: Path
    layout: Layout

    @classmethod
    def open(cls, path: Path) -> Project:
        """Open a project that was written before.

        Raises:
            HlsError: no project there.
        """
        try:
            layout = Layout.from_json(json.loads((path / LAYOUT).read_text()))
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise HlsError(
                f"{path} holds no firmware project ({error}); write it with scripts/export_hls.py"
            ) from error
        if layout.backend == "alkaid":
            from hls.backends.alkaid.project import AlkaidProject

            return AlkaidProject(path, layout)
        return cls(path, layout)

    def compile(self, reporter: Reporter | None = None, trace: bool = False) -> None:
        """Compile the C simulation with g++ on all cores; what has not changed is not compiled again.

        Raises:
            CompileError: with the compiler's last lines and its log.
        """
        from hls.backends.hls4ml.csim import compile_project

        compile_project(self.path, self.layout.top, trace, reporter)

    def outputs(
        self, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Simulate events.

        Args:
            inputs: input name -> (n, ...) as the Keras model takes them.
            reporter: told of progress.

        Returns:
            Output name -> (n, ...), exact in float64.
        """
        return self.named(self._run(inputs, False, reporter))

    def named(self, arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """Output variable -> (n, size) as output name -> (n, ...)."""
        return {port.name: arrays[port.variable].reshape(-1, *port.shape) for port in self.layout.outputs}

    def predict(self, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None = None) -> NDArray[np.float64]:
        """Simulate events of a model with one output; see `outputs`.

        Raises:
            HlsError: the model has several outputs.
        """
        if len(self.layout.outputs) != 1:
            names = ", ".join(port.name for port in self.layout.outputs)
            raise HlsError(f"predict() is for models with one output, use outputs(). Received: {names}")
        return self.outputs(inputs, reporter)[self.layout.outputs[0].name]

    def trace(
        self, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Output of every firmware layer: name of the step -> (n, ...)."""
        arrays = self._run(inputs, True, reporter)
        return {step.name: arrays[step.variable].reshape(-1, *step.shape) for step in self.layout.steps}

    def build(self) -> Path:
        """Synthesise with the vendor's tool; returns the folder of its reports.

        Raises:
            VendorToolMissing: the tool is not on PATH; the message has the command to run elsewhere.
            HlsError: the tool failed.
        """
        from hls.backends.hls4ml.vendor import synthesise

        return synthesise(self.path, self.layout.backend, self.layout.top)

    def write_bench(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[np.float64]]) -> None:
        """Write ``tb_data/tb_input_features.dat`` and ``tb_output_predictions.dat``, read by the vendor's C simulation.

        One line per event, all inputs (outputs) of the top function behind each other; nine digits keep a float32
        exactly.

        Args:
            inputs: model inputs, name -> (n, ...).
            outputs: what the quantised model makes of them, name -> (n, ...).
        """
        columns = {
            "tb_input_features.dat": [inputs[port.name] for port in self.layout.inputs],
            "tb_output_predictions.dat": [outputs[port.name] for port in self.layout.outputs],
        }
        for name, arrays in columns.items():
            table = np.concatenate([np.asarray(array, np.float64).reshape(len(array), -1) for array in arrays], axis=1)
            with replacing(self.path / "tb_data" / name) as temporary:
                np.savetxt(temporary, table, fmt="%.9g")

    def _run(
        self, inputs: Mapping[str, NDArray[Any]], trace: bool, reporter: Reporter | None
    ) -> dict[str, NDArray[np.float64]]:
        from hls.backends.hls4ml.csim import compile_project

        self._check(inputs)
        library = compile_project(self.path, self.layout.top, trace, reporter)
        events = len(next(iter(inputs.values())))
        data = {p.variable: np.asarray(inputs[p.name], np.float64).reshape(events, -1) for p in self.layout.inputs}
        return library.run(data, [port.variable for port in self.layout.outputs], reporter)

    def _check(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        wanted = {port.name: port.shape for port in self.layout.inputs}
        if set(inputs) != set(wanted):
            raise HlsError(f"the firmware takes {', '.join(sorted(wanted))}. Received: {', '.join(sorted(inputs))}")
        lengths = {len(array) for array in inputs.values()}
        for name, shape in wanted.items():
            if inputs[name].shape[1:] != shape or len(lengths) != 1:
                shapes = {key: array.shape for key, array in inputs.items()}
                raise HlsError(f"input '{name}' must be (events, {', '.join(map(str, shape))}). Received: {shapes}")
            if not np.isfinite(inputs[name]).all():
                raise HlsError(f"input '{name}' has NaN or infinity, which have no fixed-point form")
