"""The command `qformers`: its help, what it refuses and with which status, and the order of stages in a run."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.paths import CONFIGS, SCRIPTS

from hls import cli, start
from hls.cli import run, synth
from hls.errors import ExportRefused as Refused
from hls.errors import HlsError, Refusal
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import ConfigError, DataError, QformersError, TrainingError, WeightsError

DEMO = str(CONFIGS / "part_demo.yaml")
HEAVY = ("keras", "tensorflow", "jax", "hgq", "hls4ml", "alkaid", "matplotlib", "sklearn", "onnx", "qonnx")
PROBE = f"""
import sys
from hls.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("status", code, "heavy", [name for name in {HEAVY!r} if name in sys.modules])
"""

Calls = list[tuple[str, list[str]]]


def probe(*words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which says at the end what it has imported."""
    return subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("name", [*cli.COMMANDS, *(f"generate {what}" for what in ("tracks", "listops", "digits"))])
def test_help_of_every_command_answers_without_keras(name: str) -> None:
    told = probe(*name.split(), "--help").stdout
    assert told.startswith(f"usage: qformers {name} ")
    assert told.endswith("status 0 heavy []\n")
    assert f"qformers {name} " in told.split("options:")[0].split("\n", 1)[1]  # an example
    assert status.table() in told


def test_the_help_lists_every_command_once() -> None:
    assert sorted(name for names in cli.GROUPS.values() for name in names) == sorted(cli.COMMANDS)
    told = probe("--help").stdout
    for name, command in cli.COMMANDS.items():
        assert f"  {name:<13} {command.summary}\n" in told
    assert status.table() in told
    assert told.endswith("status 0 heavy []\n")


def test_an_ascii_terminal_gets_a_question_mark_and_no_traceback() -> None:
    code = (
        "import sys; from qformers.cli.status import exit_status; sys.exit(exit_status(lambda: print('\\u00b1') or 0))"
    )
    surroundings = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=surroundings, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "?\n", "")


def test_the_table_of_statuses_has_all_four() -> None:
    assert list(status.STATUSES) == [0, 1, 2, 3] == [status.DONE, status.FAILED, status.BAD_INPUT, status.STOPPED]


def test_every_option_that_takes_a_number_or_folder_says_its_default_or_that_it_is_needed() -> None:
    for command in cli.COMMANDS.values():
        parser = argparse.ArgumentParser()
        command.add(parser)
        for action in parser._actions:
            if action.dest == "help":
                continue
            assert action.help, (command.name, action.dest)
            if action.option_strings and action.type is not None and action.default not in (None, []):
                assert "default" in action.help, (command.name, action.dest)


