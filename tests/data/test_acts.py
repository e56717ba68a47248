"""Simulated hits of ACTS: the same events as TrackML's tables give, ids of surfaces and particles, what is refused."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tables import changed

from qformers.config.sections import DataConfig
from qformers.data import DataError, open_split, point_dataset
from qformers.data.clouds import POINT_FIELDS, PointCloud
from qformers.data.points import acts_writer, trackml
from qformers.data.points.acts import BARCODE, DETECTORS, GEOMETRY, PARTICLES, ActsOptions, packed, parts, read_event
from qformers.data.points.csv_table import FLOAT, INT, read_table
from qformers.data.points.readers import ActsReader
from qformers.data.points.split import PointOptions, PointSplit
from qformers.evaluate.events import _recognised
from qformers.generate.tracks import run
from qformers.generate.tracks.settings import TrackSettings

EVENT = "event000001000"
ODD, GENERIC = ActsOptions("odd"), ActsOptions("generic")
AS_ODD = {7: (16, 2), 8: (17, 0), 9: (18, 0)}  # volume of TrackML's pixels -> that of the ODD, and how much to add


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hits of an event of TrackML's layout."""
    folder = tmp_path_factory.mktemp("tracks")
    run.generate(TrackSettings(events=1, pileup=2, seed=4, cells=False), folder, 1, "x")
    return folder / "train" / f"{EVENT}-hits.csv"


def as_acts(hits_path: Path, folder: Path, odd: bool = True, in_parts: bool = False) -> Path:
    """The hits of particles of an event as ACTS writes them."""
    hits = read_table(hits_path, trackml.HITS)
    particle = read_table(trackml.beside(hits_path, "truth"), trackml.TRUTH)["particle_id"]
    particles = read_table(trackml.beside(hits_path, "particles"), trackml.PARTICLES)
    real = particle != 0
    hits = {name: values[real] for name, values in hits.items()}
    volume, layer = hits["volume_id"], hits["layer_id"]
    if odd:
        layer = layer + np.array([AS_ODD[v][1] for v in volume.tolist()])
        volume = np.array([AS_ODD[v][0] for v in volume.tolist()])
    surface = {"volume": volume, "layer": layer, "sensitive": hits["module_id"]}
    place = {f"t{x}": hits[x] for x in "xyz"}
    table = {"particle_id": particle[real], **surface, **place}
    return acts_writer.write(folder, 1000, table, particles, in_parts)


@pytest.fixture
def hits(made: Path, tmp_path: Path) -> Path:
    """The hits of an event in the Open Data Detector that a test may damage."""
    return as_acts(made, tmp_path / "odd")


def same(one: PointCloud, other: PointCloud) -> None:
    for name in POINT_FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.event == other.event
    assert one.layout == other.layout


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("odd", [False, True])
def test_the_same_hits_give_the_same_event_as_from_trackml(
    made: Path, tmp_path: Path, odd: bool, in_parts: bool
) -> None:
    expected = trackml.read_event(made, trackml.TrackmlOptions(features="place", noise=False))
    path = as_acts(made, tmp_path, odd, in_parts)
    same(read_event(path, ODD if odd else GENERIC), expected)
    assert ("particle_id_pv" in path.read_text().split("\n")[0]) == in_parts
    packed_path = path.with_name(f"{path.name}.gz")
    for table in tmp_path.glob("*.csv"):
        (tmp_path / f"{table.name}.gz").write_bytes(gzip.compress(table.read_bytes()))
        table.unlink()
    same(read_event(packed_path, ODD if odd else GENERIC), expected)


def test_ids_of_surfaces_are_taken_apart_as_acts_puts_them_together() -> None:
    # the first surfaces of two discs of the Open Data Detector: volume 16, layers 4 and 6
    ids = np.array([1152921779484754177, 1152921916923707649])
    found = {name: values.tolist() for name, values in parts(ids, GEOMETRY).items()}
    assert found == {
        "volume": [16, 16], "boundary": [0, 0], "layer": [4, 6],
        "approach": [0, 0], "sensitive": [1, 1], "extra": [1, 1],
    }  # fmt: skip
    for bits in (GEOMETRY, BARCODE):
        assert sum(count for count, _ in bits.values()) == 64
        random = np.random.default_rng(1).integers(0, 2**63, 50)
        np.testing.assert_array_equal(packed(parts(random, bits), bits), random)
        for number in random[:5].tolist():
            text = f"{number:064b}"
            for name, (count, first) in bits.items():
                assert parts(np.array([number]), bits)[name][0] == int(text[64 - first - count : 64 - first], 2)


