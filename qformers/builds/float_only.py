"""Builds whose training leaves no quantised model, said as what they are: to train them once more changes nothing."""

from __future__ import annotations

from pathlib import Path

from qformers.builds.build import Build
from qformers.errors import ConfigError

EXAMPLE = "firmware_configs/part_demo.yaml"  # a build with both sections


def no_quantised(build: Build) -> str:
    """Why the training of a build leaves no quantised model, with the way to one; "" where it leaves one."""
    if build.quant is None:
        return (
            f"build '{build.name}' is float only: it has no section 'quant', hence no quantised model and no firmware. "
            f"Add quant (quant: {{}} takes the defaults) and train.qat for its training, as {EXAMPLE} has them, and "
            f"train it then"
        )
    if build.train.qat is None:
        without = ", or make a quantised model without training: qformers quantise RUN/float/model.keras BUILD"
        return (
            f"build '{build.name}' trains in float alone, since train.qat is null: give train.qat its keys and train "
            f"it then{without if build.data.points is None else ''}"  # points are quantised with training alone
        )
    return ""


def missing_model(path: Path, build: Build | None) -> str:
    """What to do about a quantised model that is not there."""
    why = no_quantised(build) if build is not None else ""
    return f"{path} is missing; {why or 'train the build first (qformers train)'}, or give --model"


def refuse_float_only(build: Build, run: Path, otherwise: str = "") -> None:
    """Refuse what needs a quantised model where none is in the run folder, nor will be after the training.

    Args:
        build: the build.
        run: its run folder.
        otherwise: words of another way out.

    Raises:
        ConfigError: with the way to one.
    """
    model = run / "qat" / "model.keras"
    if not model.is_file() and (why := no_quantised(build)):
        raise ConfigError(f"{model} is missing; {why}{otherwise}")
