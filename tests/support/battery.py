"""What the battery draws from: each form of each architecture on each backend, with its sizes and formats."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from hls.backends import BACKENDS
from qformers.builds.build import Build
from qformers.config.sections import QuantConfig
from qformers.models import MODELS
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from support import hept_fixed as hept_fixed_helpers
from support.peers import NARROW
from support.quantised import NATURAL, shaken

# The RTL backend needs no compilation for the traced arithmetic (its simulation: tests/backends/test_rtl_exact.py), so
# all forms go through `make test` there; of the others a few do, and all of them through `make test-all`.
WITHOUT_COMPILER = {"alkaid"}
IN_EVERY_RUN = {
    ("part", "input_class_token", "vitis"), ("jedi_linear", "relu", "vitis"), ("transformer", "linformer", "vitis"),
    ("hept", "two_orders", "vitis"), ("hept", "onchip", "vitis"), ("hrrformer", "xt", "vitis"),
}  # fmt: skip

# Forms that other tests of every run cover in part (verbs, forms with a class token) and that take long to trace.
LONG = {
    ("part", "rms_silu"), ("part", "layer_gelu"), ("part", "input_mean"), ("part", "onchip_mean"),
    ("hept", "layer_silu"), ("hept", "onchip"), ("hrrformer", "plain"), ("hrrformer", "masked"),
    ("hrrformer", "tokens"), ("erwin", "points"), ("erwin", "unet"), ("erwin", "encoder"), ("erwin", "jet"),
}  # fmt: skip

# (architecture, backend) -> why it is refused.
REFUSED: dict[tuple[str, str], str] = {}
# Folded firmware: tests/backends/test_folded.py
ELSEWHERE = {(name, "folded") for name in MODELS}

SLOTS = {"part": 5, "hept": 8, "erwin": 8}  # particles; 3 of all others
QUANT = {"hept": hept_fixed_helpers.NARROW}  # all others: NARROW
PER_ELEMENT = {  # one width per slot and channel; all others: one per channel
    ("deepsets", "sum"), ("mixer", "weighted"), ("jedi_linear", "relu"), ("transformer", "flat"),
    ("transformer", "linformer"),
}  # fmt: skip


def cases() -> list[Any]:
    """Architecture, form and backend of everything that is not refused, slow where a compiler is needed, or long."""
    return [
        pytest.param(
            name,
            form,
            backend,
            marks=() if in_every_run(name, form, backend) else pytest.mark.slow,
            id=f"{name}-{form}-{backend}",
        )
        for name, arch in MODELS.items()
        for form in arch.forms
        for backend in BACKENDS
        if (name, backend) not in REFUSED and (name, backend) not in ELSEWHERE
    ]


def in_every_run(name: str, form: str, backend: str) -> bool:
    """Whether a case is one of `make test`."""
    return (name, form, backend) in IN_EVERY_RUN or (backend in WITHOUT_COMPILER and (name, form) not in LONG)


def models_of(name: str, form: str, particles: int | None = None) -> tuple[Any, QuantConfig, keras.Model, keras.Model]:
    """Configuration, formats, shaken float model and quantised model (as built) of a form."""
    arch, sizes = MODELS[name], Jet(particles or SLOTS.get(name, 3), 3, 3, NATURAL)
    granularity = "element" if (name, form) in PER_ELEMENT else "channel"
    cfg, quant = arch.forms[form], QUANT.get(name, NARROW).model_copy(update={"granularity": granularity})
    keras.utils.set_random_seed(3)
    return cfg, quant, shaken(arch.build(cfg, sizes, Float32())), arch.build(arch.fixed(cfg), sizes, Hgq(quant))


def build_of(name: str, cfg: Any, quant: QuantConfig, backend: str) -> Build:
    """A build of this model; its data are not read."""
    data = {"dataset": "jetclass", "train": ["a"], "val": ["a"], "test": ["a"], "features": "kin", "num_particles": 8}
    model, firmware = cfg.model_dump(), {"backend": backend}
    sections = {"data": data, "model": model, "quant": quant.model_dump(), "firmware": firmware}
    return Build.model_validate({"spec": 1, "name": name, **sections})
