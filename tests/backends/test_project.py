"""A written project: names, precision file, manifest, moving, compiling, compile errors."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from hgq.layers import QGRU
from support import hls_models as h
from support.hls_models import Compared

from hls.backends import open_backend, open_project
from hls.backends.hls4ml import csim
from hls.backends.hls4ml.writer import known_settings
from hls.backends.protocol import Layout, Project
from hls.backends.simulators import cxx
from hls.backends.writing import new_project, weights_hash
from hls.errors import CompileError, HlsError
from qformers.precision.fixed import Fixed
from qformers.progress import Silent

SPELLING = re.compile(r"^typedef ap_(u?)fixed<(\d+),(-?\d+)(?:,AP_(\w+),AP_(\w+),0)?> (\w+);$", re.MULTILINE)


def defined(project: Project) -> dict[str, str]:
    """Types of the generated ``defines.h``, in the spelling of `Fixed`."""
    found = {}
    for unsigned, width, integer, rounding, overflow, name in SPELLING.findall(
        (project.path / "firmware/defines.h").read_text()
    ):
        found[name] = str(Fixed.parse(f"{unsigned}fixed<{width},{integer},{rounding or 'TRN'},{overflow or 'WRAP'}>"))
    return found


def small(name: str = "small") -> keras.Model:
    x = keras.Input((3,), name="x")
    return keras.Model(x, {"out": h.dense(h.dense(x, "first", h.SOURCE, h.MIX), name, "fixed<6,3,RND,SAT>", h.MIX)})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two dense layers: compiles in a few seconds."""
    return open_backend("vitis").write(small(), h.build_of("tiny"), tmp_path_factory.mktemp("tiny") / "vitis")


def test_precision_file_is_what_the_compiler_gets(part4: Compared) -> None:
    types, written = defined(part4.project), yaml.safe_load((part4.project.path / "precision.yaml").read_text())
    outputs = {port.name for port in part4.project.layout.outputs}
    checked = 0
    for layer, formats in written.items():
        for kind, text in formats.items():
            if kind == "elements":
                assert sum(text.values()) > 0
                continue
            name = f"{layer}_t" if kind == "result" else f"{layer}_{kind}_t"
            name = "result_t" if kind == "result" and layer in outputs else name
            assert types.pop(name) == text, f"{layer}.{kind}"
            checked += 1
    assert checked > 60
    unused = {name for name in types if name.endswith("_table_t")}  # declared by hls4ml for layers without a table
    assert set(types) == unused


def test_every_layer_is_called_as_in_the_model(part4: Compared) -> None:
    layout, text = part4.project.layout, (part4.project.path / "firmware/part4.cpp").read_text()
    layers = {layer.name for layer in part4.model.layers}
    assert {step.layer for step in layout.steps} | {port.name for port in layout.inputs} == layers
    called = re.findall(r"nnet::\w+<.*// (\w+)$", text, re.MULTILINE)
    assert called == [step.name for step in layout.steps]
    assert not re.findall(r"\b(?:quantizer_\d+|layer\d+_out|[wb]\d+)\b", text)
    assert re.search(r"^void part4\($", text, re.MULTILINE)
    assert [port.variable for port in layout.inputs] == ["features", "mask", "pairs"]
    assert "b0_attn_residual_iq1" in called
    assert (part4.project.path / "firmware/weights/b0_attn_v_weight.h").is_file()


def test_part_clock_and_reuse_come_from_the_build(tmp_path: Path) -> None:
    build = h.build_of("settings", part="xcu250-figd2104-2L-e", clock_ns=3.125, reuse_factor=2)
    project = open_backend("vitis").write(small(), build, tmp_path / "vitis")
    script = (project.path / "project.tcl").read_text()
    assert 'set part "xcu250-figd2104-2L-e"' in script
    assert "set clock_period 3.125" in script
    assert 'set project_name "settings"' in script
    assert "reuse_factor = 2;" in (project.path / "firmware/parameters.h").read_text()


