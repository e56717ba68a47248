"""Events of points that cannot be used: tables, arrays and what is claimed of them."""

from __future__ import annotations

import gzip
import io
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.paths import CONFIGS, DATA
from support.tables import changed

from qformers.builds.build import load
from qformers.builds.data_folder import in_folder
from qformers.config.sections import DataConfig, PointsConfig
from qformers.data import check_files, open_split
from qformers.data.points import arrays, candidates, csv_table, filtering
from qformers.data.points.csv_table import INT, read_table
from qformers.data.points.hit_features import FEATURE_SETS
from qformers.data.points.line_segments import COLUMNS, read_segments
from qformers.data.points.pairs import hept_pairs
from qformers.data.points.readers import TrackmlReader
from qformers.data.points.split import PointOptions, PointSplit
from qformers.data.points.targets import PairTargets
from qformers.data.points.trackml import TrackmlOptions, hit_ids, read_event
from qformers.errors import DataError
from qformers.generate.tracks import run
from qformers.generate.tracks.settings import TrackSettings
from qformers.tasks import Tracking

EVENT = "event000001000"
TABLES = DATA / "points"
PLACE = TrackmlOptions(features="place")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tracks")
    run.generate(TrackSettings(events=1, pileup=1, seed=4), folder, 1, "x")
    return folder


@pytest.fixture
def hits(made: Path, tmp_path: Path) -> Path:
    """The hits of an event that a test may damage, with all of its tables."""
    for path in (*made.glob("train/*.csv"), made / "detectors.csv"):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path / f"{EVENT}-hits.csv"


def refused(path: Path, said: str, options: TrackmlOptions = PLACE) -> None:
    with pytest.raises(DataError, match=said):
        read_event(path, options)


# the form of tables


def test_a_line_with_more_fields_than_the_header() -> None:
    refused(TABLES / "long_row" / f"{EVENT}-hits.csv", r"-hits.csv: line 6: must have 7 fields, .*Received: 10")


def test_an_event_without_hits() -> None:
    refused(TABLES / "header_only" / f"{EVENT}-hits.csv", r"-hits.csv: holds no hit; leave the event out")


@pytest.mark.parametrize("table", ["truth", "particles"])
def test_a_line_with_more_fields_in_any_table(hits: Path, table: str) -> None:
    path = hits.with_name(f"{EVENT}-{table}.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3] + ",7", *lines[4:]]))
    refused(hits, rf"-{table}.csv: line 4: must have \d+ fields, as the header has; a comma too many")


@pytest.mark.parametrize("content", [b"", b"\n\n", b" "])
def test_an_empty_table(hits: Path, content: bytes) -> None:
    hits.write_bytes(content)
    refused(hits, r"-hits.csv: is empty: its first line must name the columns")


def test_a_byte_order_mark_and_other_line_ends_are_read(hits: Path) -> None:
    plain = read_event(hits, PLACE)
    hits.write_bytes(b"\xef\xbb\xbf" + hits.read_bytes().replace(b"\n", b"\r\n"))
    marked = read_event(hits, PLACE)
    np.testing.assert_array_equal(marked.features, plain.features)


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("hit_id,x,hit_id\n1,2,3\n")
    with pytest.raises(DataError, match=r"a.csv: column 'hit_id' is there 2 times; keep one"):
        read_table(tmp_path / "a.csv", {"hit_id": INT})


@pytest.mark.parametrize("value", ["9" * 400, "9223372036854775808", "1_000", "1.0", "٣"])
def test_integers_that_are_none(hits: Path, value: str) -> None:
    changed(hits, 3, module_id=value)
    refused(hits, r"column 'module_id', line 3: must be an integer. Received: ")


def test_packed_tables_that_are_damaged_or_bombs(hits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = hits.with_name(f"{hits.name}.gz")
    content = bytearray(gzip.compress(hits.read_bytes(), mtime=0))
    content[len(content) // 2] ^= 255
    packed.write_bytes(content)
    refused(packed, r"-hits.csv.gz: cannot be read as CSV .*download the file again")
    packed.write_bytes(content[:100])
    refused(packed, r"-hits.csv.gz: cannot be read as CSV")
    monkeypatch.setattr(csv_table, "LARGEST_BYTES", 10_000)
    packed.write_bytes(gzip.compress(bytes(1_000_000)))
    refused(packed, r"-hits.csv.gz: unpacks to more than 10,000 bytes")


# what tables say


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"x": "0", "y": "0"}, r"hit_id 4 lies on the beam axis, where no detector is.*Received: x=0, y=0"),
        ({"x": "1e-200", "y": "0.001"}, r"hit_id 4 lies on the beam axis"),
        ({"x": "1e300"}, r"column 'x', line 5: must be between -1e\+09 and 1e\+09. Received: '1e300'"),
        ({"z": "-inf"}, r"column 'z', line 5: must be a finite number. Received: '-inf'"),
    ],
)
def test_hits_where_no_detector_is(hits: Path, values: dict[str, str], said: str) -> None:
    changed(hits, 5, **values)
    refused(hits, said)


