"""Data: readers of public data sets, and one way to open a split of any of them.

To add a data set, write a file with its reader (`jets.reader.JetReader` or `points.readers.PointReader`) and a line of
`DATASETS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import get_args

from qformers.config.sections import DataConfig
from qformers.data.clusters import cluster_rows
from qformers.data.clusters.cluster_rows import ClusterRows
from qformers.data.events import Events, FeatureSet
from qformers.data.jets import hls4ml_lhc, inputs, quark_gluon, top_landscape
from qformers.data.jets.hls4ml_lhc import Hls4mlLhc
from qformers.data.jets.jetclass import JetClass, is_jetclass
from qformers.data.jets.nanoaod import NanoAod, is_nanoaod
from qformers.data.jets.quark_gluon import QuarkGluon
from qformers.data.jets.split import JetDataset
from qformers.data.jets.top_landscape import TopLandscape
from qformers.data.points import acts, candidates, filtering, hit_features, segment_features, trackml
from qformers.data.points import dataset as points
from qformers.data.points.dataset import PointDataset
from qformers.data.split import AnyEvents, Dataset, Split, SplitName, of_split, split_files
from qformers.data.tokens import listops, token_rows
from qformers.data.tokens.listops import ListOps
from qformers.data.tokens.token_rows import TokenRows
from qformers.errors import DataError, nearest
from qformers.progress import Reporter
from qformers.torch_files import require_torch

__all__ = [
    "DATASETS",
    "AnyEvents",
    "DataError",
    "Dataset",
    "Events",
    "FeatureSet",
    "Split",
    "SplitName",
    "check_files",
    "dataset_of",
    "holders",
    "holds",
    "open_split",
    "point_dataset",
    "split_files",
]

OWN = "own"  # of a build whose model was given as a file
HITS = ("event*-hits.csv", "event*-hits.csv.gz")  # TrackML's names, and ACTS's

# by the name in data.dataset; uproot, h5py and torch are imported when a file is opened
DATASETS: dict[str, Dataset] = {
    "jetclass": JetDataset(JetClass, ("*.root",), inputs.FEATURES, is_jetclass),
    "nanoaod": JetDataset(NanoAod, ("*.root",), inputs.FEATURES, is_nanoaod),
    "hls4ml_lhc": JetDataset(Hls4mlLhc, ("*.h5", "*.hdf5"), hls4ml_lhc.FEATURES, hls4ml_lhc.is_hls4ml_lhc),
    "top_landscape": JetDataset(
        TopLandscape, ("*.h5", "*.hdf5"), top_landscape.FEATURES, top_landscape.is_top_landscape
    ),
    "quark_gluon": JetDataset(QuarkGluon, ("QG_jets*.npz",), quark_gluon.FEATURES, quark_gluon.is_quark_gluon),
    "listops": JetDataset(ListOps, ("*.tsv",), listops.FEATURES, listops.is_listops, momenta=False),
    "token_rows": JetDataset(TokenRows, ("tokens*.npz",), token_rows.FEATURES, token_rows.is_token_rows, momenta=False),
    "clusters": JetDataset(
        ClusterRows,
        ("clusters*.npz",),
        cluster_rows.FEATURES,
        cluster_rows.is_cluster_rows,
        "regression",
        momenta=False,
        coords=cluster_rows.AXES,
        targets=cluster_rows.TARGETS,
    ),
    "trackml": PointDataset(points.trackml, HITS, filtering.kept_hits, hit_features.FEATURE_SETS, trackml.is_trackml),
    "acts_odd": PointDataset(
        partial(points.acts, "odd"), HITS, filtering.kept_simulated, acts.FEATURE_SETS, acts.is_acts
    ),
    "acts_generic": PointDataset(
        partial(points.acts, "generic"), HITS, filtering.kept_simulated, acts.FEATURE_SETS, acts.is_acts
    ),
    "line_segments": PointDataset(
        points.line_segments, ("graph_*.pt", "graph_*.npz"), filtering.kept_segments, segment_features.FEATURE_SETS
    ),
    "candidates": PointDataset(
        points.candidates, ("candidates_*.npz",), filtering.kept_candidates, candidates.FEATURE_SETS
    ),
}


def dataset_of(name: str) -> Dataset:
    """The data set of a name, as ``data.dataset`` says it.

    Raises:
        DataError: there is none of that name; the message has the nearest one.
    """
    if name == OWN:
        raise DataError(
            "data.dataset: own says that the model was given as a file: it is not trained, tuned or evaluated here; "
            "what it is tried on are numbers, or the file of data.test (qformers csim, rtl, audit, compare)"
        )
    if name not in DATASETS:
        raise DataError(f"data.dataset: unknown data set '{name}'{nearest(name, DATASETS)}")
    return DATASETS[name]


def point_dataset(name: str) -> PointDataset:
    """The data set of a name, which must be one of points.

    Raises:
        DataError: there is none of that name, or it is another kind of data set.
    """
    dataset = dataset_of(name)
    if not isinstance(dataset, PointDataset):
        raise DataError(f"data.dataset: '{name}' must be a data set of points. Received: one of jets")
    return dataset


def check_files(config: DataConfig) -> None:
    """Refuse files that are missing, or cannot be read here, before anything heavy is imported.

    Raises:
        DataError: an unknown data set; as `split_files`; or events of PyTorch, which is not installed.
    """
    dataset_of(config.dataset)
    for split in get_args(SplitName):
        for path in split_files(config, split):
            if path.suffix == ".pt":
                with of_split(split):
                    require_torch(path, DataError)


def open_split(config: DataConfig, split: SplitName, reporter: Reporter | None = None) -> Split:
    """One split of a data set; files are opened to be counted, nothing is decoded yet.

    Args:
        config: the data section of a build.
        split: which of its three globs.
        reporter: told how far counting, decoding and loading are; None = nobody.

    Raises:
        DataError: unknown split, data set, feature set or class (with the nearest name), a glob without files, a file
            that cannot be used.
    """
    if split not in (splits := get_args(SplitName)):
        raise DataError(f"unknown split '{split}'{nearest(str(split), splits)}")
    with _of_another_set(config, split):
        return dataset_of(config.dataset).open(config, split, reporter)


def holders(path: Path) -> list[str]:
    """Names of the data sets that a file is of: by its name, and by what is in it where they can tell."""
    called = [name for name, one in DATASETS.items() if any(fnmatch(path.name, pattern) for pattern in one.files)]
    return [name for name in called if holds(name, path)]


def holds(name: str, path: Path) -> bool:
    """Whether a file is of a data set, by what is in it."""
    dataset = DATASETS[name]
    return isinstance(dataset, JetDataset | PointDataset) and dataset.holds(path)


@contextmanager
def _of_another_set(config: DataConfig, split: SplitName) -> Iterator[None]:
    """Of a file that cannot be used say that it is one of another data set, where it is: it is whole then.

    Raises:
        DataError: as the block.
    """
    try:
        yield
    except DataError as error:
        path = _named_in(str(error), config, split)
        others = holders(path) if path is not None and not holds(config.dataset, path) else []
        if not others:
            raise
        sets = dataset_of(others[0]).feature_sets
        features = "" if config.features in sets else f" and data.features: {' or '.join(sets)}"
        raise DataError(
            f"data.{split}: {path}: is no file of data set '{config.dataset}' but one of {' or '.join(others)}: set "
            f"data.dataset: {others[0]}{features}. Received: data.dataset={config.dataset}"
        ) from error


def _named_in(text: str, config: DataConfig, split: SplitName) -> Path | None:
    """The file of a split that a message is about; None where it is about none."""
    with suppress(DataError):  # there is no file
        files = split_files(config, split)
        return next((path for path in files if any(f"{path}{sign}" in text for sign in ":,")), None)
    return None
