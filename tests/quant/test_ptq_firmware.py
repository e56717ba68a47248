"""ParTs quantised after training, as firmware: C simulation and RTL arithmetic equal to the model in every output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.ptq import gathered

from hls.backends import open_backend
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree
from hls.stages.export import load_quantised
from qformers.precision.fixed import Fixed
from qformers.quant.ptq import run_folder
from qformers.quant.ptq.ranges import Rule, calibrated
from qformers.quant.ptq.slots import LOGITS, Slot
from qformers.quant.ptq.tune import start_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> run_folder.Material:
    """A tiny float model, four particles, and its data."""
    return gathered(tmp_path_factory.mktemp("float"))


def as_tuned(material: run_folder.Material) -> Mapping[Slot, Fixed]:
    """Formats such as the search may end with: bits of each slot apart from all others, some of them clipping."""
    random = np.random.default_rng(5)
    start = start_of(material.shop, Rule(), 9)
    formats = dict(start.formats)
    for slot in start.free - {LOGITS}:
        form = formats[slot]
        clipped, dropped = int(random.random() < 0.3), int(random.integers(0, 4))
        formats[slot] = replace(
            form, integer_bits=form.integer_bits - clipped, fraction_bits=form.fraction_bits - dropped
        )
    return formats


@pytest.mark.parametrize("backend", ["vitis", "alkaid"])
@pytest.mark.parametrize("formats", ["calibrated", "tuned"])
def test_firmware_equals_the_model(material: run_folder.Material, formats: str, backend: str, tmp_path: Path) -> None:
    found = calibrated(material.shop, Rule()) if formats == "calibrated" else as_tuned(material)
    assert len({str(form) for form in found.values()}) > 10, "formats differ from slot to slot"
    material.shop.model(found).save(tmp_path / "model.keras")
    model = load_quantised(tmp_path / "model.keras")
    project = open_backend(backend).write(model, material.shop.said(found), tmp_path / backend)
    jets = agree(project, model, material.shop.inputs)
    assert (jets.events, jets.values_different) == (50, 0), str(jets)
    hard = adversarial(model)
    events = agree(project, model, hard.inputs)
    assert (events.events, events.values_different) == (len(hard), 0), str(events)
    answers = project.outputs(material.shop.inputs)["logits"]
    assert np.unique(answers).size > 20, "constant outputs would show nothing"
