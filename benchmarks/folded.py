#!/usr/bin/env python3
"""Initiation interval, latency and LUT of folded firmware by N and T: a ParT of fixed small widths, untrained.

    python benchmarks/folded.py --particles 8 16 32                   # measures, keeps and prints the table
    python benchmarks/folded.py --particles 64 128 --seconds 1800
    python benchmarks/folded.py --particles 16 32 64 128 --pairs deferred   # the keys folded too, T = 1
    python benchmarks/folded.py --particles                           # the table again

The model is that of the build file below with formats that are not learned and weights drawn from its seed; nothing of
it depends on data. Each N is planned as `qformers fold-plan` does: the smallest T are traced as long as the seconds
last, the others scaled. What was measured before for another N or form is kept. The pictures of the documentation are
drawn along, that of ParT with its N and form.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import machine_words, table  # noqa: E402
from qformers.files import write_json  # noqa: E402
from qformers.manifest import machine, versions  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "folded.json"
PICTURES = ROOT / "docs" / "images"
DRAWN = ("onchip", 16, 1)  # form, N and T of the picture of ParT
HEPT, HEPT_T = "firmware_configs/hept_tracking_demo.yaml", 8  # build and T of the picture of HEPT
BUILD = "firmware_configs/part_jets16.yaml"
FORMS = {"none": "without U", "onchip": "with U, computed on the chip"}  # model.pairs -> its words
KEYED = "deferred"  # with U on the chip and a deferred softmax: the form whose keys are folded
KEYS = (1, 4, 16)  # K of these rows
FORMATS = {
    "weight": "fixed<5,1,RND,SAT_SYM>",
    "bias": "fixed<6,2,RND,SAT>",
    "activation": "fixed<6,3,RND,SAT>",
    "logits": "fixed<6,3,RND,SAT>",
}
FITTED = 2  # traced rows that the others are scaled from, to see how far off that is
SHARES = (None, 4, 1)  # T of the table: 1, N / 4, N
Rows = list[dict[str, Any]]


def overrides(particles: int, pairs: str) -> list[str]:
    """What of the build file is changed."""
    formats = [f'quant.{slot}="{form}"' for slot, form in FORMATS.items()]
    fixed = ["quant.learn=false", "train.qat.ebops_target=null", "firmware.backend=folded"]
    form = ["model.pairs=onchip", "model.softmax=deferred"] if pairs == KEYED else [f"model.pairs={pairs}"]
    return [f"data.num_particles={particles}", f"name=part_{particles}", *form, *formats, *fixed]


def measured(particles: int, pairs: str, seconds: float) -> Rows:
    """The rows of one N and form; draws the picture where it is the one that is drawn."""
    from hls.backends.folded.picture import draw
    from hls.backends.folded.survey import Choice, scaled, traced
    from hls.backends.folded.writer import stage_ns
    from hls.stages.fold_plan import flat, fold_plan
    from qformers.builds.build import load
    from qformers.builds.models import fresh_model
    from qformers.progress import bars

    build = load(ROOT / BUILD, overrides(particles, pairs))
    if pairs == KEYED:
        model = fresh_model(build, "hgq")
        rows = [traced(model, build, Choice(1, keys)) for keys in KEYS if keys < particles]
    else:
        with bars() as reporter:
            rows = list(fold_plan(build, seconds=seconds, reporter=reporter).survey.rows)
    known = [row for row in rows if row.traced and row.choice.keys_per_clock is None]
    limit = stage_ns(build.firmware)
    errors = {
        row.choice: scaled(known[:FITTED], row.choice, particles, row.layers, limit).lut / row.lut - 1.0
        for row in known[FITTED:]
        if row.layers == known[0].layers
    }
    for row in known:
        if (pairs, particles, row.choice.points_per_clock) == DRAWN and row.facts is not None:
            draw(row.facts, PICTURES / "folded_part.svg")
    facts = {
        "pairs": pairs,
        "particles": particles,
        "clock_ns": build.firmware.clock_ns,
        "seed": build.seed,
        "tool": f"alkaid {versions()['alkaid']}",
        "machine": machine_words(machine()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    kept = [row for row in rows if pairs == KEYED or row.choice.keys_per_clock is None]
    return [{**facts, **flat(row), "scaling_error": errors.get(row.choice)} for row in kept]


def draw_hept() -> None:
    """Draw the plan of HEPT, one layer of it."""
    from hls.backends.folded.picture import draw
    from hls.backends.folded.survey import Choice
    from hls.backends.folded.writer import costs, design
    from qformers.builds.build import load
    from qformers.builds.models import fresh_model

    build = load(ROOT / HEPT, ["model.layers=1", "firmware.moved_rows=banks"])
    draw(costs(design(fresh_model(build, "hgq"), Choice(HEPT_T).of(build))), PICTURES / "folded_hept.svg")


def merged(old: Rows, new: Rows) -> Rows:
    """All rows, those of an N and form that were measured anew only as they are now; by form, N and T."""
    anew = {(row["pairs"], row["particles"]) for row in new}
    rows = [row for row in old if (row["pairs"], row["particles"]) not in anew] + new
    order = [*FORMS, KEYED]

    def place(row: Mapping[str, Any]) -> tuple[int, ...]:
        choice = row["points_per_clock"], row.get("keys_per_clock") or 0
        return order.index(row["pairs"]), row["particles"], *choice

    return sorted(rows, key=place)


def shown(rows: Sequence[Mapping[str, Any]], pairs: str) -> Iterator[Mapping[str, Any]]:
    """Rows of the table: of each N those with T = 1, N / 4 and N."""
    for row in rows:
        wanted = {1 if share is None else row["particles"] // share for share in SHARES}
        if row["pairs"] == pairs and row["points_per_clock"] in wanted:
            yield row


def text(content: Mapping[str, Any], pairs: str) -> str:
    """The table of a form as Markdown."""
    lines = [["N", "T", "II", "latency", "LUT (est.)", "registers of kernels", "stores", "how"]]
    for row in shown(content["rows"], pairs):
        lines.append([str(row["particles"]), str(row["points_per_clock"]), *cells(row), how(row)])
    return table(lines)


def cells(row: Mapping[str, Any]) -> list[str]:
    """II, latency, LUT, registers and stores of a row."""
    about = "" if row["traced"] else "~"
    return [
        f"{row['ii_cycles']:,} = {row['ii_ns']:g} ns",
        f"{about}{row['latency_cycles']:,} = {about}{row['latency_ns']:g} ns",
        f"{about}{row['lut_estimate']:,}",
        f"{about}{row['register_bits']:,} bits",
        f"{about}{row['store_bits']:,} bits",
    ]


def keys_text(content: Mapping[str, Any]) -> str:
    """The table of folded keys as Markdown; "" where none were measured."""
    lines = [["N", "K", "II", "latency", "LUT (est.)", "registers of kernels", "stores", "traced in"]]
    lines += [
        [str(row["particles"]), str(row["keys_per_clock"]), *cells(row), f"{row['traced_s']:.0f} s"]
        for row in content["rows"]
        if row["pairs"] == KEYED
    ]
    return table(lines) if len(lines) > 1 else ""


def how(row: Mapping[str, Any]) -> str:
    """Whether a row was traced, and from which ones it was scaled."""
    return (
        "traced"
        if row["traced"]
        else f"from T = {', '.join(row['scaled_from'].split())}{' *' if row['other_kernels'] else ''}"
    )


def conditions(content: Mapping[str, Any]) -> str:
    """What the tables were measured on."""
    rows = content["rows"]
    dates = sorted({row["date"] for row in rows})
    first = rows[0]
    return (
        f"`{BUILD}` with weights in `{FORMATS['weight']}` and values in `{FORMATS['activation']}`, not learned and not "
        f"trained, seed {first['seed']}; clock {first['clock_ns']:g} ns; {first['tool']}, estimate, not synthesis; "
        f"{first['machine']}, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
    )


def forms(content: Mapping[str, Any]) -> dict[str, str]:
    """Forms that were measured, with their words."""
    known = {row["pairs"] for row in content["rows"]}
    return {pairs: words for pairs, words in FORMS.items() if pairs in known}


def largest_error(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The traced row whose LUT would be farthest off, were it scaled from the first two of its N and form.

    None where there is no such row.
    """
    known = [row for row in content["rows"] if row["scaling_error"] is not None]
    return max(known, key=lambda row: abs(row["scaling_error"]), default=None)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, nargs="*", default=[8, 16, 32], metavar="N", help="(default: 8 16 32)")
    parser.add_argument(
        "--pairs",
        nargs="+",
        choices=[*FORMS, KEYED],
        default=list(FORMS),
        help="forms (default: those without folded keys)",
    )
    parser.add_argument("--seconds", type=float, default=240.0, help="of tracing, per N and form (default: 240)")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, keep and print."""
    options = parse()
    content: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    for pairs in options.pairs:
        for particles in options.particles:
            print(f"N = {particles}, {FORMS.get(pairs, pairs)}", file=sys.stderr, flush=True)
            content["rows"] = merged(content["rows"], measured(particles, pairs, options.seconds))
            write_json(RESULTS, content)
    if options.particles:
        draw_hept()
    for pairs, words in forms(content).items():
        print(f"\n{words}\n\n{text(content, pairs)}")
    print(f"\n{keys_text(content)}\n\n{conditions(content)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