def test_momenta_that_no_particle_has(hits: Path) -> None:
    changed(hits.with_name(f"{EVENT}-particles.csv"), 2, px="1e39")
    refused(hits, r"-particles.csv: column 'px', line 2: must be between .* Received: '1e39'")


@pytest.mark.parametrize(("column", "value"), [("module_id", "4000000000"), ("module_id", "-1"), ("layer_id", "1002")])
def test_modules_that_cannot_be(hits: Path, column: str, value: str) -> None:
    changed(hits.with_name("detectors.csv"), 2, **{column: value})
    refused(hits, rf"detectors.csv: column '{column}': must be 0 to \d+. Received: {value}", TrackmlOptions())


def test_an_unknown_module_is_named_by_its_numbers(hits: Path) -> None:
    changed(hits, 5, module_id="99999")
    refused(
        hits,
        r"detectors.csv: column 'module_id': lacks 1 ids .* the first is volume_id \d, layer_id \d+, module_id 99999 "
        r"\(hit_id 4 of event000001000-hits.csv\)",
        TrackmlOptions(),
    )


def test_cells_that_make_no_feature(hits: Path) -> None:
    path = hits.with_name(f"{EVENT}-cells.csv")
    owners = [line.split(",")[0] for line in path.read_text().splitlines()]
    # a hit of one cell is as long as the pitch, wherever the cell lies
    line, hit = next((n, hit) for n, hit in enumerate(owners, 1) if owners.count(hit) > 1)
    changed(path, line, ch0="4000000000000000000")
    refused(hits, rf"-hits.csv: feature 'lx' of hit_id {hit} is 2e\+17: its tables hold numbers", TrackmlOptions())


def test_hits_cut_at_a_line_end_beside_a_full_truth(hits: Path) -> None:
    lines = hits.read_text().splitlines(keepends=True)
    hits.write_text("".join(lines[:-10]))
    refused(hits, r"-hits.csv: lacks 10 hits that event000001000-truth.csv lists, the first is hit_id \d+; is the file")


def test_hits_of_other_layers_only(hits: Path) -> None:
    names = hits.read_text().splitlines()[0].split(",")
    lines = [line.split(",") for line in hits.read_text().splitlines()[1:]]
    for fields in lines:
        fields[names.index("volume_id")] = "13"
    hits.write_text("\n".join([",".join(names), *(",".join(fields) for fields in lines)]))
    refused(hits, r"none of its hits lies in the layers that data.points.layers: pixel takes \(volumes 7, 8, 9\)")


def test_packed_detectors_as_public_sets_have_them(hits: Path) -> None:
    plain = read_event(hits, TrackmlOptions())
    detectors = hits.with_name("detectors.csv")
    packed = detectors.with_name("detectors.csv.gz")
    packed.write_bytes(gzip.compress(detectors.read_bytes()))
    detectors.unlink()
    np.testing.assert_array_equal(read_event(hits, TrackmlOptions()).features, plain.features)
    kept = np.ones(len(hit_ids(hits, TrackmlOptions())), bool)
    kept[::2] = False
    out = hits.parent / "out"
    filtering.kept_hits(TrackmlReader(), hits, kept, out)
    assert len(read_event(out / hits.name, TrackmlOptions())) == kept.sum()
    assert (out / packed.name).read_bytes() == packed.read_bytes()


# small events

FULL = TrackmlOptions()


def only(hits: Path, chosen: list[str]) -> None:
    """Leave some hits of the event, in every table that lists hits."""
    for table in ("hits", "truth", "cells"):
        path = hits.with_name(f"{EVENT}-{table}.csv")
        header, *lines = path.read_text().splitlines()
        place = header.split(",").index("hit_id")
        path.write_text("\n".join([header, *(line for line in lines if line.split(",")[place] in chosen)]) + "\n")