FLOAT_ONLY = ("--set", "quant=null", "--set", "train.qat=null")
NO_QUANT = (
    "build 'part_demo' is float only: it has no section 'quant', hence no quantised model and no firmware. Add quant "
    "(quant: {} takes the defaults) and train.qat for its training, as firmware_configs/part_demo.yaml has them, and "
    "train it then"
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian", DEMO], "unknown command 'trian'; did you mean 'train'?"),
        ([], "the following arguments are required: COMMAND"),
        (["train"], "the following arguments are required: BUILD"),
        (["csim", DEMO, "--events", "many"], "argument --events: must be a whole number, 1 or more. Received: many"),
        (["rtl", DEMO, "--levels", "paper"], "argument --levels: invalid choice: 'paper'"),
        (["run", DEMO, "--ful"], "unrecognized arguments: --ful"),
        (["run", DEMO, "--from", "csim", "--to", "train"], "--from must not come after --to. Received: --from csim"),
        (["run", DEMO, "--to", "synth", "--no-synth"], "--no-synth leaves out the stage that --from or --to names"),
        (["run", "no.yaml"], "no.yaml: cannot be read"),
        (["train", DEMO, "--set", "sed=3"], "unknown key 'sed'; did you mean 'seed'?"),
        (["train", DEMO, "--set", "labels=[a]"], "unknown key 'labels'; did you mean 'data.labels'?"),
        (["csim", DEMO, "--set", "firmware.clock_ns=-1"], "firmware.clock_ns"),
        (["quantise", DEMO, DEMO, "--margin", "2"], "--margin go with --calibrate. Received: no --calibrate"),
        (["import", "qkeras", DEMO, "b.keras", "--task", "x"], "--task does not go with 'qkeras'"),
        (["import", "part", DEMO, "b.keras", "--logits"], "--logits does not go with 'part'"),
        (["generate", "lhc6"], "unknown preset. Received: 'lhc6'"),
        (["export", DEMO, "--backend", "vits"], "unknown backend 'vits'; did you mean 'vitis'?"),
        (["csim", DEMO, "--set", "firmware.backend=libero"], "backend 'libero' is refused"),
        (["csim", DEMO, "--events", "0"], "--events: must be a whole number, 1 or more. Received: 0"),
        (["csim", DEMO, "--run", "nowhere"], "nowhere/firmware/vitis holds no firmware project; train the build"),
        (["prove", DEMO, "--run", "nowhere"], "nowhere/firmware/vitis holds no firmware project; train the build"),
        (["prove", DEMO, "--events", "1e6"], "argument --events: must be a whole number, 1 or more. Received: 1e6"),
        (["prove", DEMO, "--seed", "-1"], "argument --seed: must be a whole number, 0 or more. Received: -1"),
        (["prove", DEMO, "--level", "paper"], "argument --level: invalid choice: 'paper'"),
        (["export", DEMO, "--run", "nowhere"], "nowhere/qat/model.keras is missing; train the build first"),
        (["export", DEMO, "--run", "nowhere", *FLOAT_ONLY], f"nowhere/qat/model.keras is missing; {NO_QUANT}"),
        (["csim", DEMO, "--run", "nowhere", *FLOAT_ONLY], NO_QUANT),
        (["prove", DEMO, "--run", "nowhere", *FLOAT_ONLY], NO_QUANT),
        (["audit", DEMO, "--run", "nowhere", *FLOAT_ONLY], NO_QUANT),
        (["sparsity", DEMO, "--run", "nowhere", *FLOAT_ONLY], NO_QUANT),
        (["run", DEMO, "--run", "nowhere", *FLOAT_ONLY], f"{NO_QUANT}; qformers run --to train trains it as it is"),
        (
            ["csim", DEMO, "--run", "nowhere", *FLOAT_ONLY[2:]],
            "build 'part_demo' trains in float alone, since train.qat is null: give train.qat its keys and train it "
            "then, or make a quantised model without training: qformers quantise RUN/float/model.keras BUILD",
        ),
        (["synth", DEMO, "--jobs", "0"], "argument --jobs: must be a whole number, 1 or more. Received: 0"),
        (["synth", DEMO, "--time-limit", "-1"], "argument --time-limit: must be a number above 0. Received: -1"),
        (["run", DEMO, "--synth-limit", "nan"], "argument --synth-limit: must be a number above 0. Received: nan"),
        (["audit", DEMO, "--replay", "no.npz"], "--replay no.npz: no such file; name a file"),
        (["audit", DEMO, "--worst", "-1"], "argument --worst: must be a whole number, 0 or more. Received: -1"),
        (["quantise", "no.keras", DEMO], "MODEL no.keras: no such file; train the float phase first"),
        (["quantise", ".", DEMO], "MODEL .: is a folder; train the float phase"),
        (["quantise", DEMO, DEMO, "--calibrate", "--quantile", "2"], "--quantile: must be a number above 0, 1 at most"),
        (["quantise", DEMO, DEMO, "--set", "data.train=[no/*.root]"], "data.train: no file matches 'no/*.root'"),
        (
            ["tune", DEMO, DEMO, "--max-loss", "nan"],
            "argument --max-loss: must be a number between 0 and 1. Received: nan",
        ),
        (["tune", DEMO, DEMO, "--ebops", "inf"], "argument --ebops: must be a number above 0. Received: inf"),
        (
            ["tune", DEMO, DEMO, "--ebops", "9", "--steps", "-1"],
            "--steps: must be a whole number, 0 or more. Received: -1",
        ),
        (["import", "qkeras", "nope.h5", "b.keras"], "nope.h5: no such file; give a model saved by model.save"),
        (["import", "qkeras", DEMO, "b.h5"], "TARGET is the model to write and ends in .keras. Received: b.h5"),
        (["train", DEMO, "--run", "nowhere", "--set", "data.val=[no/*.root]"], "data.val: no file matches 'no/*.root'"),
        (["train", DEMO, "--run", "nowhere", "--set", "data.dataset=jetclas"], "did you mean 'jetclass'?"),
        (["rtl", DEMO, "--backend", "vitis"], "backend 'vitis' writes no RTL of a whole event that is simulated here"),
        (["train", DEMO, "--run", str(CONFIGS)], "holds other files, e.g. "),
        (["quantise", DEMO, DEMO, "--out", str(CONFIGS)], "and no run; name another one with --run"),
        (
            ["tune", DEMO, DEMO, "--max-loss", "0.1", "--out", DEMO],
            f"{DEMO}: is no folder; name another one with --run",
        ),
        (["compare", "runs", "--out", str(CONFIGS)], "and no comparison; name another folder with --out"),
        (["generate", "lhc5", "--out", str(CONFIGS)], "and no jets that were generated; give another --out"),
        (["generate", "tracks", "--out", str(CONFIGS)], "and no events that were generated; give another --out"),
        (["generate", "tracks", "candidates", "--out", str(CONFIGS)], "and no candidates that were generated; give"),
        (["generate", "listops", "--out", str(CONFIGS)], "and no sequences that were generated; give another --out"),
        (["generate", "digits", "--out", str(CONFIGS)], "and no sequences that were generated; give another --out"),
        (["generate", "listops", "--preset", "64-26"], "--preset: unknown '64-26'; did you mean '64-256'?"),
        (["generate", "listops", "--depth", "1"], "depth must lie in 2..20. Received: depth=1"),
        (["fold-plan", DEMO, "--seconds", "0"], "argument --seconds: must be a number above 0. Received: 0"),
        (["fold-plan", DEMO, "--max-lut", "many"], "argument --max-lut: must be a number above 0. Received: many"),
        (["fold-plan", DEMO, "--run", "nowhere"], "nowhere/qat/model.keras is missing; train the build first"),
        (
            ["fold-plan", DEMO, "--untrained", "--model", "no.keras"],
            "--untrained makes a model anew and goes without --model; leave one out",
        ),
        (["fold-plan", DEMO, "--untrained", "--out", str(CONFIGS)], "and no fold plan; name another folder with --out"),
        (["qonnx", DEMO, "part.keras"], "OUT is the file to write and ends in .onnx. Received: part.keras"),
        (["qonnx", DEMO, "part.onnx", "--run", "nowhere"], "nowhere/qat/model.keras is missing; train the build first"),
        (["qonnx", "no.keras", "part.onnx"], "MODEL no.keras: no such file; name a file"),
        (["fit-lda", "x", "--out", "y", "--events", "0"], "--events: must be a whole number, 1 or more. Received: 0"),
    ],
)
def test_bad_input_is_refused_with_status_two_and_without_keras(words: list[str], message: str) -> None:
    told = probe(*words)
    assert message in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == "status 2 heavy []\n"


