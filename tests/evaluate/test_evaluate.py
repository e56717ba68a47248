"""`qformers evaluate`: any model on any events, two models on the same ones, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from hls import cli
from qformers.builds.build import load
from qformers.builds.models import build_model, load_model
from qformers.builds.saved import save_model
from qformers.data import open_split
from qformers.data.clouds import stack
from qformers.data.points.readers import TrackmlReader
from qformers.data.points.trackml import TrackmlOptions
from qformers.errors import ConfigError, DataError
from qformers.evaluate.events import Asked, Given
from qformers.evaluate.figures import Scored, differences, scored
from qformers.evaluate.stage import Evaluation, evaluate
from qformers.generate.tracks import run
from qformers.generate.tracks.candidates import write_candidates
from qformers.generate.tracks.settings import TrackSettings
from qformers.interop.importers import Sizes, import_weights
from qformers.models.hept import small
from qformers.models.hept.hept import hept
from qformers.models.inputs import host_inputs
from qformers.models.sizes import Points
from qformers.nn.float32 import Float32
from qformers.records import SEAL
from qformers.tasks import JetTagging
from qformers.tasks.metrics import jets as metrics
from qformers.tasks.metrics.points import tracking_report

ROOT = Path(__file__).resolve().parents[2]
JETS = sorted((ROOT / "tests/data/jets/test").glob("*.root"))
PUBLISHED = ROOT / "tests/data/hept/tracking-60k-model.npz"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ParT of the smallest build, as initialised, float and quantised, in the places of a run."""
    folder = tmp_path_factory.mktemp("run")
    build = load(ROOT / "firmware_configs/part_tiny.yaml", [f"data.test=['{ROOT}/tests/data/jets/test/*.root']"])
    (folder / "build.yaml").write_text(build.to_yaml())
    for phase, vocabulary, seed in (("float", "float32", 1), ("qat", "hgq", 2)):
        keras.utils.set_random_seed(seed)
        split = open_split(build.data, "test")
        (folder / phase).mkdir()
        save_model(build_model(build, split.feature_set, split.class_names, vocabulary), folder / phase / "model.keras")
    return folder


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small generated tracker events, one of them packed."""
    folder = tmp_path_factory.mktemp("tracks")
    for name, packed in (("plain", False), ("packed", True)):
        run.generate(TrackSettings(events=1, pileup=0, seed=4 + packed), folder / name, 1, "x", packed)
    return folder


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published tracking-60k model of HEPT."""
    target = tmp_path_factory.mktemp("published") / "hept.keras"
    import_weights("hept", PUBLISHED, target, Sizes(dtype="float64", task="tracking60k"))
    return target


def hits(folder: Path) -> list[Path]:
    return sorted(folder.rglob("event*-hits.csv*"))


def test_jets_are_tagged_as_a_training_reports_it(tagger: Path, tmp_path: Path) -> None:
    model = tagger / "qat" / "model.keras"
    found = evaluate([model], JETS, out=tmp_path / "out")
    split = open_split(load(tagger / "build.yaml").data, "test").load()
    outputs = np.asarray(load_model(model)(host_inputs(load_model(model), split), training=False))
    wanted = JetTagging(split.class_names).report(outputs, split.labels)
    assert found.models[0].scored.report == wanted
    assert found.models[0].numbers["accuracy"].as_json() == wanted["accuracy"]
    written = json.loads(found.save().read_text())
    assert written["models"]["qat"]["report"]["confusion"] == wanted["confusion"]
    assert written["data"]["events"] == len(split.labels)
    assert len(written["data"]["files"]) == len(JETS)
    assert SEAL in written
    assert {path.name for path in (tmp_path / "out" / "qat").iterdir()} == {"roc.png", "confusion.png"}


def test_two_models_are_set_against_each_other_on_the_same_jets(tagger: Path, tmp_path: Path) -> None:
    models = [tagger / phase / "model.keras" for phase in ("float", "qat")]
    found = evaluate(models, [], out=tmp_path / "out")  # the test split of the run
    first, second = (judged.scored for judged in found.models)
    labels = np.asarray(found.events.labels)
    right = [(judged.outputs.argmax(1) == labels).astype(float) for judged in (first, second)]
    paired = (right[1] - right[0]).std(ddof=1) / np.sqrt(len(labels))
    difference = found.differences["accuracy"]
    assert difference.value == pytest.approx((right[1] - right[0]).mean())
    assert difference.error == pytest.approx(paired, rel=0.3)
    assert {name: value.value for name, value in differences(first, first).items() if name in ("accuracy", "auc")} == {
        "accuracy": 0.0,
        "auc": 0.0,
    }
    assert differences(first, first)["accuracy"].error == 0.0
    found.save()
    text = (tmp_path / "out" / "evaluation.md").read_text()
    assert "| number | float | qat | difference, paired |" in text
    evaluate(models[1:], [], out=tmp_path / "out").save()
    assert not (tmp_path / "out" / "float").exists()  # nothing of the evaluation before


