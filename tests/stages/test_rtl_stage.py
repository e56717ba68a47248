"""The stage "rtl": what it writes, when it writes the project again, what it does without a simulator."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support import hls_models as h

from hls.backends.folded.project import FoldedProject
from hls.backends.protocol import Disturbed
from hls.backends.simulators.verilator import ToolMissing
from hls.errors import HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from hls.reports.report import load_reports
from hls.stages.export import load_quantised
from hls.stages.rtl import events_of, open_rtl, simulate_rtl
from hls.stages.summary import summary
from qformers.builds.build import Build
from qformers.config.sections import QuantConfig
from qformers.data.events import FeatureSet
from qformers.manifest import read_manifest
from qformers.models import MODELS
from qformers.models.sizes import Jet
from qformers.nn.hgq import Hgq

NEEDS_ICARUS = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="iverilog not found: apt-get install iverilog"
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a model of one layer that takes the jets of the repository."""
    x = keras.Input((4, 3), name="features")
    kernel = np.random.default_rng(0).integers(-8, 9, (4, 3, 10)) / 4
    equation = {"equation": "bnf,nfo->bo", "shape": (10,)}
    model = keras.Model(x, {"logits": h.dense(x, "layer", "fixed<8,5,RND,SAT>", kernel, **equation)})
    (tmp_path / "qat").mkdir()
    model.save(tmp_path / "qat" / "model.keras")
    return tmp_path


def build(**firmware: object) -> Build:
    made = h.run_build()
    return made.model_copy(update={"firmware": made.firmware.model_copy(update=firmware)})


