"""The precision of each firmware layer as hls4ml resolved it, in the spelling of build files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from qformers.precision.fixed import Fixed

PRECISION = "precision.json"  # of a project: the whole table, what sums need, notes
UNUSED = ("table_t",)  # hls4ml declares it for layers without a table too


def fixed_of(precision: Any) -> Fixed:
    """hls4ml's precision object as a `Fixed`."""
    rounding = str(precision.rounding_mode or "TRN").removeprefix("RoundingMode.").removeprefix("AP_")
    overflow = str(precision.saturation_mode or "WRAP").removeprefix("SaturationMode.").removeprefix("AP_")
    signed = bool(precision.signed)
    return Fixed(signed, precision.integer - signed, precision.width - precision.integer, rounding, overflow)  # type: ignore[arg-type]


def layer_precision(node: Any) -> dict[str, Any]:
    """Formats of one firmware layer: result, accum, weight, bias, tables; elements: format -> number of values."""
    formats: dict[str, Any] = {"result": str(fixed_of(node.get_output_variable().type.precision))}
    for kind, named in sorted(node.types.items()):
        name = kind.removesuffix("_t")
        if name == "result" or (kind in UNUSED and node.class_name != "UnaryLUT"):
            continue
        formats[name] = str(fixed_of(named.precision))
    for kind, weight in sorted(node.weights.items()):
        formats[kind] = str(fixed_of(weight.type.precision))
    mask = getattr(node, "mask_kbi", None)
    if mask is not None:
        formats["elements"] = element_formats(mask, node.RND, node.SAT)
    return formats


def accumulators(graph: Any) -> dict[str, Fixed]:
    """Layer -> accumulator of an hls4ml graph."""
    types = {node.name: node.types.get("accum_t") for node in graph.get_layers()}
    return {name: fixed_of(named.precision) for name, named in types.items() if named is not None}


def hls4ml_type(form: Fixed) -> Any:
    """A `Fixed` as hls4ml's precision object."""
    from hls4ml.model.types import FixedPrecisionType

    return FixedPrecisionType(form.width, form.integer_bits + form.signed, form.signed, form.rounding, form.overflow)


def element_formats(mask: Any, rounding: str, overflow: str) -> dict[str, int]:
    """How many elements of a quantiser have which format."""
    signed, bits, integer = (np.ravel(part).astype(int) for part in np.broadcast_arrays(*mask))
    spelt = [
        str(Fixed(bool(k), int(i - k), int(b - i), rounding, overflow)) if b > 0 else "none"  # type: ignore[arg-type]
        for k, b, i in zip(signed, bits, integer, strict=True)
    ]
    return dict(Counter(spelt).most_common())


def to_yaml(layers: Mapping[str, Mapping[str, Any]]) -> str:
    """Text of ``precision.yaml``."""
    head = (
        "# Formats of the firmware as hls4ml resolved them; fixed<W,I> counts the sign bit in I. To change a format,\n"
        "# change quant.layers in the build file and export again. result: what leaves the layer, with the input\n"
        "# quantiser of the next layer where hls4ml fused it. accum: the sum inside it.\n"
    )
    return head + yaml.safe_dump({name: dict(formats) for name, formats in layers.items()}, sort_keys=False, width=120)
