"""Arithmetic compiled for many events at once: every operation of alkaid's, in the bits that its interpreter gives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alkaid.trace import FVArray, HWConfig, trace
from alkaid.trace.passes import fuse_ternary_adders, optimize
from numpy.typing import NDArray
from support import hls_models as h

from hls.backends import open_backend
from hls.backends.alkaid import compiled
from hls.backends.alkaid.compiled import Forms, Program, compile_program, run_program
from hls.backends.alkaid.fixes import mended
from hls.backends.alkaid.project import AlkaidProject
from hls.backends.alkaid.trace import HARDWARE, SOLVER, predict
from hls.backends.simulators import cxx
from hls.errors import HlsError
from hls.proof.agree import keras_outputs

KIFS = ((1, 3, 2), (1, 2, 4), (0, 3, 3), (1, 5, 0), (0, 1, 2), (1, 1, 1))  # of six inputs
CODES = {-2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}  # of alkaid's operations


def expressions(x: Any) -> list[Any]:
    """Values in which all operations occur, of six inputs."""
    wide = x[0] * 4.0 + x[1] - x[3] * 0.125
    return [
        wide,
        -x[0],
        x[0] + x[2] + x[3] * 2.0,
        x[1] * x[3] + 0.375,
        x[0] * x[0] - 3.25,
        np.maximum(x[0], x[1]),
        x[2].max_of(x[4]),
        wide.relu(),
        wide.relu(2, 1),
        wide.quantize(1, 3, 1, "SAT", "RND"),
        wide.quantize(0, 2, 2, "SAT", "TRN"),
        wide.quantize(1, 2, 1, "WRAP", "RND"),
        (x[1] * 8.0).quantize(1, 4, -1, "WRAP", "TRN"),
        ~x[2],
        ~x[0],
        x[0] & x[3],
        x[2] | x[4],
        x[0] ^ x[5] * 2.0,
        x[0].unary_bit_op("any"),
        x[2].unary_bit_op("all"),
        x[3].unary_bit_op("all"),
        x[0].is_negative().msb_mux(x[1], x[2] * 0.5),
        x[2].msb_mux(x[0], x[3]),
        x[3] - x[3] + 1.5,
    ]


def traced(values: Callable[[Any], list[Any]], table: bool = True) -> Any:
    """alkaid's operations of some values of `KIFS`."""
    with mended(), redirect_stdout(StringIO()):
        x = FVArray.from_kif(*np.array(KIFS).T, hwconf=HWConfig(*HARDWARE), solver_options=SOLVER)
        made = list(values(list(x)))
        if table:
            made += list(x[:2].apply(np.sin).quantize(1, 0, 3, "SAT", "RND"))
            made += list(x[1:3].apply(np.exp).quantize(0, 3, 2, "SAT", "TRN"))
        return fuse_ternary_adders(optimize(trace(x, FVArray(np.array(made)), optimize=False)))


def rows(count: int = 3000) -> NDArray[np.float64]:
    """Events in the formats `KIFS`, their ends among them."""
    random = np.random.default_rng(1)
    columns = []
    for signed, integer, fraction in KIFS:
        low, high = -signed * 2 ** (integer + fraction), 2 ** (integer + fraction)
        numbers = random.integers(low, high, count)
        numbers[:4] = low, high - 1, 0, high // 2
        columns.append(random.permutation(numbers) * 2.0**-fraction)
    return np.stack(columns, axis=1)


def compile_to(folder: Path, comb: Any, kifs: Any = KIFS) -> tuple[Program, Path]:
    program = Program.of(comb, Forms.of(np.array(kifs).T))
    comb.save(folder / "comb.json.gz")
    return program, compile_program(program, [folder / "comb.json.gz"], folder / "made")


