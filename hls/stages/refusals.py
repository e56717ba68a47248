"""What the firmware of a build cannot be, said before its training: hours later it would be as true."""

from __future__ import annotations

import keras

from hls.backends import open_backend
from hls.backends.writing import refusal_of
from hls.errors import ExportRefused
from qformers.builds.build import Build
from qformers.builds.models import build_model
from qformers.data import open_split
from qformers.quant.phases import Unfolded


def refuse_before_training(build: Build) -> None:
    """Build the quantised model of a build, untrained, and ask the backend of the build whether it can write it.

    A build without a quantised phase has no firmware, and nothing is asked.

    Args:
        build: whose run folder was not written yet.

    Raises:
        ConfigError: names of layers or types that the model has not, or what fixed point does not have.
        DataError: as `open_split`.
        ExportRefused: layers or settings without exact firmware.
        HlsError: an unknown backend.
    """
    if build.quant is None or build.train.qat is None:
        return
    backend = open_backend(build.firmware.backend)
    split = open_split(build.data, "val")
    try:
        model = build_model(build, split.feature_set, split.class_names, "hgq")
        refused = backend.supports(model, build)
    except Unfolded as unfolded:
        refused = [refusal_of(unfolded)]
    finally:
        keras.backend.clear_session()  # the training names its layers as in a process of its own
    if refused:
        raise ExportRefused(backend.name, refused)
