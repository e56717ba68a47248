"""A model on events: outputs, metrics with their errors, pictures, and two models beside each other on the same events.

`events` finds out which data set the files are and which numbers of it the model reads, `figures` has the numbers of
each task, `stage` puts it together and writes it down.
"""

from __future__ import annotations

from pathlib import Path

TASK_WORDS = {  # as users say them
    "tagging": "jet_tagging",
    "tracking": "tracking",
    "pileup": "pileup",
    "regression": "regression",
}
OUT = Path("runs") / "evaluation"
MOST_MODELS = 2
