"""EBOPs of a quantised model in hardware: layer by layer, for the share of its copies that hardware has.

HGQ2 counts every product of a layer, and keeps the count of its last training step in the model, times the factor of
the layer (`ebops_factor`), which `qformers.builds.models.build_model` sets to the share of the hardware of the build.
Firmware of another kind has other shares: its EBOPs are counted anew, in the formats that the model has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from qformers.quant.kinds import kind_of


def counts(layer: Any) -> bool:
    """Whether HGQ2 counts EBOPs of a layer itself."""
    return getattr(layer, "_ebops", None) is not None


def recounted(layer: Any, share: float | None = None) -> int:
    """EBOPs of a layer and of those in it, in their present formats, each rounded down as HGQ2 stores it.

    Args:
        layer: of a quantised model.
        share: its copies in hardware over those in the model; None = as it is counted in training.
    """
    return sum(_own(part, shapes, share) for part, shapes in kind_of(layer).counted(layer) if counts(part))


def layer_ebops(model: Any, shares: Mapping[str, float] | None = None) -> dict[str, int]:
    """EBOPs of every layer of a quantised model that has any, in hardware with these shares.

    Args:
        model: trained or calibrated, so that HGQ2 has counted it.
        shares: layer -> its copies in hardware over those in the model; 1 for all others.

    Returns:
        Layer -> EBOPs, with those of the layers in it. What was counted for the same share is taken as it is.
    """
    found: dict[str, int] = {}
    for layer in model.layers:
        parts, share = list(filter(counts, layer._flatten_layers())), (shares or {}).get(layer.name, 1.0)
        if not parts:
            continue
        if all(part.ebops_factor == share for part in parts):
            found[layer.name] = sum(int(ops.convert_to_numpy(part._ebops)) for part in parts)
        else:
            found[layer.name] = recounted(layer, share)
    return found


def _own(layer: Any, shapes: Sequence[Any], share: float | None) -> int:
    ebops = layer._compute_ebops(*((1, *shape[1:]) for shape in shapes))
    ebops = ebops * (layer.ebops_factor if share is None else share)
    return int(ops.convert_to_numpy(ops.cast(ebops, layer._ebops.dtype)))
