"""The filter step of HEPT-CMS: events cut down to the points that a trained pile-up model keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qformers.data.errors import DataError
from qformers.data.tracks.line_segments import Segments, write_segments
from qformers.files import write_json
from qformers.metrics_binary import Threshold

TABLE = "thresholds.json"


def keep(scores: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """(n,), points with at least `threshold`; the best one where there would be none."""
    kept = scores >= threshold
    if len(scores) and not kept.any():
        kept[np.argmax(scores)] = True
    return np.asarray(kept)


def folder_of(out: Path, target: float) -> Path:
    """Where the events kept at a recall stand, e.g. ``recall_0.99``."""
    return out / f"recall_{target:g}"


def filter_segments(segments: Segments, scores: NDArray[np.floating], threshold: float) -> Segments:
    """The kept segments of an event, in their order.

    Raises:
        DataError: scores of another number of points, or a NaN among them.
    """
    if scores.shape != (len(segments),) or not np.isfinite(scores).all():
        raise DataError(
            f"event {segments.event}: needs one finite score per segment. Received: scores of shape {scores.shape} for "
            f"{len(segments)} segments"
        )
    kept = keep(scores, threshold)
    return Segments(segments.x[kept], segments.particle_id[kept], segments.event)


def write_filtered(
    out: Path,
    events: Sequence[tuple[Segments, NDArray[np.floating]]],
    table: Sequence[Threshold],
    about: Mapping[str, object],
) -> dict[float, tuple[int, int]]:
    """Write ``<out>/recall_<r>/graph_<event>.npz`` for every row of a threshold table, and ``thresholds.json``.

    Args:
        out: folder of one split.
        events: segments and their scores; may be called again with further events of the split.
        table: of `qformers.metrics_binary.threshold_table` on validation data.
        about: what is to be known of the model, for ``thresholds.json``.

    Returns:
        recall -> (segments kept, segments in all) of these events.
    """
    counts = {}
    for row in table:
        kept = [filter_segments(segments, scores, row.threshold) for segments, scores in events]
        for segments in kept:
            write_segments(folder_of(out, row.target) / f"graph_{segments.event}.npz", segments)
        counts[row.target] = (sum(map(len, kept)), sum(len(segments) for segments, _ in events))
    write_json(out / TABLE, {**about, "thresholds": [row.__dict__ for row in table]})
    return counts
