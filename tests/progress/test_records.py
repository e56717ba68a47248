"""Files that are whole or not there, what killed processes left, a full disk; records and their seals."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qformers import files
from qformers.cli import status
from qformers.errors import DamagedError
from qformers.records import all_hashes, check_written, read_record, refuse_changed, seal_of, write_record

FACTS = {"numbers": (1, 2.5), 3: {"deep": None}, "name": "ü"}


def test_a_record_comes_back_and_a_change_of_it_is_named(tmp_path: Path):
    path = tmp_path / "record.json"
    write_record(path, FACTS)
    tree = read_record(path, "make it again")
    assert tree == {"numbers": [1, 2.5], "3": {"deep": None}, "name": "ü", "seal": seal_of(tree)}
    path.write_text(path.read_text().replace("2.5", "2.6"))
    with pytest.raises(DamagedError, match=r"record.json: was changed after it was written.*; make it again$"):
        read_record(path, "make it again")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is damaged, it is no JSON"),
        (b"\xff\x00", "is damaged, it is no JSON"),
        (b"{", "is damaged, it is no JSON"),
        (b"[" * 100_000, "is damaged, it is no JSON"),
        (b"[]", r"an object in braces was written there\. Received: \[\]"),
        (b"null", r"an object in braces was written there\. Received: None"),
        (b"{}", "has no seal: an earlier version wrote it, or it was changed by hand"),
        (None, "is missing"),
    ],
)
def test_what_is_no_record_is_one_line(content: bytes | None, words: str, tmp_path: Path):
    path = tmp_path / "record.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"record.json: .*{words}.*; make it again$") as caught:
        read_record(path, "make it again")
    assert "\n" not in str(caught.value)


def test_files_that_are_not_as_they_were_written_are_named(tmp_path: Path):
    for name in ("a", "b", "deep/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    record = {"written": all_hashes(tmp_path)}
    assert check_written(tmp_path, record) == check_written(tmp_path, {}) == []
    (tmp_path / "later").write_text("made afterwards")
    (tmp_path / "a").unlink()
    (tmp_path / "deep" / "c").write_text("C")
    assert [(fault.path.name, fault.what) for fault in check_written(tmp_path, record)] == [
        ("a", "missing"),
        ("c", "changed"),
    ]
    with pytest.raises(DamagedError, match=r"a: is missing, and 1 more; write it again"):
        refuse_changed(tmp_path, record, "write it again")


def test_what_a_killed_process_left_goes_with_the_next_writing(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    host, path = socket.gethostname(), tmp_path / "facts.json"
    dead = tmp_path / f".facts.{host}-{ended.pid}.tmp.json"
    others = [tmp_path / f".facts.{host}-{os.getppid()}.tmp.json", tmp_path / f".other.{host}-{ended.pid}.tmp.json"]
    for left in (dead, *others):
        left.write_text("half")
    files.write_json(path, {})
    assert not dead.exists()
    assert all(left.exists() for left in others), "of a process that runs, and of another file"


def test_a_full_disk_is_one_line_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "facts.json"
    write_record(path, {"old": 1})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def work() -> int:
        write_record(path, {"new": 1})
        return status.DONE

    monkeypatch.setattr(os, "fsync", full)
    assert status.exit_status(work) == status.BAD_INPUT
    assert "No space left on device; nothing was half written" in capsys.readouterr().err
    assert read_record(path, "")["old"] == 1
    assert list(tmp_path.iterdir()) == [path]
