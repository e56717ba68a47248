"""Writes folded firmware of a quantised model: Verilog, ports, plan, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hls.backends.alkaid import writer as unrolled
from hls.backends.alkaid.ports import Value, port_formats
from hls.backends.alkaid.stages import Pipeline, pipeline
from hls.backends.alkaid.writer import STAGE_SHARE, widest, write_modules
from hls.backends.folded.kernels import Group, Kernel, kernels
from hls.backends.folded.machine import Phase, Ports, flight_of, latency_cycles, phases_of, verilog
from hls.backends.folded.project import PLAN, PORTS, FoldedProject
from hls.backends.protocol import LAYOUT, Layout, Port
from hls.backends.writing import new_project, output_names
from hls.errors import ExportRefused, Refusal
from qformers.builds.build import Build
from qformers.files import write_json
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent
from qformers.quant.phases import Plan, Unfolded, named, plan

NAME = "folded"


def supports(model: Any, build: Build | None = None) -> list[Refusal]:
    """See `Backend.supports`."""
    try:
        _planned(model, build)
    except ExportRefused as refused:
        return list(refused.refusals)
    return []


def _planned(model: Any, build: Build | None) -> Plan:
    """The plan of a model.

    Raises:
        ExportRefused: it cannot be folded.
    """
    if refused := unrolled.supports(model, build):
        raise ExportRefused(NAME, refused)
    try:
        return plan(model, 1 if build is None else build.firmware.points_per_clock)
    except Unfolded as unfolded:
        said = Refusal(unfolded.name, unfolded.kind, unfolded.reason, unfolded.way_out)
        raise ExportRefused(NAME, [said]) from unfolded


def write(
    model: Any,
    build: Build,
    out: Path,
    reporter: Reporter | None = None,
    facts: Mapping[str, Any] | None = None,
) -> FoldedProject:
    """See `Backend.write`."""
    cut, firmware = _planned(model, build), build.firmware
    tick = (reporter or Silent()).task("trace and write folded RTL", 2)
    formats = port_formats(model)
    made = kernels(cut, formats)
    cuts = [pipeline(kernel.comb, firmware.stage_ns or STAGE_SHARE * firmware.clock_ns) for kernel in made]
    ports = [Ports.of(kernel, one) for kernel, one in zip(made, cuts, strict=True)]
    phases = phases_of(cut.fold, made, cuts, ports)
    tick()
    out = out.resolve()
    layout = _layout(model, made[-1], formats, build.name)
    with new_project(NAME, model, build, out, facts) as (folder, said):
        modules = {f"k{phase.number}": one for phase, one in zip(phases, cuts, strict=True)}
        write_modules(folder / "src", build.name, modules, {build.name: verilog(build.name, phases)})
        for number, one in enumerate(cuts):
            one.comb.save(folder / f"model/kernel{number}.json.gz")
        cost = _costs(cut, made, cuts, phases, build)
        write_json(folder / LAYOUT, layout.to_json())
        write_json(folder / PORTS, {"in_beat": _entries(ports[0].outside), "out_event": _entries(ports[-1].outs)})
        write_json(folder / PLAN, cost)
        said |= {key: cost[key] for key in ("points_per_clock", "ii_cycles", "latency_cycles", "lut_estimate")}
    tick()
    return FoldedProject(out, layout)


def _layout(model: Any, last: Kernel, formats: Mapping[str, Fixed], top: str) -> Layout:
    inputs = [Port(t.name, "in_beat", tuple(t.shape[1:]), str(formats[t.name])) for t in model.inputs]
    forms = widest(last.comb, [group.shape for group in last.outs])
    outputs = [
        Port(name, f"out_event_{name}", group.shape, str(form))
        for name, group, form in zip(output_names(model), last.outs, forms, strict=True)
    ]
    return Layout(NAME, top, tuple(inputs), tuple(outputs), ())


def _entries(side: Sequence[tuple[Group, tuple[Value, ...]]]) -> list[Any]:
    """Where each value of a port sits, as `values_of` reads it; a port is called by its tensor."""
    return [
        [group.tensor, list(index), value.low, int(value.signed), value.integer_bits, value.fraction_bits]
        for group, values in side
        for index, value in zip(np.ndindex(*group.shape), values, strict=True)
    ]


def _costs(
    cut: Plan, made: tuple[Kernel, ...], cuts: list[Pipeline], phases: tuple[Phase, ...], build: Build
) -> dict[str, Any]:
    """The plan as JSON: kernels and stores with what they take; alkaid's estimates, nothing is synthesised."""
    rows: list[dict[str, Any]] = []
    for number, (kernel, one, phase) in enumerate(zip(made, cuts, phases, strict=True)):
        stores = {} if phase.store is None else {
            "streamed_bits": 2 * phase.beats * phase.store.streamed.width,
            "filled_bits": 2 * phase.beats * phase.store.filled.width,
            "running_bits": sum(2 * total.total for total in phase.store.running),
            "held_bits": phase.store.held.width,
            "spread_bits": phase.store.spread_width * len(phase.store.spread),
        }  # fmt: skip
        rows.append(
            {
                "kernel": number,
                "layers": [work.layer.name for work in cut.works[number]],
                "beats": kernel.beats,
                "stages": phase.depth,
                "lut_estimate": float(one.comb.cost),
                "register_bits": one.register_bits,
                "longest_path_ns": float(max(one.delays_ns)),
                "ins": [group.to_json() for group in kernel.ins],
                "outs": [group.to_json() for group in kernel.outs],
                "rom": kernel.rom.tolist(),
                "rom_bits": phase.rom_width * len(phase.rom),
                "stores": stores,
            }
        )
    return {
        "points": cut.fold.points,
        "points_per_clock": cut.fold.together,
        "ii_cycles": cut.fold.beats,
        "latency_cycles": latency_cycles(phases),
        "events_inside": flight_of(phases),
        "clock_ns": build.firmware.clock_ns,
        "lut_estimate": sum(row["lut_estimate"] for row in rows),
        "register_bits": sum(row["register_bits"] for row in rows),
        "store_bits": sum(sum(row["stores"].values()) for row in rows),
        "longest_path_ns": max(row["longest_path_ns"] for row in rows),
        "axes": dict(cut.fold.axes),
        "spread": dict(cut.fold.spread),
        "outputs": [named(tensor) for tensor in cut.model.outputs],
        "kernels": rows,
    }
