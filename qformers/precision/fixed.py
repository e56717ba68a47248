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

Rounding = Literal["TRN", "RND", "RND_CONV"]
Overflow = Literal["WRAP", "SAT", "SAT_SYM"]
ROUNDING: tuple[Rounding, ...] = ("TRN", "RND", "RND_CONV")
OVERFLOW: tuple[Overflow, ...] = ("WRAP", "SAT", "SAT_SYM")
MAX_WIDTH = 128  # bits of a format; hls4ml's own analysis of formats ends there too
MAX_INTEGER = 256  # |I|: far from where float64, which holds the values, has no more exponents

_SPELLING = re.compile(r"^\s*(?:ap_)?(u?)fixed<\s*([0-9]+)\s*,\s*(-?[0-9]+)\s*((?:,\s*\w+\s*)*)>\s*$")


@dataclass(frozen=True)
class Fixed:
    """A fixed-point format: values are multiples of 2^-fraction_bits in [-signed * 2^integer_bits, 2^integer_bits).

    As in ap_fixed, the binary point may lie outside of the bits: ``fixed<4,6>`` counts in steps of 4, ``fixed<4,-2>``
    ends at 2^-3. One signed bit, ``fixed<1,1>``, is 0 or -1.
    """

    signed: bool
    integer_bits: int  # without the sign bit; negative when the first fraction bits are unused too
    fraction_bits: int
    rounding: Rounding = "RND"
    overflow: Overflow = "SAT"

    @classmethod
    def parse(cls, text: str, rounding: Rounding = "RND", overflow: Overflow = "SAT") -> Fixed:
        """Read ``fixed<W,I[,rounding][,overflow]>`` or ``ufixed<...>``, spelt as in ap_fixed (I counts the sign).

        Args:
            text: e.g. ``fixed<8,3,RND,SAT>``, ``ap_ufixed<8,3,AP_TRN,AP_WRAP>``.
            rounding, overflow: where the text has no such word.

        Raises:
            ValueError: the text is not of this form.
        """
        match = _SPELLING.match(text)
        words = [word.strip().upper().removeprefix("AP_") for word in match[4].split(",")[1:]] if match else []
        modes = [("rounding" if word in ROUNDING else "overflow") for word in words]
        if match is None or any(word not in ROUNDING + OVERFLOW for word in words) or len(set(modes)) < len(modes):
            raise ValueError(
                f"a format is spelt fixed<W,I> or ufixed<W,I>, then optionally one of {', '.join(ROUNDING)} and one of "
                f"{', '.join(OVERFLOW)}, as in fixed<8,3,RND,SAT> (quoted between braces). Received: {text!r}"
            )
        if len(match[2]) > 4 or len(match[3]) > 5:  # int() refuses very long ones
            raise ValueError(f"a format has 1 to {MAX_WIDTH} bits. Received: {text[:40]!r}")
        signed, width, integer = match[1] == "", int(match[2]), int(match[3])
        if not 1 <= width <= MAX_WIDTH:
            raise ValueError(f"a format has 1 to {MAX_WIDTH} bits. Received: {text!r}")
        if abs(integer) > MAX_INTEGER:
            raise ValueError(f"a format has -{MAX_INTEGER} to {MAX_INTEGER} integer bits. Received: {text!r}")
        said = {"rounding": rounding, "overflow": overflow, **dict(zip(modes, words, strict=True))}
        if signed and width == 1 and said["overflow"] == "SAT_SYM":  # 0 in HGQ2, 0 or -1 in ap_fixed and ac_fixed
            raise ValueError(f"one signed bit is 0 or -1, which no symmetric range has; use SAT. Received: {text!r}")
        return cls(signed, integer - signed, width - integer, **said)  # type: ignore[arg-type]

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
        """Smallest value; exact up to 53 bits."""
        symmetric = self.overflow == "SAT_SYM"
        return -float(self.signed) * (2.0**self.integer_bits - (self.step if symmetric else 0.0)) + 0.0

    @property
    def high(self) -> float:
        """Largest value; exact up to 53 bits."""
        return 2.0**self.integer_bits - self.step

    def __str__(self) -> str:
        prefix = "fixed" if self.signed else "ufixed"
        return f"{prefix}<{self.width},{self.integer_bits + self.signed},{self.rounding},{self.overflow}>"

    def quantise(self, values: ArrayLike) -> NDArray[np.float64]:
        """Round and clip (or wrap) `values` as ap_fixed does; exact in float64 for formats of up to 53 bits.

        Raises:
            ValueError: a value is not a number, or infinite where the format wraps.
        """
        array = np.asarray(values, np.float64)
        if np.isnan(array).any() or (self.overflow == "WRAP" and np.isinf(array).any()):
            raise ValueError(f"{self} cannot hold a value that is not finite. Received: nan or inf")
        steps = rounded(array * 2.0**self.fraction_bits, self.rounding)
        if self.overflow == "WRAP":
            span = 2.0**self.width
            wrapped = np.mod(steps, span)  # in [0, span), without rounding
            return np.asarray(np.where(wrapped >= span / (1 + self.signed), wrapped - span, wrapped) * self.step)
        return np.asarray(np.clip(steps * self.step, self.low, self.high))


def rounded(scaled: NDArray[np.float64], rounding: Rounding) -> NDArray[np.float64]:
    """Whole numbers for values that are given in steps of a format, rounded as ap_fixed does."""
    if rounding == "RND_CONV":
        return np.asarray(np.rint(scaled))
    whole = np.floor(scaled)
    if rounding == "TRN":
        return np.asarray(whole)
    rest = np.where(np.isinf(scaled), 0.0, scaled)  # not floor(scaled + 0.5), whose sum rounds
    return np.asarray(whole + (rest - np.floor(rest) >= 0.5))


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
