"""Batches gathered on the device: the training is the same to the bit, stopped and gone on with too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support import train_fakes

from qformers import tasks
from qformers.errors import DivergedError
from qformers.train import feed, loop, phases

TASK = tasks.JetTagging(train_fakes.CLASSES)


class StopAfter(loop.StopRequest):
    """Asks for a stop at the n-th question; never for None."""

    def __init__(self, folder: Path, questions: int | None) -> None:
        super().__init__(folder)
        self.left = questions

    @property
    def reason(self) -> str:
        """Why to stop."""
        if self.left is None:
            return ""
        self.left -= 1
        return "enough" if self.left < 0 else ""


def trained(folder: Path, on_device: bool, stop_after: int | None = None, nan_at: int | None = None) -> str:
    """SHA-256 of all variables behind two epochs in micro-batches, or at a stop."""
    build = train_fakes.build("train.float.epochs=2", "train.float.micro_batch=16")
    phases.deterministic(1, False)
    train, val = (
        feed.Feed(
            train_fakes.FakeSource(200, seed, nan_at if seed == 1 else None),
            lambda events: train_fakes.host_inputs(None, events),
            24,
            on_device=on_device,
        )
        for seed in (1, 2)
    )
    phase = loop.Phase("float", build.train.float, TASK, 1, folder, {"seed": 1})
    made = loop.Trainer(phase, train_fakes.tiny_model(), train, val)
    assert made.train.on_device == on_device
    made.run(StopAfter(folder, stop_after), loop.Display("float", 2, made.steps, 0, TASK, Console(quiet=True)))
    record = json.loads((folder / "checkpoints" / "latest.json").read_text())
    assert record["state"]["epoch"] == (2 if stop_after is None else 1)
    return str(record["sha256"])


def test_a_training_on_the_device_is_that_on_the_host_stopped_and_gone_on_with_too(tmp_path: Path) -> None:
    whole = trained(tmp_path / "host", on_device=False)
    assert trained(tmp_path / "device", on_device=True) == whole
    assert trained(tmp_path / "stopped", on_device=True, stop_after=5) != whole  # after a step of the second epoch
    assert trained(tmp_path / "stopped", on_device=True) == whole


def test_a_broken_event_on_the_device_is_found_and_its_batch_saved(tmp_path: Path) -> None:
    with pytest.raises(
        DivergedError, match=r"Received: nan at epoch \d, batch \d.*its inputs features hold NaN or inf"
    ):
        trained(tmp_path, on_device=True, nan_at=7)
    with np.load(tmp_path / "diverged_batch.npz") as saved:
        assert np.isnan(saved["features"]).sum() == 1
        assert saved["labels"].shape == (64,)
