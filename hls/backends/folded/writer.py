"""Writes folded firmware of a quantised model: Verilog or C++, ports, plan, cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hls.backends.alkaid import writer as unrolled
from hls.backends.alkaid.ports import Value, port_formats
from hls.backends.alkaid.stages import Pipeline, amount, pipeline
from hls.backends.alkaid.writer import LAYERS, STAGE_SHARE, widest, write_modules
from hls.backends.folded.cpp import write_cpp
from hls.backends.folded.kernels import BY_BEAT, Kernel, kernels
from hls.backends.folded.machine import Phase, Ports, flight_of, latency_cycles, phases_of, verilog
from hls.backends.folded.orders import ways
from hls.backends.folded.ports import OUT, OUT_BEAT, ports_of
from hls.backends.folded.project import PLAN, PORTS, FoldedProject
from hls.backends.folded.vendor import write_hls_scripts, write_rtl_scripts
from hls.backends.hls4ml.precision import PRECISION
from hls.backends.protocol import LAYOUT, Layout, Port
from hls.backends.writing import EBOPS, new_project, output_names, refusal_of
from hls.errors import ExportRefused, Refusal
from qformers.builds.build import Build
from qformers.config.sections import FirmwareConfig
from qformers.files import write_json
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent
from qformers.quant.formats import model_table
from qformers.quant.hardware import layer_ebops
from qformers.quant.phases import BY_ROW, Plan, Unfolded, named, plan, shares

NAME = "folded"
FLAVOURS = {"verilog": "Verilog", "vitis": "C++ for Vitis HLS"}
SAID = (
    "points_per_clock",
    "keys_per_clock",
    "ii_cycles",
    "latency_cycles",
    "lut_estimate",
    "dsp_estimate",
)  # of the plan, in a manifest


def supports(model: Any, build: Build | None = None) -> list[Refusal]:
    """See `Backend.supports`."""
    try:
        planned(model, build)
    except ExportRefused as refused:
        return list(refused.refusals)
    return []


def planned(model: Any, build: Build | None) -> Plan:
    """The plan of a model.

    Args:
        model: quantised.
        build: says how many points come per clock; None = one.

    Raises:
        ExportRefused: it cannot be folded, with every layer that is the reason.
    """
    refused = unrolled.supports(model, build)
    if build is not None and build.firmware.flavour not in FLAVOURS:
        reason = f"the stores between kernels are written in {' and '.join(FLAVOURS.values())} alone"
        way_out = f"set firmware.flavour: {' or '.join(FLAVOURS)}, or backend: alkaid"
        refused.append(Refusal("firmware.flavour", "setting", f"{reason}. Received: {build.firmware.flavour}", way_out))
    if refused:
        raise ExportRefused(NAME, refused)
    try:
        if build is None:
            return plan(model, 1)
        firmware = build.firmware
        cut = plan(model, firmware.points_per_clock, firmware.moved_rows == "banks", firmware.keys_per_clock)
    except Unfolded as unfolded:
        raise ExportRefused(NAME, [refusal_of(unfolded)]) from unfolded
    if firmware.flavour == "vitis" and cut.fold.host_orders:
        reason = "rows in memory banks are written in Verilog alone, and firmware.flavour is vitis. Received: banks"
        way_out = "set firmware.moved_rows: registers, or firmware.flavour: verilog"
        raise ExportRefused(NAME, [Refusal("firmware.moved_rows", "setting", reason, way_out)])
    return cut


@dataclass(frozen=True)
class Design:
    """Folded firmware before it is written.

    Attributes:
        firmware: of the build.
        plan: the model in phases.
        kernels: of each phase.
        cuts: the same in pipeline stages.
        ports: the same with places for their values.
        phases: the same in the machine, with the stores behind them.
        words: what the host gives with a beat in the place of orders.
        formats: of the model's inputs.
    """

    firmware: FirmwareConfig
    plan: Plan
    kernels: tuple[Kernel, ...]
    cuts: tuple[Pipeline, ...]
    ports: tuple[Ports, ...]
    phases: tuple[Phase, ...]
    words: tuple[Value, ...]
    formats: Mapping[str, Fixed]


def stage_ns(firmware: FirmwareConfig) -> float:
    """Longest path between two registers, in alkaid's delay model."""
    return firmware.stage_ns or STAGE_SHARE * firmware.clock_ns


