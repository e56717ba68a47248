"""Every value of a build file is bounded: numbers have limits, texts say what they are made of, lists end."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError
from support.hostile import CONTROLS, HOSTILE
from support.paths import CONFIGS

from qformers.builds.build import Build, load
from qformers.config import layers, sections
from qformers.config.names import MAX_NAME, name_fault
from qformers.errors import ConfigError
from qformers.models import MODELS

RECORDS: tuple[type[BaseModel], ...] = (
    Build,
    sections.DataConfig, sections.LabelConfig, sections.PointsConfig, sections.QuantConfig, sections.PruneConfig,
    sections.PhaseConfig, sections.FirmwareConfig, layers.LayerFormats, layers.LayerFirmware,
    *(arch.config for arch in MODELS.values()),
)  # fmt: skip
PATHS = ("train", "val", "test", "cache", "lda", "files")  # keys that hold paths: any sign but control characters


def unbounded(schema: Mapping[str, Any], place: str) -> Iterator[str]:
    """Places of a JSON schema where a value has no end."""
    for key, part in schema.get("properties", {}).items():
        yield from unbounded(part, f"{place}.{key}")
    for name, part in schema.get("$defs", {}).items():
        yield from unbounded(part, f"{place}({name})")
    for part in (*schema.get("anyOf", ()), *schema.get("prefixItems", ())):
        yield from unbounded(part, place)
    if "enum" in schema or "const" in schema:
        return
    kind = schema.get("type")
    if kind in ("integer", "number"):
        if not {"maximum", "exclusiveMaximum"} & set(schema):
            yield f"{place}: no largest value"
        if not {"minimum", "exclusiveMinimum"} & set(schema):
            yield f"{place}: no smallest value"
    if kind == "string" and "maxLength" not in schema:
        yield f"{place}: no longest text"
    if kind == "array":
        if "maxItems" not in schema:
            yield f"{place}: no longest list"
        yield from unbounded(schema.get("items") if isinstance(schema.get("items"), dict) else {}, f"{place}[]")
    if kind == "object" and "additionalProperties" in schema and schema["additionalProperties"] is not False:
        if "maxProperties" not in schema:
            yield f"{place}: no largest mapping"
        names = schema.get("propertyNames", {})
        if "pattern" not in names or "maxLength" not in names:
            yield f"{place}: names are any text"
        yield from unbounded(schema["additionalProperties"], f"{place}{{}}")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_of_the_schema_is_bounded(record: type[BaseModel]) -> None:
    assert list(unbounded(record.model_json_schema(), record.__name__)) == []


def test_a_field_without_a_bound_is_found() -> None:
    class Loose(BaseModel):
        """Fields as they should not be."""

        whole: int
        part: float | None
        text: str
        items: tuple[int, ...]
        table: Mapping[str, float]

    found = list(unbounded(Loose.model_json_schema(), "Loose"))
    assert {place.split(":")[0].split(".")[1].rstrip("[]{}") for place in found} == set(Loose.model_fields)
    assert len(found) == 12  # two for each number, one for each text, list, mapping and its names


TUNED = {"start": "a.keras", "new_layers": ["logits"], "new_layers_rate": 50.0, "frozen_layers": ["embed0"]}
FULL = {
    "spec": 1, "name": "full", "seed": 1,
    "data": {
        "dataset": "trackml", "train": ["a"], "val": ["a"], "test": ["a"], "features": "hits", "num_particles": 8,
        "classes": ["a"], "padding": "zero", "max_jets": 9, "cache": "c", "shuffle_jets": 9,
        "labels": [{"name": "a", "branch": "b", "values": [5], "files": ["c*"]}],
        "points": {**json.loads(sections.PointsConfig(eta_edges=(0.0, 1.0), lda="l").model_dump_json())},
    },
    "quant": {
        **json.loads(sections.QuantConfig().model_dump_json()),
        "layers": {"embed0": {"weight": "fixed<8,2>", "input": "fixed<8,2>"}},
        "types": {"QAdd": {"input": "fixed<8,2>"}},
    },
    "train": {
        phase: {
            **json.loads(sections.PhaseConfig(jets_per_epoch=9, clip_norm=1.0, ebops_target=1.0).model_dump_json()),
            "ebops_arrival": 0.5, "micro_batch": 64, **(TUNED if phase == "float" else {}),
            "prune": {**json.loads(sections.PruneConfig(sparsity=0.5).model_dump_json()), "layers": {"embed0": 0.5}},
        }
        for phase in ("float", "qat")
    },
    "firmware": {
        **json.loads(sections.FirmwareConfig(stage_ns=1.0).model_dump_json()),
        "layers": {"embed0": {"accumulator": "fixed<8,2>", "reuse_factor": 2, "strategy": "latency"}},
        "types": {"QAdd": {"parallelisation_factor": 2}},
    },
}  # fmt: skip
MODEL_SECTIONS = {
    name: json.loads(arch.config().model_dump_json()) | {"fc_widths": [4], "embeddings": [[11, 1]]}
    for name, arch in MODELS.items()
}


def builds() -> Iterator[dict[str, Any]]:
    """A build of every architecture in which every key is said."""
    for name, model in MODEL_SECTIONS.items():
        known = MODELS[name].config.model_fields
        model = {key: value for key, value in model.items() if key in known}
        if "coord_scales" in known:
            model["coord_scales"] = [1.0] * model["coords"]
        fewest = max(MODELS[name].particles(MODELS[name].config())[0], FULL["data"]["num_particles"])
        yield {**FULL, "data": {**FULL["data"], "num_particles": fewest}, "model": model}


def leaves(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Places of plain values, and of names that a build chooses itself."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*place, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from leaves(value, (*place, index))
    else:
        yield place, tree


def changed(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of the tree with another value at a place."""
    if not place:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[place[0]] = changed(tree[place[0]], place[1:], value)
    return copy


