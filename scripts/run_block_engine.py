#!/usr/bin/env python3
"""The command `qformers block-engine`, by its old path."""

import sys

from hls.cli import main

if __name__ == "__main__":
    sys.exit(main(["block-engine", *sys.argv[1:]]))
