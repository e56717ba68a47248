"""Every evaluation of a search in a file of JSON lines, so that a search that was stopped repeats none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qformers.errors import ConfigError
from qformers.files import append_line, whole_lines
from qformers.precision.fixed import Fixed
from qformers.quant.ptq.evaluator import Evaluation
from qformers.quant.ptq.slots import Slot


def spelled(formats: Mapping[Slot, Fixed]) -> str:
    """Formats in their order, short: ``s3.5`` has a sign, 3 integer bits without it and 5 fraction bits."""
    return " ".join(
        f"{'s' if form.signed else 'u'}{form.integer_bits}.{form.fraction_bits}" for form in formats.values()
    )


def key_of(facts: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of everything that an evaluation depends on (plain JSON types)."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


class Journal:
    """Evaluations of one search, by formats. Lines of other searches in the same file are left alone.

    A line is written whole and at once after each evaluation; one that a killed process left unfinished is cut off.

    Args:
        path: the file; made with the first evaluation.
        key: of the search (`key_of`).

    Raises:
        ConfigError: a line in the middle of the file is no evaluation.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.known: dict[str, Evaluation] = {}
        self._read()

    def add(self, stage: str, formats: Mapping[Slot, Fixed], measured: Evaluation) -> None:
        """Write down one evaluation."""
        text = spelled(formats)
        self.known[text] = measured
        append_line(self.path, json.dumps({"key": self.key, "stage": stage, **measured.as_json(), "formats": text}))

    def find(self, formats: Mapping[Slot, Fixed]) -> Evaluation | None:
        """What these formats gave before, if they were measured."""
        return self.known.get(spelled(formats))

    def _read(self) -> None:
        for number, line in enumerate(whole_lines(self.path), 1):
            try:
                row = json.loads(line)
                if row.pop("key") == self.key:
                    row.pop("stage")
                    formats = row.pop("formats")
                    self.known[formats] = Evaluation(**row)
            except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(
                    f"{self.path}, line {number}: is not an evaluation of this version ({error}); move the file away "
                    "to start over"
                ) from error
