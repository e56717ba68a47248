"""Training: one loop for float and quantised models, exact to resume.

`train_build` is imported from `qformers.train.phases`; the parts that need no Keras can be imported without it.
"""

from qformers.errors import CheckpointError, DivergedError, TrainingError

__all__ = ["CheckpointError", "DivergedError", "TrainingError"]