@pytest.mark.parametrize("error", [ConfigError, DataError, HlsError, TrainingError, WeightsError, QformersError])
def test_what_a_user_can_mend_is_one_message_and_status_two(
    error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise error("mend this")

    assert status.exit_status(work) == 2
    assert capsys.readouterr() == ("", "mend this\n")
    assert status.exit_status(lambda: 3) == 3


@pytest.mark.parametrize(("work", "words"), [
    (lambda folder: (folder / "file" / "runs").mkdir(parents=True), "file/runs: Not a directory; nothing was half"),
    (lambda folder: (folder / "file").mkdir(), "file: File exists; nothing was half written"),
    (lambda folder: os.write(os.open("/dev/full", os.O_WRONLY), b"x"), "No space left on device; nothing was half"),
])  # fmt: skip
def test_what_the_system_refuses_is_one_message_and_status_two(
    work: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert status.exit_status(lambda: work(tmp_path)) == 2
    assert words in capsys.readouterr().err


def test_output_that_nobody_reads_on_ends_without_a_traceback() -> None:
    code = "import sys; from qformers.cli.status import exit_status; "
    code += "sys.exit(exit_status(lambda: [print(number) for number in range(10**5)] and 0))"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.stdout.close()
    assert writer.wait(60) == 3
    assert writer.stderr is not None
    assert writer.stderr.read() == ""
    writer.stderr.close()


def test_a_refused_export_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise Refused("vitis", [Refusal("sort", "Sort", "has no firmware", "leave it out")])

    assert status.exit_status(work) == 2
    assert "sort (Sort): has no firmware; leave it out" in capsys.readouterr().err


def test_what_nobody_can_mend_is_not_hidden() -> None:
    def work() -> int:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        status.exit_status(work)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_status_three(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

    def work() -> int:
        os.kill(os.getpid(), number)
        time.sleep(30)
        return 0

    try:
        assert status.exit_status(work) == 3
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert capsys.readouterr().err == "stopped; what was finished and written is kept\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_every_script_is_a_command(name: str) -> None:
    path = SCRIPTS / f"{name}.py"
    told = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, check=True).stdout
    assert told.startswith("usage: qformers ")
    assert len(path.read_text().splitlines()) <= 9


def test_a_build_is_loaded_with_its_overrides() -> None:
    seen = []

    def add(parser: argparse.ArgumentParser) -> None:
        shared.add_build(parser)
        shared.add_run(parser)
        shared.add_set(parser, "seed=3")

    def work(options: argparse.Namespace) -> int:
        build = shared.load_build(options)
        seen.append((shared.run_folder(build, options.run), build.seed))
        with pytest.raises(ConfigError, match=f"{seen[-1][0]}/qat/model.keras is missing; train the build first"):
            shared.model_path(build, None, options.run)
        return 0

    command = Command("x", "X.", add, work)
    assert command([DEMO, "--set", "seed=3", "--set", "name=other"]) == 0
    assert command([DEMO, "--run", "here", "--set", "seed=4"]) == 0
    assert seen == [
        (Path("runs/other"), 3),
        (Path("here"), 4),
    ]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, int]], Calls]:
    """Puts stages that note their words, and return a status, in the place of the real ones."""

    def install(codes: dict[str, int]) -> Calls:
        calls: Calls = []

        def fake(name: str) -> Command:
            def raw(words: object) -> int:
                calls.append((name, list(words)))  # type: ignore[call-overload]
                return codes.get(name, 0)

            return Command(name, name, raw=raw)

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(run, "STAGES", {name: fake(name) for name in run.STAGES})
        monkeypatch.setattr("hls.stages.summary.summary", lambda folder: Summed())
        return calls

    return install


