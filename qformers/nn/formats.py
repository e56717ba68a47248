"""HGQ2 quantiser settings from the formats of a build file; the only place that knows HGQ2's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hgq.constraints import MinMax
from hgq.quantizer import QuantizerConfig
from hgq.regularizers import MonoL1

from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.nn.memory import PLACES, Role
from qformers.precision.fixed import Fixed, exact_format
from qformers.precision.rules import Rules


def fixed_quantiser(form: Fixed, place: str = "datalane") -> QuantizerConfig:
    """A quantiser that keeps one format for a whole tensor."""
    return QuantizerConfig(
        "kif",
        place,
        k0=form.signed,
        i0=form.integer_bits,
        f0=form.fraction_bits,
        round_mode=form.rounding,
        overflow_mode=form.overflow,
        homogeneous_axis=None,
        heterogeneous_axis=(),
        trainable=False,
    )


def exact_quantiser() -> QuantizerConfig:
    """A quantiser with a format for each element of a weight, to be set to hold constants exactly."""
    return QuantizerConfig(
        "kif",
        "weight",
        i0=2,
        f0=0,
        round_mode="RND",
        overflow_mode="SAT",
        ic=None,
        fc=None,
        homogeneous_axis=(),
        trainable=False,
    )


def write_constant(variable: Any, wrapper: Any, values: Any) -> None:
    """Write constants and the exact format of each."""
    variable.assign(values)
    core = wrapper.quantizer
    for target, numbers in zip((core._k, core._i, core._f), exact_format(values), strict=True):
        target.assign(numbers.astype(target.dtype))


class Formats:
    """Resolves the format of each weight, bias, value and table, by layer.

    Args:
        quant: defaults, `types` and `layers`.
    """

    def __init__(self, quant: QuantConfig) -> None:
        self.quant = quant
        self.rules = Rules("quant", quant.types, quant.layers)

    def weight(self, layer: str, kind: str = "QEinsumDense") -> QuantizerConfig:
        """Quantiser of a kernel: one width per element when learned, one format otherwise."""
        return self._weights(self._look_up(layer, kind, "weight", self.quant.weight), "weight")

    def bias(self, layer: str, kind: str = "QEinsumDense") -> QuantizerConfig:
        """Quantiser of a bias."""
        return self._weights(self._look_up(layer, kind, "bias", self.quant.bias), "bias")

    def value(
        self,
        layer: str,
        roles: Sequence[Role],
        kind: str = "QEinsumDense",
        slot: str = "input",
        default: str | None = None,
    ) -> QuantizerConfig:
        """Quantiser of an input of `layer`.

        Args:
            layer: its name.
            roles: of the axes of the input; they tell channels from points.
            kind: type of the layer.
            slot: "input", or "input0" and "input1" of a layer that reads two values.
            default: where the build file says nothing of this slot; None = ``quant.activation``.
        """
        form = self._look_up(layer, kind, slot, default or self.quant.activation)
        if not self.quant.learn:
            return self.fixed(str(form))
        same = {
            "element": (0,),
            "channel": tuple(i for i, role in enumerate(roles) if role in PLACES),
            "tensor": tuple(range(len(roles))),
        }[self.quant.granularity]
        return QuantizerConfig(
            "kif",
            "datalane",
            k0=form.signed,
            i0=form.integer_bits,
            f0=form.fraction_bits,
            round_mode=form.rounding,
            overflow_mode=form.overflow,
            ic=MinMax(-self.quant.max_bits, self.quant.max_bits),
            fc=MinMax(-self.quant.max_bits, self.quant.max_bits),
            ir=MonoL1(1e-8),
            fr=MonoL1(1e-8),
            homogeneous_axis=same,
        )

    def result(self, layer: str, kind: str) -> dict[str, Any]:
        """Arguments of an HGQ2 layer for the format of what leaves it; empty where the build file asks for none."""
        setting = self.rules.look_up(layer, kind, "result", None)
        return {} if setting is None else {"enable_oq": True, "oq_conf": self.fixed(str(setting.value))}

    def own(self, layer: str, kind: str, slot: str, default: str) -> Fixed:
        """Format of a slot whose default the model knows, e.g. of a table."""
        return self._look_up(layer, kind, slot, default)

    def fixed(self, text: str, place: str = "datalane") -> QuantizerConfig:
        """A quantiser that keeps the format `text` for a whole tensor."""
        return fixed_quantiser(Fixed.parse(text), place)

    def softmax(self, layer: str, exp_integer_bits: int, sum_integer_bits: int) -> dict[str, QuantizerConfig]:
        """The four quantisers of a QSoftmax.

        Args:
            layer: its name.
            exp_integer_bits: the exponential is tabulated in [0, 2^exp_integer_bits) below the maximum.
            sum_integer_bits: of the sum of the exponentials.

        Raises:
            ConfigError: a format that HGQ2 and hls4ml do not have there, or with which padded slots would be seen.
        """
        quant, forms = self.quant, {}
        for slot, integer, fraction, modes in (
            ("exp_input", exp_integer_bits, quant.exp_input_fraction_bits, "RND,SAT"),
            ("exp_table", 1, quant.exp_fraction_bits, "RND_CONV,SAT"),
            ("inverse_input", sum_integer_bits, quant.inverse_input_fraction_bits, "RND,SAT"),
            ("inverse_table", 1, quant.inverse_fraction_bits, "RND_CONV,SAT"),
        ):
            default = f"ufixed<{integer + fraction},{integer},{modes}>"
            forms[slot] = self._softmax_slot(layer, slot, default)
        deepest, step = forms["exp_input"].high, forms["exp_table"].step
        if forms["exp_input"].integer_bits != exp_integer_bits or np.exp(-deepest) > step / 2:
            raise ConfigError(
                f"quant: softmax '{layer}': exp_input needs {exp_integer_bits} integer bits, at whose end exp_table "
                "has to give 0, so that padded slots count nothing. "
                f"Received: {forms['exp_input']}, {forms['exp_table']}"
            )
        return {
            "exp_iq_conf": self.fixed(str(forms["exp_input"])),
            "exp_oq_conf": self.fixed(str(forms["exp_table"]), place="table"),
            "inv_iq_conf": self.fixed(str(forms["inverse_input"])),
            "inv_oq_conf": self.fixed(str(forms["inverse_table"]), place="table"),
        }

    def _softmax_slot(self, layer: str, slot: str, default: str) -> Fixed:
        form = self.own(layer, "QSoftmax", slot, default)
        tabulated = slot in ("exp_table", "inverse_table")
        if form.signed or form.overflow != "SAT" or (tabulated and form.rounding != "RND_CONV"):
            needs = "ufixed<W,I,RND_CONV,SAT>" if tabulated else "ufixed<W,I,rounding,SAT>"
            raise ConfigError(f"quant: softmax '{layer}': {slot} is spelt {needs}. Received: {form}")
        return form

    def refuse_unmatched(self, layers: Mapping[str, str]) -> None:
        """Raise when an entry of `quant.types` or `quant.layers` says something about nothing.

        Args:
            layers: name -> type of all layers.

        Raises:
            ConfigError: with the nearest name, or with what the layer can be told.
        """
        self.rules.refuse_unmatched(layers)

    def _look_up(self, layer: str, kind: str, slot: str, default: str) -> Fixed:
        setting = self.rules.look_up(layer, kind, slot, Fixed.parse(default))
        if setting is None or not isinstance(setting.value, Fixed):  # never: there is a default, and slots are formats
            raise ConfigError(f"quant: layer '{layer}' has no format for its {slot}")
        return setting.value

    def _weights(self, form: Fixed, place: str) -> QuantizerConfig:
        if not self.quant.learn:
            return self.fixed(str(form), place)
        return QuantizerConfig(
            "kbi",
            place,
            k0=True,
            b0=form.integer_bits + form.fraction_bits,
            i0=form.integer_bits,
            round_mode=form.rounding,
            overflow_mode=form.overflow,
            bc=MinMax(0, self.quant.max_bits),
            br=MonoL1(1e-8),
            homogeneous_axis=(),
            heterogeneous_axis=None,
        )
