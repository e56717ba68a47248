"""What alkaid estimates of an RTL project, and what its simulation showed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hls.backends.alkaid.project import AlkaidProject
from hls.backends.simulators.rtl_stream import Timing
from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from qformers.manifest import versions


def estimate(project: AlkaidProject) -> Report:
    """What alkaid estimates for a project."""
    facts = project.facts
    keys = ("longest_path_ns", "stage_paths_ns", "unpipelined_path_ns", "table_bits", "operations")
    return Report(
        source="alkaid",
        stage="estimate",
        tool=f"alkaid {versions()['alkaid']}",
        part=json.loads((project.path / "manifest.json").read_text())["firmware"]["part"],
        resources={"lut": round(facts["lut_estimate"]), "ff": int(facts["register_bits"]), "dsp": 0, "bram18": 0},
        clock_ns=facts["clock_ns"],
        latency_cycles=project.latency_cycles,
        latency_ns=project.latency_cycles * facts["clock_ns"],
        ii_cycles=1,
        error_bar=error_bar("alkaid"),
        detail={key: facts[key] for key in keys},
    )


def simulated(project: AlkaidProject, measured: Timing) -> Report:
    """Latency and initiation interval as the simulated RTL showed them."""
    clock_ns = float(project.facts["clock_ns"])
    return Report(
        source="verilator",
        stage="rtlsim",
        tool=f"verilator {versions()['verilator']}",
        clock_ns=clock_ns,
        latency_cycles=measured.latency_cycles,
        latency_ns=measured.latency_cycles * clock_ns,
        ii_cycles=measured.ii_cycles,
        error_bar=error_bar("rtlsim"),
    )


def save(report: Report, project: AlkaidProject, run: Path) -> Path:
    """Write a report of a project into its run folder, with what says of which model it is."""
    manifest = json.loads((project.path / "manifest.json").read_text())
    known = {key: manifest[key] for key in ("build_hash", "model_sha256", "model_file_sha256") if key in manifest}
    return replace(report, detail={**report.detail, **known}).save(run)
