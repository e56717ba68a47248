"""Splits of per-point data sets: counting, streams, cache; and the particle-level pile-up task."""

import numpy as np
import pytest

from qformers.cli import generate as top
from qformers.data.clouds import PointCloud, PointLayout
from qformers.data.points import candidates
from qformers.data.points.line_segments import FAKE, Segments, write_segments
from qformers.data.points.readers import CandidateReader, SegmentReader, TrackmlReader
from qformers.data.points.regions import regions
from qformers.data.points.segment_features import Lda
from qformers.data.points.split import PointOptions, PointSplit
from qformers.data.points.trackml import TrackmlOptions
from qformers.errors import DataError
from qformers.generate.tracks import run
from qformers.generate.tracks.candidates import make_candidates, write_candidates
from qformers.generate.tracks.settings import TrackSettings

FIELDS = ("features", "coords", "mask", "labels", "particle_ids", "pt", "reconstructable", "events")


@pytest.fixture(scope="module")
def hits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hits")
    run.generate(TrackSettings(events=5, pileup=1, seed=4, cells=False), folder, 1, "x")
    return sorted(folder.glob("*/*-hits.csv"))


READER = TrackmlReader(TrackmlOptions(features="place"), phi_sectors=8)


def source(paths, **options):
    return PointSplit(READER, paths, PointOptions(**{"num_points": 400, **options}), "train")


def rows(events):
    """Each cloud as bytes, so that sets of them can be compared."""
    return [b"".join(getattr(events, name)[i].tobytes() for name in FIELDS) for i in range(len(events))]


def test_a_stream_gives_every_cloud_once_in_an_order_of_seed_and_epoch(hits):
    one = source(hits, shuffle_clouds=10)
    assert len(one) == 40
    whole = one.load()
    assert whole.features.shape == (40, 400, 7)
    assert whole.class_names == one.class_names == ("noise", "particle")
    batches = list(one.stream(6, seed=1, epoch=0, drop_last=False))
    assert [len(b) for b in batches] == [6] * 6 + [4]
    streamed = [row for b in batches for row in rows(b)]
    assert sorted(streamed) == sorted(rows(whole))
    assert streamed != rows(whole)
    again = [row for b in one.stream(6, 1, 0, drop_last=False) for row in rows(b)]
    assert again == streamed
    other = [row for b in one.stream(6, 1, 1, drop_last=False) for row in rows(b)]
    assert other != streamed
    assert len(list(one.stream(6, 1, 0))) == 6


def test_the_cache_gives_the_same_and_is_made_again_when_it_is_damaged(hits, tmp_path, monkeypatch):
    plain = source(hits[:2]).load()
    cached = source(hits[:2], cache=tmp_path / "c")
    assert rows(cached.load()) == rows(plain)
    files = sorted((tmp_path / "c").iterdir())
    assert len(files) == 2
    reads, read = [], TrackmlReader.read
    monkeypatch.setattr(TrackmlReader, "read", lambda self, path: reads.append(path) or read(self, path))
    assert rows(source(hits[:2], cache=tmp_path / "c").load()) == rows(plain)
    assert reads == []
    victim = files[0] / "features.npy"
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert rows(source(hits[:2], cache=tmp_path / "c").load()) == rows(plain)
    assert [path.name.split(".")[0] for path in reads] == [files[0].name.rsplit("-", 1)[0]]
    assert rows(source(hits[:2], cache=tmp_path / "c").load()) == rows(plain)
    assert len(reads) == 1
    finer = PointSplit(
        TrackmlReader(TrackmlOptions(features="place"), phi_sectors=4),
        hits[:2],
        PointOptions(num_points=800, cache=tmp_path / "c"),
    )
    assert len(finer.load()) == 8  # another key, never the old arrays


def test_wrong_numbers_are_refused(hits):
    with pytest.raises(DataError, match=r"data.train: no file; name some"):
        source([])
    with pytest.raises(DataError, match=r"Received: num_points=0, shuffle_clouds=2000"):
        source(hits, num_points=0)
    with pytest.raises(DataError, match=r"has more points than slots.*num_points=3"):
        source(hits, num_points=3).load()
    assert source(hits, num_points=3, overflow="cut").load().mask.sum() > 0
    with pytest.raises(DataError, match=r"has 40 events or regions, fewer than one batch of 41"):
        source(hits).stream(41, 0, 0)
    with pytest.raises(DataError, match=r"batch_size must be positive. Received: batch_size=0"):
        source(hits).stream(0, 0, 0)
    assert len(source(hits, max_files=2)) == 16


