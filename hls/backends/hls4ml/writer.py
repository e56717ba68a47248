"""From a quantised Keras model to an hls4ml project (Vitis or Vivado), with nothing left to hls4ml's choice."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from hls.backends.hls4ml import accumulators, handlers, headers, passes, precision, vendor
from hls.backends.hls4ml.config import to_hls4ml
from hls.backends.hls4ml.kinds import ABLE, Handler, handler_of
from hls.backends.hls4ml.project import Hls4mlProject
from hls.backends.hls4ml.refusals import refusals
from hls.backends.layer_settings import faults
from hls.backends.protocol import LAYOUT, Layout, Port, Step
from hls.backends.writing import name_refusals, new_project, output_names, weights_hash
from hls.errors import ExportRefused, HlsError, Refusal
from hls.escaping import number, tcl_word
from qformers.builds.build import Build
from qformers.files import write_json
from qformers.progress import Reporter, Silent
from qformers.quant.within import made_of_layers


def supports(model: Any, build: Build | None = None) -> list[Refusal]:
    """See `Backend.supports`."""
    refused = [*refusals(model), *name_refusals(model, build)]
    if build is not None and build.firmware.strategy != "latency":
        reason = f"hls4ml has einsum layers for strategy latency only. Received: {build.firmware.strategy}"
        refused.append(Refusal("firmware.strategy", "setting", reason, "set firmware.strategy: latency"))
    return refused if build is None or refused else faults(model, build.firmware, ABLE)


def write(
    backend: str,
    upstream: str,
    model: Any,
    build: Build,
    out: Path,
    reporter: Reporter | None = None,
    facts: Mapping[str, Any] | None = None,
    allow_overflow: bool = False,
) -> Hls4mlProject:
    """See `Backend.write`.

    Args:
        backend: key of `hls.backends.BACKENDS`.
        upstream: hls4ml's name of it.
        model, build, out, reporter, facts, allow_overflow: as there.
    """
    if refused := supports(model, build):
        raise ExportRefused(backend, refused)
    plan = accumulators.plan(backend, model, build.firmware, ABLE, allow_overflow)
    out = out.resolve()
    with new_project(backend, model, build, out, facts) as (folder, said):
        graph, origins = _convert((backend, upstream), model, build, folder, plan, reporter or Silent())
        layout = _layout(graph, model, backend, build.name, origins)
        layers = {node.name: precision.layer_precision(node) for node in graph.get_layers()}
        graph.config.config.pop("KerasModel")  # the project holds the model's hash; the model has its own place
        graph.write()
        headers.mend(folder)
        _forget(graph, model, folder, out)
        vendor.write_options(folder)
        write_json(folder / LAYOUT, layout.to_json())
        (folder / "precision.yaml").write_text(precision.to_yaml(layers))
        table = plan.whole_table(model, precision.accumulators(graph))
        write_json(folder / precision.PRECISION, {**plan.to_json(table), "within": made_of_layers(model)})
        if plan.short:
            said["overflow_allowed"] = [str(short.refusal()) for short in plan.short]
    return Hls4mlProject(out, layout)


def _convert(
    names: tuple[str, str], model: Any, build: Build, folder: Path, plan: accumulators.Plan, reporter: Reporter
) -> tuple[Any, handlers.Origins]:
    """hls4ml's ModelGraph, converted by our handlers and with our steps, and what its layers were made of.

    Args:
        names: of the backend, ours and hls4ml's.
        model, build, folder, plan, reporter: see `write`.
    """
    import hls4ml

    firmware = build.firmware
    settings = known_settings(
        names[1],
        part=tcl_word(firmware.part, "firmware.part"),
        clock_period=number(firmware.clock_ns, "firmware.clock_ns"),
        io_type="io_parallel",
        write_weights_txt=True,
    )
    whole = {"Precision": "ap_fixed<16,6>", "ReuseFactor": firmware.reuse_factor, "Strategy": firmware.strategy}
    with (
        exactly(reporter.task("convert", len(model.layers))) as origins,
        warnings.catch_warnings(),
        redirect_stdout(StringIO()),  # hls4ml's remarks about layers
    ):
        warnings.simplefilter("error", UserWarning)  # "bit-exactness may be compromised" and its like
        try:
            graph = hls4ml.converters.convert_from_keras_model(
                model,
                output_dir=str(folder),
                project_name=build.name,
                backend=names[1],
                hls_config={"Model": whole, "LayerName": to_hls4ml(plan.table), "Flows": passes.flows(names[0])},
                bit_exact=True,
                allow_da_fallback=False,
                allow_v2_fallback=False,
                **settings,
            )
        except UserWarning as warning:
            raise HlsError(f"hls4ml cannot convert this model exactly: {warning}") from warning
    _check_origins(graph, model, origins)
    return graph, origins


@contextmanager
def exactly(converted: Callable[[], None] = lambda: None) -> Iterator[handlers.Origins]:
    """For the length of the block, hls4ml converts by our handlers, and its steps are the exact ones.

    Whoever uses hls4ml's own tools on a `graph_of`, e.g. ``hls4ml.model.profiling.numerical``, which converts the model
    once more, does so in such a block.

    Args:
        converted: called after each layer.

    Yields:
        What hls4ml's layers were made of, as they are made.
    """
    with handlers.only_these(converted) as origins, passes.exact_fusion(), passes.exact_formats(), passes.known_ports():
        yield origins


def graph_of(model: Any, build: Build, folder: Path, upstream: str = "Vitis") -> Any:
    """hls4ml's ModelGraph of a model, as `write` writes it, for hls4ml's own tools; nothing is written.

    Args:
        model: quantised.
        build: its firmware section counts.
        folder: that the graph would be written to.
        upstream: hls4ml's name of the backend.

    Raises:
        ExportRefused: as `write`.
    """
    backend = upstream.lower()
    if refused := supports(model, build):
        raise ExportRefused(backend, refused)
    plan = accumulators.plan(backend, model, build.firmware, ABLE, False)
    return _convert((backend, upstream), model, build, folder, plan, Silent())[0]


def known_settings(upstream: str, **settings: Any) -> dict[str, Any]:
    """`settings`, after a look whether hls4ml knows them: it takes `clock_perod=2.5` without a word."""
    import hls4ml

    taken = inspect.signature(hls4ml.backends.get_backend(upstream).create_initial_config).parameters
    unknown = [key for key in settings if key not in taken]
    if unknown:
        raise TypeError(f"hls4ml's backend {upstream} has no setting '{unknown[0]}'; it has {', '.join(taken)}")
    return settings


def _check_origins(graph: Any, model: Any, origins: handlers.Origins) -> None:
    """Every layer of the model is in the firmware, and nothing there comes from elsewhere.

    A Reshape may vanish, for it moves nothing, and a Quantizer, whose format then is that of the layer in front.
    """
    steps = {node.name for node in graph.get_layers()}
    if strange := sorted(steps - set(origins)):
        raise HlsError(f"hls4ml made a layer '{strange[0]}', which belongs to no layer of the model")
    kept = {origins[step][0] for step in steps}
    for layer in model.layers:
        handler = handler_of(layer)
        needed = not (isinstance(handler, Handler) and handler.vanishes)
        if needed and layer.name not in kept:
            raise HlsError(
                f"hls4ml dropped the layer '{layer.name}' ({type(layer).__name__}) or called it something else"
            )


def _layout(graph: Any, model: Any, backend: str, top: str, origins: handlers.Origins) -> Layout:
    inputs = [
        Port(v.name, v.name, tuple(v.shape), str(precision.fixed_of(v.type.precision)))
        for v in graph.get_input_variables()
    ]
    names = output_names(model)
    outputs = [
        Port(name, variable.name, tuple(tensor.shape[1:]), str(precision.fixed_of(variable.type.precision)))
        for name, tensor, variable in zip(names, model.outputs, graph.get_output_variables(), strict=True)
    ]
    steps = [_step(node, *origins[node.name]) for node in graph.get_layers() if node.get_attr("function_cpp", None)]
    return Layout(backend, top, tuple(inputs), tuple(outputs), tuple(steps))


def _step(node: Any, owner: str, part: str) -> Step:
    variable = node.get_output_variable()
    form = str(precision.fixed_of(variable.type.precision))
    fused = bool(node.attributes.get("_result_t_propagated", False))
    return Step(node.name, owner, part, variable.name, tuple(variable.shape), form, fused)


def _forget(graph: Any, model: Any, folder: Path, out: Path) -> None:
    """hls4ml's files have in them the folder that they were written to and a random stamp: write where the project
    will stand and a stamp of the model, so that equal models make equal projects.
    """
    stamp = graph.config.get_config_value("Stamp")
    own = weights_hash(model)[: len(stamp)]
    record, script = folder / "hls4ml_config.yml", folder / "build_lib.sh"
    settings = record.read_text().replace(str(folder), str(out))
    record.write_text(re.sub(rf"'?{stamp}'?", f"'{own}'", settings))  # YAML quotes those that look like a number
    script.write_text(script.read_text().replace(stamp, own))
