"""Apply a trained pile-up model to files of events: thresholds from the validation split, then filtered data sets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.builds.build import Build
from qformers.config.sections import DataConfig, PointsConfig
from qformers.data import point_dataset, split_files
from qformers.data.clouds import stack
from qformers.data.points.filtering import folder_of, keep
from qformers.data.points.readers import PointReader
from qformers.errors import ConfigError, DataError
from qformers.files import sha256_of_arrays
from qformers.progress import Reporter, Silent
from qformers.records import write_record
from qformers.tasks.metrics.binary import Threshold, threshold_table

RECALLS = (0.985, 0.99, 0.995)  # of HEPT-CMS
TABLE = "thresholds.json"
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Scorer:
    """A trained pile-up model and how it reads events.

    Attributes:
        model: Keras model with one logit per point.
        reader: of the data set.
        config: the data section that it was trained with.
    """

    model: Any
    reader: PointReader
    config: DataConfig

    def __call__(self, path: Path) -> tuple[Floats, Labels]:
        """Probability (n,) of the points of a file, NaN where the model does not judge, and their label (n,).

        A point is judged in the window whose core it lies in, else (at the rim of all windows) in any that sees it.

        Raises:
            DataError: the file cannot be read, a window has more points than slots, an output is not finite.
        """
        from keras import ops

        from qformers.models.inputs import host_inputs

        points = self.config.points or PointsConfig()
        event = self.reader.event(path)
        windows = self.reader.windows(event)
        events: Any = stack([window.part for window in windows], self.config.num_particles, points.too_many)
        outputs = self.model.predict_on_batch(host_inputs(self.model, events))
        logits = ops.convert_to_numpy(outputs)[..., 0].astype(np.float64)  # (windows, N)
        scores = np.full(len(event), np.nan)
        for (core, wide, _), row in zip(windows, logits, strict=True):
            seen = np.flatnonzero(wide)[: len(row)]
            if not np.isfinite(row[: len(seen)]).all():
                raise DataError(f"{path}: the model gives NaN or infinity; train it again with a lower learning rate")
            mine = core[seen] | np.isnan(scores[seen])
            scores[seen[mine]] = 1.0 / (1.0 + np.exp(-row[: len(seen)][mine]))
        if event.layout.only_reconstructable:  # others never counted in the loss
            scores[~event.reconstructable] = np.nan
        return scores, event.labels


def open_run(run: Path, build: Build, phase: str | None = None) -> Scorer:
    """The pile-up model of a run folder.

    Args:
        run: e.g. ``runs/hept_pileup_demo``.
        build: of the run.
        phase: ``float`` or ``qat``; None = the quantised model where there is one.

    Raises:
        ConfigError: the run is of another task.
        DataError: there is no model.
    """
    points = build.data.points
    if points is None or points.task != "pileup":
        task = "of jets" if points is None else points.task
        raise ConfigError(
            f"{run / 'build.yaml'}: data.points.task must be pileup: the filter needs a model that keeps or drops "
            f"points. Received: {task}"
        )
    phases = [phase] if phase else ["qat", "float"]
    path = next((path for path in (run / name / "model.keras" for name in phases) if path.exists()), None)
    if path is None:
        raise DataError(f"{run / phases[-1] / 'model.keras'} is missing: train it first with qformers train")
    from qformers.builds.models import load_model

    model = load_model(path)
    model.compile(jit_compile=False)
    return Scorer(model, point_dataset(build.data.dataset).reader_of(build.data), build.data)


def event_files(dataset: str, places: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Files of events, and where each belongs below a filtered data set.

    Args:
        dataset: a key of `qformers.data.DATASETS`, one of points.
        places: files, or folders that hold some (in folders of splits as well).

    Returns:
        (file, relative folder), e.g. (``data/tracks/val/event000001000-hits.csv``, ``val``).

    Raises:
        DataError: nothing there, or two files that would be one.
    """
    files: dict[Path, Path] = {}
    patterns = point_dataset(dataset).files
    for place in places:
        if place.is_dir():
            inside = sorted({path for pattern in patterns for path in place.rglob(pattern)})
        else:
            inside = [place] if place.exists() else []
        if not inside:
            raise DataError(f"{place}: holds no {dataset} events ({', '.join(patterns)}); name a folder of some")
        for path in inside:
            target = path.relative_to(place) if place.is_dir() else Path(path.name)
            if target in files:
                raise DataError(f"{path} and {files[target]} would become one file; filter them into two folders")
            files[target] = path
    return [(path, target.parent) for target, path in files.items()]


