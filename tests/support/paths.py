"""Where things are, whatever folder a test stands in."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
DATA = TESTS / "data"
SUPPORT = TESTS / "support"
SCRIPTS = ROOT / "scripts"
CONFIGS = ROOT / "firmware_configs"
