"""What a model would cost as RTL, without writing it."""

from __future__ import annotations

from typing import Any

from hls.backends.alkaid.ports import port_formats
from hls.backends.alkaid.trace import layer_costs, trace


def lut_by_layer(model: Any) -> dict[str, float]:
    """Layer -> LUT, alkaid's estimate; the whole model under the name ``total``.

    Raises:
        HlsError: alkaid cannot trace the model.
    """
    traced = trace(model, port_formats(model))
    return {**{name: cost.lut for name, cost in layer_costs(traced).items()}, "total": float(traced.comb.cost)}
