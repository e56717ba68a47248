#!/usr/bin/env python3
"""The command `qformers compare`, by its old path."""

import sys

from hls.cli import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
