"""QKeras quantisers as their users write them: ``quantized_bits(8, 0, alpha=1)``, or a dictionary of a saved model.

Only read, never evaluated: a text is parsed into a name and literal arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qformers.errors import QkerasError, nearest

_NOISE: dict[str, Any] = {"qnoise_factor": 1.0, "var_name": None, "use_ste": True, "use_variables": False}
_AXIS: dict[str, Any] = {"scale_axis": None}
_PO2: dict[str, Any] = {"elements_per_scale": None, "min_po2_exponent": None, "max_po2_exponent": None}

# name -> arguments in their order, with the defaults of QKeras 0.9 and qkeras-v3 1.2.1 (which agree)
SIGNATURES: dict[str, dict[str, Any]] = {
    "quantized_bits": {
        "bits": 8, "integer": 0, "symmetric": 0, "keep_negative": True, "alpha": None, "use_stochastic_rounding": False,
        **_AXIS, **_NOISE, **_PO2, "post_training_scale": None,
    },
    "quantized_linear": {
        "bits": 8, "integer": 0, "symmetric": 1, "keep_negative": True, "alpha": None, "use_stochastic_rounding": False,
        **_AXIS, "qnoise_factor": 1.0, "var_name": None, "use_variables": False,
    },
    "quantized_relu": {
        "bits": 8, "integer": 0, "use_sigmoid": 0, "negative_slope": 0.0, "use_stochastic_rounding": False,
        "relu_upper_bound": None, "is_quantized_clip": True, **_NOISE,
    },
    "quantized_tanh": {"bits": 8, "use_stochastic_rounding": False, "symmetric": False, "use_real_tanh": False},
    "quantized_sigmoid": {"bits": 8, "symmetric": False, "use_real_sigmoid": False, "use_stochastic_rounding": False},
    "binary": {
        "use_01": False, "alpha": None, "training": False, "use_stochastic_rounding": False, **_AXIS, **_PO2,
    },
    "ternary": {"alpha": None, "threshold": None, "use_stochastic_rounding": False, "number_of_unrolls": 5},
    "quantized_po2": {
        "bits": 8, "max_value": None, "use_stochastic_rounding": False, "quadratic_approximation": False,
        "log2_rounding": "rnd", **_NOISE,
    },
    "quantized_relu_po2": {
        "bits": 8, "max_value": None, "negative_slope": 0, "use_stochastic_rounding": False,
        "quadratic_approximation": False, "log2_rounding": "rnd", **_NOISE,
    },
}  # fmt: skip

# what fixed point cannot say at all, and why
REFUSED: dict[str, str] = {
    "stochastic_ternary": "it draws random numbers",
    "stochastic_binary": "it draws random numbers",
    "bernoulli": "it draws random numbers",
    "quantized_ulaw": "its values are logarithms, which are on no grid of fixed point",
    "quantized_hswish": "it divides by relu_upper_bound, 6 by default, before it rounds",
}


@dataclass(frozen=True)
class Spelling:
    """A quantiser: its name and all its arguments, defaults filled in."""

    name: str
    arguments: Mapping[str, Any]

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]

    def __str__(self) -> str:
        defaults = SIGNATURES[self.name]
        given = [
            f"{key}={value!r}" for key, value in self.arguments.items() if not _same(value, defaults[key])
        ]  # all by keyword: nobody has to count
        return f"{self.name}({', '.join(given)})"


def parse(source: Any) -> Spelling:
    """Read a quantiser.

    Args:
        source: a text as QKeras takes it, or the dictionary with ``class_name`` and ``config`` of a saved model.

    Raises:
        QkerasError: not of this form, an unknown quantiser or argument (with the nearest name), an argument of a
            wrong kind, or a quantiser that no fixed point can say (with the reason).
    """
    if isinstance(source, Spelling):
        return source
    if isinstance(source, str):
        name, positional, keywords = _call(source)
    elif isinstance(source, Mapping) and isinstance(source.get("class_name"), str):
        name, positional = source["class_name"].rpartition(">")[2], []
        keywords = dict(source.get("config") or {})
        keywords.pop("name", None)
    else:
        raise QkerasError(
            f"a quantiser is spelt like 'quantized_bits(8, 0, alpha=1)' or {{class_name: ..., config: ...}}. "
            f"Received: {source!r}"
        )
    if name in REFUSED:
        raise QkerasError(f"{name}: {REFUSED[name]}; use quantized_bits, quantized_relu or quantized_tanh instead")
    if name not in SIGNATURES:
        raise QkerasError(f"unknown quantiser '{name}'{nearest(name, SIGNATURES)}")
    return Spelling(name, _bind(name, positional, keywords))


def _call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Name, positional and keyword arguments of ``name`` or ``name(...)``."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, [], {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, (ast.Name, ast.Attribute)):
            name = tree.func.id if isinstance(tree.func, ast.Name) else tree.func.attr
            words = {word.arg: _literal(word.value) for word in tree.keywords if word.arg}
            if len(words) == len(tree.keywords):
                return name, [_literal(value) for value in tree.args], words
    except (SyntaxError, ValueError):
        pass
    raise QkerasError(
        f"a quantiser is spelt name(arguments), each a number or a word in quotes, as in "
        f"quantized_bits(8, 0, alpha=1). Received: {text!r}"
    )


def _literal(node: ast.expr) -> Any:
    """A literal; bare words are texts, and ``true`` and ``false`` are known, as in QKeras."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, "none": None}.get(node.id.lower(), node.id)
    return ast.literal_eval(node)


