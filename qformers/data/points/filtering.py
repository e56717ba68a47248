"""The filter step of HEPT-CMS: files of events cut down to the points that a trained pile-up model keeps.

What the model does not judge (hits of other layers or outside its windows, candidates that do not count) stays.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.points import acts, candidates
from qformers.data.points.csv_table import read_text
from qformers.data.points.line_segments import Segments, read_segments, write_segments
from qformers.data.points.readers import ActsReader, CandidateReader, SegmentReader, TrackmlReader
from qformers.data.points.trackml import beside, detectors_of, hit_ids
from qformers.errors import DataError
from qformers.files import replacing

Kept = NDArray[np.bool_]

BY_HIT = ("truth", "cells")  # tables of TrackML with a column hit_id, beside the hits
BY_PARTICLE = ("particles", "vertices")


def keep(scores: NDArray[np.floating], threshold: float) -> Kept:
    """(n,), points with at least `threshold` or without a score (NaN); the best one where there would be none."""
    kept = (scores >= threshold) | np.isnan(scores)
    if len(scores) and not kept.any():
        kept[np.argmax(scores)] = True
    return np.asarray(kept)


def folder_of(out: Path, target: float) -> Path:
    """Where the events kept at a recall stand, e.g. ``recall_0.99``."""
    return out / f"recall_{target:g}"


def filter_segments(segments: Segments, kept: Kept) -> Segments:
    """The kept segments of an event, in their order.

    Raises:
        DataError: as many answers as segments are needed.
    """
    if kept.shape != (len(segments),):
        raise DataError(
            f"event {segments.event}: needs one answer per segment. Received: {kept.shape} for {len(segments)} segments"
        )
    return Segments(segments.x[kept], segments.particle_id[kept], segments.event)


def kept_segments(reader: SegmentReader, source: Path, kept: Kept, folder: Path) -> Path:
    """Write the kept segments of a file into `folder`; ``.pt`` becomes ``.npz``.

    Args:
        reader: of the data set.
        source: the file that was read.
        kept: (n,), for the n points of ``reader.event(source)``.
        folder: of the new file, which has the same name.

    Returns:
        the new file.

    Raises:
        DataError: `kept` does not fit the file.
    """
    target = folder / f"{source.stem}.npz"
    write_segments(target, filter_segments(read_segments(source), kept))
    return target


def kept_candidates(reader: CandidateReader, source: Path, kept: Kept, folder: Path) -> Path:
    """Write the kept candidates of a file into `folder`; arguments as of `kept_segments`."""
    target = folder / source.name
    arrays: dict[str, Any] = {}
    for name, values in candidates.stored(source).items():
        arrays[name] = values[kept] if values.shape[:1] == kept.shape else values
    with replacing(target) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    return target


def kept_hits(reader: TrackmlReader, source: Path, kept: Kept, folder: Path) -> Path:
    """Write the kept hits of an event into `folder`; arguments as of `kept_segments`.

    Hits, truth and cells are copied character by character; particles get their new number of hits.
    """
    dropped = {int(number) for number in hit_ids(source, reader.options)[~kept]}
    left: Counter[int] = Counter()
    for path in (source, *(beside(source, table) for table in BY_HIT)):
        if path.exists():
            names, rows = _table(path)
            hit = names.index("hit_id")
            rows = [row for row in rows if int(row[hit]) not in dropped]
            _write_table(folder / path.name, names, rows)
            if path == beside(source, "truth"):
                left.update(int(row[names.index("particle_id")]) for row in rows)
    for path in (beside(source, table) for table in BY_PARTICLE):
        if path.exists():
            names, rows = _table(path)
            if "nhits" in names:
                particle, count = names.index("particle_id"), names.index("nhits")
                rows = [[*row[:count], str(left[int(row[particle])]), *row[count + 1 :]] for row in rows]
            _write_table(folder / path.name, names, rows)
    detectors = detectors_of(source)
    if detectors is not None:
        with replacing(folder / detectors.name) as temporary:
            shutil.copyfile(detectors, temporary)
    return folder / source.name


def kept_simulated(reader: ActsReader, source: Path, kept: Kept, folder: Path) -> Path:
    """Write the kept simulated hits of an event, and its particles, into `folder`; arguments as of `kept_segments`.

    Lines are copied character by character. Measurements are not: they point to hits by their line.
    """
    names, rows = _table(source)
    left = np.ones(len(rows), bool)
    left[acts.hit_rows(source, reader.options)[~kept]] = False
    _write_table(folder / source.name, names, [row for row, stays in zip(rows, left, strict=True) if stays])
    particles = acts.particles_of(source)
    with replacing(folder / particles.name) as temporary:
        shutil.copyfile(particles, temporary)
    return folder / source.name


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and rows, as text; packed where the name ends in ``.gz``."""
    header, *rows = [row for row in csv.reader(io.StringIO(read_text(path), newline="")) if row]
    return [name.strip() for name in header], rows


def _write_table(path: Path, names: list[str], rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([names, *rows])
    data = text.getvalue().encode()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
