#!/usr/bin/env python3
"""Generate jets with Pythia 8 or tracker events, or plot what was generated.

scripts/generate_data.py jetclass --out data/jetclass --jets 100000
scripts/generate_data.py lhc5 --out data/lhc5 --jets 100000
scripts/generate_data.py plot data/jetclass
scripts/generate_data.py tracks --out data/tracks --events 100 --pileup 50 --seed 1
scripts/generate_data.py tracks plot data/tracks
scripts/generate_data.py tracks --detector outer --no-cells --out data/outer --events 100 --pileup 50
scripts/generate_data.py tracks segments data/outer
"""

import sys

from qformers.generate.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
