"""A run folder for a quantised model that somebody else built: what export, simulations and comparison work on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.builds.build import Build, checked, load
from qformers.builds.models import load_model
from qformers.builds.own_events import OWN, Said, number_of, own_events
from qformers.builds.run_place import refuse_foreign_run
from qformers.builds.saved import check_recorded, save_model
from qformers.builds.settings import MADE_BY, sections_of
from qformers.config.files import onto, override
from qformers.config.names import MAX_NAME, name_fault
from qformers.errors import ConfigError
from qformers.files import replacing, sha256
from qformers.interop.adopt import Adopted, adopt
from qformers.interop.ends import without_ends
from qformers.interop.truth import scores_of, truth_of, write_metrics
from qformers.manifest import MANIFEST, write_manifest
from qformers.models.own import OwnConfig
from qformers.quant.within import is_quantised
from qformers.records import hashes

ENDINGS = (".keras",)
STAGE = "own"


@dataclass(frozen=True)
class OwnRun:
    """A run folder with a model of one's own.

    Attributes:
        build: that describes it.
        folder: its place.
        adopted: the model as it was taken over.
        events: that it is tried on, input -> (n, ...); None where no file was named.
    """

    build: Build
    folder: Path
    adopted: Adopted
    events: Mapping[str, NDArray[np.float32]] | None = field(default=None, repr=False)

    @property
    def model(self) -> Path:
        """The model file of the run."""
        return self.folder / "qat" / "model.keras"


def own_run(
    source: Path,
    run: Path | None = None,
    firmware: Path | None = None,
    events: Path | None = None,
    overrides: Sequence[str] = (),
    refuse: Callable[[Any, Build], None] = lambda model, build: None,
    said: Said | None = None,
    logits: bool = False,
) -> OwnRun:
    """Take a model over and write its run folder.

    Args:
        source: the model, a ``.keras`` file.
        run: the folder; None for ``runs/<name of the file>``.
        firmware: build file whose section `firmware` counts.
        events: file of events for the simulations, see `qformers.builds.own_events`; None draws them.
        overrides: ``section.key=value``, applied last.
        refuse: told of the model and its build before anything is written; raises where they have no firmware.
        said: labels of the events, which give ``qat/metrics.json``.
        logits: whether a last softmax or sigmoid is left away.

    Raises:
        ConfigError: no model of Keras that can be read, a float model, a folder of another model, a setting.
    """
    if source.suffix.lower() not in ENDINGS:
        raise ConfigError(
            f"{source}: a model is given as a .keras file, built of the layers of HGQ2. One of QKeras becomes one by "
            "qformers import qkeras FILE.h5 MODEL.keras; weights alone are no model"
        )
    adopted = adopt(load_model(source))
    if not is_quantised(adopted.model):
        raise ConfigError(
            f"{source}: is a float model, without a quantiser: give it formats (qformers quantise {source} --calibrate "
            "DATA.npy), or build it of the layers of HGQ2 (QDense for Dense, ...) and train that"
        )
    if logits:
        adopted = replace(adopted, model=without_ends(adopted.model))
    build = described(source, adopted, firmware, events, overrides, said=said)
    folder = run or Path("runs") / build.name
    refuse_foreign_run(folder)
    refuse_another(folder, source)
    refuse(adopted.model, build)
    given = own_events(build, adopted.model)  # now, or a good run would be lost to events that cannot be read
    truth = None if given is None else truth_of(build, adopted.model, number_of(given))
    scores = scores_of(adopted.model, given, truth)
    made = OwnRun(build, folder, adopted, given)
    begin(folder, build)
    save_model(adopted.model, made.model)
    write_metrics(made.model.parent, scores)
    facts = {"settings": sections_of(build, *MADE_BY), **origin(source, adopted)}
    write_manifest(made.model.parent, STAGE, build, facts, hashes(made.model.parent, ["model.keras"]))
    return made


def begin(folder: Path, build: Build) -> None:
    """Say whose run a folder will be, and that its models are not there yet: the same command goes on after a stop."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "build.yaml") as temporary:
        temporary.write_text(build.to_yaml())
    for phase in ("float", "qat"):
        (folder / phase / MANIFEST).unlink(missing_ok=True)


