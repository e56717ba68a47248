"""Models that QKeras saved, imported, as firmware: C simulation and RTL arithmetic give QKeras's own bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import qkeras as golden
from support.hls_models import build_of

from hls.backends import open_backend
from hls.errors import HlsError
from hls.proof.samples import sample
from qformers.interop.qkeras.build import Options

ARRIVING = Options("fixed<16,6>")  # the RTL has ports, which need a format also where a QActivation reads them


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("jet_mlp_v3.keras", "vitis"),
        ("jet_mlp_v0.9.h5", "alkaid"),
        ("sequence_v3.keras", "alkaid"),
        pytest.param("cnn_v3.keras", "alkaid", marks=pytest.mark.slow),
        pytest.param("cnn_v0.9.h5", "vitis", marks=pytest.mark.slow),
        pytest.param("sequence_v3.keras", "vitis", marks=pytest.mark.slow),
    ],
)
def test_firmware_gives_qkeras_s_bits(name: str, backend: str, tmp_path: Path) -> None:
    made = golden.imported(name, tmp_path, golden.MODELS[name] if "jet" in name else ARRIVING)
    project = open_backend(backend).write(made.model, build_of("imported"), tmp_path / backend)
    inputs, wanted = golden.events(name)
    found = project.outputs({tensor.name: array for tensor, array in zip(made.model.inputs, inputs, strict=True)})
    for answer, truth in zip(found.values(), wanted, strict=True):
        assert np.unique(truth).size > 10, "a constant output would show nothing"
        np.testing.assert_array_equal(answer.reshape(truth.shape), truth)


def test_a_model_that_takes_no_jets_is_simulated_over_its_range(tmp_path: Path) -> None:
    model = golden.imported("jet_mlp_v3.keras", tmp_path).model
    found = sample(build_of("imported"), model, 500)
    assert (len(found), found.jets, found.what) == (500, None, "events")
    values = found.inputs["jet"]
    assert values.shape == (500, 16)
    assert -32 <= values.min() < -31  # fixed<16,6>
    assert 31 < values.max() < 32
    np.testing.assert_array_equal(sample(build_of("imported"), model, 500).inputs["jet"], values)
    with pytest.raises(HlsError, match=r"at least one jet is needed: set --events. Received: 0"):
        sample(build_of("imported"), model, 0)
