"""Entry point of the command `qformers`: Ctrl-C while it is still being imported ends it as at any other moment."""

from __future__ import annotations

import sys

STOPPED = 3  # as `qformers.cli.status.STOPPED`, which is not imported yet


def main() -> int:
    """Import the commands and run one; returns the exit status."""
    try:
        from hls.cli import main as command
    except KeyboardInterrupt:
        print("stopped; nothing was begun", file=sys.stderr)
        return STOPPED
    return command()