def origin(source: Path, adopted: Adopted) -> dict[str, Any]:
    """What a manifest says of where a model came from."""
    return {
        "source": str(source),
        "source_path": str(source.resolve()),
        "source_sha256": sha256(source),
        "renamed": dict(adopted.renamed),
        "left_out": list(adopted.left_out),
    }


def refuse_another(folder: Path, source: Path) -> None:
    """Keep a run folder whose model is another one; the same file may have changed since.

    Raises:
        ConfigError: naming it.
    """
    model = folder / "qat" / "model.keras"
    if not (model.parent / MANIFEST).is_file() and not model.is_file():
        return
    if not (model.parent / MANIFEST).is_file() and _begun(folder, source):
        return  # stopped while it was written
    known = check_recorded(model) if model.is_file() else {}
    same = (known.get("source_path"), known.get("source_sha256"))
    if str(source.resolve()) != same[0] and sha256(source) != same[1]:
        held = same[0] or "one that was trained here"
        raise ConfigError(f"{folder}: holds another model ({held}); name another folder with --run")


def _begun(folder: Path, source: Path) -> bool:
    path = folder / "build.yaml"
    config = load(path).model if path.is_file() else None
    return isinstance(config, OwnConfig) and Path(config.source).resolve() == source.resolve()


def described(
    source: Path,
    adopted: Adopted,
    firmware: Path | None,
    events: Path | None,
    overrides: Sequence[str],
    sections: Mapping[str, Any] | None = None,
    said: Said | None = None,
) -> Build:
    """The build that describes a model.

    Args:
        source: file that it came from.
        adopted: the model.
        firmware: build file whose section `firmware` counts.
        events: file for the simulations.
        overrides: ``section.key=value``, applied last.
        sections: further ones.
        said: labels of the events.
    """
    model = adopted.model
    named = model._outputs_struct if isinstance(model._outputs_struct, dict) else {}
    tensors = named or {tensor._keras_history.operation.name: tensor for tensor in model.outputs}
    inside = {*(layer.name for layer in model.layers), *tensors}
    tree: dict[str, Any] = {
        "spec": 1,
        "name": build_name(source.stem, inside),
        "data": {
            "dataset": OWN,
            "train": [],
            "val": [],
            "test": [str(events.resolve())] if events else [],  # commands run in any folder
            "features": OWN,
            "num_particles": 1,
        },
        "model": {
            "architecture": OWN,
            "source": str(source),
            "inputs": {tensor.name: list(tensor.shape[1:]) for tensor in model.inputs},
            "outputs": {name: list(tensor.shape[1:]) for name, tensor in tensors.items()},
            "layers": {layer.name: type(layer).__name__ for layer in model.layers},
            "renamed": dict(adopted.renamed),
            **({} if said is None else {"labels": str(said.labels.resolve()), "metric": said.metric}),
        },
        "train": {"qat": None},
        **(sections or {}),
    }
    if firmware is not None:
        tree["firmware"] = load(firmware).firmware.model_dump(mode="json")
    for text in overrides:
        tree = onto(tree, override(text))
    return checked(tree, source)


def build_name(stem: str, inside: Collection[str] = ()) -> str:
    """The name of a build for a file of this name.

    Args:
        stem: of the file, without its ending.
        inside: names of layers and outputs, which the build cannot have.
    """
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in stem.lower()).strip("_")
    plain = plain if plain[:1].isalpha() else f"model_{plain}".rstrip("_")
    plain = plain[: MAX_NAME - len("_model")]
    return f"{plain}_model" if name_fault(plain) or plain in inside else plain
