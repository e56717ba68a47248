"""One small test per verb: shapes in, exact or bounded out, in every vocabulary and in firmware of every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.hls_models import build_of
from support.quantised import inputs_of
from support.verbs import CASES, VARIANTS, VERBS, all_verbs, arrays_of, filled, model_of, truth_of, verbs

from hls.backends import BACKENDS, open_backend
from hls.proof.agree import agree
from qformers.errors import ConfigError
from qformers.models import MODELS
from qformers.nn import VOCABULARIES

FAST = {"alkaid"}  # simulated without a compiler
FIXED = [verb for verb in CASES if "hgq" not in CASES[verb].refused]
NOT_WRITTEN: dict[str, set[str]] = {  # what each backend refuses
    "vitis": set(),
    "vivado": set(),
    "alkaid": set(),
    "folded": {"einsum", "minus", "logits", "class_logits", "key_logits"},  # one axis of points and another one at once
}


@pytest.fixture(autouse=True)
def _architecture_of_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "verbs", VERBS)


def test_every_verb_has_a_case() -> None:
    assert sorted(set(CASES) - set(VARIANTS)) == sorted(verbs())
    assert set(VARIANTS) < set(CASES)
    assert set(VARIANTS.values()) < set(verbs())


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("verb", CASES)
def test_a_verb_computes_what_it_says(verb: str, vocabulary: str) -> None:
    case = CASES[verb]
    if vocabulary in case.refused:
        with pytest.raises(ConfigError, match=case.refused[vocabulary]):
            model_of(verb, vocabulary)
        return
    model, weights = filled(verb, vocabulary)
    expected, result = (
        truth_of(verb, weights),
        np.asarray(model(inputs_of(model, arrays_of(case, verb)), training=False)),
    )
    assert model.output.shape[1:] == expected.shape[1:]
    assert result.shape == expected.shape
    assert np.unique(expected).size >= 4
    bound = 1e-5 if vocabulary == "float32" else case.bound
    assert np.max(np.abs(result - expected)) <= bound


def test_every_backend_says_which_verbs_it_refuses() -> None:
    assert set(NOT_WRITTEN) == set(BACKENDS)


@pytest.mark.parametrize("backend", [name for name, verbs in NOT_WRITTEN.items() if verbs])
def test_a_verb_without_an_exact_form_is_refused(backend: str) -> None:
    for verb in sorted(NOT_WRITTEN[backend]):
        assert open_backend(backend).supports(model_of(verb, "hgq"), build_of("verbs", backend=backend)), verb


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in BACKENDS
        if set(FIXED) - NOT_WRITTEN.get(name, set()) and name != "folded"  # needs points: tests/backends/test_folded.py
    ],
)
def test_the_firmware_of_all_verbs_is_exact(backend: str, tmp_path: Path) -> None:
    written = [verb for verb in FIXED if verb not in NOT_WRITTEN[backend]]
    model, inputs = all_verbs(written)
    project: Any = open_backend(backend).write(model, build_of("verbs", backend=backend), tmp_path / "project")
    project.compile()
    found = agree(project, model, inputs)
    assert found.equal, str(found)
    assert found.values >= 300 * len(written)
