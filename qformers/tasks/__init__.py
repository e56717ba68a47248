"""What models are trained for: losses, scores, reports and pictures.

To add a task, write a class with what `task.Task` says and a line of `TASKS`; a data set names the task that its labels
are for. Keras is imported where a loss is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qformers.builds.build import Build
from qformers.config.sections import DataConfig
from qformers.data import Split, dataset_of
from qformers.errors import ConfigError, nearest
from qformers.tasks.jets import JetTagging
from qformers.tasks.points import PileupRemoval, Tracking
from qformers.tasks.regression import Regression
from qformers.tasks.task import Task

__all__ = ["TASKS", "JetTagging", "PileupRemoval", "Regression", "Task", "Tracking", "task_of"]

# by name; made from the data section of a build and the classes of its data set
TASKS: dict[str, Callable[[DataConfig, Sequence[str]], Task]] = {
    "jet_tagging": JetTagging.of,
    "tracking": Tracking.of,
    "pileup": PileupRemoval.of,
    "regression": Regression.of,
}


def task_of(build: Build, split: Split) -> Task:
    """What a build learns from the labels of its data set.

    Args:
        build: the build.
        split: of its data.

    Raises:
        ConfigError: the data set has labels for a task that is not in `TASKS`.
        DataError: as `qformers.data.dataset_of`.
    """
    name = dataset_of(build.data.dataset).task(build.data)
    if name not in TASKS:
        raise ConfigError(
            f"data.dataset: the labels of '{build.data.dataset}' are for an unknown task '{name}'{nearest(name, TASKS)}"
        )
    return TASKS[name](build.data, split.class_names)
