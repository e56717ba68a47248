"""Quantisers and activations put to use: on weights that stand, and on values that flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.errors import QkerasError
from qformers.interop.qkeras.emit import Emitter, Wire
from qformers.interop.qkeras.reader import SavedLayer
from qformers.interop.qkeras.values import frozen, quantise
from qformers.precision.qkeras.rounding import Rounding, Sigmoid, activation
from qformers.precision.qkeras.spelling import SIGNATURES, Spelling, parse

Array = NDArray[np.float64]

UNQUANTISED_BITS = 16  # weights without a quantiser are taken if none has more significant bits than this
NORMALISING = ("softmax", "sigmoid", "log_softmax", "tanh")  # exact in no fixed point


class Context:
    """What all layers of an import share.

    Args:
        sigmoid: what ``qkeras.set_internal_sigmoid`` was set to when the model was trained.
    """

    def __init__(self, sigmoid: Sigmoid = "hard") -> None:
        self.emit = Emitter()
        self.sigmoid: Sigmoid = sigmoid

    def weights(self, layer: SavedLayer, what: str, array: Any, quantiser: Any, kernel: bool = True) -> Array:
        """An array of the file as QKeras uses it.

        Args:
            layer: for messages.
            what: for messages, e.g. "kernel".
            array: float32, as in the file.
            quantiser: text, dictionary or None.
            kernel: whether QKeras makes its scale from the weights where alpha is not given.

        Raises:
            QkerasError: the values are on no grid of fixed point.
        """
        place = f"{what} of layer '{layer.name}'"
        if quantiser is None:
            return _unquantised(np.asarray(array, np.float64), place)
        try:
            spelling = parse(quantiser)
            made = quantise(frozen(spelling) if kernel else spelling, array, self.sigmoid)
        except QkerasError as error:
            raise QkerasError(f"{place}: {error}") from error
        if made.off_grid:
            worst = float(np.abs(made.exact - made.single).max())
            self.emit.notes.append(
                f"{place}: QKeras computes {made.off_grid} of {made.exact.size} values up to {worst:.1e} beside their "
                "grid (x + (q - x) in float32); the values on the grid are taken"
            )
        if made.close:
            self.emit.notes.append(
                f"{place}: {made.close} roundings of a logarithm lie so close to a tie that float32 decides; compare "
                "the output with QKeras"
            )
        return made.exact

    def activate(self, x: Wire, what: Any, name: str) -> Wire:
        """Apply an activation or a quantiser to values that flow.

        Args:
            x: the values.
            what: None, a name that Keras knows, a text or a dictionary.
            name: of the layer that results.

        Raises:
            QkerasError: it has no exact form.
        """
        what = _keras_name(what)
        if what in (None, "linear"):
            return x
        if what == "relu":
            return self.emit.relu(x, name)
        if isinstance(what, str) and what in NORMALISING:
            raise QkerasError(
                f"layer '{name}': {what} has no exact fixed-point form; at the end of a model leave it away by "
                "--logits, elsewhere train with quantized_tanh or quantized_sigmoid"
            )
        try:
            spelling = parse(what)
            made = activation(spelling, self.sigmoid)
        except QkerasError as error:
            raise QkerasError(f"layer '{name}': {error}") from error
        return self._rounded(x, made, name) if isinstance(made, Rounding) else self._tabled(x, spelling, name)

    def _rounded(self, x: Wire, made: Rounding, name: str) -> Wire:
        if made.before != 1.0:
            x = self.emit.scale(x, made.before, f"{name}_before")
        if (made.factor, made.offset) == (1.0, 0.0):
            return self.emit.round(x, made.form, name)
        return self.emit.scale(self.emit.round(x, made.form, f"{name}_round"), made.factor, name, made.offset)

    def _tabled(self, x: Wire, spelling: Spelling, name: str) -> Wire:
        close = 0

        def function(grid: Any) -> Any:
            nonlocal close
            made = quantise(spelling, grid, self.sigmoid)
            close = made.close
            return made.exact

        y = self.emit.table(x, function, name)
        if close:
            self.emit.notes.append(
                f"layer '{name}': {close} values of its table lie so close to a tie that float32 decides; compare the "
                "output with QKeras"
            )
        return y


def _keras_name(what: Any) -> Any:
    """The name of a Keras activation, however the file writes it; quantisers as they are."""
    if isinstance(what, Mapping) and isinstance(what.get("class_name"), str):
        name = what["class_name"].rpartition(">")[2]
        if name == "function":
            return what.get("config")
        return {"ReLU": "relu", "Softmax": "softmax"}.get(name, what) if name not in SIGNATURES else what
    return what


def _unquantised(values: Array, place: str) -> Array:
    """Weights without a quantiser, which are exact only if they happen to have few bits (zeros, ones)."""
    mantissa, _ = np.frexp(values)
    whole = mantissa * 2.0**UNQUANTISED_BITS
    if np.any(whole != np.rint(whole)):
        bad = values[whole != np.rint(whole)].ravel()[0]
        raise QkerasError(
            f"{place}: has no quantiser, and its float32 values have too many bits to compute with exactly. "
            f"Received: {bad:.9g}; train with a quantiser there, e.g. quantized_bits(8, 2, alpha=1)"
        )
    return values