def owners(hits: Path) -> dict[str, str]:
    """hit_id -> particle_id."""
    header, *lines = hits.with_name(f"{EVENT}-truth.csv").read_text().splitlines()
    places = [header.split(",").index(name) for name in ("hit_id", "particle_id")]
    return {line.split(",")[places[0]]: line.split(",")[places[1]] for line in lines}


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", ["noise", "of particles"])
def test_events_of_a_few_hits_are_read_cut_into_windows_and_paired(hits: Path, count: int, kind: str) -> None:
    chosen = [hit for hit, owner in owners(hits).items() if (owner == "0") == (kind == "noise")][:count]
    only(hits, chosen)
    cloud = read_event(hits, FULL)
    assert len(cloud) == count
    assert cloud.labels.tolist() == [int(kind != "noise")] * count
    assert np.isfinite(cloud.features).all()
    assert not cloud.reconstructable.any() or count == 3
    events = PointSplit(TrackmlReader(FULL, phi_sectors=4, overlap=1.0), [hits], PointOptions(8)).load()
    assert len(events) == 4  # windows without a hit are there, and empty
    assert events.mask.sum() == count
    targets = PairTargets("hept", 16)(events)
    assert np.isfinite(targets).all()
    task = Tracking(PointsConfig(num_pairs=16))
    measured = task.measured(np.zeros((4, 8, 2), np.float32), events)
    assert measured.value is None
    assert "needs a point of a reconstructable particle" in measured.reason


def test_a_particle_of_one_hit_makes_no_pair_and_one_in_three_layers_counts(hits: Path) -> None:
    by_particle: dict[str, list[str]] = {}
    for hit, owner in owners(hits).items():
        by_particle.setdefault(owner, []).append(hit)
    by_particle.pop("0")
    longest = max(by_particle.values(), key=len)
    other = next(found for found in by_particle.values() if found != longest)
    only(hits, [*longest, other[0]])
    cloud = read_event(hits, FULL)
    assert cloud.reconstructable.sum() == len(longest)
    pairs, _ = hept_pairs(cloud)
    lone = int(np.argmax(~cloud.reconstructable))
    assert not any(first == lone and cloud.particle_ids[second] == cloud.particle_ids[lone] for first, second in pairs)


def test_an_event_of_noise_alone_whose_noise_is_left_out(hits: Path) -> None:
    chosen = [hit for hit, owner in owners(hits).items() if owner == "0"][:5]
    only(hits, chosen)
    refused(
        hits,
        r"-hits.csv: all of its 5 hits in the chosen layers are noise.*leave the event",
        replace(PLACE, noise=False),
    )


@pytest.mark.parametrize(("table", "ids"), [("truth", "hit_id"), ("particles", "particle_id"), ("cells", "hit_id")])
def test_a_table_of_its_header_alone_is_named_with_the_way_out(hits: Path, table: str, ids: str) -> None:
    path = hits.with_name(f"{EVENT}-{table}.csv")
    path.write_text(path.read_text().splitlines()[0] + "\n")
    number = len(set(owners(hits).values()) - {"0"}) if table == "particles" else r"\d+"
    said = rf"-{table}.csv: column '{ids}': lacks {number} ids, the first is \d+; is the table cut short, or of another"
    refused(hits, said, FULL)


def test_a_negative_particle(hits: Path) -> None:
    changed(hits.with_name(f"{EVENT}-truth.csv"), 2, particle_id="-1")
    refused(hits, r"-truth.csv: column 'particle_id': must be 0 \(noise\) or the positive id .*Received: -1")


# modules


def test_modules_that_are_there_twice_are_named_by_their_numbers(hits: Path) -> None:
    path = hits.with_name("detectors.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]))
    refused(
        hits,
        r"detectors.csv: a module must be there once; drop one .*Received: volume_id 7, layer_id 2, module_id 1 twice",
        FULL,
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"pitch_u": "-1"},
            r"column 'pitch_u': must be positive, in mm.*Received: -1 of volume_id 7, layer_id 2, module",
        ),
        ({"module_t": "0"}, r"column 'module_t': must be positive, in mm.*features: place.*Received: 0 of"),
        (
            {"rot_xu": "0.2"},
            r"columns 'rot_xu' to 'rot_zw' must hold unit vectors at right angles.*volume_id 7.* 1 in all",
        ),
    ],
)
def test_modules_that_have_no_shape(hits: Path, values: dict[str, str], said: str) -> None:
    changed(hits.with_name("detectors.csv"), 2, **values)
    refused(hits, rf"detectors.csv: {said}", FULL)
    read_event(hits, PLACE)


