"""The base of every record that a build file spells: immutable, and nothing unknown gets in."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


def _plain(annotation: Any) -> set[Any]:
    """The plain types that a field can hold, whatever stands around them."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        parts = parts[:1]
    return set().union(*map(_plain, parts)) if parts else {annotation}


class Section(BaseModel):
    """Base of all parts of a build: immutable, and nothing unknown gets in."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`epochs: yes` would train for one epoch, and `epochs: "3"` is a text."""
        numeric = _plain(cls.model_fields[str(info.field_name)].annotation) & {int, float}
        parts = value if isinstance(value, list | tuple) else [value]
        if numeric and any(isinstance(part, bool) for part in parts):
            raise ValueError("expected a number, not yes or no")
        if numeric == {int} and any(isinstance(part, str | float) for part in parts):
            raise ValueError("expected a whole number")
        return value


DEFAULT_ARCHITECTURE = "part"


def architecture_of(section: Any) -> Any:
    """The value of `architecture` in a model section, read or not yet."""
    if isinstance(section, dict):
        return section.get("architecture", DEFAULT_ARCHITECTURE)
    return getattr(section, "architecture", None)
