"""Kernels and stores of folded firmware as a program of compiled arithmetic: what each beat reads, and what it writes.

Nothing is copied between kernels: a store is the places that the kernel in front has written, seen in the order in
which the kernel behind reads them. Only sums over the points, and values that a beat reads in the format of all beats,
are made on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.compiled import Forms, Program, Step, out_fractions
from hls.backends.folded.kernels import Group, Kernel
from qformers.quant.phases import Folding

Numbers = NDArray[np.int64]


def program_of(fold: Folding, kernels: Sequence[Kernel]) -> Program:
    """The program of a machine.

    Args:
        fold: how an event comes.
        kernels: in order; the values of an event are those of the beats of the first one, one beat after the other.
    """
    first = kernels[0]
    outside = tuple(group for group in first.ins if group.kind != "rom")
    width = sum(group.size for group in outside)
    given = np.arange(first.beats * width).reshape(first.beats, width)
    places, ins, steps, constants = given.size, given, [], []
    fractions = out_fractions(first.comb)
    for number, kernel in enumerate(kernels):
        rom = places + np.arange(kernel.rom.size).reshape(kernel.beats, -1)
        places += rom.size
        constants.append((rom.ravel(), _whole(kernel).ravel()))
        ins = np.concatenate([rom, ins], axis=1)
        outs = places + np.arange(kernel.beats * kernel.comb.shape[1]).reshape(kernel.beats, -1)
        places += outs.size
        behind = kernels[number + 1] if number + 1 < len(kernels) else None
        own = out_fractions(kernel.comb)
        left, terms = np.zeros_like(own), np.zeros((0, kernel.beats), np.int64)
        totals = places + np.zeros(0, np.int64)
        if behind is not None:
            left = _left(fold, kernel, behind, own)
            summed = _columns(kernel.outs, "running")
            terms, totals = outs[:, summed].T, places + np.arange(len(summed))
            places += len(totals)
        tables = {"ins": ins, "outs": outs, "sums": terms, "totals": totals}
        narrow = {name: table.astype(np.int32) for name, table in tables.items()}
        steps.append(Step(kernel.comb, _forms(kernel.ins), left=left, **narrow))
        fractions = own + left
        if behind is not None:
            ins = _ins(fold, kernel, behind, outs, totals)
    forms = _forms(outside)
    every = Forms(*(np.tile(part, first.beats) for part in (forms.signed, forms.integer, forms.fraction)))
    where, what = (np.concatenate(parts) for parts in zip(*constants, strict=True))
    return Program(tuple(steps), places, every, outs[0].astype(np.int32), fractions, where.astype(np.int32), what)


def _whole(kernel: Kernel) -> Numbers:
    """The ROM of a kernel in the steps of its formats."""
    fractions = [np.ravel(group.kif[2]).astype(np.float64) for group in kernel.ins if group.kind == "rom"]
    return (kernel.rom * 2.0 ** np.concatenate([np.zeros(0), *fractions])).astype(np.int64)


def _forms(groups: Sequence[Group]) -> Forms:
    return Forms.of([np.concatenate([np.ravel(group.kif[part]) for group in groups]) for part in range(3)])


def _spans(groups: Sequence[Group]) -> dict[tuple[str, str], tuple[Group, int]]:
    """Tensor and store -> its group, and where its values begin."""
    starts = np.cumsum([0, *(group.size for group in groups)]).tolist()
    return {(group.tensor, group.kind): (group, start) for group, start in zip(groups, starts, strict=False)}


def _columns(groups: Sequence[Group], kind: str) -> Numbers:
    """Values of the groups of a kind."""
    parts = [start + np.arange(group.size) for group, start in _spans(groups).values() if group.kind == kind]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _left(fold: Folding, kernel: Kernel, behind: Kernel, own: Numbers) -> Numbers:
    """Shifts of the outputs of a kernel: those of which beats read their own come in the steps of the finest one."""
    left, read = np.zeros_like(own), _spans(behind.ins)
    for (tensor, kind), (group, start) in _spans(kernel.outs).items():
        if kind == "spread":
            shared = np.concatenate([read[tensor, kind][0].kif[2]] * fold.beats, axis=fold.spread[tensor])
            columns = slice(start, start + group.size)
            left[columns] = np.ravel(shared).astype(np.int64) - own[columns]
    return left


def _ins(fold: Folding, kernel: Kernel, behind: Kernel, outs: Numbers, totals: Numbers) -> Numbers:
    """(beats, inputs): where the inputs of the kernel behind stand."""
    written, summed = _spans(kernel.outs), _columns(kernel.outs, "running")
    total_of = dict(zip(summed.tolist(), totals.tolist(), strict=True))
    parts = []
    for group in behind.ins:
        if group.kind == "rom":
            continue  # its places are the first ones
        source, start = written[group.tensor, group.kind]
        made = outs[:, start : start + source.size]  # (beats of the kernel in front, values)
        if group.kind == "streamed":
            part = made
        elif group.kind == "filled":
            beats = [row.reshape(source.shape) for row in made]
            part = np.concatenate(beats, axis=fold.axes[group.tensor] or 0).reshape(1, -1)
        elif group.kind == "running":
            part = np.array([[total_of[start + value] for value in range(source.size)]])
        elif group.kind == "spread":
            rows = np.split(made[0].reshape(source.shape), fold.beats, axis=fold.spread[group.tensor])
            part = np.stack([row.ravel() for row in rows])
        else:
            part = made[:1]
        parts.append(np.broadcast_to(part, (behind.beats, group.size)))
    return np.concatenate(parts, axis=1)
