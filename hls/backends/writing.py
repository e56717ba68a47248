"""Around every backend's own writing: a folder that appears whole, its manifest, hash and output names of a model."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hls.backends.protocol import LAYOUT
from hls.backends.written import WIDE
from hls.errors import HlsError, Refusal
from hls.escaping import identifier, is_identifier, number, tcl_word
from qformers.builds.build import Build
from qformers.errors import DamagedError
from qformers.manifest import MANIFEST, write_manifest
from qformers.quant.hardware import layer_ebops
from qformers.quant.phases import Unfolded
from qformers.quant.ranges import wide_layers
from qformers.records import all_hashes, read_object

EBOPS = "ebops"  # key of a manifest: EBOPs of this hardware, counted anew where the model was trained for another one


@contextmanager
def new_project(
    backend: str, model: Any, build: Build, out: Path, facts: Mapping[str, Any] | None
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder to write a project to; with a manifest it takes the place of `out` when the block ends well.

    Args:
        backend: its name.
        model: the model that is written.
        build: its section `firmware` goes into the manifest.
        out: folder of the project, absolute; an older project there goes, and with it what it had compiled.
        facts: more for the manifest, after all else.

    Yields:
        The folder, and a dictionary for what the backend itself has to say in the manifest.

    Raises:
        HlsError: `out` is neither missing, nor an empty folder, nor one that holds a project.
    """
    refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    identifier(build.name, "the name of the build")  # of a file, a function and a module
    tcl_word(build.firmware.part, "firmware.part")
    number(build.firmware.clock_ns, "firmware.clock_ns")
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder, said = Path(scratch) / "project", dict[str, Any]()
        yield folder, said
        for packed in folder.rglob("*.gz"):
            _without_time(packed)
        firmware = {"backend": backend, "firmware": build.firmware.model_dump(mode="json")}
        said.setdefault(WIDE, wide_layers(model))
        said.setdefault(EBOPS, sum(layer_ebops(model).values()))
        known = {**firmware, "model_sha256": weights_hash(model), **said, **(facts or {})}
        write_manifest(folder, f"export.{backend}", build, known, all_hashes(folder))
        _replace(folder, out)


def refuse_foreign(out: Path, way_out: str = "name another place with --out") -> None:
    """Leave a place alone that is neither free, nor an empty folder, nor a project.

    Args:
        out: the place.
        way_out: what to do instead, as the command that writes there has it.

    Raises:
        HlsError: naming it.
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise HlsError(f"{out}: is no folder, and a project is one; {way_out}")
    if not (out / LAYOUT).is_file() and not _exported(out):
        raise HlsError(f"{out}: holds files and no firmware project ({LAYOUT}), and they would go; {way_out}")


def _without_time(path: Path) -> None:
    """Take the time out of the head of a gzip file: equal projects are equal files (RFC 1952, MTIME)."""
    with path.open("r+b") as file:
        file.seek(4)
        file.write(bytes(4))


def _exported(out: Path) -> bool:
    """Whether the manifest says that a project stood there, whose layout is lost."""
    try:
        return str(read_object(out / MANIFEST, "").get("stage", "")).startswith("export.")
    except DamagedError:
        return False


def _replace(folder: Path, out: Path) -> None:
    old = folder.parent / "old"
    if out.exists():
        out.rename(old)
    folder.rename(out)
    shutil.rmtree(old, ignore_errors=True)


# costs, their price, and the state of random numbers for dropout, which every load draws anew
CHANGES_NO_OUTPUT = ("ebops", "beta", "seed_generator_state")


def weights_hash(model: Any) -> str:
    """SHA-256 over the layers' names, weights and formats: the same for a model saved and loaded again."""
    import keras
    import numpy as np

    total = hashlib.sha256()
    for layer in model.layers:
        total.update(layer.name.encode())
        for variable in layer.variables:
            if variable.name not in CHANGES_NO_OUTPUT:
                value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
                total.update(f"{variable.name}{value.shape}{value.dtype}".encode() + value.tobytes())
    return total.hexdigest()


def name_refusals(model: Any, build: Build | None) -> list[Refusal]:
    """Names that the firmware cannot have: an output that no port can be called, a build called as a part of its model.

    Args:
        model: a Keras model, whose layers were looked at by themselves.
        build: names the top function or module; None = it has a free name.
    """
    refused = [
        Refusal(name, "output", "it is no name of C++ and Verilog", "name it with letters, digits and _")
        for name in output_names(model)
        if not is_identifier(name)
    ]
    places: dict[int, str] = {}
    for name, tensor in zip(output_names(model), model.outputs, strict=True):
        if id(tensor) in places:
            reason = f"it is the same tensor as the output '{places[id(tensor)]}'"
            refused.append(Refusal(name, "output", reason, "leave one of the two out"))
        places.setdefault(id(tensor), name)
    inside = {*(layer.name for layer in model.operations), *output_names(model)}
    if build is not None and build.name in inside:
        reason = f"a layer, input or output of the model has this name too. Received: {build.name}"
        refused.append(Refusal("name", "setting", reason, f"set another one, e.g. {build.name}_build"))
    return refused


def refusal_of(unfolded: Unfolded) -> Refusal:
    """What cannot be folded, as a backend refuses it."""
    return Refusal(unfolded.name, unfolded.kind, unfolded.reason, unfolded.way_out)


def output_names(model: Any) -> list[str]:
    """Name of each of ``model.outputs``; Keras sorts these by key, whatever the order of the dictionary."""
    if not isinstance(model.output, dict):
        return list(model.output_names)
    keys = {id(tensor): key for key, tensor in model.output.items()}
    return [keys[id(tensor)] for tensor in model.outputs]
