"""Writes the block engine of a quantised HEPT: Verilog, ports, cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hls.backends.alkaid.writer import STAGE_SHARE, TIMESCALE, write_modules
from hls.backends.block_engine import verilog as engine_verilog
from hls.backends.block_engine.parts import Engine, Part, engine
from hls.backends.block_engine.ports import EnginePorts
from hls.backends.block_engine.project import COSTS, PORTS, EngineProject
from hls.backends.block_engine.sizes import Sizes, sizes
from hls.backends.layer_settings import multiplier_faults
from hls.backends.protocol import LAYOUT, Layout, Port
from hls.backends.writing import new_project, output_names
from hls.backends.written import WIDE
from hls.errors import ExportRefused, Refusal
from qformers.builds.build import Build
from qformers.config.section import architecture_of
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.files import write_json
from qformers.models.hept.blocks import Parts, parts, slots_of
from qformers.models.hept.config import HeptConfig
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent
from qformers.quant.ranges import FLOAT32_BITS

NAME = "block_engine"


def supports(model: Any, build: Build | None = None) -> list[Refusal]:
    """See `Backend.supports`; only the build says what the parts of a model are."""
    try:
        _parts(model, build)
    except ExportRefused as refused:
        return list(refused.refusals)
    return []


def hept_of(build: Build | None) -> tuple[HeptConfig, QuantConfig]:
    """Sections `model` and `quant` of a build that can become an engine.

    Raises:
        ExportRefused: no build, another architecture, or no section `quant`.
    """
    if build is not None and isinstance(build.model, HeptConfig) and build.quant is not None:
        return build.model, build.quant
    given = "no build"
    if build is not None:
        given = f"{architecture_of(build.model)}, quant {'missing' if build.quant is None else 'given'}"
    reason = f"the block engine is for a quantised model of architecture hept. Received: {given}"
    raise ExportRefused(NAME, [Refusal("model", "build", reason, "set model.architecture and a section quant")])


def _parts(model: Any, build: Build | None) -> Parts:
    """The parts of a model, if it has them.

    Raises:
        ExportRefused: as `hept_of`, or the model is not of this build, has formats per element, or products are to be
            made of something.
    """
    cfg, quant = hept_of(build)
    why = "the engine leaves all products to the synthesis tool"
    if build is not None and (refused := multiplier_faults(build.firmware, why)):
        raise ExportRefused(NAME, refused)
    try:
        return parts(cfg, quant, model)
    except ConfigError as error:
        raise ExportRefused(NAME, [Refusal("model", "build", str(error), "give the build of this model")]) from error


def write(
    model: Any,
    build: Build,
    out: Path,
    most_points: int = 0,
    reporter: Reporter | None = None,
    facts: Mapping[str, Any] | None = None,
) -> EngineProject:
    """See `Backend.write`.

    Args:
        model, build, out, reporter, facts: as there.
        most_points: of an event, which memories are made for; 0 = as many as the model takes.
    """
    cut, firmware = _parts(model, build), build.firmware
    tick = (reporter or Silent()).task("trace and write the engine", 2)
    made = engine(cut, model, firmware.stage_ns or STAGE_SHARE * firmware.clock_ns)
    tick()
    size = sizes(made, f"{build.name}_engine", most_blocks(most_points or slots_of(model), cut.block))
    out, layout = out.resolve(), _layout(made, size, model)
    with new_project(NAME, model, build, out, facts) as (folder, said):
        _write_sources(made, size, folder / "src")
        write_json(folder / LAYOUT, layout.to_json())
        write_json(folder / PORTS, EnginePorts.of(made, size).to_json())
        write_json(folder / COSTS, _costs(made, size))
        said |= {"most_blocks": size.blocks, WIDE: _too_wide(made)}
    tick()
    return EngineProject(out, layout)


def _too_wide(made: Engine) -> list[str]:
    """Parts with values of more bits than a float32 has: there Keras itself may round."""
    formats = {part.name: [op.qint for op in part.cut.comb.ops] for part in made.all}
    limit = 2.0**FLOAT32_BITS
    return [name for name, values in formats.items() if any(max(-v.min, v.max) > limit * v.step for v in values)]


def most_blocks(points: int, block_size: int) -> int:
    """Blocks that hold so many points."""
    return -(-points // block_size)


def _layout(made: Engine, size: Sizes, model: Any) -> Layout:
    """Ports of one block; ``in_block`` and ``out_block`` take all of them together."""
    shapes = {tensor.name: tuple(tensor.shape[2:]) for tensor in model.inputs}
    inputs = [Port(name, "in_block", (size.size, *shapes[name]), str(form)) for name, form in made.formats.items()]
    slots = Fixed(False, max((size.size * size.blocks - 1).bit_length(), 1), 0, "TRN", "WRAP")
    inputs.append(Port("order", "in_block", (size.orders, size.size), str(slots)))
    values = made.out.fields.values()
    fraction = max(value.fraction_bits for value in values)
    integer = max(max(value.integer_bits for value in values), 1 - fraction)
    widest = Fixed(any(value.signed for value in values), integer, fraction, "TRN", "WRAP")
    shape = (size.size, *tuple(model.outputs[0].shape[2:]))
    outputs = (Port(output_names(model)[0], "out_block", shape, str(widest)),)
    return Layout(NAME, size.top, tuple(inputs), outputs, ())


def _write_sources(made: Engine, size: Sizes, source: Path) -> None:
    own = {name: f"{TIMESCALE}\n\n{code}" for name, code in engine_verilog.verilog(made, size).items()}
    write_modules(source, size.top, {part.name: part.cut for part in made.all}, own)


def _costs(made: Engine, sizes: Sizes) -> dict[str, Any]:
    """Estimates of alkaid of the parts, and the memories as written; nothing is synthesised."""
    parts = {part.name: _cost(part) for part in made.all}
    kept = sizes.memories(made)
    chosen, size, blocks = sizes.multiplexed_bits(made), sizes.size, sizes.blocks
    bits = {name: count * width * blocks for name, (count, width) in kept.items()}
    rams = {name: count * -(-width // 72) * -(-blocks // 512) for name, (count, width) in kept.items()}
    return {
        "source": "estimates, nothing synthesised: alkaid's of the parts; a 4:1 multiplexer per LUT; memories "
        "of 512 words of 72 bits",
        "most_blocks": blocks,
        "block_size": size,
        "parts": parts,
        "lut_estimate_parts": sum(part["lut_estimate"] for part in parts.values()),
        "lut_estimate_permutations": chosen * -(-(size - 1) // 3),
        "register_bits_parts": sum(part["register_bits"] for part in parts.values()),
        "memory_bits": bits,
        "memory_bits_total": sum(bits.values()),
        "bram36_estimate": rams,
        "bram36_estimate_total": sum(rams.values()),
        "longest_path_ns": max(part["longest_path_ns"] for part in parts.values()),
    }


def _cost(part: Part) -> dict[str, Any]:
    return {
        "copies": part.copies,
        "stages": part.depth,
        "lut_estimate": part.copies * part.cut.comb.cost,
        "register_bits": part.copies * part.cut.register_bits,
        "longest_path_ns": max(part.cut.delays_ns),
    }
