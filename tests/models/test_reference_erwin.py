"""maxxxzdn/erwin itself beside our float Erwin, given the same tree and edges. Optional: `make test-reference`.

Upstream has no licence and is no package: the variable ERWIN_CHECKOUT names a checkout of it (83faaf9). It needs torch,
einops and balltree-erwin; its torch_cluster makes radius graphs alone, which are given here.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.erwin import FEATURES, VARIANTS, empty_model, inputs_of, random_events, random_state, small

from qformers.interop import erwin as upstream
from qformers.models.erwin.config import ErwinConfig

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="make test-reference makes the environment")
SAME = ["published", "plane", "no_messages", "no_rotation", "stride1", "stride4", "channels", "bottleneck"]
FLOAT32 = 3e-6  # parity of float32


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The module ``models/erwin.py`` of the checkout."""
    folder = os.environ.get("ERWIN_CHECKOUT")
    if folder is None:
        pytest.skip("set ERWIN_CHECKOUT to a checkout of maxxxzdn/erwin")
    for name in ("balltree", "einops"):
        pytest.importorskip(name, reason="make test-reference")
    if importlib.util.find_spec("torch_cluster") is None:
        sys.modules["torch_cluster"] = ModuleType("torch_cluster")
    spec = importlib.util.spec_from_file_location("erwin_upstream", Path(folder) / "models" / "erwin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["erwin_upstream"] = module
    spec.loader.exec_module(module)
    return module


def upstream_model(theirs: Any, config: ErwinConfig, dtype: Any) -> Any:
    """Upstream's backbone in evaluation mode."""
    model = theirs.ErwinTransformer(
        c_in=FEATURES,
        c_hidden=list(config.widths),
        ball_sizes=list(config.balls),
        enc_num_heads=list(config.enc_heads),
        enc_depths=list(config.enc_depths),
        dec_num_heads=list(config.dec_heads),
        dec_depths=list(config.dec_depths),
        strides=list(config.strides),
        rotate=config.rotate,
        decode=config.decode,
        mlp_ratio=config.mlp_ratio,
        dimensionality=config.coords,
        mp_steps=config.mp_steps,
    )
    return model.to(dtype).eval()


def upstream_inputs(config: ErwinConfig, inputs: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """A batch of events that are all real, side by side, with the trees and edges of our inputs."""
    events, points = inputs["mask"].shape
    order = inputs["order"].astype(np.int64)
    slots = order.shape[-1]
    tree = (order[:, 0] + points * np.arange(events)[:, None]).ravel()
    first = np.ones((events, slots), np.bool_)
    first[:, 1::2] = order[:, 0, 1::2] != order[:, 0, ::2]
    turned = []
    for level in range(config.levels):
        here = slots // config.ball_order.merged(level)
        row = np.tile(np.arange(here), (events, 1))
        if level in config.turned:
            row = order[:, 1 + config.turned.index(level), :here]
        turned.append(torch.tensor((row + here * np.arange(events)[:, None]).ravel()))
    given: dict[str, Any] = {"edge_index": None}
    if config.mp_steps:
        senders = inputs["neighbours"].astype(np.int64)
        there = senders >= 0
        receivers = np.broadcast_to(np.arange(points)[:, None], senders.shape[1:])
        offset = points * np.arange(events)[:, None, None]
        given["edge_index"] = torch.tensor(np.stack([(senders + offset)[there], (receivers + offset)[there]]))
    return {
        "node_features": torch.tensor(inputs["features"].reshape(events * points, -1), dtype=dtype),
        "node_positions": torch.tensor(inputs["coords"].reshape(events * points, -1), dtype=dtype),
        "batch_idx": torch.tensor(np.repeat(np.arange(events), points)),
        "tree_idx": torch.tensor(tree),
        "tree_mask": torch.tensor(first.ravel()),
        "tree_idx_rot": turned,
        **given,
    }


@pytest.mark.parametrize("points", [32, 25])
@pytest.mark.parametrize("variant", SAME)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", FLOAT32)])
def test_upstream_and_keras_agree(theirs: Any, variant: str, points: int, dtype: str, tolerance: float) -> None:
    config = small(**{**VARIANTS[variant], "head": "none", "pads": "duplicates"})
    state = random_state(config)
    if dtype == "float32":  # outputs of about one
        state = {name: 0.5 * array if array.dtype.kind == "f" else array for name, array in state.items()}
    model = upstream_model(theirs, config, getattr(torch, dtype))
    entries = model.state_dict()
    assert set(entries) == set(state)
    model.load_state_dict({name: torch.tensor(array).to(entries[name].dtype) for name, array in state.items()})
    for norm in model.modules():
        if isinstance(norm, torch.nn.RMSNorm):
            norm.eps = 2.0**-23  # None there, which is the spacing of the type that is computed in
    ours = empty_model(config, points, dtype)
    upstream.load(ours, model.state_dict())
    inputs = inputs_of(ours, random_events(config, points, [points, points], seed=3))
    with torch.no_grad():
        found = model(**upstream_inputs(config, inputs, getattr(torch, dtype)))
    wanted = (found if config.decode else found[0]).numpy()
    output = np.asarray(ours(inputs))
    np.testing.assert_allclose(output.reshape(wanted.shape), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("points", [32, 25])
def test_trees_of_upstream_have_the_same_balls(theirs: Any, points: int) -> None:
    """With rotated trees, batches and every level; also where pads stand."""
    for variant in ("published", "stride4", "plane"):
        config = small(**VARIANTS[variant])
        ours = empty_model(config, points)
        events = random_events(config, points, [points, points, points], seed=4)
        events.coords = events.coords.astype(np.float32)  # upstream turns no others
        given = upstream_inputs(config, inputs_of(ours, events), torch.float32)
        tree, first, turned = theirs.build_balltree_with_rotations(
            given["node_positions"], given["batch_idx"], list(config.strides), list(config.balls), config.rotate
        )
        np.testing.assert_array_equal(first, given["tree_mask"])
        both = [(tree.numpy(), turned), (given["tree_idx"].numpy(), given["tree_idx_rot"])]
        for level, ball in enumerate(config.balls):
            merged = config.ball_order.merged(level)
            nodes = [np.reshape(points_of, (-1, merged)) for points_of, _ in both]  # points in the slots of a level
            _same_balls(nodes, ball * merged)
            if level in config.turned:
                _same_balls(
                    [node[order[level].numpy()] for node, (_, order) in zip(nodes, both, strict=True)], ball * merged
                )


def _same_balls(nodes: list[Any], size: int) -> None:
    balls = [np.sort(np.reshape(points, (-1, size)), axis=1) for points in nodes]
    np.testing.assert_array_equal(balls[0], balls[1])
