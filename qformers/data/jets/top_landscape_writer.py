"""Write jets in the HDF5 layout of the top landscape set (Zenodo 2603256), as pandas keeps a table.

It has what `qformers.data.jets.top_landscape` reads; pandas itself asks for more attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.pytables import BLOCK, INDEX, TABLE, texts_pickled
from qformers.data.jets.top_landscape import KEY, SIGNAL
from qformers.files import replacing

TRUTH = ("truthE", "truthPX", "truthPY", "truthPZ")  # of the top quark; 0 for QCD, and here for all
JETS_PER_CHUNK = 256


def write(
    path: Path, momenta: NDArray[Any], signal: NDArray[Any], compression: str | Mapping[str, Any] | None = "gzip"
) -> Path:
    """Write one file, which appears under its name when it is complete; returns `path`.

    Args:
        path: of the file.
        momenta: (n, slots, 4), px, py, pz, E of the particles in GeV, 0 where there is none.
        signal: (n,), 1 = top, 0 = QCD.
        compression: of h5py, or one of hdf5plugin, e.g. ``hdf5plugin.Blosc()``; None = none.

    Raises:
        ValueError: arrays of other shapes.
    """
    import h5py

    if momenta.ndim != 3 or momenta.shape[2] != 4 or signal.shape != momenta.shape[:1]:
        raise ValueError(
            f"momenta must be (jets, slots, 4) and signal (jets,). Received: {momenta.shape} and {signal.shape}"
        )
    jets, slots, _ = momenta.shape
    columns = [f"{component}_{slot}" for slot in range(slots) for component in ("E", "PX", "PY", "PZ")]
    blocks = {f"{BLOCK}0": [*columns, *TRUTH], f"{BLOCK}1": ["ttv", SIGNAL]}
    widths = {name: len(names) for name, names in blocks.items()}
    rows = np.zeros(
        jets, [(INDEX, "i8"), (f"{BLOCK}0", "f4", (widths[f"{BLOCK}0"],)), (f"{BLOCK}1", "i8", (widths[f"{BLOCK}1"],))]
    )
    rows[INDEX] = np.arange(jets)
    rows[f"{BLOCK}0"][:, : 4 * slots] = momenta[:, :, [3, 0, 1, 2]].reshape(jets, 4 * slots)
    rows[f"{BLOCK}1"][:, 1] = signal
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        packing: dict[str, Any] = {}
        if jets and compression is not None:
            # those of hdf5plugin are mappings, and shuffle by themselves
            own = {"compression": compression, "shuffle": True} if isinstance(compression, str) else dict(compression)
            packing = {"chunks": (min(JETS_PER_CHUNK, jets),), **own}
        table = file.create_group(KEY).create_dataset(TABLE, data=rows, **packing)
        for name, names in blocks.items():
            table.attrs[f"{name}_kind"] = np.bytes_(texts_pickled(names))
    return path
