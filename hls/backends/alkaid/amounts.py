"""What a pipeline takes, all of it or what some of its inputs have no part in."""

from __future__ import annotations

from dataclasses import dataclass

from hls.backends.alkaid.multipliers import Cost, op_costs
from hls.backends.alkaid.stages import CONSTANT, INPUT, PRODUCT, Pipeline


@dataclass(frozen=True)
class Amount:
    """Of some operations of a pipeline.

    Attributes:
        lut: alkaid's estimate.
        dsp: DSP blocks.
        products: of two variables.
        register_bits: of the registers that hold what they give.
    """

    lut: float
    dsp: int
    products: int
    register_bits: int


def amount(cut: Pipeline, multipliers: str, inputs: int = 0) -> Amount:
    """What a pipeline takes.

    Args:
        cut: the pipeline.
        multipliers: `firmware.multipliers`.
        inputs: only operations count that need none of the first `inputs` inputs.
    """
    ops = cut.comb.ops
    needs: list[bool] = []
    last = list(cut.stages)  # stage in which a value is read last
    for op, stage in zip(ops, cut.stages, strict=True):
        here = op.opcode == INPUT and op.data[0] < inputs
        needs.append(here or any(needs[source] for source in op.input_ids))
        for source in op.input_ids:
            last[source] = max(last[source], stage)
    ends = [index for index in cut.comb.out_idxs if index >= 0]
    for index in ends:
        last[index] = cut.latency_cycles - 1
    rest = [index for index, need in enumerate(needs) if not need]
    held = sum(
        sum(ops[index].qint.kif) * (last[index] - cut.stages[index]) for index in rest if ops[index].opcode != CONSTANT
    )
    given = sum(sum(qint.kif) for qint in cut.comb.inp_qint[inputs:])
    outputs = zip(cut.comb.out_idxs, cut.comb.out_qint, strict=True)
    taken = sum(sum(qint.kif) for index, qint in outputs if index < 0 or not needs[index])
    costs = op_costs(cut.comb, multipliers)
    cost = sum((costs[index] for index in rest), Cost())
    products = sum(ops[index].opcode == PRODUCT for index in rest)
    return Amount(cost.lut, cost.dsp, products, int(held + given + taken))
