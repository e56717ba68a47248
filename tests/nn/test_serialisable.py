"""Names under which Keras keeps our layers: a file must be read as what it was written by."""

from __future__ import annotations

import keras
import pytest

from qformers.models.part import layers as part_layers
from qformers.nn.layers import serialisable


def test_two_layers_of_one_name_are_refused() -> None:
    """Keras would keep the later one, and read the files of both as it."""

    class ClassToken(keras.layers.Layer):  # type: ignore[misc]
        """Another one than ParT's."""

    with pytest.raises(ValueError, match=r"ClassToken: qformers\.models\.part\.layers has one of that name; choose"):
        serialisable(ClassToken)
    assert keras.saving.get_registered_object("qformers>ClassToken") is part_layers.ClassToken


def test_the_same_layer_may_be_registered_again() -> None:
    assert serialisable(part_layers.ClassToken) is part_layers.ClassToken
