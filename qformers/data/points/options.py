"""What a build asks of a point data set, refused where the set does not have it."""

from __future__ import annotations

from collections.abc import Iterable

from qformers.errors import DataError, nearest


def require_known(who_has: str, key: str, value: str, known: Iterable[str]) -> None:
    """Refuse a value of a build that a data set does not know.

    Args:
        who_has: the set and its verb, for the message: "TrackML has".
        key: of the build, with its sections: "data.features".
        value: of the build.
        known: what it could be.

    Raises:
        DataError: names the nearest.
    """
    if value not in set(known):
        raise DataError(f"{key}: {who_has} no {key.rpartition('.')[2]} '{value}'{nearest(value, known)}")
