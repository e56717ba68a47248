"""Write the 1,797 handwritten digits that scikit-learn brings (8 x 8 pixels, 17 grey levels), pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qformers.data.tokens.token_rows_writer import write
from qformers.errors import DataError
from qformers.generate.folder import SPLITS, FolderManifest, Made, settle

FORMAT = 1  # raise it whenever equal settings no longer give equal files
VAL, TEST = 180, 450  # pictures
LARGEST_SEED = 2**31 - 1
LEVELS = 17  # grey levels 0 to 16 become ids 1 to 17, since id 0 is the pad


def generate(folder: Path, seed: int, command: str) -> FolderManifest:
    """Write ``<folder>/{train,val,test}/tokens_digits.npz`` and ``manifest.json``; returns the latter.

    `ids` (n, 64) are 1 + grey level, row after row from the top left; `labels` (n,) the digit.

    Args:
        folder: made if it is missing; one run at a time. Where it holds these files, nothing is made.
        seed: decides which picture is in which split.
        command: that made it, for the manifest.

    Raises:
        DataError: a seed that is none; and as `settle`.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise DataError(f"seed must lie in 0..{LARGEST_SEED}. Received: seed={seed}")

    def make() -> Made:
        from sklearn.datasets import load_digits

        digits = load_digits()
        ids = 1 + np.rint(digits.data).astype(np.uint8)  # (1797, 64)
        labels, names = np.asarray(digits.target, np.int64), [str(name) for name in digits.target_names]
        order = np.random.default_rng(seed).permutation(len(ids))
        parts = np.split(order, [len(ids) - VAL - TEST, len(ids) - TEST])
        files = {}
        for split, rows in zip(SPLITS, parts, strict=True):
            files[write(folder / split / "tokens_digits.npz", ids[rows], labels[rows], names)] = len(rows)
        return files, {"tokens": ids.shape[1], "vocabulary": LEVELS + 1}

    return settle(folder, "digits", FORMAT, {"seed": seed}, command, make)
