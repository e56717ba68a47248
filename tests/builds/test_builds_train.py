"""Every build file of the repository takes a few updates with finite numbers, with XLA and without.

XLA rewrites gradients (it divides by a square where two divisions stood), so that one of the two can break alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import pytest
from support.paths import DATA, ROOT

from hls.cli import main
from qformers.builds.build import Build, load
from qformers.builds.data_folder import in_folder
from qformers.builds.models import build_model
from qformers.builds.saved import save_model
from qformers.config.sections import PhaseConfig
from qformers.data import DATASETS, dataset_of, open_split
from qformers.data.jets.split import JetDataset
from qformers.data.jets.toy import nanoaod_branches, write_quark_gluon_jets, write_top_jets, write_tree
from qformers.quant.fold import float_to_quantised
from qformers.tasks import task_of
from qformers.train.feed import Feed
from qformers.train.optimisers import make_optimiser
from qformers.train.phases import deterministic, feeds
from qformers.train.stage import as_before
from qformers.train.start import new_variables, take

BUILDS = sorted(path.name for path in (ROOT / "firmware_configs").glob("*.yaml"))
UPDATES = 4
BATCH = 16  # events, where the build takes more
POINTS = 1500  # of an event, where the build takes more: slots without a point cost as much as the others
PARTICLES = {"hls4ml_lhc": 16}  # at most: jets in the repository have 30, and an Erwin takes a power of two
# In every run one whose kernel has the smallest denominators; its gradient: tests/models/test_hept_float.py. The others
# take minutes to compile.
IN_EVERY_RUN = {("hept_tracking60k.yaml", True)}
GENERATED = {  # data set -> commands that make a small one
    "trackml": ["tracks --events 10 --pileup 0 --seed 1 --out {}"],
    "line_segments": [
        "tracks --events 10 --pileup 2 --seed 1 --detector outer --no-cells --out {}",
        "tracks segments {}",
    ],
    "listops": ["listops --preset 16-64 --sequences 300 --seed 1 --out {}"],
    "token_rows": ["digits --seed 1 --out {}"],
    "clusters": ["clusters --clusters 120 --sweeps 60 --seed 1 --out {}"],
    "candidates": ["tracks candidates --events 10 --pileup 10 --seed 1 --out {}"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the data of each data set lie; those that are generated are added when they are first asked for."""
    return {"jetclass": DATA / "jets", "hls4ml_lhc": DATA / "lhc5", "": tmp_path_factory.mktemp("generated")}


def write_nanoaod(folder: Path) -> None:
    """A file of each class, by the names that the build has for them."""
    for seed, name in enumerate(("TTto4Q", "QCD_PT")):
        write_tree(folder / f"{name}.root", nanoaod_branches(30, seed), "Events")


WRITTEN: dict[str, Callable[[Path], object]] = {  # data set -> writes a split of random jets into a folder
    "top_landscape": lambda folder: write_top_jets(folder / f"{folder.name}.h5", 40),
    "quark_gluon": lambda folder: write_quark_gluon_jets(folder / "QG_jets.npz", 40),
    "nanoaod": write_nanoaod,
}


def folder_of(build: Build, folders: dict[str, Path]) -> Path:
    """Data for a build: of the repository, or generated."""
    dataset = build.data.dataset
    if dataset in folders:
        return folders[dataset]
    place = folders[""] / dataset
    if dataset in WRITTEN:
        for split in ("train", "val", "test"):
            (place / split).mkdir(parents=True)
            WRITTEN[dataset](place / split)
        folders[dataset] = place
        return place
    for command in GENERATED[dataset]:
        assert main(["generate", *command.format(place).split()]) == 0
    folders[dataset] = place
    if dataset == "line_segments":
        folders[dataset] = place / "segments"
        assert main(["fit-lda", str(folders[dataset] / "train"), "--out", str(folders[dataset] / "lda.json")]) == 0
    return folders[dataset]


def on(build: Build, folder: Path) -> Build:
    """The build on these data, with no cache and not more slots than they need."""
    moved = in_folder(build, folder)
    dataset = DATASETS[build.data.dataset]
    suffix = dataset.files[0] if isinstance(dataset, JetDataset) else ""
    splits = {split: (str(folder / split / suffix),) for split in ("train", "val", "test")} if suffix else {}
    most = min(build.data.num_particles, PARTICLES.get(build.data.dataset, POINTS))
    data = {**splits, "cache": None, "num_particles": most}
    return moved.model_copy(update={"data": moved.data.model_copy(update=data)})


def batches_of(feed: Feed, size: int, seed: int) -> list[Any]:
    """As many batches as there are updates, from one epoch after the other."""
    found: list[Any] = []
    for epoch in range(UPDATES):
        found += list(feed.epoch(size, seed, epoch))[: UPDATES - len(found)]
    return found


def update(build: Build, model: keras.Model, phase: str, jit_compile: bool) -> None:
    """A few updates of a phase; every number stays finite."""
    config = getattr(build.train, phase)
    size = min(config.batch_size, BATCH)
    split = open_split(build.data, "train")
    task = task_of(build, split)
    (feed,) = feeds([split], model)
    feed.targets = task.targets
    if config.start is not None:
        started(build, model, config)
    whole = config.model_copy(update={"micro_batch": None})  # in micro-batches: tests/train/test_micro_batches.py
    optimiser = make_optimiser(whole, model.trainable_variables, 10, new_variables(model, config))
    optimiser.learning_rate = config.learning_rate
    model.compile(optimizer=optimiser, loss=task.loss(config), metrics=task.monitors(), jit_compile=jit_compile)
    for batch in batches_of(feed, size, build.seed):
        logs = model.train_on_batch(batch.inputs, batch.targets, return_dict=True)
        assert np.isfinite(float(logs["loss"])), (phase, logs)
    broken = [v.path for v in [*model.variables, *optimiser.variables] if not np.isfinite(np.asarray(v)).all()]
    assert not broken, broken


def started(build: Build, model: keras.Model, config: PhaseConfig) -> None:
    """Start the model from a file as its build does, one of all classes of the data set."""
    data = build.data.model_copy(update={"classes": ()})
    feature_set, names = dataset_of(data.dataset).numbers(data)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "start.keras"
        save_model(build_model(build, feature_set, names), path)
        told = take(model, path, config)
    assert (told.new, told.left) == (("logits",), ("logits",))
    assert len(told.taken) > 50


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [
        pytest.param(name, xla, marks=() if (name, xla) in IN_EVERY_RUN else pytest.mark.slow, id=f"{name}-{xla}")
        for name in BUILDS
        for xla in (True, False)
    ],
)
def test_updates_leave_every_number_finite(name: str, jit_compile: bool, folders: dict[str, Path]) -> None:
    build = load(ROOT / "firmware_configs" / name)
    build = on(build, folder_of(build, folders))
    with as_before():
        deterministic(build.seed, jit_compile)
        split = open_split(build.data, "train")
        floating = build_model(build, split.feature_set, split.class_names, "float32")
        update(build, floating, "float", jit_compile)
        if build.quant is None:
            return
        quantised = build_model(build, split.feature_set, split.class_names, "hgq")
        (feed,) = feeds([split], quantised)
        float_to_quantised(floating, quantised, feed.sample(min(64, len(feed)), build.seed))
        update(build, quantised, "qat", jit_compile)


def test_those_of_every_run_are_there() -> None:
    assert {name for name, _ in IN_EVERY_RUN} <= set(BUILDS)
