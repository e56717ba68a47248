"""Generate sequences of tokens: expressions of ListOps, or handwritten digits pixel by pixel."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from qformers.cli import options as shared
from qformers.cli import status

LISTOPS = """Generate ListOps: expressions of small numbers, and their values, in the files of the Long Range Arena.

    qformers generate listops
    qformers generate listops --preset 16-64 --sequences 20000 --held-out 2000 --out data/listops_16_64
    qformers generate listops --depth 8 --max-args 5 --min-length 100 --max-length 300 --out data/listops_mine

Writes OUT/{train,val,test}/basic_{train,val,test}.tsv, no expression twice, for data.dataset: listops. The preset full
has the grammar and lengths of the public task, the others are tasks of their own. A run that is stopped begins anew.
"""
DIGITS = """Write the handwritten digits that scikit-learn brings, pixel by pixel.

    qformers generate digits --out data/digits

Writes OUT/{train,val,test}/tokens_digits.npz for data.dataset: token_rows: 1,167, 180 and 450 pictures of 8 x 8 pixels.
The id of a pixel is 1 + its grey level, 1 to 17; 0 is the pad, which no picture has.
"""


def _parser(name: str, text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"qformers generate {name}",
        description=text.strip(),
        epilog=status.table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, default=Path("data") / name, help="output folder (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="equal seeds give equal files (default %(default)s)")
    return parser


def run_listops(arguments: list[str]) -> None:
    """Generate ListOps, and print what was written.

    Raises:
        DataError, GenerateError: as `qformers.generate.tokens.listops.generate`, and for an unknown preset.
    """
    from qformers.errors import DataError, nearest
    from qformers.generate.tokens.listops import PRESETS, ListOpsSettings, generate

    parser = _parser("listops", LISTOPS)
    parser.add_argument("--preset", default="full", help=f"one of {', '.join(PRESETS)} (default %(default)s)")
    parser.add_argument("--sequences", type=int, default=100_000, help="over all splits (default %(default)s)")
    parser.add_argument(
        "--held-out", type=int, metavar="N", help="sequences of val, and of test (default: 2 %% of all)"
    )
    for name, text in (
        ("depth", "largest depth of an expression"),
        ("max-args", "most arguments of an operator"),
        ("min-length", "expressions have more tokens than this"),
        ("max-length", "expressions have fewer tokens than this"),
    ):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"{text} (default: of the preset)")
    shared.add_quiet(parser)
    options = parser.parse_args(arguments)
    if options.preset not in PRESETS:
        raise DataError(f"--preset: unknown '{options.preset}'{nearest(options.preset, PRESETS)}")
    grammar = vars(PRESETS[options.preset])
    chosen = {name: value if (said := getattr(options, name)) is None else said for name, value in grammar.items()}
    settings = ListOpsSettings(sequences=options.sequences, seed=options.seed, held_out=options.held_out, **chosen)
    with shared.reporting(options) as reporter:
        made = generate(settings, options.out, shlex.join(["qformers", "generate", "listops", *arguments]), reporter)
    facts = made["facts"]
    print(
        f"{options.out}: {sum(entry['sequences'] for entry in made['files'].values())} expressions, "
        f"{facts['mean_length']:.0f} tokens on average, {facts['longest']} at most; {facts['acceptance']:.1%} of those "
        f"drawn had such lengths; the most frequent value is that of {facts['majority_class']:.1%}; see "
        f"{options.out / 'manifest.json'}"
    )


def run_digits(arguments: list[str]) -> None:
    """Write the digits, and print what was written.

    Raises:
        DataError, GenerateError: as `qformers.generate.tokens.digits.generate`.
    """
    from qformers.generate.tokens.digits import generate

    options = _parser("digits", DIGITS).parse_args(arguments)
    made = generate(options.out, options.seed, shlex.join(["qformers", "generate", "digits", *arguments]))
    numbers = ", ".join(f"{entry['sequences']} in {name}" for name, entry in made["files"].items())
    print(f"{options.out}: {numbers}; see {options.out / 'manifest.json'}")
