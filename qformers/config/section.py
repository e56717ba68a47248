"""The base of every record that a build file spells: immutable, and nothing unknown gets in."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

# Numbers. Each has an upper bound, far above what is of use and far below what hangs or fills the memory.
Width = Annotated[int, Field(gt=0, le=4096)]  # of a layer
Widths = Annotated[tuple[Width, ...], Field(max_length=32)]  # of layers that follow each other
Few = Annotated[int, Field(gt=0, le=256)]  # blocks, heads, hashes
Count = Annotated[int, Field(gt=0, le=10**12)]  # events
Many = Annotated[int, Field(gt=0, le=10**9)]  # of what stands in memory at a time
Epochs = Annotated[int, Field(ge=0, le=100_000)]
Factor = Annotated[float, Field(gt=0, le=1e6)]
Rate = Annotated[float, Field(ge=0, le=1e6)]
Nanoseconds = Annotated[float, Field(ge=0.01, le=100_000)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Scales = Annotated[tuple[Annotated[float, Field(ge=-1e9, le=1e9)], ...], Field(max_length=256)]  # see `are_scales`

# Texts. They reach C++, Verilog, Tcl, pages and file systems, so that each kind says what it may be made of.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=64)]  # name of something registered
FilePath = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=4096)]  # of a file or folder, or a glob
Files = Annotated[tuple[FilePath, ...], Field(max_length=10_000)]
Part = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]  # a device
LayerGlob = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*?!\[\]-]+$", max_length=128)]  # name of a layer, or a glob
LayerType = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]  # its class
MAX_ENTRIES = 10_000  # of a mapping


def _plain(annotation: Any) -> set[Any]:
    """The plain types that a field can hold, whatever stands around them."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        parts = parts[:1]
    if get_origin(annotation) is Literal:
        return {type(part) for part in parts}
    return set().union(*map(_plain, parts)) if parts else {annotation}


class Section(BaseModel):
    """Base of all parts of a build: immutable, and nothing unknown gets in."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`epochs: yes` would train for one epoch, and `epochs: "3"` is a text."""
        plain = _plain(cls.model_fields[str(info.field_name)].annotation)
        numeric = plain & {int, float}
        parts = value if isinstance(value, list | tuple) else [value]
        if numeric and any(isinstance(part, bool) for part in parts):
            raise ValueError("expected a number, not yes or no")
        if numeric == {int} and any(isinstance(part, str | float) for part in parts):
            raise ValueError("expected a whole number")
        if numeric and str not in plain and any(isinstance(part, str) for part in parts):
            raise ValueError("expected a number as 12, 0.5 or 1e-3, without quotes")
        if str in plain and bool not in plain and any(isinstance(part, bool) for part in parts):
            raise ValueError("expected a text: yes, no, on, off, true and false are none, quote it")
        if plain - {type(None)} == {str} and any(isinstance(part, int | float) for part in parts):
            raise ValueError("expected a text: quote the number")
        return value


def are_scales(scales: tuple[float, ...]) -> bool:
    """Whether these are powers of two or 0, not all 0."""
    return any(scales) and all(scale == 0 or math.frexp(scale)[0] == 0.5 for scale in scales)


DEFAULT_ARCHITECTURE = "part"


def architecture_of(section: Any) -> Any:
    """The value of `architecture` in a model section, read or not yet."""
    if isinstance(section, dict):
        return section.get("architecture", DEFAULT_ARCHITECTURE)
    return getattr(section, "architecture", None)
