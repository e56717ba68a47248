"""The whole flow of a build, stage by stage: train, export, csim, rtl, synth (where Yosys is installed), compare.

    qformers run firmware_configs/part_demo.yaml
    qformers run firmware_configs/part_demo.yaml --from export --to csim
    qformers run firmware_configs/part_demo.yaml --set data.num_particles=4 --fresh
    qformers run firmware_configs/part_demo.yaml --no-synth --levels interpreter verilator
    qformers run firmware_configs/part_demo_folded.yaml --trained runs/part_demo

All stages run in one process. Synthesis takes minutes (all cores are used); at its time limit the flow goes on without
its figures, and says how to finish it. Each stage is a command and can be run by itself; a stage that was interrupted
goes on where it was. The first stage that fails ends the run with its exit status.

With --trained the model of another run is taken, whose build differs in its firmware alone, and export is the first
stage: one model as several kinds of firmware.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from hls.backends import open_backend
from hls.cli import compare, csim, export, rtl, synth, train
from qformers.builds.float_only import no_quantised, refuse_float_only
from qformers.builds.own_events import is_own
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import ConfigError

STAGES: dict[str, Command] = {
    "train": train.COMMAND,
    "export": export.COMMAND,
    "csim": csim.COMMAND,
    "rtl": rtl.COMMAND,
    "synth": synth.COMMAND,
    "compare": compare.COMMAND,
}
SYNTH_SECONDS = 450.0  # with the 7 minutes of the other stages `make demo` stays below 15 on two quiet cores


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    shared.add_build(parser)
    parser.add_argument("--from", dest="first", choices=STAGES, default="train", help="first stage (default: train)")
    parser.add_argument("--to", dest="last", choices=STAGES, default="compare", help="last stage (default: compare)")
    shared.add_run(parser, out=True)
    shared.add_set(parser, "data.num_particles=4")
    parser.add_argument(
        "--fresh", action="store_true", help="train again from the start, e.g. after a change of the build file"
    )
    parser.add_argument("--trained", type=Path, metavar="RUN", help="take the trained model of this run folder")
    rtl.add_levels(parser)
    parser.add_argument("--no-synth", action="store_true", help="leave the synthesis by Yosys out")
    parser.add_argument(
        "--synth-limit",
        type=shared.above_zero,
        default=SYNTH_SECONDS,
        metavar="SECONDS",
        help=f"time for the synthesis; what is done by then is kept (default: {SYNTH_SECONDS:g})",
    )
    shared.add_quiet(parser)


def arguments_of(stage: str, options: argparse.Namespace, folder: Path) -> list[str]:
    """The words after the name of a stage's command."""
    quiet = ["--quiet"] if options.quiet else []
    if stage == "compare":
        return [str(folder), "--out", str(folder / "comparison"), *quiet]
    words = [str(options.build), "--run", str(folder)]
    words += [part for override in options.overrides for part in ("--set", override)]
    if stage == "train" and options.fresh:
        words.append("--fresh")
    if stage == "rtl" and options.levels:
        words += ["--levels", *options.levels]
    if stage == "synth":
        words += ["--if-available", "--time-limit", str(options.synth_limit)]
    return words + quiet


def run(options: argparse.Namespace) -> int:
    """Run the stages; the exit status of the first that fails, else 0."""
    names = list(STAGES)
    if names.index(options.first) > names.index(options.last):
        raise ConfigError(f"--from must not come after --to. Received: --from {options.first} --to {options.last}")
    if options.no_synth and "synth" in (options.first, options.last):
        raise ConfigError("--no-synth leaves out the stage that --from or --to names: synth")
    if options.trained and options.fresh:
        raise ConfigError("--trained takes a model that is trained, and --fresh trains one; leave one of them out")
    if options.trained and options.first == "train":
        options.first = "export"
        if options.last == "train":
            raise ConfigError("--trained begins with export. Received: --to train")
    build = shared.load_build(options)
    if is_own(build) and options.first == "train":
        if options.last == "train":
            raise ConfigError(f"{options.build}: describes a model that was given as a file: it is not trained here")
        options.first = "export"
    chosen = names[names.index(options.first) : names.index(options.last) + 1]
    open_backend(build.firmware.backend)  # an unknown one is refused before hours of training
    folder = shared.run_folder(build, options.run)
    if not options.trained and {*chosen} - {"train", "compare"}:
        refuse_float_only(build, folder, "; qformers run --to train trains it as it is")  # hours would not change it
    if options.trained:
        from qformers.train.taken import take_trained

        for phase in take_trained(options.trained, folder, build):
            print(f"{folder / phase.folder.name}: taken from {phase.folder}")
    for name in chosen:
        if name == "synth" and options.no_synth:
            continue
        print(f"== {name}: {options.build}", flush=True)
        start = time.monotonic()
        code = STAGES[name](arguments_of(name, options, folder))
        _as_new()
        end = "done" if code == status.DONE else f"exit status {code}"
        print(f"== {name}: {end}, {time.monotonic() - start:.0f} s")
        if code != status.DONE:
            return code
    simulated = (folder / "csim.json").is_file() or not no_quantised(build)  # else there is nothing to sum up
    if names.index(options.last) >= names.index("csim") and simulated:
        from hls.stages.summary import summary

        result = summary(folder)
        result.save()
        print(result)
    return status.DONE


def _as_new() -> None:
    """Forget the models of a stage, so that the next one names its layers as in a process of its own."""
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.backend.clear_session()


COMMAND = Command("run", __doc__ or "", add, run)
