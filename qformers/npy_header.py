"""Headers of .npy files that are not to be trusted: nothing is unpickled, no shape is believed."""

from __future__ import annotations

import tokenize
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

HEADER_ERRORS = (SyntaxError, tokenize.TokenError, TypeError, RecursionError, MemoryError, AttributeError)  # of .npy


@dataclass(frozen=True)
class Header:
    """What an .npy file says of itself.

    Attributes:
        shape: of the array.
        fortran: whether the first axis runs fastest.
        dtype: of its elements; object arrays are pickles.
        size: of the header, bytes.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    size: int


def read_header(stream: IO[bytes], name: str) -> Header:
    """The header at the beginning of a stream, which then stands at the first element.

    Args:
        stream: of an .npy file.
        name: of the array, for messages.

    Raises:
        ValueError: no .npy, an unknown version, a shape that is none; and `HEADER_ERRORS`.
    """
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"'{name}' has the unknown version {version}")
    shape, fortran, dtype = readers[version](stream)
    if min(shape, default=0) < 0:
        raise ValueError(f"'{name}' has the shape {shape}")
    return Header(tuple(shape), bool(fortran), dtype, stream.tell())
