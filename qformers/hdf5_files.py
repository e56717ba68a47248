"""HDF5 files that are not to be trusted: what h5py raises for broken ones, and sizes that are claimed, not there."""

from __future__ import annotations

from typing import Any

# h5py hands on what the library of HDF5, or the decoding of a type or a name, runs into
BROKEN_HDF5 = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError)
MOST_PACKED = 1100  # times that deflate can make numbers smaller, which no other filter of HDF5 does better


def member(group: Any, name: str, size: int) -> Any:
    """The group or data set of a name.

    Args:
        group: of h5py.
        name: in it.
        size: of the file, bytes.

    Raises:
        ValueError: the name is a link to another place, the numbers stand in another file, or there are more of them
            than the file can hold (h5py would take memory for them, and fill it with zeros).
    """
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"'{name}' is a link to another place, which is not followed")
    found = group[name]
    if isinstance(found, h5py.Dataset):
        if found.is_virtual or found.external:
            raise ValueError(f"'{name}' keeps its numbers in another file, which is not read")
        if found.shape is not None and found.nbytes > MOST_PACKED * size:
            raise ValueError(f"'{name}' has the shape {found.shape}, more than a file of {size:,} bytes can hold")
    return found


def refuse_bombs(file: Any, size: int) -> None:
    """Look at every member of a file, in whatever group.

    Raises:
        ValueError: as `member`; or a group that stands in two places, by which hard links make circles.
    """
    import h5py

    waiting, seen = [file], {h5py.h5o.get_info(file.id).addr}
    while waiting:
        group = waiting.pop()
        for name in group:
            found = member(group, name, size)
            if isinstance(found, h5py.Group):
                address = h5py.h5o.get_info(found.id).addr
                if address in seen:
                    raise ValueError(f"the group '{name}' stands in two places")
                seen.add(address)
                waiting.append(found)
