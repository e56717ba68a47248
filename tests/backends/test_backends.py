"""Vivado beside Vitis, HGQ2's attention layers, and our way to compile against hls4ml's."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq.config import QuantizerConfigScope
from hgq.layers import QLinformerAttention, QMultiHeadAttention
from support import hls_models as h
from support.hls_models import Compared

from hls.proof.adversarial import adversarial
from qformers.data import open_split
from qformers.models.inputs import host_inputs


def assert_equal(made: Compared) -> None:
    for name, wanted in made.keras.items():
        assert np.unique(wanted).size > 10
        assert int((made.firmware[name] != wanted).sum()) == 0


def attention(kind: str, heads: int = 1) -> keras.Model:
    """Self-attention of HGQ2 on (3, 4)."""
    fixed = QuantizerConfigScope(place="all", default_q_type="kbi", overflow_mode="SAT_SYM")
    flowing = QuantizerConfigScope(place="datalane", default_q_type="kif", overflow_mode="SAT", i0=3, f0=4)
    keras.utils.set_random_seed(2)
    with fixed, flowing:
        x = keras.Input((3, 4), name="x")
        if kind == "mha":
            return keras.Model(x, {"y": QMultiHeadAttention(num_heads=heads, key_dim=4, name="attention")(x, x)})
        return keras.Model(
            x, {"y": QLinformerAttention(num_heads=heads, key_dim=4, lin_kv_proj_dim=2, name="attention")(x, x)}
        )


def test_vivado_is_exact(tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    weights = h.softmax(h.dense(x, "first", h.SOURCE, h.MIX), "weights")
    model = keras.Model(x, {"y": h.dense(weights, "last", "ufixed<8,1,RND,SAT>", h.MIX)})
    assert_equal(h.compared(model, h.build_of("vivado", backend="vivado"), tmp_path, {"x": h.numbers(3, 2000)}))


@pytest.mark.slow
def test_part_on_vivado_is_exact(tmp_path: Path) -> None:
    assert_equal(h.compared(h.part_model(3), h.build_of("vivado3", backend="vivado"), tmp_path, h.jets(3, 2000)))


@pytest.mark.parametrize(
    ("kind", "heads"),
    [("mha", 1), pytest.param("mha", 2, marks=pytest.mark.slow), pytest.param("linformer", 1, marks=pytest.mark.slow)],
)
def test_attention_layers_of_hgq2_are_exact(kind: str, heads: int, tmp_path: Path) -> None:
    model = attention(kind, heads)
    x = (np.random.default_rng(0).normal(size=(2000, 3, 4)) * 3).astype(np.float32)
    made = h.compared(model, h.build_of(kind), tmp_path, {"x": x})
    assert_equal(made)
    assert all(step.name.startswith("attention") for step in made.project.layout.steps)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"pairs": "onchip"}, {"pairs": "none"}, {"head": "class_token", "class_blocks": 1}]
)
def test_other_forms_of_part_are_exact(changes: dict[str, Any], tmp_path: Path) -> None:
    build = h.run_build()
    build = build.model_copy(update={"model": build.model.model_copy(update=changes)})
    events = open_split(build.data, "train").load()
    _, model = h.models_of(build, events)
    inputs, hard = host_inputs(model, events), adversarial(model).inputs
    both = {name: np.concatenate([inputs[name], hard[name]]) for name in inputs}
    assert_equal(h.compared(model, build, tmp_path, both))


@pytest.mark.slow
def test_our_compilation_gives_what_hls4mls_own_gives(part4: Compared) -> None:
    folder = part4.project.path
    subprocess.run(["bash", "build_lib.sh"], cwd=folder, check=True, capture_output=True)
    library = ctypes.CDLL(str(next((folder / "firmware").glob("part4-*.so"))))
    ports = [*part4.project.layout.inputs, *part4.project.layout.outputs]
    for event in range(300):
        arrays = [np.ascontiguousarray(part4.inputs[p.name][event], np.float64) for p in part4.project.layout.inputs]
        arrays.append(np.zeros(ports[-1].shape))
        library.part4_double(*(ctypes.c_void_p(array.ctypes.data) for array in arrays))
        np.testing.assert_array_equal(arrays[-1], part4.firmware["logits"][event])
