"""Write sequences of tokens as rows of an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.tokens.sequences import LARGEST_ID
from qformers.files import replacing


def write(path: Path, ids: NDArray[Any], labels: NDArray[Any], class_names: Sequence[str]) -> Path:
    """Write one file, not packed so that rows are read alone, which appears when it is complete; returns `path`.

    Args:
        path: of the file.
        ids: (n, T), whole numbers from 0, the pad, to `LARGEST_ID`; kept in the smallest type that holds them.
        labels: (n,), whole numbers, index in `class_names`.
        class_names: in label order.

    Raises:
        ValueError: arrays of other shapes or types, numbers beyond these.
    """
    if ids.ndim != 2 or labels.shape != ids.shape[:1] or ids.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise ValueError(
            f"ids must be whole numbers (sequences, tokens) and labels (sequences,). Received: {ids.dtype} of shape "
            f"{ids.shape} and {labels.dtype} of shape {labels.shape}"
        )
    least, most = int(ids.min(initial=0)), int(ids.max(initial=0))
    if least < 0 or most > LARGEST_ID or labels.min(initial=0) < 0 or labels.max(initial=0) >= len(class_names):
        raise ValueError(
            f"ids must be 0 to {LARGEST_ID} and labels 0 to {len(class_names) - 1}. Received: ids {least} to {most}, "
            f"labels {labels.min(initial=0)} to {labels.max(initial=0)}"
        )
    stored = np.ascontiguousarray(ids, np.min_scalar_type(most))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, ids=stored, labels=labels.astype(np.int64), class_names=np.array(class_names, str))
    return path
