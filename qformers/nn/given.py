"""Arrays that a model is given by hand: at least one event, and finite numbers where a slot is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from qformers.errors import DataError

MASK = "mask"  # input that says which slots are taken


def refuse_empty(shapes: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse inputs of no event.

    Args:
        shapes: input name -> (n, ...); n is None where it is not known yet.

    Raises:
        DataError: an input has none.
    """
    for name, shape in shapes.items():
        if shape and shape[0] == 0:
            raise DataError(
                f"a model needs at least one event to compute: give some. Received: input '{name}' of shape {shape}"
            )


def refuse_unusable(arrays: Mapping[str, Any]) -> None:
    """Refuse inputs that no model gives an answer to.

    Args:
        arrays: input name -> (n, ...). Where ``mask`` (n, N) is among them, slots that it leaves out may hold anything.

    Raises:
        DataError: no event, or NaN or infinity; names the input, how many events and the first place.
    """
    given = {name: np.asarray(array) for name, array in arrays.items()}
    refuse_empty({name: array.shape for name, array in given.items()})
    mask = given.get(MASK)
    for name, array in given.items():
        bad = np.asarray(~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool))
        if mask is not None and array.ndim > mask.ndim and array.shape[: mask.ndim] == mask.shape:
            bad &= (mask > 0).reshape(*mask.shape, *[1] * (array.ndim - mask.ndim))
        if bad.any():
            first, rows = tuple(np.argwhere(bad)[0].tolist()), bad.reshape(len(array), -1).any(axis=1)
            raise DataError(
                f"input '{name}' must be finite, since NaN or infinity has no fixed-point form and spreads to every "
                f"output: leave such events out. Received: {array[first]} at {first}, in {rows.sum()} of {len(array)} "
                "events"
            )
