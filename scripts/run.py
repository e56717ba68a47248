#!/usr/bin/env python3
"""The whole flow of a build, stage by stage: train, export, csim.

    python scripts/run.py firmware_configs/part_demo.yaml
    python scripts/run.py firmware_configs/part_demo.yaml --from export --to csim
    python scripts/run.py firmware_configs/part_demo.yaml --set data.num_particles=4 --fresh

Each stage is one of the other scripts and can be run by itself; a stage that was interrupted goes on where it was. The
first stage that fails ends the run with its exit status.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from qformers.config import ConfigError, load

STAGES = {"train": "train.py", "export": "export_hls.py", "csim": "run_csim.py"}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="build file, e.g. firmware_configs/part_demo.yaml")
    parser.add_argument("--from", dest="first", choices=STAGES, default="train", help="first stage (default: train)")
    parser.add_argument("--to", dest="last", choices=STAGES, default="csim", help="last stage (default: csim)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="e.g. data.num_particles=4"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="train again from the start, e.g. after a change of the build file"
    )
    options = parser.parse_args(arguments)
    names = list(STAGES)
    if names.index(options.first) > names.index(options.last):
        parser.error(f"--from must not come after --to. Received: --from {options.first} --to {options.last}")
    return options


def summary(run: Path) -> str:
    """What the run came to: accuracies, equality of firmware and model, EBOPs, where the project lies."""
    report: dict[str, Any] = json.loads((run / "csim.json").read_text())
    phases = {name: json.loads((run / name / "manifest.json").read_text()) for name in ("float", "qat")}

    def accuracy(name: str, entry: dict[str, Any]) -> str:
        return f"  {name:10} {entry['accuracy']['value']:.4f} +- {entry['accuracy']['error']:.4f}"

    lines = [f"{run.name}: accuracy on the {phases['qat']['test']['jets']:,} jets of the test split"]
    lines += [accuracy("float", phases["float"]["test"]), accuracy("quantised", phases["qat"]["test"])]
    lines.append(f"accuracy on the simulated jets ({report['splits']})")
    lines += [accuracy(name, entry) for name, entry in ((report["end"] or {}).get("metrics", {})).items()]
    jets, hard = report["jets"], report["adversarial"]
    for label, found in (("jets", jets), ("adversarial events", hard)):
        word = "==" if found["equal"] else "!="
        lines.append(
            f"C simulation {word} quantised model on {found['events']:,} {label}: "
            f"{found['values_different']:,} of {found['values']:,} outputs differ"
        )
    lines.append(f"EBOPs      {phases['qat']['ebops']:,}")
    lines.append(f"project    {report['project']}")
    lines.append(f"per layer  {run / 'csim.json'} and {run / 'plots'}/csim_*.png")
    return "\n".join(lines)


def main() -> int:
    """Entry point. Returns the exit status of the first stage that fails, else 0."""
    options = parse()
    try:
        build = load(options.build, options.overrides)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    names = list(STAGES)
    for name in names[names.index(options.first) : names.index(options.last) + 1]:
        print(f"== {name}: {options.build}", flush=True)
        start = time.monotonic()
        script = Path(__file__).with_name(STAGES[name])
        overrides = [part for override in options.overrides for part in ("--set", override)]
        fresh = ["--fresh"] if options.fresh and name == "train" else []
        status = subprocess.run(  # noqa: S603  our own scripts, no shell
            [sys.executable, str(script), str(options.build), *overrides, *fresh], check=False
        ).returncode
        print(f"== {name}: {'done' if status == 0 else f'exit status {status}'}, {time.monotonic() - start:.0f} s")
        if status:
            return status
    if options.last == "csim":
        print(summary(Path("runs") / build.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
