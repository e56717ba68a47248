"""What the zeros of a model save in firmware: its LUT estimate beside that of the same model without zeros."""

from __future__ import annotations

from pathlib import Path

from hls.backends.alkaid.estimate import lut_by_layer
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
        costs.append(lut_by_layer(model))
    now, filled = costs
    return {layer: (now[layer], filled[layer]) for layer in now}
