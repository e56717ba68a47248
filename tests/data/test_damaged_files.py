"""Files of every format with damage of every kind: they are read, or refused in our own words, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.formats import FORMATS, Format, attempt
from support.mutations import NUMBERS, mutations

OTHER_WORDS = ("Yosys' stat",)  # name a command instead of the file, which is temporary
COUNT = 10  # damaged files of a format
CASES = [pytest.param(form, marks=[pytest.mark.slow] if form.slow else [], id=form.name) for form in FORMATS]


@pytest.mark.parametrize("form", CASES)
def test_a_damaged_file_is_read_or_refused_by_name(form: Format, tmp_path: Path) -> None:
    if form.missing:
        pytest.skip(f"{form.needs} is not installed: {form.kind} files cannot be read")
    path = form.make(tmp_path)
    content = path.read_bytes()
    assert attempt(form, path, content) == "read"
    named = (path.name, "event000001000-hits.csv", *OTHER_WORDS)  # what a truth table lacks is said of its hits
    refused = 0
    for name, damaged in mutations(content, form.kind, seed=1, count=COUNT):
        outcome = attempt(form, path, damaged)
        assert not outcome.startswith("traceback"), f"{name}: {outcome}"
        if outcome.startswith("refused"):
            assert form.name in OTHER_WORDS or any(word in outcome for word in named), f"{name}: {outcome}"
            refused += 1
    assert refused


def test_damage_is_of_its_seed() -> None:
    content = b"a,b\n1,2\n3,4\n" * 20
    first, again = (list(mutations(content, "csv", 7, 60)) for _ in range(2))
    assert first == again
    assert first != list(mutations(content, "csv", 8, 60))
    assert len({damaged for _, damaged in first}) > 50
    assert first[0] == ("csv 7/0 empty", b"")
    assert any(word.encode() in damaged for _, damaged in first for word in NUMBERS if len(word) > 4)
    assert list(mutations(content, "csv", 7, 10)) == first[:10]  # more of them are the same and others
