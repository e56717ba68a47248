"""What the comparison reads of the files of a run; a file that is there but wrong is an error naming the key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from hls.backends.simulators.levels import TIMED
from hls.errors import HlsError
from qformers.errors import DamagedError
from qformers.records import check_seal
from qformers.tasks.metrics.jets import TWO_CLASS_KEY

SIMULATORS = (*TIMED, "interpreter")  # whose latency is taken, first that measured one


class Record(BaseModel):
    """Base: immutable; keys that the comparison does not use are left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Measured(Record):
    """A number with its statistical error."""

    value: float | None  # None: it could not be computed
    error: float | None = None
    reason: str = ""  # why
    limit: bool = False  # whether it is a lower limit


class Rejected(Measured):
    """A background rejection, 1 over the share of the background that passes."""

    efficiency: float  # of the signal, at which it is given


class Metrics(Record):
    """``float/metrics.json`` and ``qat/metrics.json``: test split."""

    jets: int
    accuracy: Measured
    auc: Measured
    rejection: Mapping[str, Rejected] = {}  # by signal class
    rejection_30: Mapping[str, Rejected] = {}  # the same at 30 % signal efficiency, of two classes

    @property
    def rejections(self) -> dict[str, Rejected]:
        """Those of two classes, e.g. "rejection_30 top"; of more classes there are none, since nothing is their one
        signal."""
        both = {"rejection": self.rejection, TWO_CLASS_KEY: self.rejection_30} if self.rejection_30 else {}
        signals = dict.fromkeys(signal for found in both.values() for signal in found)
        return {f"{key} {name}": found[name] for name in signals for key, found in both.items() if name in found}

    @property
    def scores(self) -> dict[str, Measured]:
        """Name of the score -> its value and error."""
        return {"accuracy": self.accuracy, "auc": self.auc, **self.rejections}

    @property
    def counted(self) -> str:
        """How much it was measured on."""
        return f"{self.jets:,} jets"


class PointMetrics(Record):
    """The same of a task with one answer per point: the score of its task, and what it was counted on."""

    windows: int | None = None
    points: int | None = None
    ap: Measured | None = Field(None, alias="ap_0.9")
    auprc: Measured | None = None

    @model_validator(mode="after")
    def _scored(self) -> PointMetrics:
        if self.ap is None and self.auprc is None:
            raise ValueError("'ap_0.9' or 'auprc' is missing")
        return self

    @property
    def scores(self) -> dict[str, Measured]:
        """Name of the score -> its value and error."""
        scores = {"ap_0.9": self.ap, "auprc": self.auprc}
        return {name: measured for name, measured in scores.items() if measured is not None}

    @property
    def counted(self) -> str:
        """How much it was measured on."""
        counts = {"windows": self.windows, "points": self.points}
        return ", ".join(f"{count:,} {unit}" for unit, count in counts.items() if count is not None)


class TargetMetrics(Record):
    """The same of numbers to be predicted."""

    events: int
    r2: Measured
    rmse: Measured
    mae: Measured
    target: str = ""
    target_unit: str = ""

    @property
    def scores(self) -> dict[str, Measured]:
        """Name of the score -> its value and error."""
        return {"r2": self.r2, "rmse": self.rmse, "mae": self.mae}

    @property
    def counted(self) -> str:
        """How much it was measured on, and the unit of the errors."""
        return f"{self.events:,} events; {self.target} in {self.target_unit}"


class Manifest(Record):
    """``manifest.json`` of a training phase."""

    build_hash: str
    date: str  # ISO 8601
    ebops: int | None = None
    settings: Mapping[str, Any] = {}
    written: Mapping[str, str] = {}  # file of the phase -> its SHA-256
    machine: Mapping[str, Any] = {}


class LayerZeros(Record):
    """Weights of one layer that are zero in firmware."""

    layer: str
    zeros: int


class Sparsity(Record):
    """``qat/sparsity.json``."""

    weights: int
    zeros: int
    ebops_saved: float
    layers: tuple[LayerZeros, ...]


class FirmwareManifest(Record):
    """``firmware/<backend>/manifest.json``: which model the project was written from."""

    backend: str = ""
    model_sha256: str | None = None  # of weights and formats
    model_file_sha256: str | None = None  # of qat/model.keras
    firmware: Mapping[str, Any] | None = None  # section of the build that it was written with
    ebops: int | None = None  # of this hardware
    ii_cycles: int | None = None  # of a project that takes an event beat by beat
    written: Mapping[str, str] = {}  # file of the project -> its SHA-256


