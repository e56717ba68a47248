"""A run folder as it was, where a training ends before it has left anything to go on from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qformers.files import replacing
from qformers.manifest import MANIFEST
from qformers.train.loop import DIVERGED

BUILD = "build.yaml"


def begun(folder: Path) -> bool:
    """Whether a phase has left anything that it goes on from, or is finished."""
    return (folder / MANIFEST).exists() or any((folder / "checkpoints").glob("*.json"))


@contextmanager
def as_before_unless_begun(out: Path, phases: Sequence[str], fresh: bool = False) -> Iterator[Callable[[str], None]]:
    """Leave a run folder as it was where a phase ends in an error before its first checkpoint.

    What a bad file left would refuse the build that is mended, and a typing error would cost a trained model: so what
    is thrown away lies aside until the first phase begins to train, and is put back where it does not come to that;
    half a folder goes, but for the batch that diverged; ``build.yaml`` is that of before unless a phase has got so far
    under the new one (a phase that was finished before has it written, and the next one may be refused).

    Args:
        out: the run folder, which is held.
        phases: folders in it, in the order of the training.
        fresh: throw away what is in them.

    Yields:
        What is to be called with the name of a phase that begins to train.
    """
    aside = {out / name: out / f".{name}.before" for name in phases}
    begins: list[Path] = []

    def put_back() -> None:
        for folder, kept in aside.items():
            if kept.exists() and not begun(folder):
                shutil.rmtree(folder, ignore_errors=True)
                kept.rename(folder)

    def drop() -> None:
        for kept in aside.values():
            shutil.rmtree(kept, ignore_errors=True)

    def begin(name: str) -> None:
        begins.append(out / name)
        drop()

    put_back()  # what a process left that was killed before its training began
    for folder, kept in aside.items():
        if fresh and folder.exists():
            shutil.rmtree(kept, ignore_errors=True)
            folder.rename(kept)
    yaml = out / BUILD
    there, text = [folder for folder in aside if folder.exists()], yaml.read_bytes() if yaml.is_file() else None
    try:
        yield begin
    except BaseException:
        for folder in aside:
            if folder not in there and not begun(folder) and not (folder / DIVERGED).exists():
                shutil.rmtree(folder, ignore_errors=True)
        if not any(map(begun, begins)):
            _write_back(yaml, text)
        raise
    finally:
        put_back()
        drop()


def _write_back(path: Path, content: bytes | None) -> None:
    """A file as it was; None = there was none."""
    if content is None:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_bytes() != content:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
