"""Stage "sparsity": the zeros of a model, layer by layer, and what they save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from hls.stages.export import load_quantised
from qformers.quant.prune.sparsity import Sparsity, sparsity, table
from qformers.records import write_record
from qformers.results import Result


@dataclass(frozen=True, repr=False)
class Zeros(Result):
    """Zeros of a model.

    Attributes:
        path: the model.
        sparsity: its dense layers.
        lut: layer (and ``total``) -> LUT as it is and without zeros, alkaid's estimates; None: not estimated.
    """

    path: Path
    sparsity: Sparsity
    lut: Mapping[str, tuple[float, float]] | None

    def pieces(self) -> Iterator[RenderableType]:
        """A row per layer; the LUT of the whole model in a line."""
        yield table(self.sparsity, dict(self.lut) if self.lut else None)
        if self.lut:
            now, filled = self.lut["total"]
            yield f"LUT of the whole model (alkaid, estimate): {now:,.0f}; without zeros {filled:,.0f}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        record = self.sparsity.to_json()
        if self.lut:
            for row in record["layers"]:
                row["lut"], row["lut_filled"] = self.lut[row["layer"]]
            record["lut"], record["lut_filled"] = self.lut["total"]
        return record

    def save(self) -> Path:
        """Write ``sparsity.json`` beside the model."""
        path = self.path.with_name("sparsity.json")
        write_record(path, self.to_json())
        return path


def zeros(path: Path, lut: bool = False) -> Zeros:
    """Count the zeros of a model.

    Args:
        path: the quantised model.
        lut: also trace the model with alkaid as it is and with every zero replaced (minutes).

    Raises:
        HlsError: no model, or alkaid cannot trace it.
    """
    counted = sparsity(load_quantised(path))
    if not lut:
        return Zeros(path, counted, None)
    from hls.stages.zeros import lut_without_zeros

    return Zeros(path, counted, lut_without_zeros(path))
