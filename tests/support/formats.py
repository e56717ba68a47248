"""Every format that is read from outside: a small valid file of it, and the call that reads it.

A campaign of damaged files takes its cases from `FORMATS`; the outcome of `Format.read` is a value, or an error of
`qformers.errors`.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
import json
import shutil
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from support.paths import CONFIGS, DATA

EVENT = "event000001000"
REPORTS = {
    "csynth xml": "vitis_hls_2024_1/tagger_prj/solution1/syn/report/csynth.xml",
    "csynth rpt": "vivado_hls_2018_3/jet_sum_csynth.rpt",
    "csynth summary": "vitis_hls_2024_1/tagger_prj/solution1/syn/report/csynth.rpt",
    "cosim rpt": "vitis_hls_2022_2/finder_cosim.rpt",
    "utilisation rpt": "vivado_2020_1/vivado_synth.rpt",
    "timing rpt": "vivado_2025_1/output_jetnet/reports/jetnet_post_route_timing.rpt",
    "power rpt": "vivado_2025_1/output_jetnet/reports/jetnet_post_route_power.rpt",
    "fit rpt": "quartus_pro_25_1/output_jetnet/reports/jetnet.fit.rpt",
    "fit summary": "quartus_std_18_1/output_files/filter.fit.summary",
    "sta rpt": "quartus_pro_25_1/output_jetnet/reports/jetnet.sta.rpt",
    "paths rpt": "vivado_2020_2_paths/tagger_worst_paths.rpt",
    "congestion rpt": "vivado_2025_1_paths/output_jetnet/reports/jetnet_post_place_congestion_initial.rpt",
    "fan-out rpt": "vivado_2020_2_paths/tagger_high_fanout_routed.rpt",
    "synthesis rpt": "quartus_std_18_1/synthesis/filter.map.rpt",
    "flow rpt": "quartus_std_18_1/flow/filter.flow.rpt",
    "sta summary": "quartus_std_18_1/output_files/filter.sta.summary",
}


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        name: what it is.
        kind: as `mutations` takes it.
        make: writes a valid file, and what belongs to it, into an empty folder; returns the path.
        read: reads the file at a path.
        needs: package without which it cannot be made or read; "" = none.
        slow: reading it imports Keras, or takes more than a tenth of a second.
    """

    name: str
    kind: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    needs: str = ""
    slow: bool = False

    @property
    def missing(self) -> bool:
        """Whether what it needs is not installed."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


def _jets(dataset: str, path: Path) -> Any:
    from qformers.config.sections import DataConfig
    from qformers.data import open_split

    keys: dict[str, Any] = {"dataset": dataset, "train": (str(path),), "val": (), "test": (), "num_particles": 8}
    features = {"jetclass": "full", "nanoaod": "full", "hls4ml_lhc": "all16"}
    features |= {"listops": "tokens", "token_rows": "tokens"}
    keys |= {"features": features.get(dataset, "kin")} | ({"num_particles": 25} if dataset == "listops" else {})
    if dataset == "nanoaod":
        keys["labels"] = [{"name": "b", "branch": "FatJet_hadronFlavour", "values": [5]}, {"name": "light"}]
        keys["labels"][1] |= {"branch": "FatJet_hadronFlavour", "values": [0, 4]}
    return open_split(DataConfig.model_validate(keys), "train").load()


def _root(folder: Path) -> Path:
    from qformers.data.jets.toy import jetclass_branches, write_tree

    return write_tree(folder / "jets.root", jetclass_branches(12, most_particles=6))


def _h5(folder: Path) -> Path:
    from qformers.data.jets.toy import hls4ml_lhc_arrays, write_arrays

    return write_arrays(folder / "jets.h5", hls4ml_lhc_arrays(6, particles=8))


def _top(folder: Path) -> Path:
    from qformers.data.jets.toy import write_top_jets

    return write_top_jets(folder / "train.h5", 6, slots=8)


def _quark_gluon(folder: Path) -> Path:
    from qformers.data.jets.toy import write_quark_gluon_jets

    return write_quark_gluon_jets(folder / "QG_jets.npz", 6, slots=8)


def _listops(folder: Path) -> Path:
    from qformers.generate.tokens.listops import PRESETS, ListOpsSettings, generate

    grammar = vars(PRESETS["16-64"]) | {"max_length": 26}
    generate(ListOpsSettings(sequences=8, **grammar), folder, "x")
    return folder / "train" / "basic_train.tsv"


def _tokens(folder: Path) -> Path:
    from qformers.data.tokens.token_rows_writer import write

    rng = np.random.default_rng(1)
    return write(folder / "tokens.npz", rng.integers(1, 300, (6, 8)), rng.integers(0, 2, 6), ["negative", "positive"])


def _nanoaod(folder: Path) -> Path:
    from qformers.data.jets.toy import nanoaod_branches, write_tree

    return write_tree(folder / "nano.root", nanoaod_branches(6, seed=1, most_candidates=6), "Events")


@functools.cache
def _tables() -> dict[str, bytes]:
    """The files of a TrackML event, by name."""
    from qformers.generate.tracks import run
    from qformers.generate.tracks.settings import TrackSettings

    with tempfile.TemporaryDirectory() as name:
        run.generate(TrackSettings(events=1, pileup=0, seed=4), Path(name), 1, "x")
        return {path.name: path.read_bytes() for path in Path(name).rglob("*.csv")}


def _event(folder: Path, ending: str = "") -> Path:
    """A TrackML event with all of its tables; returns the hits."""
    for name, content in _tables().items():
        (folder / f"{name}{ending}").write_bytes(gzip.compress(content, mtime=0) if ending else content)
    return folder / f"{EVENT}-hits.csv{ending}"


def _table(name: str) -> Format:
    def make(folder: Path) -> Path:
        hits = _event(folder)
        return hits.with_name("detectors.csv" if name == "detectors" else f"{EVENT}-{name}.csv")

    return Format(f"TrackML {name}", "csv", make, lambda path: _read_event(path.with_name(f"{EVENT}-hits.csv")))


def _read_event(hits: Path) -> Any:
    from qformers.data.points.trackml import TrackmlOptions, read_event

    return read_event(hits, TrackmlOptions(task="pileup"))


def _acts(stem: str) -> Format:
    def make(folder: Path) -> Path:
        from qformers.data.points.acts_writer import write

        rng = np.random.default_rng(1)
        hits: dict[str, Any] = {name: rng.normal(0, 50, 30) for name in ("tx", "ty", "tz")}
        hits |= {"volume": np.full(30, 17), "layer": 2 * rng.integers(1, 5, 30), "sensitive": rng.integers(1, 99, 30)}
        known = {name: rng.normal(0, 1, 5) for name in ("px", "py", "pz")} | {"particle_id": np.arange(1, 6) << 24}
        hits["particle_id"] = known["particle_id"][rng.integers(0, 5, 30)]
        return write(folder, 1000, hits, known).with_name(f"{EVENT}-{stem}.csv")

    return Format(f"ACTS {stem}", "csv", make, lambda path: _read_acts(path.with_name(f"{EVENT}-hits.csv")))


def _read_acts(hits: Path) -> Any:
    from qformers.data.points.acts import ActsOptions, read_event

    return read_event(hits, ActsOptions("odd", task="pileup"))


def _manifest(folder: Path) -> Path:
    from qformers.generate.tracks import run
    from qformers.generate.tracks.settings import TrackSettings

    run.generate(TrackSettings(events=1, pileup=0, seed=4), folder, 1, "x")
    return folder / run.NAME


def _load_manifest(path: Path) -> Any:
    from qformers.generate.tracks.run import load_manifest

    return load_manifest(path.parent)


def _segments(folder: Path) -> Path:
    from qformers.data.points.line_segments import Segments, write_segments

    x = np.random.default_rng(1).random((20, 23)).astype(np.float32)
    x[:, -2:] = 3
    write_segments(folder / "graph_1.npz", Segments(x, np.arange(20) % 7 - 1, 1))
    return folder / "graph_1.npz"


def _pt(folder: Path) -> Path:
    import torch

    arrays = {name: torch.from_numpy(array) for name, array in np.load(_segments(folder)).items()}
    torch.save(arrays, folder / "graph_1.pt")
    return folder / "graph_1.pt"


def _read_segments(path: Path) -> Any:
    from qformers.data.points.line_segments import read_segments
    from qformers.data.points.segment_features import Lda, segment_cloud

    return segment_cloud(read_segments(path), Lda(np.ones((24, 7)), (1.0,) * 7))


def _candidates(folder: Path) -> Path:
    from qformers.generate.tracks.candidates import make_candidates
    from qformers.generate.tracks.settings import TrackSettings

    np.savez(folder / "candidates_1.npz", **make_candidates(TrackSettings(events=1, pileup=1, seed=1), 0))
    return folder / "candidates_1.npz"


def _read_candidates(path: Path) -> Any:
    from qformers.data.points.candidates import read_candidates

    return read_candidates(path, "compact")


def _lda(folder: Path) -> Path:
    from qformers.data.points.segment_features import Lda

    Lda(np.linspace(-1, 1, 168).reshape(24, 7), (1.0,) * 7).save(folder / "lda.json")
    return folder / "lda.json"


def _read_lda(path: Path) -> Any:
    from qformers.data.points.segment_features import Lda

    return Lda.load(path)


def _copied(source: Path, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        content = source.read_bytes()
        (folder / name).write_bytes(gzip.decompress(content) if source.suffix == ".gz" else content)
        return folder / name

    return make


def _read_qkeras(path: Path) -> Any:
    from qformers.interop.qkeras.reader import read

    return read(path)


def _import_qkeras(path: Path) -> Any:
    from qformers.interop.qkeras.build import Options
    from qformers.interop.qkeras.importer import load_qkeras

    return load_qkeras(path, Options("fixed<16,6>", logits=True))


def _check_archive(path: Path) -> Any:
    from qformers.builds.archive import check_keras_archive
    from qformers.errors import ConfigError

    return check_keras_archive(path, ConfigError)


SAVED = DATA / "saved" / "part_float.keras"


def _keras_config(folder: Path) -> Path:
    with zipfile.ZipFile(SAVED) as archive:
        (folder / "config.json").write_bytes(archive.read("config.json"))
    return folder / "config.json"


def _read_keras_config(path: Path) -> Any:
    """The model of a configuration, with the weights of the saved one."""
    from qformers.builds.models import load_model

    target = path.with_name("config.json.keras")
    with zipfile.ZipFile(SAVED) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, path.read_bytes() if name == "config.json" else old.read(name))
    return load_model(target)


def _read_report(path: Path) -> Any:
    from hls.reports.tools import read_reports

    return read_reports(path)


def _stat(folder: Path) -> Path:
    cells = {"LUT6": 12, "FDRE": 3, "CARRY4": 2, "DSP48E2": 1}
    tree = {"creator": "Yosys", "modules": {"\\top": {"num_cells": 18}}, "design": {"num_cells_by_type": cells}}
    (folder / "stat.json").write_text(json.dumps(tree, indent=1))
    return folder / "stat.json"


def _read_stat(path: Path) -> Any:
    from hls.reports.yosys.stat import parse_stat, resources, text_of

    return resources(parse_stat(text_of(path))[0])


def _build(folder: Path) -> Path:
    shutil.copyfile(CONFIGS / "part_demo.yaml", folder / "build.yaml")
    return folder / "build.yaml"


def _read_build(path: Path) -> Any:
    from qformers.builds.build import load

    return load(path)


def _checkpoint(folder: Path) -> Path:
    import torch

    torch.save({"state_dict": {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(4)}}, folder / "best.pt")
    return folder / "best.pt"


def _read_checkpoint(path: Path) -> Any:
    from qformers.interop.checkpoint import read_checkpoint
    from qformers.interop.state_dict import array_of

    return {name: array_of(name, tensor) for name, tensor in read_checkpoint(path).items()}


QKERAS = DATA / "qkeras"
FORMATS: tuple[Format, ...] = (
    Format("JetClass", "root", _root, lambda path: _jets("jetclass", path)),
    Format("hls4ml LHC jets", "h5", _h5, lambda path: _jets("hls4ml_lhc", path)),
    Format("top landscape", "h5", _top, lambda path: _jets("top_landscape", path)),
    Format("quark/gluon", "npz", _quark_gluon, lambda path: _jets("quark_gluon", path)),
    Format("ListOps", "csv", _listops, lambda path: _jets("listops", path)),
    Format("rows of tokens", "npz", _tokens, lambda path: _jets("token_rows", path)),
    Format("NanoAOD", "root", _nanoaod, lambda path: _jets("nanoaod", path)),
    *(_table(name) for name in ("hits", "truth", "particles", "cells", "vertices", "detectors")),
    Format("TrackML hits, packed", "csv.gz", lambda folder: _event(folder, ".gz"), _read_event),
    *map(_acts, ("hits", "particles_simulated")),
    Format("manifest of events", "json", _manifest, _load_manifest),
    Format("line segments", "npz", _segments, _read_segments),
    Format("line segments of PyTorch", "pt", _pt, _read_segments, "torch"),
    Format("candidates", "npz", _candidates, _read_candidates),
    Format("LDA", "json", _lda, _read_lda),
    Format("checkpoint", "pt", _checkpoint, _read_checkpoint, "torch"),
    Format("QKeras 3", "keras", _copied(QKERAS / "jet_mlp_v3.keras", "m.keras"), _read_qkeras),
    Format("QKeras 0.9", "h5", _copied(QKERAS / "jet_mlp_v0.9.h5.gz", "m.h5"), _read_qkeras),
    Format("QKeras 3 to HGQ2", "h5", _copied(QKERAS / "jet_mlp_v3.h5.gz", "m.h5"), _import_qkeras, slow=True),
    Format("Keras archive", "keras", _copied(SAVED, "model.keras"), _check_archive),
    Format("Keras configuration", "json", _keras_config, _read_keras_config, slow=True),
    *(
        Format(
            name,
            "xml" if path.endswith("xml") else "rpt",
            _copied(DATA / "reports" / path, Path(path).name),
            _read_report,
        )
        for name, path in REPORTS.items()
    ),
    Format("Yosys' stat", "json", _stat, _read_stat),
    Format("build", "yaml", _build, _read_build),
)


def attempt(form: Format, path: Path, content: bytes) -> str:
    """What comes of reading `content` in place of the file at `path`.

    Returns:
        "read"; "refused: " and the message, of an error that a user can mend; or "traceback: " and where it began.
    """
    from qformers.errors import QformersError

    path.write_bytes(content)
    try:
        form.read(path)
    except QformersError as error:
        return f"refused: {error}"
    except Exception as error:  # any other is what is looked for
        last = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in last if "/qformers/" in frame.filename or "/hls/" in frame.filename]
        place = f"{ours[-1].filename}:{ours[-1].lineno}" if ours else "?"
        return f"traceback: {type(error).__name__}: {str(error)[:200]} at {place}"
    return "read"
