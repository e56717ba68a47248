"""What an architecture is: one record that everything else reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qformers.config.section import Section
from qformers.errors import ConfigError, shown

Array = NDArray[np.float64]


ALL_TO_ALL = 1024  # most particles of a model in which each sees each: beyond, what it computes fits no memory


def any_number(cfg: Any) -> tuple[int, int]:
    """Fewest and most particles of a model that asks nothing of them."""
    return 1, ALL_TO_ALL


def same(cfg: Any) -> Any:
    """A configuration whose form fixed point has as it is."""
    return cfg


@dataclass(frozen=True)
class Arch:
    """An architecture.

    Attributes:
        config: its record, which the section ``model`` of a build file spells.
        build: the function of (configuration, sizes, vocabulary) that makes the Keras model.
        forms: name -> configuration, small ones of every kind, which the battery of tests takes through all backends.
        fixed: from a configuration to the one of the same function whose form fixed point has.
        particles: from a configuration to the fewest and most particles per event (``data.num_particles``) it can have.
        derivations: rule -> function of (configuration, `Source`, layer it is made of) that gives kernel and bias of a
            dense layer whose form the source does not have (`Vocabulary.derived_dense`).
    """

    config: type[Section]
    build: Callable[[Any, Any, Any], Any]
    forms: Mapping[str, Section]
    fixed: Callable[[Any], Any] = same
    particles: Callable[[Any], tuple[int, int]] = any_number
    derivations: Mapping[str, Callable[[Any, Source, str], tuple[Array, Array | None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.config, type) or not issubclass(self.config, Section):
            raise ConfigError(
                f"Arch: config is the class of the architecture's record, a Section. Received: {shown(self.config)}"
            )
        if not callable(self.build):
            raise ConfigError(f"Arch: build is the function that makes the model. Received: {shown(self.build)}")


class Source(Protocol):
    """A trained float model, as derivations read it; `qformers.quant.fold` has it."""

    def layer(self, name: str) -> Any:
        """A Keras layer.

        Raises:
            ConfigError: there is none of this name.
        """

    def weight(self, layer: str, name: str) -> Array:
        """A variable of a layer."""

    def dense(self, name: str, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> tuple[Array, Array | None]:
        """Kernel and bias of a dense layer.

        Args:
            name: of the layer.
            before: norms in front, multiplied in where the target has none of its own.
            after: factors and norms behind, multiplied in.
        """

    def normed(self, values: Array, norms: tuple[str, ...]) -> Array:
        """Values (..., D) as a dense layer of the target reads them: normed where the target has these norms, and
        without what norms have learned where that is folded into the dense layer.
        """

    def affine(self, norms: tuple[str, ...]) -> tuple[Array, Array]:
        """Factor and shift per channel that norms have learned, where the target does not have these norms; 1 and 0
        where it has.
        """
