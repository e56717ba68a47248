"""weaver-core itself against our float ParT, in float64 to 1e-9. Optional: `make test-reference`.

Needs torch and weaver-core (`pip install torch==2.13.0; pip install --no-deps weaver-core==0.5.3`) in an environment of
their own that sees ours.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from support import oracle_part
from support.part import CLASSES, FEATURES, VARIANTS, empty_model, logits, small
from support.paths import ROOT

from qformers.errors import WeightsError
from qformers.interop import weaver
from qformers.interop.checkpoint import read_checkpoint
from qformers.models.part.config import PartConfig
from qformers.models.part.part import part
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="make test-reference makes the environment")
logging.disable(logging.INFO)  # weaver reports its whole configuration
reference = pytest.importorskip("weaver.nn.model.ParticleTransformer", reason="make test-reference")
logging.disable(logging.NOTSET)

TOLERANCE = 1e-9


def weaver_model(config: PartConfig, features: int, classes: int, seed: int) -> Any:
    """weaver's model in float64 and evaluation mode, with random weights."""
    scales = {key: getattr(config, key) for key in ("scale_fc", "scale_attn", "scale_heads", "scale_resids")}
    block = {**scales, "ffn_ratio": config.ffn_ratio}
    dropouts = {key: getattr(config, key) for key in ("dropout", "attn_dropout", "activation_dropout")}
    logging.disable(logging.INFO)
    model = reference.ParticleTransformer(
        features,
        classes,
        use_pre_activation_pair=config.pre_activation_pair,
        remove_self_pair=config.remove_self_pair,
        embed_dims=list(config.embed_widths),
        pair_embed_dims=None if config.pairs == "none" else list(config.pair_widths),
        num_heads=config.heads,
        num_layers=config.blocks,
        num_cls_layers=config.class_blocks,
        block_params={**block, **dropouts},
        cls_block_params=block,
        fc_params=[(width, 0.1) for width in config.fc_widths],
        activation=config.activation,
        trim=False,
    )
    logging.disable(logging.NOTSET)
    state = oracle_part.random_state_dict(config, features, classes, seed)
    model.double().load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    return model.eval()


def weaver_logits(model: Any, features: ArrayLike, vectors: ArrayLike, mask: ArrayLike) -> NDArray[np.float64]:
    """weaver's channels come before its particles."""
    x, v = (torch.tensor(np.moveaxis(np.asarray(array), 1, 2)) for array in (features, vectors))
    with torch.no_grad():
        result: NDArray[np.float64] = model(x, v, torch.tensor(np.asarray(mask) > 0)[:, None]).numpy()
    return result


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("particles", [5, 9], ids=["N5", "N9"])
def test_weaver_keras_and_plain_loops_agree(variant: str, particles: int) -> None:
    config = small(**VARIANTS[variant])
    theirs = weaver_model(config, FEATURES, CLASSES, seed=1)
    jets = oracle_part.random_jets(particles, FEATURES, [particles, 4, 2, 1, 0], seed=3)
    expected = weaver_logits(theirs, *jets)
    assert np.isfinite(expected).all()
    ours = empty_model(config, particles)
    weaver.load(ours, theirs.state_dict())
    np.testing.assert_allclose(logits(ours, *jets), expected, rtol=0, atol=TOLERANCE)
    loops = oracle_part.part(theirs.state_dict(), config, *jets)
    np.testing.assert_allclose(loops, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("features", "expected"), [(7, 2_142_166), (13, 2_142_958), (17, 2_143_486)])
def test_published_model_agrees(features: int, expected: int) -> None:
    """The JetClass models, with padded, one-particle and empty jets."""
    config = PartConfig()
    theirs = weaver_model(config, features, 10, seed=1)
    assert sum(parameter.numel() for parameter in theirs.parameters()) == expected
    ours = part(config, Jet(40, features, 10), Float32("float64"))
    weaver.load(ours, theirs.state_dict())
    jets = oracle_part.random_jets(40, features, [40, 25, 7, 1, 0], seed=4)
    difference = np.abs(logits(ours, *jets) - weaver_logits(theirs, *jets)).max(axis=1)
    print(f"largest difference per jet: {difference}")
    assert difference.max() < TOLERANCE


