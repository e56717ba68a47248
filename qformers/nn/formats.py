"""HGQ2 quantiser settings from the formats of a build file; the only place that knows HGQ2's parameters."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from hgq.constraints import MinMax
from hgq.quantizer import QuantizerConfig
from hgq.regularizers import MonoL1

from qformers.config import ConfigError, QuantConfig, nearest
from qformers.precision import Fixed

PARTICLE_AXES = set("bnmqkpij")  # letters of equations that count particles, tokens or pairs; the others are channels


class Formats:
    """Looks up the format of each weight, bias and value by layer name.

    Args:
        quant: defaults, and `layers` with exceptions by layer name or glob; the last matching entry wins.
    """

    def __init__(self, quant: QuantConfig) -> None:
        self.quant = quant

    def weight(self, layer: str) -> QuantizerConfig:
        """Quantiser of a kernel: one width per element when learned, one format otherwise."""
        return self._weights(self._look_up(layer, "weight"), "weight")

    def bias(self, layer: str) -> QuantizerConfig:
        """Quantiser of a bias."""
        return self._weights(self._look_up(layer, "bias"), "bias")

    def value(self, layer: str, axes: str) -> QuantizerConfig:
        """Quantiser of an input of `layer` whose axes are spelt `axes`; the letters tell channels from particles."""
        form = self._look_up(layer, "activation")
        if not self.quant.learn:
            return self.fixed(str(form))
        same = {
            "element": (0,),
            "channel": tuple(i for i, letter in enumerate(axes) if letter in PARTICLE_AXES),
            "tensor": tuple(range(len(axes))),
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

    def fixed(self, text: str, place: str = "datalane") -> QuantizerConfig:
        """A quantiser that keeps the format `text` for a whole tensor."""
        form = Fixed.parse(text)
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

    def exact(self) -> QuantizerConfig:
        """A quantiser per element, to be set to hold constants exactly."""
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

    def refuse_unmatched(self, layers: Iterable[str]) -> None:
        """Raise when an entry of `quant.layers` names nothing in the model.

        Raises:
            ConfigError: with the nearest layer name.
        """
        names = list(layers)
        for pattern, entry in self.quant.layers.items():
            if not fnmatch.filter(names, pattern):
                raise ConfigError(f"quant.layers: no layer is called '{pattern}'{nearest(pattern, names)}")
            for key in entry:
                if key not in ("weight", "bias", "activation"):
                    hint = nearest(key, ("weight", "bias", "activation"))
                    raise ConfigError(f"quant.layers.{pattern}: unknown key '{key}'{hint}")

    def _look_up(self, layer: str, key: str) -> Fixed:
        text = getattr(self.quant, key)
        for pattern, entry in self.quant.layers.items():
            if fnmatch.fnmatchcase(layer, pattern) and key in entry:
                text = entry[key]
        try:
            return Fixed.parse(text)
        except ValueError as error:
            raise ConfigError(f"quant: {key} of layer '{layer}': {error}") from error

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
