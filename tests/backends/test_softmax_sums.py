"""What a softmax divides by, in formats that training leaves: too small for the sum, or of no bits at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support import hls_models as h

from hls.backends import open_backend
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree

FORMATS = {
    "saturates_at_a_half": "fixed<4,-1,RND,SAT>",
    "saturates_at_one": "fixed<4,1,RND,SAT>",
    "of_the_sign_alone": "fixed<1,-12,RND,SAT>",
    "of_no_bits": "fixed<1,-12,RND,SAT>",  # less one; in five of six published transformers (2510.24784)
    "coarser_than_one": "ufixed<3,5,RND,SAT>",
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["alkaid", "vitis"])
@pytest.mark.parametrize("name", FORMATS)
def test_sums_that_do_not_fit_are_as_in_keras(name: str, backend: str, tmp_path: Path) -> None:
    x = keras.Input((2, 5), name="x")
    scores = h.dense(x, "scores", h.SOURCE, np.eye(5), equation="bni,io->bno", shape=(2, 5))
    soft = h.softmax(scores, "soft", tables="ufixed<6,1,RND_CONV,SAT>", inverse_iq=FORMATS[name])
    last = h.dense(soft, "last", "fixed<9,2,RND,SAT>", np.eye(5), equation="bni,io->bno", shape=(2, 5))
    model = keras.Model(x, last)
    if name == "of_no_bits":
        fraction = model.get_layer("soft").inv_table.iq.quantizer._f
        fraction.assign(fraction - 1)
    project: Any = open_backend(backend).write(model, h.build_of("sums", backend=backend), tmp_path / "project")
    events = {"x": np.random.default_rng(1).normal(0, 1, (500, 2, 5)).astype(np.float32)}
    assert np.ptp(np.asarray(model(events["x"]))) > 0
    for given in (events, adversarial(model).inputs):
        equal = agree(project, model, given)
        assert equal.equal, str(equal)