def accepted(tree: Any) -> Build | None:
    """The build, or None where it is refused."""
    try:
        return Build.model_validate(tree)
    except ValueError:
        return None


def test_builds_that_say_everything_are_sound() -> None:
    said: set[tuple[Any, ...]] = set()
    for tree in builds():
        assert accepted(tree) is not None, Build.model_validate(tree)
        said |= {place[:3] for place, _ in leaves(tree)}
    assert ("data", "points", "lda") in said
    assert set(sections.PruneConfig.model_fields) <= {key[3] for key, _ in leaves(FULL) if key[2:3] == ("prune",)}


def refused(tree: Any) -> set[tuple[Any, ...]]:
    """The places that a build is refused for."""
    try:
        Build.model_validate(tree)
    except ValidationError as error:
        return {tuple(item["loc"]) for item in error.errors()}
    return set()


def everywhere(tree: Any, value: Any, places: list[tuple[Any, ...]]) -> Any:
    """The tree with one value at all these places."""
    for place in places:
        tree = changed(tree, place, value)
    return tree


def test_hostile_texts_are_refused_at_every_place_but_paths() -> None:
    tried = 0
    for tree in builds():
        places = [place for place, _ in leaves(tree) if place != ("model", "architecture")]
        assert accepted(changed(tree, ("model", "architecture"), HOSTILE[0])) is None
        for text in HOSTILE:
            found = refused(everywhere(tree, text, places))
            for place in places:
                tried += 1
                named = (place[0] == "data" and {*PATHS} & {*place}) or place[-2:] == ("float", "start")
                path = named and not any(sign in text for sign in CONTROLS)
                is_refused = any(place[:length] in found for length in range(1, len(place) + 1))
                assert is_refused != bool(path and 0 < len(text) <= 4096), (place, text)
    assert tried > 5000


def test_hostile_names_of_layers_and_types_are_refused() -> None:
    tree = next(builds())
    for text in HOSTILE:
        for section, key, entry in (
            ("quant", "layers", {"input": "fixed<8,2>"}), ("quant", "types", {"input": "fixed<8,2>"}),
            ("firmware", "layers", {"reuse_factor": 2}), ("firmware", "types", {"reuse_factor": 2}),
        ):  # fmt: skip
            assert accepted({**tree, section: {**tree[section], key: {text: entry}}}) is None, (section, key, text)
        assert accepted(changed(tree, ("train", "qat", "prune", "layers"), {text: 0.5})) is None


@pytest.mark.parametrize("value", [10**20, -(10**20), 10**400, 1e300, -1e300, float("inf"), float("nan"), 5e-324])
def test_numbers_without_sense_are_refused(value: float) -> None:
    for tree in builds():
        numbers = [(place, old) for place, old in leaves(tree) if isinstance(old, int | float) and old is not True]
        numbers = [(place, old) for place, old in numbers if old is not False]
        if value == 5e-324:  # the smallest number above 0 is a rate like another, and no time
            numbers = [(place, old) for place, old in numbers if isinstance(old, int) or "_ns" in str(place[-1])]
        found = refused(everywhere(tree, value, [place for place, _ in numbers]))
        for place, _ in numbers:
            assert any(place[:length] in found for length in range(1, len(place) + 1)), place