def test_modules_that_changed_are_read_again_and_no_cache_is_taken(hits: Path) -> None:
    split = PointSplit(TrackmlReader(FULL), [hits], PointOptions(2000, cache=hits.parent / "cache"))
    first = split.load()
    path = hits.with_name("detectors.csv")
    header, *lines = path.read_text().splitlines()
    place = header.split(",").index("pitch_u")
    thicker = [",".join([*f[:place], "0.5", *f[place + 1 :]]) for f in (line.split(",") for line in lines)]
    path.write_text("\n".join([header, *thicker]))
    lx = FEATURE_SETS["tracking"].index("lx")
    np.testing.assert_allclose(split.load().features[..., lx], 10 * first.features[..., lx], rtol=1e-6)


# arrays

GOOD = {"x": np.ones((2, len(COLUMNS)), np.float32), "particle_id": np.zeros(2, np.int32)}


def column(name: str, value: float) -> np.ndarray[Any, Any]:
    x = GOOD["x"].astype(np.float64)
    x[1, COLUMNS.index(name)] = value
    return x


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": np.full((2, 23), "a")}, r"array 'x' must hold real numbers. Received: <U1"),
        ({"x": GOOD["x"] + 1j}, r"array 'x' must hold real numbers. Received: complex64"),
        ({"x": np.zeros((2, 23), "M8[s]")}, r"array 'x' must hold real numbers. Received: datetime64\[s\]"),
        ({"x": np.zeros((2, 23), [("a", "f4")])}, r"array 'x' must hold real numbers. Received: \[\('a'"),
        ({"particle_id": np.array(["a", "b"])}, r"array 'particle_id' must hold real numbers. Received: <U1"),
        ({"particle_id": np.array([0, 2**62])}, r"particle_id must be at most 1e\+15. Received: 4611686018427387904"),
        (
            {"x": column("pt", 1e200)},
            r"column 'pt', row 1: must be between -1e\+09 and 1e\+09 \(units are GeV\). Received: 1e\+200",
        ),
        ({"x": column("dx_0", 1e10)}, r"column 'dx_0', row 1: .*1e\+09 \(units are cm\). Received: 1e\+10"),
        (
            {"x": column("phi", -180)},
            r"column 'phi', row 1: must be between -12.5664 and 12.5664 \(an azimuth in rad\)",
        ),
        ({"x": column("pt", 1e-50)}, r"column 'pt' must be at least 1.2e-38 GeV to be told from 0. Received: 1e-50"),
        ({"x": column("eta", np.inf)}, r"column 'eta', row 1: must be finite. Received: inf"),
        ({"x": column("pt", -0.5)}, r"column 'pt' must be positive. Received: -0.5"),
        (
            {"x": column("layer_0", 11)},
            r"column 'layer_0', row 1: must be the number of a layer, 0 to 10. Received: 11",
        ),
        ({"x": column("layer_1", 12)}, r"column 'layer_1', row 1: .*, 0 to 11. Received: 12"),
        ({"x": column("layer_1", 1.5)}, r"column 'layer_1', row 1: must be the number of a layer.*Received: 1.5"),
        ({"x": np.zeros((0, 23)), "particle_id": np.zeros(0, int)}, r"holds no segment; leave the event out"),
    ],
)
def test_segments_that_cannot_be_used(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "graph_1.npz"
    np.savez(path, **GOOD)
    assert len(read_segments(path)) == 2
    np.savez(path, **(GOOD | changes))
    with pytest.raises(DataError, match=rf"graph_1.npz: {said}"):
        read_segments(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": np.ones((2, 8), complex)}, r"array 'x' must hold real numbers. Received: complex128"),
        ({"charge": np.array(["a", "b"])}, r"array 'charge' must hold real numbers. Received: <U1"),
        ({"charge": np.array([np.nan, 0])}, r"column 'charge', row 0: must be finite. Received: nan"),
        ({"charge": np.array([0, 77])}, r"charge must be -1, 0 or 1. Received: 77"),
        ({"hard_scatter": np.array([2, 0])}, r"hard_scatter must be 0 or 1. Received: 2"),
        ({"hard_scatter": np.array([1e-50, 0])}, r"hard_scatter must be 0 or 1. Received: 1e-50"),
        (
            {"x": np.ones((2, 8)) * [1, 60, 1, 1, 1, 1, 1, 1]},
            r"column 'phi', row 0: must be between -12.5664 and 12.5664 "
            r"\(an azimuth in rad\). Received: 60",
        ),
        (
            {"x": np.ones((2, 8)) * [60, 1, 1, 1, 1, 1, 1, 1]},
            r"column 'eta', row 0: must be between -50 and 50 \(a rap",
        ),
        (
            {"x": np.ones((2, 8)) * [1, 1, 1, 1, 1e-50, 1, 1, 1]},
            r"column 'pt' must be at least 1.2e-38 GeV to be told fr"
            r"om 0. Received: 1e-50; mend or drop the candidate",
        ),
        ({"x": np.full((2, 8), -1.0) * [1, 1, 1, 1, -1, 1, 1, -1]}, r"column 'energy' must be positive. Received: -1"),
        ({"x": np.full((2, 8), 1e39)}, r"column 'eta', row 0: must be between"),
        ({"x": np.ones((0, 8)), "charge": [], "hard_scatter": []}, r"holds no candidate; leave the event out"),
    ],
)
def test_candidates_that_cannot_be_used(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "candidates_1.npz"
    good = {"x": np.ones((2, 8)), "charge": np.zeros(2), "hard_scatter": np.zeros(2)}
    np.savez(path, **good)
    assert len(candidates.read_candidates(path)) == 2
    np.savez(path, **(good | changes))
    with pytest.raises(DataError, match=rf"candidates_1.npz: {said}"):
        candidates.read_candidates(path)


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """An .npy file that promises an array, and nothing behind it."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header((10**12, 23)), r"'x.npy' promises 92,000,000,000,000 bytes and has 0"),
        (header((2, 23), "|O"), r"'x.npy' holds Python objects, which are not read"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, r"cannot be read as arrays \("),
        (b"\x93NUMPY\x09\x00\x10\x00", r"'x.npy' has the unknown version \(9, 0\)"),
        (b"", r"cannot be read as arrays \("),
    ],
)
def test_headers_of_arrays_are_not_believed(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "graph_1.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=rf"graph_1.npz: .*{said}"):
        read_segments(path)


def test_an_array_that_unpacks_to_more_than_any_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LARGEST_BYTES", 1000)
    np.savez_compressed(tmp_path / "graph_1.npz", x=np.zeros((1000, 23)), particle_id=np.zeros(1000, int))
    with pytest.raises(DataError, match=r"'x.npy' unpacks to 184,128 bytes, more than 1,000"):
        read_segments(tmp_path / "graph_1.npz")


# splits


def section(folder: Path, **changes: Any) -> DataConfig:
    globs = {split: (str(folder / f"{split}-*-hits.csv"),) for split in ("train", "val", "test")}
    keys = {"dataset": "trackml", "features": "place", "num_particles": 2000, "points": {"task": "tracking"}}
    return DataConfig.model_validate(keys | globs | changes)


def test_errors_of_a_file_name_its_split(hits: Path) -> None:
    config = section(hits.parent, val=(str(hits),))
    val = open_split(config, "val")
    changed(hits, 5, x="0", y="0")
    for read in (val.load, lambda: list(val.stream(1, 0, 0))):
        with pytest.raises(DataError, match=r"^data.val: .*-hits.csv: hit_id 4 lies on the beam axis"):
            read()


def test_events_with_more_points_than_slots_are_named(hits: Path) -> None:
    config = section(hits.parent, val=(str(hits),), num_particles=10)
    with pytest.raises(DataError, match=r"^data.val: .*-hits.csv: has more points than slots.*num_points=10"):
        open_split(config, "val").load()


def test_files_are_checked_before_anything_heavy(hits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = (str(hits),)
    check_files(section(hits.parent, train=every, val=every, test=every))
    with pytest.raises(DataError, match=r"data.test: no file matches .*make events with qformers generate tracks"):
        check_files(section(hits.parent, train=every, val=every))
    graph = hits.with_name("graph_1.pt")
    graph.write_bytes(b"never read")
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(DataError, match=r"data.train: .*graph_1.pt: reading it needs PyTorch, which is not installed"):
        check_files(section(hits.parent, train=(str(graph),), val=every, test=every))


def test_a_folder_of_packed_events_is_found(tmp_path: Path) -> None:
    build = load(CONFIGS / "hept_tracking_demo.yaml")
    for split in ("train", "val", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"{EVENT}-hits.csv.gz").touch()
    moved = in_folder(build, tmp_path).data
    assert moved.train == (str(tmp_path / "train" / "event*-hits.csv.gz"),)
    (tmp_path / "val" / f"{EVENT}-hits.csv").touch()  # the build's own pattern finds something
    assert in_folder(build, tmp_path).data.val == (str(tmp_path / "val" / "*-hits.csv"),)
