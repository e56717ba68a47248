"""What a build is: one YAML file spells one frozen `Build`.

An unknown key is refused with the nearest known name, so that a typing error never trains the wrong model. The record
stands above the architectures, since its model section is any of `qformers.models.MODELS`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from qformers.config.files import onto, override, read_tree
from qformers.config.names import MAX_NAME, name_fault
from qformers.config.section import DEFAULT_ARCHITECTURE, Section, architecture_of
from qformers.config.sections import DataConfig, FirmwareConfig, QuantConfig, TrainConfig
from qformers.config.yaml_text import to_yaml
from qformers.errors import ConfigError, nearest, shown
from qformers.models import MODELS, arch_of
from qformers.models.arch import any_number
from qformers.precision.slots import FIRMWARE, TRAINED


def _model_section(value: Any) -> Section:
    """The record of the architecture that a model section names; its faults join those of the build."""
    if isinstance(value, Section):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError("no_section", "needs keys and values")
    name = value.get("architecture", DEFAULT_ARCHITECTURE)
    arch = arch_of(name) if isinstance(name, str) else None
    if arch is None:
        tag = name if isinstance(name, str) else shown(name)
        raise PydanticCustomError("unknown_architecture", "unknown architecture", {"tag": tag})
    return arch.config.model_validate(value)


MOST_PLACES = 3  # of a key that are named where it stands in the wrong one
_UNIONS = (Union, UnionType)

ModelConfig = SerializeAsAny[Annotated[Section, BeforeValidator(_model_section)]]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=MAX_NAME)]


class Build(Section):
    """One build: data, model, precision, training and firmware."""

    spec: Literal[1]  # version of this schema
    name: Name  # names the run folder and the C++ top function
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1  # of weights, shuffling and dropout
    data: DataConfig  # events
    model: ModelConfig  # its key `architecture` says whose record it is
    quant: QuantConfig | None = None  # None = a float build only
    train: TrainConfig = TrainConfig()  # float, then quantised (qat)
    firmware: FirmwareConfig = FirmwareConfig()  # backend, device, clock

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        """A name that means nothing in the languages that firmware is written in."""
        fault = name_fault(name)
        if fault:
            raise ValueError(f"is {fault}; choose another name, e.g. {name[:40]}_build. Received: {shown(name)}")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.quant is None and self.train.qat is not None:
            raise ValueError(
                "train.qat asks for a quantised phase, and 'quant' is missing or empty: give its keys (quant: {} takes "
                "the defaults), or set train.qat: null. Received: quant=None"
            )
        arch = arch_of(architecture_of(self.model))
        fewest, most = any_number(self.model) if arch is None else arch.particles(self.model)
        if not fewest <= self.data.num_particles <= most:
            raise ValueError(
                f"'data.num_particles': this model takes {fewest} to {most} particles. "
                f"Received: {self.data.num_particles}"
            )
        return self

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the resolved build."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def to_yaml(self) -> str:
        """The resolved build, every default written out; `load` reads it back equal."""
        return to_yaml(json.loads(self.model_dump_json()))


def _fields_at(location: tuple[int | str, ...], tree: Mapping[str, Any]) -> list[str]:
    """Names accepted at a place of the schema, for the nearest-name hint; below `model` those of its architecture."""
    model: Any = Build
    for step in location:
        if model is Build and step == "model":
            arch = arch_of(architecture_of(tree["model"]))
            model = None if arch is None else arch.config
            continue
        if step not in getattr(model, "model_fields", {}):
            break
        annotation = model.model_fields[str(step)].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        sections = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
        model = sections[0] if len(sections) == 1 else None
    return list(model.model_fields) if model is not None else []


def _elsewhere(location: tuple[int | str, ...]) -> str:
    """Where a key about a layer belongs, when it stands in the wrong one of the two sections."""
    for section, keys in (("firmware", FIRMWARE), ("quant", TRAINED)):
        if location[-1] in keys and location[1:2] in (("layers",), ("types",)) and location[0] != section:
            return f"; it belongs to {section}.{location[1]}"
    return ""


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The records that a field may hold itself; those in its lists and mappings have no place that can be named."""
    options = [annotation, *(getattr(annotation, "__args__", ()) if get_origin(annotation) in _UNIONS else ())]
    return [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]


def _places(key: str, tree: Mapping[str, Any], record: type[BaseModel] | None = None, above: str = "") -> list[str]:
    """Where a key of this name is known, e.g. "data.labels"; of the section `model` as its architecture has it."""
    record, places = record or Build, []
    for name, field in record.model_fields.items():
        if name == key:
            places.append(f"{above}{name}")
        own = _architecture(tree) if record is Build and name == "model" else None
        for section in [own] if own is not None else _sections(field.annotation):
            places += _places(key, tree, section, f"{above}{name}.")
    return places


def _architecture(tree: Mapping[str, Any]) -> type[BaseModel] | None:
    """The record of the section `model`, where it names an architecture that is known."""
    name = architecture_of(tree.get("model", {}))
    arch = arch_of(name) if isinstance(name, str) else None
    return None if arch is None else arch.config


def _hint(location: tuple[int | str, ...], tree: Mapping[str, Any]) -> str:
    """What was meant by a key that is unknown at its place: the same key elsewhere, or the nearest one there."""
    key = str(location[-1])
    places = _places(key, tree)
    if 0 < len(places) <= MOST_PLACES:
        return f"; did you mean {' or '.join(repr(place) for place in places)}?"
    return nearest(key, _fields_at(location[:-1], tree))


def _explain(path: Path | str, error: ValidationError, tree: Mapping[str, Any]) -> str:
    lines = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            hint = _elsewhere(item["loc"]) or _hint(item["loc"], tree)
            lines.append(f"{path}: unknown key '{place}'{hint}")
        elif item["type"] == "missing":
            lines.append(f"{path}: key '{place}' is missing")
        elif item["type"] == "unknown_architecture":
            tag = item["ctx"]["tag"]
            lines.append(f"{path}: '{place}.architecture': unknown architecture '{tag}'{nearest(tag, MODELS)}")
        elif item["type"] == "no_section":
            lines.append(f"{path}: '{place}' needs keys and values. Received: {shown(item['input'])}")
        else:
            text = item["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
            received = "" if "Received: " in text else f". Received: {shown(item['input'])}"
            lines.append(f"{path}: '{place}': {text}{received}" if place else f"{path}: {text}{received}")
    return "\n".join(lines)


def load(path: Path | str, overrides: Iterable[str] = ()) -> Build:
    """Read and validate a build file.

    Args:
        path: a YAML file; its key ``extends: other.yaml`` takes over another build and changes parts of it.
        overrides: ``section.key=value`` strings, values in YAML, applied last.

    Raises:
        ConfigError: unreadable file, unknown key (with the nearest known one), wrong value, missing key.
    """
    if not isinstance(path, str | Path):
        raise ConfigError(f"a build is read from a file, whose path is a text. Received: {shown(path)}")
    if isinstance(overrides, str) or not isinstance(overrides, Iterable):
        raise ConfigError(f"overrides is a list of section.key=value. Received: {shown(overrides)}")
    tree = read_tree(Path(path))
    for text in overrides:
        tree = onto(tree, override(text))
    return checked(tree, path)


def checked(tree: Mapping[str, Any], path: Path | str) -> Build:
    """The build that nested keys and values spell.

    Args:
        tree: as a build file has them.
        path: named in messages.

    Raises:
        ConfigError: unknown key, wrong value, missing key.
    """
    try:
        return Build.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(path, error, tree)) from error
