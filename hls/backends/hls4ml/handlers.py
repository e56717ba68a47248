"""hls4ml's registry of handlers: replaced as a whole by `hls.backends.hls4ml.kinds.HANDLERS` for a conversion.

So a layer without an exact handler cannot be converted at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from hls.backends.hls4ml.kinds import HANDLERS, Convert, Handler, full_name
from hls.errors import HlsError

Origins = dict[str, tuple[str, str]]  # layer of hls4ml -> (Keras layer, part of it as in `Step.part`)


@contextmanager
def only_these(converted: Callable[[], None]) -> Iterator[Origins]:
    """For the length of the block, hls4ml's registry is that of `HANDLERS`, and its layers have meaningful names.

    Args:
        converted: called after each layer.

    Yields:
        What hls4ml's layers were made of, as they are made.
    """
    from hls4ml.converters.keras_v3 import layer_handlers

    before = dict(layer_handlers)
    handlers: dict[str, Convert] = {}
    for kind, handler in HANDLERS.items():
        if isinstance(handler, Handler):
            name = full_name(kind)
            handlers[name] = before[handler.upstream or name] if handler.own is None else handler.own()
    layer_handlers.clear()
    origins: Origins = {}
    layer_handlers.update({name: _Named(handler, converted, origins) for name, handler in handlers.items()})
    try:
        yield origins
    finally:
        layer_handlers.clear()
        layer_handlers.update(before)


class _Named:
    """An hls4ml handler whose quantisers are called after their layer.

    hls4ml takes the name of the Keras quantiser, which is a counter for layers with several inputs (``quantizer_7``).
    It also wires a quantiser to its layer by the name of the quantised tensor, so that a layer which takes one tensor
    twice got one of its two quantisers twice.
    """

    def __init__(self, handler: Convert, converted: Callable[[], None], origins: Origins) -> None:
        self._handler = handler
        self._converted = converted
        self._origins = origins

    def __call__(self, layer: Any, inputs: Any, outputs: Any) -> tuple[dict[str, Any], ...]:
        try:
            parts = self._handler(layer, inputs, outputs)
        except (AssertionError, ValueError, NotImplementedError, AttributeError, KeyError, TypeError) as error:
            raise HlsError(
                f"layer '{layer.name}' ({type(layer).__name__}): hls4ml cannot convert it: {error}"
            ) from error
        kinds = [part["class_name"] for part in parts]
        places = [i for i, kind in enumerate(kinds) if kind != "FixedPointQuantizer"]
        if len([kind for kind in kinds if kind not in ("FixedPointQuantizer", "Activation")]) > 1:  # attention
            for part in parts:
                part["name"] = part["name"] if part["name"].startswith(layer.name) else f"{layer.name}_{part['name']}"
            _tell_apart(parts)
        elif places:
            _name(layer.name, parts[: places[0]], parts[places[0]], parts[places[-1] + 1 :])
        self._origins |= {
            part["name"]: (layer.name, part["name"].removeprefix(layer.name).removeprefix("_")) for part in parts
        }
        self._converted()
        return parts


def _tell_apart(parts: tuple[dict[str, Any], ...]) -> None:
    """Name quantisers after the projection behind them where several share one, as those of fused attention do."""
    for part, behind in pairwise(parts):
        if sum(one["name"] == part["name"] for one in parts) > 1:
            part["name"] = f"{behind['name']}_iq"


def _name(
    layer: str, before: tuple[dict[str, Any], ...], main: dict[str, Any], after: tuple[dict[str, Any], ...]
) -> None:
    for index, part in enumerate(before):
        part["name"] = f"{layer}_iq{index if len(before) > 1 else ''}"
        tensor = f"{part['name']}_out"
        part["output_keras_tensor_names"] = [tensor]
        main["input_keras_tensor_names"][index] = tensor
    for part in after:
        part["name"] = f"{layer}_oq"
