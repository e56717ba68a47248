"""From a quantised Keras model to RTL: pipelined Verilog (or VHDL, or C++ for Vitis HLS) through alkaid.

alkaid traces the model's arithmetic value by value, shares what is equal, splits it into stages and writes it out; all
widths are those that the values need, so that nothing is rounded but where the model rounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from hls.backends.alkaid import multipliers
from hls.backends.alkaid import ports as alkaid_ports
from hls.backends.alkaid import trace as alkaid_trace
from hls.backends.alkaid.kinds import ABLE, handler_of
from hls.backends.alkaid.project import PORTS, AlkaidProject
from hls.backends.alkaid.size import size_faults
from hls.backends.alkaid.stages import Pipeline, pipeline
from hls.backends.alkaid.trace import Traced
from hls.backends.alkaid.widths import width_faults
from hls.backends.hls4ml.precision import PRECISION
from hls.backends.hls4ml.refusals import name_faults
from hls.backends.layer_settings import faults, multiplier_faults
from hls.backends.protocol import LAYOUT, Layout, Port, Step
from hls.backends.writing import name_refusals, new_project, output_names
from hls.errors import ExportRefused, Gap, Refusal
from hls.escaping import number, tcl_word
from qformers.builds.build import Build
from qformers.config.sections import TRACE_HOURS, FirmwareConfig
from qformers.files import write_json
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent
from qformers.quant.formats import model_table
from qformers.quant.hardware import layer_ebops
from qformers.quant.within import made_of_layers

NAME = "alkaid"
LAYERS = "layers.json"
TIMESCALE = "`timescale 1 ns / 1 ps"
STAGE_SHARE = 0.9  # of the clock period, for logic; the rest is for setup and clock uncertainty
CLOCK_UNCERTAINTY = 0.1  # of the clock period, in the constraints


def supports(model: Any, build: Build | None = None) -> list[Refusal]:
    """See `Backend.supports`."""
    refusals: list[Refusal] = []
    for layer in model.operations:
        handler = handler_of(layer)
        words = [(handler.reason, handler.way_out)] if isinstance(handler, Gap) else handler.faults(layer)
        refusals += [Gap(*fault).refusal(layer) for fault in words]
        refusals += [Gap(*words).refusal(layer) for words in name_faults(layer.name)]
    refusals = [*refusals, *name_refusals(model, build)]
    hours = TRACE_HOURS if build is None else build.firmware.trace_hours
    refusals = (
        refusals or list(width_faults(model)) or alkaid_ports.port_faults(model) or list(size_faults(model, hours))
    )
    if build is not None and build.firmware.reuse_factor != 1:
        reason = f"the RTL takes an event every clock cycle. Received: {build.firmware.reuse_factor}"
        refusals.append(Refusal("firmware.reuse_factor", "setting", reason, "set firmware.reuse_factor: 1"))
    if build is not None and build.firmware.flavour != "verilog":
        why = f"it is an attribute of Verilog modules, and the flavour is {build.firmware.flavour}"
        refusals += multiplier_faults(build.firmware, why)
    return refusals if build is None or refusals else faults(model, build.firmware, ABLE)


def write(
    model: Any,
    build: Build,
    out: Path,
    reporter: Reporter | None = None,
    facts: Mapping[str, Any] | None = None,
) -> AlkaidProject:
    """See `Backend.write`."""
    if refused := supports(model, build):
        raise ExportRefused(NAME, refused)
    tick = (reporter or Silent()).task("trace and write RTL", 3)
    formats = alkaid_ports.port_formats(model)
    traced = alkaid_trace.trace(model, formats)
    tick()
    out = out.resolve()
    with new_project(NAME, model, build, out, facts) as (folder, said):
        cut = _write_sources(traced, build, folder)
        cost = _facts(cut, traced, build.firmware)
        write_json(folder / "metadata.json", {"top_module": build.name, **cost})
        tick()
        layout = _layout(model, traced, formats, build.name)
        write_json(folder / LAYOUT, layout.to_json())
        write_json(folder / PORTS, {**_bits(layout, cut.machine), **cost})
        write_json(folder / LAYERS, {"layers": _layer_rows(model, traced, build.firmware.multipliers)})
        traced.layers.save(folder / "model/layers.json.gz")
        write_json(folder / PRECISION, {"layers": model_table(model).to_json(), "within": made_of_layers(model)})
        said |= cost
    tick()
    return AlkaidProject(out, layout)


def _write_sources(traced: Traced, build: Build, folder: Path) -> Pipeline:
    """Write alkaid's project (the Vitis flavour has C++ instead of RTL); returns what was cut into stages."""
    from alkaid.codegen import HLSModel, RTLModel

    firmware = build.firmware
    common = {
        "part_name": tcl_word(firmware.part, "firmware.part"),
        "clock_period": number(firmware.clock_ns, "firmware.clock_ns"),
        "clock_uncertainty": CLOCK_UNCERTAINTY,
    }
    cut = pipeline(traced.comb, firmware.stage_ns or STAGE_SHARE * firmware.clock_ns)
    with redirect_stdout(StringIO()):
        if firmware.flavour == "vitis":
            HLSModel(traced.comb, folder, build.name, "vitis", ternary_fuse=True, **common).write({})
        else:
            RTLModel(cut.machine, folder, build.name, firmware.flavour, ternary_fuse=False, **common).write({})
            own_module_names(folder / "src", build.name)
            if firmware.flavour == "verilog":
                multipliers.place(folder / "src/static", firmware.multipliers)
    cut.comb.save(folder / "model/comb.json.gz")
    return cut


