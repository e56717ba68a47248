"""Errors of the training, told apart so that scripts can say what to do."""


class TrainingError(RuntimeError):
    """The training cannot start or go on; the message says what was found and the way out."""


class CheckpointError(TrainingError):
    """A checkpoint that does not belong to this build, or is damaged."""


class DivergedError(TrainingError):
    """The loss became NaN or infinite; the batch is saved."""