def test_layers_are_numbered_through_from_the_backward_discs_to_the_forward_ones() -> None:
    for name, sizes in DETECTORS.items():
        assert [sum(map(len, sizes[layers].values())) for layers in ("pixel", "all")] == [18, 48], name


def test_strips_are_read_where_all_layers_are(hits: Path) -> None:
    strip = packed({"volume": np.array([24]), "layer": np.array([4]), "sensitive": np.array([7])}, GEOMETRY)[0]
    changed(hits, 4, geometry_id=str(strip))
    pixel, every = read_event(hits, ODD), read_event(hits, ActsOptions("odd", layers="all"))
    assert len(every) == len(pixel) + 1
    assert every.layers[2] == 18 + 6 + 1  # after the pixels and volume 23, the second layer of volume 24
    assert pixel.layers.max() < 18


def test_the_hard_scatter_is_the_first_primary_vertex(made: Path, tmp_path: Path) -> None:
    pv = np.array([1, 1, 2, 3, 0])
    of = packed({"particle_id_pv": pv, "particle_id_part": np.array([4, 5, 4, 4, 0])}, BARCODE)
    table: dict[str, Any] = dict.fromkeys(("tx", "ty", "tz"), np.full(5, 20.0))
    table |= {"volume": np.full(5, 17), "layer": np.full(5, 2), "sensitive": np.arange(1, 6), "particle_id": of}
    known = {"particle_id": of[:4], "px": np.arange(1.0, 5.0), "py": np.zeros(4), "pz": np.zeros(4)}
    path = acts_writer.write(tmp_path, 3, table, known)
    cloud = read_event(path, ActsOptions("odd", task="pileup"))
    assert cloud.layout.classes == ("pileup", "hard_scatter")
    assert cloud.labels.tolist() == [1, 1, 0, 0, 0]
    assert cloud.pt.tolist() == [1, 2, 3, 4, 0]
    assert cloud.particle_ids.tolist() == [*of[:4].tolist(), -1]
    assert read_event(path, ODD).labels.tolist() == [1, 1, 1, 1, 0]


@pytest.mark.parametrize("stem", PARTICLES)
def test_any_of_the_tables_of_particles_will_do_and_the_simulated_come_first(hits: Path, stem: str) -> None:
    expected = read_event(hits, ODD)
    table = hits.with_name(f"{EVENT}-particles_simulated.csv")
    for other in PARTICLES[PARTICLES.index(stem) + 1 :]:
        hits.with_name(f"{EVENT}-{other}.csv").write_text("never read")
    table.rename(hits.with_name(f"{EVENT}-{stem}.csv"))
    same(read_event(hits, ODD), expected)


def test_columns_in_another_order_and_further_ones_change_nothing(hits: Path) -> None:
    expected = read_event(hits, ODD)
    for path in hits.parent.iterdir():
        rows = [line.split(",")[::-1] for line in path.read_text().splitlines()]
        marked = [["" if n == 0 else str(n), *row] for n, row in enumerate(rows)]
        path.write_text("\n".join(map(",".join, marked)))
    same(read_event(hits, ODD), expected)


def cut_header(path: Path) -> None:
    path.write_text(path.read_text().splitlines()[0] + "\n")


