#!/usr/bin/env python3
"""The command `qformers quantise`, by its old path."""

import sys

from hls.cli import main

if __name__ == "__main__":
    sys.exit(main(["quantise", *sys.argv[1:]]))
