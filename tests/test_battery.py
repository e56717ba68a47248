"""One battery for all: every form of the quantised ParT is exact in the C simulation of every backend."""

from __future__ import annotations

from pathlib import Path

import pytest
from hls_models import build_of
from quantised_helpers import float_part, inputs_of, jets, quantised_part, small

from hls.adversarial import adversarial
from hls.agree import agree
from hls.backends import BACKENDS, open_backend
from qformers.config import QuantConfig
from qformers.models.transfer import float_to_quantised

# Which pair features and head; the first goes through `make test`, all of them through `make test-all`.
FORMS = [
    pytest.param("input", "class_token", "vitis"),
    *(
        pytest.param(pairs, head, backend, marks=pytest.mark.slow)
        for backend in ("vitis", "vivado")
        for pairs in ("onchip", "input", "none")
        for head in ("mean", "class_token")
        if (pairs, head, backend) != ("input", "class_token", "vitis")
    ),
]


@pytest.mark.parametrize(("pairs", "head", "backend"), FORMS)
def test_firmware_is_the_quantised_model(pairs: str, head: str, backend: str, tmp_path: Path) -> None:
    assert backend in BACKENDS
    cfg = small(pairs, head)
    model = quantised_part(cfg, QuantConfig(activation="fixed<8,4>", weight="fixed<6,2,RND,SAT_SYM>"))
    events = inputs_of(model, jets(2000))
    float_to_quantised(float_part(cfg), model, events)
    name = f"battery_{pairs}_{head}_{backend}"
    model.save(tmp_path / "model.keras")
    build = build_of(name, backend=backend)
    project = open_backend(backend).write(model, build, tmp_path / "project")
    project.compile()
    for inputs in (events, adversarial(model).inputs):
        found = agree(project, model, inputs)
        assert found.equal, str(found)
        assert found.values == 3 * len(inputs["mask"])
