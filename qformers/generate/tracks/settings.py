"""What tracker events are to be generated; equal settings give equal bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from qformers.errors import DataError, nearest
from qformers.generate.tracks.geometry import DETECTORS, Detector

SPLITS = ("train", "val", "test")
FIRST_EVENT = 1000  # number of the first event, as in TrackML
PARTICLES_PER_EVENT = 10_000_000  # particle ids of an event start at its number times this
MAX_PILEUP = 1000.0
_RANGES = {  # setting -> lowest, highest
    "events": (1, 100_000_000),
    "pileup": (0.0, MAX_PILEUP),
    "seed": (0, 2**31 - 1),
    "pt_min": (0.05, 10.0),
    "noise": (0.0, 10.0),
    "inefficiency": (0.0, 1.0),
    "overlap": (0.0, 1.0),
    "displaced": (0.0, 1.0),
    "material": (0.0, 10.0),
}


@dataclass(frozen=True)
class TrackSettings:
    """Everything the events depend on."""

    events: int
    pileup: float = 200.0  # mean number of pile-up vertices
    seed: int = 1
    detector: str = "pixel"
    pt_min: float = 0.1  # GeV
    noise: float = 0.1  # noise hits per true hit
    inefficiency: float = 0.02  # probability that a crossing leaves no hit
    overlap: float = 0.03  # probability of a second hit in the neighbouring module
    displaced: float = 0.05  # share of particles from displaced decays
    material: float = 1.0  # scales the radiation lengths; 0 = no scattering
    cells: bool = True  # write the cells, which the features of tracking-6k/60k need

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise DataError(f"{name} must lie in {low}..{high}. Received: {name}={value}")
        if self.detector not in DETECTORS:
            raise DataError(f"detector: unknown '{self.detector}'{nearest(self.detector, DETECTORS)}")

    @property
    def tracker(self) -> Detector:
        """The detector itself."""
        return DETECTORS[self.detector]

    def as_dict(self) -> dict[str, object]:
        """For the manifest."""
        return asdict(self)

    def split_of(self, index: int) -> str:
        """Split of event number `index` from 0: 80 / 10 / 10 % in order; none is empty from three events on."""
        held_out = max(1, round(0.1 * self.events)) if self.events > 2 else 0
        return SPLITS[(index >= self.events - 2 * held_out) + (index >= self.events - held_out)]
