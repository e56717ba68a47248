#!/usr/bin/env python3
"""The command `qformers train`, by its old path."""

import sys

from hls.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
