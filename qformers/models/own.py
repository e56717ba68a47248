"""A model that was given as a file, beside the architectures: its build file describes it and does not make it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from qformers.config.layers import mapping
from qformers.config.section import MAX_ENTRIES, FilePath, LayerType, Section, Word
from qformers.errors import ConfigError
from qformers.models.arch import Arch

GIVEN = "own"  # the value of `architecture`
Sizes = Annotated[tuple[Annotated[int, Field(gt=0, le=10**6)], ...], Field(max_length=16)]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=512)]  # of somebody else's layer


class OwnConfig(Section):
    """A model of one's own, as it was taken over: nothing is built from this, it says what the run folder holds."""

    architecture: Literal["own"] = "own"  # says whose keys these are
    source: FilePath  # the file that was given
    inputs: Annotated[dict[Word, Sizes], Field(max_length=MAX_ENTRIES)]  # name -> shape, of one event
    outputs: Annotated[dict[Word, Sizes], Field(max_length=MAX_ENTRIES)]  # the same
    layers: Annotated[dict[Word, LayerType], Field(max_length=MAX_ENTRIES)]  # name -> class, in the order of the model
    labels: Annotated[FilePath | None, Field(exclude_if=lambda labels: labels is None)] = None  # .npy file of what the
    # events of data.test are, one for each
    metric: Annotated[Literal["accuracy", "mse"], Field(exclude_if=lambda metric: metric == "accuracy")] = "accuracy"
    # what the labels are: classes, or values of the outputs
    renamed: dict[Name, Word] = mapping()  # old name -> new one, of layers, inputs and outputs whose names C++ and
    # Verilog cannot have


def _refuse(cfg: OwnConfig, jet: Any, nn: Any) -> Any:
    raise ConfigError(
        f"model.architecture: own says that the model was given as a file ({cfg.source}); it is not made from its "
        "build file. Take it over with qformers export FILE.keras"
    )


def _any_number(cfg: Any) -> tuple[int, int]:
    return 1, 1


OWN = Arch(OwnConfig, _refuse, {}, particles=_any_number)