def test_a_window_reader_counts(hits):
    reader = TrackmlReader(TrackmlOptions(features="place"), phi_sectors=4, eta_edges=(-2.0, 0.0, 2.0))
    assert len(reader.read(hits[0])) == reader.per_file == 8
    whole = TrackmlReader(TrackmlOptions(features="place"))
    assert len(whole.read(hits[0])) == whole.per_file == 1


def test_line_segments_come_as_points(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random((30, 23)).astype(np.float32)
    x[:, -2:] = rng.integers(1, 11, (30, 2))  # layers
    ids = np.where(np.arange(30) % 3 == 0, FAKE, np.arange(30) % 4)
    write_segments(tmp_path / "graph_5.npz", Segments(x, ids, 5))
    lda = Lda(rng.normal(size=(24, 7)), (1.0,) * 7)
    lda.save(tmp_path / "lda.json")
    for fitted in (lda, tmp_path / "lda.json"):
        made = PointSplit(SegmentReader(fitted), [tmp_path / "graph_5.npz"], PointOptions(32, cache=tmp_path)).load()
        assert made.features.shape == (1, 32, 24)
        assert made.coords.shape == (1, 32, 7)
        assert made.labels.sum() == 20
        assert (made.particle_ids[0, :30] == np.where(ids == FAKE, -1, ids + 5_000_000)).all()
    tracking = SegmentReader(lda, "tracking", fakes_per_true=0.25)
    first, second = (tracking.read(tmp_path / "graph_5.npz")[0] for _ in range(2))
    assert (len(first), first.labels.sum()) == (25, 20)
    assert (first.features == second.features).all()


def test_line_segments_come_in_windows_of_their_own_directions(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random((40, 23)).astype(np.float32)
    x[:, 0], x[:, 1] = rng.uniform(-np.pi, np.pi, 40), rng.uniform(-2, 2, 40)
    x[:, -2:] = 3.0  # layers
    write_segments(tmp_path / "graph_5.npz", Segments(x, np.arange(40) % 5 - 1, 5))
    lda = Lda(rng.normal(size=(24, 7)), (1.0,) * 7)
    whole = SegmentReader(lda)
    cut = SegmentReader(lda, phi_sectors=4, eta_edges=(-2.0, 0.0, 2.0), overlap=1.0)
    windows = cut.read(tmp_path / "graph_5.npz")
    assert len(windows) == cut.per_file == 8
    assert whole.key() != cut.key()
    (event,) = whole.read(tmp_path / "graph_5.npz")
    for row, phi, eta in zip(event.coords, x[:, 0], x[:, 1], strict=True):  # in the one window it is seen from
        sector = round(phi / (np.pi / 2)) % 4
        mine = [n for n, window in enumerate(windows) if (window.coords == row).all(axis=1).any()]
        assert mine == [2 * sector + int(eta >= 0)]


def test_points_without_a_direction_are_not_cut():
    layout = PointLayout(("a",), ("x", "y"), ("fake", "true"))
    zeros, whole = np.zeros(3, np.float32), np.zeros(3, np.int64)
    cloud = PointCloud(
        zeros[:, None], np.zeros((3, 2), np.float32), whole, whole, zeros, zeros, whole > 0, whole, 1, layout
    )
    with pytest.raises(
        DataError, match=r"need the coordinates eta and phi.* take whole events .*Received: .* x, y; .* a$"
    ):
        regions(cloud, 4)


SMALL = TrackSettings(events=3, pileup=10, seed=1)


def test_candidates_have_the_numbers_that_belong_together():
    x, charge, hard = (make_candidates(SMALL, 0)[name] for name in ("x", "charge", "hard_scatter"))
    eta, phi, px, py, pt, energy, rapidity, kind = x.T.astype(np.float64)
    assert np.hypot(px, py) == pytest.approx(pt, rel=1e-5)
    assert np.arctan2(py, px) == pytest.approx(phi, abs=1e-5)
    mass = np.sqrt(np.maximum(energy**2 - (pt * np.cosh(eta)) ** 2, 0))
    assert mass[kind == 2].max() < 0.02 * energy[kind == 2].max()
    central = np.abs(eta) < 2
    assert rapidity[central] == pytest.approx(np.arctanh(pt * np.sinh(eta) / energy)[central], abs=1e-3)
    assert (np.diff(pt) <= 0).all()
    assert pt.min() > 0.5
    assert ((kind < 2) == (charge != 0)).all()
    assert hard[kind == 0].mean() > 0.8  # tracks near the hard vertex
    assert hard[kind == 1].mean() < 0.05
    assert 0.2 < (charge == 0).mean() < 0.5


def test_candidates_are_written_read_and_named(tmp_path, capsys):
    command = ["tracks", "candidates", "--out", str(tmp_path), "--events", "3", "--pileup", "10", "--jobs", "1"]
    assert top.COMMAND(command) == 0
    assert "3 events, " in capsys.readouterr().out
    path = tmp_path / "train" / "candidates_1000.npz"
    before = path.read_bytes()
    path.unlink()
    assert top.COMMAND(command) == 0
    assert path.read_bytes() == before
    (cloud,) = CandidateReader().read(path)
    assert cloud.layout.coords == ("eta", "phi", "eta", "phi")
    assert cloud.features.shape[1] == 8
    neutral = cloud.features[:, 7] >= 2
    assert (cloud.reconstructable == (neutral & (cloud.pt > 0.9))).all()
    assert 0 < cloud.labels[cloud.reconstructable].mean() < 1
    reader = CandidateReader("compact", phi_sectors=4, eta_edges=(-2.0, 0.0, 2.0), overlap=1.5)
    parts = reader.read(path)
    assert len(parts) == reader.per_file == 8
    assert sum(map(len, parts)) > (np.abs(cloud.eta) < 2).sum()  # each sees more than its core,
    count = (cloud.reconstructable & (np.abs(cloud.eta) < 2)).sum()
    assert sum(part.reconstructable.sum() for part in parts) == count  # but each counts in one window
    x = reader.event(path).features
    assert (x[:, 3:].argmax(axis=1) == cloud.features[:, 7]).all()
    assert (x[:, 3:].sum(axis=1) == 1).all()
    np.testing.assert_allclose(np.exp(x[:, 0]), cloud.pt, rtol=1e-5)
    with pytest.raises(DataError, match=r"data.features: candidates have no features 'kin'; choose one of compact"):
        CandidateReader("kin").layout  # noqa: B018
    with pytest.raises(ValueError, match=r"candidates of other settings \(pileup: 10.0 there, 20.0 now\)"):
        write_candidates(TrackSettings(events=3, pileup=20.0), tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"candidates_1.npz: array 'x' is missing. Received: none"),
        ({"x": np.zeros((2, 7)), "charge": np.zeros(2), "hard_scatter": np.zeros(2)}, r"x must be \(n, 8\)"),
        ({"x": np.full((2, 8), np.inf), "charge": np.zeros(2), "hard_scatter": np.zeros(2)}, r"column 'eta', row 0"),
        ({"x": np.full((2, 8), 4.0), "charge": np.zeros(2), "hard_scatter": np.zeros(2)}, r"'class' must be 0 to 3"),
        ({"x": np.zeros((2, 8)), "charge": np.zeros(2), "hard_scatter": np.zeros(2)}, r"'pt' must be positive"),
    ],
)
def test_wrong_candidates_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "candidates_1.npz", **arrays)
    with pytest.raises(DataError, match=message):
        candidates.read_candidates(tmp_path / "candidates_1.npz")
    with pytest.raises(DataError, match=r"candidates_2.npz: cannot be read as arrays"):
        candidates.read_candidates(tmp_path / "candidates_2.npz")
    with pytest.raises(DataError, match=r"cands.npz: candidates are named by their event"):
        candidates.read_candidates(tmp_path / "cands.npz")
