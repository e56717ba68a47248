"""Build files: validation, inheritance, messages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from support.battery import FLOAT_ONLY
from support.paths import CONFIGS

from qformers.builds.build import load
from qformers.config.layers import LayerFirmware, LayerFormats
from qformers.errors import ConfigError
from qformers.models import MODELS
from qformers.models.deepsets import DeepSetsConfig
from qformers.models.part.config import PartConfig
from qformers.precision.slots import FIRMWARE, TRAINED

BUILDS = sorted(CONFIGS.glob("*.yaml"))

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


@pytest.mark.parametrize("path", BUILDS, ids=lambda path: path.stem)
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
        ("spec: 1", "spec: 1\nlabels: [a, b]", r"unknown key 'labels'; did you mean 'data.labels'\?"),
        (
            "spec: 1",
            "spec: 1\nepochs: 3",
            r"unknown key 'epochs'; did you mean 'train.float.epochs' or 'train.q",
        ),
        ("heads: 2", "heads: 2, num_particles: 3", r"unknown key 'model.num_particles'; did you mean 'data.num_part"),
        ("num_particles", "heads: 2, num_particles", r"unknown key 'data.heads'; did you mean 'model.heads'\?"),
        ("num_particles", "seed: 2, num_particles", r"unknown key 'data.seed'; did you mean 'seed'\?"),
        (
            "spec: 1",
            "spec: 1\nlayers: {}",
            r"unknown key 'layers'; choose one of data, firmware",
        ),  # of too many sections
        ("model: {", "labels: [a]\nmodel: {architecture: [x], ", r"unknown key 'labels'; did you mean 'data.labels'"),
        ("heads: 2", "haeds: 2", r"unknown key 'model.haeds'; did you mean 'heads'\?"),
        ("heads: 2", "heads: 3", r"heads must divide the model width 8. Received: heads=3"),
        ("embed_widths: [8]", "embed_widths: []", r"embed_widths needs at least the model width. Rec"),
        ("heads: 2", "heads: 2, head: mean", r"head: mean goes with class_blocks: 0.*class_blocks=2"),
        ("name: tiny\n", "", r"key 'name' is missing"),
        ("name: tiny", "name: 1st", r"'name': .*Received: '1st'"),
        ("spec: 1", "spec: 2", r"'spec': .*Received: 2"),
        ("num_particles: 4", "num_particles: 0", r"'data.num_particles': .*greater than 0. Received: 0"),
        ("spec: 1", "spec: [", r"is not YAML"),
        ("model: {", "model: {architecture: deepset, ", r"'model.architecture': unknown architecture 'deepset'; did"),
        ("model: {", "model: {architecture: mixer, ", r"unknown key 'model.embed_widths'; did you mean 'feature_w"),
        ("model: {embed_widths: [8], heads: 2}", "model: 3", r"'model' needs keys and values. Received: 3"),
    ],
)
def test_mistakes_are_named(build_file: Path, old: str, new: str, words: str) -> None:
    build_file.write_text(SMALL.replace(old, new))
    with pytest.raises(ConfigError, match=words) as caught:
        load(build_file)
    assert str(build_file) in str(caught.value)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("architecture: deepsets, ro_widths: [4]", r"unknown key 'model.ro_widths'; did you mean 'rho_widths'\?"),
        ("architecture: jedi_linear, edge_width: 0", r"'model.edge_width': .*greater than 0. Received: 0"),
        ("architecture: mixer, head: flatten, fc_widths: []", r"head: flatten needs a layer of its own. Received: fc_"),
        ("architecture: transformer, fc_widths: []", r"pool: flatten needs a layer of its own. Received: fc_"),
        ("architecture: transformer, embed_widths: []", r"embed_widths needs at least the model width. Rec"),
        ("architecture: transformer, pairs: onchip", r"unknown key 'model.pairs'"),
    ],
)
def test_mistakes_in_other_architectures_are_named(build_file: Path, model: str, words: str) -> None:
    build_file.write_text(SMALL.replace("embed_widths: [8], heads: 2", model))
    with pytest.raises(ConfigError, match=words):
        load(build_file)


def test_a_model_without_architecture_is_part_and_hashes_as_before(build_file: Path) -> None:
    assert load(build_file).model == PartConfig(embed_widths=(8,), heads=2)
    model = load(BUILDS[0].parent / "part_jets16.yaml").model
    text = json.dumps(json.loads(model.model_dump_json()))
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "2be684a35f21"  # as before there was a second one


def test_what_a_build_does_not_say_about_layers_is_not_dumped(build_file: Path) -> None:
    build = load(build_file, ["quant.learn=false"])
    assert "types" not in build.to_yaml()  # runs that were finished before there were types have the same settings
    firmware = {"backend", "part", "clock_ns", "strategy", "reuse_factor", "flavour", "stage_ns"}
    assert set(json.loads(build.model_dump_json())["firmware"]) == firmware
    said = load(build_file, ["quant.layers={embed0: {activation: 'fixed<8,3>'}}", "firmware.types.QAdd={}"])
    assert json.loads(said.model_dump_json())["quant"]["layers"] == {"embed0": {"activation": "fixed<8,3>"}}
    assert json.loads(said.model_dump_json())["firmware"]["types"] == {"QAdd": {}}
    assert said.quant is not None
    assert said.quant.layers["embed0"].items() == {"input": "fixed<8,3>"}


def test_input_and_activation_are_one_word(build_file: Path) -> None:
    both = "quant.layers={embed0: {activation: 'fixed<8,3>', input: 'fixed<8,4>'}}"
    with pytest.raises(
        ConfigError, match=r"'quant.layers.embed0': .*two words for one format, leave one out. Received"
    ):
        load(build_file, [both])


def test_every_architecture_says_its_own_name() -> None:
    for name, arch in MODELS.items():
        assert arch.config().model_dump()["architecture"] == name
        assert {form.architecture for form in arch.forms.values()} == {name} - FLOAT_ONLY


def test_another_architecture_takes_over_everything_but_the_model(build_file: Path) -> None:
    child = build_file.with_name("child.yaml")
    child.write_text("extends: tiny.yaml\nname: child\nmodel: {architecture: deepsets, rho_widths: [4]}\n")
    build, parent = load(child), load(build_file)
    assert build.model == DeepSetsConfig(rho_widths=(4,))
    assert (build.data, build.train, build.quant) == (parent.data, parent.train, parent.quant)
    assert load(child, ["model.pool=sum"]).model == DeepSetsConfig(rho_widths=(4,), pool="sum")
    assert load(child, ["model.architecture=part"]).model == PartConfig()


def test_a_build_extends_another(build_file: Path) -> None:
    child = build_file.with_name("child.yaml")
    child.write_text("extends: tiny.yaml\nname: child\ndata: {num_particles: 8}\n")
    build = load(child)
    assert (build.name, build.data.num_particles, build.data.features) == ("child", 8, "kin")
    assert build.model == PartConfig(embed_widths=(8,), heads=2)


def test_settings_from_the_command_line_come_last(build_file: Path) -> None:
    build = load(build_file, ["data.num_particles=6", "model.pairs=none", "train.float.learning_rate=1.0e-4"])
    assert (build.data.num_particles, build.train.float.learning_rate) == (6, 1e-4)
    assert build.model == PartConfig(embed_widths=(8,), heads=2, pairs="none")


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


def test_every_slot_of_a_layer_is_a_key_of_build_files() -> None:
    assert tuple(slot for slot in LayerFormats.model_fields if slot != "activation") == TRAINED
    assert tuple(LayerFirmware.model_fields) == FIRMWARE
