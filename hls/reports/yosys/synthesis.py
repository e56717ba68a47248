"""Synthesis of the generated Verilog for Xilinx UltraScale+ by Yosys: LUT, FF, SRL, carry, DSP without a vendor's tool.

A pipelined design is synthesised stage by stage, some stages at a time. The stages meet only in registers, so that
little is lost, memory stays that of those stages, and what is done survives a time limit. Then the top is synthesised
with a shell of every stage, which keeps the wires that go straight through it: shift registers and merged registers
depend on them.

Folded firmware is several such pipelines, its kernels, with stores between them: each kernel is a top of its own, what
stands around the kernels is synthesised with them as black boxes, and all are added up. Both ends of a store are then
registers or memories of one part, so that the borders cost little: `part_demo` at one point per clock takes 19,139 LUT
in parts and 18,212 in one piece.

Measured on da4ml's public pipelined design (11 stages, xcvu13p): stage by stage 5,534 LUT, 4,176 FF, 222 SRL, 1,444
CARRY4, 80 DSP in 108 s and 164 MiB; in one piece 5,531 LUT and the same others; routed by Vivado 2025.1 5,640 LUT as
logic, 3,420 FF, 164 SRL, 666 CARRY8, 80 DSP.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hls.errors import HlsError
from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.yosys.jobs import FAMILY, PASSES, Bench, Job, Part
from hls.reports.yosys.run import YosysStopped, find_yosys
from hls.reports.yosys.stat import add, detail, resources
from qformers.progress import Reporter, Silent

_STAGE = re.compile(r"(?:logic|(\w+)_stage)(\d+)")  # alkaid's and da4ml's names of the logic between two registers
STORES = "stores"  # what stands around the kernels of folded firmware, in a report and in names of logs
_TERNARY = re.compile(r"(?<!module )\bternary_adder\s*#")
_MODULE = re.compile(r"^\s*module\s+(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Design:
    """A design in the parts that are synthesised apart.

    Attributes:
        top: its module.
        files: module -> the file that declares it.
        pipelines: module with registers around stages -> its stages, in order; the top alone, or the kernels in it.
        library: files that any part may need.
    """

    top: str
    files: Mapping[str, Path]
    pipelines: Mapping[str, tuple[str, ...]]
    library: tuple[Path, ...]

    @classmethod
    def of(cls, sources: Sequence[Path], top: str, flat: bool) -> Design:
        """The parts of a design by the names of its modules; `flat`: one part.

        Raises:
            HlsError: see `_declared`.
        """
        files = _declared(sources, top)
        matches = {name: match for name in files if (match := _STAGE.fullmatch(name))}
        stages = () if flat else tuple(sorted(matches, key=lambda name: int(matches[name][2])))
        owners = {name: matches[name][1] if matches[name][1] in files else top for name in stages}
        pipelines = {top: stages}
        if stages and top not in owners.values():
            kernels = sorted(set(owners.values()))
            pipelines = {name: tuple(stage for stage in stages if owners[stage] == name) for name in kernels}
        own = {files[name] for name in (*stages, *pipelines, top)}
        return cls(top, files, pipelines, tuple(path for path in sources if path not in own))

    @property
    def kernels(self) -> tuple[str, ...]:
        """Pipelines that the top has inside."""
        return tuple(name for name in self.pipelines if name != self.top)

    def stages(self) -> list[Job]:
        """Jobs of the logic between registers, and of what stands around kernels; they need no other one."""
        names = [stage for stages in self.pipelines.values() for stage in stages]
        jobs = [Job(name, name, (self.files[name], *self.library), keeps_shell=True) for name in names]
        if self.kernels:
            boxes = tuple(self.files[name] for name in self.kernels)
            jobs.append(Job(STORES, self.top, (self.files[self.top], *self.library), boxes=boxes))
        return jobs

    def registers(self, parts: Mapping[str, Part]) -> list[Job]:
        """Jobs of what stands around stages; `parts`: module -> result, with the shell of every stage."""
        return [
            Job(
                "top" if name == self.top else name,
                name,
                (self.files[name], *self.library),
                tuple(shell for stage in stages if (shell := parts[stage].shell)),
            )
            for name, stages in self.pipelines.items()
        ]


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
        dsp: let Yosys put multipliers into DSP48E2, but for those of modules with the attribute use_dsp = "no".
        time_limit_s: wall time for all of it, seconds.
        reporter: told of the passes.
        flat: synthesise everything in one piece, for comparison: slow, and large in memory.
        jobs: parts at a time (default: the cores this process may use), 0.2 to 1 GB each. The registers around the
            stages of a pipeline come last.

    Returns:
        Report with source "yosys" (with `dsp`) or "yosys-nodsp"; of folded firmware its detail "kernels" says what each
        kernel takes, and the stores.

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
    design = Design.of(sources, top, flat)
    begin = time.monotonic()
    first = design.stages()
    total = len(first) + len(design.pipelines)
    bench = Bench(tool, folder, dsp, begin + time_limit_s, (reporter or Silent()).task("yosys", PASSES * total))
    parts: dict[str, Part] = {}
    try:
        bench.run_all(first, workers, lambda job, part: parts.update({job.module: part}))
        last = [replace(job, name="flat") if flat else job for job in design.registers(parts)]
        bench.run_all(last, workers, lambda job, part: parts.update({job.module: part}))
    except YosysStopped as stop:
        spent = time_limit_s - bench.left_s()
        raise YosysStopped(
            f"yosys was stopped after {spent:.0f} s (time limit {time_limit_s:g} s) {stop}; {len(parts)} of "
            f"{total} parts are done and kept in {folder}: run it again to go on from there, or raise the time limit"
        ) from stop
    logs = tuple(str(folder / f"{job.name}-{bench.variant}.log") for job in (*first, *last))
    return _report(bench, design, parts, logs, _notes(sources, dsp), begin)


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


def _report(
    bench: Bench, design: Design, parts: Mapping[str, Part], logs: tuple[str, ...], notes: tuple[str, ...], begin: float
) -> Report:
    shares = _shares(design, parts)
    cells = add(list(shares.values()))
    return Report(
        source=f"yosys{'' if bench.dsp else '-nodsp'}",
        stage="synthesis",
        tool=bench.tool.version,
        part=f"{FAMILY} (UltraScale+)",
        resources=resources(cells),
        error_bar=error_bar("yosys"),
        detail={
            "top": design.top,
            "dsp_inference": bench.dsp,
            **detail(cells),
            "cells": cells,
            # stages without their registers, which are their pipeline's
            "parts": {name: {**resources(part.cells), **asdict(part.usage)} for name, part in parts.items()},
            **({"kernels": {name: resources(share) for name, share in shares.items()}} if design.kernels else {}),
            "seconds": round(time.monotonic() - begin, 1),  # of this call; of the parts as they were run once:
            "cpu_seconds": round(sum(part.usage.cpu_seconds for part in parts.values()), 1),
            "peak_mib": max(part.usage.peak_mib for part in parts.values()),
            "runs": bench.runs,
            "notes": notes,
            "commands": bench.commands,
            "top_commands": bench.top_commands if len(parts) > 1 else (),
            **({"store_commands": bench.store_commands} if design.kernels else {}),
        },
        files=logs,
    )


def _shares(design: Design, parts: Mapping[str, Part]) -> dict[str, dict[str, int]]:
    """Cells of each kernel, as often as the design has it, and of the stores around them; or of the whole design."""
    copies = {name: parts[design.top].cells.get(name, 0) for name in design.kernels}
    shares = {}
    for name, stages in design.pipelines.items():
        one = add([parts[part].cells for part in (*stages, name)])
        short = name.removeprefix(f"{design.top}_")
        shares[short] = {cell: count * copies.get(name, 1) for cell, count in one.items()}
    if design.kernels:
        shares[STORES] = {cell: count for cell, count in parts[design.top].cells.items() if cell not in copies}
    return shares
