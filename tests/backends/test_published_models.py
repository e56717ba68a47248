"""Models that others published, through `qformers export MODEL.keras`: exact, or refused by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.published_models import PUBLISHED, stand_in

from hls.backends import open_backend
from hls.errors import ExportRefused
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree, keras_outputs
from hls.stages.export import export, load_quantised
from qformers.builds.build import Build
from qformers.errors import ConfigError
from qformers.interop.own_run import own_run

BACKENDS = ("alkaid", "vitis")
ONLY_IN_RTL = r": it was not shown to be exact in hls4ml"
REFUSED: dict[str, str | dict[str, str]] = {  # the layer, and words of the reason, of both backends or by backend
    "jets_by_features_tables": {"vitis": rf"\(QDenseT\){ONLY_IN_RTL}"},
    "jedi_linear_tables": {"vitis": rf"\(QDenseT\){ONLY_IN_RTL}"},
    "muons_tables": {"vitis": rf"\((QDenseT|QConvT1D)\){ONLY_IN_RTL}"},
    "muons_half_tables": {"vitis": rf"\(QDenseT\){ONLY_IN_RTL}"},
    "gated_sequence": {"vitis": rf"\(QGRU\){ONLY_IN_RTL}"},
    "plain_sequence": {"vitis": rf"\(QSimpleRNN\){ONLY_IN_RTL}"},
    "linformer_of_two_blocks": {
        "vitis": r"latent \(QDense\): it is an output of the model and is used inside it too; leave one of the two out"
    },
    "linformer_with_softmax": r"jet_id \(Activation\): it is another function than the larger of a value and 0",
    "masked_deep_set": "input 'mask': numbers come in as floats",
    "traces_with_sigmoid": r"\(QDense\): its activation 'sigmoid' would be a table of all that its sums can be",
    "traces_with_a_norm_of_keras": r"\(BatchNormalization\): (its RTL was not shown|a norm of Keras has no formats)",
}


LOGITS = ("linformer_with_softmax", "traces_with_sigmoid")  # exact without the function that they end in


def exported(name: str, backend: str, folder: Path, logits: bool = False) -> tuple[Any, Any, dict[str, Any]]:
    """The project of a stand-in as the command writes it, its model, and events by the names that inputs have then."""

    def refuse(model: Any, build: Build) -> None:
        if refused := open_backend(backend).supports(model, build):
            raise ExportRefused(backend, refused)

    model, events = stand_in(name)
    model.save(folder / f"{name}.keras")
    np.savez(folder / "events.npz", **events)
    made = own_run(
        folder / f"{name}.keras", folder / "run", None, folder / "events.npz", [f"firmware.backend={backend}"], refuse,
        logits=logits,
    )  # fmt: skip
    project = export(made.build, made.model, made.folder / "firmware" / backend, backend).project
    renamed = {made.adopted.renamed.get(key, key): array for key, array in events.items()}
    return project, load_quantised(made.model), renamed


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_exact_or_refused_by_layer(name: str, backend: str, tmp_path: Path) -> None:
    said = REFUSED.get(name, "")
    if words := said if isinstance(said, str) else said.get(backend, ""):
        with pytest.raises((ExportRefused, ConfigError), match=words):
            exported(name, backend, tmp_path)
        return
    assert_exact(*exported(name, backend, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LOGITS)
def test_published_models_are_exact_without_the_function_at_their_end(name: str, backend: str, tmp_path: Path) -> None:
    assert_exact(*exported(name, backend, tmp_path, logits=True))


def assert_exact(project: Any, model: Any, events: dict[str, Any]) -> None:
    for output, values in keras_outputs(model, events).items():
        assert np.ptp(values) > 0, f"output '{output}' is constant"
    for given in (events, adversarial(model, each=16).inputs):
        equal = agree(project, model, given)
        assert equal.equal, str(equal)


def test_what_is_refused_is_a_stand_in() -> None:
    assert set(REFUSED) <= set(PUBLISHED)
    assert all(published.source for published in PUBLISHED.values())
