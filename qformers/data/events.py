"""`Events`: what every data set hands over, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FeatureSet:
    """Numbers given per particle, in order, with their standardisation z = clip((x - shift) * scale, low, high).

    `names` uses ``part_pt_log``, ``part_deta`` and ``part_dphi`` for ln(pT/GeV), eta and phi relative to the jet axis,
    whatever the data set calls them: the on-chip pair features look these three up.
    """

    names: tuple[str, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    low: tuple[float, ...]  # lower end of the standardised value, -inf where it is not clipped
    high: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.names)


def no_vectors(jets: int, particles: int) -> NDArray[np.float32]:
    """Vectors (n, N, 4) of what has no momenta: zeros that take no memory and cannot be written to."""
    return np.broadcast_to(np.zeros((), np.float32), (jets, particles, 4))


def unit_of(momenta: bool) -> str:
    """What is counted where each event has one label: jets, or sequences of tokens, which have no momenta."""
    return "jets" if momenta else "sequences"


@dataclass(frozen=True)
class Events:
    """Jets in memory. n jets, N particle slots (highest pT first), F features.

    A sequence of tokens is a jet without momenta (`no_vectors`), whose particles are its tokens in their order.
    """

    features: NDArray[np.float32]  # (n, N, F), standardised; padded slots zero or wrapped
    vectors: NDArray[np.float32]  # (n, N, 4), px, py, pz, E in GeV
    mask: NDArray[np.float32]  # (n, N), 1 = real particle, 0 = padding
    labels: NDArray[np.int64]  # (n,), index into `class_names`
    class_names: tuple[str, ...]
    feature_set: FeatureSet

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Events:
        """Jets picked by a slice, indices or a boolean mask."""
        mask = self.mask[index]
        return Events(
            self.features[index],
            self.vectors[index] if self.has_momenta else no_vectors(*mask.shape),
            mask,
            self.labels[index],
            self.class_names,
            self.feature_set,
        )

    @property
    def has_momenta(self) -> bool:
        """Whether the vectors are numbers in memory, rather than `no_vectors`."""
        return any(self.vectors.strides)
