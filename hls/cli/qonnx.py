"""Write a quantised model as QONNX, which FINN and hls4ml read, and execute it with qonnx beside Keras.

    qformers qonnx firmware_configs/part_demo.yaml part_demo.onnx
    qformers qonnx model.keras model.onnx --events 200

Formats become Quant nodes; where Quant cannot say how a value gets its format, standard nodes in front of it do: ties
that go up, values that wrap around, elements with fewer bits than others. Tables are constants that are indexed. The
file holds one event; it is executed node by node on events of the build (for a model without one, on numbers over the
ranges of the input formats) and on adversarial ones, and every output is compared with Keras, bit for bit. Layers
without a form are refused by name. Needs the extra `qonnx`. Exit status 1: some value differs; the file is written, and
the first node that differs is named.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import ConfigError
from qformers.onnx_files import require_qonnx

if TYPE_CHECKING:
    from hls.stages.qonnx import QonnxResult

EVENTS = 500


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("build", type=Path, metavar="BUILD", help="build file, or a quantised model (.keras)")
    parser.add_argument("out", type=Path, metavar="OUT", help="file to write, ends in .onnx")
    shared.add_run(parser)
    shared.add_model(parser)
    shared.add_events(parser, EVENTS, "events to compare, of the test split first; of a model, drawn ones")
    shared.add_set(parser, "data.max_jets=1000")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Write, execute and print; 0 where all values are equal, else 1."""
    require_qonnx(options.out)
    if shared.is_model(options.build):
        result = _of_model(options)
    else:
        build = shared.load_build(options)
        model = shared.model_path(build, options.model, options.run)
        from hls.stages.export import refuse_other_build
        from hls.stages.qonnx import qonnx_of_build

        refuse_other_build(model, build)
        with shared.reporting(options) as reporter:
            result = qonnx_of_build(build, model, options.out, options.events, reporter)
    result.show(shared.terminal(options))
    print(f"written: {result.save()}")
    return status.DONE if result.equal else status.FAILED


def _of_model(options: argparse.Namespace) -> QonnxResult:
    given = {"--run": options.run, "--model": options.model, "--set": options.overrides}
    if wrong := [name for name, value in given.items() if value]:
        raise ConfigError(f"{', '.join(wrong)} goes with a build file. Received: the model {options.build}")
    shared.need_file(options.build, "MODEL")
    from hls.stages.qonnx import qonnx_of_model

    with shared.reporting(options) as reporter:
        return qonnx_of_model(options.build, options.out, options.events, reporter)


COMMAND = Command("qonnx", __doc__ or "", add, run)
