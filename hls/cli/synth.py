"""Logic synthesis of a build's RTL for Xilinx UltraScale+ by Yosys: LUT, FF, DSP, carry, without a vendor's tool.

    qformers synth firmware_configs/part_demo.yaml
    qformers synth firmware_configs/part_demo.yaml --dsp both --time-limit 3600 --jobs 8

The RTL is written first where it is missing (see `qformers rtl`). The stages of the pipeline are synthesised side by
side, 0.2 to 1 GB each; of folded firmware the stages of all kernels, and the stores around them as a part of their own.
Products of two variables are made of what `firmware.multipliers` says; where that is auto, --dsp says it. Results are
kept by the content of the RTL; a run that reached its time limit (exit status 3) goes on from the parts that are done.
"""

from __future__ import annotations

import argparse
import sys

from hls.cli.backend import backend_of
from hls.escaping import shell
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command

DSP = {"no": (False,), "yes": (True,), "both": (False, True)}


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    shared.add_build(parser)
    shared.add_run(parser)
    parser.add_argument(
        "--dsp",
        choices=DSP,
        help="multipliers in DSP48E2: no, yes or both (default: as firmware.multipliers says; no where that is auto)",
    )
    parser.add_argument(
        "--time-limit",
        type=shared.above_zero,
        default=1800.0,
        metavar="SECONDS",
        help="seconds for each (default: 1800)",
    )
    parser.add_argument(
        "--if-available", action="store_true", help="where Yosys is missing or out of time say so and exit with 0"
    )
    parser.add_argument(
        "--jobs",
        type=shared.at_least_one,
        metavar="N",
        help="stages at a time (default: the cores there are), 0.2 to 1 GB each",
    )
    shared.add_backend(parser, rtl=True)
    shared.add_set(parser, "firmware.clock_ns=4")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Synthesise and print; 0 when the reports are written or, with --if-available, Yosys is missing or out of time."""
    build = shared.load_build(options)
    backend = backend_of(options, build, rtl=True)
    from hls.reports.yosys.run import YosysMissing, YosysStopped
    from hls.stages.synth import synthesise

    folder = shared.run_folder(build, options.run)
    dsp = DSP[options.dsp] if options.dsp else None
    try:
        with shared.reporting(options) as reporter:
            result = synthesise(build, folder, dsp, options.time_limit, options.jobs, reporter, backend)
    except (YosysMissing, YosysStopped) as error:
        again = ["qformers", "synth", options.build, *(part for one in options.overrides for part in ("--set", one))]
        again += ["--run", options.run] if options.run else []
        print(error, file=sys.stdout if options.if_available else sys.stderr)
        print(f"the synthesis is not complete; to finish it: {shell(again)}")
        if options.if_available:
            return status.DONE
        return status.STOPPED if isinstance(error, YosysStopped) else status.BAD_INPUT
    result.show(shared.terminal(options))
    result.save()
    print(*(f"written: {path}" for path in result.paths), sep="\n")
    return status.DONE


COMMAND = Command("synth", __doc__ or "", add, run)
