"""The quantised model without the rounding of float32: what sums of more than 24 bits are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from hgq.layers import (
    QAffinedUnaryFunctionLUT,
    QBatchNormalization,
    QBatchNormDense,
    QEinsumDenseBatchnorm,
    QUnaryFunctionLUT,
)
from numpy.typing import NDArray

from hls.backends.protocol import Project
from hls.backends.written import AGAIN, WIDE
from hls.errors import HlsError
from qformers.manifest import read_manifest
from qformers.quant.quantisers import quantisers
from qformers.quant.readers import readers

DOUBLE = "float64"
WHOLE = 2.0**52  # steps: numbers of a float64 beyond that are not wrapped exactly


def exact(model: keras.Model, project: Project) -> keras.Model:
    """The model whose outputs the firmware has to equal: `model` itself, or `in_float64` where float32 may round.

    Args:
        model: the quantised model that the project was made from.
        project: whose manifest says whether its sums are wider.
    """
    if _is_double(model) or not read_manifest(project.path, AGAIN).get(WIDE):
        return model
    return in_float64(model)


def in_float64(model: keras.Model) -> keras.Model:
    """The same model in float64: exact in sums and products of up to 53 bits, where float32 has 24.

    Weights, and values of tables, are those that the float32 model has once they are quantised, as in the firmware.
    """
    before = keras.config.dtype_policy()
    with _doubles():
        keras.config.set_dtype_policy(DOUBLE)  # for what layers make inside, of which a configuration says nothing
        try:
            twin = type(model).from_config(_with_dtype(model.get_config()))
        finally:
            keras.config.set_dtype_policy(before)
        twin.set_weights(model.get_weights())
        for ours, theirs in zip(quantisers(model), quantisers(twin), strict=True):
            if ours.place in ("weight", "bias") and ours.computed is None:
                theirs.variable.assign(ours.wrapper(ours.variable))
        for own, other in zip(model._flatten_layers(), twin._flatten_layers(), strict=True):
            _fix_norm(own, other)
            if isinstance(own, QUnaryFunctionLUT):
                other.activation = _table_of(own)
            if isinstance(own, QAffinedUnaryFunctionLUT):  # its line is in the table
                other.scale.assign([1.0])
                other.bias.assign([0.0])
    return twin


def _fix_norm(own: Any, other: Any) -> None:
    """Give a layer with a norm in it the factors and offsets that another one computes and rounds in float32."""
    if isinstance(own, QBatchNormalization):
        fixed = tuple(keras.ops.cast(part, DOUBLE) for part in own.qscaler_and_qoffset)
        other._scaler_and_offset = lambda: fixed
    elif isinstance(own, QBatchNormDense | QEinsumDenseBatchnorm):
        fixed = tuple(keras.ops.cast(part, DOUBLE) for part in (own.qkernel, own.qbias))
        other.get_fused_qkernel_and_qbias = lambda *arguments, **options: fixed


@contextmanager
def precisely(model: keras.Model) -> Iterator[None]:
    """A block in which a model may be called that `in_float64` made: JAX has float64 only where it is asked for."""
    if not _is_double(model):
        yield
        return
    with _doubles():
        yield


def refuse_huge(model: keras.Model, inputs: Mapping[str, NDArray[Any]]) -> None:
    """Refuse inputs that firmware wraps exactly and no floating-point number does.

    Raises:
        HlsError: naming the input, the number and how far one can go.
    """
    reading = readers(model)
    for tensor in model.inputs:
        for quantiser in reading.get(id(tensor), []):
            with precisely(model):
                limit = WHOLE * 2.0 ** -float(np.max(quantiser.kif()[2]))
            worst = float(np.max(np.abs(inputs[tensor.name]), initial=0.0))
            if quantiser.core.overflow_mode == "WRAP" and worst > limit:
                raise HlsError(
                    f"input '{tensor.name}' holds {worst:g}, which '{quantiser.name}' wraps around: Keras does so "
                    f"exactly up to {limit:g}; give smaller numbers, or let it saturate"
                )


def _is_double(model: keras.Model) -> bool:
    return bool(model.outputs[0].dtype == DOUBLE)


@contextmanager
def _doubles() -> Iterator[None]:
    if keras.backend.backend() != "jax":
        yield
        return
    from jax import enable_x64

    with enable_x64(True):
        yield


def _with_dtype(config: Any) -> Any:
    """A configuration with float64 for every float32."""
    if isinstance(config, Mapping):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": DOUBLE}}
        return {
            key: DOUBLE if (key, value) == ("dtype", "float32") else _with_dtype(value) for key, value in config.items()
        }
    return type(config)(_with_dtype(value) for value in config) if isinstance(config, list | tuple) else config


def _table_of(layer: Any) -> Callable[[Any], Any]:
    """The function of a table in float32, rounded there too: what comes behind it finds nothing to round."""

    def looked_up(x: Any) -> Any:
        argument = keras.ops.cast(x, "float32")
        if isinstance(layer, QAffinedUnaryFunctionLUT):
            argument = argument * layer.scale + layer.bias
        made = layer.activation(argument)
        return keras.ops.cast(layer.oq(made, training=False) if layer.enable_oq else made, x.dtype)

    looked_up.__name__ = "looked_up"
    return looked_up