def design(model: Any, build: Build) -> Design:
    """Trace a model's kernels and place its stores.

    Args:
        model: quantised.
        build: its section `firmware` says how many points come per clock, and what that lasts.

    Raises:
        ExportRefused: it cannot be folded.
        HlsError: alkaid cannot trace a layer.
    """
    cut, formats, firmware = planned(model, build), port_formats(model), build.firmware
    made = kernels(cut, formats)
    cuts = tuple(pipeline(kernel.comb, stage_ns(firmware)) for kernel in made)
    ports = tuple(Ports.of(kernel, one) for kernel, one in zip(made, cuts, strict=True))
    phases = phases_of(cut.fold, made, cuts, ports)
    orders = {named(tensor): tensor.shape[1:] for tensor in model.inputs}
    words = ways(cut.fold, orders, phases[0].in_width - phases[0].rom_width)
    return Design(firmware, cut, made, cuts, ports, phases, words, formats)


def write(
    model: Any,
    build: Build,
    out: Path,
    reporter: Reporter | None = None,
    facts: Mapping[str, Any] | None = None,
) -> FoldedProject:
    """See `Backend.write`."""
    tick = (reporter or Silent()).task("trace and write folded firmware", 2)
    made = design(model, build)
    cut, cuts, ports, phases, firmware = made.plan, made.cuts, made.ports, made.phases, made.firmware
    tick()
    out = out.resolve()
    layout = _layout(model, cut, made.kernels[-1], made.formats, build.name)
    with new_project(NAME, model, build, out, facts) as (folder, said):
        if firmware.flavour == "vitis":
            layers = [[work.layer.name for work in works] for works in cut.works]
            write_cpp(folder / "src", build.name, cut.fold, made.kernels, [one.comb for one in cuts], ports, layers)
            write_hls_scripts(folder, build)
        else:
            modules = {f"k{phase.number}": one for phase, one in zip(phases, cuts, strict=True) if not phase.constant}
            own = verilog(build.name, phases, made.words)
            write_modules(folder / "src", build.name, modules, own, firmware.multipliers)
            write_rtl_scripts(folder, build, OUT_BEAT if phases[-1].by_beat else OUT)
        for number, one in enumerate(cuts):
            one.comb.save(folder / f"model/kernel{number}.json.gz")
        cost = costs(made)
        write_json(folder / LAYOUT, layout.to_json())
        sides = ports[0].outside, ports[-1].outs
        write_json(folder / PORTS, ports_of(layout, cut.fold, sides, firmware.clock_ns, firmware.flavour, made.words))
        write_json(folder / PLAN, cost)
        rows = _layer_rows(model, cut)
        write_json(folder / LAYERS, {"layers": rows})
        write_json(folder / PRECISION, {"layers": model_table(model).to_json()})
        said[EBOPS] = sum(row["ebops"] for row in rows)
        said |= {key: cost[key] for key in SAID}
    tick()
    return FoldedProject(out, layout)


def _layout(model: Any, cut: Plan, last: Kernel, formats: Mapping[str, Fixed], top: str) -> Layout:
    inputs = [Port(t.name, "in_beat", tuple(t.shape[1:]), str(formats[t.name])) for t in model.inputs]
    forms = widest(last.comb, [group.shape for group in last.outs])
    outputs = [
        Port(name, f"out_{name}", cut.shapes[group.tensor], str(form))
        for name, group, form in zip(output_names(model), last.outs, forms, strict=True)
    ]
    return Layout(NAME, top, tuple(inputs), tuple(outputs), ())


def _layer_rows(model: Any, cut: Plan) -> list[dict[str, Any]]:
    """EBOPs of each layer in this hardware, and the kernel that computes it."""
    kernels_of = {work.layer.name: number for number, works in enumerate(cut.works) for work in works}
    ebops = layer_ebops(model, shares(cut))
    return [{"layer": name, "kernel": kernel, "ebops": ebops.get(name, 0)} for name, kernel in kernels_of.items()]


