"""Write ListOps: distinct random expressions with their values, in the files of the Long Range Arena."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from qformers.data.tokens.listops import HEADER
from qformers.errors import DataError, GenerateError
from qformers.files import replacing
from qformers.generate.folder import SPLITS, FolderManifest, Made, settle
from qformers.generate.tokens.trees import Codes, Grammar, draw
from qformers.progress import Reporter, Silent

FORMAT = 1  # raise it whenever equal settings no longer give equal files
PRESETS = {  # called by their lengths; only `full` is the public task, the others are tasks of their own
    "full": Grammar(10, 10, 500, 2000),
    "16-64": Grammar(4, 5, 16, 64),
    "32-128": Grammar(5, 6, 32, 128),
    "64-256": Grammar(6, 8, 64, 256),
}
HELD_OUT_SHARE = 0.02  # of val, and of test: 96,000, 2,000 and 2,000 of 100,000
MOST_IN_VAIN = 200  # rounds without a new expression after which there are none
_RANGES = {  # setting -> lowest, highest
    "depth": (2, 20),
    "max_args": (2, 100),
    "min_length": (1, 100_000),
    "max_length": (5, 100_000),
    "sequences": (3, 10_000_000),
    "held_out": (1, 5_000_000),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True)
class ListOpsSettings:
    """Everything the files depend on; equal settings give equal bytes."""

    sequences: int = 100_000  # over all splits
    seed: int = 1
    depth: int = PRESETS["full"].depth
    max_args: int = PRESETS["full"].max_args
    min_length: int = PRESETS["full"].min_length  # all are longer
    max_length: int = PRESETS["full"].max_length  # all are shorter
    held_out: int | None = None  # of val, and of test; None stands for 2 % of all

    def __post_init__(self) -> None:
        if self.held_out is None:
            object.__setattr__(self, "held_out", max(1, round(HELD_OUT_SHARE * self.sequences)))
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise DataError(f"{name} must lie in {low}..{high}. Received: {name}={value}")
        if self.max_length < self.min_length + 2:
            raise DataError(
                "no length lies between min_length and max_length, which do not count; raise max_length. Received: "
                f"min_length={self.min_length}, max_length={self.max_length}"
            )
        if self.splits["train"] < 1:
            raise DataError(
                f"val and test leave nothing for train: lower held_out or raise sequences. Received: "
                f"sequences={self.sequences}, held_out={self.held_out}"
            )

    @property
    def grammar(self) -> Grammar:
        """Which expressions are made."""
        return Grammar(self.depth, self.max_args, self.min_length, self.max_length)

    @property
    def splits(self) -> dict[str, int]:
        """Split -> expressions, in the order in which they are made."""
        held_out = self.held_out or 0  # never None once it is made
        counts = (self.sequences - 2 * held_out, held_out, held_out)
        return dict(zip(SPLITS, counts, strict=True))


@dataclass
class Tally:
    """What was drawn, and what of it is written.

    Attributes:
        drawn: expressions.
        fitting: of the wanted lengths.
        lengths: of those that are written, in order.
        values: of the same.
    """

    drawn: int = 0
    fitting: int = 0
    lengths: array[int] = field(default_factory=lambda: array("l"))
    values: array[int] = field(default_factory=lambda: array("b"))

    def facts(self) -> dict[str, float | int]:
        """For the manifest."""
        lengths, values = np.array(self.lengths), np.array(self.values)
        return {
            "drawn": self.drawn,
            "acceptance": round(self.fitting / self.drawn, 6),
            "mean_length": round(float(lengths.mean()), 3),
            "median_length": float(np.median(lengths)),
            "longest": int(lengths.max()),
            "majority_class": round(float(np.bincount(values).max() / len(values)), 6),
        }


def expressions(settings: ListOpsSettings, tally: Tally) -> Iterator[tuple[str, int]]:
    """Text and value of expressions, no one twice, without end.

    Args:
        settings: of which `sequences` and `held_out` do not matter.
        tally: counts them.

    Raises:
        GenerateError: the grammar has no more of these lengths, or hardly any.
    """
    grammar, rng = settings.grammar, np.random.default_rng(settings.seed)
    words, known, in_vain = grammar.words, set[bytes](), 0
    while in_vain < MOST_IN_VAIN:
        trees = draw(grammar, rng)
        tally.drawn += grammar.at_once
        tally.fitting += len(trees)
        before, stop = len(known), 0
        for length, value in zip(trees.lengths.tolist(), trees.values.tolist(), strict=True):
            codes, stop = trees.codes[stop : stop + length], stop + length
            name = hashlib.blake2b(codes.tobytes(), digest_size=16).digest()  # the expressions themselves are too long
            if name not in known:
                known.add(name)
                tally.lengths.append(length)
                tally.values.append(value)
                yield text_of(codes, words), value
        in_vain = 0 if len(known) > before else in_vain + 1
    raise GenerateError(
        f"among the last {MOST_IN_VAIN * grammar.at_once:,} expressions there was no new one that is longer than "
        f"{settings.min_length} and shorter than {settings.max_length}; ask for fewer --sequences, other lengths, or a "
        f"larger --depth or --max-args. Received: --sequences {settings.sequences}, of which {len(known)} were made"
    )


def text_of(codes: Codes, words: list[str]) -> str:
    """An expression as the public files have it.

    Args:
        codes: (tokens,).
        words: of its grammar.
    """
    return " ".join([words[code] for code in codes.tolist()]).removesuffix(" )")


def generate(settings: ListOpsSettings, folder: Path, command: str, reporter: Reporter | None = None) -> FolderManifest:
    """Write ``<folder>/{train,val,test}/basic_{train,val,test}.tsv`` and ``manifest.json``; returns the latter.

    No expression stands in two splits. Memory holds some thousand expressions, and a hash of each that was made.

    Args:
        settings: what to make.
        folder: made if it is missing; one run at a time. Where it holds these files, nothing is made.
        command: that made it, for the manifest.
        reporter: told how many expressions there are.

    Raises:
        DataError, GenerateError: as `settle` and `expressions`.
    """

    def make() -> Made:
        tick = (reporter or Silent()).task("expressions", settings.sequences)
        tally = Tally()
        made = expressions(settings, tally)
        files = {folder / split / f"basic_{split}.tsv": number for split, number in settings.splits.items()}
        with ExitStack() as stack:  # all three or none
            for path, number in files.items():
                stream = stack.enter_context(stack.enter_context(replacing(path)).open("w", newline=""))
                stream.write(f"{HEADER}\n")
                for text, value in islice(made, number):
                    stream.write(f"{text}\t{value}\n")
                    tick()
        return files, tally.facts()

    return settle(folder, "listops", FORMAT, asdict(settings), command, make)
