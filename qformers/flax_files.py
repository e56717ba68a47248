"""Parameters of flax models: only as arrays in a ``.npz``, and how to write one; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from qformers.errors import WeightsError

ARRAYS = ".npz"
# names are those of the modules, joined by "/"
EXPORT = 'import flax, numpy; numpy.savez("w.npz", **flax.traverse_util.flatten_dict(params, sep="/"))'


def refuse_other_files(path: Path) -> None:
    """Raise unless a file is a ``.npz`` by its name; nothing is opened.

    Raises:
        WeightsError: it is another one; says how to write the arrays of a pickle.
    """
    if path.suffix != ARRAYS:
        raise WeightsError(
            f"{path}: of hrrformer a {ARRAYS} is read. What upstream's scripts save is a pickle, whatever its name "
            f"ends in, and could run anything; where it was trained, write its params as arrays: {EXPORT}"
        )