def thresholds(scorer: Scorer, recalls: Sequence[float], reporter: Reporter | None = None) -> list[Threshold]:
    """Thresholds on the validation split of a run; only points that the model judges count.

    Raises:
        DataError: no validation files, a recall outside (0, 1], a split of one class.
    """
    paths = split_files(scorer.config, "val")[: scorer.config.max_jets]
    judged, tick = [], (reporter or Silent()).task("validation events", len(paths))
    for path in paths:
        judged.append(scorer(path))
        tick()
    scores, labels = _pooled(judged)
    try:
        return threshold_table(scores, labels, recalls)
    except ValueError as error:
        raise DataError(f"data.val: {error}") from error


def _pooled(events: Sequence[tuple[Floats, Labels]]) -> tuple[Floats, Labels]:
    scores, labels = (np.concatenate(parts) for parts in zip(*events, strict=True))
    judged = ~np.isnan(scores)
    return scores[judged], labels[judged]


@contextmanager
def whole_or_nothing(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its name when the block ends well and is removed otherwise.

    Raises:
        DataError: `out` is there.
    """
    if out.exists():
        raise DataError(f"{out} exists: give another --out, or delete it")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def filter_files(
    scorer: Scorer,
    files: Sequence[tuple[Path, Path]],
    table: Sequence[Threshold],
    out: Path,
    about: dict[str, Any],
    reporter: Reporter | None = None,
) -> list[dict[str, Any]]:
    """Write ``<out>/recall_<r>/...`` for every row of a table, and ``<out>/thresholds.json``.

    Args:
        scorer: the model.
        files: as `event_files` gives them.
        table: of `thresholds`.
        out: a folder that does not exist yet.
        about: what is to be known of the model.
        reporter: told how far it is.

    Returns:
        per recall: target, threshold, recall, precision and share of points kept on validation data; points,
        points judged and points kept of these files, with recall and precision of those judged (None where no point
        has the label).

    Raises:
        DataError: as `Scorer`; `out` is there.
    """
    dataset, tick = point_dataset(scorer.config.dataset), (reporter or Silent()).task("filter events", len(files))
    sums, positive = {row.target: np.zeros(5, np.int64) for row in table}, 0
    with whole_or_nothing(out) as folder:
        for path, place in files:
            scores, labels = scorer(path)
            judged = ~np.isnan(scores)
            for row in table:
                kept = keep(scores, row.threshold)
                dataset.write(scorer.reader, path, kept, folder_of(folder, row.target) / place)
                right = labels[judged & kept].sum()
                counts = (len(scores), judged.sum(), kept.sum(), (judged & kept).sum(), right)
                sums[row.target] += np.array(counts, np.int64)
            positive += int(labels[judged].sum())
            tick()
        rows = [_row(row, sums[row.target], positive) for row in table]
        write_record(folder / TABLE, {**about, "events": len(files), "thresholds": rows})
    return rows


def _row(row: Threshold, counts: NDArray[np.int64], positive: int) -> dict[str, Any]:
    points, judged, kept, passed, right = (int(value) for value in counts)
    counted = {
        "points": points,
        "judged": judged,
        "points_kept": kept,
        "data_recall": right / positive if positive else None,
        "data_precision": right / passed if passed else None,
    }
    return {**asdict(row), **counted}


def about_run(run: Path, build: Build, scorer: Scorer) -> dict[str, Any]:
    """What a filtered data set says of its model."""
    weights = sha256_of_arrays(scorer.model.get_weights())
    return {"run": str(run), "build": build.name, "build_hash": build.hash, "weights": weights}