@pytest.mark.parametrize("functions", [False, True])
def test_every_operation_gives_the_bits_of_the_interpreter(
    functions: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if functions:
        monkeypatch.setattr(compiled, "STATEMENTS", 5)
        monkeypatch.setattr(compiled, "FUNCTIONS", 2)
    comb = traced(expressions)
    assert {op.opcode for op in comb.ops} == CODES
    program, library = compile_to(tmp_path, comb)
    events = rows()
    np.testing.assert_array_equal(run_program(program, library, events), predict(comb, events))
    if functions:
        parts = sorted((tmp_path / "made").glob("step0_*.cc"))
        assert len(parts) > 3
        assert "s.kept[" in parts[-1].read_text(), "values cross from function to function"
    for count in (1, 15, 17):
        found = run_program(program, library, events[:count])
        np.testing.assert_array_equal(found, predict(comb, events)[:count])


def test_values_of_many_bits_get_vectors_of_wider_numbers(tmp_path: Path) -> None:
    def products(x: Any) -> list[Any]:
        square = x[0] * x[1] * x[3] * x[0] * x[1]
        return [square, square * 0.5 + x[2], (square * x[3]).quantize(1, 20, 5, "SAT", "RND")]

    comb = traced(products, table=False)
    widths = [sum(map(int, op.qint.kif)) for op in comb.ops]
    assert 32 < max(widths) < 50
    program, library = compile_to(tmp_path, comb)
    assert "typedef int64_t number" in (tmp_path / "made/parts.hh").read_text()
    np.testing.assert_array_equal(run_program(program, library, rows()), predict(comb, rows()))

    def more(x: Any) -> list[Any]:
        square = x[0] * x[1] * x[3] * x[0] * x[1]
        return [square * square * square]

    with pytest.raises(HlsError, match=r"a value of this firmware needs \d+ bits on its way, 64 can be held here"):
        compile_to(tmp_path, traced(more, table=False))


def test_inputs_of_other_formats_are_taken_in_as_the_interpreter_does(tmp_path: Path) -> None:
    comb, wider = traced(expressions), tuple((1, integer + 2, fraction + 3) for _, integer, fraction in KIFS)
    program, library = compile_to(tmp_path, comb, wider)
    events = np.random.default_rng(2).integers(-500, 500, (2000, 6)) / 2.0 ** np.array([f for *_, f in wider])
    np.testing.assert_array_equal(run_program(program, library, events), predict(comb, events))


def test_a_value_that_no_table_has_is_refused(tmp_path: Path) -> None:
    comb = traced(lambda x: [x[0]])
    short = comb._replace(lookup_tables=tuple(table[:3] for table in comb.lookup_tables))
    program, library = compile_to(tmp_path, short)
    with pytest.raises(HlsError, match="a value is outside of the table that looks it up"):
        run_program(program, library, rows())


def test_an_operation_that_is_not_known_is_refused(tmp_path: Path) -> None:
    comb = traced(lambda x: [x[0] + x[1]])
    odd = comb._replace(ops=[op._replace(opcode=77) if op.opcode == 0 else op for op in comb.ops])
    with pytest.raises(HlsError, match="alkaid's operation 77 is not known here"):
        compile_program(Program.of(odd, Forms.of(np.array(KIFS).T)), [], tmp_path)


def test_a_library_is_taken_again_until_the_model_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[int] = []
    real = cxx.compile_all

    def counted(some: Any, *more: Any) -> None:
        jobs.append(len(some))
        real(some, *more)

    monkeypatch.setattr(cxx, "compile_all", counted)
    x = h.keras.Input((3,), name="x")
    inputs = {"x": h.numbers(3, 500)}
    for scale in (1.0, 0.5):
        hidden = h.dense(x, f"hidden{scale:g}".replace(".", "_"), h.SOURCE, h.MIX * scale, activation="relu")
        model = h.keras.Model(x, {"y": h.table(hidden, f"bent{scale:g}".replace(".", "_"), "fixed<6,4,RND,SAT>")})
        project = open_backend("alkaid").write(model, h.build_of("tiny"), tmp_path / "project")
        assert isinstance(project, AlkaidProject)
        for _ in range(2):
            project.compile("compiled")
            np.testing.assert_array_equal(project.predict(inputs, "compiled"), keras_outputs(model, inputs)["y"])
    assert jobs == [2, 2], "the main file and one part, once for each model"
