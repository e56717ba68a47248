"""Sequences of tokens as `Events`: what a jet has per particle, a sequence has per token, and that is its id."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events, FeatureSet, no_vectors
from qformers.data.jets.reader import choose_features
from qformers.data.jets.standardise import RAW, feature_set
from qformers.errors import DataError

PAD = 0  # the id that stands where a sequence has ended
LARGEST_ID = 1 << 24  # float32, in which features are handed over, has all whole numbers up to here
FEATURES: dict[str, FeatureSet] = {"tokens": feature_set({"token": RAW})}


def chosen_features(config: DataConfig, dataset: str) -> FeatureSet:
    """The feature set of a build, which is `tokens`.

    Raises:
        DataError: another one, or another padding than zeros, for id 0 is the pad.
    """
    if config.padding != "zero":
        raise DataError(
            f"data.padding: the pad of {dataset} is the token with id {PAD}; leave the key out. "
            f"Received: {config.padding}"
        )
    return choose_features(config.features, FEATURES, dataset)


def sequences(
    ids: NDArray[np.integer], labels: NDArray[np.int64], class_names: tuple[str, ...], features: FeatureSet
) -> Events:
    """Events of sequences; those with label -1 are left out.

    Args:
        ids: (n, T), of the tokens, up to `LARGEST_ID`; `PAD` where there is none.
        labels: (n,), index in `class_names`, or -1.
        class_names: in label order.
        features: of `chosen_features`.

    Returns:
        `features` (n, T, 1) the ids, `mask` (n, T) 1 where the id is not `PAD`, `vectors` zeros that take no memory.
    """
    keep = labels >= 0
    if not keep.all():
        ids, labels = ids[keep], labels[keep]
    mask = (ids != PAD).astype(np.float32)
    return Events(ids[..., None].astype(np.float32), no_vectors(*ids.shape), mask, labels, class_names, features)
