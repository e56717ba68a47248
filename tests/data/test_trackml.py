"""Reading TrackML tables: features beside their definition, layers, ids, regions, and errors that say where."""

import csv
import gzip

import numpy as np
import pytest

from qformers.data.clouds import POINT_FIELDS
from qformers.data.points.csv_table import FLOAT, INT, read_table
from qformers.data.points.hit_features import FEATURE_SETS, cluster
from qformers.data.points.regions import regions
from qformers.data.points.trackml import TrackmlOptions, read_event
from qformers.errors import DataError
from qformers.generate.tracks import run
from qformers.generate.tracks.geometry import DETECTORS, module_rows
from qformers.generate.tracks.settings import TrackSettings

EVENT = "event000001000"
KEY = ("volume_id", "layer_id", "module_id")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracks")
    run.generate(TrackSettings(events=1, pileup=3, seed=4), folder, 1, "x")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy that a test may damage."""
    for path in (*made.glob("train/*.csv"), made / "detectors.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def rows(path):
    with path.open() as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def test_the_15_features_equal_their_definition(folder):
    cloud = read_event(folder / f"{EVENT}-hits.csv", TrackmlOptions())
    hits, all_cells = rows(folder / f"{EVENT}-hits.csv"), rows(folder / f"{EVENT}-cells.csv")
    modules = {(m["volume_id"], m["layer_id"], m["module_id"]): m for m in rows(folder / "detectors.csv")}
    layer = {(7, 2 + 2 * i): i for i in range(7)} | {(8, 2 + 2 * i): 7 + i for i in range(4)}
    layer |= {(9, 2 + 2 * i): 11 + i for i in range(7)}
    for i in np.random.default_rng(0).permutation(len(hits))[:40]:
        hit = hits[i]
        cells = [c for c in all_cells if c["hit_id"] == hit["hit_id"]]
        module = modules[hit["volume_id"], hit["layer_id"], hit["module_id"]]
        r, phi = np.hypot(hit["x"], hit["y"]), np.arctan2(hit["y"], hit["x"])
        eta = -np.log(np.tan(np.arctan2(r, hit["z"]) / 2))
        lx = (max(c["ch0"] for c in cells) - min(c["ch0"] for c in cells) + 1) * module["pitch_u"]
        ly = (max(c["ch1"] for c in cells) - min(c["ch1"] for c in cells) + 1) * module["pitch_v"]
        local = np.array([lx, ly, 2 * module["module_t"]])
        turned = np.array([[module[f"rot_{x}{u}"] for u in "uvw"] for x in "xyz"]) @ local

        def direction(v):
            return -np.log(np.tan(np.arccos(v[2] / np.linalg.norm(v)) / 2)), np.arctan2(v[1], v[0])

        number = layer[int(hit["volume_id"]), int(hit["layer_id"])]
        expected = [r / 1000, phi / np.pi, hit["z"] / 1000, eta, hit["x"] / r**2 / 0.001, hit["y"] / r**2 / 0.001]
        expected += [np.mean([c["value"] for c in cells]), *direction(local), *local, *direction(turned), number / 10]
        assert cloud.features[i] == pytest.approx(expected, rel=1e-5, abs=1e-5)
        assert cloud.coords[i] == pytest.approx([eta, phi, r / 1000, phi / np.pi, hit["z"] / 1000, eta], rel=1e-5)
        assert cloud.layers[i] == number


def test_the_order_of_columns_an_index_and_further_columns_change_nothing(folder):
    """As public files have them: pandas writes an unnamed index, `particle_type` is not in all of them."""
    path = folder / f"{EVENT}-hits.csv"
    plain = read_event(path, TrackmlOptions())
    rng = np.random.default_rng(2)
    for table in (path, *(folder / f"{EVENT}-{name}.csv" for name in ("truth", "cells", "particles"))):
        rewrite(table, table, rng)
    rewrite(folder / "detectors.csv", folder / "detectors.csv.gz", rng)
    (folder / "detectors.csv").unlink()
    turned = read_event(path, TrackmlOptions())
    for name in POINT_FIELDS:
        np.testing.assert_array_equal(getattr(turned, name), getattr(plain, name))


def rewrite(source, target, rng):
    """A table with its columns and rows in another order, an unnamed index and a column of text."""
    with source.open() as stream:
        lines = list(csv.DictReader(stream))
    names = rng.permutation(list(lines[0])).tolist()
    text = ",".join(["", *names, "particle_type"]) + "\n"
    for number in rng.permutation(len(lines)):
        text += ",".join([str(number), *(lines[number][name] for name in names), "pi+"]) + "\n"
    target.write_bytes(gzip.compress(text.encode()) if target.suffix == ".gz" else text.encode())


def test_the_table_of_the_generator_and_its_file_give_the_same_features(folder):
    modules = list(module_rows(DETECTORS["pixel"]))
    table = {name: np.array([row[name] for row in modules]) for name in modules[0]}
    where = {(m["volume_id"], m["layer_id"], m["module_id"]): i for i, m in enumerate(modules)}
    path = folder / f"{EVENT}-hits.csv"
    hits = {name: np.array([row[name] for row in rows(path)]) for name in ("hit_id", *KEY)}
    cells = rows(folder / f"{EVENT}-cells.csv")
    row = np.array([where[key] for key in zip(*(hits[name] for name in KEY), strict=True)])
    made = cluster(hits, {name: np.array([c[name] for c in cells]) for name in cells[0]}, table, row)
    cloud = read_event(path, TrackmlOptions())
    for name, values in made.items():
        read = cloud.features[:, FEATURE_SETS["tracking"].index(name)]
        assert read == pytest.approx(values, rel=1e-6, abs=1e-6), name


def test_clusters_point_along_the_true_momentum(folder):
    """In the module's frame a track covers |p_u / p_w| of the depth along u; cells show it to within one and a bit.

    A transposed or misread rotation does not pass.
    """
    cloud = read_event(folder / f"{EVENT}-hits.csv", TrackmlOptions(noise=False))
    truth = {row["hit_id"]: row for row in rows(folder / f"{EVENT}-truth.csv")}
    modules = {tuple(m[name] for name in KEY): m for m in rows(folder / "detectors.csv")}
    hits = [hit for hit in rows(folder / f"{EVENT}-hits.csv") if truth[hit["hit_id"]]["particle_id"]]
    names = FEATURE_SETS["tracking"]
    missed, turned = [], []
    for hit, features in zip(hits, cloud.features, strict=True):
        module = modules[tuple(hit[name] for name in KEY)]
        momentum = np.array([truth[hit["hit_id"]][name] for name in ("tpx", "tpy", "tpz")])
        axes = np.array([[module[f"rot_{x}{u}"] for x in "xyz"] for u in "uvw"])  # rows u, v, w
        across, along, through = axes @ momentum
        depth = module["module_t"] * (1 if hit["volume_id"] == 8 else 2)  # the sensor's depth that charge comes from
        for side, extent, pitch in ((across, "lx", "pitch_u"), (along, "ly", "pitch_v")):
            cells = features[names.index(extent)] / module[pitch]
            missed.append(cells - abs(side / through) * depth / module[pitch])
        # the cluster has no sign: of the four directions that it can mean, one is the track's, with lz for its depth
        u, v = (features[names.index(name)] for name in ("lx", "ly"))
        w = features[names.index("lz")] * depth / (2 * module["module_t"])
        local = np.array([np.copysign(u, across * through), np.copysign(v, along * through), w])
        cosine = abs(np.dot(axes.T @ local, momentum)) / np.linalg.norm(local) / np.linalg.norm(momentum)
        turned.append(np.degrees(np.arccos(min(cosine, 1.0))))
    assert np.quantile(np.abs(missed), 0.95) < 2.0
    assert np.median(turned) < 13.0
    assert np.quantile(turned, 0.95) < 30.0


def test_particles_and_labels(folder):
    path = folder / f"{EVENT}-hits.csv"
    cloud = read_event(path, TrackmlOptions())
    truth = rows(folder / f"{EVENT}-truth.csv")
    known = {row["particle_id"]: row for row in rows(folder / f"{EVENT}-particles.csv")}
    vertex = {row["particle_id"]: row["vertex_id"] for row in rows(folder / f"{EVENT}-vertices.csv")}
    pile_up = read_event(path, TrackmlOptions(task="pileup", features="place"))
    assert pile_up.features.shape[1] == len(FEATURE_SETS["place"]) == 7
    assert pile_up.layout.classes == ("pileup", "hard_scatter")
    for i, row in enumerate(truth):
        particle = row["particle_id"]
        if particle == 0:
            assert (cloud.particle_ids[i], cloud.pt[i], cloud.labels[i], cloud.reconstructable[i]) == (-1, 0, 0, False)
            assert pile_up.labels[i] == 0
            continue
        assert cloud.particle_ids[i] == particle
        assert cloud.pt[i] == pytest.approx(np.hypot(known[particle]["px"], known[particle]["py"]), rel=1e-6)
        layers = {cloud.layers[j] for j in range(len(truth)) if truth[j]["particle_id"] == particle}
        assert cloud.reconstructable[i] == (len(layers) >= 3)
        assert pile_up.labels[i] == (vertex[particle] == 0)
    assert 0 < pile_up.labels.mean() < cloud.labels.mean() < 1
    quiet = read_event(path, TrackmlOptions(noise=False))
    assert len(quiet) == cloud.labels.sum()


def test_hits_outside_the_pixel_layers_are_left_out(folder):
    path = folder / f"{EVENT}-hits.csv"
    lines = path.read_text().splitlines()
    fields = lines[5].split(",")
    lines[5] = ",".join([*fields[:4], "13", "4", "1"])
    path.write_text("\n".join(lines) + "\n")
    pixel = read_event(path, TrackmlOptions(features="place"))
    every = read_event(path, TrackmlOptions(features="place", layers="all"))
    assert len(every) == len(pixel) + 1 == len(lines) - 1
    assert every.layers[4] == 18 + 6 + 1  # after the pixels and volume 12, the second layer of volume 13


def test_gzip_and_long_ids_are_read_exactly(folder):
    for path in folder.glob("*.csv"):
        if path.name != "detectors.csv":
            (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    plain = read_event(folder / f"{EVENT}-hits.csv", TrackmlOptions())
    packed = read_event(folder / f"{EVENT}-hits.csv.gz", TrackmlOptions())
    assert (plain.features == packed.features).all()
    path = folder / "ids.csv"
    path.write_text("hit_id,particle_id\n1,968286151951515649\n2,968286151951515648\n")
    table = read_table(path, {"particle_id": INT})  # 18 digits: a float would make them equal
    assert table["particle_id"].tolist() == [968286151951515649, 968286151951515648]


def damage(folder, table, line, column, value):
    path = folder / f"{EVENT}-{table}.csv"
    lines = path.read_text().splitlines()
    fields = lines[line - 1].split(",")
    fields[lines[0].split(",").index(column)] = value
    lines[line - 1] = ",".join(fields)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("table", "line", "column", "value", "message"),
    [
        ("hits", 7, "x", "abc", r"-hits.csv: column 'x', line 7: must be a finite number. Received: 'abc'"),
        ("hits", 3, "y", "nan", r"-hits.csv: column 'y', line 3: must be a finite number. Received: 'nan'"),
        ("hits", 4, "layer_id", "2.5", r"column 'layer_id', line 4: must be an integer. Received: '2.5'"),
        ("hits", 1, "module_id", "modul_id", r"-hits.csv: column 'module_id' is missing; did you mean 'modul_id'"),
        ("hits", 4, "hit_id", "2", r"-hits.csv: column 'hit_id': must be unique. Received: 2 twice"),
        ("truth", 2, "hit_id", "900000", r"-truth.csv: column 'hit_id': lacks 1 ids, the first is 1"),
        ("truth", 2, "particle_id", "77", r"-particles.csv: column 'particle_id': lacks 1 ids, the first is 77"),
        ("hits", 2, "module_id", "99999", r"detectors.csv: column 'module_id': lacks 1 ids"),
    ],
)
def test_wrong_values_are_refused_with_file_column_and_line(folder, table, line, column, value, message):
    damage(folder, table, line, column, value)
    with pytest.raises(DataError, match=message):
        read_event(folder / f"{EVENT}-hits.csv", TrackmlOptions())


def test_files_that_are_missing_or_cut_short_are_named(folder):
    path = folder / f"{EVENT}-hits.csv"
    (folder / "detectors.csv").rename(folder / "other.csv")
    with pytest.raises(DataError, match=r"detectors.csv is missing here and in the folder above.*take features: place"):
        read_event(path, TrackmlOptions())
    (folder / f"{EVENT}-cells.csv").unlink()
    with pytest.raises(
        DataError, match=r"-cells.csv is missing: it holds what the cluster features.*or take features: place"
    ):
        read_event(path, TrackmlOptions())
    (folder / f"{EVENT}-vertices.csv").unlink()
    with pytest.raises(DataError, match=r"-vertices.csv is missing: TrackML's own events do not tell pile-up"):
        read_event(path, TrackmlOptions(features="place", task="pileup"))
    text = path.read_text()
    path.write_text(text[: len(text) // 2].rsplit(",", 2)[0])
    with pytest.raises(DataError, match=r"-hits.csv: line \d+: must have 7 fields, as the header has.*Received: [1-6]"):
        read_event(path, TrackmlOptions(features="place"))
    path.write_text(text.splitlines()[0] + "\n")
    with pytest.raises(DataError, match=r"-hits.csv: holds no hit; leave the event out"):
        read_event(path, TrackmlOptions(features="place"))
    with pytest.raises(DataError, match=r"none-hits.csv: an event of TrackML or ACTS is named by its hits"):
        read_event(folder / "none-hits.csv", TrackmlOptions())
    with pytest.raises(DataError, match=r"event000000001-hits.csv: cannot be read as CSV"):
        read_event(folder / "event000000001-hits.csv", TrackmlOptions())


@pytest.mark.parametrize(("key", "value"), [("features", "trackin"), ("layers", "pixels"), ("task", "pile_up")])
def test_unknown_options_are_refused_with_the_nearest(key, value):
    section = "data." if key == "features" else "data.points."
    with pytest.raises(DataError, match=rf"^{section}{key}: TrackML has no {key} '{value}'; did you mean"):
        TrackmlOptions(**{key: value})


def test_regions_share_out_the_points(folder):
    cloud = read_event(folder / f"{EVENT}-hits.csv", TrackmlOptions())
    exact = regions(cloud, 10, overlap=1.0)
    assert sum(len(part) for part in exact) == len(cloud)
    wide = regions(cloud, 10)
    assert all(len(b) >= len(a) for a, b in zip(exact, wide, strict=True))
    ids = np.unique(cloud.particle_ids[cloud.reconstructable])
    owners = {p: sum(p in part.particle_ids[part.reconstructable] for part in wide) for p in ids}
    assert max(owners.values()) <= 2  # two only where exactly half of the points lie on either side
    assert np.mean([n == 1 for n in owners.values()]) > 0.9
    windows = regions(cloud, 4, np.linspace(-4, 4, 9), overlap=1.0)
    assert len(windows) == 32
    with pytest.raises(DataError, match=r"phi_sectors=0, overlap=1.1, eta_edges=\[\]"):
        regions(cloud, 0)


def test_local_coordinates_are_counted_from_the_middle_of_the_window(folder):
    cloud = read_event(folder / f"{EVENT}-hits.csv", TrackmlOptions())
    edges = (-4.0, 0.0, 4.0)
    here, there = regions(cloud, 10, edges, local=True), regions(cloud, 10, edges)
    across = 0  # windows that the seam of phi runs through
    for number, (own, whole) in enumerate(zip(here, there, strict=True)):
        sector, low = divmod(number, 2)
        np.testing.assert_array_equal(own.features, whole.features)
        np.testing.assert_array_equal(own.coords[:, 2:5], whole.coords[:, 2:5])
        np.testing.assert_allclose(
            own.coords[:, [0, 5]], whole.coords[:, [0, 5]] - (-2.0 if low == 0 else 2.0), atol=1e-6
        )
        assert np.abs(own.coords[:, 1]).max(initial=0) <= 1.1 * np.pi / 10 + 1e-6
        turned = np.exp(1j * (own.coords[:, 1] + 2 * np.pi * sector / 10))
        np.testing.assert_allclose(turned, np.exp(1j * whole.coords[:, 1].astype(float)), atol=1e-5)
        across += np.ptp(whole.coords[:, 1]) > np.pi if len(whole) else 0
    assert across > 0


def test_a_float_column_and_an_empty_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n")
    assert read_table(path, {"a": FLOAT})["a"].shape == (0,)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_table(path, {"a": FLOAT})
