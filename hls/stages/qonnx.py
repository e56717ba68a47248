"""Stage "qonnx": a quantised model as a QONNX file, and whether executing that gives the values of Keras."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from numpy.typing import NDArray
from rich.console import RenderableType

import qformers
from hls.proof.adversarial import adversarial, uniform
from hls.proof.samples import sample
from hls.stages.export import load_quantised
from qformers.builds.build import Build
from qformers.builds.models import load_model
from qformers.files import sha256
from qformers.interop.adopt import Adopted, adopt
from qformers.interop.qonnx.check import Executed, executed
from qformers.interop.qonnx.writer import Written, written
from qformers.onnx_files import require_qonnx
from qformers.progress import Reporter
from qformers.results import Result

DRAWN = "random over the range of the input formats"
SHOWN = 8  # names in a line


@dataclass(frozen=True, repr=False)
class QonnxResult(Result):
    """A QONNX file beside the quantised model.

    Attributes:
        path: the file, which is written.
        written: what is in it.
        events: comparison on events of the build, or drawn ones.
        source: where they come from.
        adversarial: comparison on events made to break it.
        adopted: how the model was taken over; None for that of a run.
    """

    path: Path
    written: Written
    events: Executed
    source: str
    adversarial: Executed
    adopted: Adopted | None = None

    @property
    def equal(self) -> bool:
        """Whether the file equals the quantised model on all events."""
        return self.events.equal and self.adversarial.equal

    def pieces(self) -> Iterator[RenderableType]:
        """Nodes, notes and both comparisons, a line each."""
        if self.adopted is not None:
            yield from (f"renamed: {old} is {new} now" for old, new in self.adopted.renamed.items())
        yield "nodes: " + ", ".join(f"{count} {op}" for op, count in sorted(self.written.nodes.items()))
        if self.written.wrapped:
            yield (
                f"note: values may wrap around, which Quant cannot say: standard nodes in front of it do, for "
                f"{_few(self.written.wrapped)}"
            )
        if self.written.wide:
            yield (
                f"note: float32 may round in {_few(self.written.wide)}, in Keras as well, so that the order of a sum "
                "counts there"
            )
        yield f"events ({self.source}): {self.events}"
        yield f"adversarial events: {self.adversarial}"

    def save(self) -> Path:
        """The file, which was written before it was executed."""
        return self.path


def _few(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def qonnx_of_build(
    build: Build, model_path: Path, out: Path, events: int, reporter: Reporter | None = None
) -> QonnxResult:
    """Write the quantised model of a run as QONNX, and compare.

    Args:
        build: its data are the events.
        model_path: the quantised model.
        out: the file to write.
        events: wanted, of the test split first.
        reporter: told of progress.

    Raises:
        HlsError: no model of this build.
        QonnxError: layers without a form, or a package is missing.
    """
    require_qonnx(out)
    model = load_quantised(model_path, build)
    taken = sample(build, model, events)
    return _written(model, model_path, out, (taken.inputs, taken.source), reporter)


def qonnx_of_model(path: Path, out: Path, events: int, reporter: Reporter | None = None) -> QonnxResult:
    """Write a model that somebody else built as QONNX, and compare on drawn events.

    Args:
        path: the model, a ``.keras`` file.
        out: the file to write.
        events: how many are drawn over the ranges of the input formats.
        reporter: told of progress.

    Raises:
        ConfigError: no model that can be taken over.
        QonnxError: layers without a form, or a package is missing.
    """
    require_qonnx(out)
    adopted = adopt(load_model(path))
    drawn = uniform(adopted.model, events), DRAWN
    return _written(adopted.model, path, out, drawn, reporter, adopted)


def _written(
    model: keras.Model,
    path: Path,
    out: Path,
    events: tuple[dict[str, NDArray[Any]], str],
    reporter: Reporter | None,
    adopted: Adopted | None = None,
) -> QonnxResult:
    facts = {"qformers": qformers.__version__, "model": str(path), "model_file_sha256": sha256(path)}
    made = written(model, facts)
    made.save(out)
    inputs, source = events
    easy, hard = (executed(out, made, model, given, reporter) for given in (inputs, adversarial(model).inputs))
    return QonnxResult(out, made, easy, source, hard, adopted)
