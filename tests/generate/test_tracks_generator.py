"""The generator of tracker events: physics, equal bytes for equal seeds, resuming, errors, plots."""

import json

import numpy as np
import pytest

from qformers.cli import generate as top
from qformers.generate.tracks import cells, plots, run
from qformers.generate.tracks.event import make_event
from qformers.generate.tracks.geometry import DETECTORS, module_rows
from qformers.generate.tracks.particles import draw, share_above, soft_pt
from qformers.generate.tracks.propagate import State, advance, scattering_angle, to_cylinder, to_plane
from qformers.generate.tracks.settings import TrackSettings

SMALL = TrackSettings(events=3, pileup=2, seed=5)


def states(n=400, seed=0):
    rng = np.random.default_rng(seed)
    pt, phi, eta = rng.uniform(0.3, 5, n), rng.uniform(-3, 3, n), rng.normal(0, 0.7, n)
    momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    return State(rng.normal(0, 3, (n, 3)), momentum, rng.choice([-1.0, 1.0], n))


def test_steps_end_on_the_surface_and_small_steps_add_up():
    start = states()
    path = to_cylinder(start, 116.0, 2.0)
    there = advance(start, path, 2.0)
    assert np.hypot(*there.position[:, :2].T) == pytest.approx(116.0)
    assert np.hypot(*there.momentum[:, :2].T) == pytest.approx(np.hypot(*start.momentum[:, :2].T))
    slow = start
    for _ in range(7):
        slow = advance(slow, path / 7, 2.0)
    assert slow.position == pytest.approx(there.position, abs=1e-9)
    half = advance(start, 0.999 * path, 2.0)  # the first crossing, not a later one
    assert (np.hypot(*half.position[:, :2].T) < 116.0).all()


def test_the_radius_of_curvature_and_the_sense_are_those_of_a_solenoid():
    start = State(np.zeros((2, 3)), np.array([[1.2, 0, 0.3], [1.2, 0, 0.3]]), np.array([1.0, -1.0]))
    radius = 1000 * 1.2 / (0.29979 * 2)
    quarter = advance(start, np.full(2, np.pi / 2 * radius), 2.0)
    assert quarter.position[0] == pytest.approx([radius, -radius, 0.25 * np.pi / 2 * radius])  # positive: clockwise
    assert quarter.position[1] == pytest.approx([radius, radius, 0.25 * np.pi / 2 * radius])


def test_tracks_that_turn_back_or_go_the_other_way_reach_nothing():
    slow = State(np.zeros((1, 3)), np.array([[0.05, 0, 0.1]]), np.ones(1))  # radius 83 mm in 2 T: reaches 167 mm
    assert np.isnan(to_cylinder(slow, 172.0, 2.0)).all()
    assert not np.isnan(to_cylinder(slow, 160.0, 2.0)).any()
    assert np.isnan(to_plane(slow, -600.0, 2.0)).all()
    assert np.isnan(to_plane(slow, 600.0, 2.0)).all()  # more than half a turn away


def test_multiple_scattering_is_highlands():
    # 1 GeV pions in 10 % of a radiation length: 13.6 MeV / (beta p) sqrt(0.1) (1 + 0.038 ln 0.1...) = 3.96 mrad
    beta = 1 / np.hypot(1, 0.13957)
    expected = 0.0136 / beta * np.sqrt(0.1) * (1 + 0.038 * np.log(0.1 / beta**2))
    assert scattering_angle(np.array([1.0]), np.array([0.1]))[0] == pytest.approx(expected)
    assert expected == pytest.approx(3.96e-3, rel=0.01)


