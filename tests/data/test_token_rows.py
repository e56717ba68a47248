"""Rows of tokens: classes from the file, the build or the labels, and files that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qformers.config.sections import DataConfig
from qformers.data import DataError, Events, dataset_of, open_split
from qformers.data.tokens.token_rows import is_token_rows
from qformers.data.tokens.token_rows_writer import write

Array = np.ndarray[Any, Any]
NAMES = ("negative", "positive", "neither")


def config(path: Path | str, **changes: object) -> DataConfig:
    base = {"dataset": "token_rows", "train": (str(path),), "val": (), "test": (), "features": "tokens"}
    return DataConfig.model_validate(base | {"num_particles": 8} | changes)


def load(path: Path, **changes: object) -> Events:
    events = open_split(config(path, **changes), "train").load()
    assert isinstance(events, Events)
    return events


def refused(path: Path, match: str, **changes: object) -> None:
    with pytest.raises(DataError, match=match) as caught:
        load(path, **changes)
    assert str(path) in str(caught.value)


def tokens(rows: int, seed: int = 0, columns: int = 8) -> tuple[Array, Array]:
    """Ids of 1 to 300, of which a row has one at least, and labels."""
    rng = np.random.default_rng(seed)
    real = np.arange(columns) < rng.integers(1, columns + 1, rows)[:, None]
    return np.where(real, rng.integers(1, 301, (rows, columns)), 0), rng.integers(0, len(NAMES), rows)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_ids_are_features_and_the_pad_is_no_token(tmp_path: Path) -> None:
    ids, labels = tokens(50)
    events = load(write(tmp_path / "tokens.npz", ids, labels, NAMES))
    np.testing.assert_array_equal(events.features[..., 0], ids)
    assert events.features.dtype == np.float32
    np.testing.assert_array_equal(events.mask, ids > 0)
    np.testing.assert_array_equal(events.labels, labels)
    assert (events.class_names, events.feature_set.names) == (NAMES, ("token",))
    assert not events.has_momenta
    assert is_token_rows(tmp_path / "tokens.npz")


def test_a_pad_inside_a_sequence_is_hidden(tmp_path: Path) -> None:
    ids = np.array([[3, 0, 2, 0]])
    assert load(saved(tmp_path / "a.npz", ids=ids, labels=np.array([0]))).mask[0].tolist() == [1, 0, 1, 0, 0, 0, 0, 0]


def test_columns_of_the_pad_alone_may_lack_or_be_too_many(tmp_path: Path) -> None:
    ids, labels = tokens(20, columns=6)
    narrow = load(write(tmp_path / "a.npz", ids, labels, NAMES))
    wide = load(write(tmp_path / "b.npz", np.pad(ids, ((0, 0), (0, 9))), labels, NAMES))
    np.testing.assert_array_equal(narrow.features, wide.features)
    assert not narrow.features[:, 6:].any()


@pytest.mark.parametrize("packed", [False, True])
def test_pieces_are_read_alone(tmp_path: Path, packed: bool) -> None:
    ids, labels = tokens(700, seed=3)
    path = tmp_path / "tokens.npz"
    (np.savez_compressed if packed else np.savez)(path, ids=ids, labels=labels, class_names=np.array(NAMES))
    np.testing.assert_array_equal(load(path, shuffle_jets=128).features[..., 0], ids)
    some = load(path, classes=("neither", "negative"))
    np.testing.assert_array_equal(some.features[..., 0], ids[labels != 1])
    np.testing.assert_array_equal(some.labels, np.where(labels[labels != 1] == 2, 0, 1))


def test_other_types_of_numbers_are_the_same_tokens(tmp_path: Path) -> None:
    ids, labels = tokens(20)
    plain = load(write(tmp_path / "a.npz", ids, labels, NAMES))
    with np.load(tmp_path / "a.npz") as file:
        assert file["ids"].dtype == np.uint16  # the smallest that holds them
    for kind in (">i4", "u8", "i2"):
        other = load(saved(tmp_path / "b.npz", ids=ids.astype(kind), labels=labels.astype("u1"), class_names=NAMES))
        np.testing.assert_array_equal(plain.features, other.features)
        np.testing.assert_array_equal(plain.labels, other.labels)


def test_the_largest_id_keeps_its_number(tmp_path: Path) -> None:
    ids = np.array([[(1 << 24) - 1, 1 << 24]])
    assert load(write(tmp_path / "a.npz", ids, np.zeros(1, int), ["x"])).features[0, :2, 0].tolist() == ids[0].tolist()
    refused(
        saved(tmp_path / "b.npz", ids=ids + 1, labels=np.zeros(1, int)),
        r"'ids' must be 0 \(the pad\) to 16777216. Received: 16777217 in row 0, place 1 \(1 such numbers",
    )


# classes


def test_classes_are_named_by_the_build_the_file_or_their_numbers(tmp_path: Path) -> None:
    ids, labels = tokens(30)
    unnamed = saved(tmp_path / "a.npz", ids=ids, labels=labels)
    assert load(unnamed).class_names == ("0", "1", "2")
    assert load(unnamed, labels=["a", "b", "c", "d"]).class_names == ("a", "b", "c", "d")
    named = write(tmp_path / "b.npz", ids, labels, NAMES)
    assert load(named, labels=list(NAMES), classes=("positive", "neither")).class_names == ("positive", "neither")


def test_with_labels_no_file_is_needed_to_know_the_classes(tmp_path: Path) -> None:
    dataset = dataset_of("token_rows")
    assert dataset.numbers(config(tmp_path / "none.npz", labels=["a", "b"]))[1] == ("a", "b")
    with pytest.raises(DataError, match=r"data.labels: token_rows takes the names .* no file matches .*none.npz; name"):
        dataset.numbers(config(tmp_path / "none.npz"))


def test_files_of_other_classes(tmp_path: Path) -> None:
    ids, labels = tokens(30)
    path = write(tmp_path / "a.npz", ids, labels, NAMES)
    refused(
        path,
        r"'class_names' must be those of the other files, in their order; data.labels has a, b, c. Received: neg",
        labels=["a", "b", "c"],
    )
    write(tmp_path / "b.npz", ids, labels, NAMES[::-1])
    with pytest.raises(
        DataError, match=r"b.npz: 'class_names' must be those .*; the first file has negative, positive"
    ):
        load(tmp_path / "*.npz")


def test_a_label_without_a_class(tmp_path: Path) -> None:
    ids, labels = tokens(30)
    labels[7] = 3
    refused(
        saved(tmp_path / "a.npz", ids=ids, labels=labels, class_names=NAMES),
        r"'labels' must be 0 to 2, the classes negative, positive, neither; name all .* Received: 3 in row 7 \(1 such",
    )
    refused(saved(tmp_path / "a.npz", ids=ids, labels=labels - 4), r"'labels' must be 0 to 999.* Received: -\d")
    refused(saved(tmp_path / "a.npz", ids=ids, labels=labels + 999), r"'labels' must be 0 to 999.* Received: 100\d")


def test_labels_of_the_build_that_say_more_than_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", *tokens(3), NAMES)
    for label in ({"name": "a", "branch": "b"}, {"name": "a", "files": ["a*"]}):
        with pytest.raises(DataError, match=r"data.labels: token_rows takes names alone, .* Received: class 'a' with"):
            load(path, labels=[label])
    with pytest.raises(DataError, match=r"data.labels: each class may be named once. Received: a, a"):
        load(path, labels=["a", "a"])


# what cannot be used


@pytest.mark.parametrize("name", ["ids", "labels"])
def test_a_missing_array(tmp_path: Path, name: str) -> None:
    ids, labels = tokens(3)
    arrays = {"ids": ids, "labels": labels, f"{name}_": labels}
    del arrays[name]
    refused(saved(tmp_path / "a.npz", **arrays), rf"array '{name}' is missing; did you mean '{name}_'\?")
    assert not is_token_rows(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"ids": np.ones((3, 4))},
            r"array 'ids' has the wrong type. Expected: whole numbers with 2 axes. Rec.*float64",
        ),
        ({"ids": np.ones(3, int)}, r"Expected: whole numbers with 2 axes. Received: int64 of shape \(3,\)"),
        ({"labels": np.zeros(3)}, r"array 'labels' has the wrong type. Expected: whole numbers with 1 axes"),
        ({"labels": np.zeros(4, int)}, r"'labels' has 4 rows and 'ids' has 3"),
        ({"class_names": np.arange(3)}, r"array 'class_names' has the wrong type. Expected: texts with 1 axes"),
        ({"class_names": np.array(["a", "a"])}, r"'class_names' must be names, each of them once. Received: a, a"),
        ({"class_names": np.array(["a", ""])}, r"'class_names' must be names, each of them once"),
        ({"class_names": np.array(["a" * 201])}, r"'class_names' must be 1 to 1000 names of up to 200 signs"),
        ({"class_names": np.array([], str)}, r"'class_names' must be 1 to 1000 names .* of shape \(0,\)"),
        ({"ids": np.array([[1], [0], [2]])}, r"'ids' row 1 has no token, all are 0, the pad \(1 such rows"),
        ({"ids": np.array([[1], [2], [-1]])}, r"'ids' must be 0 .* Received: -1 in row 2, place 0 \(1 such"),
        (
            {"ids": np.eye(3, 10, 7, int)[[2, 0, 0]]},
            r"'ids' row 0 has 10 tokens and data.num_particles is 8: raise it, or cut the rows in the file \(1 such",
        ),
    ],
)
def test_arrays_that_cannot_be(tmp_path: Path, arrays: dict[str, Array], words: str) -> None:
    ids, labels = tokens(3)
    refused(saved(tmp_path / "a.npz", **({"ids": ids, "labels": labels} | arrays)), words)


def test_names_of_bytes_that_are_no_letters(tmp_path: Path) -> None:
    ids, labels = tokens(3)
    names = np.frombuffer(np.array([0x7FFFFFFF, 1, 2], np.uint32).tobytes(), "<U1")
    for wrong in (names, np.array(["a", "\ud800", "b"])):
        refused(
            saved(tmp_path / "a.npz", ids=ids, labels=labels, class_names=wrong),
            r"'class_names' are no texts: they hold a number that no sign is; .* Received: 0x(7fffffff|d800)",
        )


def test_files_that_are_cut_or_something_else(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", *tokens(300), NAMES)
    content = path.read_bytes()
    for damaged in (b"", b"no zip" * 100, content[:-40], content[: len(content) // 2]):
        path.write_bytes(damaged)
        refused(path, r"cannot be read as arrays, the file is damaged, truncated or something else .*; fetch or write")


def test_the_writer_refuses_what_the_reader_would(tmp_path: Path) -> None:
    ids, labels = tokens(4)
    for wrong, words in (
        ((ids[0], labels), r"ids must be whole numbers \(sequences, tokens\) .* Received: int64 of shape \(8,\)"),
        ((ids * 1.0, labels), r"Received: float64"),
        ((ids - 1, labels), r"ids must be 0 to 16777216 and labels 0 to 2. Received: ids -1 to"),
        ((ids, labels + 3), r"labels 0 to 2. Received: ids 0 to \d+, labels 0 to [345]"),
    ):
        with pytest.raises(ValueError, match=words):
            write(tmp_path / "a.npz", *wrong, NAMES)
    assert list(tmp_path.iterdir()) == []
