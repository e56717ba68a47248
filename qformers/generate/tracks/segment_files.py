"""Line segments of a folder of outer-tracker events, one ``graph_<event>.npz`` each, in the same splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qformers.data.points.csv_table import read_table
from qformers.data.points.line_segments import FAKE, read_segments, write_segments
from qformers.data.points.trackml import HITS, TRUTH, beside
from qformers.errors import DataError
from qformers.generate.tracks.geometry import DETECTORS
from qformers.generate.tracks.run import load_manifest
from qformers.generate.tracks.segments import segments_of
from qformers.progress import Reporter, Silent

FOLDER = "segments"


def write_folder(folder: Path, reporter: Reporter | None = None) -> str:
    """Write ``<folder>/segments/{train,val,test}/graph_<event>.npz`` where they are missing; returns a line to print.

    Raises:
        DataError: no finished event, or events of another detector than ``outer``.
    """
    manifest = load_manifest(folder)
    detector = DETECTORS[manifest["settings"]["detector"]]
    if not manifest["events"]:
        raise DataError(f"{folder}: its manifest lists no finished event; generate some first")
    end = "-hits.csv.gz" if manifest["packed"] else "-hits.csv"
    counts, true = [], 0
    tick = (reporter or Silent()).task("events", len(manifest["events"]))
    for event, entry in manifest["events"].items():
        path = folder / FOLDER / entry["split"] / f"graph_{event}.npz"
        if not path.exists():
            hits_path = folder / entry["split"] / f"event{int(event):09d}{end}"
            particle = read_table(beside(hits_path, "truth"), TRUTH)["particle_id"]
            write_segments(path, segments_of(detector, read_table(hits_path, HITS), particle, int(event)))
        segments = read_segments(path)
        counts.append(len(segments))
        true += int((segments.particle_id != FAKE).sum())
        tick()
    share = true / max(sum(counts), 1)
    return (
        f"{folder / FOLDER}: {len(counts)} events, {np.mean(counts):.0f} line segments per event on average, "
        f"{min(counts)} to {max(counts)}, {share:.0%} of them true"
    )