class Agreement(Record):
    """Firmware against the quantised model on a set of events."""

    events: int
    values: int
    values_different: int
    equal: bool


class Csim(Record):
    """``csim.json``."""

    build_hash: str
    backend: str
    jets: Agreement
    adversarial: Agreement
    equal: bool
    firmware: Mapping[str, Any] | None = None  # section that its project was written with
    model_sha256: str | None = None  # that it was written from


class RtlLevel(Record):
    """One simulator of ``rtl.json``."""

    jets: Agreement
    adversarial: Agreement | None = None
    disturbed: Agreement | None = None
    latency_cycles: int | None = None
    ii_cycles: int | None = None

    @property
    def parts(self) -> list[Agreement]:
        """All sets of events that it simulated."""
        return [part for part in (self.jets, self.adversarial, self.disturbed) if part]


class Rtl(Record):
    """``rtl.json``."""

    build_hash: str
    backend: str
    flavour: str = "verilog"
    levels: Mapping[str, RtlLevel]
    latency_cycles_reported: int | None = None
    equal: bool
    firmware: Mapping[str, Any] | None = None
    model_sha256: str | None = None

    @property
    def timed(self) -> tuple[str, RtlLevel] | None:
        """The simulator whose latency counts, and its level; None if none measured it."""
        names = sorted(self.levels, key=lambda name: SIMULATORS.index(name) if name in SIMULATORS else len(SIMULATORS))
        measured = (name for name in names if self.levels[name].latency_cycles is not None)
        return next(((name, self.levels[name]) for name in measured), None)


class AuditRow(Record):
    """One quantiser of `Audit`."""

    name: str
    layer: str
    place: str  # input, weight, bias or table
    learned: bool
    formats: int  # groups of elements with a width of their own
    width_mean: float  # bits, sign included
    width_max: int
    widest: str
    pruned: float = 0.0


class Audit(Record):
    """``qat/audit.json``."""

    model_file_sha256: str
    quantisers: list[AuditRow]


class LayerCost(Record):
    """One layer of a project's ``layers.json``; of folded firmware EBOPs alone: its kernels are of several layers."""

    layer: str
    lut: float | None = None
    ebops: float | None = None
    latency_ns: float | None = None


class LayerCosts(Record):
    """``firmware/<backend>/layers.json``."""

    layers: tuple[LayerCost, ...]


class KernelCost(Record):
    """One kernel of `FoldedPlan`, and the stores behind it."""

    kernel: int
    layers: tuple[str, ...]
    beats: int  # of an event
    stages: int
    lut_estimate: float
    dsp_estimate: int = 0
    register_bits: int
    longest_path_ns: float
    stores: Mapping[str, int] = {}  # "<kind>_bits" -> bits
    rom_bits: int = 0  # of weights that come with the beat

    @property
    def memories(self) -> dict[str, int]:
        """Bits by kind: its ROM and the stores behind it; those that hold nothing are left out."""
        return {kind: bits for kind, bits in (("rom_bits", self.rom_bits), *self.stores.items()) if bits}


class FoldedPlan(Record):
    """``firmware/folded/plan.json``; estimates of alkaid, nothing is synthesised."""

    points: int  # N
    points_per_clock: int  # T
    keys_per_clock: int | None = None  # K; None = all of them
    ii_cycles: int
    latency_cycles: int
    clock_ns: float
    kernels: tuple[KernelCost, ...]

    @property
    def taken(self) -> str:
        """What is taken per clock, in words."""
        keys = "" if self.keys_per_clock is None else f", {self.keys_per_clock} of their keys"
        return f"{self.points_per_clock} of {self.points} points per clock{keys}"


T = TypeVar("T")


def read(path: Path, kind: type[T]) -> T | None:
    """Read a JSON file as `kind`, any type that pydantic can check; None if there is no such file.

    Raises:
        HlsError: not JSON, or a key is missing or wrong.
    """
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text())
        if isinstance(tree, dict):
            check_seal(path, tree, "make it again", old=True)
        return TypeAdapter(kind).validate_python(tree)
    except DamagedError as error:
        raise HlsError(str(error)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise HlsError(f"{path} cannot be compared: {explain(error)}; make it again") from error


def explain(error: Exception) -> str:
    """One line: the first key that pydantic refuses and what it received, or the error itself."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    return f"'{place}': {first['msg']}. Received: {str(first['input'])[:80]!r}"
