#!/usr/bin/env python3
"""The command `qformers import`, by its old path."""

import sys

from hls.cli import main

if __name__ == "__main__":
    sys.exit(main(["import", *sys.argv[1:]]))
