"""Slots of a layer: the places of which a build file can say something, by the words that it uses.

`qformers.config.layers` has a key for each, `qformers.precision.table` a cell.
"""

from __future__ import annotations

TRAINED = (  # formats, which belong to the trained model
    "weight", "bias", "input", "input0", "input1", "result", "table", "exp_input", "exp_table", "inverse_input",
    "inverse_table",
)  # fmt: skip
FIRMWARE = ("accumulator", "reuse_factor", "strategy", "parallelisation_factor")  # how firmware computes the layer
SLOTS = (*TRAINED, *FIRMWARE)
