"""From a quantised Keras model to alkaid's arithmetic (ALIR): one trace, its share per layer, its stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.fixes import mended
from hls.backends.alkaid.kinds import replays
from hls.backends.alkaid.multipliers import Cost, op_costs
from hls.errors import HlsError
from qformers.precision.fixed import Fixed

HARDWARE = (1, 1, -1)  # adders and carry chains of one bit; (1, -1, -1) fails in alkaid 0.8.2
# hard_dc: adder levels by which a constant matrix product may be deeper than its shallowest form. binary_lut: alkaid
# 0.8.2 takes every one-bit input of a sum for 0 or 1, but a signed bit is 0 or -1; six of them in one sum stop it
SOLVER = {"hard_dc": 5, "binary_lut": False}

Array = NDArray[np.float64]
Kif = tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int8]]


@dataclass(frozen=True)
class Traced:
    """A traced model.

    Attributes:
        comb: alkaid's CombLogic from all inputs to all outputs, flattened and in the order of the model.
        layers: the same with the output of every layer as outputs.
        spans: layer -> (first, last + 1) of its values among the outputs of `layers`, in order of computation.
        shapes: layer -> shape of its output, without the batch axis.
    """

    comb: Any
    layers: Any
    spans: dict[str, tuple[int, int]]
    shapes: dict[str, tuple[int, ...]]


def trace(model: Any, formats: Mapping[str, Fixed | Kif]) -> Traced:
    """Trace a model whose layers are all exact in alkaid.

    Args:
        model: quantised Keras model.
        formats: format of each model input; as a triple of arrays (sign, integer and fraction bits) of its shape where
            values differ in it.

    Raises:
        HlsError: alkaid cannot trace a layer; the message has its words.
    """
    from alkaid.converter import trace_model
    from alkaid.trace import HWConfig
    from alkaid.trace import trace as combine
    from alkaid.trace.passes import optimize

    kifs = tuple(_kif(formats[tensor.name]) for tensor in model.inputs)
    try:
        with mended(), replays(), redirect_stdout(StringIO()):
            dump = trace_model(model, HWConfig(*HARDWARE), SOLVER, inputs_kif=kifs, dump=True, framework="keras")
            outputs, spans, shapes = _layer_outputs(model, dump)
            ends = [np.ravel(part) for part in dump["final"]]
            inputs = np.concatenate([np.ravel(part) for part in dump["inputs"]])
            whole = optimize(combine(inputs, np.concatenate([*outputs, *ends]), optimize=False))
    except HlsError:
        raise
    except (AssertionError, NotImplementedError, ValueError, KeyError, RuntimeError, StopIteration) as error:
        raise HlsError(f"alkaid cannot trace this model: {type(error).__name__}: {error}") from error
    count = sum(part.size for part in outputs)
    return Traced(_outputs(whole, count, None), _outputs(whole, 0, count), spans, shapes)


def _kif(form: Fixed | Kif) -> tuple[Any, Any, Any]:
    if not isinstance(form, Fixed):
        return form
    return int(form.signed), form.integer_bits, form.fraction_bits


def _layer_outputs(
    model: Any, dump: Mapping[str, Any]
) -> tuple[list[Any], dict[str, tuple[int, int]], dict[str, tuple[int, ...]]]:
    parts: list[Any] = []
    spans: dict[str, tuple[int, int]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    start = 0
    for layer in model.layers:
        made = dump.get(f"/{layer.name}/final")
        if made is None:  # an input
            continue
        flat, shape = np.ravel(made[0]), tuple(layer.output.shape[1:])
        if flat.size != math.prod(shape):
            raise HlsError(
                f"layer '{layer.name}' ({type(layer).__name__}) computes {flat.size} values and says that its output "
                f"has shape {shape}: give it the shape that it has. Received: {layer.get_config().get('output_shape')}"
            )
        parts.append(flat)
        spans[layer.name] = (start, start + flat.size)
        shapes[layer.name] = shape
        start += flat.size
    return parts, spans, shapes


def _outputs(comb: Any, start: int, stop: int | None) -> Any:
    """The part of a CombLogic that its outputs `start` to `stop` need."""
    return picked(comb, range(*slice(start, stop).indices(len(comb.out_idxs))))


def picked(comb: Any, outputs: Sequence[int]) -> Any:
    """The part of a CombLogic that the outputs with these numbers need; inputs keep their places."""
    from alkaid.trace.passes import dead_code_elimin

    kept = {name: [getattr(comb, name)[index] for index in outputs] for name in ("out_idxs", "out_shifts", "out_negs")}
    return dead_code_elimin(comb._replace(shape=(comb.shape[0], len(outputs)), **kept), keep_dead_inputs=True)


def layer_costs(traced: Traced, multipliers: str = "auto") -> dict[str, Cost]:
    """What the operations take that each layer is the first to need.

    What two layers share counts for the earlier one; what no output needs counts nowhere.

    Args:
        traced: the model.
        multipliers: `firmware.multipliers`.
    """
    comb = traced.layers
    owner = np.full(len(comb.ops), -1)
    names = list(traced.spans)
    for number, (first, last) in enumerate(traced.spans.values()):
        waiting = [index for index in comb.out_idxs[first:last] if index >= 0]
        while waiting:
            index = waiting.pop()
            if owner[index] < 0:
                owner[index] = number
                waiting.extend(comb.ops[index].input_ids)
    taken = op_costs(comb, multipliers)
    lut, dsp = np.asarray([cost.lut for cost in taken]), np.asarray([cost.dsp for cost in taken])
    parts = (owner == number for number in range(len(names)))
    return {name: Cost(float(lut[own].sum()), int(dsp[own].sum())) for name, own in zip(names, parts, strict=True)}


def predict(comb: Any, rows: Array) -> Array:
    """alkaid's interpreter: (n, inputs) -> (n, outputs) in float64."""
    return np.asarray(comb.predict(np.ascontiguousarray(rows, np.float64)), np.float64)
