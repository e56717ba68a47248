"""Whatever the fixed vocabulary accepts equals float in wide formats, over configurations of every architecture.

The configurations are generated from the record of each architecture (`support.configurations`). Each is refused with a
`ConfigError` that names a key, and accepted once the keys that the refusals name are changed, or accepted at once; and
what is accepted computes the float function.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support import configurations
from support.configurations import SIZES, WIDEST, Sweep, choices, deviation

from qformers.models import MODELS
from qformers.nn.hgq import Hgq

# Rms of the difference over the spread of the float outputs. Rounding in the widest formats gives up to 0.02 (the mean
# over particles, whose table of 1/n has 9 fraction bits; the pair features of `pairs: onchip`, whose tables are part of
# the architecture); a norm, a factor or a bias that is lost gives 0.28 and more, since the float models are shaken.
BOUND = 0.05
# With norms that are computed: of two channels they are the sign of a difference, and where it is small float's epsilon
# counts, which fixed point does not have.
COMPUTED = 0.1
# Lists of Erwin follow each other in length, and no draw of each by itself is accepted: its forms below, and
# tests/models/test_erwin_fixed.py
SWEPT = [name for name in MODELS if name != "erwin"]
COUNT, MANY = 5, 30  # configurations of one architecture


def bound(cfg: Any) -> float:
    return COMPUTED if getattr(cfg, "norm", None) in ("layer", "rms") else BOUND


@pytest.mark.parametrize("name", SWEPT)
def test_what_fixed_point_accepts_is_the_float_function(name: str) -> None:
    for cfg, model in Sweep(MODELS[name]).models(COUNT):
        off = deviation(MODELS[name], cfg, model)
        assert off < bound(cfg), f"off by {off:.1%} of the spread: {cfg!r}"


@pytest.mark.parametrize(("name", "form"), [(name, form) for name, arch in MODELS.items() for form in arch.forms])
def test_every_form_is_accepted_as_it_stands_and_is_the_float_function(
    name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep changes what is refused; a form of the tests is not to be refused."""
    arch, sizes = MODELS[name], replace(SIZES, num_particles=8)  # blocks of HEPT divide it
    monkeypatch.setattr(configurations, "SIZES", sizes)
    model = arch.build(arch.fixed(arch.forms[form]), sizes, Hgq(WIDEST))
    assert deviation(arch, arch.forms[form], model) < bound(arch.forms[form])


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEPT)
def test_so_it_is_over_many_configurations_with_every_choice(name: str) -> None:
    sweep = Sweep(MODELS[name], seed=1)
    results = [(deviation(MODELS[name], cfg, model), cfg) for cfg, model in sweep.models(MANY)]
    assert not [(off, cfg) for off, cfg in results if off >= bound(cfg)]
    assert not sweep.unseen(), "neither accepted nor refused"


@pytest.mark.parametrize("name", MODELS)
def test_every_field_is_swept(name: str) -> None:
    swept = choices(MODELS[name].config)
    assert [key for key, values in swept.items() if len(values) < 2] == ["architecture"]