@pytest.mark.parametrize("backend", ["vitis", "alkaid"])
def test_equal_models_make_equal_projects(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, out, hashes = h.build_of("again", backend=backend), tmp_path / "again", []
    for time, stamp in ((1e9, "31415926"), (1.5e9, "abcdef01")):  # the first looks like a number in YAML
        monkeypatch.setattr("time.time", lambda time=time: time)
        monkeypatch.setattr("uuid.uuid4", lambda stamp=stamp: stamp)
        open_backend(backend).write(small(), build, out)
        hashes.append(json.loads((out / "manifest.json").read_text())["written"])
    assert hashes[0] == hashes[1]


def test_an_unknown_setting_of_hls4ml_is_an_error() -> None:
    with pytest.raises(
        TypeError, match="hls4ml's backend Vitis has no setting 'clock_perod'; it has part, clock_period"
    ):
        known_settings("Vitis", part="xcvu13p-flga2577-2-e", clock_perod=2.5)


def test_manifest_says_what_went_in(tiny: Project) -> None:
    manifest = json.loads((tiny.path / "manifest.json").read_text())
    assert manifest["stage"] == "export.vitis"
    assert manifest["build_hash"] == h.build_of("tiny").hash
    assert manifest["model_sha256"] == weights_hash(small())
    assert manifest["versions"]["hls4ml"] == "1.3.0"
    assert manifest["firmware"]["part"] == "xcvu13p-flga2577-2-e"
    assert manifest["wider_than_float32"] == []


def test_the_hash_of_a_model_sees_weights_and_formats(tmp_path: Path) -> None:
    one, two, three = small(), small(), small()
    two.get_layer("first")._kernel.assign(np.asarray(two.get_layer("first")._kernel) + 0.25)
    three.get_layer("first").iq.quantizer._f.assign(np.asarray(three.get_layer("first").iq.quantizer._f) + 1)
    one.save(tmp_path / "one.keras")
    assert weights_hash(one) == weights_hash(keras.saving.load_model(tmp_path / "one.keras", compile=False))
    assert len({weights_hash(model) for model in (one, two, three)}) == 3


def test_the_hash_does_not_see_random_numbers_that_a_load_draws(tmp_path: Path) -> None:
    given = keras.Input((4, 3))
    keras.Model(given, QGRU(2)(given)).save(tmp_path / "one.keras")
    models = [keras.saving.load_model(tmp_path / "one.keras", compile=False) for _ in range(2)]
    seeds = [{tuple(np.asarray(v)) for v in model.variables if v.name == "seed_generator_state"} for model in models]
    assert seeds[0] != seeds[1]  # drawn anew, and no file has them
    assert weights_hash(models[0]) == weights_hash(models[1])


def test_nothing_in_the_project_names_the_scratch_folder(tiny: Project) -> None:
    for path in tiny.path.rglob("*"):
        if path.is_file() and path.suffix in (".yml", ".yaml", ".json", ".tcl", ".sh", ".cpp"):
            assert "/.vitis." not in path.read_text(), path
    assert not (tiny.path / "keras_model.keras").exists()
    assert [path.name for path in tiny.path.parent.iterdir()] == ["vitis"]


def test_layout_survives_the_disk(part4: Compared) -> None:
    layout = part4.project.layout
    assert Layout.from_json(layout.to_json()) == layout
    assert open_project(part4.project.path).layout == layout


def test_a_folder_without_project_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HlsError, match=r"holds no firmware project.*qformers export"):
        open_project(tmp_path)


def test_a_moved_project_gives_the_same(tiny: Project, tmp_path: Path) -> None:
    inputs = {"x": h.numbers(3, 300)}
    before = tiny.predict(inputs)
    moved = open_project(Path(shutil.copytree(tiny.path, tmp_path / "elsewhere")))
    (moved.path / "csim").rename(tmp_path / "gone")
    np.testing.assert_array_equal(moved.predict(inputs), before)


