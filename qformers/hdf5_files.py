"""HDF5 files that are not to be trusted: what h5py raises for broken ones, and sizes that are claimed, not there."""

from __future__ import annotations

from typing import Any

# h5py hands on what the library of HDF5, or the decoding of a type or a name, runs into
BROKEN_HDF5 = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError)
HEAP = b"GCOL\1\0\0\0"  # signature, version 1, reserved
# times that deflate can make numbers smaller; other filters can more, but not with jets: each has a particle
MOST_PACKED = 1100


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


def refuse_broken_heaps(content: bytes) -> None:
    """Look at the heaps that texts of attributes stand in (HDF5 File Format Specification, III.E, Global Heap).

    The library of HDF5 1.14 walks through a heap from object to object, and for ever where one says that it has no
    size; nothing of Python can stop it.

    Raises:
        ValueError: an object of a heap that goes nowhere, or beyond its end.
    """
    start = content.find(HEAP)
    while start >= 0:
        end = start + int.from_bytes(content[start + 8 : start + 16], "little")
        place = start + 16
        while place + 16 <= min(end, len(content)):
            number, size = content[place : place + 2], int.from_bytes(content[place + 8 : place + 16], "little")
            # number 0 is the room that is left, its own head included
            step = size if number == b"\0\0" else 16 + -(-size // 8) * 8
            if step < 1 or place + step > end:
                raise ValueError(f"a heap of texts at byte {start:,} is broken: an object of {size:,} bytes in it")
            place += step
        start = content.find(HEAP, start + 1)


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
