"""Entry point of the command `qformers`: Ctrl-C while it is still being imported ends it as at any other moment, and an
environment that Keras or Matplotlib cannot start in is named before they try.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

BAD_INPUT, STOPPED = 2, 3  # as in `qformers.cli.status`, which is not imported yet
BACKENDS = {"tensorflow": "cpu", "jax": "jax"}  # of Keras -> the extra of this package that installs it


def main() -> int:
    """Import the commands and run one; returns the exit status."""
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files
    if reason := _no_backend():
        print(reason, file=sys.stderr)
        return BAD_INPUT
    try:
        from hls.cli import main as command
    except KeyboardInterrupt:
        print("stopped; nothing was begun", file=sys.stderr)
        return STOPPED
    return command()


def _no_backend() -> str | None:
    """Why Keras will not start, in words; None where it will."""
    said = os.environ.get("KERAS_BACKEND")
    what, way_out = f"KERAS_BACKEND={said}", "unset it, or set it to tensorflow or jax"
    if not said:
        path = Path(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json")
        try:
            path = path.expanduser()
            said = str(json.loads(path.read_text())["backend"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            return None
        what, way_out = f"{path}: backend {said}", "change it, or set KERAS_BACKEND to tensorflow or jax"
    if said not in BACKENDS:
        return f"{what}: qformers runs on tensorflow and jax; {way_out}"
    if importlib.util.find_spec(said) is None:
        return f"{what}: {said} is not installed; pip install 'qformers[{BACKENDS[said]}]', or {way_out}"
    return None
