#!/usr/bin/env python3
"""The command `qformers rtl`, by its old path."""

import sys

from hls.cli import main

if __name__ == "__main__":
    sys.exit(main(["rtl", *sys.argv[1:]]))