def test_the_published_hept_gives_what_it_gives_by_hand(tracker: Path, events: Path, tmp_path: Path) -> None:
    twice = [*hits(events), hits(events)[0].parent / ".." / hits(events)[0].parent.name / hits(events)[0].name]
    found = evaluate([tracker], twice, out=tmp_path / "out")  # the same file spelt in two ways is one
    assert found.config.features == "tracking"
    assert len(found.events) == 2
    model = load_model(tracker)
    reader = TrackmlReader(TrackmlOptions("tracking", "pixel", "tracking"))
    clouds = [reader.event(path) for path in hits(events)]
    outputs = [np.asarray(model(host_inputs(model, stack([cloud])), training=False))[0] for cloud in clouds]
    wanted = tracking_report(
        outputs, [c.particle_ids for c in clouds], [c.pt for c in clouds], [c.reconstructable for c in clouds]
    )
    for threshold, entry in wanted["ap"].items():
        assert found.models[0].numbers[f"ap_{threshold}"].value == pytest.approx(entry["value"], abs=1e-12)
        assert found.models[0].numbers[f"ap_{threshold}"].error == pytest.approx(entry["error"], abs=1e-12)
    assert wanted["ap"]["0.9"]["value"] > 0.9  # 0.976 on TrackML's own: frames and depths of the modules are theirs
    assert found.models[0].numbers["clusters efficiency"].value is not None
    found.save()
    names = {path.name for path in (tmp_path / "out").rglob("*.png")}
    assert {"event_0.png", "event_1.png", "efficiency_by_pt_gev.png", "efficiency_by_eta.png"} <= names


def test_candidates_are_kept_or_dropped(tmp_path: Path) -> None:
    write_candidates(TrackSettings(events=4, pileup=3, seed=4), tmp_path / "candidates")
    config = small(coords=4, order="onchip", hash="coords", norm="layer", head="logits", outputs=1)
    model = hept(config.model_copy(update={"attention": "kernel"}), Points(None, 7), Float32())
    save_model(model, tmp_path / "kept.keras")
    found = evaluate([tmp_path / "kept.keras"], [*(tmp_path / "candidates").rglob("*.npz")], out=tmp_path / "out")
    assert (found.config.dataset, found.config.features) == ("candidates", "compact")
    numbers = found.models[0].numbers
    assert set(numbers) == {"auprc", "roc_auc", "precision_at_recall 0.95", "precision_at_recall 0.99"}
    assert all(0 < (value.value or 0) < 1 and value.error is not None for value in numbers.values())
    found.save()
    assert {"precision_recall.png", "event_0.png"} <= {path.name for path in (tmp_path / "out").rglob("*.png")}


def test_a_model_of_another_making_reads_features_in_a_row(tmp_path: Path) -> None:
    x = keras.Input((4 * 7,), name="anything")
    keras.utils.set_random_seed(1)
    model = keras.Model(x, keras.layers.Dense(10)(x), name="own")
    model.save(tmp_path / "own.keras")
    found = evaluate([tmp_path / "own.keras"], JETS, Asked(features="kin", most=50), out=tmp_path / "out")
    assert found.config.num_particles == 4
    assert len(found.events) == 50