def test_the_soft_spectrum_is_that_of_cms():
    pt = soft_pt(200_000, 1e-3, np.random.default_rng(0))
    assert pt.mean() == pytest.approx(0.545, abs=0.02)  # GeV, 7 TeV, arXiv:1005.3299
    assert soft_pt(1000, 0.1, np.random.default_rng(0)).min() >= 0.1
    assert share_above(0.5) == pytest.approx((pt > 0.5).mean(), abs=0.005)
    few, many = (len(draw(200, pt_min, 0.0, np.random.default_rng(3))) for pt_min in (1.0, 0.1))
    assert few / many == pytest.approx(share_above(1.0) / share_above(0.1), rel=0.15)


def test_particles_of_an_event():
    found = draw(200, 0.1, 0.05, np.random.default_rng(1), neutrals=True)
    assert 150 < len(np.unique(found.vertex)) < 260
    pt = np.hypot(*found.momentum[:, :2].T)
    charged = found.charge != 0
    assert pt[charged].min() >= 0.1 - 1e-12
    assert np.abs(np.arcsinh(found.momentum[charged, 2] / pt[charged])).max() <= 4 + 1e-9
    assert (~charged).sum() / charged.sum() == pytest.approx(0.55, abs=0.03)
    born = np.hypot(*found.position[charged, :2].T)
    assert 0.02 < (born > 0.1).mean() < 0.07


def test_the_hard_scatter_is_harder_than_the_pile_up():
    events = [draw(50, 0.1, 0.0, np.random.default_rng(i)) for i in range(20)]
    pt = np.concatenate([np.hypot(*event.momentum[:, :2].T) for event in events])
    hard = np.concatenate([event.vertex == 0 for event in events])
    assert pt[hard].mean() > 1.4 * pt[~hard].mean()
    assert (pt[hard] > 5).mean() > 10 * (pt[~hard] > 5).mean()


def test_hits_lie_on_their_helix_within_resolution_when_nothing_scatters():
    settings = TrackSettings(events=1, pileup=5, material=0.0, overlap=0.0, noise=0.0, inefficiency=0.0, seed=2)
    tables = make_event(settings, 0)
    helix = plots.off_helix(settings.tracker, tables["truth"], tables["particles"])
    assert len(helix["distance"]) == len(tables["hits"]["x"])
    assert np.abs(helix["distance"]).max() < 1e-6
    residuals = plots.measured_minus_true(tables["hits"], tables["truth"])
    assert residuals["rphi"].std() == pytest.approx(settings.tracker.resolution_u, rel=0.05)
    assert residuals["along"].std() == pytest.approx(settings.tracker.resolution_v, rel=0.05)


def test_tables_fit_together():
    tables = make_event(SMALL, 0)
    hits, truth, particles, cell = (tables[name] for name in ("hits", "truth", "particles", "cells"))
    assert hits["hit_id"].tolist() == list(range(1, len(hits["hit_id"]) + 1))
    assert np.isin(truth["particle_id"], [0, *particles["particle_id"]]).all()
    assert set(np.unique(cell["hit_id"])) == set(hits["hit_id"])
    assert len(np.unique(np.stack([cell["hit_id"], cell["ch0"], cell["ch1"]]), axis=1).T) == len(cell["hit_id"])
    assert min(cell["ch0"].min(), cell["ch1"].min()) >= 0
    counted = [(truth["particle_id"] == p).sum() for p in particles["particle_id"]]
    assert particles["nhits"].tolist() == counted
    assert truth["weight"].sum() == pytest.approx(1.0)
    assert 0.05 < (truth["particle_id"] == 0).mean() < 0.14
    assert set(np.unique(particles["q"])) == {-1, 1}
    other = make_event(SMALL, 1)
    assert not set(other["particles"]["particle_id"]) & set(particles["particle_id"])
    known = {(row["volume_id"], row["layer_id"], row["module_id"]) for row in module_rows(SMALL.tracker)}
    assert set(zip(*(hits[name] for name in ("volume_id", "layer_id", "module_id")), strict=True)) <= known


