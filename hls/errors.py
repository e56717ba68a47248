"""Errors of the firmware stages; each message names what was met and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qformers.errors import QformersError


class HlsError(QformersError, RuntimeError):
    """A firmware stage cannot go on."""


class CompileError(HlsError):
    """A compiler of C++ or Verilog refused what was written."""


class VendorToolMissing(HlsError):
    """Synthesis was asked for on a machine without the vendor's tool."""


@dataclass(frozen=True)
class Refusal:
    """One layer (or setting) that cannot be converted exactly."""

    layer: str
    kind: str  # class of the layer, or the name of the setting
    reason: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.layer} ({self.kind}): {self.reason}; {self.way_out}"


@dataclass(frozen=True)
class Gap:
    """Why a backend does not take a layer, and what to do instead."""

    reason: str
    way_out: str

    def refusal(self, layer: Any) -> Refusal:
        """Of this layer of a Keras model."""
        return Refusal(layer.name, type(layer).__name__, self.reason, self.way_out)


class ExportRefused(HlsError):
    """The model has layers that have no exact firmware; nothing was written.

    Attributes:
        refusals: all of them, in the order of the model.
    """

    def __init__(self, backend: str, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        lines = [f"backend '{backend}' cannot write this model exactly:", *(f"  {refusal}" for refusal in refusals)]
        super().__init__("\n".join(lines))