@pytest.mark.parametrize(
    ("data", "asked", "words"),
    [
        (["jets.txt"], Asked(), r"--data: no data set has files called so; say which it is with --dataset.*jets.txt"),
        (["a.root", "b.h5"], Asked(), "--data: files of one data set are evaluated at a time.*hls4ml_lhc, jetclass"),
        (["a.root"], Asked(layers="all"), "--layers: says nothing of jetclass; leave it out. Received: all"),
        (["event1-hits.csv"], Asked(task="tagging"), "--task: trackml has points, whose tasks are tracking and pileup"),
        (["event1-hits.csv"], Asked(classes=("a",)), "--classes: says nothing of trackml; leave it out"),
        (["empty"], Asked(), r"--data .*empty: holds no file of events; such are called \*\.root"),
        (["missing.root"], Asked(), r"--data .*missing.root: no such file or folder"),
        (["a.root"], Asked(features="kinn"), "--features: jetclass has no feature set 'kinn'.*kin"),
        (["a.root"], Asked(), "--features: no feature set of jetclass has 15 numbers per particle. Known: kin"),
        (["a.root"], Asked(dataset="jetclas"), "unknown data set 'jetclas'.*jetclass"),
        (["a.root"], Asked(features="kin", task="pileup"), "--task: jetclass has jets, whose task is tagging"),
    ],
)
def test_what_cannot_be_known_has_to_be_said(
    data: list[str], asked: Asked, words: str, tracker: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("jets.txt", "a.root", "b.h5", "event1-hits.csv"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises((ConfigError, DataError), match=words):
        evaluate([tracker], [tmp_path / name for name in data], asked, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_outputs_that_answer_another_question_are_refused(tagger: Path, tracker: Path, events: Path) -> None:
    model = tagger / "qat" / "model.keras"
    with pytest.raises(ConfigError, match=r"jets of 2 classes \(QCD, Hbb\) need one output per class.*--classes"):
        evaluate([model], JETS, Asked(classes=("QCD", "Hbb")))
    with pytest.raises(ConfigError, match=r"task pileup needs one number per point; say another --task"):
        evaluate([tracker], hits(events), Asked(task="pileup"))
    with pytest.raises(ConfigError, match=r"--task, --layers, --lda: the build 'part_tiny' is one of jets"):
        evaluate([model], JETS, Asked(task="tracking"))
    with pytest.raises(ConfigError, match=r"one model, or two to compare. Received: 3"):
        evaluate([model] * 3, JETS)
    with pytest.raises(ConfigError, match=r"--data names no file: name files of events, or a --build"):
        evaluate([tracker], [])


def test_a_folder_of_something_else_is_left_alone(tagger: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"holds other files, e.g. thesis.tex.*name another folder with --out"):
        evaluate([tagger / "qat" / "model.keras"], JETS, out=tmp_path)


def test_few_jets_have_no_errors_and_say_so() -> None:
    task = JetTagging(("near", "far"))
    outputs = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)

    class Two:
        labels = np.array([0, 1])

    found: Any = scored(task, outputs, Two(), None)  # type: ignore[arg-type]
    numbers = found.numbers()
    assert numbers["accuracy"].value == metrics.accuracy(outputs, Two.labels).value
    one: Any = Evaluation((), {}, Two(), None, task, Path())  # type: ignore[arg-type]
    assert one.differences == {}


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_number_that_no_draw_changes_has_the_error_of_few_events(value: float) -> None:
    found = Scored(np.zeros((20, 1)), {}, lambda rows: {"purity": value}).numbers()["purity"]
    assert (found.value, found.error) == (value, pytest.approx(0.5 / 21, rel=1e-12))


def test_the_command_prints_the_table(tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = str(tagger / "float" / "model.keras"), str(tmp_path / "out")
    assert cli.main(["evaluate", model, "--data", str(JETS[0].parent), "--events", "120", "--out", out]) == 0
    said = capsys.readouterr().out
    assert "120 jets of jetclass, features lnpt_eta_phi" in said
    assert "background rejection Hbb" in said
    assert f"wrote {out}/evaluation.json and pictures beside it" in said
    assert cli.main(["evaluate", str(tmp_path / "no.keras"), "--out", out]) == 2
    assert "MODEL" in capsys.readouterr().err


def test_a_model_of_any_number_of_particles_needs_a_build(tmp_path: Path) -> None:
    x = keras.Input((None, 7), name="features")
    keras.Model(x, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling1D()(x)), name="free").save(
        tmp_path / "free.keras"
    )
    with pytest.raises(ConfigError, match=r"takes any number of particles.*name the --build"):
        evaluate([tmp_path / "free.keras"], JETS, out=tmp_path / "out")


def test_an_evaluation_that_is_stopped_leaves_the_one_before(
    tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate([tagger / "qat" / "model.keras"], JETS, out=tmp_path / "out").save()
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    second = evaluate([tagger / "float" / "model.keras"], JETS, out=tmp_path / "out")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(JetTagging, "pictures", stop)
    with pytest.raises(KeyboardInterrupt):
        second.save()
    assert all(path.read_bytes() == content for path, content in before.items())
    monkeypatch.undo()
    second.save()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"evaluation.json", "evaluation.md", "float"}


def saved(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def test_what_is_not_of_the_evaluation_before_stays(tagger: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    evaluate([tagger / "qat" / "model.keras"], JETS, out=out).save()
    elsewhere.mkdir()
    mine = [elsewhere / "own.png", out / "poster.png", out / "mine" / "own.png", out / "qat" / "notes.txt"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (out / "linked").symlink_to(elsewhere)
    evaluate([tagger / "float" / "model.keras"], JETS, out=out).save()
    assert all(path.read_text() == "mine" for path in mine)
    assert not (out / "qat" / "roc.png").exists()
    assert (out / "float" / "roc.png").exists()
    assert not (out / ".partial").exists()
    (out / "qat").rename(tmp_path / "moved")
    (out / "qat").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match=r"out/qat: is a link, through which nothing is written; name another --out"):
        evaluate([tagger / "qat" / "model.keras"], JETS, out=out).save()
    assert [path.name for path in elsewhere.iterdir()] == ["own.png"]


@pytest.mark.parametrize(
    "name", [".partial.keras", "evaluation.json.keras", "roc.png.keras", "[bold]x.keras", "...keras"]
)
def test_any_name_of_a_model_is_a_folder(name: str, tagger: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes((tagger / "float" / "model.keras").read_bytes())
    asked = Asked(features="lnpt_eta_phi")
    found = evaluate([path, tagger / "qat" / "model.keras"], JETS, asked, out=tmp_path / "out")
    found.save()
    assert (tmp_path / "out" / found.models[0].label / "roc.png").is_file()
    assert (tmp_path / "out" / "roc.png").is_file()
    assert f"{found.models[0].label} " in str(found)


def odd_models(folder: Path) -> dict[str, tuple[Path, str]]:
    """Models that no events fit, and what is said of them."""
    layers, points = keras.layers, keras.Input((None, 15), name="features")
    jets = keras.Input((4, 3), name="features")
    scores = layers.Dense(10)(layers.Flatten()(jets))
    whole = keras.Input((4, 3), name="features", dtype="int32")
    wide, place = keras.Input((4, 3), name="mask"), keras.Input((4, 6), name="coords")
    models = {
        "whole": (
            keras.Model(whole, layers.Dense(10)(layers.Flatten()(layers.Identity(dtype="float32")(whole)))),
            r"input 'features' must hold floats.* Received: int32",
        ),
        "softmax": (keras.Model(jets, layers.Softmax()(scores)), "its outputs are probabilities, as of a softmax"),
        "mask": (keras.Model([jets, wide], layers.Add()([scores, layers.Dense(10)(layers.Flatten()(wide))])), "'mask'"),
        "coords": (
            keras.Model([jets, place], layers.Add()([scores, layers.Dense(10)(layers.Flatten()(place))])),
            "an input 'coords', which points have and jets do not",
        ),
        "fewer": (keras.Model(points, layers.MaxPooling1D(2)(layers.Dense(4)(points))), "gives no row per point"),
        "empty": (keras.Model(points, points[:, :, :0]), "needs an embedding of each point"),
    }
    return {name: (saved(model, folder / f"{name}.keras"), words) for name, (model, words) in models.items()}


@pytest.mark.parametrize("name", ["whole", "softmax", "mask", "coords", "fewer", "empty"])
def test_models_that_no_event_fits_are_refused(name: str, events: Path, tmp_path: Path) -> None:
    path, words = odd_models(tmp_path)[name]
    tracks = name in ("fewer", "empty")
    asked = Asked(task="tracking") if tracks else Asked(features="lnpt_eta_phi")
    with pytest.raises(ConfigError, match=words):
        evaluate([path], hits(events) if tracks else JETS, asked, out=tmp_path / "out")


def test_a_model_has_inputs_of_known_shapes(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    with pytest.raises(ConfigError, match=r"m.keras: has no inputs of known shapes; make it functional or sequential"):
        Given.of(Path("m.keras"), model)
    model(np.zeros((1, 4, 3), np.float32))
    found = evaluate([saved(model, tmp_path / "m.keras")], JETS, Asked(features="lnpt_eta_phi"), out=tmp_path / "out")
    assert found.models[0].scored.outputs.shape == (len(found.events), 10)


def test_large_logits_are_ranked_as_small_ones(tmp_path: Path) -> None:
    write_candidates(TrackSettings(events=4, pileup=3, seed=4), tmp_path / "candidates")
    x = keras.Input((None, 8), name="features")
    models = [
        saved(keras.Model(x, keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(size))(x)), path)
        for size, path in ((1.0, tmp_path / "small.keras"), (1000.0, tmp_path / "large.keras"))
    ]
    found = evaluate(models, [tmp_path / "candidates"], Asked(task="pileup"), out=tmp_path / "out")
    small, large = (judged.numbers for judged in found.models)
    assert {name: one.value for name, one in small.items()} == {name: one.value for name, one in large.items()}


def test_a_model_of_any_size_beside_one_of_a_size(events: Path, tmp_path: Path) -> None:
    models = []
    for name, slots in (("free", None), ("sized", 8000)):
        x = keras.Input((slots, 15), name="features")
        layer = keras.layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(seed=1))
        models.append(saved(keras.Model(x, layer(x)), tmp_path / f"{name}.keras"))
    found = evaluate(models, hits(events), Asked(task="tracking"), out=tmp_path / "out")
    assert found.differences["ap_0.9"].value == pytest.approx(0.0, abs=1e-6)
    path = odd_models(tmp_path)["softmax"][0]
    with pytest.raises(ConfigError, match=r"--distance: says nothing of jetclass, which has no tracks. Received: 0.5"):
        evaluate([path], JETS, Asked(features="lnpt_eta_phi"), out=tmp_path / "other", distance=0.5)
