"""Classes of jets that a build names (`data.labels`), in files whose labels are not those of a public set."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import YES, LabelConfig
from qformers.errors import DataError

LABEL_PREFIX = "label_"  # of JetClass's branches


def refuse_labels(labels: Sequence[LabelConfig], dataset: str) -> None:
    """Refuse labels of a build whose data set has its own.

    Raises:
        DataError: names them.
    """
    if labels:
        raise DataError(f"data.labels: {dataset} has labels of its own; leave them out. Received: {_listed(labels)}")


def one_branch_each(labels: Sequence[LabelConfig], dataset: str) -> dict[str, str]:
    """Class -> the branch that is 1 for jets of it and 0 for others.

    Args:
        labels: of the build, perhaps none.
        dataset: for messages.

    Raises:
        DataError: as `names_of`; or values or files, by which no branch of 0 and 1 is read.
    """
    names_of(labels)
    for label in labels:
        if label.values != YES or label.files:
            raise DataError(
                f"data.labels: {dataset} reads a branch of 0 and 1 for each class; leave 'values' and 'files' out. "
                f"Received: class '{label.name}' with values {list(label.values)} and files {list(label.files)}"
            )
        if label.branch is None and label.name.startswith(LABEL_PREFIX):
            raise DataError(
                f"data.labels: a class is called without '{LABEL_PREFIX}', which is put before it. "
                f"Received: '{label.name}'; write {label.name.removeprefix(LABEL_PREFIX) or 'its name'}"
            )
    return {label.name: label.branch or f"{LABEL_PREFIX}{label.name}" for label in labels}


def names_of(labels: Sequence[LabelConfig]) -> tuple[str, ...]:
    """The classes, in label order.

    Raises:
        DataError: one is named twice.
    """
    names = tuple(label.name for label in labels)
    if len(set(names)) != len(names):
        raise DataError(f"data.labels: each class may be named once. Received: {_listed(labels)}")
    return names


class LabelRules:
    """Which jets are of which class: by the value of a branch, by the name of the file, or by both.

    Attributes:
        names: the classes, in label order.
        branches: that are read.
    """

    def __init__(self, labels: Sequence[LabelConfig], dataset: str) -> None:
        """Raises `DataError` where there is no label, one twice, or one that says nothing."""
        if not labels:
            raise DataError(
                f"data.labels: {dataset} has no labels of its own; name the classes and how a jet is known to be of "
                "one, by a branch, e.g. [{name: b, branch: FatJet_hadronFlavour, values: [5]}, ...], or by the file, "
                "e.g. [{name: top, files: ['TTto*']}, {name: qcd, files: ['QCD*']}]. Received: none"
            )
        self.names = names_of(labels)
        for label in labels:
            if label.branch is None and (not label.files or label.values != YES):
                raise DataError(
                    f"data.labels: class '{label.name}' needs a 'branch' (with 'values') or 'files', globs of names. "
                    f"Received: values {list(label.values)}, files {list(label.files)}"
                )
        self._labels = tuple(labels)
        self.branches = tuple(dict.fromkeys(label.branch for label in labels if label.branch is not None))

    def apply(self, path: Path, columns: Mapping[str, NDArray[Any]], jets: int, first_jet: int) -> NDArray[np.int64]:
        """Label of each jet, (n,), -1 = of no class.

        Args:
            path: of the file.
            columns: branch -> (n,).
            jets: n.
            first_jet: index in the file of the first of them, for messages.

        Raises:
            DataError: a jet of several classes, or whose branch has no number.
        """
        for branch in self.branches:
            lost = ~np.isfinite(columns[branch])
            if lost.any():
                jet = int(np.argmax(lost))
                raise DataError(
                    f"{path}: data.labels: branch '{branch}' must be a number. Received: {columns[branch][jet]} in jet "
                    f"{first_jet + jet} ({lost.sum()} such jets among those read with it); mend or drop these jets"
                )
        of = np.zeros((jets, len(self._labels)), bool)
        for number, label in enumerate(self._labels):
            if label.files and not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in label.files):
                continue
            of[:, number] = True if label.branch is None else np.isin(columns[label.branch], label.values)
        several = of.sum(axis=1) > 1
        if several.any():
            jet = int(np.argmax(several))
            names = [name for name, is_one in zip(self.names, of[jet], strict=True) if is_one]
            raise DataError(
                f"{path}: data.labels: jet {first_jet + jet} is of several classes ({several.sum()} such jets among "
                f"those read with it); make their values or files exclude one another. Received: {', '.join(names)}"
            )
        return np.where(of.any(axis=1), of.argmax(axis=1), -1).astype(np.int64)


def _listed(labels: Sequence[LabelConfig]) -> str:
    return ", ".join(label.name for label in labels)
