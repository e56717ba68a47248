"""Files of JetClass's layout with other classes: `data.labels` names their branches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.paths import CONFIGS

from qformers.builds.build import load as load_build
from qformers.config.sections import DataConfig
from qformers.data import DATASETS, DataError, Events, open_split
from qformers.data.jets.jetclass import CLASSES
from qformers.data.jets.split import JetDataset
from qformers.data.jets.toy import Branches, jetclass_branches, write_tree


def config(path: Path | str, **changes: Any) -> DataConfig:
    base = {"dataset": "jetclass", "train": (str(path),), "val": (), "test": (), "features": "kin", "num_particles": 16}
    return DataConfig.model_validate(base | changes)


def load(path: Path | str, **changes: Any) -> Events:
    return open_split(config(path, **changes), "train").load()


def foreign(jets: int, seed: int = 0) -> Branches:
    """Jets of two classes, a third branch of labels, and none of JetClass's."""
    branches = jetclass_branches(jets, seed)
    branches = {name: values for name, values in branches.items() if not name.startswith("label_")}
    signal = np.random.default_rng(seed).integers(0, 2, jets)
    return branches | {"label_darkQCD": signal.astype("f4"), "label_QCD": (1 - signal).astype("i4"), "flag": 1 - signal}


def test_label_branches_by_name(tmp_path: Path) -> None:
    branches = foreign(50, seed=1)
    path = write_tree(tmp_path / "a.root", branches)
    events = load(path, labels=["darkQCD", "QCD"])
    assert events.class_names == ("darkQCD", "QCD")
    np.testing.assert_array_equal(events.labels, branches["label_QCD"])
    named = load(path, labels=["darkQCD", {"name": "background", "branch": "flag"}])
    assert named.class_names == ("darkQCD", "background")
    np.testing.assert_array_equal(named.labels, events.labels)
    one = load(path, labels=["darkQCD", "QCD"], classes=["QCD"])
    np.testing.assert_array_equal(one.features, events.features[events.labels == 1])


def test_what_the_file_does_not_have_is_named(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", foreign(5))
    with pytest.raises(DataError, match=r"branch 'label_darkQDC' is missing; did you mean 'label_darkQCD'\?"):
        load(path, labels=["darkQDC", "QCD"])
    with pytest.raises(DataError, match=r"branch 'label_Hbb' is missing"):
        load(path)
    with pytest.raises(DataError, match=r"data.classes: jetclass has no class 'Hbb'; choose one of QCD, darkQCD"):
        load(path, labels=["darkQCD", "QCD"], classes=["Hbb"])


def test_jets_of_none_or_several_of_them_are_refused(tmp_path: Path) -> None:
    branches = foreign(10, seed=1)
    branches["label_QCD"][3] = branches["label_darkQCD"][3] = 1
    path = write_tree(tmp_path / "a.root", branches)
    with pytest.raises(DataError, match=r"labels are not one-hot in jet 3. Received: darkQCD=1, QCD=1; exactly one"):
        load(path, labels=["darkQCD", "QCD"])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["a", "b", "a"], r"data.labels: each class may be named once. Received: a, b, a"),
        (
            ["label_a"],
            r"data.labels: a class is called without 'label_', which is put before it. Received: 'label_a'; wr",
        ),
        (
            [{"name": "a", "values": [2]}],
            r"reads a branch of 0 and 1 for each class; leave 'values' and 'files' out. Rec",
        ),
        ([{"name": "a", "files": ["a*"]}], r"Received: class 'a' with values \[1\] and files \['a\*'\]"),
    ],
)
def test_labels_that_cannot_be_used(labels: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load("x.root", labels=labels)


@pytest.mark.parametrize(
    "labels",
    [
        [{"branch": "a"}],
        ["a b"],
        [{"name": "a", "values": []}],
        [{"name": "a", "values": [0.5]}],
        [7],
        [{"name": "a", "x": 1}],
    ],
)
def test_labels_that_are_none(labels: list[Any]) -> None:
    with pytest.raises(ValueError, match="labels"):
        config("x.root", labels=labels)


def test_builds_without_labels_are_dumped_as_ever(tmp_path: Path) -> None:
    assert "labels" not in config("a").model_dump(mode="json")
    said = config("a", labels=["b", {"name": "c", "branch": "d"}])
    dumped = said.model_dump(mode="json")
    assert dumped["labels"] == [{"name": "b"}, {"name": "c", "branch": "d"}]
    assert DataConfig.model_validate(dumped) == said


@pytest.mark.parametrize("dataset", [name for name in DATASETS if name not in ("jetclass", "nanoaod", "token_rows")])
def test_sets_with_labels_of_their_own_refuse_them(dataset: str, tmp_path: Path) -> None:
    points = None if isinstance(DATASETS[dataset], JetDataset) else {"task": "pileup"}
    features = next(iter(DATASETS[dataset].feature_sets))
    with pytest.raises(DataError, match=rf"data.labels: {dataset} has labels of its own; leave them out. Rec.*: a, b"):
        load("x", dataset=dataset, labels=["a", "b"], features=features, points=points)


def test_labels_are_set_on_the_command_line_and_replace_those_of_the_build_below() -> None:
    build = load_build(CONFIGS / "part_nanoaod_full.yaml", ["data.labels=[{name: b, files: ['b*']}, a]"])
    assert [(label.name, label.files) for label in build.data.labels] == [("b", ("b*",)), ("a", ())]


def test_a_cache_of_other_labels_is_not_taken(tmp_path: Path) -> None:
    branches = foreign(30, seed=1)
    branches["label_other"] = branches["label_QCD"]
    path = write_tree(tmp_path / "a.root", branches)
    cache = str(tmp_path / "cache")
    first = load(
        path, labels=[{"name": "a", "branch": "label_darkQCD"}, {"name": "b", "branch": "label_QCD"}], cache=cache
    )
    turned = load(
        path, labels=[{"name": "a", "branch": "label_QCD"}, {"name": "b", "branch": "label_darkQCD"}], cache=cache
    )
    np.testing.assert_array_equal(turned.labels, 1 - first.labels)


def test_the_ten_classes_stand_without_labels(tmp_path: Path) -> None:
    assert load(write_tree(tmp_path / "a.root", jetclass_branches(30))).class_names == CLASSES
