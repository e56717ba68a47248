"""The stage "prove": events that are drawn, a journal that goes on, differences that are found and can be run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from support import hls_models as h
from support.battery import build_of, models_of
from support.toy_backend import ToyBackend, ToyProject

from hls import cli
from hls.backends import BACKENDS
from hls.backends.alkaid.project import AlkaidProject
from hls.backends.protocol import read_layout
from hls.errors import HlsError
from hls.proof.adversarial import MASK
from hls.proof.agree import CompiledKeras, keras_outputs
from hls.proof.draws import Draws
from hls.proof.samples import Sample, load_jets
from hls.stages import prove as stage
from hls.stages.export import export, load_quantised
from hls.stages.prove import Proof, prove
from hls.stages.replay import replay
from qformers.builds.build import Build
from qformers.cli import status
from qformers.errors import DamagedError
from qformers.files import STOP
from qformers.precision.fixed import Fixed
from qformers.progress import Silent, Ticker
from qformers.records import read_record

SIZE = 100  # events of a chunk in these tests


def build() -> Build:
    made = h.run_build()
    return made.model_copy(update={"firmware": made.firmware.model_copy(update={"backend": "alkaid"})})


@pytest.fixture(scope="module")
def real() -> Sample:
    """Some jets of the repository, as the model of `run` takes them."""
    jets, splits = load_jets(build(), 200)
    return Sample({"features": np.ascontiguousarray(jets.features, np.float32)}, jets, splits)


@pytest.fixture(autouse=True)
def small(real: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks; jets that are read once."""
    monkeypatch.setattr(stage, "CHUNK", SIZE)
    monkeypatch.setattr(stage, "EAGER", 10)
    monkeypatch.setattr(stage, "sample", lambda *_: real)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA takes two seconds for each model; Keras itself gives the same."""
    monkeypatch.setattr(CompiledKeras, "outputs", lambda self, inputs: keras_outputs(self._model, inputs))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a model of one layer that takes the jets of the repository, and its alkaid project."""
    x = keras.Input((4, 3), name="features")
    kernel = np.random.default_rng(0).integers(-8, 9, (4, 3, 10)) / 4
    equation = {"equation": "bnf,nfo->bo", "shape": (10,)}
    model = keras.Model(x, {"logits": h.dense(x, "layer", "fixed<8,5,RND,SAT>", kernel, **equation)})
    (tmp_path / "qat").mkdir()
    model.save(tmp_path / "qat" / "model.keras")
    written(tmp_path)
    return tmp_path


def written(run: Path, backend: str = "alkaid") -> Path:
    path = run / "firmware" / backend
    export(build(), run / "qat" / "model.keras", path, backend)
    return path


class Stopping(Silent):
    """Asks to stop by a file after so many events, as a user would."""

    def __init__(self, run: Path, after: int) -> None:
        self.run, self.after, self.began = run, after, list[tuple[int | None, int]]()

    def task(self, text: str, total: int | None, done: int = 0) -> Ticker:
        if "Keras" not in text:
            return super().task(text, total)
        self.began.append((total, done))
        count = done

        def tick(steps: int = 1, note: str = "") -> None:
            nonlocal count
            count += steps
            if count >= self.after:
                (self.run / STOP).touch()

        return tick


def counted(proof: Proof) -> list[dict[str, Any]]:
    """What does not depend on time."""
    return [{**vars(chunk), "firmware_s": 0, "keras_s": 0} for chunk in proof.chunks]


def test_firmware_is_the_model_on_all_drawn_events(run: Path) -> None:
    proof = prove(build(), run, 950)
    assert proof.equal
    assert proof.complete
    assert not proof.path.exists(), "it computes; to save is another step"
    tree = read_record(proof.save(), "")
    assert {key: tree[key] for key in ("events", "values", "values_different", "bits_different", "seed", "level")} == {
        "events": 950, "values": 9500, "values_different": 0, "bits_different": 0, "seed": 1, "level": "compiled",
    }  # fmt: skip
    assert tree["eager"] == 10 * 10
    assert sum(tree["kinds"].values()) == 950
    assert min(tree["kinds"].values()) > 100
    assert min(tree["events_per_second"].values()) > 0
    assert "compiled = quantised Keras: 0 of" in repr(proof)
    assert len((run / "prove.jsonl").read_text().splitlines()) == 10


