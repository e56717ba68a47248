"""Synthesis of the generated Verilog for Xilinx UltraScale+ by Yosys: LUT, FF, SRL, carry, DSP without a vendor's tool.

A pipelined design is synthesised stage by stage, some stages at a time. The stages meet only in registers, so that
little is lost, memory stays that of those stages, and what is done survives a time limit. Then the top is synthesised
with a shell of every stage, which keeps the wires that go straight through it: shift registers and merged registers
depend on them.

Measured on da4ml's public pipelined design (11 stages, xcvu13p): stage by stage 5,534 LUT, 4,176 FF, 222 SRL, 1,444
CARRY4, 80 DSP in 108 s and 164 MiB; in one piece 5,531 LUT and the same others; routed by Vivado 2025.1 5,640 LUT as
logic, 3,420 FF, 164 SRL, 666 CARRY8, 80 DSP.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hls.errors import HlsError
from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.yosys.jobs import FAMILY, PASSES, Bench, Job, Part
from hls.reports.yosys.run import YosysStopped, find_yosys
from hls.reports.yosys.stat import add, detail, resources
from qformers.progress import Reporter, Silent

_STAGE = re.compile(r"(?:logic|\w+_stage)(\d+)$")  # alkaid's and da4ml's names of the logic between two registers
_TERNARY = re.compile(r"(?<!module )\bternary_adder\s*#")
_MODULE = re.compile(r"^\s*module\s+(\w+)", re.MULTILINE)


def synthesise(
    sources: Sequence[Path],
    top: str,
    folder: Path,
    *,
    dsp: bool,
    time_limit_s: float,
    reporter: Reporter | None = None,
    flat: bool = False,
    jobs: int | None = None,
) -> Report:
    """Synthesise a design, or take the result of the same design from `folder`.

    Args:
        sources: Verilog files of the design; of alkaid `<project>/src/*.v` and `<project>/src/static/*.v`.
        top: module that is counted: the project's name. `<name>_wrapper` is a simulator's view of it: the same logic,
            every element of a port padded to one width; nobody would place it.
        folder: where results, found again by the content of the sources, and logs are kept.
        dsp: let Yosys put multipliers into DSP48E2.
        time_limit_s: wall time for all of it, seconds.
        reporter: told of the passes.
        flat: synthesise everything in one piece, for comparison: slow, and large in memory.
        jobs: stages at a time (default: the cores this process may use), 0.2 to 1 GB each. The top comes last, alone.

    Returns:
        Report with source "yosys" (with `dsp`) or "yosys-nodsp".

    Raises:
        YosysMissing: no Yosys; its words are for the table.
        YosysStopped: the time limit was reached; the stages that are done are kept.
        HlsError: Yosys is too old, the sources are not usable, or Yosys failed.
    """
    workers = len(os.sched_getaffinity(0)) if jobs is None else jobs
    if workers < 1:
        raise HlsError(f"jobs, the number of stages at a time, must be 1 or more. Received: {jobs}")
    if not time_limit_s > 0:  # nor NaN
        raise HlsError(f"the time limit of the synthesis must be positive. Received: {time_limit_s} s")
    tool = find_yosys()
    declared = _declared(sources, top)
    stages = [] if flat else sorted((name for name in declared if _STAGE.match(name)), key=_number)
    own = {declared[name] for name in [*stages, top]}
    library = [path for path in sources if path not in own]
    begin = time.monotonic()
    tick = (reporter or Silent()).task("yosys", PASSES * (len(stages) + 1))
    bench = Bench(tool, folder, dsp, begin + time_limit_s, tick)
    parts: dict[str, Part] = {}
    first = [Job(name, name, (declared[name], *library), keeps_shell=True) for name in stages]
    try:
        bench.run_all(first, workers, lambda job, part: parts.update({job.name: part}))
        shells = tuple(path for part in parts.values() if (path := part.shell))
        rest = library if stages else [path for path in sources if path != declared[top]]
        last = Job("flat" if flat else "top", top, (declared[top], *rest), shells)
        parts[top] = bench.run(last)
    except YosysStopped as stop:
        spent = time_limit_s - bench.left_s()
        raise YosysStopped(
            f"yosys was stopped after {spent:.0f} s (time limit {time_limit_s:g} s) {stop}; {len(parts)} of "
            f"{len(stages) + 1} parts are done and kept in {folder}: run it again to go on from there, or raise the "
            "time limit"
        ) from stop
    notes = _notes(sources, dsp)
    logs = (f"{name}-{bench.variant}.log" for name in [*stages, last.name])
    return _report(bench, parts, top, tuple(str(folder / name) for name in logs), notes, begin)


def _declared(sources: Sequence[Path], top: str) -> dict[str, Path]:
    """Module -> the file that declares it.

    Raises:
        HlsError: a file is missing, not Verilog, or none declares `top`.
    """
    declared: dict[str, Path] = {}
    for path in sources:
        if path.suffix not in {".v", ".sv"}:
            raise HlsError(f"yosys reads Verilog (.v, .sv), not {path.name}; write the project with flavour 'verilog'")
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise HlsError(f"{path} cannot be read ({error}); write the project again") from error
        declared.update(dict.fromkeys(_MODULE.findall(text), path))
    if top not in declared:
        names = ", ".join(path.name for path in sources) or "no files"
        raise HlsError(f"no source declares the top module '{top}'. Received: {names}")
    return declared


def _notes(sources: Sequence[Path], dsp: bool) -> tuple[str, ...]:
    """What to know of the numbers of this design, beyond the error bar of all designs."""
    notes = []
    if fused := sum(len(_TERNARY.findall(path.read_text())) for path in sources):
        notes.append(
            f"{fused} adders of three operands are mapped to one LUT per bit with both outputs used "
            "(hls/reports/yosys/add_three.v), as a vendor's tool does; Yosys by itself takes two"
        )
    if not dsp:
        notes.append(
            "products are mapped to rows of LUTs and carry (hls/reports/yosys/mul_rows.v); no routed design to compare"
        )
    return tuple(notes)


def _number(stage: str) -> int:
    match = _STAGE.match(stage)
    return int(match[1]) if match else -1


def _report(
    bench: Bench, parts: dict[str, Part], top: str, logs: tuple[str, ...], notes: tuple[str, ...], begin: float
) -> Report:
    cells = add([part.cells for part in parts.values()])
    return Report(
        source=f"yosys{'' if bench.dsp else '-nodsp'}",
        stage="synthesis",
        tool=bench.tool.version,
        part=f"{FAMILY} (UltraScale+)",
        resources=resources(cells),
        error_bar=error_bar("yosys"),
        detail={
            "top": top,
            "dsp_inference": bench.dsp,
            **detail(cells),
            "cells": cells,
            # stages without their registers, which are the top's
            "parts": {name: {**resources(part.cells), **asdict(part.usage)} for name, part in parts.items()},
            "seconds": round(time.monotonic() - begin, 1),  # of this call; of the parts as they were run once:
            "cpu_seconds": round(sum(part.usage.cpu_seconds for part in parts.values()), 1),
            "peak_mib": max(part.usage.peak_mib for part in parts.values()),
            "runs": bench.runs,
            "notes": notes,
            "commands": bench.commands,
            "top_commands": bench.top_commands if len(parts) > 1 else (),
        },
        files=logs,
    )
