"""ListOps: ids of the symbols, pieces read alone, and files that cannot be used, named by line."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from qformers.config.sections import DataConfig
from qformers.data import DATASETS, DataError, Events, Split, open_split
from qformers.data.tokens.listops import HEADER, SYMBOLS, VOCABULARY, is_listops
from qformers.generate.tokens.listops import PRESETS, ListOpsSettings, generate

ROWS = (  # expression, value
    ("( ( ( [MAX 2 ) 7 ) ] )", "7"),
    ("( ( ( ( [SM 9 ) 8 ) ( ( ( [MIN 0 ) 5 ) ] ) ) ] )", "7"),
    ("( ( ( [MED 3 ) 6 ) ] )", "4"),
)


def opened(path: Path, **changes: object) -> Split:
    base = {"dataset": "listops", "train": (str(path),), "val": (), "test": (), "features": "tokens"}
    return open_split(DataConfig.model_validate(base | {"num_particles": 12} | changes), "train")


def load(path: Path, **changes: object) -> Events:
    events = opened(path, **changes).load()
    assert isinstance(events, Events)
    return events


def written(path: Path, *lines: str, header: str = HEADER, end: str = "\n") -> Path:
    path.write_bytes("".join(f"{line}{end}" for line in (header, *lines)).encode())
    return path


def rows(path: Path, number: int = 3) -> Path:
    return written(path, *("\t".join(ROWS[place % len(ROWS)]) for place in range(number)))


def refused(path: Path, match: str, **changes: object) -> None:
    with pytest.raises(DataError, match=match) as caught:
        load(path, **changes)
    assert str(path) in str(caught.value)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,400 expressions of 17 to 63 tokens."""
    folder = tmp_path_factory.mktemp("listops")
    generate(ListOpsSettings(sequences=1600, held_out=100, **vars(PRESETS["16-64"])), folder, "x")
    return folder / "train" / "basic_train.tsv"


def test_an_event_has_the_ids_of_its_tokens(tmp_path: Path) -> None:
    events = load(rows(tmp_path / "basic_train.tsv"))
    number = {symbol: place for place, symbol in enumerate(SYMBOLS, start=1)}
    assert (len(number), VOCABULARY) == (15, 17)  # 0 is the pad and 16 what is unknown
    second = ["[SM", "9", "8", "[MIN", "0", "5", "]", "]"]
    assert events.features.dtype == np.float32
    assert events.features.shape == (3, 12, 1)
    assert events.features[1, :, 0].tolist() == [number[token] for token in second] + [0] * 4
    assert events.features[0, :5, 0].tolist() == [12, 3, 8, 15, 0]
    assert events.mask.tolist() == [[1] * 4 + [0] * 8, [1] * 8 + [0] * 4, [1] * 4 + [0] * 8]
    assert events.labels.tolist() == [7, 7, 4]
    assert events.class_names == tuple("0123456789")
    assert events.feature_set.names == ("token",)


def test_vectors_are_zeros_that_take_no_memory_nor_disk(generated: Path, tmp_path: Path) -> None:
    for changes in ({}, {"shuffle_jets": 200}, {"shuffle_jets": 200, "cache": str(tmp_path)}):
        split = opened(generated, num_particles=64, **changes)
        batches = [split.load(), *split.stream(100, seed=1, epoch=0)]
        for events in batches:
            assert isinstance(events, Events)
            assert not events.has_momenta
            assert events.vectors.shape == (*events.mask.shape, 4)
            assert not events.vectors.any()
    assert {path.name for path in tmp_path.rglob("*.npy")} == {"features.npy", "mask.npy", "labels.npy"}


@pytest.mark.parametrize("cached", [False, True])
def test_pieces_classes_and_streams_hold_the_same_rows(generated: Path, tmp_path: Path, cached: bool) -> None:
    cache = {"cache": str(tmp_path)} if cached else {}
    whole = load(generated, num_particles=64)
    assert len(whole) == 1400
    np.testing.assert_array_equal(load(generated, num_particles=64, shuffle_jets=130, **cache).features, whole.features)
    some = load(generated, num_particles=64, classes=("9", "0"), **cache)
    assert some.class_names == ("9", "0")
    chosen = np.isin(whole.labels, (0, 9))
    np.testing.assert_array_equal(some.features, whole.features[chosen])
    np.testing.assert_array_equal(some.labels, np.where(whole.labels[chosen] == 9, 0, 1))
    np.testing.assert_array_equal(load(generated, num_particles=64, max_jets=300).features, whole.features[:300])
    split = opened(generated, num_particles=64, shuffle_jets=200, **cache)
    batches = list(split.stream(100, seed=1, epoch=0))
    streamed = np.concatenate([batch.features for batch in batches])
    assert sorted(map(bytes, streamed)) == sorted(map(bytes, whole.features))
    assert not np.array_equal(streamed, whole.features)


def test_windows_ends_of_lines_and_a_mark_in_front_are_the_same_file(tmp_path: Path) -> None:
    plain = load(rows(tmp_path / "a.tsv"))
    lines = ["\t".join(row) for row in ROWS]
    other = load(written(tmp_path / "b.tsv", *lines, header=f"\ufeff{HEADER}", end="\r\n"))
    np.testing.assert_array_equal(plain.features, other.features)
    (tmp_path / "c.tsv").write_bytes(rows(tmp_path / "a.tsv").read_bytes().rstrip(b"\n"))  # no end of the last line
    np.testing.assert_array_equal(plain.features, load(tmp_path / "c.tsv").features)


