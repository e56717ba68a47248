"""Tables as CSV files, named and spelt as TrackML's; equal tables give equal bytes."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np

from qformers.files import replacing
from qformers.generate.record import Arrays
from qformers.generate.tracks.event import Tables
from qformers.generate.tracks.geometry import Detector, module_rows

DECIMALS = {"weight": 12, "value": 6, "tpx": 6, "tpy": 6, "tpz": 6, "px": 6, "py": 6, "pz": 6}
POSITION_DECIMALS = 5  # mm: 10 nm


def as_csv(table: Arrays) -> bytes:
    """A table as CSV with a header line; floats rounded to 10 nm, 1 keV and so on (`DECIMALS`)."""
    columns = []
    for name, values in table.items():
        if np.issubdtype(values.dtype, np.floating):
            values = np.round(values, DECIMALS.get(name, POSITION_DECIMALS)) + 0.0  # no -0.0
        columns.append(values.tolist())
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def event_name(event: int, table: str, packed: bool) -> str:
    """TrackML's file name, e.g. ``event000001000-hits.csv``."""
    return f"event{event:09d}-{table}.csv{'.gz' if packed else ''}"


def write_event(folder: Path, event: int, tables: Tables, packed: bool) -> list[Path]:
    """Write all tables of an event; returns the files."""
    paths = []
    for name, table in tables.items():
        path = folder / event_name(event, name, packed)
        data = as_csv(table)
        with replacing(path) as temporary:
            # no name and no time in the gzip header: equal tables, equal bytes
            temporary.write_bytes(gzip.compress(data, compresslevel=5, mtime=0) if packed else data)
        paths.append(path)
    return paths


def write_detectors(path: Path, detector: Detector) -> None:
    """Write ``detectors.csv``: place, axes, size and pitch of every module."""
    rows = list(module_rows(detector))
    with replacing(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows(
            [round(value, 9) + 0.0 if isinstance(value, float) else value for value in row.values()] for row in rows
        )
