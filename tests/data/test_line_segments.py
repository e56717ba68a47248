"""Line segments: the generator, the reader (.npz always, .pt where torch is installed), and what is made of them."""

import sys

import numpy as np
import pytest

from qformers.cli import generate as top
from qformers.data.points import segment_features
from qformers.data.points.line_segments import COLUMNS, FAKE, Segments, read_segments, write_segments
from qformers.data.points.segment_features import FEATURES, Lda, fit_lda, imbalance, segment_cloud
from qformers.errors import DataError
from qformers.generate.tracks.event import make_event
from qformers.generate.tracks.segments import circle_pt, segments_of
from qformers.generate.tracks.settings import TrackSettings

OUTER = TrackSettings(events=3, pileup=20, seed=3, detector="outer", cells=False)


@pytest.fixture(scope="module")
def made():
    """Event tables and the segments of two events."""
    found = []
    for i in (0, 1):
        tables = make_event(OUTER, i)
        found.append((tables, segments_of(OUTER.tracker, tables["hits"], tables["truth"]["particle_id"], 1000 + i)))
    return found


def column(segments, name):
    return segments.x[:, COLUMNS.index(name)]


def test_there_are_23_columns_in_the_order_of_hept_cms():
    assert len(COLUMNS) == 23
    assert COLUMNS[:3] == ("phi", "eta", "pt")
    assert COLUMNS[7:13] == ("dphi", "dr_0", "dx_0", "dy_0", "dz_0", "dphi_0")
    assert COLUMNS[-2:] == ("layer_0", "layer_1")


def test_segments_of_events_are_like_those_of_hept_cms(made):
    for tables, segments in made:
        true = segments.particle_id != FAKE
        assert 0.3 < true.mean() < 0.85
        assert set(column(segments, "layer_0")) <= set(range(1, 11))
        assert set(column(segments, "layer_1")) <= set(range(2, 12))
        assert column(segments, "pt").min() > 0.79
        known = tables["particles"]
        present = np.unique(tables["truth"]["particle_id"])
        row = np.searchsorted(known["particle_id"], present[present != 0])[segments.particle_id[true]]
        pt = np.hypot(known["px"], known["py"])[row]
        assert np.median(column(segments, "pt")[true] / pt) == pytest.approx(1.0, abs=0.01)
        lengths = np.bincount(segments.particle_id[true])
        assert 4 < lengths[lengths > 0].mean() < 8
        reached = np.isin(np.flatnonzero(np.hypot(known["px"], known["py"]) > 1.5), row).mean()
        assert reached > 0.6  # eta reaches 4 where the outer tracker ends at about 2.5


def test_columns_agree_with_one_another(made):
    _, segments = made[0]
    x, y, z, r = (column(segments, name) for name in ("x", "y", "z", "r"))
    assert np.hypot(x, y) == pytest.approx(r, rel=0.01)
    assert column(segments, "phi") == pytest.approx(np.arctan2(y, x), abs=1e-5)
    assert column(segments, "eta") == pytest.approx(np.arcsinh(z / np.hypot(x, y)), abs=1e-4)
    for name in ("r", "x", "y", "z"):
        both = column(segments, f"d{name}_0") + column(segments, f"d{name}_1")
        assert both.shape == column(segments, f"d{name}_LS").shape
        assert np.abs(column(segments, f"d{name}_LS")).max() < 3.0  # cm: about the gap of a sensor pair
    true = segments.particle_id != FAKE
    barrel = (column(segments, "layer_1") <= 6) & true
    assert np.median(column(segments, "dr_LS")[barrel]) == pytest.approx(-0.26, abs=0.01)  # minus the gap of 2.6 mm


def test_the_circle_through_the_beam_gives_the_momentum():
    radius = 1000 * 1.7 / (0.29979 * 3.8)
    turn = np.array([0.1, 0.4])  # along a circle through the origin
    points = np.stack([radius * np.sin(turn), radius * (1 - np.cos(turn)), turn], axis=1)
    assert circle_pt(points[:1], points[1:], 3.8) == pytest.approx([1.7])