def costs(made: Design) -> dict[str, Any]:
    """The plan as JSON: kernels and stores with what they take; alkaid's estimates, nothing is synthesised."""
    cut, phases = made.plan, made.phases
    rows: list[dict[str, Any]] = []
    for number, (kernel, one, phase) in enumerate(zip(made.kernels, made.cuts, phases, strict=True)):
        whole = amount(one, 0, made.firmware.multipliers)
        of_beat = sum(group.size for group in kernel.ins if group.kind in BY_BEAT)
        stores = {} if phase.store is None else {
            "streamed_bits": 2 * phase.rows * phase.store.streamed.width,
            "keyed_bits": 2 * phase.beats * phase.store.keyed.width,
            **{
                f"{kind}_bits": (2 * phase.rows + 1)
                * sum(one.total for one in phase.store.by_row if one.largest == (kind == "row_largest"))
                for kind in BY_ROW
            },
            "filled_bits": 2 * phase.rows * phase.store.filled.width,  # Verilog keeps one beat once
            "running_bits": sum(2 * total.total for total in phase.store.running),
            "held_bits": phase.store.held.width,
            "gathered_bits": sum(rows.bits for rows in phase.store.moved if rows.kind == "gathered"),
            "scattered_bits": sum(rows.bits for rows in phase.store.moved if rows.kind == "scattered"),
            "spread_bits": phase.store.spread_width * len(phase.store.spread),
        }  # fmt: skip
        rows.append(
            {
                "kernel": number,
                "layers": [work.layer.name for work in cut.works[number]],
                "beats": kernel.beats,
                "chunks": phase.chunks,
                "pace": phase.pace,
                "stages": phase.depth,
                "lut_estimate": whole.lut,
                "dsp_estimate": whole.dsp,
                "products": whole.products,
                "of_event": asdict(amount(one, of_beat, made.firmware.multipliers)),
                "register_bits": one.register_bits + phase.waited_width,
                "longest_path_ns": float(max(one.delays_ns)),
                "unpipelined_path_ns": float(one.comb.latency[1]),
                "ins": [group.to_json() for group in kernel.ins],
                "outs": [group.to_json() for group in kernel.outs],
                "rom": kernel.rom.tolist(),
                "rom_bits": phase.rom_width * len(phase.rom),
                "stores": stores,
                "moves_lut_estimate": sum(rows.lut_estimate for rows in phase.store.moved) if phase.store else 0,
            }
        )
    ways_bits = sum(value.width for value in made.words) * flight_of(phases) * 2 ** phases[0].beat_bits
    return {
        "flavour": made.firmware.flavour,
        "points": cut.fold.points,
        "points_per_clock": cut.fold.together,
        "keys_per_clock": cut.fold.keys,
        "ii_cycles": cut.fold.interval,
        "latency_cycles": latency_cycles(phases),
        "events_inside": flight_of(phases),
        "clock_ns": made.firmware.clock_ns,
        "lut_estimate": sum(row["lut_estimate"] + row["moves_lut_estimate"] for row in rows),
        "moves_lut_estimate": sum(row["moves_lut_estimate"] for row in rows),
        "dsp_estimate": sum(row["dsp_estimate"] for row in rows),
        "products": sum(row["products"] for row in rows),
        "register_bits": sum(row["register_bits"] for row in rows),
        "ways_bits": ways_bits,
        "store_bits": ways_bits + sum(sum(row["stores"].values()) for row in rows),
        "longest_path_ns": max(row["longest_path_ns"] for row in rows),
        "axes": dict(cut.fold.axes),
        "key_axes": dict(cut.fold.key_axes),
        "spread": dict(cut.fold.spread),
        "moves": {layer: [move.rows, move.order, move.banks] for layer, move in cut.fold.moves.items()},
        "outputs": [named(tensor) for tensor in cut.model.outputs],
        "kernels": rows,
    }