def test_writing_again_replaces_the_project(tmp_path: Path) -> None:
    backend, build, inputs = open_backend("vitis"), h.build_of("again"), {"x": h.numbers(3, 300)}
    x = keras.Input((3,), name="x")
    model = keras.Model(x, {"out": h.dense(x, "only", h.SOURCE, h.MIX)})
    before = backend.write(model, build, tmp_path / "vitis").predict(inputs)
    model.get_layer("only")._kernel.assign(-np.asarray(model.get_layer("only")._kernel))
    second = backend.write(model, build, tmp_path / "vitis")
    assert not (second.path / "csim").exists()
    after = second.predict(inputs)
    assert (after != before).any(), "the old library must not be used"
    np.testing.assert_array_equal(after, h.keras_outputs(model, inputs)["out"])


def test_a_project_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "firmware" / "vitis"
    out.mkdir(parents=True)
    (out / "layout.json").touch()

    def stop(folder: Path) -> None:
        folder.mkdir()
        raise HlsError("stopped half way")

    with (
        pytest.raises(HlsError, match="stopped half way"),
        new_project("vitis", small(), h.build_of("half"), out, None) as (folder, _),
    ):
        stop(folder)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "firmware",
        "firmware/vitis",
        "firmware/vitis/layout.json",
    ]


def test_other_weights_need_no_new_compilation(tiny: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"x": h.numbers(3, 300)}
    before = tiny.predict(inputs)
    weights = tiny.path / "firmware/weights/small_weight.txt"
    kept, commands = weights.read_text(), []
    run = cxx.run
    monkeypatch.setattr(cxx, "run", lambda command, *rest: (commands.append(command), run(command, *rest)))
    weights.write_text(kept.replace("0.5", "0.25"))
    assert (tiny.predict(inputs) != before).any()
    weights.write_text(kept)
    np.testing.assert_array_equal(tiny.predict(inputs), before)
    assert all("-c" not in command for command in commands)


def test_threads_and_chunks_do_not_change_results(part4: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: array[:700] for name, array in part4.inputs.items()}
    monkeypatch.setattr(cxx, "cores", lambda: 1)
    monkeypatch.setattr(csim, "write_sources", lambda top, project, folder, parts: write(top, project, folder, 2))
    from hls.backends.hls4ml.csim_source import write_sources as write

    alone = part4.project.predict(few)
    np.testing.assert_array_equal(alone, part4.firmware["logits"][:700])
    one = {name: array[:1] for name, array in part4.inputs.items()}
    np.testing.assert_array_equal(part4.project.predict(one), alone[:1])


def test_a_compiled_header_is_what_files_get(tmp_path: Path) -> None:
    header, source = tmp_path / "big.h", tmp_path / "small.cpp"
    header.write_text("inline int answer() { return 42; }\n")
    source.write_text('#include "big.h"\nextern "C" int ask() { return answer(); }\n')
    options, levels = ("-fPIC", f"-I{tmp_path}"), ("-O1", "-O0")
    cxx.precompile(header, options, levels)
    header.write_text("#error read again\n")
    jobs = [cxx.Job(source, tmp_path / f"small{level}-1.o", (level,)) for level in levels]
    cxx.compile_all(jobs, options, Silent())
    header.write_text("int answer(\n")
    with pytest.raises(CompileError, match=r"whole log: .*big\.log"):
        cxx.precompile(header, options, levels)


