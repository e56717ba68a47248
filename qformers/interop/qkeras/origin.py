"""Whose model a file holds: QKeras's, one of HGQ or HGQ2, or a plain one of Keras; only the first is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qformers.errors import QkerasError
from qformers.precision.qkeras.spelling import SIGNATURES

QUANTISE = "qformers quantise MODEL.keras --calibrate DATA.npy"
# package that a layer is registered in -> what the model is, and what to do with it
PACKAGES = {
    "HGQ": (
        "HGQ 1, of Keras 2: its formats have no bound until its converter sees the events that they are calibrated "
        "with, so no exact one can be read here. Build the model of the layers of HGQ2 (QDense for HDense, QConv2D for "
        "HConv2D), set their kernels and biases to those of this one, train or calibrate it, and give that to qformers "
        f"export; or save a model of plain Keras layers with these weights as .keras, and {QUANTISE}"
    ),
    "hgq": "HGQ2, which firmware is written of as it is: qformers export MODEL.keras",
}


def refuse_others(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a model whose layers are of HGQ or HGQ2.

    Args:
        path: of the file.
        entries: layers of its configuration.

    Raises:
        QkerasError: naming the first such layer, whose it is and the way out.
    """
    for entry in entries:
        for key in ("registered_name", "class_name", "module"):
            package = str(entry.get(key) or "").replace(".", ">").partition(">")[0]
            if package in PACKAGES:
                name = entry.get("config", {}).get("name", entry.get("name"))
                kind = str(entry.get("class_name")).rpartition(">")[2]
                raise QkerasError(f"{path}: is no model of QKeras: layer '{name}' ({kind}) is of {PACKAGES[package]}")


def quantises(kind: str, config: Mapping[str, Any]) -> bool:
    """Whether a layer quantises: one of QKeras, or with a setting that names a quantiser.

    Args:
        kind: class name without its package.
        config: settings.
    """
    return kind in ("QActivation", "QAdaptiveActivation") or any(
        _names_quantiser(key, value) for key, value in config.items()
    )


def _names_quantiser(key: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        value = value.get("class_name")
    if not isinstance(value, str):
        return False
    name = value.rpartition(">")[2].partition("(")[0].strip().rpartition(".")[2]
    return name in SIGNATURES if key == "activation" else key.endswith("_quantizer")
