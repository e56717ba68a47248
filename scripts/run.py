#!/usr/bin/env python3
"""The whole flow of a build, stage by stage: train, export, csim, rtl, synth (where Yosys is installed), compare.

    python scripts/run.py firmware_configs/part_demo.yaml
    python scripts/run.py firmware_configs/part_demo.yaml --from export --to csim
    python scripts/run.py firmware_configs/part_demo.yaml --set data.num_particles=4 --fresh
    python scripts/run.py firmware_configs/part_demo.yaml --no-synth

Synthesis takes minutes (all cores are used); at its time limit the flow goes on without its figures, and says how to
finish it. Each stage is one of the other scripts and can be run by itself; a stage that was interrupted goes on where
it was. The first stage that fails ends the run with its exit status.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from qformers.builds.build import load
from qformers.errors import ConfigError

STAGES = {
    "train": "train.py",
    "export": "export_hls.py",
    "csim": "run_csim.py",
    "rtl": "run_rtl.py",
    "synth": "synthesise.py",
    "compare": "compare_reports.py",
}
SYNTH_SECONDS = 450.0  # with the 7 minutes of the other stages `make demo` stays below 15 on two quiet cores


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="build file, e.g. firmware_configs/part_demo.yaml")
    parser.add_argument("--from", dest="first", choices=STAGES, default="train", help="first stage (default: train)")
    parser.add_argument("--to", dest="last", choices=STAGES, default="compare", help="last stage (default: compare)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="e.g. data.num_particles=4"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="train again from the start, e.g. after a change of the build file"
    )
    parser.add_argument("--no-synth", action="store_true", help="leave the synthesis by Yosys out")
    parser.add_argument(
        "--synth-limit",
        type=float,
        default=SYNTH_SECONDS,
        metavar="SECONDS",
        help=f"time for the synthesis; what is done by then is kept (default: {SYNTH_SECONDS:g})",
    )
    options = parser.parse_args(arguments)
    names = list(STAGES)
    if names.index(options.first) > names.index(options.last):
        parser.error(f"--from must not come after --to. Received: --from {options.first} --to {options.last}")
    if options.no_synth and "synth" in (options.first, options.last):
        parser.error("--no-synth leaves out the stage that --from or --to names: synth")
    return options


def command(stage: str, options: argparse.Namespace, run: Path) -> list[str]:
    """The command line of a stage."""
    script = [sys.executable, str(Path(__file__).with_name(STAGES[stage]))]
    if stage == "compare":
        return [*script, str(run), "--out", str(run / "comparison")]
    script.append(str(options.build))
    script += [part for override in options.overrides for part in ("--set", override)]
    if stage == "train" and options.fresh:
        script.append("--fresh")
    if stage == "synth":
        script += ["--if-available", "--time-limit", str(options.synth_limit)]
    return script


def main() -> int:
    """Entry point. Returns the exit status of the first stage that fails, else 0."""
    options = parse()
    try:
        build = load(options.build, options.overrides)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    run = Path("runs") / build.name
    names = list(STAGES)
    for name in names[names.index(options.first) : names.index(options.last) + 1]:
        if name == "synth" and options.no_synth:
            continue
        print(f"== {name}: {options.build}", flush=True)
        start = time.monotonic()
        status = subprocess.run(command(name, options, run), check=False).returncode  # noqa: S603  our scripts, no shell
        print(f"== {name}: {'done' if status == 0 else f'exit status {status}'}, {time.monotonic() - start:.0f} s")
        if status:
            return status
    if names.index(options.last) >= names.index("csim"):
        from hls.stages.summary import summary

        print(summary(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
