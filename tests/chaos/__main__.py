"""Run the campaign: `make chaos`, or with fewer trials `python -m chaos --share 0.1`; `PYTHONPATH=tests`."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from chaos import finished, flow, inputs
from chaos.runs import build_file
from chaos.tally import Section, report

KILLS, INTERRUPTS, DAMAGES, MUTATIONS = 50, 20, 60, 300
SECTIONS = ("kill", "interrupt", "disk", "damage", "change", "mutate", "hostile")


def main() -> int:
    """Exit status: 0 if nothing but clean ends was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the trials (default: all)")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    options = parser.parse_args()
    started, sections = time.monotonic(), list[Section]()

    def some(number: int) -> int:
        return max(1, round(number * options.share))

    with tempfile.TemporaryDirectory(prefix="chaos") as name:
        folder = Path(name)
        if "mutate" in options.only:
            sections.append(inputs.mutated(some(MUTATIONS), options.seed))
        if "hostile" in options.only:
            sections.append(inputs.hostile(some(len(inputs.HOSTILE))))
        if set(options.only) & {"kill", "interrupt", "disk", "damage", "change"}:
            build, run = build_file(folder), folder / "runs" / "chaos"
            run.parent.mkdir()
            calm = flow.undisturbed(build, run)
            print(f"undisturbed flow: {calm.seconds:.0f} s", flush=True)
            if "damage" in options.only:
                sections.append(finished.damaged(build, run, folder, some(DAMAGES), options.seed))
            if "change" in options.only:
                sections.append(finished.changed_builds(build, run, folder, some(len(finished.CHANGES))))
            if "disk" in options.only:
                sections += flow.full_and_read_only(calm, folder)
            shutil.move(run, folder / "calm")
            if "kill" in options.only:
                sections.append(flow.interrupted(calm, run, signal.SIGKILL, some(KILLS), options.seed))
            if "interrupt" in options.only:
                sections.append(flow.interrupted(calm, run, signal.SIGINT, some(INTERRUPTS), options.seed))
    return report(sections, started)


if __name__ == "__main__":
    sys.exit(main())
