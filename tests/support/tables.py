"""CSV tables that a test damages."""

from __future__ import annotations

from pathlib import Path


def changed(path: Path, line: int, **values: str) -> None:
    """Other values in one line of a table."""
    lines = path.read_text().splitlines()
    names, fields = lines[0].split(","), lines[line - 1].split(",")
    for name, value in values.items():
        fields[names.index(name)] = value
    lines[line - 1] = ",".join(fields)
    path.write_text("\n".join(lines) + "\n")
