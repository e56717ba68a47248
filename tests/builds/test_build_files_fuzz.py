"""Build files that nobody would write: each is refused by a `ConfigError` that names the file, or is a sound build."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.paths import CONFIGS

from qformers.builds.build import Build, load
from qformers.config.yaml_text import parse_yaml, to_yaml
from qformers.errors import ConfigError

TREE = yaml.safe_load((CONFIGS / "part_demo.yaml").read_text())
TEXT = (CONFIGS / "part_demo.yaml").read_text()
SAME = settings(  # the same cases each time; nothing is kept in a folder
    deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 3), st.floats(), st.text(max_size=8),
    st.binary(max_size=3),
    st.sampled_from(["fixed<8,3>", "ufixed<0,1>", "fixed<1,1>", "fixed<9999999,1>", "latency", "part", "b0_*", "1e-3"]),
    st.dates(),
)  # fmt: skip
KEYS = st.one_of(st.text(max_size=6), st.integers(), st.booleans(), st.none(), st.sampled_from(
    ["model", "data", "quant", "layers", "types", "weight", "activation", "firmware", "train", "float", "spec", "seed"]
))  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


def places(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of a tree of mappings."""
    if not isinstance(tree, dict):
        return []
    return [place for key, value in tree.items() for place in ((*path, key), *places(value, (*path, key)))]


def check(path: Path, overrides: tuple[str, ...] = ()) -> Build | None:
    """Load a file: a `ConfigError` that names it, or a build that is written and read back equal."""
    try:
        build = load(path, overrides)
    except ConfigError as error:
        words = str(error)
    else:
        words = ""
    if words:
        assert str(path) in words or "--set" in words
        assert len(words) < 20_000
        return None
    again = path.with_name("again.yaml")
    again.write_text(build.to_yaml(), encoding="utf-8")
    assert load(again) == build
    assert len(build.hash) == 12
    json.loads(build.model_dump_json(), parse_constant=pytest.fail)  # no NaN, no Infinity
    return build


@settings(SAME, max_examples=150)
@given(st.sampled_from(places(TREE)), st.one_of(VALUES, st.just(...)), KEYS, st.booleans())
def test_one_wrong_value_never_gets_further(
    tmp_path: Path, place: tuple[str, ...], value: Any, key: Any, added: bool
) -> None:
    tree = copy.deepcopy(TREE)
    *above, last = place
    branch = tree
    for step in above:
        branch = branch[step]
    if value is ...:
        del branch[last]
    elif added:
        branch[key] = value
    else:
        branch[last] = value
    path = tmp_path / "build.yaml"
    path.write_text(yaml.dump(tree), encoding="utf-8")
    build = check(path)
    if build is not None and value is not ... and not added and place != ("extends",):
        same_type(build, place, value)


def same_type(build: Build, place: tuple[str, ...], value: Any) -> None:
    """An accepted value is what the file says, not something near it: no number for `yes`, no 3 for 3.5."""
    found: Any = json.loads(build.model_dump_json())
    for step in place:
        found = found[step]
    if isinstance(value, bool | int | float | str) and isinstance(found, bool | int | float | str):
        assert isinstance(found, bool) == isinstance(value, bool) or isinstance(found, bool)
        if isinstance(value, int | float) and not isinstance(found, bool):
            assert found == value


@settings(SAME, max_examples=75)
@given(VALUES)
def test_any_tree_is_refused_in_words(tmp_path: Path, tree: Any) -> None:
    path = tmp_path / "build.yaml"
    path.write_text(yaml.dump(tree), encoding="utf-8")
    assert check(path) is None


SNIPPETS = st.sampled_from(
    ["&a", "*a", "<<: ", "? ", ": ", "- ", "[", "{", "}", "]", "!!int ", "!!bool ", "!!float ", "!!timestamp ",
     "!!python/name:os", "!!binary ",
     "!!set ", "!!omap ", "2001-99-99", "1:99:99", ".nan", ".inf", "0x", "0o9", "---\n", "...\n", "%YAML 9\n", "\t",
     "\\uD800", '"\\uD800"',
     "\0", "\ufeff", "|\n", ">\n", "'", '"', "#", "\n", "  ", "extends: ", "build.yaml", "9" * 5000, "1e999", "=", "~"]
)  # fmt: skip


@settings(SAME, max_examples=150)
@given(st.integers(0, len(TEXT)), st.integers(0, 40), st.lists(st.one_of(SNIPPETS, st.text(max_size=4)), max_size=4))
def test_damaged_text_is_refused_in_words(tmp_path: Path, start: int, cut: int, pieces: list[str]) -> None:
    path = tmp_path / "build.yaml"
    text = TEXT[:start] + "".join(pieces) + TEXT[start + cut :]
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    check(path)


