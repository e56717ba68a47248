"""What stages return: every result shows itself in a terminal and in a notebook, and saves itself."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from hls.proof.agree import Agreement
from hls.proof.fidelity import Fidelity, Skipped
from hls.reports.report import Report
from hls.stages.block_engine import EngineCheck, EngineResult
from hls.stages.csim import BesideFloat, _pictures
from hls.stages.replay import Replayed
from hls.stages.rtl import LEFT_OUT, LevelCheck, RtlResult
from hls.stages.summary import Summary
from hls.stages.synth import Synthesised
from qformers.quant.audited import Audited
from qformers.quant.fidelity import LayerError
from qformers.quant.ptq import run_folder
from qformers.quant.ptq.stage import QuantiseResult
from qformers.results import Result
from qformers.tasks import JetTagging
from qformers.tasks.filtered import Filtered
from qformers.train.finish import Finished
from qformers.train.stage import Trained

EQUAL = Agreement(5, 50, 0, 0, 0.0, None, None)
WRONG = Agreement(5, 50, 3, 2, 0.25, 4, None)
REPORT = Report("yosys", "synthesis", "Yosys 1", "xcup", {"lut": 1200}, error_bar="a bar", detail={"notes": ["[note]"]})
COSTS = {"most_blocks": 4, "block_size": 16, "lut_estimate_parts": 7.0, "lut_estimate_permutations": 8} | {
    "register_bits_parts": 9, "memory_bits_total": 10, "bram36_estimate_total": 11
}  # fmt: skip


def trained(run: Path) -> Trained:
    return Trained(run, ("float", "qat"), (Finished(run / "float", {}, "accuracy", 0.7, 0.01, 0),))


def quantised(run: Path) -> QuantiseResult:
    (run / "qat").mkdir()
    error = LayerError("embed0", 0.1, 0.2, 0.03, 0.999)
    return QuantiseResult(run, run_folder.Quantised(run / "qat", 1234, "accuracy", 0.7, 0.01, (error,)))


def audited(run: Path) -> Audited:
    (run / "model.keras").write_bytes(b"a model")
    return Audited(run / "model.keras", "the test split", 9, (), (), np.zeros(0, np.int64), {"x": np.zeros((0, 2))})


def filtered(run: Path) -> Filtered:
    row = {"target": 0.9, "threshold": 0.5, "recall": 0.91, "precision": 0.8, "data_recall": None}
    (run / "thresholds.json").write_text("{}")
    return Filtered(run, 3, ({**row, "data_precision": None, "points": 10, "judged": 9, "points_kept": 8},))


def rtl(run: Path) -> RtlResult:
    levels = {"interpreter": LevelCheck(EQUAL, WRONG, None)}
    return RtlResult(run, "jets", levels, {"icarus": "iverilog not found", "verilator": LEFT_OUT}, (REPORT,), {"a": 1})


def synthesised(run: Path) -> Synthesised:
    REPORT.save(run)
    return Synthesised(run, (REPORT,))


def engine(run: Path) -> EngineResult:
    return EngineResult(run, (), (EngineCheck(14, 1, 2, 50, 0, 99, 99, 0.5, 1, 7, 8, 9),), {"equal": True})


def replayed(run: Path) -> Replayed:
    return Replayed(run / "audit_worst.npz", (3, 8, 9, 11, 20), WRONG)


def summed(run: Path) -> Summary:
    return Summary(run, ("part:", "C simulation == quantised model [all]"))


CASES: list[tuple[Callable[[Path], Result], str, str]] = [
    (trained, "0.7000 ± 0.0100", "train.json"),
    (quantised, "embed0", "qat/errors.json"),
    (audited, "0 of 0 formats of values overflow", "audit.json"),
    (filtered, "0.91", "thresholds.json"),
    (rtl, "interpreter, jets: arithmetic = quantised Keras: 0 of 50 values in 5 events differ", "rtl.json"),
    (synthesised, "  [note]", "reports/yosys.json"),
    (engine, "14 points, 1 blocks: 0 of 50 values in 2 events differ from quantised Keras; latency 99", "engine.json"),
    (replayed, "event 4 is number 20 of those audited", "audit_worst_replay.json"),
    (summed, "C simulation == quantised model [all]", "summary.txt"),
]


@pytest.mark.parametrize(("make", "words", "file"), CASES, ids=[case[0].__name__ for case in CASES])
def test_every_result_shows_and_saves_itself(
    make: Callable[[Path], Result], words: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make(tmp_path)
    assert capsys.readouterr() == ("", ""), "to compute prints nothing"
    text, by_rich = io.StringIO(), io.StringIO()
    result.show(Console(file=text, width=150, soft_wrap=True))
    Console(file=by_rich, width=150, soft_wrap=True).print(result)
    html = result._repr_html_()
    assert words in text.getvalue()
    assert words.strip() in by_rich.getvalue()
    assert html.startswith("<pre ")
    assert words.strip() in html.replace("&lt;", "<")
    assert words.strip() in repr(result)
    result.save()
    written = tmp_path / file
    assert written.exists()
    if file.endswith(".json"):
        json.loads(written.read_text())


def test_a_level_that_was_left_out_on_purpose_is_no_news(tmp_path: Path) -> None:
    text = io.StringIO()
    result = rtl(tmp_path)
    result.show(Console(file=text, width=150))
    assert "icarus: iverilog not found" in text.getvalue()
    assert LEFT_OUT not in text.getvalue()
    assert not result.equal


def test_a_training_that_was_stopped_says_so(tmp_path: Path) -> None:
    assert not trained(tmp_path).complete
    assert "stopped before the end" in trained(tmp_path)._repr_html_()
    assert json.loads(trained(tmp_path).save().read_text())["complete"] is False


def two_classes(limit: bool = False) -> dict[str, Any]:
    """The headline of a report on two classes; with `limit` no background jet passes at 30 %."""
    labels = np.repeat([0, 1], 300)
    logits = np.random.default_rng(1).normal(size=(600, 2)) + (9.0 if limit else 1.5) * np.eye(2)[labels]
    task = JetTagging(("top", "qcd"))
    report = task.report(logits.astype(np.float32), labels)
    return {name: report[name] for name in task.headline}


def test_the_end_of_a_training_of_two_classes_has_what_is_asked_of_them(tmp_path: Path) -> None:
    number = two_classes()
    done = Finished(tmp_path / "float", {}, "accuracy", 0.7, 0.01, 0, number)
    first, second = str(Trained(tmp_path, ("float",), (done,))).splitlines()
    assert first == f"{tmp_path / 'float' / 'model.keras'}  test accuracy 0.7000 +- 0.0100"
    said = [f"AUC {number['auc']['value']:.4f} +- {number['auc']['error']:.4f}"]
    for signal in ("top", "qcd"):
        for key, percent in (("rejection", 50), ("rejection_30", 30)):
            value, error = number[key][signal]["value"], number[key][signal]["error"]
            digits = 1 if value >= 10 else 2
            said.append(f"rejection {signal} @ {percent}% {value:.{digits}f} +- {error:.{digits}f}")
    assert second == "  " + "  ".join(said)
    assert "rejection top @ 30%" in Trained(tmp_path, ("float",), (done,))._repr_html_()
    quantised = QuantiseResult(tmp_path, run_folder.Quantised(tmp_path / "qat", 9, "accuracy", 0.7, 0.01, (), number))
    assert str(quantised).splitlines()[1] == second


def test_a_rejection_that_is_a_limit_is_printed_as_one(tmp_path: Path) -> None:
    done = Finished(tmp_path / "float", {}, "accuracy", 0.7, 0.01, 0, two_classes(limit=True))
    assert "  rejection top @ 30% > 100.6" in str(Trained(tmp_path, ("float",), (done,)))


def test_other_trainings_end_with_a_line_as_before(tmp_path: Path) -> None:
    task = JetTagging(("g", "q", "w"))
    assert task.headline == ("jets", "accuracy", "auc")
    assert len(str(trained(tmp_path)).splitlines()) == 1


def test_firmware_that_shows_no_layers_has_neither_table_nor_picture_of_them(tmp_path: Path) -> None:
    values = {form: np.arange(6.0).reshape(3, 2) for form in ("float", "csim")}
    older = tmp_path / "csim_layers.png"
    older.write_bytes(b"of firmware that showed its layers")
    shown = {}
    for reason in ("the float model has no layer of this name", ""):
        skipped = (Skipped("embed0", reason),) if reason else ()
        beside = BesideFloat(Fidelity((), skipped), None, (), values, ("a", "b"))
        (shown[reason],) = beside.pieces()
        _pictures(beside, tmp_path, "csim", {"build": "a", "backend": "vitis", "what": "jets", "jets": {"events": 3}})
    assert {reason: str(said).removeprefix("no layer is compared with the float model: ")
            for reason, said in shown.items()} == {
        "the float model has no layer of this name": "the float model has no layer of this name",
        "": "this firmware shows its outputs alone; layers are seen in that of vitis, vivado and alkaid (--backend)",
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["csim_differences.png", "csim_scatter.png"]
