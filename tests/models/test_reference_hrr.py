"""Hrrformer beside PyPI's hrr and flax: attention, and networks whose params come through our importer.

Optional: `make test-reference`, which installs both in an environment of their own that sees ours.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from support.paths import SUPPORT
from support.quantised import inputs_of, logits, shaken
from support.under_jax import under_jax

from qformers.interop.importers import Sizes, import_weights
from qformers.models import MODELS
from qformers.models.hrrformer import fixed_hrrformer
from qformers.models.hrrformer.config import HrrformerConfig
from qformers.models.hrrformer.published import PUBLISHED
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.quant.fold import transfer

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(
        find_spec("flax") is None or find_spec("HRR") is None, reason="make test-reference makes the environment"
    ),
]
T, EVENTS, FEATURES = 50, 16, 3
MASKS: dict[str, dict[str, Any]] = {
    "unmasked": {"masked": False},
    "masked": {"masked": True},
    "beta masked": {"masked": True, "mask_beta": True},
}
SHAPES = {"8 of 4": (32, 4), "16 of 2": (32, 2), "64 of 1": (64, 1)}  # width of a head, heads: model width, heads
NEAR = {"float32": 1e-6, "float64": 1e-12}  # of the largest number, attention
NEAR_LOGITS = {"float32": 1e-5, "float64": 1e-12}
CASES = [(mask, shape, kind) for mask in MASKS for shape in SHAPES for kind in NEAR]


def models_of(mask: str, shape: str, kind: str) -> tuple[HrrformerConfig, dict[str, keras.Model]]:
    """The same model in both forms."""
    width, heads = SHAPES[shape]
    cfg = HrrformerConfig(embed_widths=(width,), heads=heads, input_norm="none", fc_widths=(4,), **MASKS[mask])
    keras.utils.set_random_seed(5)
    jet = Jet(T, FEATURES, 2)
    forms = {form: MODELS["hrrformer"].build(cfg_, jet, Float32(kind)) for form, cfg_ in _forms(cfg).items()}
    shaken(forms["fft"])
    transfer(forms["fft"], forms["dft"])
    return cfg, forms


def _forms(cfg: HrrformerConfig) -> dict[str, HrrformerConfig]:
    return {"fft": cfg, "dft": fixed_hrrformer(cfg)}


def events(kind: str) -> dict[str, NDArray[Any]]:
    """Features and a mask; pads are not zero."""
    random = np.random.default_rng(6)
    mask = np.arange(T) < random.integers(1, T + 1, (EVENTS, 1))
    return {"features": random.normal(size=(EVENTS, T, FEATURES)).astype(kind), "mask": mask.astype(kind)}


def part(model: keras.Model, layer: str, kind: str) -> NDArray[Any]:
    """What a layer gives."""
    return logits(keras.Model(model.inputs, model.get_layer(layer).output), inputs_of(model, events(kind)))


def _name(mask: str, shape: str, kind: str) -> str:
    return f"attention_{mask}_{shape}_{kind}".replace(" ", "-")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which flax left all it computed."""
    folder = tmp_path_factory.mktemp("flax")
    for case in CASES:
        cfg, forms = models_of(*case)
        model, kind = forms["fft"], case[2]
        kernels = {which: np.asarray(model.get_layer(f"b0_attn_{which}").kernel) for which in ("q", "k", "v", "out")}
        flat = {which: kernel.reshape(cfg.width, cfg.width) for which, kernel in kernels.items()}
        how = {"heads": cfg.heads, "masked": cfg.masked, "mask_beta": cfg.mask_beta, "mask": events(kind)["mask"]}
        np.savez(folder / f"{_name(*case)}.npz", x=part(model, "embed", kind), **flat, **how)
    assert under_jax(SUPPORT / "flax_child.py", folder)["hrr"] == "1.2.3"
    return folder


@pytest.mark.parametrize(("mask", "shape", "kind"), CASES)
def test_attention_is_that_of_the_authors_package(mask: str, shape: str, kind: str, reference: Path) -> None:
    """In both forms: the package takes complex transforms, we real ones, or none at all."""
    expected = np.load(reference / f"found_{_name(mask, shape, kind)}.npy")
    cfg, forms = models_of(mask, shape, kind)
    for form, model in forms.items():
        found = part(model, "b0_attn_out" if cfg.masked else "b0_attn_out_scaled", kind)  # what is left is 1/T
        assert found.dtype == expected.dtype == kind
        apart = np.abs(found - expected).max() / np.abs(expected).max()
        print(f"{mask}, {shape}, {kind}, {form}: {apart:.1e} of the largest number apart")
        assert apart <= NEAR[kind]


@pytest.mark.parametrize("kind", NEAR)
@pytest.mark.parametrize("task", PUBLISHED)
def test_params_of_flax_give_the_same_logits_here(task: str, kind: str, reference: Path, tmp_path: Path) -> None:
    """All residual forms; names are flax's own, the file is written by the lines that our refusal of a pickle gives."""
    given = np.load(reference / f"events_{task}_{kind}.npz")
    tokens, expected = given["tokens"], given["logits"]
    target = tmp_path / "model.keras"
    sizes = Sizes(tokens.shape[1], kind, {"heads": 2}, task)
    import_weights("hrrformer", reference / f"{task}_{kind}.npz", target, sizes)
    saved = keras.saving.load_model(target, safe_mode=True)
    found = logits(saved, inputs_of(saved, {"tokens": tokens, "mask": (tokens > 0).astype(kind)}))
    assert expected.std(axis=0).min() > 0.01 * np.abs(expected).max()  # the events differ
    apart = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"{task}, {kind}: {apart:.1e} of the largest logit apart")
    assert apart <= NEAR_LOGITS[kind]
