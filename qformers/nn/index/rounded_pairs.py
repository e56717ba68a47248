"""The same in fixed point: values get their format where they come in, and then are only moved."""

from __future__ import annotations

from typing import Any

from hgq.layers.core.base import QLayerBaseSingleInput
from keras import ops

from qformers.nn.index.pairs import SymmetricFill
from qformers.nn.layers import Tensor, serialisable


@serialisable
class QSymmetricFill(QLayerBaseSingleInput, SymmetricFill):  # type: ignore[misc]
    """`SymmetricFill` of values that an input quantiser rounds, once for each pair."""

    def call(self, values: Tensor, training: Any = None) -> Tensor:
        """Apply it; shapes as in `SymmetricFill`."""
        return super().call(self.iq(values, training=training) if self.enable_iq else values)

    def _compute_ebops(self, shape: Any) -> Tensor:
        """None: wires."""
        return ops.zeros(())
