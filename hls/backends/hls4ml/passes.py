"""Steps of our own in hls4ml's conversion.

Each meets one defect of hls4ml 1.3.0 and has a test that tells when it is mended
(`tests/backends/test_hls4ml_upstream.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from hls.backends.hls4ml.points.layers import kinds
from hls.backends.hls4ml.precision import fixed_of, hls4ml_type
from hls.backends.tables import all_values, table_values
from qformers.precision.fixed import Fixed


def flows(backend: str) -> list[str]:
    """hls4ml flows in order: its conversion, tables, sums and layers of ours, weights as they are stored, our names."""
    from hls4ml.model.flow.flow import flow_map, register_flow
    from hls4ml.model.optimizer import ModelOptimizerPass
    from hls4ml.model.optimizer.optimizer import register_pass

    class Step(ModelOptimizerPass):  # type: ignore[misc]
        def __init__(self, name: str, step: Callable[[Any], bool]) -> None:
            self.name, self.transform = name, step

    own = {
        "qformers_tables": remake_tables,
        "qformers_sums": hold_exponentials,
        "qformers_capitals": find_formats,
        "qformers_layers": set_layers,
        "qformers_names": name_variables,
    }
    for name, step in own.items():
        if name not in flow_map:
            register_flow(name, [register_pass(name, Step(name, step))])
    ours = [name for name in own if name != "qformers_names"]
    return ["optimize", *ours, "vivado:init_layers", "qformers_names", f"{backend}:ip"]


def remake_tables(graph: Any) -> bool:
    """Give every table one entry per bit pattern of the values that really address it.

    hls4ml makes the table for the input format as written in the model, then shrinks that format to what the incoming
    value can be; the table is addressed by bit pattern, so that a shrunk format reads wrong entries.
    """
    from hls4ml.model.optimizer.passes.hgq_proxy_model import UnaryLUT

    model = graph.config.config["KerasModel"]
    for node in graph.get_layers():
        if not isinstance(node, UnaryLUT):
            continue
        form = node.get_input_variable().type.precision
        values = table_values(model.get_layer(node.name), all_values(form.signed, form.width, form.fractional))
        weight = node.weights["table"]
        weight.data, weight.shape, weight.data_length = values, [len(values)], len(values)
        weight.nonzeros = int(np.count_nonzero(values))
        weight.nzeros = len(values) - weight.nonzeros
        node.attributes["table_size"] = len(values)
    return False


def hold_exponentials(graph: Any) -> bool:
    """Give every softmax an accumulator that holds the sum of its exponentials.

    hls4ml takes the integer bits of what the sum is rounded to, which may saturate below most sums, as in published
    models, and lets the accumulator wrap around.
    """
    from hls4ml.model.layers import Softmax
    from hls4ml.model.types import NamedType

    for node in graph.get_layers():
        if not isinstance(node, Softmax):
            continue
        summands = node.attributes["n_in"] // (node.attributes["n_inner"] * node.attributes["n_outer"])
        table = fixed_of(node.attributes["exp_table_t"].precision)
        form = Fixed(table.signed, table.integer_bits + (summands - 1).bit_length(), table.fraction_bits, "TRN", "WRAP")
        node.attributes["accum_t"] = NamedType(f"{node.name}_accum_t", hls4ml_type(form))
    return False


def find_formats(graph: Any) -> bool:
    """Let layers with a capital in their name keep the formats of their weights.

    hls4ml notes a format under the name of the layer and, where it lays the weights of a QEinsumDense out anew, looks
    for it under the name in lower case; what it does not find is rounded to the 16 bits of the whole model.
    """
    noted = graph.config.layer_name_precision
    noted.update({name.lower(): form for name, form in noted.items() if form is not None})
    return False


def set_layers(graph: Any) -> bool:
    """Give layers the accumulators and unroll factors of the build: hls4ml's exact formats overwrite the first,
    and it reads the second for convolutions only.
    """
    from hls4ml.model.types import NamedType

    said = graph.config.config["HLSConfig"].get("LayerName", {})
    for node in graph.get_layers():
        own = said.get(node.name, {})
        if accumulator := own.get("Precision", {}).get("accum"):
            form = Fixed.parse(accumulator)
            node.attributes["accum_t"] = NamedType(f"{node.name}_accum_t", hls4ml_type(form))
        if "ParallelizationFactor" in own:
            node.attributes["parallelization_factor"] = own["ParallelizationFactor"]
    return False


def name_variables(graph: Any) -> bool:
    """Call C++ variables after their layers: ``b0_attn_q_out``, ``b0_attn_q_weight``; not ``layer7_out``, ``w7``."""
    for node in graph.get_layers():
        for variable in node.variables.values():
            if node.class_name not in ("Input", "InputLayer"):
                variable.name = f"{node.name}_out"
        for kind, weight in node.weights.items():
            weight.name = f"{node.name}_{kind}"
    return False


@contextmanager
def _instead(name: str, step: Any) -> Iterator[None]:
    """For the length of the block, a step of ours in the place of hls4ml's."""
    from hls4ml.model.optimizer.optimizer import optimizer_map

    before = optimizer_map[name]
    optimizer_map[name] = step
    try:
        yield
    finally:
        optimizer_map[name] = before


