"""TTrees of ROOT files that are not to be trusted: a tree of a name, and branches of the types that are expected."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.reader import require_names
from qformers.data.jets.standardise import Numbers
from qformers.errors import DataError, first_line
from qformers.files import unreadable

MOST_PACKED = 1100  # entries per byte of a file: more than that no packing brings about
JAGGED_WORDS = "numbers per particle (float[] or int32_t[])"
FLAT_WORDS = "one number per jet"


@contextmanager
def open_tree(path: Path, name: str, entries: str) -> Iterator[Any]:
    """A file's TTree.

    Args:
        path: the file.
        name: of the tree.
        entries: what it has, for messages: "jets", "events".

    Raises:
        DataError: not a ROOT file, truncated, no tree of that name in it, or an RNTuple; also whatever fails while the
            tree is being read inside the ``with``.
    """
    import uproot

    if reason := unreadable(path):
        raise DataError(f"{path}: cannot be read as ROOT: {reason}")
    try:
        # no caches: arrays are used once, and a stream must not grow with the number of files
        with uproot.open(path, array_cache=None, object_cache=None) as file:
            kinds = file.classnames(cycle=False, recursive=False)
            if kinds.get(name) != "TTree":
                there = ", ".join(f"{other} ({kind})" for other, kind in kinds.items()) or "nothing"
                raise DataError(
                    f"{path}: no TTree '{name}', found {there}; write it with uproot's mktree('{name}', ...)"
                )
            tree = file[name]
            if not 0 <= tree.num_entries <= path.stat().st_size * MOST_PACKED:
                raise DataError(
                    f"{path}: TTree '{name}' claims {tree.num_entries} {entries}, which the file cannot hold; fetch or "
                    f"generate it again"
                )
            yield tree
    except DataError:
        raise
    except broken_root() as error:
        raise DataError(
            f"{path}: cannot be read as ROOT, the file is damaged, truncated or something else "
            f"({type(error).__name__}: {first_line(error)}); fetch or generate it again"
        ) from error


def broken_root() -> tuple[type[Exception], ...]:
    """What a broken file raises inside uproot: it trusts offsets, and packed bytes go to four other packages."""
    import cramjam
    from uproot.deserialization import DeserializationError
    from uproot.interpretation.identify import NotNumerical, UnknownInterpretation
    from uproot.interpretation.objects import CannotBeAwkward, CannotBeForth, CannotBeStrided

    return (
        ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError, NameError,
        OSError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error, zlib.error, lzma.LZMAError,
        cramjam.DecompressionError, DeserializationError, NotNumerical, UnknownInterpretation,
        CannotBeAwkward, CannotBeForth, CannotBeStrided,
    )  # fmt: skip


def has_tree(path: Path, name: str, branch: str) -> bool:
    """Whether a file is ROOT and has a TTree of that name with such a branch; False for whatever cannot be read."""
    import uproot

    try:
        with uproot.open(path, array_cache=None, object_cache=None) as file:
            if file.classnames(cycle=False, recursive=False).get(name) != "TTree":
                return False
            return branch in file[name]
    except broken_root():
        return False


def check_branches(path: Path, tree: Any, jagged: Iterable[str], flat: Iterable[str]) -> None:
    """Every branch is there and holds numbers: several per entry, or one.

    Args:
        path: for messages.
        tree: of `open_tree`.
        jagged: branches with several numbers per entry, e.g. one per particle.
        flat: branches with one.

    Raises:
        DataError: names the branch that is missing, with the nearest one, or of another type.
    """
    wanted = {**dict.fromkeys(jagged, True), **dict.fromkeys(flat, False)}
    require_names(f"{path}, TTree '{tree.name}'", wanted, tree.keys(), "branch")
    for name, several in wanted.items():
        kind = tree[name].interpretation
        dtype = getattr(getattr(kind, "content", kind) if several else kind, "to_dtype", None)
        if (type(kind).__name__ == "AsJagged") != several or dtype is None or dtype.kind not in "biuf":
            words = JAGGED_WORDS if several else FLAT_WORDS
            raise DataError(
                f"{path}: branch '{name}' has the wrong type. Expected: {words}. Received: {tree[name].typename}"
            )


def flat_branches(
    path: Path, arrays: Any, names: Sequence[str], entry: str, first: int
) -> tuple[dict[str, Numbers], NDArray[np.int64]]:
    """Jagged branches of one collection, flat (k,), and how many numbers each entry has, (n,).

    Numbers keep the type of the file, so that they can be looked at before they lose digits; integers become float64.

    Args:
        path: for messages.
        arrays: of awkward, with these branches.
        names: of the branches.
        entry: what an entry is, for messages: "jet", "event".
        first: number in the file of the first one.

    Raises:
        DataError: branches of unequal lengths.
    """
    import awkward as ak

    counts = np.asarray(ak.num(arrays[names[0]]), np.int64)
    flat: dict[str, Numbers] = {}
    for name in names:
        others = np.asarray(ak.num(arrays[name]), np.int64)
        if (others != counts).any():
            bad = int(np.argmax(others != counts))
            raise DataError(
                f"{path}: branch '{name}' has {others[bad]} numbers in {entry} {first + bad} and '{names[0]}' has "
                f"{counts[bad]}; both must have one for each of the same things, fetch or produce the file again"
            )
        values = np.asarray(ak.flatten(arrays[name]))
        flat[name] = values if values.dtype.kind == "f" else values.astype(np.float64)
    return flat, counts
