"""What a build file can say about one layer, or all layers of one type: its formats, and how firmware computes it.

`LayerFormats` stands in ``quant.types`` and ``quant.layers`` and belongs to the trained model, `LayerFirmware` stands
in ``firmware.types`` and ``firmware.layers`` and may change without a new training. A key that is left out is not
dumped, so that a build that says nothing about its layers has the hash that it always had.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from qformers.config.files import override
from qformers.config.section import MAX_ENTRIES, Section
from qformers.errors import ConfigError, nearest, shown
from qformers.precision.fixed import Fixed
from qformers.precision.qkeras.formats import fixed_text, is_qkeras


def _is_format(text: str) -> str:
    return _translated(text, weight=False)


def _is_weight_format(text: str) -> str:
    return _translated(text, weight=True)


def _translated(text: str, weight: bool) -> str:
    """The format as written, or that of a QKeras quantiser: ``quantized_relu(6, 2)`` is ``ufixed<6,2,RND_CONV>``."""
    if is_qkeras(text):
        return fixed_text(text, weight)
    Fixed.parse(text)
    return text


def _absent(value: Any) -> bool:
    return value is None


def mapping() -> Any:
    """Default of a mapping that is empty where the build file does not speak of it."""
    return Field(default_factory=dict, max_length=MAX_ENTRIES)


def unsaid() -> Any:
    """Default of a mapping that is not dumped while it is empty, which is when the build file does not speak of it."""
    return Field(default_factory=dict, exclude_if=lambda mapping: not mapping, max_length=MAX_ENTRIES)


Format = Annotated[
    str, Field(max_length=200), AfterValidator(_is_format)
]  # as written; RND and SAT where it has no such word
WeightFormat = Annotated[str, Field(max_length=200), AfterValidator(_is_weight_format)]
MaybeFormat = Annotated[Format | None, Field(exclude_if=_absent)]
MaybeWeightFormat = Annotated[WeightFormat | None, Field(exclude_if=_absent)]
MaybePositive = Annotated[int | None, Field(gt=0, le=65536, exclude_if=_absent)]

STRATEGIES = ("latency", "resource")


class LayerFormats(Section):
    """Formats of a layer; learned ones start here."""

    weight: MaybeWeightFormat = None  # of the kernel
    bias: MaybeFormat = None  # of the bias
    input: MaybeFormat = None  # of the value that the layer reads, rounded by the layer
    input0: MaybeFormat = None  # of the first of two values that the layer reads
    input1: MaybeFormat = None  # of the second one
    result: MaybeFormat = None  # of the value that leaves the layer; never learned; without it nothing is rounded there
    table: MaybeFormat = None  # of the values of a table
    exp_input: MaybeFormat = None  # softmax: argument of the exponential, ufixed; its integer bits are the model's
    exp_table: MaybeFormat = None  # softmax: values of the exponential, ufixed with RND_CONV
    inverse_input: MaybeFormat = None  # softmax: sum of exponentials, argument of 1/sum, ufixed
    inverse_table: MaybeFormat = None  # softmax: values of 1/sum, ufixed with RND_CONV
    activation: MaybeFormat = None  # another word for input

    @model_validator(mode="after")
    def _one_word(self) -> Self:
        if self.activation is not None and self.input is not None:
            raise ValueError(
                f"input and activation are two words for one format, leave one out. Received: input={self.input}, "
                f"activation={self.activation}"
            )
        return self

    def items(self) -> dict[str, str]:
        """Slot -> format, of the slots that are said."""
        said = {slot: text for slot, text in self.model_dump().items() if slot != "activation"}
        return said if self.activation is None else {**said, "input": self.activation}


class LayerFirmware(Section):
    """How firmware computes a layer; each backend refuses what it has not."""

    accumulator: MaybeFormat = None  # of sums; TRN and WRAP where it has no such word; without it, wide enough
    reuse_factor: MaybePositive = None  # multiplications per multiplier
    strategy: Annotated[Literal["latency", "resource"] | None, Field(exclude_if=_absent)] = None  # as in `firmware`
    parallelisation_factor: MaybePositive = None  # copies of a dense step that several positions share

    def items(self) -> dict[str, str | int]:
        """Slot -> value, of the slots that are said."""
        return dict(self.model_dump())


def refuse_formats(option: str, texts: Iterable[str]) -> None:
    """Refuse formats of a command line that no build file can hold, before there are layers to be given them.

    Args:
        option: that they were given with.
        texts: ``NAME.SLOT=FORMAT`` each.

    Raises:
        ConfigError: the first one that is not of this form, has no such slot or no such format.
    """
    for text in texts:
        key, equals, value = text.partition("=")
        name, _, slot = key.partition(".")
        if not (name and slot and equals and value):
            raise ConfigError(
                f"{option}: a format is given as NAME.SLOT=FORMAT, e.g. Dense.weight=fixed<8,2>. Received: {text}"
            )
        if slot not in LayerFormats.model_fields:
            raise ConfigError(f"{option}: '{key}': unknown slot '{slot}'{nearest(slot, LayerFormats.model_fields)}")
        try:
            LayerFormats.model_validate(override(f"{slot}={value}"))
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            received = "" if "Received: " in said else f". Received: {shown(value)}"
            raise ConfigError(f"{option}: '{key}': {said}{received}") from error