def test_lists_without_end_are_refused() -> None:
    for tree in builds():
        for place, old in leaves(tree):
            if isinstance(place[-1], int):
                assert accepted(changed(tree, place[:-1], [old] * 20_000)) is None, place


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("int", "is a word of C\\+\\+"), ("main", "is a word of C\\+\\+"), ("and", "is a word of"),
        ("std", "is a word of VHDL|is a name of the C\\+\\+ library"), ("nnet", "is a name of the C\\+\\+ library"),
        ("exp", "is a name of the C\\+\\+ library"), ("module", "is a word of"), ("reg", "is a word of Verilog"),
        ("wire", "is a word of Verilog"), ("logic", "is a word of Verilog"), ("input", "is a word of Verilog"),
        ("signal", "is a"), ("entity", "is a word of VHDL"), ("shift_adder", "is a name in generated code"),
        ("logic0", "is a name in generated code"), ("features", "is a name in generated code"),
        ("result_t", "is a name in generated code"), ("w2", "is a name in generated code"),
        ("layer3_out", "is a name in generated code"), ("int8_t", "is a type of C\\+\\+"),
        ("ap_fixed", "is a name"), ("x" * 65, "at most 64 characters"), ("a;b", "match pattern"), ("Abc", "match"),
        ("a\n", "match pattern"), ("", "match pattern"), ("../x", "match pattern"), ("_x", "match pattern"),
    ],
)  # fmt: skip
def test_names_that_mean_something_are_refused(name: str, words: str, tmp_path: Path) -> None:
    tree = yaml.safe_load((CONFIGS / "part_demo.yaml").read_text())
    (tmp_path / "build.yaml").write_text(yaml.safe_dump({**tree, "name": name}))
    with pytest.raises(ConfigError, match=rf"(?s)build.yaml: 'name': .*(?:{words}).*Received: "):
        load(tmp_path / "build.yaml")


def test_names_of_generated_modules_and_model_inputs_are_known() -> None:
    spec = importlib.util.find_spec("alkaid")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "codegen/rtl/verilog/source"
    modules = [path.stem for path in folder.glob("*.v")]
    assert len(modules) >= 6
    source = "".join(path.read_text() for path in (CONFIGS.parent / "qformers/models").rglob("*.py"))
    inputs = {part.partition('"')[0] for part in source.split('nn.input("')[1:]}
    assert {"features", "mask", "order"} <= inputs
    assert [name for name in (*modules, *inputs, "logits") if name_fault(name) is None] == []
    assert [path.stem for path in CONFIGS.glob("*.yaml") if name_fault(path.stem) or len(path.stem) > MAX_NAME] == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.num_particles=1"], "'data.num_particles': this model takes 2 to 128 particles. Received: 1"),
        (["data.num_particles=129"], "'data.num_particles': this model takes 2 to 128 particles. Received: 129"),
        (["model.pairs=none", "data.num_particles=2000"], "this model takes 1 to 1024 particles. Received: 2000"),
        (["data.num_particles=1000000"], "'data.num_particles': .*less than or equal to 500000"),
        (["model.blocks=1000000"], "'model.blocks': .*less than or equal to 256"),
        (["model.embed_widths=[]"], "embed_widths needs at least the model width"),
        (["model.embed_widths=[1000000000]"], "'model.embed_widths.0': .*less than or equal to 4096"),
        (["quant=null"], "train.qat asks for a quantised phase, and 'quant' is missing or empty: give its keys"),
        (["firmware.part='xcvu13p; touch PWNED'"], "'firmware.part': .*match pattern.*Received: .xcvu13p; touch"),
        (["firmware.part='[exec touch PWNED]'"], "'firmware.part': .*match pattern"),
        (["firmware.clock_ns=1e-9"], "'firmware.clock_ns': .*greater than or equal to 0.01"),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"part_demo.yaml: .*{words}"):
        load(CONFIGS / "part_demo.yaml", settings)


def test_an_empty_quant_is_meant_where_there_is_no_quantised_phase() -> None:
    assert load(CONFIGS / "part_demo.yaml", ["quant=null", "train.qat=null"]).quant is None
    assert load(CONFIGS / "part_demo.yaml", ["quant={}"]).quant is not None
    assert load(CONFIGS / "part_demo.yaml", ["model.pairs=none", "data.num_particles=1"]).data.num_particles == 1
