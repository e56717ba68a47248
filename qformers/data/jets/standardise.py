"""From numbers per particle to slots of a fixed-size jet: scaling, pT order, cut at N and padding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qformers.data.events import FeatureSet
from qformers.errors import DataError

INF = float("inf")
LARGEST = 1e9  # GeV, mm: nothing measured is larger, and squares of larger numbers leave float32
SMALLEST = float(np.finfo(np.float32).tiny)  # GeV: anything nearer to 0 loses digits in float32, or is 0 there
Numbering = int | NDArray[np.int64]  # of jets in their file: of the first one where they follow each other, or of each
Numbers = NDArray[np.float32] | NDArray[np.float64]
TINY = 1e-8  # floor of every logarithm, so that a particle of zero momentum stays finite


class Quantity(NamedTuple):
    """What a number of a file is: how large it may be, either side of 0, and the words for that."""

    largest: float
    words: str


GEV = Quantity(LARGEST, "units are GeV")
MM = Quantity(LARGEST, "units are mm")
CM = Quantity(LARGEST, "units are cm")
PLAIN = Quantity(LARGEST, "a number without a unit")
# files have [-pi, pi], [0, 2 pi) or, near a jet, what continues these; degrees are not meant
AZIMUTH = Quantity(4 * math.pi, "an azimuth in rad")
RAPIDITY = Quantity(50.0, "a rapidity, pseudorapidity or distance in them")  # a TeV of 1e-19 GeV transverse has 51
PDG_ID = Quantity(2.0**31 - 1, "a PDG id")


class Scaling(NamedTuple):
    """z = clip((x - shift) * scale, low, high) of one feature."""

    shift: float = 0.0
    scale: float = 1.0
    low: float = -INF
    high: float = INF


RAW = Scaling()


def feature_set(table: Mapping[str, Scaling]) -> FeatureSet:
    """A `FeatureSet` from name -> scaling, in the order of the table."""
    shift, scale, low, high = zip(*table.values(), strict=True)
    return FeatureSet(names=tuple(table), shift=shift, scale=scale, low=low, high=high)


def standardise(raw: NDArray[np.float32], features: FeatureSet) -> NDArray[np.float32]:
    """Scale and clip the last axis.

    Args:
        raw: (..., F), physical units.
        features: F names with their scaling.

    Returns:
        (..., F) float32.
    """
    shift, scale, low, high = (
        np.asarray(v, np.float32) for v in (features.shift, features.scale, features.low, features.high)
    )
    scaled: NDArray[np.float32] = (raw - shift) * scale
    return np.clip(scaled, low, high)


def safe_log(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """ln max(x, 1e-8), element by element."""
    return np.log(np.maximum(x, np.float32(TINY)))


def slots(
    counts: NDArray[np.int64], num_particles: int, padding: Literal["zero", "wrap"]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which particle of its jet stands in each slot.

    Args:
        counts: (n,), particles in each jet; those beyond `num_particles` are cut.
        num_particles: N, slots per jet.
        padding: ``wrap`` repeats the jet's own kept particles cyclically, ``zero`` points empty slots at particle 0
            (`blank` then zeroes them).

    Returns:
        rank (n, N): place in the jet's pT order, 0 first; mask (n, N): 1 = real particle.
    """
    kept = np.minimum(counts, num_particles)[:, None]  # (n, 1)
    slot = np.arange(num_particles)[None, :]  # (1, N)
    real = slot < kept
    rank = slot % np.maximum(kept, 1) if padding == "wrap" else np.where(real, slot, 0)
    return rank, real.astype(np.float32)


def blank(
    values: NDArray[np.float32], mask: NDArray[np.float32], padding: Literal["zero", "wrap"]
) -> NDArray[np.float32]:
    """Zero what must not be seen: every padded slot, or with ``wrap`` only the slots of empty jets.

    Args:
        values: (n, N, C), changed in place.
        mask: (n, N), 1 = real.
        padding: as for `slots`.
    """
    values[mask == 0 if padding == "zero" else np.broadcast_to(mask[:, :1] == 0, mask.shape)] = 0.0
    return values


def check_finite(
    values: Numbers, where: str, jets: NDArray[np.int64] | None, first_jet: Numbering, quantity: Quantity = GEV
) -> None:
    """Refuse NaN, infinity and numbers that nothing measured has in an input.

    Args:
        values: (k, ...), numbers as read: in float32, what is beyond it would be infinite.
        where: file and branch, for the message.
        jets: (k,), jet each number belongs to, counted from `first_jet`; None = one row per jet.
        first_jet: numbers of the jets in the file.
        quantity: what they are.

    Raises:
        DataError: names the branch, the first bad jet and the value.
    """
    good = np.abs(values) <= quantity.largest  # False for NaN
    if good.all():
        return
    spot = tuple(int(i) for i in np.argwhere(~good)[0])
    jet = jet_number(spot[0], jets, first_jet)
    beyond = f"value beyond {quantity.largest:g} ({quantity.words}),"
    what = beyond if np.isfinite(values[spot]) else "non-finite value"
    raise DataError(
        f"{where}: {what} {values[spot]} in jet {jet} ({np.count_nonzero(~good)} such values among the jets "
        f"read with it); mend or drop these jets in the file, nothing is replaced silently"
    )