def _bind(name: str, positional: list[Any], keywords: dict[str, Any]) -> dict[str, Any]:
    bound = dict(SIGNATURES[name])
    if len(positional) > len(bound):
        raise QkerasError(f"{name} has {len(bound)} arguments at most. Received: {len(positional)}")
    given = dict(zip(bound, positional, strict=False))
    for key, value in keywords.items():
        if key not in bound:
            raise QkerasError(f"{name} has no argument '{key}'{nearest(key, bound)}")
        if key in given:
            raise QkerasError(f"{name}: argument '{key}' is given twice")
        given[key] = value
    bound |= {key: _plain(value) for key, value in given.items()}
    _check(name, bound)
    return bound


def _plain(value: Any) -> Any:
    """A saved NumPy number or array (Keras writes ``{"class_name": "__numpy__", ...}``) as Python numbers."""
    if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
        return _plain(value["config"]["value"])
    if isinstance(value, Mapping):
        raise QkerasError(f"an argument must be a number, a word or a list of numbers. Received: {dict(value)!r}")
    if isinstance(value, (list, tuple)):
        array = np.asarray(value)
        return array.item() if array.size == 1 else array.tolist()
    return value


def _check(name: str, arguments: Mapping[str, Any]) -> None:
    for key in ("bits", "integer"):
        value = arguments.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise QkerasError(f"{name}: {key} must be a whole number. Received: {key}={value!r}")
    if not 1 <= arguments.get("bits", 1) <= 32:
        raise QkerasError(f"{name}: bits must be between 1 and 32. Received: bits={arguments['bits']!r}")
    if abs(arguments.get("integer", 0)) > 32:
        raise QkerasError(f"{name}: integer must be between -32 and 32. Received: integer={arguments['integer']!r}")
    alpha = arguments.get("alpha")
    if isinstance(alpha, str) and alpha not in ("auto", "auto_po2"):
        raise QkerasError(f"{name}: alpha must be a number, 'auto' or 'auto_po2'. Received: alpha={alpha!r}")
    noise = arguments.get("qnoise_factor", 1.0)
    if noise != 1.0:
        raise QkerasError(
            f"{name}: with qnoise_factor={noise!r} a share of the value stays unquantised; "
            "set it to 1.0 (QNoiseScheduler has not ended?) and save the model again"
        )


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and value == default
