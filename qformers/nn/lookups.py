"""The layer that looks a function up in one table for the whole tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hgq.layers import QUnaryFunctionLUT

from qformers.nn.formats import fixed_quantiser
from qformers.precision.fixed import Fixed


def looked_up_by(function: Callable[[Any], Any], argument: Fixed, value: Fixed, name: str) -> QUnaryFunctionLUT:
    """QUnaryFunctionLUT.

    Args:
        function: of one number, registered as Keras serialisable.
        argument, value: formats of what is looked up and of what is found.
        name: of the layer.
    """
    return QUnaryFunctionLUT(
        function,
        iq_conf=fixed_quantiser(argument),
        oq_conf=fixed_quantiser(value, "table"),
        allow_heterogeneous_input=False,
        allow_heterogeneous_table=False,
        name=name,
    )