def old_parts(path: Path) -> None:
    """Barcodes in parts, one of which does not fit."""
    path.write_text("particle_id_pv,particle_id_sv,particle_id_part,particle_id_gen,particle_id_subpart,"
                    "geometry_id,tx,ty,tz\n4000,0,1,0,0,1152921779484754177,1,2,3\n")  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_header, r"-hits.csv: holds no hit; leave the event out"),
        (lambda path: path.write_text(""), r"-hits.csv: is empty: its first line must name the columns"),
        (lambda path: changed(path, 3, tx="nan"), r"-hits.csv: column 'tx', line 3: must be a finite number. .*'nan'"),
        (lambda path: changed(path, 3, tx="0", ty="0"), r"hit_id 1 lies on the beam axis.*Received: x=0, y=0"),
        (lambda path: changed(path, 3, geometry_id="1e18"), r"'geometry_id', line 3: must be an integer. .*'1e18'"),
        (lambda path: changed(path, 3, geometry_id="-1"), r"column 'geometry_id', line 3: names volume 255 and layer"),
        (
            lambda path: changed(path, 3, geometry_id="1945555039024054528"),  # of the newer geometry of the ODD
            r"'geometry_id', line 3: names volume 27 and layer \d+, which the detector 'odd' does not have "
            r"\(volumes 16, 17, 18, 23.*take the data set of the detector.*Received: 1945555039024054528, and 1 such",
        ),
        (lambda path: changed(path, 3, particle_id="-5"), r"column 'particle_id', line 3: must be 0 or positive.*: -5"),
        (
            lambda path: changed(path, 3, particle_id="77"),
            r"-particles_simulated.csv: column 'particle_id': lacks 1 ids, the first is 77; is the table cut short, or "
            rf"of another event than {EVENT}-hits.csv",
        ),
        (old_parts, r"column 'particle_id_pv': must be 0 to 2047. Received: 4000; particles with such numbers"),
    ],
)
def test_hits_that_cannot_be_used(hits: Path, damage: Callable[[Path], Any], said: str) -> None:
    damage(hits)
    with pytest.raises(DataError, match=said):
        read_event(hits, ODD)


def test_particles_that_cannot_be_used(hits: Path) -> None:
    path = hits.with_name(f"{EVENT}-particles_simulated.csv")
    text = path.read_text()
    path.write_text(text + text.splitlines()[1])
    with pytest.raises(DataError, match=r"-particles_simulated.csv: column 'particle_id': must be unique"):
        read_event(hits, ODD)
    path.write_text(text.replace(",px,", ",p_x,"))
    with pytest.raises(DataError, match=r"-particles_simulated.csv: column 'px' is missing; did you mean 'p_x'"):
        read_event(hits, ODD)
    path.unlink()
    with pytest.raises(
        DataError, match=r"-particles_simulated.csv is missing: it holds the momentum .*so may particles_i"
    ):
        read_event(hits, ODD)


def test_strips_alone_and_other_names(hits: Path) -> None:
    table = {name: np.array([value]) for name, value in {"volume": 24, "layer": 4, "sensitive": 1}.items()}
    table |= {"particle_id": np.array([1]), **dict.fromkeys(("tx", "ty", "tz"), np.ones(1))}
    known = {"particle_id": np.array([1]), **dict.fromkeys(("px", "py", "pz"), np.ones(1))}
    path = acts_writer.write(hits.parent / "strips", 1, table, known)
    with pytest.raises(DataError, match=r"none of its hits lies in the layers .* pixel takes \(volumes 16, 17, 18\)"):
        read_event(path, ODD)
    assert len(read_event(path, ActsOptions("odd", layers="all"))) == 1
    with pytest.raises(DataError, match=r"hits.csv: an event of TrackML or ACTS is named by its hits"):
        read_event(path.rename(path.with_name("hits.csv")), ODD)
    with pytest.raises(ValueError, match=r"'layer': must be 0 to 4095. Received: 4096"):
        acts_writer.write(hits.parent, 1, table | {"layer": np.array([4096])}, known)


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [
        ("detector", "odf", "odd"),
        ("features", "plac", "place"),
        ("layers", "pixels", "pixel"),
        ("task", "trackin", "tr"),
    ],
)
def test_unknown_options_are_refused_with_the_nearest(key: str, value: str, nearest: str) -> None:
    options: dict[str, Any] = {"detector": "odd", key: value}
    section = {"detector": "", "features": "data."}.get(key, "data.points.")
    words = rf"^{section}{key}: simulated hits of ACTS have no {key} '{value}'.*'{nearest}"
    with pytest.raises(DataError, match=words):
        ActsOptions(**options)


