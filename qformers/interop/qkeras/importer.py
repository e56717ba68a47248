"""From a file that QKeras saved to a saved Keras model that the firmware stages take."""

from __future__ import annotations

from pathlib import Path

from qformers.builds.saved import save_model
from qformers.errors import QkerasError
from qformers.interop.qkeras.build import Imported, Options, build
from qformers.interop.qkeras.origin import QUANTISE, quantises
from qformers.interop.qkeras.reader import read


def load_qkeras(source: Path, options: Options = Options(), weights: Path | None = None) -> Imported:  # noqa: B008 - frozen
    """The HGQ2 model that computes what the model in `source` computes.

    Args:
        source: ``.h5`` (QKeras 0.9 or qkeras-v3) or ``.keras`` (qkeras-v3); or ``.json``, the architecture alone.
        options: what the file does not say.
        weights: ``.h5``, the weights of an architecture; None where `source` has them.

    Raises:
        QkerasError: no such file, no QKeras model, or a layer or quantiser without an exact fixed-point form.
    """
    saved = read(source, weights)
    try:
        return build(saved, options)
    except QkerasError as error:
        words = str(error) if str(source) in str(error) else f"{source}: {error}"
        if not any(quantises(layer.kind, layer.config) for layer in saved.layers.values()):
            words += f". No layer of this model has a quantiser: save it as .keras, and {QUANTISE}"
        raise QkerasError(words) from error


def import_qkeras(
    source: Path,
    target: Path,
    options: Options = Options(),  # noqa: B008 - frozen
    weights: Path | None = None,
) -> Imported:
    """`load_qkeras`, saved as `target`, a name that ends in ``.keras``; nothing is written if it fails."""
    if target.suffix != ".keras":
        raise QkerasError(f"the model to write must end in .keras. Received: {target}")
    imported = load_qkeras(source, options, weights)
    save_model(imported.model, target)
    return imported
