"""ListOps and digits as they are generated: grammar, values, lengths, splits, and folders that are gone on with."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from qformers.cli import generate as cli
from qformers.config.sections import DataConfig
from qformers.data import Events, open_split
from qformers.errors import DataError, GenerateError, QformersError
from qformers.files import replacing
from qformers.generate.tokens import digits, listops
from qformers.generate.tokens.listops import PRESETS, ListOpsSettings, Tally, expressions, generate
from qformers.generate.tokens.trees import Grammar, draw

# operator -> what it is of its arguments, written down independently
MEANING: dict[str, Callable[[list[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda values: int(statistics.median(values)),
    "[SM": lambda values: sum(values) % 10,
}


class Reference(NamedTuple):
    """Numbers of another implementation of the grammar, rounded as they were noted: shares to 0.1 %, lengths to 1.

    How many expressions they come from was not noted: their own errors are taken to be those of so many.
    """

    acceptance: float
    mean_length: float
    majority: float
    sample: int = 2000


REFERENCES = {
    "16-64": Reference(0.072, 24, 0.119),
    "32-128": Reference(0.056, 49, 0.130),
    "64-256": Reference(0.073, 113, 0.163),
    "full": Reference(0.082, 1034, 0.173),
}


def settings(preset: str = "16-64", **changes: Any) -> ListOpsSettings:
    return ListOpsSettings(**(vars(PRESETS[preset]) | {"sequences": 300, "held_out": 50} | changes))


def rows(path: Path) -> list[tuple[str, int]]:
    header, *lines = path.read_text().splitlines()
    assert header == "Source\tTarget"
    return [(text, int(value)) for text, value in (line.split("\t") for line in lines)]


def parsed(words: list[str]) -> Any:
    """Nested pairs of what stands in parentheses, read from the end of reversed words."""
    if (word := words.pop()) != "(":
        return word
    pair = parsed(words), parsed(words)
    assert words.pop() == ")"
    return pair


def evaluated(tree: Any, grammar: Grammar, depth: int = 1) -> int:
    """Plain recursion over nested pairs ``(((operator, first), second), "]")``; it checks them on its way."""
    assert depth <= grammar.depth
    if isinstance(tree, str):
        return int(tree)
    inner, close = tree
    assert close == "]"
    arguments: list[Any] = []
    while isinstance(inner, tuple):
        inner, argument = inner
        arguments.insert(0, argument)
    assert 2 <= len(arguments) <= grammar.max_args
    return MEANING[inner]([evaluated(argument, grammar, depth + 1) for argument in arguments])


def made(grammar: Grammar, number: int, seed: int) -> tuple[int, list[int], list[int]]:
    """Expressions drawn, lengths and values of at least `number` that fit."""
    rng, drawn = np.random.default_rng(seed), 0
    lengths: list[int] = []
    values: list[int] = []
    while len(lengths) < number:
        trees = draw(grammar, rng)
        drawn += grammar.at_once
        lengths += trees.lengths.tolist()
        values += trees.values.tolist()
    return drawn, lengths, values


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_is_what_plain_recursion_finds(preset: str) -> None:
    chosen, tally, seen = settings(preset), Tally(), set()
    for text, value in islice(expressions(chosen, tally), 150 if preset == "full" else 1500):
        words = text.split()
        left = words[::-1]
        assert evaluated(parsed(left), chosen.grammar) == value, text
        assert not left
        length = sum(word not in "()" for word in words)
        assert chosen.min_length < length < chosen.max_length
        assert length == tally.lengths[-1]
        assert value == tally.values[-1]
        assert " ".join(words) == text
        seen |= set(words)
    assert seen == {"(", ")", "]", *MEANING, *"0123456789"}


@pytest.mark.parametrize("preset", REFERENCES)
def test_acceptance_length_and_majority_are_those_of_the_reference(preset: str) -> None:
    grammar, reference = PRESETS[preset], REFERENCES[preset]
    drawn, lengths, values = made(grammar, 3000 if preset == "full" else 20_000, seed=1)
    number = len(lengths)
    both = 1 / number + 1 / reference.sample  # the reference is a sample as well

    def near(value: float, said: float, rounded: float, variance: float) -> None:
        assert abs(value - said) < rounded / 2 + 3 * math.sqrt(variance * both), (value, said)

    share = number / drawn
    near(share, reference.acceptance, 0.001, share**2)  # of a number that fits, of which the drawn are so many more
    near(statistics.mean(lengths), reference.mean_length, 1, statistics.variance(lengths))
    most = max(values.count(value) for value in range(10)) / number
    near(most, reference.majority, 0.001, most * (1 - most))


def test_the_distribution_is_that_of_a_plain_generator() -> None:
    """One node after the other, the operator drawn behind its arguments, as the grammar is published."""
    grammar, rng = PRESETS["32-128"], random.Random(3)  # noqa: S311  no secrets

    def tree(depth: int) -> tuple[int, int, int]:
        """Length, value, deepest node."""
        if depth == grammar.depth or rng.random() > 0.25:
            return 1, rng.randrange(10), depth
        arguments = [tree(depth + 1) for _ in range(rng.randint(2, grammar.max_args))]
        operator = rng.choice(list(MEANING.values()))
        lengths, values, depths = zip(*arguments, strict=True)
        return 2 + sum(lengths), operator(list(values)), max(depths)

    plain_drawn = 60_000
    plain = [one for one in (tree(1) for _ in range(plain_drawn)) if 32 < one[0] < 128]
    drawn, lengths, values = made(grammar, 20_000, seed=2)
    both = 1 / len(plain) + 1 / len(lengths)
    assert abs(len(lengths) / drawn * plain_drawn / len(plain) - 1) < 4 * math.sqrt(both)
    for limit in (36, 41, 49, 60, 80):  # the whole distribution of lengths
        ours, theirs = np.mean(np.array(lengths) < limit), np.mean([one[0] < limit for one in plain])
        assert abs(ours - theirs) < 4 * math.sqrt(ours * (1 - ours) * both)
    for value in range(10):
        ours, theirs = values.count(value) / len(values), np.mean([one[1] == value for one in plain])
        assert abs(ours - theirs) < 4 * math.sqrt(ours * (1 - ours) * both)


def test_a_grammar_gives_all_its_expressions_and_then_says_so() -> None:
    chosen = settings(depth=2, max_args=2, min_length=1, max_length=5, sequences=500)
    found, each = [], expressions(chosen, Tally())
    with pytest.raises(
        GenerateError,
        match=r"among the last 819,200 expressions there was no new one that is longer than 1 and shorter than 5; ask "
        r"for fewer --sequences, .* Received: --sequences 500, of which 400 were made",
    ):
        found.extend(each)
    wanted = {
        f"( ( ( {name} {first} ) {second} ) ] )": MEANING[name]([first, second])
        for name in MEANING
        for first in range(10)
        for second in range(10)
    }
    assert dict(found) == wanted
    assert len(found) == 400


def test_lengths_that_the_grammar_has_not() -> None:
    with pytest.raises(GenerateError, match=r"longer than 16 and shorter than 64; .* of which 0 were made"):
        next(expressions(settings(depth=2, max_args=3), Tally()))


def test_splits_hold_different_expressions_and_the_manifest_says_which(tmp_path: Path) -> None:
    manifest = generate(settings(), tmp_path, "the command")
    splits = {split: rows(tmp_path / split / f"basic_{split}.tsv") for split in ("train", "val", "test")}
    assert {split: len(lines) for split, lines in splits.items()} == {"train": 200, "val": 50, "test": 50}
    assert len({text for lines in splits.values() for text, _ in lines}) == 300
    stored = json.loads((tmp_path / "manifest.json").read_text())
    assert stored == manifest
    assert (stored["kind"], stored["command"], stored["settings"]["max_args"]) == ("listops", "the command", 5)
    assert {name: entry["sequences"] for name, entry in stored["files"].items()} == {
        "train/basic_train.tsv": 200, "val/basic_val.tsv": 50, "test/basic_test.tsv": 50,
    }  # fmt: skip
    values = [value for lines in splits.values() for _, value in lines]
    facts = stored["facts"]
    assert facts["majority_class"] == round(max(map(values.count, values)) / 300, 6)
    assert facts["drawn"] % PRESETS["16-64"].at_once == 0
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        ".lock", "manifest.json", "basic_train.tsv", "basic_val.tsv", "basic_test.tsv",
    }  # fmt: skip


def test_the_reader_takes_what_was_generated(tmp_path: Path) -> None:
    generate(settings(), tmp_path, "x")
    splits = {split: [str(tmp_path / split / "*.tsv")] for split in ("train", "val", "test")}
    data = {"dataset": "listops", "features": "tokens", "num_particles": 63, **splits}
    events = open_split(DataConfig.model_validate(data), "test").load()
    lines = rows(tmp_path / "test" / "basic_test.tsv")
    assert isinstance(events, Events)
    assert events.labels.tolist() == [value for _, value in lines]
    assert events.mask.sum(axis=1).tolist() == [sum(word not in "()" for word in text.split()) for text, _ in lines]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("basic_*.tsv"))}


def test_equal_settings_give_equal_files(tmp_path: Path) -> None:
    for name, changes in (("a", {}), ("b", {}), ("c", {"seed": 2})):
        generate(settings(**changes), tmp_path / name, name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["basic_test.tsv"] != contents(tmp_path / "c")["basic_test.tsv"]


def test_finished_files_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = generate(settings(), tmp_path, "x")
    before = contents(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(listops, "expressions", lambda *arguments: 1 / 0)
        assert generate(settings(), tmp_path, "y") == manifest
    (tmp_path / "val" / "basic_val.tsv").unlink()
    generate(settings(), tmp_path, "x")
    assert contents(tmp_path) == before


def test_a_run_that_was_stopped_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(chosen: ListOpsSettings, tally: Tally) -> Any:
        yield from islice(expressions(chosen, tally), 270)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(listops, "expressions", stopped)
        with pytest.raises(KeyboardInterrupt):
            generate(settings(), tmp_path, "x")
    assert contents(tmp_path) == {}
    assert not list(tmp_path.rglob("*.tmp*"))
    generate(settings(seed=2), tmp_path, "x")  # there is nothing that it would mix up
    generate(settings(seed=2), tmp_path / "b", "x")
    assert contents(tmp_path / "b") == {path.name: path.read_bytes() for path in tmp_path.glob("*/basic_*.tsv")}


def test_folders_of_something_else_are_refused(tmp_path: Path) -> None:
    generate(settings(), tmp_path / "a", "the first command")
    with pytest.raises(
        DataError,
        match=r"(?s)a holds sequences of another run.*seed: 1 there, 3 now.*made by: the first command\nRepeat",
    ):
        generate(settings(seed=3), tmp_path / "a", "x")
    with pytest.raises(DataError, match=r"(?s)kind: listops there, digits now\n.*seed|kind: listops there, digits now"):
        digits.generate(tmp_path / "a", 1, "x")
    (tmp_path / "a" / "val" / "basic_val.tsv").write_text("mine")
    with pytest.raises(DataError, match=r"basic_val.tsv is not the file that was generated \(sha256 differs\); delete"):
        generate(settings(), tmp_path / "a", "x")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").touch()
    with pytest.raises(
        DataError, match=r"b: holds other files, e.g. mine.txt, and no sequences that were generated; give"
    ):
        generate(settings(), tmp_path / "b", "x")
    with replacing(tmp_path / "c" / "manifest.json") as path:
        path.write_text(json.dumps({"files": {"../x": {}}}))
    with pytest.raises(DataError, match=r"manifest.json is not a manifest: files.*\.\./x"):
        generate(settings(), tmp_path / "c", "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": 21}, r"depth must lie in 2..20. Received: depth=21"),
        ({"max_args": 1}, r"max_args must lie in 2..100. Received: max_args=1"),
        ({"min_length": 0}, r"min_length must lie in 1..100000. Received: min_length=0"),
        ({"max_length": 17}, r"no length lies between .* Received: min_length=16, max_length=17"),
        ({"sequences": 2, "held_out": None}, r"sequences must lie in 3..10000000. Received: sequences=2"),
        ({"held_out": 150}, r"leave nothing for train: .* Received: sequences=300, held_out=150"),
        ({"held_out": 0}, r"held_out must lie in 1..5000000. Received: held_out=0"),
        ({"seed": -1}, r"seed must lie in 0..2147483647. Received: seed=-1"),
    ],
)
def test_settings_are_refused_with_what_was_received(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        settings(**change)


def test_the_public_task_is_the_default() -> None:
    default = ListOpsSettings()
    assert default.grammar == Grammar(depth=10, max_args=10, min_length=500, max_length=2000)
    assert default.splits == {"train": 96_000, "val": 2_000, "test": 2_000}


@pytest.mark.parametrize("grammar", [Grammar(20, 100, 1, 100_000), Grammar(20, 100, 1, 5)])
def test_expressions_of_any_grammar_take_bounded_memory(grammar: Grammar) -> None:
    trees = draw(grammar, np.random.default_rng(1))
    assert len(trees.codes) == trees.lengths.sum() <= grammar.at_once * grammar.max_length


# digits


def test_digits_are_those_of_scikit_learn_each_in_one_split(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    manifest = digits.generate(tmp_path, 1, "x")
    assert [entry["sequences"] for entry in manifest["files"].values()] == [1167, 180, 450]
    splits = {split: [str(tmp_path / split / "*.npz")] for split in ("train", "val", "test")}
    data = {"dataset": "token_rows", "features": "tokens", "num_particles": 64, **splits}
    truth = {
        bytes(image.astype(np.uint8)): int(label) for image, label in zip(*load_digits(return_X_y=True), strict=True)
    }
    found: dict[bytes, int] = {}
    for split in ("train", "val", "test"):
        events = open_split(DataConfig.model_validate(data), split).load()  # type: ignore[arg-type]
        assert isinstance(events, Events)
        assert events.class_names == tuple("0123456789")
        assert events.mask.all()  # level 0 is no pad
        levels = events.features[..., 0].astype(np.uint8) - 1
        found |= {bytes(row): int(label) for row, label in zip(levels, events.labels, strict=True)}
    assert found == truth
    assert len(truth) == 1797
    assert manifest["facts"] == {"tokens": 64, "vocabulary": 18}


def test_digits_of_equal_seeds_are_equal(tmp_path: Path) -> None:
    files = [digits.generate(tmp_path / name, seed, "x")["files"] for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert files[0] == files[1]
    assert files[0]["test/tokens_digits.npz"] != files[2]["test/tokens_digits.npz"]
    with pytest.raises(DataError, match=r"seed must lie in 0..2147483647. Received: seed=-1"):
        digits.generate(tmp_path / "d", -1, "x")


# the command line


def test_commands_write_and_say_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["listops", "--preset", "16-64", "--sequences", "200", "--max-length", "40", "--quiet", "--out"]
    assert cli.main([*words, str(tmp_path / "a")]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{tmp_path}/a: 200 expressions, ")
    assert "% of those drawn had such lengths; the most frequent value is that of " in told
    stored = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert stored["settings"] == {
        "sequences": 200, "seed": 1, "depth": 4, "max_args": 5, "min_length": 16, "max_length": 40, "held_out": 4,
    }  # fmt: skip
    assert stored["command"] == f"qformers generate {' '.join(words)} {tmp_path}/a"
    assert cli.main(["digits", "--out", str(tmp_path / "b")]) == 0
    assert "1167 in train/tokens_digits.npz, 180 in val/" in capsys.readouterr().out
    with pytest.raises(QformersError, match=r"--preset: unknown 'ful'; did you mean 'full'\?"):
        cli.main(["listops", "--preset", "ful", "--out", str(tmp_path / "c")])
    with pytest.raises(QformersError, match=r"unknown preset. Received: 'listop'.*Did you mean 'listops'"):
        cli.main(["listop"])
