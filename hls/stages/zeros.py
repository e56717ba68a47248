"""What the zeros of a model save in firmware: its LUT estimate beside that of the same model without zeros."""

from __future__ import annotations

from pathlib import Path

from hls.backends.alkaid.ports import port_formats
from hls.backends.alkaid.trace import layer_costs, trace
from qformers.builds.models import load_model
from qformers.quant.prune.sparsity import fill


def lut_without_zeros(path: Path, seed: int = 1) -> dict[str, tuple[float, float]]:
    """Layer -> (LUT as it is, LUT had it no zeros), alkaid's estimates; the whole model under the name ``total``.

    Args:
        path: file of a quantised model.
        seed: of the weights that stand in for the zeros (see `qformers.quant.prune.sparsity.fill`).

    Raises:
        HlsError: alkaid cannot trace the model.
    """
    costs = []
    for zeros in (True, False):
        model = load_model(path)
        if not zeros:
            fill(model, seed)
        traced = trace(model, port_formats(model))
        costs.append({**layer_costs(traced), "total": float(traced.comb.cost)})
    now, filled = costs
    return {layer: (now[layer], filled[layer]) for layer in now}
