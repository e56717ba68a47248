"""A model to its folder: saved, read back, and what was read back measured on the test split.

Training and post-training quantisation both end here, so that what they leave is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.builds.saved import save_model
from qformers.files import replacing
from qformers.records import write_record
from qformers.tasks.task import Report, Task
from qformers.train import evaluate
from qformers.train.feed import Feed

DELIVERED = ("model.keras", "metrics.json", "test_logits.npz")  # what `deliver` leaves
CHECKED_JETS = 512  # jets on which the file read back is compared with the model in memory
JIT_JETS = 20_000  # a test split up to here is evaluated sooner than XLA has compiled (measured: 20 s)


@dataclass(frozen=True)
class Delivered:
    """The model read back, its outputs on the test split and the report on them."""

    model: Any
    outputs: NDArray[np.float32]  # (n, ...), of jets: logits (n, classes)
    labels: Any  # what is known of the n events
    report: Report  # of the task


@dataclass(frozen=True)
class Terms:
    """How a model is measured: seed of the jets that it is checked on, batch size, whether XLA may compile it."""

    seed: int
    batch_size: int
    jit_compile: bool = True


def deliver(model: Any, folder: Path, test: Feed, task: Task, terms: Terms) -> Delivered:
    """Write ``model.keras``, ``test_logits.npz`` (logits (n, ...), labels (n, ...)) and ``metrics.json``.

    The numbers on the test split are those of the file read back.

    Raises:
        TrainingError: the file read back does not give the outputs of the model in memory.
    """
    path = folder / "model.keras"
    save_model(model, path)
    loaded = evaluate.reload_equal(path, model, test.sample(CHECKED_JETS, terms.seed), terms.batch_size)
    loaded.compile(jit_compile=terms.jit_compile and len(test) > JIT_JETS)
    outputs, labels = evaluate.outputs_of(loaded, test, terms.batch_size, task)
    with replacing(folder / "test_logits.npz") as temporary, temporary.open("wb") as handle:
        arrays: dict[str, Any] = {"logits": outputs, **task.arrays(labels)}
        np.savez(handle, **arrays)
    report = task.report(outputs, labels)
    write_record(folder / "metrics.json", report)
    return Delivered(loaded, outputs, labels, report)


def width_picture(model: Any, folder: Path, learned_only: bool = True) -> None:
    """Draw ``bit_widths.png``: bits per layer, of the learned formats or of all that are not constants."""
    from qformers.quant.audit import widths
    from qformers.tasks.plots import jets as plots

    plots.bit_widths(widths(model, learned_only), folder / "bit_widths.png")
