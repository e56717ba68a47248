"""Whatever the fixed vocabulary accepts equals float in wide formats, over configurations of every architecture.

The configurations are generated from the record of each architecture (`support.configurations`). Each is refused with a
`ConfigError` that names a key, and accepted once the keys that the refusals name are changed, or accepted at once; and
what is accepted computes the float function.
"""

from __future__ import annotations

import pytest
from support.configurations import Sweep, choices, deviation

from qformers.models import MODELS

# Rms of the difference over the spread of the float outputs. Rounding in the widest formats gives up to 0.008 (the mean
# over particles, whose table of 1/n has 9 fraction bits; the pair features of `pairs: onchip`, whose tables are part of
# the architecture); a norm, a factor or a bias that is lost gives 0.28 and more, since the float models are shaken.
BOUND = 0.03
FEWEST, MOST = 4, 10  # configurations of one architecture in the default run: until each choice has had its turn


@pytest.mark.parametrize("name", MODELS)
def test_what_fixed_point_accepts_is_the_float_function(name: str) -> None:
    sweep = Sweep(MODELS[name])
    for count, (cfg, model) in enumerate(sweep.models(MOST), 1):
        off = deviation(MODELS[name], cfg, model)
        assert off < BOUND, f"off by {off:.1%} of the spread: {cfg!r}"
        if count >= FEWEST and not sweep.unseen():
            break
    assert not sweep.unseen(), "raise MOST, or mend the refusals that hide these choices"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_so_it_is_over_many_configurations(name: str, seed: int) -> None:
    sweep = Sweep(MODELS[name], seed)
    off = [(deviation(MODELS[name], cfg, model), cfg) for cfg, model in sweep.models(30)]
    assert not [(share, cfg) for share, cfg in off if share >= BOUND]


@pytest.mark.parametrize("name", MODELS)
def test_every_field_is_swept(name: str) -> None:
    swept = choices(MODELS[name].config)
    assert [key for key, values in swept.items() if len(values) < 2] == ["architecture"]
