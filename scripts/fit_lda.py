#!/usr/bin/env python3
"""The command `qformers fit-lda`, by its old path."""

import sys

from hls.cli import main

if __name__ == "__main__":
    sys.exit(main(["fit-lda", *sys.argv[1:]]))
