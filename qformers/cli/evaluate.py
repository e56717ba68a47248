"""Evaluate a model, float, quantised or imported, on any events: metrics with errors, JSON, pictures.

    qformers evaluate runs/hept.keras --data runs/event/train/event000001000-hits.csv --task tracking
    qformers evaluate runs/part_demo/qat/model.keras --data data/jets/test_*.root
    qformers evaluate runs/part_demo/float/model.keras runs/part_demo/qat/model.keras

Files are ROOT (JetClass, NanoAOD), HDF5 (hls4ml LHC jets, top landscape), .npz (quark/gluon, tokens, clusters),
TrackML's CSV (also .csv.gz, with detectors.csv beside or above), ACTS's simulated hits, line segments or candidates; a
folder stands for all of them in it. Which numbers of a particle or point the model reads follows from its inputs, or
from the build of the run that it lies in, whose test split is taken where --data is missing. Of two models the
differences are given with paired errors, since both see the same events.

It writes evaluation.json, evaluation.md and pictures: ROC and confusion of jets; of tracks, efficiency and fake rate
over pT, eta and length, and events whose hits are coloured by found track; of pile-up, precision over recall; of
clusters, predicted over true energies and residuals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import ConfigError
from qformers.evaluate import MOST_MODELS, OUT, TASK_WORDS


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="one .keras file, or two to compare")
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE", help="files or folders of events")
    parser.add_argument(
        "--task", choices=list(TASK_WORDS), help="what the outputs mean (default: as data set and model tell)"
    )
    parser.add_argument("--build", type=Path, metavar="FILE", help="build file of the training: how events are read")
    parser.add_argument("--dataset", metavar="NAME", help="data set (default: by names and content of the files)")
    parser.add_argument("--features", metavar="NAME", help="feature set, where several fit the model's inputs")
    parser.add_argument(
        "--classes", nargs="+", default=[], metavar="NAME", help="jets: classes in the order of the outputs"
    )
    parser.add_argument("--layers", choices=("pixel", "all"), help="TrackML, ACTS: detectors (default: pixel)")
    parser.add_argument("--lda", type=Path, metavar="FILE", help="line segments: the file that qformers fit-lda wrote")
    parser.add_argument("--events", type=shared.at_least_one, metavar="N", help="jets or files, at most (default: all)")
    parser.add_argument(
        "--distance",
        type=shared.above_zero,
        metavar="D",
        help="tracking: embeddings nearer than this are of one track, by DBSCAN (default: HDBSCAN, which needs none)",
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"folder to write (default: {OUT})")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Evaluate, write, print; 0 when the folder is written."""
    for model in options.models:
        shared.need_file(model, "MODEL", "train a build (qformers train) or import a model (qformers import)")
    if options.build is not None:
        shared.need_file(options.build, "--build")
    if len(options.models) > MOST_MODELS:
        raise ConfigError(f"evaluate takes one MODEL, or two to compare. Received: {len(options.models)}")
    from qformers.evaluate.events import Asked
    from qformers.evaluate.stage import evaluate

    asked = Asked(
        task=options.task, dataset=options.dataset, features=options.features, classes=tuple(options.classes),
        layers=options.layers, lda=options.lda, most=options.events,
    )  # fmt: skip
    console = shared.terminal(options)
    with shared.reporting(options, console) as reporter:
        result = evaluate(options.models, options.data, asked, options.build, options.out, options.distance, reporter)
        written = result.save()
    result.show(console)
    print(f"wrote {written} and pictures beside it")
    return status.DONE


COMMAND = Command("evaluate", __doc__ or "", add, run)
