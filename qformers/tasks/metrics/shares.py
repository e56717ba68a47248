"""Shares of a sample and their binomial errors, by Wilson's score interval of one standard deviation.

sqrt(p (1 - p) / n) is 0 where all or none pass, however few there are; Wilson's (J. Am. Stat. Assoc. 22, 1927, 209) is
not, stays within [0, 1] and is the same for a share in the middle of many.
"""

from __future__ import annotations

import math


def interval(share: float, size: int) -> tuple[float, float]:
    """Lower and upper end at one standard deviation.

    Args:
        share: that passes, in [0, 1].
        size: of the sample, at least 1.
    """
    middle, half = (share + 0.5 / size) / (1.0 + 1.0 / size), error(share, size)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def error(share: float, size: int) -> float:
    """Half the interval."""
    return math.sqrt(share * (1.0 - share) / size + 0.25 / size**2) / (1.0 + 1.0 / size)


def of_mean(mean: float, spread: float, size: int) -> float:
    """Error of a mean of numbers in [0, 1].

    Args:
        mean: of them.
        spread: its standard deviation, as their scatter has it.
        size: how many they are, at least 1.

    Returns:
        The spread; where all numbers are 0, or all 1, they do not scatter, however few there are, and that of a share.
    """
    return error(mean, size) if mean in (0.0, 1.0) else spread
