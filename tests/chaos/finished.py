"""A finished run whose files are damaged, and one whose build file is changed: named, made again, or the same."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from support.damage import damages

from chaos.runs import artefacts, copied, different, numbers
from chaos.tally import BELIEVED, CLEAN, OTHER, TRACE, TRACEBACK, Said, Section, call
from hls.cli import main

FLOW = ("train", "csim", "rtl", "compare")
EVENTS = {"csim": ["--events", "50"], "rtl": ["--events", "50", "--levels", "interpreter"]}
CHANGES = (  # after the training; the first word of each is its section
    "seed=2", "data.num_particles=4", "data.features=kin", "model.heads=2", "model.blocks=2", "model.embed_widths=[5]",
    "model.ffn_ratio=2", "model.pairs=onchip", "model.head=class_token", "model.activation=gelu", "model.dropout=0.1",
    "quant.weight=fixed<5,2>", "quant.activation=fixed<8,4>", "quant.learn=false", "quant.granularity=element",
    "train.float.epochs=3", "train.qat.epochs=3", "train.qat.ebops_target=5000", "train.float.learning_rate=0.1",
    "firmware.clock_ns=4.0", "firmware.part=xcku060-ffva1156-2-e", "firmware.reuse_factor=2",
    "firmware.layers={embed0: {accumulator: 'fixed<24,12>'}}", "firmware.stage_ns=3.0", "firmware.backend=vivado",
)  # fmt: skip


def words(stage: str, build: Path, run: Path) -> list[str]:
    """The command of a stage."""
    if stage == "compare":
        return ["compare", str(run), "--out", str(run / "comparison")]
    return [stage, str(build), "--run", str(run), *EVENTS.get(stage, [])]


def prepared(build: Path, run: Path, folder: Path) -> tuple[Path, dict[str, Any], list[Said]]:
    """A copy of a finished run after `FLOW`, what it came to and what was said: how all others are to end."""
    made = copied(run, folder / "whole")
    said = [call(main, words(stage, build, made)) for stage in FLOW]
    if any(one.status for one in said):
        raise RuntimeError("\n".join(one.words for one in said))
    return made, artefacts(made), said


def damaged(build: Path, run: Path, folder: Path, times: int, seed: int) -> Section:
    """Damage one file at a time and go through the flow: it is named, or the end is the same and no number new."""
    made, wanted, told = prepared(build, run, folder)
    shown = numbers("".join(one.words for one in told))
    section = Section("damaged artefacts of a finished run")
    found = list(damages(made, seed))
    random.Random(seed).shuffle(found)  # noqa: S311  no secrets
    for what, damage in found[:times]:
        place = copied(made, folder / "whole-damaged")
        moved = shutil.move(made, folder / "aside")  # messages and manifests hold the path
        shutil.move(place, made)
        try:
            damage.apply(made)
            outcome, text = _followed(build, made, wanted, shown)
        finally:
            shutil.rmtree(made, ignore_errors=True)
            shutil.move(moved, made)
        section.add(what, outcome, text)
    return section


def _followed(build: Path, run: Path, wanted: dict[str, Any], shown: set[str]) -> tuple[str, str]:
    """The flow on a damaged run."""
    text = ""
    for stage in FLOW:
        said = call(main, words(stage, build, run))
        text += said.words
        if said.status is None or TRACE in said.words:
            return TRACEBACK, said.words
        if said.status == 2:
            lines = said.err.strip().splitlines()
            return (CLEAN, "") if lines else (OTHER, f"{stage} says nothing")
        if said.status:
            return BELIEVED, f"{stage} ended with {said.status}: {said.words}"
    changed = different(wanted, artefacts(run))
    new = numbers(text) - shown
    return (BELIEVED, f"{changed} differ, new numbers {sorted(new)[:9]}") if changed or new else (CLEAN, "")


def changed_builds(build: Path, run: Path, folder: Path, times: int = len(CHANGES)) -> Section:
    """Change the build file after the training, and run each later stage: refused, or made as it now says."""
    from qformers.builds.build import load

    section = Section("changes of the build after each stage")
    for change in CHANGES[:times]:
        of_firmware = change.startswith("firmware.")
        for stage in ("train", "export", "csim", "rtl"):
            place = copied(run, folder / "changed")
            said = call(main, [*words(stage, build, place), "--set", change])
            what = f"{stage} --set {change}"
            if said.status is None or TRACE in said.words:
                section.add(what, TRACEBACK, said.words)
            elif said.status == 2:
                section.add(what, CLEAN)
            elif said.status or not of_firmware:
                section.add(what, BELIEVED, f"exit status {said.status}: {said.words}")
            else:
                wanted = load(build, [change]).firmware.model_dump(mode="json")
                section.add(what, CLEAN if stage == "train" or _written(place, stage, wanted) else BELIEVED)
    return section


def _written(run: Path, stage: str, firmware: dict[str, Any]) -> bool:
    """Whether what the stage left says that it was made with these settings."""
    import json

    records = {"export": f"firmware/{firmware['backend']}/manifest.json", "csim": "csim.json", "rtl": "rtl.json"}
    path = run / records[stage]
    return path.is_file() and json.loads(path.read_text()).get("firmware") == firmware
