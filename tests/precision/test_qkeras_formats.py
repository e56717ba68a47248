"""QKeras's spelling in build files: the formats it stands for, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from support import qkeras as golden
from support import qkeras_cases as cases

from qformers.builds.build import Build, load
from qformers.errors import ConfigError, QkerasError
from qformers.precision.fixed import Fixed
from qformers.precision.qkeras.formats import fixed_text, is_qkeras

DATA = {"dataset": "jetclass", "train": ["a"], "val": ["a"], "test": ["a"], "features": "kin", "num_particles": 4}


def build_file(folder: Path, **quant: object) -> Path:
    path = folder / "b.yaml"
    path.write_text(yaml.safe_dump({"spec": 1, "name": "b", "data": DATA, "model": {}, "quant": quant}))
    return path


def test_formats_round_as_the_quantisers_do() -> None:
    truth = golden.quantiser_truth("v3")
    rows = dict(zip(map(str, truth["flowing|spellings"]), truth["flowing"], strict=True))
    x, seen = cases.numbers(), 0
    for spelling, wanted in rows.items():
        try:
            form = Fixed.parse(fixed_text(spelling))
        except QkerasError:
            continue
        seen += 1
        far = np.abs(x) > 2.0 ** (24 - form.fraction_bits)  # there x + (q - x) in float32 is not q
        np.testing.assert_array_equal(form.quantise(x)[~far], wanted[~far], err_msg=spelling)
    assert seen > 60


def test_a_build_file_takes_both_spellings(tmp_path: Path) -> None:
    layers = {"fc*": {"weight": "quantized_linear(4, 0, alpha=1)", "input": "quantized_relu(6, 2)"}}
    path = build_file(
        tmp_path, learn=False, weight="quantized_bits(6, 0, alpha=1)", bias="quantized_bits(8, 2)", layers=layers
    )
    quant = load(path).quant
    assert quant is not None
    assert (quant.weight, quant.bias) == ("fixed<6,1,RND_CONV,SAT>", "fixed<8,3,RND_CONV,SAT>")
    assert quant.layers["fc*"].items() == {"weight": "fixed<4,1,RND_CONV,SAT_SYM>", "input": "ufixed<6,2,RND_CONV,SAT>"}
    assert Build.model_validate(yaml.safe_load(load(path).to_yaml())) == load(path)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("weight", "quantized_bits(6, 0)", "say alpha=1"),
        ("weight", "binary(alpha=1)", "its values are not those of a fixed-point format"),
        ("weight", "ternary(alpha=1)", "its values are not those of a fixed-point format"),
        ("weight", "quantized_po2(4)", "its values are not those of a fixed-point format"),
        ("weight", "quantized_bits(6, 0, alpha=0.5)", "rounds before it scales by 0.5"),
        ("activation", "quantized_bits(6, 0, alpha='auto')", "alpha='auto' makes the scale from the values"),
        ("activation", "quantized_sigmoid(6)", "its values are not those of a fixed-point format"),
        ("activation", "quantized_rellu(6)", "unknown quantiser 'quantized_rellu'; did you mean 'quantized_relu'?"),
        ("activation", "stochastic_binary()", "it draws random numbers"),
        ("activation", "fix<4,2>", "a format is spelt fixed<W,I>"),
    ],
)
def test_what_is_no_format_is_refused(tmp_path: Path, key: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(build_file(tmp_path, **{key: text}))
    assert words in str(error.value)
    assert f"quant.{key}" in str(error.value)


def test_which_texts_are_meant_for_qkeras() -> None:
    assert all(map(is_qkeras, ("quantized_bits(4)", "binary", "qkeras.ternary()", "quantized_x(", "bernoulli()")))
    assert not any(map(is_qkeras, ("fixed<4,2>", "ap_fixed<4,2>", "ufixed<8,0,TRN>", "", "4")))