def _facts(cut: Pipeline, traced: Traced, firmware: FirmwareConfig) -> dict[str, Any]:
    """Latency, stages and costs as traced; none of it is synthesised."""
    tables = cut.comb.lookup_tables or ()
    taken, before = (multipliers.cost_of(comb, firmware.multipliers) for comb in (cut.comb, traced.comb))
    return {
        "flavour": firmware.flavour,
        "clock_ns": firmware.clock_ns,
        "latency_cycles": cut.latency_cycles,
        "longest_path_ns": max(cut.delays_ns),
        "stage_paths_ns": cut.delays_ns,
        "unpipelined_path_ns": cut.comb.latency[1],
        "lut_estimate": taken.lut,
        "lut_estimate_before_ternary_adders": before.lut,
        **({} if firmware.multipliers == "auto" else {"dsp_estimate": taken.dsp}),
        "register_bits": cut.register_bits,
        "tables": len(tables),
        "table_bits": int(sum(len(table.table) * sum(table.spec.out_kif) for table in tables)),
        "operations": len(cut.comb.ops),
    }


def own_module_names(folder: Path, top: str) -> None:
    """Call alkaid's stage modules ``<top>_stage3`` instead of ``logic3``: two models may meet in one design."""
    pattern = re.compile(r"\blogic(\d+)\b")
    for path in [*folder.glob("*.v"), *folder.glob("*.vhd")]:
        path.write_text(pattern.sub(rf"{top}_stage\1", path.read_text()))
        if re.fullmatch(r"logic\d+", path.stem):
            path.rename(path.with_name(path.name.replace("logic", f"{top}_stage")))


def write_modules(
    source: Path, top: str, cuts: Mapping[str, Pipeline], own: Mapping[str, str], products: str = "auto"
) -> None:
    """Write Verilog of several pipelines of one design, module ``<top>_<name>`` each, with one set of tables.

    Args:
        source: folder; each pipeline has one in it, and so have alkaid's own modules.
        top: of the design.
        cuts: name -> pipeline.
        own: what stands around them: name of a file, without its ending -> Verilog.
        products: `firmware.multipliers`.
    """
    from alkaid.codegen import rtl
    from alkaid.codegen.rtl.verilog.fsm import fsm_logic_gen
    from alkaid.codegen.rtl.verilog.lookup import lookup_source

    for name, cut in cuts.items():
        module = f"{top}_{name}"
        codes = fsm_logic_gen(cut.machine, module, timescale=TIMESCALE)
        codes.pop(f"{module}_tables", None)  # two pipelines may have the same table; its name says what is in it
        _write_verilog(source / name, codes)
        own_module_names(source / name, module)
    logic = [comb for cut in cuts.values() for comb in cut.machine.logic.values()]
    static = (Path(rtl.__file__).parent / "verilog/source").glob("*.v")
    _write_verilog(source / "static", {path.stem: path.read_text() for path in static})
    multipliers.place(source / "static", products)
    _write_verilog(source, {**own, f"{top}_tables": lookup_source(logic, TIMESCALE)})


def _write_verilog(folder: Path, codes: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in codes.items():
        (folder / f"{name}.v").write_text(code)


def _layout(model: Any, traced: Traced, formats: Mapping[str, Fixed], top: str) -> Layout:
    inputs = [Port(t.name, "model_inp", tuple(t.shape[1:]), str(formats[t.name])) for t in model.inputs]
    widths = iter(widest(traced.comb, [tuple(t.shape[1:]) for t in model.outputs]))
    outputs = [
        Port(name, f"model_out_{name}", tuple(tensor.shape[1:]), str(next(widths)))
        for name, tensor in zip(output_names(model), model.outputs, strict=True)
    ]
    forms = widest(traced.layers, list(traced.shapes.values()))
    steps = [
        Step(name, name, "", name, shape, str(form), False)
        for (name, shape), form in zip(traced.shapes.items(), forms, strict=True)
    ]
    return Layout(NAME, top, tuple(inputs), tuple(outputs), tuple(steps))


def widest(comb: Any, shapes: list[tuple[int, ...]]) -> list[Fixed]:
    """The format that holds all values of each group of outputs."""
    import numpy as np

    signed, integers, fractions = (np.asarray(part) for part in comb.out_kifs)
    forms, start = [], 0
    for shape in shapes:
        part = slice(start, start + int(np.prod(shape, dtype=int)))
        k, f = bool(signed[part].any()), int(fractions[part].max())
        forms.append(Fixed(k, max(int(integers[part].max()), 1 - f), f, "TRN", "WRAP"))
        start = part.stop
    return forms


def _bits(layout: Layout, machine: Any) -> dict[str, Any]:
    """Where each value sits in the vectors of the top module: port, index, lowest bit, signed, integer and fraction."""
    tree = {}
    for ports, signal in ((layout.inputs, machine.inp_signals[0]), (layout.outputs, machine.out_signals[0])):
        values = alkaid_ports.place({port.name: port.shape for port in ports}, signal.precisions)
        tree[signal.name] = [
            [v.port, list(v.index), v.low, int(v.signed), v.integer_bits, v.fraction_bits] for v in values
        ]
    return tree


def _layer_rows(model: Any, traced: Traced, products: str) -> list[dict[str, Any]]:
    """Cost of each layer (before adders of three terms are fused) and its share of EBOPs."""
    costs = alkaid_trace.layer_costs(traced, products)
    ebops = layer_ebops(model)
    arrival = traced.layers.out_latency
    return [
        {
            "layer": name,
            "lut": costs[name].lut,
            **({} if products == "auto" else {"dsp": costs[name].dsp}),
            "ebops": float(ebops.get(name, 0)),
            "latency_ns": float(max(arrival[a:b])),
        }
        for name, (a, b) in traced.spans.items()
    ]