@contextmanager
def exact_fusion() -> Iterator[None]:
    """For the length of the block, hls4ml fuses a quantiser only where the result stays the same.

    hls4ml replaces "layer, then quantiser" by "layer with that result type". Four cases lose exactness: the quantiser
    has no bits left (there is no type of zero bits, and hls4ml takes one of one bit); the layer has already swallowed a
    quantiser (output, then input quantiser: the second replaces the first; hls4ml warns and goes on); the layer is an
    output of the model (which then would be quantised too); the layer is a Reshape of a value that others use too (a
    Reshape is the same array under another name, nothing is rounded). Nor does a layer that only moves a model input
    swallow one: the port would have no format. The quantiser then stays a step of its own.
    """
    from hls4ml.model.optimizer.passes.hgq_proxy_model import FuseFixedPointQuantizer

    class Careful(FuseFixedPointQuantizer):  # type: ignore[misc]
        def match(self, node: Any) -> bool:
            return super().match(node) and not _without_bits(node) and (_fusible(node) or _changes_nothing(node))

        def transform(self, model: Any, node: Any) -> bool:
            if _fusible(node):
                return bool(super().transform(model, node))
            model.remove_node(node)
            return True

    with _instead("fuse_fixed_point_quantizer", Careful()):
        yield


def _without_bits(node: Any) -> bool:
    """Whether all that a quantiser gives out is zero; as a step of its own it writes zeros."""
    return hasattr(node, "mask_kbi") and not np.any(node.mask_kbi[1])


def _fusible(node: Any) -> bool:
    """Whether the layer in front can take the quantiser's format: it has none yet, nobody else uses it, it computes."""
    from hls4ml.model.optimizer.passes.bit_exact import get_input_layers, get_output_layers

    source = get_input_layers(node)[0]
    while not source.attributes.get("_result_t_propagated", False) and source.name not in node.model.outputs:
        if len(get_output_layers(source)) != 1:
            return False
        if source.class_name not in ("Reshape", "Transpose"):
            return not _from_port(source)
        source = get_input_layers(source)[0]
    return False


def _from_port(node: Any) -> bool:
    """Whether it moves values of a model input, whose format the quantisers behind it say and which has none else."""
    from hls4ml.model.optimizer.passes.bit_exact import get_input_layers

    if node.class_name in ("Input", "InputLayer"):
        return True
    return isinstance(node, _moving()) and any(map(_from_port, get_input_layers(node)))


def _moving() -> tuple[type, ...]:
    """hls4ml's classes of layers that only move values."""
    from hls4ml.model.layers import Concatenate, Reshape, Transpose

    return Reshape, Transpose, Concatenate, *(kind for kind in kinds().values() if kind.moves)


def _changes_nothing(node: Any) -> bool:
    """Whether a quantiser keeps every value of the format that it is given, so that it may be left out."""
    from hls4ml.model.optimizer.passes.bit_exact import get_input_layers, get_output_layers

    source = get_input_layers(node)[0]
    if not hasattr(node, "mask_kbi") or len(get_output_layers(source)) != 1 or source.name in node.model.outputs:
        return False
    while source.class_name == "Reshape":  # the same array under another name, whatever format it is said to have
        source = get_input_layers(source)[0]
    given = source.get_output_variable().type.precision
    signed, bits, integer = (int(np.ravel(part)[0]) for part in node.mask_kbi)
    wider = integer - signed - (given.integer - given.signed)
    cuts_lowest = node.SAT == "SAT_SYM" and wider == 0 and "SYM" not in str(given.saturation_mode)
    return signed >= given.signed and wider >= 0 and bits - integer >= given.fractional and not cuts_lowest


@contextmanager
def exact_formats() -> Iterator[None]:
    """For the length of the block, hls4ml shrinks the format of a quantiser only where no value changes.

    hls4ml 1.3.0 takes fraction bits from a saturating quantiser whose input has fewer, although the largest value has
    them all (4 - 2^-5 becomes 4 - 2^-3); and integer bits from a symmetrically saturating one although its lowest value
    then is one step higher.
    """
    from hls4ml.model.layers import Einsum
    from hls4ml.model.optimizer.passes import bit_exact
    from hls4ml.model.optimizer.passes.hgq_proxy_model import FixedPointQuantizer

    own = {FixedPointQuantizer: _produced, Einsum: _produced_by_einsum}
    before = {kind: bit_exact._produce_kif.dispatch(kind) for kind in own}
    for kind, rule in own.items():
        bit_exact._produce_kif.register(kind, rule)
    behind = bit_exact.get_output_layers_and_quantizers
    bit_exact.get_output_layers_and_quantizers = _moved_to
    try:
        yield
    finally:
        bit_exact.get_output_layers_and_quantizers = behind
        for kind, rule in before.items():
            bit_exact._produce_kif.register(kind, rule)


