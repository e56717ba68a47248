"""What a per-point model is trained towards: pairs for contrastive losses, labels for focal ones.

One array per batch, because that is what Keras hands to a loss; `qformers.tasks.losses.packed` takes it apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import PointEvents
from qformers.data.points.pairs import CMS_RADIUS, HEPT_RADIUS, cms_pairs, hept_pairs, pack, thinned
from qformers.errors import DataError

PAIR_COLUMNS = ("first", "second", "positive", "valid", "particle", "negative_weight")
POINT_COLUMNS = ("label", "counts")
MOST_POINTS = 1 << 24  # float32 holds integers up to here exactly


@dataclass(frozen=True)
class PairTargets:
    """Pairs of every event of a batch.

    Attributes:
        kind: ``hept`` or ``cms``: which pairs, which of them are positive, how negatives weigh.
        num_pairs: P; events with more are thinned at random, positive pairs last.
        random_pairs: add HEPT's 20 % random pairs (training); the same ones for the same seed, epoch and event.
        radius: of the neighbourhood; None = that of the kind.
    """

    kind: Literal["hept", "cms"]
    num_pairs: int
    random_pairs: bool = True
    radius: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("hept", "cms"):
            raise DataError(f"kind of pairs must be hept or cms. Received: kind={self.kind}")
        if self.num_pairs < 1:
            raise DataError(f"num_pairs must be positive. Received: num_pairs={self.num_pairs}")

    @property
    def bytes_per_event(self) -> int:
        """Size of the pairs of one event."""
        return self.num_pairs * len(PAIR_COLUMNS) * np.dtype(np.float32).itemsize

    def __call__(self, events: PointEvents, seed: int = 0, epoch: int = 0) -> NDArray[np.float32]:
        """(n, P, 6), columns as in `PAIR_COLUMNS`.

        Raises:
            DataError: more points than float32 can count.
        """
        slots = events.mask.shape[1]
        if slots >= MOST_POINTS:
            raise DataError(f"pairs are numbered in float32: at most {MOST_POINTS} points. Received: {slots}")
        clouds = [events.cloud(row) for row in range(len(events))]
        made = []
        for row, cloud in enumerate(clouds):
            rng = np.random.default_rng([seed, epoch, cloud.event, row])
            if self.kind == "hept":
                pairs, positive = hept_pairs(cloud, rng if self.random_pairs else None, self.radius or HEPT_RADIUS)
            else:
                pairs, positive = cms_pairs(cloud, self.radius or CMS_RADIUS)
            made.append(thinned(pairs, positive, self.num_pairs, rng))
        packed = pack(clouds, made, slots, self.num_pairs)
        columns = [
            packed.pairs[..., 0],
            packed.pairs[..., 1],
            packed.positive,
            packed.valid,
            packed.particle,
            packed.weight,
        ]
        return np.stack(columns, axis=-1).astype(np.float32)


def point_targets(events: PointEvents) -> NDArray[np.float32]:
    """(n, N, 2), columns as in `POINT_COLUMNS`: the label, and whether the point counts in loss and metrics.

    All points count but the padding; of a layout that says so, only the reconstructable ones (of candidates: neutral,
    pT > 0.9 GeV).
    """
    counts = events.mask * events.reconstructable if events.layout.only_reconstructable else events.mask
    return np.stack([events.labels, counts], axis=-1).astype(np.float32)