@pytest.mark.parametrize("variant", ["published_form", "remove_self_pair"])
def test_a_training_step_counts_the_same_positions(variant: str) -> None:
    """Logits with batch statistics, and the running statistics afterwards.

    The input norm counts padded slots, the norms of the pair network real pairs only. PyTorch's running variances are
    unbiased, Keras' are not: its share of the update differs by (n - 1) / n. Keras adds 1e-7 to n under a mask.
    """
    config = small(**VARIANTS[variant], dropout=0.0, attn_dropout=0.0, activation_dropout=0.0)
    theirs = weaver_model(config, FEATURES, CLASSES, seed=5)
    ours = empty_model(config, 6)
    weaver.load(ours, theirs.state_dict())
    jets = oracle_part.random_jets(6, FEATURES, [6, 4, 2, 1], seed=5)
    before = {name: array.numpy().copy() for name, array in theirs.state_dict().items()}
    expected = weaver_logits(theirs.train(), *jets)
    np.testing.assert_allclose(logits(ours, *jets, training=True), expected, rtol=0, atol=1e-6)
    after = {name: array.numpy() for name, array in theirs.state_dict().items()}
    pairs = sum(count * (count + (-1 if config.remove_self_pair else 1)) // 2 for count in (6, 4, 2, 1))
    for layer, module, n in [("input_norm", "embed.input_bn", 24), ("pair1_norm", "pair_embed.embed.5", pairs)]:
        norm = ours.get_layer(layer)
        np.testing.assert_allclose(norm.moving_mean, after[f"{module}.running_mean"], atol=1e-6)
        old, new = before[f"{module}.running_var"], after[f"{module}.running_var"]
        np.testing.assert_allclose(norm.moving_variance, 0.9 * old + (new - 0.9 * old) * (n - 1) / n, atol=1e-6)


def test_sizes_are_inferred_from_weaver() -> None:
    model = weaver_model(PartConfig(), 17, 10, seed=1)
    assert weaver.infer_config(model.state_dict()) == (PartConfig(), 17, 10)


def test_script_imports_a_checkpoint(tmp_path: Path) -> None:
    """Checkpoint in, Keras model out, equal logits; through the command line."""
    theirs = weaver_model(small(), FEATURES, CLASSES, seed=6)
    torch.save({f"mod.{name}": tensor for name, tensor in theirs.state_dict().items()}, tmp_path / "part.pt")
    command = [sys.executable, str(ROOT / "scripts/import_weights.py"), "part", "part.pt", "part.keras"]
    command += ["--particles", "9", "--dtype", "float64"]
    done = subprocess.run(
        command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "inputs {'features': (9, 5), 'mask': (9,), 'vectors': (9, 4)}, output (3,)" in done.stdout
    jets = oracle_part.random_jets(9, FEATURES, [9, 3, 1, 0], seed=7)
    saved = keras.saving.load_model(tmp_path / "part.keras", safe_mode=True)
    np.testing.assert_allclose(logits(saved, *jets), weaver_logits(theirs, *jets), rtol=0, atol=TOLERANCE)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


class Tagger(torch.nn.Linear):  # type: ignore[misc,name-defined]
    """A module that somebody pickles whole."""


def _whole(path: Path) -> None:
    torch.save(Tagger(2, 2), path)


def _text(path: Path) -> None:
    path.write_text("hello world\n")


def _nothing(path: Path) -> None:
    path.touch()


def _half(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    path.write_bytes(path.read_bytes()[:500])


def _script(path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)


def _numbers(path: Path) -> None:
    torch.save({"epoch": 3}, path)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (_whole, "holds Python objects besides weights"),
        (_text, "not a PyTorch checkpoint"),
        (_nothing, "not a PyTorch checkpoint"),
        (_half, "not a PyTorch checkpoint, or a damaged one"),
        (_script, "a TorchScript archive"),
        (_numbers, "Received: a mapping to int"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_other_files_are_refused(write: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    write(path)
    with pytest.raises(WeightsError, match=rf"file\.pt: .*{words}"):
        read_checkpoint(path)


def test_bfloat16_weights_are_read(tmp_path: Path) -> None:
    config = small()
    state = weaver_model(config, FEATURES, CLASSES, seed=8).bfloat16().state_dict()
    torch.save(state, tmp_path / "half.pt")
    model = empty_model(config, 5)
    weaver.load(model, read_checkpoint(tmp_path / "half.pt"))
    np.testing.assert_array_equal(model.get_layer("embed0").kernel, state["embed.embed.1.weight"].double().numpy().T)