@pytest.mark.usefixtures("uncompiled")
def test_a_stopped_proof_goes_on_and_ends_as_if_it_had_not_been_stopped(run: Path) -> None:
    whole = prove(build(), run, 950)
    (run / "prove.jsonl").unlink()
    told = Stopping(run, after=300)
    first = prove(build(), run, 950, reporter=told)
    assert not first.complete
    assert first.total("events") == 300
    assert not (run / STOP).exists(), "it was obeyed"
    with pytest.raises(HlsError, match="300 of 950 events are compared; run it again to go on"):
        first.save()
    with (run / "prove.jsonl").open("a") as journal:
        journal.write('{"number": 3, "events": 1')  # a process was killed while it wrote
    told.after = 10_000
    last = prove(build(), run, 950, reporter=told)
    assert told.began == [(950, 0), (950, 300)]
    assert last.complete
    assert counted(last) == counted(whole)
    more = prove(build(), run, 1200, reporter=told)
    assert told.began[-1] == (1200, 900), "the last chunk was not a whole one"
    assert counted(more)[:9] == counted(whole)[:9]


@pytest.mark.usefixtures("uncompiled")
def test_a_journal_of_something_else_is_not_believed(run: Path) -> None:
    told = Stopping(run, after=10_000)
    prove(build(), run, 200, reporter=told)
    prove(build(), run, 200, seed=5, reporter=told)
    prove(build(), run, 200, level="interpreter", reporter=told)
    prove(build(), run, 200, reporter=told)
    model = keras.saving.load_model(run / "qat/model.keras", compile=False)
    model.get_layer("layer")._kernel.assign(np.zeros((4, 3, 10)) + 0.5)
    model.save(run / "qat/model.keras")
    with pytest.raises(HlsError, match="was written from another model"):
        prove(build(), run, 200)
    written(run)
    prove(build(), run, 200, reporter=told)
    prove(build(), run, 200, fresh=True, reporter=told)
    assert told.began == [(200, 0), (200, 0), (200, 0), (200, 200), (200, 0), (200, 0)]
    lines = (run / "prove.jsonl").read_text().splitlines()
    assert len(lines) == 2
    (run / "prove.jsonl").write_text(lines[0].replace('"values_different": 0', '"values_different": 1') + "\n")
    with pytest.raises(DamagedError, match=r"prove.jsonl, line 1: was changed after it was written.*--fresh"):
        prove(build(), run, 200)
    (run / "prove.jsonl").write_text("[]\n")
    with pytest.raises(DamagedError, match=r"prove.jsonl, line 1: is damaged"):
        prove(build(), run, 200)


