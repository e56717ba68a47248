"""The learning rate as a plain function of the step: nothing to save, nothing to get out of step on a resume."""

from __future__ import annotations

import math

from qformers.config.sections import PhaseConfig

DECAY_SHARE = (
    0.3  # flat_decay lowers the rate in this last share of the epochs, as published for ParT (arXiv:2202.03772)
)


def learning_rate(phase: PhaseConfig, step: int, steps_per_epoch: int) -> float:
    """Learning rate of one optimiser step.

    ``constant``: as it says. ``cosine``: half a cosine from the full rate to the final one, moved every step.
    ``flat_decay``: the full rate for 70 % of the epochs, then one equal factor down at the start of each of the
    others, so that the last epoch runs at the final rate. A warm-up rises linearly, step by step, and comes before
    all of them.

    Args:
        phase: `learning_rate`, `final_learning_rate` (a share of it), `schedule`, `epochs` and `warmup_epochs`.
        step: steps done in this phase, 0 for the first.
        steps_per_epoch: optimiser steps in an epoch.
    """
    full, final = phase.learning_rate, phase.final_learning_rate
    warmup = phase.warmup_epochs * steps_per_epoch
    if step < warmup:
        return full * (step + 1) / warmup
    if phase.schedule == "cosine":
        last = phase.epochs * steps_per_epoch - 1
        done = min(1.0, (step - warmup) / max(1, last - warmup))
        return full * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * done)))
    if phase.schedule == "flat_decay":
        decays = max(1, int(DECAY_SHARE * phase.epochs))  # epochs with a lowered rate
        lowered = max(0, step // steps_per_epoch - (phase.epochs - decays) + 1)
        return full * float(final ** (min(lowered, decays) / decays))
    return full
