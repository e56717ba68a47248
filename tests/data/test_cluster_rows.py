"""Clusters of atoms: what their files become, and files that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qformers.config.sections import DataConfig
from qformers.data import DATASETS, DataError, Events, holders, open_split
from qformers.data.clusters.cluster_rows import is_cluster_rows
from qformers.data.clusters.writer import write
from qformers.data.jets.pieces import join

Array = np.ndarray[Any, Any]


def config(path: Path | str, **changes: object) -> DataConfig:
    base = {"dataset": "clusters", "train": (str(path),), "val": (), "test": (), "features": "species_place"}
    return DataConfig.model_validate(base | {"num_particles": 6} | changes)


def load(path: Path, **changes: object) -> Events:
    events = open_split(config(path, **changes), "train").load()
    assert isinstance(events, Events)
    return events


def refused(path: Path, match: str, **changes: object) -> None:
    with pytest.raises(DataError, match=match) as caught:
        load(path, **changes)
    assert str(path) in str(caught.value)


def arrays(rows: int = 7, atoms: int = 5, seed: int = 0) -> dict[str, Array]:
    """Clusters, some with fewer atoms than columns."""
    rng = np.random.default_rng(seed)
    species = rng.integers(1, 3, (rows, atoms))
    species[0, 3:] = 0
    coords = rng.normal(0.0, 1.0, (rows, atoms, 3)).astype(np.float32)
    return {"coords": coords, "species": species, "energy": rng.normal(-3.0, 0.4, rows)}


def saved(path: Path, **changes: Any) -> Path:
    np.savez(path, **{**arrays(), **changes})
    return path


def test_species_and_places_become_features_and_coordinates(tmp_path: Path) -> None:
    made = arrays()
    path = write(tmp_path / "clusters.npz", **made, temperature=np.ones(7))
    events = load(path)
    assert events.feature_set.names == ("species_a", "species_b", "x", "y", "z", "r2")
    assert events.class_names == ("energy",)
    assert events.labels.dtype == np.float32
    assert (events.labels.shape, events.features.shape, events.mask.shape) == ((7, 1), (7, 6, 6), (7, 6))
    assert events.coords is not None
    for row in range(7):
        for atom in range(6):
            kind = made["species"][row, atom] if atom < 5 else 0
            place = made["coords"][row, atom] if kind else np.zeros(3)
            assert events.mask[row, atom] == (kind > 0)
            np.testing.assert_array_equal(events.coords[row, atom], place)
            expected = [kind == 1, kind == 2, *(place * 0.5), ((place**2).sum() - 2.0) * 0.5 if kind else 0.0]
            np.testing.assert_allclose(events.features[row, atom], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(events.labels[:, 0], made["energy"], rtol=1e-6)
    assert not events.has_momenta
    np.testing.assert_array_equal(load(path, features="species").features, events.features[..., :2])
    np.testing.assert_array_equal(load(path, features="place").features, events.features[..., 2:])
    assert is_cluster_rows(path)
    assert holders(path) == ["clusters"]
    assert DATASETS["clusters"].task(config(path)) == "regression"


def test_pieces_streams_and_caches_have_the_same_clusters(tmp_path: Path) -> None:
    made = arrays(700, seed=2)
    path = write(tmp_path / "clusters.npz", **made)
    whole = load(path)
    cached = config(path, shuffle_jets=128, cache=str(tmp_path / "cache"))
    for _ in range(2):  # written, then read
        again = open_split(cached, "train").load()
        assert isinstance(again, Events)
        for name in ("features", "labels", "coords", "mask"):
            np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    batches = [batch for batch in open_split(cached, "train").stream(100, 1, 0) if isinstance(batch, Events)]
    joined = join(batches)
    assert joined.coords is not None
    assert whole.coords is not None
    order, other = np.argsort(joined.labels[:, 0]), np.argsort(whole.labels[:, 0])
    np.testing.assert_array_equal(joined.coords[order], whole.coords[other])


def test_numbers_in_places_without_an_atom_do_not_matter(tmp_path: Path) -> None:
    made = arrays()
    made["coords"][0, 4] = np.nan
    assert np.isfinite(load(saved(tmp_path / "clusters.npz", **made)).features).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coords": np.ones((7, 5))}, r"array 'coords' has the wrong type. Expected: real numbers with 3 axes"),
        (
            {"coords": np.ones((7, 5, 2))},
            r"'coords' must be \(n, N, 3\), 'species' \(n, N\) and .*Received: \(7, 5, 2\)",
        ),
        ({"species": np.ones((7, 4), int)}, r"write the file again. Received: \(7, 5, 3\), \(7, 4\) and \(7,\)"),
        ({"species": np.ones((7, 5))}, r"array 'species' has the wrong type. Expected: whole numbers with 2 axes"),
        ({"energy": np.ones(6)}, r"Received: \(7, 5, 3\), \(7, 5\) and \(6,\)"),
        (
            {"energy": np.array([{}] * 7)},
            r"array 'energy' has the wrong type.*object, which would have to be unpickled",
        ),
        (
            {"species": np.full((7, 5), 3)},
            r"'species' must be 0 \(no atom\) to 2. Received: 3 in row 0, place 0 \(35 such",
        ),
        ({"species": np.full((7, 5), -1)}, r"'species' must be 0 \(no atom\) to 2. Received: -1"),
        ({"species": np.zeros((7, 5), int)}, r"'species' row 0 has no atom, all are 0 \(7 such rows"),
        (
            {"energy": np.array([0, 0, np.inf, 0, 0, 0, 0])},
            r"'energy' must be finite, .* Received: inf in row 2 \(1 such",
        ),
        ({"coords": np.full((7, 5, 3), np.nan)}, r"'coords' must be finite, .* Received: nan in row 0, atom 0"),
        (
            {"coords": np.ones((0, 5, 3)), "species": np.ones((0, 5), int), "energy": np.ones(0)},
            r"data\.train: no event in 1 files",
        ),
        ({"coords": np.asfortranarray(np.ones((7, 5, 3)))}, r"column after column, so that no row can be read alone"),
        ({"coords": np.full((7, 5, 3), 1e5)}, r"up to 10000 either side of 0, .* Received: 100000.0 in row 0"),
    ],
)
def test_arrays_that_cannot_be(tmp_path: Path, changes: dict[str, Array], words: str) -> None:
    refused(saved(tmp_path / "clusters.npz", **changes), words)


def test_more_atoms_than_slots_are_not_cut(tmp_path: Path) -> None:
    words = r"'species' row 1 has 5 atoms and data.num_particles is 4: raise it; cut, .* energy \(6 such rows"
    refused(saved(tmp_path / "clusters.npz"), words, num_particles=4)


def test_a_missing_array_and_a_damaged_file(tmp_path: Path) -> None:
    made = arrays()
    np.savez(tmp_path / "a.npz", coords=made["coords"], species=made["species"], energies=made["energy"])
    refused(tmp_path / "a.npz", r"array 'energy' is missing; did you mean 'energies'\?")
    path = saved(tmp_path / "b.npz")
    path.write_bytes(path.read_bytes()[:200])
    refused(path, r"cannot be read as arrays, the file is damaged, truncated or something else")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ["energy"]}, r"data.classes: clusters have an energy and no classes; leave the key out"),
        ({"labels": ["energy"]}, r"data.labels: clusters has labels of its own"),
        ({"padding": "wrap"}, r"data.padding: an atom that stood in a cluster twice would change its energy"),
        ({"features": "places"}, r"data.features: clusters has no feature set 'places'; did you mean 'place'"),
    ],
)
def test_keys_of_the_build_that_say_nothing(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(saved(tmp_path / "clusters.npz"), **change)


def test_the_writer_refuses_what_the_reader_would(tmp_path: Path) -> None:
    for change, words in (
        ({"coords": np.ones((7, 5))}, r"coords must be \(clusters, atoms, 3\)"),
        ({"species": np.full((7, 5), 3)}, r"species must be whole numbers, 0 to 2. Received: int64, 0 to 3"),
        ({"energy": np.full(7, np.nan)}, r"energy must be finite and up to 10000 either side of 0"),
    ):
        with pytest.raises(ValueError, match=words):
            write(tmp_path / "clusters.npz", **{**arrays(), **change})
    assert list(tmp_path.iterdir()) == []