def test_hits_of_trackml_and_of_acts_are_told_apart(made: Path, hits: Path) -> None:
    with pytest.raises(DataError, match=r"'geometry_id' is there: these are simulated hits of ACTS, which .*acts_odd"):
        trackml.read_event(hits, trackml.TrackmlOptions(features="place"))
    with pytest.raises(DataError, match=r"'hit_id' is there: these are hits of TrackML, which data.dataset: trackml"):
        read_event(made, ODD)
    assert (_recognised([made]), _recognised([hits])) == ("trackml", "acts_odd")
    for name in ("acts_odd", "acts_generic"):
        assert point_dataset(name).holds(hits)
        assert not point_dataset(name).holds(made)


def test_a_build_reads_them_in_windows_and_a_cache_follows_the_particles(hits: Path) -> None:
    splits = {split: (str(hits),) for split in ("train", "val", "test")}
    tree = {"dataset": "acts_odd", "features": "place", "num_particles": 2000, "cache": str(hits.parent / "cache")}
    points = {"task": "tracking", "phi_sectors": 4, "overlap": 1.0}
    config = DataConfig.model_validate(tree | splits | {"points": points})
    events: Any = open_split(config, "train").load()
    assert events.features.shape == (4, 2000, 7)
    assert events.mask.sum() == len(read_event(hits, ODD))
    path = hits.with_name(f"{EVENT}-particles_simulated.csv")
    header, *lines = path.read_text().splitlines()
    fields = [line.split(",") for line in lines]
    for row in fields:
        for name in ("px", "py"):
            place = header.split(",").index(name)
            row[place] = str(2 * float(row[place]))
    path.write_text("\n".join([header, *map(",".join, fields)]) + "\n")
    again: Any = open_split(config, "train").load()
    np.testing.assert_allclose(again.pt, 2 * events.pt, rtol=1e-6)
    with pytest.raises(DataError, match=r"data.features: simulated hits of ACTS have no features 'tracking'"):
        open_split(config.model_copy(update={"features": "tracking"}), "train")


def test_kept_hits_are_a_data_set_again(hits: Path) -> None:
    strip = packed({"volume": np.array([24]), "layer": np.array([4]), "sensitive": np.array([7])}, GEOMETRY)[0]
    changed(hits, 4, geometry_id=str(strip))
    reader = ActsReader(ODD)
    cloud = reader.event(hits)
    kept = np.random.default_rng(1).random(len(cloud)) < 0.5
    shutil.copyfile(hits, hits.with_name(f"{EVENT}-measurements.csv"))
    written = point_dataset("acts_odd").write(reader, hits, kept, hits.parent / "kept")
    assert {path.name for path in written.parent.iterdir()} == {f"{EVENT}-hits.csv", f"{EVENT}-particles_simulated.csv"}
    np.testing.assert_array_equal(reader.event(written).features, cloud.features[kept])
    assert len(ActsReader(ActsOptions("odd", layers="all")).event(written)) == kept.sum() + 1  # not judged: stays
    source = set(hits.read_text().splitlines())
    assert set(written.read_text().splitlines()) < source


@pytest.mark.parametrize("count", [1, 2])
def test_events_of_a_few_hits(hits: Path, count: int) -> None:
    lines = hits.read_text().splitlines()
    hits.write_text("\n".join(lines[: count + 1]))
    events = PointSplit(ActsReader(ODD, phi_sectors=3, overlap=1.0), [hits], PointOptions(4)).load()
    assert (len(events), events.mask.sum()) == (3, count)
    assert not events.reconstructable.any()


def test_written_columns_are_those_of_acts(hits: Path) -> None:
    assert hits.read_text().split("\n")[0] == (
        "particle_id,geometry_id,tx,ty,tz,tt,tpx,tpy,tpz,te,deltapx,deltapy,deltapz,deltae,index"
    )
    table = read_table(hits, {"particle_id": INT, "geometry_id": INT, "tt": FLOAT})
    assert (table["tt"] == 0).all()
