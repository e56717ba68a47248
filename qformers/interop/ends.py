"""A last softmax or sigmoid, left away: the choice of a class does not need it."""

from __future__ import annotations

from typing import Any

import keras
from hgq.layers import QSoftmax, QUnaryFunctionLUT
from keras import layers

from qformers.errors import ConfigError
from qformers.nn.activation import end_of
from qformers.nn.memory import layer_of

ENDS = ("softmax", "sigmoid")  # a last activation that only orders or squeezes the scores
ALONE = (layers.Softmax, layers.Activation, QSoftmax, QUnaryFunctionLUT)  # layers that are nothing else


def without_ends(model: keras.Model) -> keras.Model:
    """A model without a last softmax or sigmoid, float or quantised.

    Raises:
        ConfigError: it has none, or one whose values are rounded in the layer that also computes the scores.
    """
    found = False

    def scores(tensor: Any) -> Any:
        nonlocal found
        layer = model.get_layer(layer_of(tensor))
        if end_of(layer) not in ENDS:
            return tensor
        found = True
        if isinstance(layer, ALONE):
            return layer.input
        if getattr(layer, "enable_oq", False):
            raise ConfigError(
                f"--logits: layer '{layer.name}' ({type(layer).__name__}) rounds its {end_of(layer)} in a format that "
                "scores do not fit; build it without enable_oq=True"
            )
        layer.activation = keras.activations.linear
        return tensor

    outputs = keras.tree.map_structure(scores, model._outputs_struct)
    if not found:
        raise ConfigError("--logits leaves a last softmax or sigmoid away, and this model has none")
    return keras.Model(model.inputs if len(model.inputs) > 1 else model.inputs[0], outputs, name=model.name)
