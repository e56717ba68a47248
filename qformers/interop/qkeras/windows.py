"""Windows that slide over positions: what a convolution or a pooling sees, cut out by wires, one axis at a time.

Axis by axis the wires of an image are two small kernels of zeros and ones instead of one large one.
"""

from __future__ import annotations

from typing import Any

from qformers.errors import QkerasError
from qformers.interop.qkeras.emit import Emitter, Wire
from qformers.interop.qkeras.reader import SavedLayer
from qformers.interop.windows import Window, each, slide

AXES = ("rows", "columns")


def windows(layer: SavedLayer, shape: tuple[int, ...], taps: tuple[int, ...], strides: Any) -> tuple[Window, ...]:
    """One window for each axis of positions.

    Args:
        layer: its settings padding, dilation_rate, data_format.
        shape: of the input, channels last, without the batch axis.
        taps: size of the kernel or pool.
        strides: as in the settings.

    Raises:
        QkerasError: channels first, or a padding that is not known.
    """
    rank, config = len(taps), layer.config
    if config.get("data_format") not in (None, "channels_last"):
        raise QkerasError(f"layer '{layer.name}': only channels_last is known. Received: {config['data_format']}")
    if len(shape) != rank + 1:
        raise QkerasError(f"layer '{layer.name}': its input must have {rank + 1} axes. Received: {shape}")
    padding = str(config.get("padding", "valid")).lower()
    if padding not in ("valid", "same", "causal"):
        raise QkerasError(f"layer '{layer.name}': padding must be valid, same or causal. Received: {padding}")
    steps = zip(shape[:-1], taps, each(strides, rank), each(config.get("dilation_rate", 1), rank), strict=True)
    return tuple(slide(*step, padding=padding) for step in steps)


def patches(emit: Emitter, x: Wire, layer: SavedLayer, taps: tuple[int, ...]) -> Wire:
    """(batch, rows, columns, channels) -> (batch, p, taps, q, taps, channels).

    (batch, rows, channels) -> (batch, p, taps, channels). Zeros stand where a tap meets padding.
    """
    cut = windows(layer, x.shape, taps, layer.config.get("strides", 1))
    if len(cut) == 1:
        return emit.linear(x, "bhy,hpk->bpky", cut[0].wires(), f"{layer.name}_taps", count=False)
    x = emit.linear(x, "bhwy,hpk->bpkwy", cut[0].wires(), f"{layer.name}_{AXES[0]}", count=False)
    return emit.linear(x, "bpkwy,wql->bpkqly", cut[1].wires(), f"{layer.name}_{AXES[1]}", count=False)
