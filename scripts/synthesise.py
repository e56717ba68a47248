#!/usr/bin/env python3
"""Logic synthesis of a build's RTL for Xilinx UltraScale+ by Yosys: LUT, FF, DSP, carry, without a vendor's tool.

python scripts/synthesise.py firmware_configs/part_demo.yaml
python scripts/synthesise.py firmware_configs/part_demo.yaml --dsp both --time-limit 3600 --jobs 8

The RTL is written first where it is missing (see scripts/run_rtl.py). The stages of the pipeline are synthesised side
by side, 0.2 to 1 GB each. Results are kept by the content of the RTL; a run that reached its time limit goes on from
the parts that are done.
"""

from __future__ import annotations

import argparse
import sys

from hls import cli
from qformers.builds.build import Build

DSP = {"no": (False,), "yes": (True,), "both": (False, True)}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    cli.add_build(parser)
    cli.add_run(parser)
    parser.add_argument("--dsp", choices=DSP, default="no", help="multipliers in DSP48E2: no (default), yes or both")
    parser.add_argument("--time-limit", type=float, default=1800.0, help="seconds for each (default: 1800)")
    parser.add_argument(
        "--if-available", action="store_true", help="where Yosys is missing or out of time say so and exit with 0"
    )
    parser.add_argument("--jobs", type=int, help="stages at a time (default: the cores there are), 0.2 to 1 GB each")
    cli.add_set(parser, "firmware.clock_ns=4")
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> int:
    """Synthesise and print; 0 when the reports are written or, with --if-available, Yosys is missing or out of time."""
    from hls.reports.yosys.run import YosysMissing, YosysStopped

    try:
        _synthesise(build, options)
    except (YosysMissing, YosysStopped) as error:
        again = [f"python scripts/synthesise.py {options.build}", *(f"--set {one}" for one in options.overrides)]
        again += [f"--run {options.run}"] if options.run else []
        print(error, file=sys.stdout if options.if_available else sys.stderr)
        print(f"the synthesis is not complete; to finish it: {' '.join(again)}")
        return 0 if options.if_available else 1
    return 0


def _synthesise(build: Build, options: argparse.Namespace) -> None:
    from hls.reports.yosys.run import find_yosys
    from hls.reports.yosys.synthesis import synthesise
    from hls.stages.rtl import open_rtl
    from qformers.progress import bars

    find_yosys()
    folder = cli.run_folder(build, options.run)
    with bars() as reporter:
        project = open_rtl(build, folder, reporter)
        for dsp in DSP[options.dsp]:
            report = synthesise(
                project.sources,
                project.layout.top,
                project.path / "yosys",
                dsp=dsp,
                time_limit_s=options.time_limit,
                reporter=reporter,
                jobs=options.jobs,
            )
            path = report.of_project(project.path).save(folder)
            counts = ", ".join(f"{number:,} {key.upper()}" for key, number in report.resources.items())
            said = [report.error_bar, *report.detail["notes"]]
            print(f"{report.source} ({report.tool}, {report.part}): {counts}", *said, sep="\n  ")
            print(f"written: {path}")


def main() -> int:
    """Entry point. Returns 0 when the reports are written, 1 on an error."""
    return cli.on_build(parse(), run)


if __name__ == "__main__":
    sys.exit(main())
