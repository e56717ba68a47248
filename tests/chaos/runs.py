"""The run that is disturbed: a small Particle Transformer on the jets of the repository, and what is to stay of it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from support.paths import DATA

# of two epochs each, so that the whole flow takes a minute or two; its figures mean nothing
BUILD = """
spec: 1
name: chaos
seed: 1
data:
  dataset: jetclass
  train: ["{jets}/train/*.root"]
  val: ["{jets}/val/*.root"]
  test: ["{jets}/test/*.root"]
  features: lnpt_eta_phi
  num_particles: 3
model:
  architecture: part
  embed_widths: [4]
  pairs: none
  heads: 1
  blocks: 1
  class_blocks: 0
  head: mean
  ffn_ratio: 1
  norm: batch
  activation: relu
  scale_resids: false
  dropout: 0.0
  attn_dropout: 0.0
  activation_dropout: 0.0
quant: {{ weight: "fixed<6,2,RND,SAT_SYM>", activation: "fixed<7,4,RND,SAT>" }}
train:
  float: {{ epochs: 2, batch_size: 256, learning_rate: 3.0e-3 }}
  qat: {{ epochs: 2, batch_size: 256, learning_rate: 3.0e-3, ebops_target: 6000 }}
firmware: {{ backend: vitis, part: xcvu13p-flga2577-2-e, clock_ns: 5.0 }}
"""
TIMES = ("seconds", "jets_per_s", "input_bound", "versions", "created", "date", "seal", "model_file_sha256", "compiled")


def build_file(folder: Path) -> Path:
    """The build, with the jets of the repository."""
    path = folder / "chaos.yaml"
    path.write_text(BUILD.format(jets=DATA / "jets"))
    return path


def copied(run: Path, place: Path) -> Path:
    """A copy of a run of hard links: nothing in it is changed in place."""
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(run, place, copy_function=os.link))


def artefacts(run: Path) -> dict[str, Any]:
    """What a run came to, without times and versions."""
    from qformers.builds.saved import content_sha256
    from qformers.records import WRITTEN

    found: dict[str, Any] = {}
    for name in ("float", "qat"):
        found[f"{name}/model.keras"] = content_sha256(run / name / "model.keras")
        found[f"{name}/metrics.json"] = _timeless(json.loads((run / name / "metrics.json").read_text()))
    for manifest in sorted(run.glob("firmware/*/manifest.json")):
        tree = json.loads(manifest.read_text())
        found[manifest.parent.name] = {**tree[WRITTEN], "firmware": tree.get("firmware"), "of": tree["model_sha256"]}
    for record in ("csim.json", "rtl.json"):
        if (run / record).is_file():
            found[record] = _timeless(json.loads((run / record).read_text()))
    return found


def different(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Keys of two such that are not equal; those of dictionaries in them as ``key: inner key``."""
    found = []
    for key in sorted({*first, *second}):
        one, other = first.get(key), second.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += [f"{key}: {inner}" for inner in different(one, other)]
        elif one != other:
            found.append(key)
    return found


def numbers(text: str) -> set[str]:
    """Numbers that a text shows, without times; how far work was, and how fast, is one too."""
    lines = [line for line in text.splitlines() if not re.search(r"\d s\b|==|\d:\d\d:\d\d", line)]
    return set(re.findall(r"\d+\.\d+|\d{3,}", "\n".join(lines)))


def _timeless(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _timeless(value) for key, value in tree.items() if key not in TIMES}
    return [_timeless(value) for value in tree] if isinstance(tree, list) else tree
