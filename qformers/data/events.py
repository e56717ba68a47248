"""`Events`: what every data set hands over, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Target:
    """A number that is to be predicted of an event, with the constants z = (value - shift) * scale of the data set.

    A model gives z: constants that belong to the data set, as those of its features do, are the same wherever a model
    is trained, evaluated or put into firmware.

    Attributes:
        name: of the output.
        unit: of the value.
        shift, scale: of the standardisation; the scale is a power of two, so that firmware's outputs have exact values.
    """

    name: str
    unit: str
    shift: float
    scale: float


@dataclass(frozen=True)
class Held:
    """Which arrays the events of a data set have besides features and mask.

    Attributes:
        momenta: whether particles have any; those of tokens and atoms have none, and their vectors take no memory.
        coords: numbers of a place that particles have; 0 = places follow from momenta, or there are none.
        targets: numbers to be predicted of each event; 0 = labels are indices of classes.
    """

    momenta: bool = True
    coords: int = 0
    targets: int = 0

    @property
    def unit(self) -> str:
        """The word for the events: jets; sequences of tokens, without momenta; events whose label is a number."""
        if self.targets:
            return "events"
        return "jets" if self.momenta else "sequences"

    @property
    def dtypes(self) -> dict[str, type]:
        """Name of each array in memory -> its type."""
        arrays: dict[str, type] = {"features": np.float32}
        if self.momenta:
            arrays["vectors"] = np.float32
        arrays |= {"mask": np.float32, "labels": np.float32 if self.targets else np.int64}
        return arrays | ({"coords": np.float32} if self.coords else {})


def no_vectors(jets: int, particles: int) -> NDArray[np.float32]:
    """Vectors (n, N, 4) of what has no momenta: zeros that take no memory and cannot be written to."""
    return np.broadcast_to(np.zeros((), np.float32), (jets, particles, 4))


@dataclass(frozen=True)
class Events:
    """Jets in memory. n jets, N particle slots (highest pT first), F features.

    A sequence of tokens is a jet without momenta (`no_vectors`), whose particles are its tokens in their order; so is a
    cluster of atoms, which have places, and an energy instead of a class.
    """

    features: NDArray[np.float32]  # (n, N, F), standardised; padded slots zero or wrapped
    vectors: NDArray[np.float32]  # (n, N, 4), px, py, pz, E in GeV
    mask: NDArray[np.float32]  # (n, N), 1 = real particle, 0 = padding
    labels: NDArray[Any]  # (n,), index into `class_names`; of data with targets (n, T), their values in float32
    class_names: tuple[str, ...]  # or the names of the targets
    feature_set: FeatureSet
    coords: NDArray[np.float32] | None = None  # (n, N, d), places of the particles, of data that have any

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
            None if self.coords is None else self.coords[index],
        )

    @property
    def has_momenta(self) -> bool:
        """Whether the vectors are numbers in memory, rather than `no_vectors`."""
        return any(self.vectors.strides)

    @property
    def held(self) -> Held:
        """Which arrays they have."""
        coords = 0 if self.coords is None else self.coords.shape[-1]
        return Held(self.has_momenta, coords, 0 if self.labels.ndim == 1 else self.labels.shape[1])
