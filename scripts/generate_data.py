#!/usr/bin/env python3
"""Generate jets with Pythia 8, or plot what was generated.

scripts/generate_data.py jetclass --out data/jetclass --jets 100000
scripts/generate_data.py lhc5 --out data/lhc5 --jets 100000
scripts/generate_data.py plot data/jetclass
"""

import sys

from qformers.data.generate.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
