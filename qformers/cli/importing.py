"""Save a model of another framework as a Keras model: QKeras, ParT (weaver-core), HEPT, Erwin or Hrrformer.

    qformers import qkeras jets.h5 jets.keras --input 'fixed<16,6>' --logits
    qformers import qkeras jets.json jets_weights.h5 jets.keras --input 'fixed<16,6>'
    qformers import part best_epoch_state.pt part.keras --particles 128
    qformers import hept tracking-60k-model.pt hept.keras --task tracking60k --dtype float64
    qformers import erwin shapenet.pt erwin.keras --task shapenet --particles 3586
    qformers import hrrformer w.npz listops.keras --task listops

qkeras: the model becomes one of HGQ2 layers that computes the same bit for bit and goes to firmware. QKeras 0.9's .h5
and qkeras-v3's .keras and .h5 are read without QKeras, so are an architecture (model.to_json()) and its weights
(model.save_weights()) as two files. What fixed point cannot hold exactly is refused.

part, hept, erwin: a PyTorch checkpoint (needs the extra `torch`), or its arrays in a .npz, becomes a float model. The
sizes of a ParT and of an Erwin are read from the checkpoint, those of a HEPT are the task's. What no weight shows is as
published; --set changes it. No weight of an Erwin shows its balls: the task does, or --set balls=[256,256].

hrrformer: the params of a flax model (FutureComputing4AI/Hrrformer) as arrays in a .npz become a float model. Sizes are
read from them, the rest is the task's. The pickle that upstream's scripts save is not read; where it was trained,

    import flax, numpy
    numpy.savez("w.npz", **flax.traverse_util.flatten_dict(params, sep="/"))
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from zipfile import is_zipfile

from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import ConfigError, QkerasError, WeightsError
from qformers.files import unreadable
from qformers.flax_files import refuse_other_files
from qformers.manifest import MANIFEST
from qformers.torch_files import require_torch

QKERAS = "qkeras"
HRRFORMER = "hrrformer"
KINDS = {QKERAS: "a model saved by model.save", HRRFORMER: "a .npz of the params"}  # of SOURCE


def add(parser: argparse.ArgumentParser) -> None:
    """The options; which go with which source is checked in `run`."""
    parser.add_argument(
        "what",
        metavar="WHAT",
        choices=(QKERAS, "part", "hept", "erwin", HRRFORMER),
        help="qkeras, part, hept, erwin or hrrformer",
    )
    parser.add_argument(
        "source",
        nargs="+",
        type=Path,
        metavar="SOURCE",
        help="saved by QKeras or PyTorch, or arrays in a .npz; of QKeras also an architecture .json and its .h5",
    )
    parser.add_argument("target", type=Path, metavar="TARGET", help="model to write, ends in .keras")
    qkeras = parser.add_argument_group("qkeras")
    qkeras.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FORMAT",
        help="format in which inputs arrive, e.g. 'fixed<16,6>'; not needed where a QActivation reads them",
    )
    qkeras.add_argument("--logits", action="store_true", help="leave a last softmax or sigmoid away")
    qkeras.add_argument(
        "--sigmoid",
        choices=("hard", "smooth", "real"),
        help="qkeras.set_internal_sigmoid of the training, which no file says (default: hard)",
    )
    weights = parser.add_argument_group("part, hept, erwin, hrrformer")
    weights.add_argument(
        "--particles",
        type=shared.at_least_one,
        metavar="N",
        help="slots per event (default: part: 128; hept: events of any size; erwin: has to be given; hrrformer: as "
        "many as there are vectors of places, or as published; of retrieval both sequences together)",
    )
    weights.add_argument(
        "--task",
        help="hept: tracking60k, tracking600, pileup10k, cms_pileup or cms_tracking; "
        "erwin: md, eagle, cosmology, shapenet or pde; "
        "hrrformer: listops, text, retrieval, image, path, path_x or ember",
    )
    weights.add_argument("--dtype", help="float32 (default) or float64")
    weights.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. pre_activation_pair=true"
    )


def run(options: argparse.Namespace) -> int:
    """Import, print what was written; 0 if it was."""
    _one_source(options)
    ours = {"--particles": options.particles, "--task": options.task, "--dtype": options.dtype, "--set": options.set}
    theirs = {"--input": options.input, "--logits": options.logits, "--sigmoid": options.sigmoid}
    if options.target.suffix != ".keras":
        raise ConfigError(f"TARGET is the model to write and ends in .keras. Received: {options.target}")
    wrong = [name for name, value in (ours if options.what == QKERAS else theirs).items() if value]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)} does not go with '{options.what}'; see qformers import --help")
    _refuse_early(options)
    (_qkeras if options.what == QKERAS else _weights)(options)
    return status.DONE


def _one_source(options: argparse.Namespace) -> None:
    """Split the sources into the file of the model and that of its weights, which stands in `weights`; None for none.

    Raises:
        ConfigError: two files that are no architecture with its weights, or more.
    """
    files = list(options.source)
    options.source, options.weights = files[0], files[1] if len(files) > 1 else None
    if len(files) > 2 or (len(files) == 2 and options.what != QKERAS):
        raise ConfigError(
            f"'{options.what}' is imported from one file"
            f"{' or two, the architecture .json and the weights .h5' if options.what == QKERAS else ''}. Received: "
            f"{', '.join(map(str, files))}"
        )


def _refuse_early(options: argparse.Namespace) -> None:
    """What can be known of the files before Keras is imported, which takes seconds.

    Raises:
        WeightsError: no source, one of another kind, so the target; PyTorch is needed and missing.
    """
    error = QkerasError if options.what == QKERAS else WeightsError
    for source in filter(None, (options.source, options.weights)):
        if reason := unreadable(source):
            raise error(f"{source}: {reason}; give {KINDS.get(options.what, 'a checkpoint written by torch.save')}")
    if options.target.is_dir():
        raise error(f"{options.target}: is a folder; name a file to write")
    if options.target.exists() and (options.target.with_name(MANIFEST).exists() or not is_zipfile(options.target)):
        raise error(f"{options.target}: is there, and no import wrote it; name another file to write")
    if options.what == HRRFORMER:
        refuse_other_files(options.source)
    elif options.what != QKERAS:
        from qformers.interop.checkpoint import ARRAYS

        if options.source.suffix != ARRAYS:
            require_torch(options.source, error)
    elif options.source.suffix == ".keras":
        from qformers.builds.archive import check_keras_archive

        check_keras_archive(options.source, error)


def _qkeras(options: argparse.Namespace) -> None:
    from qformers.interop.qkeras.build import Options, parse_inputs
    from qformers.interop.qkeras.importer import import_qkeras

    how = Options(parse_inputs(options.input), options.sigmoid or "hard", options.logits)
    imported = import_qkeras(options.source, options.target, how, options.weights)
    model = imported.model
    shapes = {tensor.name: tensor.shape[1:] for tensor in model.inputs}
    ebops = sum(float(layer.ebops) for layer in model.layers if hasattr(layer, "ebops"))
    print(f"{options.target}: {len(model.layers)} layers, inputs {shapes}, {ebops:,.0f} EBOPs")
    for note in imported.notes:
        print(f"note: {note}")
    if not imported.notes:
        print("every value is computed as QKeras computes it, bit for bit")


def _weights(options: argparse.Namespace) -> None:
    from qformers.interop import importers

    sizes = importers.Sizes(
        options.particles, options.dtype or "float32", importers.parse_options(options.set), options.task
    )
    model, config = importers.import_weights(options.what, options.source, options.target, sizes)
    shapes = {tensor.name: tensor.shape[1:] for tensor in model.inputs}
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    print(f"{options.target}: {parameters:,} parameters, inputs {shapes}, output {model.outputs[0].shape[1:]}")
    taken = importers.ASSUMED[options.what]
    print("not shown by the weights, taken: " + ", ".join(f"{k}={getattr(config, k)}" for k in taken))


COMMAND = Command("import", __doc__ or "", add, run)
