"""What a post-training quantisation leaves: the run folder that training leaves, without the training."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.table import Table

from qformers.builds.build import Build
from qformers.builds.models import build_model
from qformers.builds.saved import check_recorded
from qformers.builds.settings import hardware_of, sections_of
from qformers.data import Split, SplitName, dataset_of, open_split
from qformers.data.events import FeatureSet
from qformers.errors import ConfigError, DamagedError
from qformers.files import replacing, sha256
from qformers.manifest import MANIFEST, write_manifest
from qformers.quant.fidelity import LayerError, layer_errors
from qformers.quant.ptq.workshop import Inputs, Workshop, read_float_model
from qformers.records import WRITTEN, hashes, read_object
from qformers.tasks import Task, task_of
from qformers.train import evaluate
from qformers.train.beta import ebops
from qformers.train.deliver import DELIVERED, Terms, deliver, width_picture
from qformers.train.feed import Feed
from qformers.train.phases import SPLITS, feeds

STAGE = "ptq"
JUDGED = ("jet_tagging", "regression")  # keys of `qformers.tasks.TASKS`
CALIBRATION_JETS = 2048  # of the training split
BATCH = 1024
COMPARED_JETS = 512  # of the validation split, followed through all layers beside float


@dataclass(frozen=True)
class Material:
    """A float model and the data of its build."""

    path: Path
    build: Build
    shop: Workshop
    sources: Mapping[SplitName, Split]

    @property
    def task(self) -> Task:
        """What the model was trained for."""
        return task_of(self.build, self.sources["test"])

    def feed(self, split: SplitName) -> Feed:
        """A split, prepared for the quantised model."""
        return feeds([self.sources[split]], self.shop.template)[0]


@dataclass(frozen=True)
class Quantised:
    """What was written, and its main numbers."""

    folder: Path
    ebops: int
    score: str  # what `value` is, e.g. "accuracy"
    value: float  # on the test split
    error: float
    errors: tuple[LayerError, ...]  # against float, on validation jets
    test: Mapping[str, Any] = field(default_factory=dict)  # the headline of the report on the test split


def gather(path: Path, build: Build, jets: int = CALIBRATION_JETS) -> Material:
    """Read the float model and draw the calibration jets.

    Args:
        path: the float model, e.g. ``runs/part_demo/float/model.keras``.
        build: data, architecture and formats.
        jets: calibration jets of the training split; all of it if it has fewer.

    Raises:
        ConfigError, DataError: with the way out in the message.
    """
    if jets < 1:
        raise ConfigError(f"at least one calibration jet is needed: set --calibration-jets. Received: {jets}")
    refuse_points(build)
    float_model = read_float_model(path)
    sources = {split: open_split(build.data, split) for split in SPLITS}
    train = sources["train"]
    make = partial(_made, train.feature_set, train.class_names)
    shop = Workshop(build, float_model, make, {})
    material = Material(path, build, shop, sources)
    shop.inputs.update(material.feed("train").sample(min(jets, len(train)), build.seed))
    return material


def _made(feature_set: FeatureSet, class_names: tuple[str, ...], build: Build) -> Any:
    return build_model(build, feature_set, class_names, "hgq")


def refuse_points(build: Build) -> None:
    """Refuse a build of events of points; opens no file, so that it can come before anything is read or written.

    Raises:
        ConfigError: its data are such events.
    """
    if dataset_of(build.data.dataset).task(build.data) not in JUDGED:
        raise ConfigError(
            f"{build.name}: formats without training are judged by the accuracy of jets, and its data are events of "
            f"points; quantise it with training (train.qat). Received: data.dataset={build.data.dataset}"
        )


def refuse_other(out: Path) -> None:
    """Leave a folder alone that holds something else than a post-training quantisation.

    Raises:
        ConfigError: its quantised model was trained.
    """
    manifest = out / "qat" / MANIFEST
    if not manifest.exists():
        if (out / "qat" / "checkpoints").exists():
            raise ConfigError(
                f"{out / 'qat'} holds a training that is not finished, which is not to be overwritten; choose another "
                "folder with --out, or another name in the build file"
            )
        return
    try:
        stage = str(read_object(manifest, "").get("stage", "unknown"))
    except DamagedError:
        stage = "unknown"
    if stage != STAGE:
        raise ConfigError(
            f"{out / 'qat'} holds a model of stage '{stage}', which is not to be overwritten; choose another folder "
            "with --out, or another name in the build file"
        )


def write(material: Material, build: Build, out: Path, facts: Mapping[str, Any]) -> Quantised:
    """Quantise the float model as `build` says, and write the run folder.

    Writes ``build.yaml``, ``float/`` (copied from beside the float model), ``qat/model.keras`` and all that lies beside
    it after a training but for the history; ``qat/manifest.json`` last.

    Args:
        material: from `gather`.
        build: the formats to use; `quant.learn` does not matter, nothing is learned.
        out: run folder.
        facts: for the manifest: how the formats came about.

    Raises:
        ConfigError: the folder holds a trained model.
    """
    refuse_other(out)
    shop = replace(material.shop, build=build)
    build = shop.said()
    model = shop.model()
    folder = out / "qat"
    (folder / "manifest.json").unlink(missing_ok=True)
    with replacing(out / "build.yaml") as temporary:
        temporary.write_text(build.to_yaml())
    copy_float(material.path, out / "float")
    test, val, task = material.feed("test"), material.feed("val"), material.task
    delivered = deliver(model, folder, test, task, Terms(build.seed, BATCH))
    task.pictures(delivered.outputs, delivered.labels, delivered.report, folder / "plots")
    width_picture(model, folder / "plots", learned_only=False)
    errors = layer_errors(shop.float_model, model, material.sources["val"].load()[:COMPARED_JETS])
    bits, headline = ebops(delivered.model), {name: delivered.report[name] for name in task.headline}
    manifest = {
        "settings": {
            **sections_of(build, "spec", "seed", "data", "model", "quant"),
            **hardware_of(build),
            "ptq": dict(facts),
        },
        "float_model": str(material.path),
        "float_model_sha256": sha256(material.path),
        "ebops": bits,
        "score": task.score,
        "validation": task.measured(*evaluate.outputs_of(delivered.model, val, BATCH, task)).as_json(),
        "test": headline,
        "jets": {"calibration": _jets(shop.inputs), "val": len(val), "test": len(test)},
        "layers": [error.as_json() for error in errors],
    }
    write_manifest(folder, STAGE, build, manifest, hashes(folder, DELIVERED))
    number = delivered.report[task.score]
    return Quantised(folder, bits, task.score, number["value"], number["error"], errors, headline)


def copy_float(path: Path, folder: Path) -> None:
    """Put the float model and what its training says of it into the run folder, where later stages look for them."""
    folder.mkdir(parents=True, exist_ok=True)
    written = check_recorded(path).get(WRITTEN, {})
    for name in dict.fromkeys(("model.keras", "metrics.json", "test_logits.npz", *written, MANIFEST)):
        source = path if name == "model.keras" else path.parent / name
        if source.is_file() and source.resolve() != (folder / name).resolve():
            with replacing(folder / name) as temporary:
                shutil.copyfile(source, temporary)


ERRORS = f"Quantised against float, up to {COMPARED_JETS} validation jets, padded slots left out"


def error_table(
    errors: tuple[LayerError, ...], title: str = ERRORS, called: Mapping[str, str] = MappingProxyType({})
) -> Table:
    """Error against float per layer, for a terminal.

    Args:
        errors: a row each.
        title: on what events.
        called: float layer -> its name in the file that the user knows, where that is another one.
    """
    table = Table(title=title)
    for column in ("layer", "float layer", "mean |error|", "largest", "relative", "correlation"):
        table.add_column(column, justify="left" if "layer" in column else "right")
    for row in errors:
        known = called.get(row.float_layer, row.float_layer)
        table.add_row(
            row.layer, known, f"{row.mean:.3g}", f"{row.largest:.3g}", f"{row.relative:.2%}", f"{row.correlation:.5f}"
        )
    return table


def _jets(inputs: Inputs) -> int:
    return len(next(iter(inputs.values())))