class Summed:
    """A summary without a run."""

    def save(self) -> None:
        """Nowhere."""

    def __str__(self) -> str:
        return "summed up"


def test_the_first_failing_stage_ends_the_run_with_its_status(
    stages: Callable[[dict[str, int]], Calls], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = stages({"export": 1})
    assert cli.main(["run", DEMO, "--fresh", "--set", "seed=3"]) == 1
    common = [DEMO, "--run", "runs/part_demo", "--set", "seed=3"]
    assert calls == [("train", [*common, "--fresh"]), ("export", common)]
    told = capsys.readouterr().out
    assert re.search(rf"== train: {DEMO}\n== train: done, \d+ s\n", told)
    assert re.search(r"== export: exit status 1, \d+ s\n", told)
    assert "summed up" not in told


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["train", "export", "csim", "rtl", "synth", "compare"]),
        (["--no-synth", "--from", "rtl"], ["rtl", "compare"]),
        (["--to", "rtl", "--levels", "verilator"], ["train", "export", "csim", "rtl"]),
        (["--from", "synth", "--to", "synth", "--synth-limit", "60"], ["synth"]),
        (["--from", "export", "--to", "csim", "--run", "here"], ["export", "csim"]),
    ],
)
def test_what_is_said_of_rtl_and_synthesis_reaches_their_stages(
    arguments: list[str],
    names: list[str],
    stages: Callable[[dict[str, int]], Calls],
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = stages({})
    assert cli.main(["run", DEMO, *arguments]) == 0
    assert [name for name, _ in calls] == names
    folder = "here" if "here" in arguments else "runs/part_demo"
    for name, words in calls:
        if name == "synth":
            limit = "60.0" if "60" in arguments else "450.0"
            assert words == [DEMO, "--run", folder, "--if-available", "--time-limit", limit]
        elif name == "compare":
            assert words == [folder, "--out", f"{folder}/comparison"]
        else:
            levels = ["--levels", "verilator"] if "verilator" in arguments and name == "rtl" else []
            assert words == [DEMO, "--run", folder, *levels], "without levels the stage takes those of the project"
    assert "summed up" in capsys.readouterr().out


def test_the_words_of_every_stage_are_words_of_its_command() -> None:
    options = run.COMMAND.parse([DEMO, "--fresh", "--quiet", "--set", "seed=3"])
    for name, command in run.STAGES.items():
        parsed = command.parse(run.arguments_of(name, options, Path("here")))
        assert parsed.quiet
        assert Path("here") in (getattr(parsed, "run", None), *getattr(parsed, "runs", []))


@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize("missing", [True, False])
def test_synthesis_out_of_time_or_without_yosys_says_how_to_finish_it(
    available: bool, missing: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hls.reports.yosys.run import YosysMissing, YosysStopped

    def late(*arguments: object) -> None:
        raise YosysMissing() if missing else YosysStopped("yosys was stopped")

    monkeypatch.setattr("hls.stages.synth.synthesise", late)
    words = [DEMO, "--set", "seed=3", *(["--if-available"] if available else [])]
    assert synth.COMMAND(words) == (0 if available else 2 if missing else 3)
    told = capsys.readouterr()
    assert f"to finish it: qformers synth {DEMO} --set seed=3\n" in told.out
    assert ("yosys not found" if missing else "yosys was stopped") in (told.out if available else told.err)


def test_the_demo_writes_its_files_and_keeps_changed_ones(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert cli.main(["demo", str(folder), "--files-only"]) == 0
    names = {"part_tiny.yaml", "jets/train.root", "jets/val.root", "jets/test.root"}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == names
    (folder / "part_tiny.yaml").write_text("mine")
    assert cli.main(["demo", str(folder), "--files-only"]) == 0
    assert (folder / "part_tiny.yaml").read_text() == "mine"


def test_the_demo_is_not_written_into_a_folder_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").touch()
    assert cli.main(["demo", str(tmp_path), "--files-only"]) == 2
    assert capsys.readouterr().err == f"{tmp_path}: holds other files, e.g. a.txt, and no demo; name another folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("torch", "KERAS_BACKEND=torch: qformers runs on tensorflow and jax; unset it, or set it to tensorflow or "
         "jax\n"),
        ("", "{home}/keras.json: backend nope: qformers runs on tensorflow and jax; change it, or set KERAS_BACKEND to "
         "tensorflow or jax\n"),
    ],
)  # fmt: skip
def test_a_backend_of_keras_that_is_none_of_ours_is_named(
    backend: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "nope"}')
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert start.main() == 2
    assert capsys.readouterr().err == message.format(home=tmp_path)


def test_closed_output_and_a_strange_matplotlib_end_nothing() -> None:
    command = [sys.executable, "-c", "import sys; from hls.start import main; sys.exit(main())", "csim", "no.yaml"]
    environment = {**os.environ, "MPLBACKEND": "nope"}
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, "no.yaml: cannot be read" in done.stderr) == (2, True)


def test_ctrl_c_while_the_commands_are_imported_is_a_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting:
        """Ctrl-C while Python looks for a module."""

        def find_spec(self, name: str, *more: object) -> None:
            if name == "hls.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "hls.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    assert start.main() == status.STOPPED
    assert capsys.readouterr() == ("", "stopped; nothing was begun\n")


def test_ctrl_c_while_the_options_are_read_is_a_stop(capsys: pytest.CaptureFixture[str]) -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        raise KeyboardInterrupt

    assert Command("x", "X.", add)([]) == status.STOPPED
    assert capsys.readouterr().err == "stopped; what was finished and written is kept\n"
