"""Build files: validation, inheritance, messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from qformers.config import ConfigError, load

CONFIGS = sorted((Path(__file__).parents[1] / "firmware_configs").glob("*.yaml"))

SMALL = """
spec: 1
name: tiny
data: {dataset: jetclass, train: [a.root], val: [b.root], test: [c.root], features: kin, num_particles: 4}
model: {embed_widths: [8], heads: 2}
"""


@pytest.fixture
def build_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_build_in_the_repository_is_valid_and_round_trips(path: Path, tmp_path: Path) -> None:
    build = load(path)
    assert build.name == path.stem
    (tmp_path / "again.yaml").write_text(build.to_yaml())
    assert load(tmp_path / "again.yaml") == build
    assert load(tmp_path / "again.yaml").hash == build.hash


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("num_particles", "num_particels", r"unknown key 'data.num_particels'; did you mean 'num_particles'\?"),
        ("heads: 2", "haeds: 2", r"unknown key 'model.haeds'; did you mean 'heads'\?"),
        ("heads: 2", "heads: 3", r"heads must divide the model width 8. Received: heads=3"),
        ("heads: 2", "heads: 2, head: mean", r"head: mean goes with class_blocks: 0.*class_blocks=2"),
        ("name: tiny\n", "", r"key 'name' is missing"),
        ("name: tiny", "name: 1st", r"'name': .*Received: '1st'"),
        ("spec: 1", "spec: 2", r"'spec': .*Received: 2"),
        ("num_particles: 4", "num_particles: 0", r"'data.num_particles': .*greater than 0. Received: 0"),
        ("spec: 1", "spec: [", r"is not YAML"),
    ],
)
def test_mistakes_are_named(build_file: Path, old: str, new: str, words: str) -> None:
    build_file.write_text(SMALL.replace(old, new))
    with pytest.raises(ConfigError, match=words) as caught:
        load(build_file)
    assert str(build_file) in str(caught.value)


def test_a_build_extends_another(build_file: Path) -> None:
    child = build_file.with_name("child.yaml")
    child.write_text("extends: tiny.yaml\nname: child\ndata: {num_particles: 8}\n")
    build = load(child)
    assert (build.name, build.data.num_particles, build.data.features, build.model.heads) == ("child", 8, "kin", 2)


def test_settings_from_the_command_line_come_last(build_file: Path) -> None:
    build = load(build_file, ["data.num_particles=6", "model.pairs=none", "train.float.learning_rate=1.0e-4"])
    assert (build.data.num_particles, build.model.pairs, build.train.float.learning_rate) == (6, "none", 1e-4)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.num_particles", "--set needs section.key=value. Received: 'data.num_particles'"),
        ("data.train=[a?", r"--set data.train: the value is not YAML"),
        ("model.hedas=2", "unknown key 'model.hedas'; did you mean 'heads'"),
    ],
)
def test_wrong_settings_are_named(build_file: Path, setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(build_file, [setting])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no.yaml: cannot be read .* builds are in firmware_configs/"):
        load(tmp_path / "no.yaml")


def test_a_list_at_the_top_is_refused(build_file: Path) -> None:
    build_file.write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"expected keys and values at the top\. Received: list"):
        load(build_file)