def test_a_detector_without_pairs_is_refused():
    pixel = TrackSettings(events=1).tracker
    with pytest.raises(ValueError, match=r"paired sensors: detector outer. Received: detector=pixel"):
        segments_of(pixel, {}, np.zeros(0, np.int64), 0)


def test_npz_files_come_back_as_they_were(made, tmp_path):
    _, segments = made[0]
    write_segments(tmp_path / "graph_1000.npz", segments)
    again = read_segments(tmp_path / "graph_1000.npz")
    assert (again.event, (again.x == segments.x).all(), (again.particle_id == segments.particle_id).all()) == (
        1000,
        True,
        True,
    )
    before = (tmp_path / "graph_1000.npz").read_bytes()
    write_segments(tmp_path / "graph_1000.npz", segments)
    assert (tmp_path / "graph_1000.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 23))}, r"graph_1.npz: array 'particle_id' is missing. Received: x"),
        ({"x": np.zeros((2, 24)), "particle_id": np.zeros(2, int)}, r"x must be \(n, 23\).*Received: \(2, 24\)"),
        (
            {"x": np.zeros((2, 23)), "particle_id": np.array([0, -2])},
            r"integers from -1 on. Received: int64, lowest -2",
        ),
        ({"x": np.zeros((2, 23)), "particle_id": np.zeros(2)}, r"Received: float64"),
        (
            {"x": np.where(np.arange(46).reshape(2, 23) == 25, np.nan, 0), "particle_id": np.zeros(2, int)},
            r"column 'pt', row 1: must be finite. Received: nan",
        ),
        ({"x": np.array([{}]), "particle_id": np.zeros(1, int)}, r"graph_1.npz: cannot be read as arrays"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path, arrays, message):
    np.savez(tmp_path / "graph_1.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_segments(tmp_path / "graph_1.npz")


def test_other_names_and_missing_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"event_1.pt: line segments are named by their event, e.g. graph_12.pt"):
        read_segments(tmp_path / "event_1.pt")
    with pytest.raises(DataError, match=r"graph_1.npz: cannot be read as arrays"):
        read_segments(tmp_path / "graph_1.npz")


def test_without_torch_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    (tmp_path / "graph_1.pt").write_bytes(b"anything")
    with pytest.raises(
        DataError,
        match=r"graph_1.pt: reading it needs PyTorch, which is not installed here: .*python.* -m pip install torch",
    ):
        read_segments(tmp_path / "graph_1.pt")


class _Evil:
    """Runs a command when it is unpickled by a reader that allows it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


def test_pt_files_are_read_and_nothing_in_them_is_executed(made, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: .pt files cannot be read")
    _, segments = made[0]
    arrays = {"x": torch.from_numpy(segments.x), "particle_id": torch.from_numpy(segments.particle_id).int()}
    torch.save(arrays, tmp_path / "graph_7.pt")
    again = read_segments(tmp_path / "graph_7.pt")
    assert again.event == 7
    assert (again.x == segments.x).all()
    touched = tmp_path / "touched"
    torch.save({**arrays, "evil": _Evil(touched)}, tmp_path / "graph_8.pt")
    with pytest.raises(
        DataError,
        match=r"graph_8.pt: refused as hostile: it asks .* object \S+ besides tensors.*not.* run",
    ):
        read_segments(tmp_path / "graph_8.pt")
    assert not touched.exists()
    with pytest.raises(DataError) as caught:
        read_segments(tmp_path / "graph_8.pt")
    assert "weights_only" not in str(caught.value)  # no advice to switch the protection off
    torch.save([1, 2], tmp_path / "graph_9.pt")
    with pytest.raises(DataError, match=r"graph_9.pt: must hold a PyTorch Geometric Data.*Received: list"):
        read_segments(tmp_path / "graph_9.pt")


def test_tensors_of_pt_files_that_are_no_numbers_are_refused(made, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: .pt files cannot be read")
    _, segments = made[0]
    x, ids = torch.from_numpy(segments.x), torch.from_numpy(segments.particle_id).int()
    path = tmp_path / "graph_7.pt"

    def saved(**tensors):
        torch.save({"x": x, "particle_id": ids, **tensors}, path)
        return read_segments(path)

    grown = x.clone().requires_grad_()
    assert (saved(x=grown).x == segments.x).all()  # a graph of gradients is no part of the numbers
    assert (saved(x=torch.cat([x, x]).bfloat16()[: len(x)]).x == x.bfloat16().float().numpy()).all()
    assert (saved(edges=torch.zeros(3).to_sparse()).x == segments.x).all()  # not looked at
    for tensor, said in (
        (x.to_sparse(), r"'x' must be a plain tensor of numbers. Received: Tensor \(torch.sparse_coo, torch.float32\)"),
        (torch.empty_like(x, device="meta"), r"'x' must be a plain tensor of numbers"),
        (x + 1j, r"array 'x' must hold real numbers. Received: complex64"),
        (["a"] * 3, r"'x' must be a plain tensor of numbers. Received: list"),
        ("text", r"'x' must be a plain tensor of numbers. Received: str"),
        (x * float("nan"), r"column 'phi', row 0: must be finite. Received: nan"),
    ):
        with pytest.raises(DataError, match=rf"graph_7.pt: {said}"):
            saved(x=tensor)


def test_pt_files_that_are_damaged_or_something_else_are_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: .pt files cannot be read")
    path = tmp_path / "graph_7.pt"
    torch.save({"x": torch.ones(2, 23), "particle_id": torch.zeros(2).int()}, path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:200], whole[: len(whole) // 2], b"\x80\x05" + bytes(50)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"graph_7.pt: not a PyTorch checkpoint, or a damaged one \(") as caught:
            read_segments(path)
        assert "weights_only" not in str(caught.value)  # the advice to switch the protection off
    path.unlink()
    with pytest.raises(DataError, match=r"graph_7.pt: no such file"):
        read_segments(path)


def test_pytorch_geometric_data_is_read_without_pytorch_geometric(made, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: .pt files cannot be read")
    data_of = pytest.importorskip("torch_geometric.data", reason="torch_geometric is not installed to write a file")
    _, segments = made[0]
    ids = torch.from_numpy(segments.particle_id).int()
    torch.save(data_of.Data(x=torch.from_numpy(segments.x), particle_id=ids), tmp_path / "graph_7.pt")
    again = read_segments(tmp_path / "graph_7.pt")
    assert (again.x == segments.x).all()
    assert (again.particle_id == segments.particle_id).all()


def test_features_are_those_of_the_reference(made):
    _, segments = made[0]
    found = segment_features.features(segments)
    assert found.shape == (len(segments), 24)
    phi, pt = segments.x[:, 0].astype(np.float64), segments.x[:, 2].astype(np.float64)
    assert found[:, 0] == pytest.approx(np.sin(phi))
    assert found[:, 1] == pytest.approx(np.cos(phi))
    assert found[:, 2] == pytest.approx(column(segments, "eta"))
    assert found[:, 3] == pytest.approx(np.log(pt - pt.min() + 1))
    assert found[:, -1] == pytest.approx(column(segments, "layer_1"))
    for i, name in enumerate(FEATURES):
        if name not in segment_features.AS_THEY_ARE:
            raw = column(segments, name).astype(np.float64)
            assert found[:, i] == pytest.approx((raw - raw.mean()) / raw.std(ddof=1), abs=1e-9)


def test_lda_coordinates_separate_tracks_and_are_standardised(made, tmp_path):
    segments = [one for _, one in made]
    lda = fit_lda(segments)
    assert lda.explained[0] > 0.4
    assert list(lda.explained) == sorted(lda.explained, reverse=True)
    cloud = segment_cloud(segments[0], lda)
    assert cloud.coords.shape == (len(cloud), 7)
    assert cloud.coords.mean(axis=0) == pytest.approx(np.zeros(7), abs=1e-4)
    assert cloud.coords.std(axis=0, ddof=1) == pytest.approx(np.ones(7), rel=1e-4)
    raw = segment_features.features(segments[0]) @ lda.scalings
    assert cloud.coords == pytest.approx((raw - raw.mean(axis=0)) / raw.std(axis=0, ddof=1), abs=1e-4)
    true = cloud.labels == 1
    assert (cloud.particle_ids[true] // 1_000_000 == 1000).all()
    assert (cloud.particle_ids[~true] == -1).all()
    assert imbalance(cloud) == pytest.approx((~true).sum() / true.sum())
    spread = [cloud.coords[cloud.particle_ids == p, 0].std() for p in np.unique(cloud.particle_ids[true])]
    assert np.median(spread) < 0.2  # of a track, where all segments have 1
    lda.save(tmp_path / "lda.json")
    assert (Lda.load(tmp_path / "lda.json").scalings == lda.scalings).all()


def test_tracking_keeps_true_segments_and_so_many_fakes(made):
    segments = [one for _, one in made]
    lda = fit_lda(segments)
    true = int((segments[0].particle_id != FAKE).sum())
    assert len(segment_cloud(segments[0], lda, "tracking")) == true
    mixed = segment_cloud(segments[0], lda, "tracking", 0.2, np.random.default_rng(0))
    assert len(mixed) == true + int(0.2 * true)
    with pytest.raises(DataError, match="fakes_per_true needs rng"):
        segment_cloud(segments[0], lda, "tracking", 0.2)


def test_wrong_lda_files_and_too_few_tracks_are_refused(made, tmp_path):
    (tmp_path / "lda.json").write_text("{}")
    with pytest.raises(DataError, match=r"lda.json: is not an LDA of line segments.*fit it again"):
        Lda.load(tmp_path / "lda.json")
    (tmp_path / "lda.json").write_text('{"scalings": [[1]], "explained": [], "features": ["x"]}')
    with pytest.raises(DataError, match=r"lda.json: was fitted on other features"):
        Lda.load(tmp_path / "lda.json")
    few = Segments(np.zeros((3, 23), np.float32), np.array([0, 0, 1]), 1)
    with pytest.raises(DataError, match="Received: 2 tracks of 3 segments"):
        fit_lda([few])


def test_segments_without_points_or_of_one_point_work():
    lda = Lda(np.ones((24, 7)), (1.0,) * 7)
    for size in (0, 1):
        one = Segments(np.zeros((size, 23), np.float32), np.full(size, FAKE), 1)
        cloud = segment_cloud(one, lda)
        assert np.isfinite(cloud.coords).all()
        assert len(cloud) == size
    assert imbalance(cloud) == float("inf")


def test_command_line_makes_the_segments_of_a_folder(tmp_path, capsys):
    out = str(tmp_path / "o")
    base = ["tracks", "--out", out, "--events", "3", "--pileup", "2", "--jobs", "1"]
    assert top.COMMAND([*base, "--detector", "outer", "--no-cells"]) == 0
    assert top.COMMAND(["tracks", "segments", out]) == 0
    assert "3 events, " in capsys.readouterr().out
    for split, event in (("train", 1000), ("val", 1001), ("test", 1002)):
        assert read_segments(tmp_path / "o" / "segments" / split / f"graph_{event}.npz").event == event
    assert top.COMMAND(["tracks", "segments"]) == 2
    assert "segments needs a folder: qformers generate tracks segments DIR" in capsys.readouterr().err
