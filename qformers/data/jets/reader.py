"""`JetReader`: what a data set has to know about its files; everything else (streams, cache, shuffling) is common."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qformers.data.events import Events, FeatureSet
from qformers.errors import DataError, nearest


class JetReader(Protocol):
    """One data set read with one configuration."""

    class_names: tuple[str, ...]  # after selection and reordering
    feature_set: FeatureSet

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(jets in the file,), True where the jet is of a selected class."""
        ...

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Kept jets among the file's jets [start, stop), in file order."""
        ...


class ClassChoice:
    """Selects and reorders the classes of a data set; jets of the others are dropped."""

    def __init__(self, available: tuple[str, ...], wanted: tuple[str, ...], dataset: str) -> None:
        """Raises `DataError` for an unknown or repeated class."""
        for name in wanted:
            if name not in available:
                raise DataError(f"data.classes: {dataset} has no class '{name}'{nearest(name, available)}")
        if len(set(wanted)) != len(wanted):
            raise DataError(f"data.classes: each class may be named once. Received: {', '.join(wanted)}")
        self.names = wanted or available
        self.all = not wanted or set(wanted) == set(available)
        self._new_index = np.array([self.names.index(c) if c in self.names else -1 for c in available], np.int64)

    def apply(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) index among all classes -> index among the selected ones, -1 = dropped."""
        return self._new_index[labels]


def choose_features(name: str, sets: dict[str, FeatureSet], dataset: str) -> FeatureSet:
    """The named feature set, or a `DataError` with the nearest name."""
    if name not in sets:
        raise DataError(f"data.features: {dataset} has no feature set '{name}'{nearest(name, sets)}")
    return sets[name]


def require_names(where: str, wanted: Iterable[str], present: Iterable[str], kind: str) -> None:
    """Refuse a file that lacks a branch or column, naming the nearest one that is there."""
    there = sorted(present)
    for name in wanted:
        if name not in there:
            raise DataError(f"{where}: {kind} '{name}' is missing{nearest(name, there)}")