def test_knobs_do_what_they_say():
    def made(**changes):
        settings = TrackSettings(**{**SMALL.as_dict(), "pileup": 20, **changes})
        return make_event(settings, 0)["truth"]["particle_id"]

    normal = made()
    assert (made(noise=0.5) == 0).sum() > 4 * (normal == 0).sum()
    assert (made(inefficiency=0.5) != 0).sum() == pytest.approx(0.51 * (normal != 0).sum(), rel=0.05)
    assert (made(overlap=0.5) != 0).sum() == pytest.approx(1.5 / 1.03 * (normal != 0).sum(), rel=0.05)
    assert len(made(pileup=200)) > 5 * len(normal)


def test_cluster_size_follows_the_crossing_angle():
    rng = np.random.default_rng(0)
    spans = np.array([0.01, 3.4, -3.4, 7.7])
    path, ch0, ch1, charge = cells.traversed((np.full(4, 50.5), np.full(4, 80.5)), (spans, np.full(4, 1e-9)), 6.0, rng)
    width = [np.ptp(ch0[path == i]) + 1 for i in range(4)]
    assert width == [1, 5, 5, 9]  # the outer pixels of 3.4 about the middle of a pixel hold 1.2 of it each
    assert (ch1 == 80).all()
    assert charge[path == 3].sum() == pytest.approx(np.hypot(6, 7.7), rel=0.2)


def test_module_axes_are_right_handed_frames():
    for detector in DETECTORS.values():
        rows = list(module_rows(detector))
        axes = {u: np.array([[row[f"rot_{x}{u}"] for x in "xyz"] for row in rows]) for u in "uvw"}
        assert np.cross(axes["u"], axes["v"]) == pytest.approx(axes["w"])
        away = np.array([[row[f"c{x}"] for x in "xyz"] for row in rows])  # in TrackML w points away from the middle
        assert ((axes["w"] * away).sum(axis=1) > 0).all()
        if detector.name == "pixel":  # and in the barrel 8 degrees towards larger phi
            barrel = np.array([row["volume_id"] == 8 for row in rows])
            turn = [np.arctan2(one[:, 1], one[:, 0])[barrel] for one in (axes["w"], away)]
            assert np.sin(turn[0] - turn[1]) == pytest.approx(np.sin(np.deg2rad(8.0)))
        assert len({(row["volume_id"], row["layer_id"], row["module_id"]) for row in rows}) == len(rows)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.csv*"))}


def test_equal_seeds_give_equal_bytes_and_a_stopped_run_goes_on(tmp_path, monkeypatch):
    run.generate(SMALL, tmp_path / "a", 1, "the command")
    real, made = run.make_event, []

    def stops(settings, index):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(index)
        return real(settings, index)

    monkeypatch.setattr(run, "make_event", stops)
    with pytest.raises(KeyboardInterrupt):
        run.generate(SMALL, tmp_path / "b", 1, "x")
    assert set(run.load_manifest(tmp_path / "b")["events"]) == {"1000", "1001"}
    monkeypatch.setattr(run, "make_event", lambda s, i: made.append(i) or real(s, i))
    left = tmp_path / "b" / "val" / ".event.7.tmp.csv"
    left.write_text("of a killed run")
    done = run.generate(SMALL, tmp_path / "b", 1, "x")
    assert made == [0, 1, 2]
    assert (done.new, left.exists()) == (1, False)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sorted(contents(tmp_path / "a"))[-1].startswith("val/event000001001")
    assert run.generate(SMALL, tmp_path / "b", 1, "x").new == 0
    (tmp_path / "b" / "test" / "event000001002-hits.csv").unlink()
    assert run.generate(SMALL, tmp_path / "b", 1, "x").new == 1
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    other = make_event(TrackSettings(events=3, pileup=2, seed=6), 0)
    assert len(other["hits"]["x"]) != len(make_event(SMALL, 0)["hits"]["x"])