def check_among(
    values: Numbers, allowed: Sequence[int], where: str, jets: NDArray[np.int64], first_jet: Numbering
) -> None:
    """Refuse numbers that are none of a few, as charges and flags are.

    Args:
        values: (k,), as read.
        allowed: what they may be.
        where: file and branch, for the message.
        jets: (k,), jet of each, counted from `first_jet`.
        first_jet: numbers of the jets in the file.

    Raises:
        DataError: names the first bad jet and the value.
    """
    strange = ~np.isin(values, allowed)
    if strange.any():
        first = int(np.argmax(strange))
        wanted = f"{', '.join(map(str, allowed[:-1]))} or {allowed[-1]}"
        raise DataError(
            f"{where} must be {wanted}. Received: {values[first]:g} in jet {jet_number(first, jets, first_jet)}; fetch "
            "or produce the file again"
        )


def check_momenta(pt: Numbers, energy: Numbers, where: str, jets: NDArray[np.int64], first_jet: Numbering) -> None:
    """Refuse particles without transverse momentum or with an energy that is not positive.

    Args:
        pt, energy: (k,), of real particles, GeV, as read: numbers that are 0 in float32 are refused as well.
        where: file and branches, for the message.
        jets: (k,), jet of each, counted from `first_jet`.
        first_jet: numbers of the jets in the file.

    Raises:
        DataError: names the first bad jet and the value.
    """
    for name, values in (("pT", pt), ("energy", energy)):
        bad = ~(values >= SMALLEST)
        if bad.any():
            jet, value = jet_number(int(np.argmax(bad)), jets, first_jet), values[bad][0]
            raise DataError(
                f"{where}: a particle's {name} must be {positive_words(value)}. Received: {value} in jet {jet} "
                f"({np.count_nonzero(bad)} such particles among the jets read with it); mend or drop these jets"
            )


def positive_words(value: Any) -> str:
    """What a number should have been that is not."""
    return f"at least {SMALLEST:.1e} GeV to be told from 0" if value > 0 else "positive"


def check_positive(values: Numbers, what: str, first_jet: Numbering) -> None:
    """Refuse jets of which a number that is divided by is not positive.

    Args:
        values: (n,), pT or energy of jets, GeV, as read.
        what: file and what it is, for the message.
        first_jet: numbers of the jets in the file.

    Raises:
        DataError: names the first such jet and the value.
    """
    bad = ~(values >= SMALLEST)
    if bad.any():
        first = int(np.argmax(bad))
        jet = jet_number(first, None, first_jet)
        raise DataError(f"{what} must be {positive_words(values[first])}. Received: {values[first]} in jet {jet}")


def check_counts(counts: NDArray[np.int64], where: str, first_jet: Numbering) -> None:
    """Refuse jets without particles, of which a model could say nothing but the share of the classes.

    Args:
        counts: (n,), particles of each jet.
        where: file, for the message.
        first_jet: numbers of the jets in the file.

    Raises:
        DataError: names the first such jet.
    """
    if (empty := counts == 0).any():
        jet = jet_number(int(np.argmax(empty)), None, first_jet)
        raise DataError(
            f"{where}: jet {jet} has no particle ({np.count_nonzero(empty)} such jets among those read with it); drop "
            f"them from the file"
        )


def jet_number(spot: int, jets: NDArray[np.int64] | None, first_jet: Numbering) -> int:
    """The number in its file of a jet, for messages.

    Args:
        spot: row of a number that was read.
        jets: jet of each row; None = one row per jet.
        first_jet: numbers of the jets.
    """
    row = spot if jets is None else int(jets[spot])
    return first_jet + row if isinstance(first_jet, int) else int(first_jet[row])


def one_hot_to_index(
    one_hot: NDArray[np.float64], where: str, names: tuple[str, ...], first_jet: int
) -> NDArray[np.int64]:
    """Label index of each jet.

    Args:
        one_hot: (n, classes), exactly one 1 per row.
        where: file and label branches, for the message.
        names: the classes in the order of the columns.
        first_jet: index in the file of the first jet read.

    Raises:
        DataError: a row is not one-hot; names the jet and its labels.
    """
    good = ((one_hot == 0) | (one_hot == 1)).all(axis=1) & (one_hot.sum(axis=1) == 1)
    if not good.all():
        bad = int(np.argmin(good))
        values = ", ".join(f"{name}={value:g}" for name, value in zip(names, one_hot[bad], strict=True))
        raise DataError(
            f"{where}: labels are not one-hot in jet {first_jet + bad}. Received: {values}; "
            f"exactly one label must be 1, drop the jets that have none or several"
        )
    return np.asarray(one_hot.argmax(axis=1), np.int64)


def flag_to_index(flags: NDArray[Any], where: str, first_jet: int) -> NDArray[np.int64]:
    """Index of the class of each jet, (n,), of two classes of which the signal stands first.

    Args:
        flags: (n,), 1 = signal, 0 = background, of the type of the file: another would make 1e-50 a 0.
        where: file and column, for the message.
        first_jet: index in the file of the first jet read.

    Raises:
        DataError: another value, with the jet.
    """
    bad = (flags != 0) & (flags != 1)
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"{where}: must be 0 or 1. Received: {flags[first]:g} in jet {first_jet + first} ({bad.sum()} such jets "
            "among those read with it); mend or drop these jets"
        )
    return np.where(flags == 1, 0, 1).astype(np.int64)