@NEEDS_ICARUS
def test_three_simulators_agree_and_reports_say_what_was_measured(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(model: keras.Model, inputs: dict[str, Any], *more: Any) -> dict[str, Any]:
        asked.append(len(inputs["features"]))
        return keras_outputs(model, inputs, *more)

    monkeypatch.setattr("hls.stages.rtl.keras_outputs", counted)
    result = simulate_rtl(build(clock_ns=2.5), run, 300)
    assert result.equal
    assert not (run / "rtl.json").exists(), "it computes; to save is another step"
    assert result.save() == run / "rtl.json"
    assert asked == [300, len(adversarial(load_quantised(run / "qat/model.keras")))], "once for all levels"
    tree = json.loads((run / "rtl.json").read_text())
    assert list(tree["levels"]) == ["interpreter", "verilator", "icarus"]
    assert tree["levels"]["verilator"]["jets"]["events"] == 300
    assert tree["levels"]["icarus"]["jets"]["events"] == 100
    cycles = tree["latency_cycles_reported"]
    assert [tree["levels"][name]["latency_cycles"] for name in tree["levels"]] == [None, cycles, cycles]
    reports = load_reports(run)
    assert reports["alkaid"].stage == "estimate"
    assert reports["alkaid"].resources["lut"] > 100
    assert reports["verilator"].latency_ns == cycles * 2.5
    model = json.loads((run / "firmware/alkaid/manifest.json").read_text())["model_sha256"]
    assert {report.detail["model_sha256"] for report in reports.values()} == {model}


def test_the_project_is_written_again_only_when_model_or_settings_change(run: Path) -> None:
    first = open_rtl(build(), run).path / "manifest.json"
    before = first.stat().st_mtime_ns
    open_rtl(build(), run)
    assert first.stat().st_mtime_ns == before
    changed = open_rtl(build(stage_ns=1.0), run)
    assert first.stat().st_mtime_ns > before
    before, cycles = first.stat().st_mtime_ns, changed.reports()[0].latency_cycles
    model = keras.saving.load_model(run / "qat/model.keras", compile=False)
    model.get_layer("layer")._kernel.assign(np.zeros((4, 3, 10)) + 0.5)
    model.save(run / "qat/model.keras")
    assert open_rtl(build(stage_ns=1.0), run).reports()[0].latency_cycles < cycles
    assert first.stat().st_mtime_ns > before


def test_a_damaged_project_is_written_again(run: Path) -> None:
    project = open_rtl(build(), run).path
    good = {name: (project / name).read_bytes() for name in read_manifest(project, "")["written"]}
    assert {"layout.json", "ports.json", "model/comb.json.gz"} <= set(good)
    bench = [name for name in good if name.startswith("tb/")]
    sources = [name for name in good if name.startswith("src/") and name.endswith(".v")]
    assert bench
    assert sources
    for name in ("layout.json", "ports.json", "model/comb.json.gz", sources[0], "manifest.json"):
        (project / name).write_bytes(b"garbage")
        assert open_rtl(build(), run).path == project
        assert (project / name).read_bytes() != b"garbage", name
    shutil.rmtree(project / "tb")
    open_rtl(build(), run)
    assert {name: (project / name).read_bytes() for name in (*bench, *sources)} == {
        name: good[name] for name in (*bench, *sources)
    }
    assert not list(project.parent.glob(".alkaid.*holder*"))


@pytest.mark.slow
def test_without_icarus_the_rest_goes_on_and_without_verilator_it_does_not(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hls.backends.alkaid.project as project

    def missing(*_: object) -> None:
        raise ToolMissing("iverilog not found: apt-get install iverilog")

    monkeypatch.setattr(project.icarus, "run_icarus", missing)
    result = simulate_rtl(build(), run, 50)
    assert result.equal
    result.save()
    tree = json.loads((run / "rtl.json").read_text())
    assert tree["skipped"] == {"icarus": "iverilog not found: apt-get install iverilog"}
    assert list(tree["levels"]) == ["interpreter", "verilator"]
    monkeypatch.setattr(project, "find_verilator", missing)
    with pytest.raises(ToolMissing):
        simulate_rtl(build(), run, 50)


def test_levels_can_be_left_out(run: Path) -> None:
    result = simulate_rtl(build(), run, 50, ("interpreter",))
    assert result.equal
    result.save()
    tree = json.loads((run / "rtl.json").read_text())
    assert list(tree["levels"]) == ["interpreter"]
    assert tree["skipped"] == {"verilator": "left out by --levels", "icarus": "left out by --levels"}
    assert "verilator" not in load_reports(run), "nothing was measured"


def test_a_run_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        HlsError, match=r"model\.keras is missing; build .* trains in float alone, since train.qat is null"
    ):
        simulate_rtl(build(), tmp_path, 50)


@pytest.mark.parametrize("yosys", [True, False])
def test_the_summary_tells_an_estimate_from_a_synthesis(
    yosys: bool, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hls.compare.table.sources.shutil.which", lambda name: f"/usr/bin/{name}" if yosys else None)
    group = {"events": 5, "values": 50, "values_different": 0, "equal": True}
    accuracy = {"accuracy": {"value": 0.5, "error": 0.01}, "jets": 5}
    for name in ("float", "qat"):
        (run / name).mkdir(exist_ok=True)
        (run / name / "manifest.json").write_text(json.dumps({"test": accuracy, "ebops": 1234}))
    found = {"jets": group, "adversarial": {**group, "equal": False, "values_different": 2}}
    (run / "csim.json").write_text(json.dumps({**found, "splits": "test", "end": None, "project": "p"}))
    open_rtl(build(), run)
    assert "estimate" not in str(summary(run))
    project = open_rtl(build(), run)
    (estimate,) = project.reports()
    estimate.save(run)
    text = str(summary(run))
    assert "C simulation == quantised model on 5 jets: 0 of 50 outputs differ" in text
    assert "C simulation != quantised model on 5 adversarial events: 2 of 50 outputs differ" in text
    assert "EBOPs      1,234" in text
    lut = round(project.facts["lut_estimate"])
    assert f"estimate   {lut:,} LUT, {project.facts['register_bits']:,} FF, 0 DSP, 0 BRAM18 (alkaid 0.8.2;" in text
    (told,) = re.findall(r"^synthesis .*", text, re.M)
    if yosys:
        assert told == f"synthesis  not complete: qformers synth BUILD --run {run}"  # there is no build file
    else:
        assert "yosys" in told.lower()
        assert "install" in told


def folded_run(folder: Path) -> Build:
    """A run folder with DeepSets of four particles, to be folded."""
    cfg = MODELS["deepsets"].forms["mean"]
    made = build(backend="folded").model_copy(update={"model": cfg})
    features = FeatureSet(("part_pt_log", "part_deta", "part_dphi"), (0.0,) * 3, (1.0,) * 3, (-8.0,) * 3, (8.0,) * 3)
    keras.utils.set_random_seed(3)
    model = MODELS["deepsets"].build(cfg, Jet(4, 3, 10, features), Hgq(QuantConfig(granularity="channel")))
    (folder / "qat").mkdir()
    model.save(folder / "qat" / "model.keras")
    return made


@NEEDS_ICARUS
def test_folded_firmware_is_disturbed_at_every_level_with_a_clock(tmp_path: Path) -> None:
    result = simulate_rtl(folded_run(tmp_path), tmp_path, 300, ("interpreter", "emulator", "icarus"))
    assert result.equal
    result.save()
    tree = json.loads((tmp_path / "rtl.json").read_text())
    assert tree["skipped"] == {"verilator": "left out by --levels"}
    assert (tree["backend"], tree["compared"], tree["ii_cycles_reported"]) == ("folded", "RTL", 4)
    assert [level["ii_cycles"] for level in tree["levels"].values()] == [None, 4, 4]
    assert tree["levels"]["interpreter"]["disturbed"] is None
    for level, few in (("emulator", 300), ("icarus", 100)):
        found = tree["levels"][level]["disturbed"]
        every = few + tree["levels"][level]["adversarial"]["events"]
        assert found["equal"]
        assert found["events"] + found["events_lost"] == every
        assert 0 < found["events_lost"] < every / 2
        assert min(found["gaps"], found["stalls"], found["resets"]) > 0
    words = repr(result)
    assert "emulator, jets: emulated machine = quantised Keras: 0 of" in words
    assert "icarus, beats that pause (" in words
    cycles = tree["latency_cycles_reported"]
    assert f"emulator: latency {cycles} cycles measured, {cycles} reported; II = 4 measured, 4 reported" in words
    assert "RTL (verilator) was not run" not in words


@pytest.mark.slow
def test_all_levels_of_folded_firmware_are_run_unless_told_otherwise(tmp_path: Path) -> None:
    result = simulate_rtl(folded_run(tmp_path), tmp_path, 300)
    assert result.equal
    assert [*result.levels, *result.skipped] == ["interpreter", "emulator", "verilator", "icarus"]
    result.save()
    assert load_reports(tmp_path)["verilator"].ii_cycles == 4


def test_events_that_differ_under_disturbances_alone_are_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = FoldedProject.disturb

    def wrong(self: FoldedProject, *given: Any) -> Disturbed | None:
        found = right(self, *given)
        assert found is not None
        return replace(found, outputs={name: values + 1 for name, values in found.outputs.items()})

    monkeypatch.setattr(FoldedProject, "disturb", wrong)
    result = simulate_rtl(folded_run(tmp_path), tmp_path, 50, ("emulator",))
    assert not result.equal
    assert result.levels["emulator"].jets.equal
    assert "resets (which ended" in repr(result)
    assert "emulated machine is NOT equal to quantised Keras" in repr(result)


def test_fewer_events_are_simulated_of_many_points() -> None:
    made = build()
    many = made.model_copy(update={"data": made.data.model_copy(update={"num_particles": 33})})
    assert (events_of(made), events_of(many)) == (10_000, 2_000)
