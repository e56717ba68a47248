"""One source's view of one build: resources, clock, latency; saved as ``runs/<build>/reports/<source>.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hls.errors import HlsError
from qformers.errors import DamagedError
from qformers.manifest import read_manifest
from qformers.records import SEAL, read_record, write_record

# what `Report.resources` may hold; alm and m20k are Intel's, whose ALM is not a LUT. lut_unfused is alkaid's estimate
# before it fuses adders into ones of three operands, the number published of its designs; lut is the one after that
RESOURCES = ("lut", "lut_unfused", "ff", "dsp", "bram18", "uram", "carry", "srl", "lutram", "alm", "m20k")
# carry chains, shift registers and memories within LUTs, and the LUTs counted otherwise: a device states no number
OF_NO_DEVICE = ("carry", "srl", "lutram", "lut_unfused")
FOLDER = "reports"

# stage -> how far a number is from a placed and routed design; the table never mixes two of them in one column
STAGES = {
    "model": "counted on the trained model (EBOPs)",
    "estimate": "estimated from the traced arithmetic, no synthesis",
    "csynth": "estimated by an HLS tool while it schedules C++, before logic synthesis",
    "cosim": "measured in the RTL simulation of an HLS tool",
    "rtlsim": "measured in a simulation of the RTL",
    "synthesis": "counted after logic synthesis, not placed",
    "route": "counted after place and route",
}


@dataclass(frozen=True)
class Report:
    """What one source says of one build. None = this source does not say.

    Attributes:
        source: where the numbers come from, e.g. "alkaid", "yosys", "vivado-route"; names the file.
        stage: a key of `STAGES`.
        tool: name and version of the tool as it states it.
        part: device that the tool was told.
        resources: key of `RESOURCES` -> number of them. `bram18` counts 18-kbit halves: one RAMB36 is two.
        clock_ns: period that was asked for.
        achieved_ns: period that the tool finds, e.g. clock_ns - WNS.
        latency_cycles: clock cycles from an input to its output.
        latency_ns: the same in time, at `clock_ns` unless the tool measured time.
        ii_cycles: initiation interval.
        power_w: total on-chip power.
        slack_ns: worst setup slack, negative where the clock is missed.
        logic_levels: cells between two registers on the worst path.
        path_fanout: loads of the net with most of them on the worst path.
        max_fanout: loads of the net with most of them in the design.
        congestion: worst level of routing congestion, as text, for a tool may say "none above 5".
        error_bar: how far numbers of this kind were seen from a routed design; "" for a routed one.
        detail: more, as the tool has it (LUT by size, largest delay, command, seconds...).
        files: report files that were read.
    """

    source: str
    stage: str
    tool: str = ""
    part: str = ""
    resources: Mapping[str, int] = field(default_factory=dict)
    clock_ns: float | None = None
    achieved_ns: float | None = None
    latency_cycles: int | None = None
    latency_ns: float | None = None
    ii_cycles: int | None = None
    power_w: float | None = None
    slack_ns: float | None = None
    logic_levels: float | None = None
    path_fanout: int | None = None
    max_fanout: int | None = None
    congestion: str | None = None
    error_bar: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {', '.join(STAGES)}. Received: {self.stage!r}")
        if strange := sorted(set(self.resources) - set(RESOURCES)):
            raise ValueError(f"resources are {', '.join(RESOURCES)}. Received: {strange[0]!r}")

    def of_project(self, path: Path) -> Report:
        """The same report with what says of which model it is: hashes from the manifest of a firmware project."""
        manifest = read_manifest(path, "write the project again with qformers export")
        keys = ("build_hash", "model_sha256", "model_file_sha256", "backend", "firmware", "ebops")
        known = {key: manifest[key] for key in keys if key in manifest}
        return replace(self, detail={**self.detail, **known})

    def save(self, run: Path) -> Path:
        """Write it into a run folder; returns the path."""
        path = run / FOLDER / f"{self.source}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, asdict(self))
        return path


def load_report(path: Path) -> Report:
    """Read one report file.

    Raises:
        HlsError: no file, or not one of ours.
    """
    try:
        tree = read_record(path, "make it again", old=True)
        fields = {key: value for key, value in tree.items() if key != SEAL}
        return Report(**{**fields, "files": tuple(tree["files"])})
    except DamagedError as error:
        raise HlsError(str(error)) from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise HlsError(f"{path} is no report of this program ({error}); make it again") from error


def load_reports(run: Path) -> dict[str, Report]:
    """All reports of a run folder, by source."""
    reports = (load_report(path) for path in sorted((run / FOLDER).glob("*.json")))
    return {report.source: report for report in reports}
