"""Pipelining: where the registers stand, so that the longest path between two of them fits the clock.

alkaid 0.8.2 cuts by the time at which a value is ready, counted from the inputs of the whole model. A stage then holds
the whole of each operation that a cut falls into, so that its path is longer than the cut-off (6 ns for a cut-off of
4.5), and the figure that alkaid reports (``max_comb_delay``) is the time from the inputs, not that of a stage. Here
each operation goes into the first stage in which its path still fits; alkaid writes the registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hls.backends.alkaid.multipliers import PRODUCT, op_costs

INPUT, CONSTANT = -1, 5  # opcodes of ALIR


@dataclass(frozen=True)
class Pipeline:
    """A pipelined model.

    Attributes:
        comb: the CombLogic that was cut (adders of three terms fused, unused operations gone).
        machine: alkaid's FSM with a register in front of each stage and one behind the last.
        delays_ns: longest path of each stage in alkaid's delay model.
        stages: of each operation of `comb`.
    """

    comb: Any
    machine: Any
    delays_ns: tuple[float, ...]
    stages: tuple[int, ...]

    @property
    def latency_cycles(self) -> int:
        """Clock edges from the one that takes an event in to the one that brings its output out."""
        return len(self.delays_ns)

    @property
    def register_bits(self) -> int:
        """Bits of all registers."""
        return int(sum(signal.width for signal in self.machine.signals.values() if signal.reg))


def pipeline(comb: Any, limit_ns: float) -> Pipeline:
    """Cut a traced model into stages.

    Args:
        comb: alkaid's CombLogic.
        limit_ns: longest path between two registers in alkaid's delay model; only an operation that is longer by itself
            has a stage that is.
    """
    from alkaid.trace.passes import add_surrogate, canonical_sort, dead_code_elimin, fuse_ternary_adders
    from alkaid.trace.pipeline import to_pipeline

    comb = canonical_sort(add_surrogate(dead_code_elimin(fuse_ternary_adders(comb)), _skip_op8_cost=True))
    stages, arrivals = _assign(comb.ops, limit_ns)
    count = max(stages, default=0) + 1
    delays = [max(a for a, s in zip(arrivals, stages, strict=True) if s == stage) for stage in range(count)]
    marked = comb._replace(ops=_marked(comb.ops, stages, arrivals, delays))
    return Pipeline(comb, to_pipeline(marked, n_stages=count, verbose=False), tuple(delays), tuple(stages))


@dataclass(frozen=True)
class Amount:
    """Of some operations of a pipeline.

    Attributes:
        lut: alkaid's estimate.
        products: of two variables, in LUTs or in DSP blocks.
        register_bits: of the registers that hold what they give.
        dsp: DSP48E2 of the products that are in some.
    """

    lut: float
    products: int
    register_bits: int
    dsp: int


def amount(cut: Pipeline, inputs: int = 0, multipliers: str = "auto") -> Amount:
    """What a pipeline takes.

    Args:
        cut: the pipeline.
        inputs: only operations count that need none of the first `inputs` inputs.
        multipliers: `firmware.multipliers`.
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
    costs, products = op_costs(cut.comb, multipliers), sum(ops[index].opcode == PRODUCT for index in rest)
    lut, dsp = sum(costs[index].lut for index in rest), sum(costs[index].dsp for index in rest)
    return Amount(float(lut), products, int(held + given + taken), dsp)


def _assign(ops: list[Any], limit_ns: float) -> tuple[list[int], list[float]]:
    """Stage of each operation, and when its value is ready after the register in front of the stage (ns)."""
    stages, arrivals = [0] * len(ops), [0.0] * len(ops)
    for index, op in enumerate(ops):
        sources = list(op.input_ids)
        if op.opcode == INPUT or not sources:
            continue
        own = max(op.latency - max(ops[source].latency for source in sources), 0.0)
        stage = max(stages[source] for source in sources)
        ready = own + max((arrivals[source] for source in sources if stages[source] == stage), default=0.0)
        if ready > limit_ns and ready > own:
            stage, ready = stage + 1, own
        stages[index], arrivals[index] = stage, ready
    return stages, arrivals


def _marked(ops: list[Any], stages: list[int], arrivals: list[float], delays: list[float]) -> list[Any]:
    """The operations with a time from which alkaid, which cuts time evenly, reads our stages: stage 2 is (2, 3]."""
    count, marked = len(delays), []
    for op, stage, arrival in zip(ops, stages, arrivals, strict=True):
        share = arrival / delays[stage] if delays[stage] else 0.0
        last = stage == count - 1 and share == 1.0
        time = float(count) if last else stage + 0.25 + 0.5 * share
        early = op.opcode in (INPUT, CONSTANT)
        marked.append(op._replace(latency=0.0 if early else time))
    return marked
