"""The trained model of another run, for the same build with other firmware."""

from __future__ import annotations

import shutil
from pathlib import Path

from qformers.builds.build import Build
from qformers.builds.run_place import refuse_foreign_run
from qformers.builds.saved import content_sha256
from qformers.builds.settings import made_otherwise
from qformers.errors import ConfigError
from qformers.files import replacing
from qformers.train.finish import Finished
from qformers.train.phases import exclusive

FOR_TRAINING = ("checkpoints", "tensorboard")  # subfolders of a phase that no later stage reads


def take_trained(source: Path, out: Path, build: Build) -> tuple[Finished, ...]:
    """Copy the finished phases of a run into another run folder, which then begins with the firmware.

    Args:
        source: run folder.
        out: run folder of `build`; what it has of the same model stays.
        build: has to agree with the one of `source` in all but firmware and name.

    Raises:
        ConfigError: `source` is not trained, is `out` itself or of another build; or `out` has another model already.
        DamagedError, TrainingError: as `Finished.read`.
    """
    if source.resolve() == out.resolve():
        raise ConfigError(f"--trained {source}: is the run folder itself; name another one with --run")
    refuse_foreign_run(out)
    finished = {name: Finished.read(source / name) for name in ("float", "qat")}
    last = finished["qat"]
    if last is None:
        raise ConfigError(f"--trained {source}: has no finished quantised model (qat/manifest.json); train it first")
    if changed := made_otherwise(last.settings, build):
        lines = "".join(f"\n  {line}" for line in changed)
        raise ConfigError(f"--trained {source}: was trained by another build, which only its firmware may be:{lines}")
    with exclusive(out):
        for name, phase in finished.items():
            there = Finished.read(out / name)
            if phase is None or (there is not None and content_sha256(there.model) == content_sha256(phase.model)):
                continue
            if (out / name).exists():
                raise ConfigError(f"{out / name}: holds another model than {phase.folder}; name another run with --run")
            part = out / f".{name}.taken"  # the name is there at once, whole, or not at all
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(phase.folder, part, ignore=shutil.ignore_patterns(*FOR_TRAINING))
            part.rename(out / name)
        with replacing(out / "build.yaml") as temporary:
            temporary.write_text(build.to_yaml())
    return tuple(phase for phase in finished.values() if phase is not None)
