"""`Fixed`: one type for a fixed-point format, whoever counts the sign bit.

``ap_fixed<W,I>`` counts the sign among the integer bits; HGQ2's (k, i, f) does not. Both spellings meet here and
nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDING = ("TRN", "RND", "RND_CONV")
OVERFLOW = ("WRAP", "SAT", "SAT_SYM")

_SPELLING = re.compile(r"^\s*(?:ap_)?(u?)fixed<\s*(\d+)\s*,\s*(-?\d+)\s*((?:,\s*\w+\s*)*)>\s*$")


@dataclass(frozen=True)
class Fixed:
    """A fixed-point format: values are multiples of 2^-fraction_bits in [-signed * 2^integer_bits, 2^integer_bits)."""

    signed: bool
    integer_bits: int  # without the sign bit; negative when the first fraction bits are unused too
    fraction_bits: int
    rounding: Literal["TRN", "RND", "RND_CONV"] = "RND"
    overflow: Literal["WRAP", "SAT", "SAT_SYM"] = "SAT"

    @classmethod
    def parse(cls, text: str) -> Fixed:
        """Read ``fixed<W,I[,rounding][,overflow]>`` or ``ufixed<...>``, spelt as in ap_fixed (I counts the sign).

        Raises:
            ValueError: the text is not of this form.
        """
        match = _SPELLING.match(text)
        words = [word.strip().upper() for word in match[4].split(",")[1:]] if match else []
        if match is None or any(word not in ROUNDING + OVERFLOW for word in words):
            raise ValueError(
                f"a format is spelt fixed<W,I> or ufixed<W,I>, then optionally one of {', '.join(ROUNDING)} and one of "
                f"{', '.join(OVERFLOW)}, as in fixed<8,3,RND,SAT>. Received: {text!r}"
            )
        signed, width, integer = match[1] == "", int(match[2]), int(match[3])
        modes = {("rounding" if word in ROUNDING else "overflow"): word for word in words}
        if width < 1 + signed:
            raise ValueError(f"a format needs at least one bit besides the sign. Received: {text!r}")
        return cls(signed, integer - signed, width - integer, **modes)  # type: ignore[arg-type]

    @property
    def width(self) -> int:
        """All bits, sign included (W of ap_fixed)."""
        return self.signed + self.integer_bits + self.fraction_bits

    @property
    def step(self) -> float:
        """One LSB."""
        return 2.0**-self.fraction_bits

    @property
    def low(self) -> float:
        """Smallest value."""
        symmetric = self.overflow == "SAT_SYM"
        return -float(self.signed) * (2.0**self.integer_bits - (self.step if symmetric else 0.0))

    @property
    def high(self) -> float:
        """Largest value."""
        return 2.0**self.integer_bits - self.step

    def __str__(self) -> str:
        prefix = "fixed" if self.signed else "ufixed"
        return f"{prefix}<{self.width},{self.integer_bits + self.signed},{self.rounding},{self.overflow}>"

    def quantise(self, values: ArrayLike) -> NDArray[np.float64]:
        """Round and clip (or wrap) `values` as the format does; the result is exact in float64."""
        scaled = np.asarray(values, np.float64) * 2.0**self.fraction_bits
        if self.rounding == "RND_CONV":
            rounded = np.rint(scaled)
        else:
            rounded = np.floor(scaled + (0.5 if self.rounding == "RND" else 0.0))
        if self.overflow == "WRAP":
            span, offset = 2.0 ** (self.width), 2.0 ** (self.width - 1) * self.signed
            return np.asarray(((rounded + offset) % span - offset) * self.step)
        return np.asarray(np.clip(rounded * self.step, self.low, self.high))


def exact_format(values: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Smallest (sign, integer bits, fraction bits) per element that hold `values` exactly; zeros need no bit.

    Raises:
        ValueError: a value is no multiple of 2^-24 below 2^24.
    """
    array = np.asarray(values, np.float64)
    scaled = array * 2.0**24
    if not np.all(np.isfinite(array)) or np.any(scaled != np.rint(scaled)) or np.any(np.abs(array) >= 2.0**24):
        bad = array[~(np.isfinite(array) & (scaled == np.rint(scaled)) & (np.abs(array) < 2.0**24))].ravel()[0]
        raise ValueError(f"constants must be multiples of 2^-24 below 2^24 in size. Received: {bad}")
    whole = scaled.astype(np.int64)
    lowest = np.where(whole != 0, whole & -whole, 1)
    fraction = 24 - np.round(np.log2(lowest.astype(np.float64))).astype(np.int64)
    reach = np.where(array < 0, -array, array + 2.0**-fraction)  # -2^i is representable, +2^i is not
    integer = np.ceil(np.log2(np.where(whole != 0, reach, 1.0))).astype(np.int64)
    zero = whole == 0
    return (array < 0).astype(np.int64), np.where(zero, 0, integer), np.where(zero, 0, fraction)
