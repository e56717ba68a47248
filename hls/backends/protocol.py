"""What a firmware backend offers, what a project that it wrote offers, and the records that both are described by.

A backend is one entry of `hls.backends.BACKENDS`. Stages, proofs and reports know backends and projects by what stands
here and by nothing else: a new one needs no other edit. `hls.backends.folder.ProjectFolder` has what most projects
share.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hls.errors import HlsError, Refusal
from hls.escaping import identifier
from hls.reports.report import Report
from qformers.builds.build import Build
from qformers.progress import Reporter

LAYOUT = "layout.json"

Array = NDArray[np.float64]


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
    part: str  # "" the layer itself; "iq", "oq" its quantisers, "iq0", "iq1" of several inputs; "relu" its activation
    variable: str
    shape: tuple[int, ...]
    format: str  # of the variable
    fused: bool  # the variable has the format of the quantiser that follows

    @property
    def size(self) -> int:
        """Values per event."""
        return math.prod(self.shape)

    @property
    def of_input(self) -> bool:
        """Whether it rounds an input of the layer."""
        return re.fullmatch(r"iq\d*", self.part) is not None


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

        identifier(tree["top"], "top")
        for port in (*tree["inputs"], *tree["outputs"]):
            identifier(port["name"], "a port")
        steps = tuple(Step(**{**entry, "shape": tuple(entry["shape"])}) for entry in tree["steps"])
        return cls(tree["backend"], tree["top"], ports("inputs"), ports("outputs"), steps)


def read_layout(path: Path) -> Layout:
    """What the project in a folder holds.

    Raises:
        HlsError: no project there.
    """
    try:
        return Layout.from_json(json.loads((path / LAYOUT).read_text()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HlsError(
            f"{path} holds no firmware project; train the build, then write it with qformers export"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, HlsError) as error:
        what = f"is damaged, it describes no project ({error})"
        raise HlsError(f"{path / LAYOUT}: {what}; write the project again with qformers export") from error


@dataclass(frozen=True)
class Timing:
    """Time as a simulation shows it.

    Attributes:
        latency_cycles: clock edges from the one that takes an event in to the one that brings its output out.
        ii_cycles: clock edges between two events; None where the simulation does not show it.
    """

    latency_cycles: int
    ii_cycles: int | None


@dataclass(frozen=True)
class Clocked:
    """Events that went through a level of simulation that has a clock.

    Attributes:
        outputs: output name -> (n, ...), exact in float64.
        timing: as measured; None where no latency makes every event come out right.
        latency_expected: cycles, as the project itself states them.
        ii_expected: the same of the initiation interval; None where the project states none.
    """

    outputs: Mapping[str, Array]
    timing: Timing | None
    latency_expected: int
    ii_expected: int | None = None

    @property
    def on_time(self) -> bool:
        """Whether every event comes when the project says, and the next one may."""
        if self.timing is None or self.timing.latency_cycles != self.latency_expected:
            return False
        return None in (self.timing.ii_cycles, self.ii_expected) or self.timing.ii_cycles == self.ii_expected


@dataclass(frozen=True)
class Disturbed:
    """Events that went through a level with a clock while beats paused, outputs waited and resets came.

    Attributes:
        outputs: output name -> (m, ...), of the m events that came.
        came: (n,), which these are; the others were on their way when a reset came.
        edges: clock edges up to the last output.
        gaps, stalls: those in which no beat was offered, and in which no output was wanted.
        resets: those with a reset.
    """

    outputs: Mapping[str, Array]
    came: NDArray[np.bool_]
    edges: int
    gaps: int
    stalls: int
    resets: int


class Project(Protocol):
    """A written project. It can be opened again from its folder: all that it needs lies there."""

    @property
    def path(self) -> Path:
        """The folder, as the vendor's tool wants it."""

    @property
    def layout(self) -> Layout:
        """Ports and layers."""

    @property
    def levels(self) -> tuple[str, ...]:
        """How it can be simulated, e.g. ("interpreter", "csim", "verilator"); the first one is meant by None."""

    @property
    def timed(self) -> tuple[str, ...]:
        """Those of `levels` that have a clock, the one to report of first."""

    @property
    def sources(self) -> list[Path]:
        """Files that a synthesis tool reads."""

    def compile(self, level: str | None = None, reporter: Reporter | None = None) -> None:
        """Compile what a level needs; what has not changed is not compiled again.

        Raises:
            CompileError: with the compiler's last lines and its log.
            HlsError: no such level.
        """

    def outputs(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> dict[str, Array]:
        """Simulate events.

        Args:
            inputs: input name -> (n, ...) as the Keras model takes them.
            level: one of `levels`.
            reporter: told of progress.

        Returns:
            Output name -> (n, ...), exact in float64.

        Raises:
            HlsError: no such level, or inputs of other names or shapes than the firmware has.
        """

    def predict(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> Array:
        """The output (n, ...) of a model that has one; see `outputs`."""

    def trace(self, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None = None) -> dict[str, Array]:
        """Output of every step of the layout: its name -> (n, ...)."""

    def clock(
        self,
        inputs: Mapping[str, NDArray[Any]],
        expected: Mapping[str, Array],
        level: str | None = None,
        reporter: Reporter | None = None,
    ) -> Clocked:
        """Simulate events one behind the other at a level that has a clock.

        Args:
            inputs: as for `outputs`.
            expected: output name -> (n, ...), by which the latency is recognised.
            level: one of `timed`; the first, if not given.
            reporter: told of progress.

        Raises:
            HlsError: the level has no clock.
        """

    def disturb(
        self, inputs: Mapping[str, NDArray[Any]], level: str, seed: int = 0, reporter: Reporter | None = None
    ) -> Disturbed | None:
        """Simulate events while the interface pauses at random, in both directions, and the hardware is reset.

        Args:
            inputs: as for `outputs`.
            level: one of `timed`.
            seed: of what happens when.
            reporter: told of progress.

        Returns:
            None where the interface knows no pauses: an event comes in every clock cycle.
        """

    def reports(self) -> list[Report]:
        """What the project can say of its own cost without another tool, e.g. estimates made when it was written."""

    def write_bench(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, Array]) -> None:
        """Write a test bench for the vendor's tools, where the backend has one.

        Args:
            inputs: model inputs, name -> (n, ...).
            outputs: what the quantised model makes of them, name -> (n, ...).
        """

    def build(self) -> Path:
        """Synthesise with the vendor's tool; returns the folder of its reports.

        Raises:
            VendorToolMissing: the tool is not on PATH; the message has the command to run elsewhere.
            HlsError: the tool failed, or the backend has none.
        """


@runtime_checkable
class Backend(Protocol):
    """What a backend offers. Making one costs nothing: what is heavy is imported by its methods."""

    @property
    def name(self) -> str:
        """Key of `hls.backends.BACKENDS`."""

    @property
    def simulated_by(self) -> str:
        """The command that simulates what it writes: ``qformers rtl`` where that is Verilog of a whole event."""

    def supports(self, model: Any, build: Build | None = None) -> list[Refusal]:
        """Layers and settings that cannot be written exactly; empty = the model can be written.

        Args:
            model: a built Keras model.
            build: also check its section `firmware`.
        """

    def write(
        self,
        model: Any,
        build: Build,
        out: Path,
        reporter: Reporter | None = None,
        facts: Mapping[str, Any] | None = None,
        allow_overflow: bool = False,
    ) -> Project:
        """Write the project; the folder appears whole or not at all.

        Args:
            model: quantised Keras model.
            build: names the top function or module; its section `firmware` has the settings.
            out: folder of the project; an older project there is replaced.
            reporter: told of finished steps.
            facts: more for the manifest, e.g. the model's file.
            allow_overflow: write accumulators of the build that cannot hold their sums, and say so in the manifest.

        Raises:
            ExportRefused: naming every layer that cannot be written exactly.
            HlsError: the tool behind the backend cannot convert the model.
        """

    def open(self, path: Path) -> Project:
        """Open a project that this backend wrote before.

        Raises:
            HlsError: no project there.
        """