def test_a_file_is_recognised_by_its_first_line(tmp_path: Path) -> None:
    assert is_listops(rows(tmp_path / "a.tsv"))
    assert is_listops(written(tmp_path / "b.tsv", header=f"\ufeff{HEADER}", end="\r\n"))
    assert not is_listops(written(tmp_path / "c.tsv", header="Source,Target"))
    assert not is_listops(tmp_path / "none.tsv")
    assert DATASETS["listops"].files == ("*.tsv",)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.tsv", 60_000)  # 2 MB of text, 14 MB of events
    split = opened(path, num_particles=60, shuffle_jets=500)
    tracemalloc.start()
    batches = sum(len(batch.labels) for batch in split.stream(100, seed=1, epoch=0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batches == 60_000
    assert peak < 3e6


# what cannot be used


def test_another_header(tmp_path: Path) -> None:
    for header in ("Source,Target", "source\ttarget", "( ( ( [MAX 2 ) 7 ) ] )\t7"):
        refused(
            written(tmp_path / "a.tsv", "\t".join(ROWS[0]), header=header),
            r"line 1: must be 'Source' and 'Target' with a tab between them, .* Received: '",
        )
    (tmp_path / "b.tsv").write_bytes(b"")
    refused(tmp_path / "b.tsv", r"line 1: must be 'Source' and 'Target'.* Received: ''")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("( ( ( [MAX 2 ) 7 ) ] ) 7", r"must have an expression and its value .* Received: 1 fields"),
        ("", r"must have an expression and its value .* Received: 1 fields"),
        ("( ( ( [MAX 2 ) 7 ) ] )\t7\t1", r"must have an expression and its value .* Received: 3 fields"),
        ("( ( ( [MAX 2 ) 7 ) ] )\t10", r"the value of an expression is a digit; .* Received: '10'"),
        ("( ( ( [MAX 2 ) 7 ) ] )\t", r"the value of an expression is a digit; .* Received: ''"),
        ("( ( ( [MAX 2 ) 7 ) ] )\t٣", r"the value of an expression is a digit; .* Received: '٣'"),
        ("( ( ( [MAX 2 ) 17 ) ] )\t7", r"a token must be a digit, \[MIN, \[MAX, \[MED, \[SM or \].* Received: '17'"),
        ("( ( ( [max 2 ) 7 ) ] )\t7", r"a token must be a digit.* Received: '\[max'"),
        ("( ( ( [MAX 2 ) 7 )\t7", r"is not one expression: its brackets do not match \(1 such .* Received: 3 tokens"),
        ("( ( ( [MAX 2 ) 7 ) ] ) ] )\t7", r"brackets do not match .* Received: 5 tokens"),
        ("5 ( ( ( [MAX 2 ) 7 ) ] )\t7", r"brackets do not match .* Received: 5 tokens"),
        ("5 [MAX 2\t7", r"brackets do not match .* Received: 3 tokens"),
        ("]\t7", r"brackets do not match .* Received: 1 tokens"),
        ("\t7", r"brackets do not match .* Received: 0 tokens"),
    ],
)
def test_lines_that_are_no_expression_and_value(tmp_path: Path, line: str, said: str) -> None:
    good = ["\t".join(row) for row in ROWS]
    refused(written(tmp_path / "a.tsv", *good, line, *good), rf"data.train: .*: line 5: .*{said}")


def test_a_digit_alone_is_an_expression(tmp_path: Path) -> None:
    assert load(written(tmp_path / "a.tsv", "5\t5")).features[0, :2, 0].tolist() == [6, 0]


def test_an_expression_longer_than_the_model(tmp_path: Path) -> None:
    refused(
        rows(tmp_path / "a.tsv"),
        r"line 3: has 8 tokens and data.num_particles is 7: raise it, or leave such lines out .* another value",
        num_particles=7,
    )
    assert load(rows(tmp_path / "a.tsv"), num_particles=8).mask[1].all()


def test_a_line_without_end(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(f"{HEADER}\n".encode() + b"5 " * (9 << 20))
    refused(tmp_path / "a.tsv", r"line 2: has 16,777,216 bytes or more; is it a file of ListOps\?")


def test_lines_of_classes_that_are_left_out_are_not_looked_at(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "\t".join(ROWS[0]), "[MAX 2 x ]\t5")
    assert len(load(path, classes=("7",))) == 1
    refused(path, "line 3: a token", classes=("7", "5"))


def test_settings_that_do_not_go_with_tokens(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.tsv")
    for changes, words in (
        ({"features": "token"}, r"data.features: listops has no feature set 'token'; did you mean 'tokens'\?"),
        ({"padding": "wrap"}, r"data.padding: the pad of listops is the token with id 0; leave .* Received: wrap"),
        ({"classes": ("ten",)}, r"data.classes: listops has no class 'ten'; choose one of 0, 1, "),
        ({"labels": ["a"]}, r"data.labels: listops has labels of its own; leave them out. Received: a"),
    ):
        with pytest.raises(DataError, match=words):
            load(path, **changes)


def test_a_file_that_changes_is_looked_through_again(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.tsv", 300)
    split = opened(path, shuffle_jets=100)
    rows(path, 30)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match=r"has changed while it was being used, \d+ jets instead of 100"):
        split.load()
    rows(path, 600)
    assert len(split.load()) == 300
