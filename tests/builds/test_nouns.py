"""What the events of a build are called in messages."""

from __future__ import annotations

import pytest
from support.paths import CONFIGS

from qformers.builds.build import Build, load
from qformers.builds.nouns import PARTS, Nouns, nouns_of
from qformers.data import DATASETS


@pytest.mark.parametrize(
    ("name", "event", "compared"),
    [
        ("part_tiny", "jet", "real particles"),
        ("hept_tracking_demo", "window", "real points"),
        ("hrrformer_listops", "sequence", "real tokens"),
        ("erwin_clusters", "event", "real particles"),
    ],
)
def test_events_of_data_sets(name: str, event: str, compared: str) -> None:
    nouns = nouns_of(load(CONFIGS / f"{name}.yaml"))
    assert (nouns.event, nouns.events, nouns.compared) == (event, f"{event}s", compared)
    assert nouns.of_split("val") == "the val split"


def own(test: tuple[str, ...]) -> Build:
    build = load(CONFIGS / "part_tiny.yaml")
    data = build.data.model_copy(update={"dataset": "own", "test": test})
    model = build.model.model_copy(update={"architecture": "own"})
    return build.model_copy(update={"data": data, "model": model})


def test_events_of_a_model_of_ones_own_are_those_of_its_file() -> None:
    nouns = nouns_of(own(("e.npz",)))
    assert (nouns.event, nouns.compared, nouns.of_split("test")) == ("event", "all values", "e.npz")
    assert nouns_of(own(())) == Nouns("events", "", "")


def test_every_data_set_has_words() -> None:
    assert {dataset.unit for dataset in DATASETS.values()} <= set(PARTS)