@contextmanager
def known_ports() -> Iterator[None]:
    """For the length of the block, layers that only move a model input have the format of its port.

    Where a layer moves values of two inputs (rows, and their order), hls4ml 1.3.0 computes the formats of both once the
    first port is known, and keeps those of the second: 126 integer bits, as of an input without a format.
    """
    from hls4ml.model.optimizer.passes import bit_exact

    class Known(bit_exact.FixInputPrecision):  # type: ignore[misc]
        def transform(self, model: Any, node: Any) -> bool:
            changed = bool(super().transform(model, node))
            movers, _ = bit_exact.get_output_layers_and_quantizers(node)
            for one in (node, *movers):
                _forget(one)
            for mover in movers:
                bit_exact.register_precision(mover)
            for one in (node, *movers):
                _forget(one)
            return changed

    with _instead("fix_input_precision", Known()):
        yield


def _forget(node: Any) -> None:
    """What hls4ml has computed of its formats."""
    for key in ("_produce_kif", "_request_kif"):
        if key in node.attributes:
            del node.attributes[key]


def _moved_to(node: Any) -> tuple[list[Any], list[Any]]:
    """Layers that only move the values of a model input, and the quantisers behind them, whose format the input gets;
    hls4ml follows a Reshape and its like, here also what moves rows.
    """
    from hls4ml.model.optimizer.passes.bit_exact import get_output_layers
    from hls4ml.model.optimizer.passes.hgq_proxy_model import FixedPointQuantizer

    moving = _moving()
    layers, quantisers = [], []
    for user in get_output_layers(node):
        if isinstance(user, FixedPointQuantizer):
            quantisers.append(user)
        elif isinstance(user, moving):
            further = _moved_to(user)
            layers += [user, *further[0]]
            quantisers += further[1]
        else:
            raise ValueError(
                f"layer {node.name} ({node.class_name}) is read by {user.name}, which has no format for it"
            )
    return layers, quantisers


def _produced_by_einsum(node: Any) -> tuple[Any, Any, Any]:
    """Formats of its sums; its inputs may have axes of length 1 that its equation has not (`points.convert.einsum`)."""
    from hls4ml.model.optimizer.passes.bit_exact import get_input_layers, produce_kif
    from hls4ml.utils.qinterval import QIntervalArray, einsum

    sides = [
        QIntervalArray.from_kif(*(part.reshape(node.attributes[f"inp{number}_shape"]) for part in produce_kif(source)))
        for number, source in enumerate(get_input_layers(node))
    ]
    k, i, f = einsum(node.attributes["equation"], *sides).to_kif()
    return k.astype(np.int16), i, f


def _produced(node: Any) -> tuple[Any, Any, Any]:
    """Sign, integer and fraction bits of each value behind a quantiser, whose format becomes no wider than that."""
    from hls4ml.model.optimizer.passes.bit_exact import get_input_layers, produce_kif

    signed, bits, integer = (part[0] for part in node.mask_kbi)
    k, i, f = signed, integer - signed, bits - integer
    given_k, given_i, given_f = produce_kif(get_input_layers(node)[0])
    fits = (k >= given_k) & (2.0**i - 2.0**-f >= 2.0**given_i - 2.0**-given_f)  # nothing overflows
    reach = given_i + ((given_f > f) & (i > given_i))  # rounding up may need one bit more
    if node.RND == "TRN":
        reach = np.where((given_k > 0) & (given_f > f), np.maximum(reach, -f), reach)  # cut off, -2^-9 is -2^-f
    if node.SAT == "SAT_SYM":
        fits &= (given_k == 0) | (i > given_i)
        reach = np.maximum(reach, given_i + given_k)  # keeps -2^i, which a symmetric range has not
    k, i, f = (np.where(fits, np.minimum(own, new), own) for own, new in ((k, given_k), (i, reach), (f, given_f)))
    gone = k + i + f <= 0
    k, i, f = kept = tuple(np.where(gone, 0, part).astype(np.int16) for part in (k, i, f))
    if np.ndim(signed) == 0 and not gone.all():  # one format for all values: that holds those that are left
        kept = tuple(part.max(where=~gone, initial=-128, keepdims=True) for part in kept)
    own_k, own_i, own_f = kept
    node.mask_kbi = tuple(part[None] for part in (own_k, own_k + own_i + own_f, own_k + own_i))
    return k, i, f