@pytest.mark.usefixtures("uncompiled")
def test_a_difference_is_counted_followed_and_saved(run: Path, real: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right, form = AlkaidProject.outputs, Fixed.parse(read_layout(run / "firmware/alkaid").outputs[0].format)

    def hit(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        return np.asarray(np.abs(inputs["features"]).sum(axis=(1, 2)) > 20)

    def broken(self: AlkaidProject, inputs: Mapping[str, NDArray[Any]], *more: Any) -> dict[str, NDArray[np.float64]]:
        found = right(self, inputs, *more)["logits"]
        found[hit(inputs), 3] += form.step
        return {"logits": found}

    model = load_quantised(run / "qat" / "model.keras")
    draws = Draws(model, real.inputs, 1)
    wrong = sum(int(hit(draws.chunk(number, SIZE)[0]).sum()) for number in range(3))
    assert 20 < wrong < 280
    monkeypatch.setattr(AlkaidProject, "outputs", broken)
    proof = prove(build(), run, 300)
    assert (proof.total("events_different"), proof.total("values_different")) == (wrong, wrong)
    assert wrong <= proof.total("bits_different") < 8 * wrong
    assert not proof.equal
    tree = json.loads(proof.save().read_text())
    assert tree["first"].startswith("event ")
    assert sum(bool(chunk.first) for chunk in proof.chunks) == 1, "one is followed"
    again = replay(run / "qat/model.keras", run / "firmware/alkaid", run / "prove_events.npz")
    assert not again.equal
    assert len(again.numbers) == 16
    monkeypatch.undo()
    assert replay(run / "qat/model.keras", run / "firmware/alkaid", run / "prove_events.npz").equal


def test_compiled_keras_is_held_against_keras_itself(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = CompiledKeras.outputs

    def rounding(self: CompiledKeras, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
        answer = real(self, inputs)
        return {name: values + (np.abs(values) > 8) / 2**7 for name, values in answer.items()}

    monkeypatch.setattr(CompiledKeras, "outputs", rounding)
    proof = prove(build(), run, 200)
    assert proof.equal, "what Keras says layer by layer is what counts"
    assert proof.total("eager") == 200


@pytest.mark.usefixtures("uncompiled")
def test_the_command_ends_with_the_status_of_what_came_out(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "build.yaml").write_text(build().to_yaml())
    words = ["prove", str(run / "build.yaml"), "--run", str(run), "--events", "300"]
    assert cli.main(words) == status.DONE
    assert f"written: {run / 'prove.json'}" in capsys.readouterr().out
    monkeypatch.setattr("qformers.cli.options.reporting", lambda *_: _Given(Stopping(run, 100)))
    assert cli.main([*words, "--fresh"]) == status.STOPPED
    assert "stopped after 100 of 300 events; the same command goes on" in capsys.readouterr().out
    real = AlkaidProject.outputs
    monkeypatch.setattr(AlkaidProject, "outputs", lambda *given: {"logits": real(*given)["logits"] + 1})
    monkeypatch.setattr("qformers.cli.options.reporting", lambda *_: _Given(Silent()))
    assert cli.main(words) == status.FAILED
    assert "compiled is NOT equal to quantised Keras" in capsys.readouterr().out


class _Given:
    """A reporter as `reporting` gives it."""

    def __init__(self, reporter: Silent) -> None:
        self.reporter = reporter

    def __enter__(self) -> Silent:
        return self.reporter

    def __exit__(self, *_: object) -> None:
        return None


@pytest.mark.usefixtures("uncompiled")
def test_slow_levels_stop_and_tell_sooner(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "SLOW", ("interpreter",))
    monkeypatch.setattr(stage, "SLOW_CHUNK", 20)
    proof = prove(build(), run, 50, level="interpreter")
    assert [chunk.events for chunk in proof.chunks] == [20, 20, 10]
    assert proof.equal


@pytest.mark.usefixtures("uncompiled")
def test_another_backend_stands_beside_with_its_own_level(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "toy", ToyBackend())
    written(run, "toy")
    proof = prove(build(), run, 150, "toy")
    assert (proof.name, proof.level, proof.equal) == ("prove_toy", "keras", True)
    assert proof.save().name == "prove_toy.json"
    monkeypatch.setattr(
        ToyProject, "outputs", lambda self, inputs, level=None, reporter=None: {"other": inputs["features"]}
    )
    with pytest.raises(HlsError, match="firmware and model have different outputs"):
        prove(build(), run, 150, "toy", fresh=True)


@pytest.mark.parametrize(
    ("name", "form"),
    [("deepsets", "mean"), ("mixer", "flat"), pytest.param("hept", "two_orders", marks=pytest.mark.slow)],
)
def test_drawn_events_are_the_same_again_and_of_all_kinds(name: str, form: str) -> None:
    *_, model = models_of(name, form)
    names = [tensor.name for tensor in model.inputs]
    pool = Draws(model, None, 0).chunk(0, 500)[0]
    draws = Draws(model, pool, 3)
    first, kinds = draws.chunk(4, 400)
    again, _ = Draws(model, pool, 3).chunk(4, 400)
    assert set(first) == set(names)
    for key, values in first.items():
        np.testing.assert_array_equal(values, again[key])
        assert values.shape == (400, *model.get_layer(key).output.shape[1:])
        assert values.dtype == np.float32
    assert kinds == {"real": 70, "real, changed": 210, "adversarial": 60, "even over the ranges": 60}
    assert any((draws.chunk(5, 400)[0][key] != first[key]).any() for key in names)
    assert any((replace(draws, seed=4).chunk(4, 400)[0][key] != first[key]).any() for key in names)
    same = (first["features"][:, None] == pool["features"][None]).all(axis=(2, 3)).any(axis=1)
    assert 70 <= same.sum() <= 70 + 120, "those that are, and those of which only the multiplicity changed"
    if MASK in names:
        assert len(np.unique(first[MASK].sum(axis=1))) > 4
    if "order" in names:
        np.testing.assert_array_equal(np.sort(first["order"], -1), np.broadcast_to(np.arange(8), first["order"].shape))
    answers = CompiledKeras(model, 400).outputs(first)
    wanted = keras_outputs(model, first)
    for key, values in wanted.items():
        np.testing.assert_array_equal(answers[key], values)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["vitis", "alkaid", "folded"])
def test_every_backend_is_proved(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, quant, _, model = models_of("deepsets", "mean")
    made = build_of("deepsets", cfg, quant, backend)
    (tmp_path / "qat").mkdir()
    model.save(tmp_path / "qat" / "model.keras")
    export(made, tmp_path / "qat" / "model.keras", tmp_path / "firmware" / backend, backend)
    drawn = Sample(Draws(model, None, 0).chunk(0, 200)[0], None, "drawn")
    monkeypatch.setattr(stage, "sample", lambda *_: drawn)
    proof = prove(made, tmp_path, 250, reporter=Silent())
    assert proof.equal, repr(proof)
    assert proof.total("values") > 250