@settings(SAME, max_examples=75)
@given(st.binary(max_size=60))
@example(b"\xff\xfe")
@example(b"a: !!int x")
@example(b"a: 2001-99-99")
@example(b"a: &b [*b]")
@example(b"[" * 3000)
def test_any_bytes_are_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "build.yaml"
    path.write_bytes(content)
    assert check(path) is None


@settings(SAME, max_examples=100)
@given(st.text(max_size=10), st.text(max_size=10), st.sampled_from(places(TREE)), VALUES)
def test_any_setting_is_refused_in_words(
    tmp_path: Path, key: str, text: str, place: tuple[str, ...], value: Any
) -> None:
    path = tmp_path / "build.yaml"
    path.write_text(TEXT)
    check(path, (f"{key}={text}",))
    check(path, (f"{'.'.join(place)}={yaml.dump(value, default_flow_style=True)}",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: 1\nseed: 2\n", r"is not YAML: the key 'seed' stands there twice"),
        ("extends: 3\n", r"'extends' needs the name of a file beside this one. Received: 3"),
        ("extends: build.yaml\n", r"'extends' leads back to a file that was read before. Received: 'build.yaml'"),
        ("extends: ../other/build.yaml\n", r"extends '../other/build.yaml', and there is no such file in /.*; give"),
        ("a: " + "[" * 40 + "]" * 40, r"is nested too deeply"),
        ("a: &b {c: *b}\n", r"build.yaml: the reference \*b leads into itself"),
        ("a: &b\n  <<: *b\n", r"build.yaml: the reference \*b leads into itself"),
        ("a: *b\n", r"is not YAML: found undefined alias"),
        ("a: &b {c: 1}\nd:\n  <<: *b\n  <<: *b\n", r"the key '<<' stands there twice"),
        ("a: !!int 016\n", r"a value needs no tag, write it plainly or in quotes. Received: 'tag:yaml.org,2002:int'"),
        ("a: !!binary aGk=\n", r"a value needs no tag, .*binary"),
        ("a: !!python/name:os.system\n", r"a value needs no tag, .*python"),
        ("a: 016\n", r"a number does not begin with 0, .* write 16 \(base 8: 0o...\).*Received: '016'"),
        ("a: -007\n", r"a number does not begin with 0, .* write 7 "),
        ("extends: /dev/zero\n", r"/dev/zero: is no regular file but a device, pipe or socket"),
        ("extends: .\n", r"is a folder; name a build file"),
        ("a: '" + "x" * 300_000 + "'\n", r"has more than 300000 bytes, and a build some thousand"),
        ("a: " + "9" * 5000, r"is not YAML: a value cannot be converted"),
    ],
)
def test_traps_of_yaml_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "build.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load(path)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.float.epochs=yes", r"'train.float.epochs': .*expected a number, not yes or no. Received: True"),
        ("train.float.epochs='3'", r"'train.float.epochs': .*expected a whole number. Received: '3'"),
        ("model.embed_widths=[8, 4.0]", r"'model.embed_widths': .*expected a whole number. Received: \[8, 4.0\]"),
        ("firmware.clock_ns=.inf", r"'firmware.clock_ns': .*finite number. Received: inf"),
        ("quant.weight='fixed<8,9,UP>'", r"'quant.weight': .*a format is spelt fixed<W,I> .* Received: 'fixed<8,9,UP"),
        ("quant.layers.embed0.wieght='fixed<8,9>'", r"unknown key 'quant.layers.embed0.wieght'; did you mean 'weight'"),
        ("quant.layers.embed0.accumulator='fixed<8,9>'", r"'quant.layers.embed0.accumulator'.*belongs to firmware.lay"),
        ("firmware.layers.embed0.weight='fixed<8,9>'", r"'firmware.layers.embed0.weight'.*belongs to quant.layers"),
        ("quant.layers.embed0={weight: fixed<8,2>}", r"quoted between braces"),
        ("seed=99999999999", r"'seed': .*less than 2147483648"),
        ("seed=016", r"--set seed: .*a number does not begin with 0.*Received: '016'"),
        ("data.num_particles=1:30", r"'data.num_particles': .*expected a whole number. Received: '1:30'"),
        ("data.num_particles=1e20", r"'data.num_particles': .*expected a whole number. Received: 1e\+20"),
        ("data.num_particles=100000000000000000000", r"'data.num_particles': .*less than or equal to 500000"),
        ("firmware.clock_ns=1:30.5", r"'firmware.clock_ns': .*expected a number as 12, 0.5 or 1e-3.*Rec.*'1:30.5'"),
        ("firmware.clock_ns='5'", r"'firmware.clock_ns': .*expected a number as 12, 0.5 or 1e-3.*Received: '5'"),
        ("data.dataset=no", r"'data.dataset': .*expected a text: yes, no, on, .* quote it. Received: False"),
        ("data.features=3", r"'data.features': .*expected a text: quote the number. Received: 3"),
        ("train.float.prune={sparsity: 0.5, granularity: 2:4}", None),
        ("train.float.learning_rate=1e-3", None),
    ],
)  # fmt: skip
def test_values_that_look_like_others_are_named(tmp_path: Path, setting: str, words: str | None) -> None:
    path = tmp_path / "build.yaml"
    path.write_text(TEXT)
    if words is None:  # as its author means it
        assert load(path, [setting]) is not None
        return
    with pytest.raises(ConfigError, match=words):
        load(path, [setting])