def test_folders_of_other_settings_and_changed_files_are_refused(tmp_path):
    run.generate(SMALL, tmp_path, 1, "first command")
    with pytest.raises(ValueError, match=r"another run(.|\n)*seed: 5 there, 6 now(.|\n)*made by: first command"):
        run.generate(TrackSettings(events=3, pileup=2, seed=6), tmp_path, 1, "x")
    path = tmp_path / "train" / "event000001000-hits.csv"
    path.write_text(path.read_text() + " ")
    with pytest.raises(ValueError, match=r"event000001000-hits.csv is not the file that was generated"):
        run.generate(SMALL, tmp_path, 1, "x")
    (tmp_path / run.NAME).write_text("[]")
    with pytest.raises(
        ValueError,
        match=r"is not a manifest: its content must be a valid dictionary; use another folder. Received: \[\]",
    ):
        run.load_manifest(tmp_path)
    (tmp_path / run.NAME).write_text("{")
    with pytest.raises(ValueError, match="is not a manifest"):
        run.load_manifest(tmp_path)
    with pytest.raises(ValueError, match="is missing: generate events"):
        run.load_manifest(tmp_path / "none")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("kind", "jets", r"kind must be 'tracks'"),
        ("events", {"../../x": {}}, r"events\.\.\./\.\./x\.\[key\] must match pattern"),
        (
            "events",
            {"7": {"split": "../x", "hits": 1, "particles": 1, "files": {}}},
            r"events\.7\.split must be 't",
        ),
        (
            "events",
            {"7": {"split": "val", "hits": 1, "particles": 1, "files": {"../x": ""}}},
            r"events\.7\.files\.\.\./x\.\[key\] must match",
        ),
        ("events", {"7": {"split": "val"}}, r"it lacks files, hits, particles"),
        ("packed", None, r"packed must be a valid boolean"),
    ],
)
def test_a_manifest_cannot_lead_elsewhere(tmp_path, key, value, said):
    run.generate(SMALL, tmp_path, 1, "x")
    path = tmp_path / run.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=rf"manifest.json is not a manifest: {said}"):
        run.load_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pileup": -1}, "pileup must lie in 0.0..1000.0. Received: pileup=-1"),
        ({"events": 0}, "Received: events=0"),
        ({"pt_min": 0.0}, "Received: pt_min=0.0"),
        ({"detector": "pixels"}, "unknown 'pixels'; did you mean 'pixel'"),
    ],
)
def test_settings_are_refused_with_what_was_received(change, message):
    with pytest.raises(ValueError, match=message):
        TrackSettings(**{"events": 3, **change})


def test_command_line_generates_packed_files_and_plots_them(tmp_path, capsys):
    out = str(tmp_path / "t")
    command = [
        "tracks",
        "--out",
        out,
        "--events",
        "3",
        "--pileup",
        "1",
        "--seed",
        "2",
        "--jobs",
        "1",
        "--gzip",
        "--plots",
    ]
    assert top.COMMAND(command) == 0
    said = capsys.readouterr().out
    assert "3 events (3 new ones at " in said
    assert "hits per event on average" in said
    names = ["occupancy_rz", "layers", "pt", "eta", "hits_per_track", "vertex_r", "residuals", "off_helix"]
    for name in names:
        assert (tmp_path / "t" / "plots" / f"{name}.png").read_bytes()[1:4] == b"PNG"
    summary = json.loads((tmp_path / "t" / "plots" / "summary.json").read_text())
    assert 13 < summary["residual_rphi_um"] < 16
    assert 0.45 < summary["positive_share"] < 0.55
    assert top.COMMAND(["tracks", "plot"]) == 2
    assert "plot needs a folder" in capsys.readouterr().err
    assert top.COMMAND(["tracks", "--out", out, "--events", "0"]) == 2
    assert "Received: events=0" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_make_the_same_events(tmp_path):
    run.generate(SMALL, tmp_path / "one", 1, "x")
    run.generate(SMALL, tmp_path / "two", 2, "x")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    with pytest.raises(ValueError, match=r"jobs must be at least 1. Received: jobs=0"):
        run.generate(SMALL, tmp_path / "one", 0, "x")
