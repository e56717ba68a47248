"""What HEPT-CMS makes of line segments before it trains: 24 features, 7 LDA coordinates, labels.

Everything is per event but the LDA, which is fitted once on training events and kept with the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import NO_PARTICLE, PointCloud, PointLayout
from qformers.data.jets.standardise import LARGEST
from qformers.data.points.line_segments import COLUMNS, FAKE, Segments
from qformers.errors import DataError
from qformers.files import unreadable, write_json

Floats = NDArray[np.float64]

FEATURES = ("sinphi", "cosphi", *COLUMNS[1:])  # 24
FEATURE_SETS = {"hept_cms": FEATURES}
AS_THEY_ARE = ("sinphi", "cosphi", "eta", "pt", "layer_0", "layer_1")  # not standardised
COMPONENTS = 7
IDS_PER_EVENT = 1_000_000  # track ids are shifted by this times the event
LAYOUT = PointLayout(FEATURES, tuple(f"lda_{i}" for i in range(COMPONENTS)), ("fake", "true"))


@dataclass(frozen=True)
class Lda:
    """Linear discriminant analysis of line segments by their track.

    Attributes:
        scalings: (24, components), coordinates = features . scalings, without centring.
        explained: share of the between-track variance of each component.
    """

    scalings: Floats
    explained: tuple[float, ...]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        if path.exists():
            Lda.load(path)  # anything else is not written over
        write_json(path, {"features": FEATURES, "scalings": self.scalings.tolist(), "explained": self.explained})

    @classmethod
    def load(cls, path: Path) -> Lda:
        """Read what `save` wrote.

        Raises:
            DataError: not such a file, or one of other features.
        """
        if reason := unreadable(path):
            raise DataError(f"{path}: is not an LDA of line segments: {reason} (qformers fit-lda makes one)")
        try:
            content = json.loads(path.read_text())
            names = tuple(content["features"])
            scalings = np.asarray(content["scalings"], np.float64)
            explained = tuple(float(share) for share in content["explained"])
        except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise DataError(f"{path}: is not an LDA of line segments ({error}); fit it again") from error
        if names != FEATURES or scalings.ndim != 2 or len(scalings) != len(FEATURES):
            raise DataError(f"{path}: was fitted on other features; fit it again. Received: shape {scalings.shape}")
        if not scalings.shape[1] or not (np.abs(scalings) <= LARGEST).all() or not np.any(scalings):
            raise DataError(f"{path}: 'scalings' must be finite numbers, not all 0; fit it again")
        return cls(scalings, explained)


def standardised(values: Floats) -> Floats:
    """Columns (n, c) less their mean, over their unbiased standard deviation; constant columns become 0."""
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def features(segments: Segments) -> Floats:
    """The 24 features of an event, (n, 24).

    phi becomes sin and cos, pT becomes ln(pT - lowest pT of the event + 1); all but `AS_THEY_ARE` are standardised.
    """
    x = segments.x.astype(np.float64)
    if not len(x):
        return np.zeros((0, len(FEATURES)))
    wide = np.concatenate([np.sin(x[:, :1]), np.cos(x[:, :1]), x[:, 1:]], axis=1)
    pt = FEATURES.index("pt")
    wide[:, pt] = np.log(wide[:, pt] - wide[:, pt].min() + 1)
    kept = np.isin(FEATURES, AS_THEY_ARE)
    return np.asarray(np.where(kept, wide, standardised(wide)))


def fit_lda(events: Iterable[Segments], components: int = COMPONENTS) -> Lda:
    """Fit the LDA (SVD solver) on the true segments of training events, one class per track.

    Raises:
        DataError: too few tracks of several segments.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    parts, classes = [], []
    for segments in events:
        true = segments.particle_id != FAKE
        parts.append(features(segments)[true])
        classes.append(segments.particle_id[true] + IDS_PER_EVENT * segments.event)
    points, tracks = np.concatenate(parts), np.concatenate(classes)
    distinct = len(np.unique(tracks))
    if distinct <= components or len(points) <= distinct:
        raise DataError(
            f"an LDA of {components} components needs more tracks than that, and more segments than tracks: give more "
            f"events. Received: {distinct} tracks of {len(points)} segments"
        )
    model = LinearDiscriminantAnalysis(solver="svd", n_components=components).fit(points, tracks)
    explained = tuple(float(share) for share in model.explained_variance_ratio_)
    return Lda(np.asarray(model.scalings_[:, :components], np.float64), explained)


def segment_cloud(
    segments: Segments,
    lda: Lda,
    task: Literal["pileup", "tracking"] = "pileup",
    fakes_per_true: float = 0.0,
    rng: np.random.Generator | None = None,
) -> PointCloud:
    """An event as points: 24 features, LDA coordinates standardised per event, label 1 = true.

    Args:
        segments: of the event.
        lda: fitted on training events.
        task: ``pileup`` keeps all segments; ``tracking`` the true ones.
        fakes_per_true: for tracking, so many random fakes per true segment are kept as well.
        rng: draws them.

    Returns:
        pt and eta are the segment's own; track ids are shifted by 1e6 times the event; layers are `layer_0`.
    """
    wide, true = features(segments), segments.particle_id != FAKE
    cloud = PointCloud(
        features=wide.astype(np.float32),
        coords=np.zeros((len(wide), lda.scalings.shape[1]), np.float32),
        labels=true.astype(np.int64),
        particle_ids=np.where(true, segments.particle_id + IDS_PER_EVENT * segments.event, NO_PARTICLE),
        pt=segments.x[:, COLUMNS.index("pt")],
        eta=segments.x[:, COLUMNS.index("eta")],
        reconstructable=true,
        layers=segments.x[:, COLUMNS.index("layer_0")].astype(np.int64),
        event=segments.event,
        layout=replace(LAYOUT, coords=LAYOUT.coords[: lda.scalings.shape[1]]),
    )
    if task == "tracking":
        keep = true.copy()
        if fakes_per_true:
            if rng is None:
                raise DataError(f"fakes_per_true needs rng. Received: fakes_per_true={fakes_per_true}, rng=None")
            fakes = np.flatnonzero(~true)
            keep[rng.permutation(fakes)[: int(fakes_per_true * true.sum())]] = True
        cloud, wide = cloud[keep], wide[keep]
    if not len(wide):
        return cloud
    return replace(cloud, coords=standardised(wide @ lda.scalings).astype(np.float32))


def imbalance(cloud: PointCloud) -> float:
    """Fakes per true segment, r of the focal loss; infinity without a true one."""
    true = int(cloud.labels.sum())
    return (len(cloud) - true) / true if true else float("inf")