def test_a_tree_that_grows_without_end_stays_short(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 12)]
    path = tmp_path / "build.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(str(caught.value)) < 5000


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"b.yaml: 'extends' leads back to a file"):
        load(tmp_path / "a.yaml")


def test_texts_that_multiply_are_counted_before_they_are_built(tmp_path: Path) -> None:
    lines = ["m0: &m0 {a: 1}"]
    lines += [f"m{i}: &m{i}\n  <<: [{', '.join([f'*m{i - 1}'] * 9)}]" for i in range(1, 16)]
    path = tmp_path / "build.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"has more than 100000 keys and values with all references"):
        load(path)
    path.write_text("a0: &a0 x\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60)))
    with pytest.raises(ConfigError, match="is nested too deeply"):
        load(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"), ("2:4", "2:4"), ("1:30.5", "1:30.5"), ("190:20:30", "190:20:30"),
        ("0o17", 15), ("0x1f", 31), ("0b11", "0b11"), ("12", 12), ("-3", -3), ("+3", 3), ("0", 0), ("-0", 0),
        ("1_000", "1_000"), (".5e3", 500.0), ("1e-3", 0.001), ("1E3", 1000.0), ("3.", 3.0), ("-.5", -0.5),
        (".inf", float("inf")), ("-.inf", float("-inf")), ("yes", True), ("Off", False), ("y", "y"), ("true", True),
        ("2001-01-01", "2001-01-01"), ("2001-99-99", "2001-99-99"), ("~", None), ("", None), ("null", None),
        ("=", "="), ("!!str 016", "016"), ("'016'", "016"), ("1.5.2", "1.5.2"), ("016.5", 16.5),
    ],
)  # fmt: skip
def test_plain_values_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = parse_yaml(f"a: {text}\n", "f")["a"]
    assert (type(found), found) == (type(value), value)
    assert parse_yaml(to_yaml({"a": value}), "f") == {"a": value}


@given(st.text(max_size=6) | st.sampled_from(["1e3", "0o17", "016", "1:30", "yes", "1_0", "0x1", ".5", "<<", "~", "="]))
@settings(SAME, max_examples=100)
def test_a_text_that_is_written_is_read_as_a_text(text: str) -> None:
    assert parse_yaml(to_yaml({"a": text, text: 1}), "f") == {"a": text, text: 1}


def test_a_pipe_is_no_build_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match=r"pipe.yaml: is no regular file"):
        load(tmp_path / "pipe.yaml")


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert load(tmp_path / "build.yaml").name == "part_demo"


def test_a_long_chain_of_files_and_a_circle_by_another_name_are_refused(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"b{number}.yaml").write_text(f"extends: b{number + 1}.yaml\n")
    with pytest.raises(ConfigError, match=r"b16.yaml: 'extends' goes through more than 16 files"):
        load(tmp_path / "b0.yaml")
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    (tmp_path / "a.yaml").write_text("extends: link.yaml\n")
    with pytest.raises(ConfigError, match=r"a.yaml: 'extends' leads back to a file that was read before"):
        load(tmp_path / "a.yaml")
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    with pytest.raises(ConfigError, match=r"self.yaml: cannot be read"):
        load(tmp_path / "self.yaml")


@pytest.mark.parametrize("overrides", ["seed=3", 3, None])
def test_overrides_are_a_list(overrides: Any) -> None:
    with pytest.raises(ConfigError, match=r"overrides is a list of section.key=value. Received: "):
        load(CONFIGS / "part_demo.yaml", overrides)


def test_an_override_and_a_path_are_texts() -> None:
    with pytest.raises(ConfigError, match=r"--set needs section.key=value. Received: 3"):
        load(CONFIGS / "part_demo.yaml", [3])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"whose path is a text. Received: 3"):
        load(3)  # type: ignore[arg-type]


def test_merge_keys_still_work() -> None:
    assert parse_yaml("a: &x {b: 1}\nc:\n  <<: *x\n  b: 2\n", "f") == {"a": {"b": 1}, "c": {"b": 2}}