def test_products_of_a_layer_may_be_more_than_a_usual_stack_holds(tmp_path: Path) -> None:
    """hls4ml has 1,024 x 2,200 products of four bytes in one array of the function: 9 MB, and the usual stack has 8."""
    kernel = np.zeros((1024, 2200))
    kernel[np.arange(2200) % 1024, np.arange(2200)] = 1.5
    x = keras.Input((1024,), name="x")
    model = keras.Model(x, {"y": h.dense(x, "spread", "fixed<24,8,RND,SAT>", kernel)})
    project = open_backend("vitis").write(model, h.build_of("wide_net"), tmp_path / "spread")
    rows = np.random.default_rng(1).integers(-128, 128, (3, 1024)) / 16
    np.testing.assert_array_equal(project.predict({"x": rows}), rows @ kernel)


def test_a_compile_error_shows_the_compilers_last_lines_and_its_log(tiny: Project, tmp_path: Path) -> None:
    broken = open_project(Path(shutil.copytree(tiny.path, tmp_path / "broken")))
    header = broken.path / "firmware/defines.h"
    header.write_text(header.read_text().replace("small_accum_t;", "small_acum_t;"))
    with pytest.raises(
        CompileError, match=r"(?s)g\+\+ failed with exit status 1; whole log: .*\.log\n.*small_accum_t"
    ) as caught:
        broken.compile()
    log = Path(re.findall(r"whole log: (\S+)", str(caught.value))[0])
    assert "small_accum_t" in log.read_text()
    assert len(str(caught.value).splitlines()) <= 1 + cxx.LAST_LINES


def test_a_missing_compiler_is_said(tiny: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = open_project(Path(shutil.copytree(tiny.path, tmp_path / "fresh", ignore=shutil.ignore_patterns("csim"))))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(CompileError, match="no C\\+\\+ compiler 'no-such-compiler' on PATH; install one"):
        fresh.compile()


def test_missing_weights_do_not_end_the_process(tiny: Project, tmp_path: Path) -> None:
    copy = open_project(Path(shutil.copytree(tiny.path, tmp_path / "copy")))
    (copy.path / "firmware/weights/small_weight.txt").unlink()
    with pytest.raises(HlsError, match=r"small_weight\.txt is missing; write the project again"):
        copy.predict({"x": h.numbers(3, 10)})


def test_a_call_that_is_not_understood_is_an_error(tiny: Project, tmp_path: Path) -> None:
    copy = open_project(Path(shutil.copytree(tiny.path, tmp_path / "copy")))
    source = copy.path / "firmware/tiny.cpp"
    source.write_text(source.read_text().replace("nnet::einsum_dense<", "nnet::einsum_dense_new <"))
    with pytest.raises(HlsError, match=r"tiny\.cpp: a layer call is not understood"):
        copy.compile()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"y": np.zeros((4, 3))}, "the firmware takes x. Received: y"),
        ({"x": np.zeros((4, 2))}, r"input 'x' must be \(events, 3\). Received: {'x': \(4, 2\)}"),
        ({"x": np.full((4, 3), np.nan)}, r"input 'x' has NaN or infinity.* leave .* out. Received: nan at \(0, 0\)$"),
        ({"x": np.zeros((0, 3))}, "there is no event to compute; give at least one. Received: 0 events"),
    ],
)
def test_wrong_inputs_are_said(tiny: Project, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(HlsError, match=message):
        tiny.predict(inputs)


def test_predict_is_for_one_output(operations: Compared) -> None:
    with pytest.raises(HlsError, match="models with one output, use outputs"):
        operations.project.predict(operations.inputs)


def test_a_project_takes_no_place_of_files_that_are_none_of_its_own(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("all of it")
    (tmp_path / "file").write_text("mine")
    for out, words in ((precious, "holds files and no firmware project"), (tmp_path / "file", "is no folder")):
        with pytest.raises(HlsError, match=f"{out}: {words}.*name another place with --out"):
            open_backend("vitis").write(small(), h.build_of("tiny"), out)
    assert (precious / "thesis.tex").read_text() == "all of it"
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    for _ in range(2):  # an empty folder, then its own
        open_backend("vitis").write(small(), h.build_of("tiny"), tmp_path / "empty")
