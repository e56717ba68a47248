"""The events that overflow most, in a file from which they can be run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.errors import ConfigError
from qformers.files import replacing
from qformers.quant.audit import Inputs, Overflow


def save_worst(path: Path, overflows: list[Overflow], pick: Callable[[NDArray[np.int64]], Inputs]) -> int:
    """Write the worst events for a replay; returns how many.

    The ``.npz`` file holds ``event`` (n,), the numbers of the events in the split, ascending; their inputs as
    ``input_<name>`` (n, ...); and one entry per overflow (m,): ``quantiser``, ``mode``, ``of`` (index into `event`),
    ``excess``, ``values``.

    Args:
        path: file to write.
        overflows: from `audit_stream`.
        pick: event numbers -> their inputs by name.
    """
    events = np.array(sorted({one.event for one in overflows}), np.int64)
    content: dict[str, Any] = {}
    content["of"] = np.searchsorted(events, [one.event for one in overflows]).astype(np.int64)
    for name in ("quantiser", "mode"):
        content[name] = np.array([getattr(one, name) for one in overflows], np.str_)
    content["excess"] = np.array([one.excess for one in overflows], np.float64)
    content["values"] = np.array([one.values for one in overflows], np.int64)
    save_events(path, events, pick(events), content)
    return len(events)


def save_events(
    path: Path, events: NDArray[np.int64], inputs: Inputs, more: Mapping[str, NDArray[Any]] | None = None
) -> None:
    """Write events for a replay.

    Args:
        path: ``.npz`` file to write.
        events: (n,), their numbers.
        inputs: name -> (n, ...).
        more: entries beside them.
    """
    content: dict[str, Any] = {f"input_{name}": array for name, array in inputs.items()}
    content |= {"event": events, **(more or {})}
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **content)


def read_worst(path: Path) -> tuple[NDArray[np.int64], Inputs]:
    """Event numbers (n,) and inputs by name, (n, ...), that `save_events` wrote.

    Raises:
        ConfigError: no such file, or not of this kind.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            inputs = {name.removeprefix("input_"): content[name] for name in content.files if name.startswith("input_")}
            return content["event"], inputs
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: is no file of events as qformers audit and prove write them ({error})") from error
