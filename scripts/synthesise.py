#!/usr/bin/env python3
"""Logic synthesis of a build's RTL for Xilinx UltraScale+ by Yosys: LUT, FF, DSP, carry, without a vendor's tool.

python scripts/synthesise.py firmware_configs/part_demo.yaml
python scripts/synthesise.py firmware_configs/part_demo.yaml --dsp both --time-limit 3600

The RTL is written first where it is missing (see scripts/run_rtl.py). Results are kept by the content of the RTL; a run
that reached its time limit goes on from the parts that are done.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from qformers.config import Build, ConfigError, load

DSP = {"no": (False,), "yes": (True,), "both": (False, True)}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="build file, e.g. firmware_configs/part_demo.yaml")
    parser.add_argument("--run", type=Path, help="run folder (default: runs/<name of the build>)")
    parser.add_argument("--dsp", choices=DSP, default="no", help="multipliers in DSP48E2: no (default), yes or both")
    parser.add_argument("--time-limit", type=float, default=1800.0, help="seconds for each (default: 1800)")
    parser.add_argument(
        "--if-available", action="store_true", help="where Yosys is missing or out of time say so and exit with 0"
    )
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="e.g. firmware.clock_ns=4"
    )
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> None:
    """Synthesise and print."""
    from hls.progress import bars
    from hls.reports.rtl import save
    from hls.reports.yosys import synthesise
    from hls.reports.yosys_run import find_yosys
    from hls.rtl import open_rtl

    find_yosys()
    folder = options.run or Path("runs") / build.name
    with bars() as reporter:
        project = open_rtl(build, folder, reporter).at("verilator")
        for dsp in DSP[options.dsp]:
            report = synthesise(
                project.sources,
                project.layout.top,
                project.path / "yosys",
                dsp=dsp,
                time_limit_s=options.time_limit,
                reporter=reporter,
            )
            path = save(report, project, folder)
            counts = ", ".join(f"{number:,} {key.upper()}" for key, number in report.resources.items())
            print(f"{report.source} ({report.tool}, {report.part}): {counts}\n  {report.error_bar}\nwritten: {path}")


def main() -> int:
    """Entry point. Returns 0 when the reports are written, 1 on an error."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from hls.errors import HlsError
    from hls.reports.yosys_run import YosysMissing, YosysStopped

    try:
        run(load(options.build, options.overrides), options)
    except (YosysMissing, YosysStopped) as error:
        print(error, file=sys.stdout if options.if_available else sys.stderr)
        return 0 if options.if_available else 1
    except (ConfigError, HlsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
