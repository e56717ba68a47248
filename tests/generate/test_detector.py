"""Helix, tracker, calorimeter and the whole detector response, without Pythia."""

import numpy as np
import pytest

from qformers.generate.jets import candidates as cand
from qformers.generate.jets.calorimeter import ECAL, HCAL, Layer, energy_flow
from qformers.generate.jets.detector import respond
from qformers.generate.jets.helix import FIELD_TESLA, propagate
from qformers.generate.jets.tracking import efficiency, impact_resolution, log_normal, momentum_resolution
from qformers.generate.record import Record


def walk(position_mm, momentum, charge, step_m=2e-4):
    """Brute force: follow the Lorentz force in small steps to the calorimeter (positions in m)."""
    p, x = np.array(momentum, float), np.array(position_mm, float) / 1000
    size = np.linalg.norm(p)
    bend = charge * 0.29979 * FIELD_TESLA
    while np.hypot(x[0], x[1]) < 1.29 and abs(x[2]) < 3.0:
        middle = p + 0.5 * step_m / size * bend * np.array([p[1], -p[0], 0.0])
        x = x + step_m * middle / size
        p = p + step_m / size * bend * np.array([middle[1], -middle[0], 0.0])
    return x


@pytest.mark.parametrize(
    ("momentum", "charge", "position_mm"),
    [
        ((5.0, 1.0, 2.0), 1.0, (0.0, 0.0, 0.0)),
        ((-2.0, 3.0, -4.0), -1.0, (3.0, -2.0, 10.0)),
        ((0.4, 0.1, 0.5), 1.0, (1.0, 5.0, -7.0)),  # a looper: leaves through the end
        ((0.2, -0.3, -0.1), -1.0, (20.0, 10.0, 0.0)),  # several turns
        ((1.0, 1.0, 9.0), 0.0, (100.0, -50.0, 200.0)),
    ],
)
def test_calorimeter_entry_equals_that_of_a_walk(momentum, charge, position_mm):
    end = walk(position_mm, momentum, charge)
    out = propagate(np.array([position_mm]), np.array([momentum]), np.array([charge]))
    assert out.eta[0] == pytest.approx(np.arcsinh(end[2] / np.hypot(end[0], end[1])), abs=5e-3)
    assert abs((out.phi[0] - np.arctan2(end[1], end[0]) + np.pi) % (2 * np.pi) - np.pi) < 5e-3


@pytest.mark.parametrize("charge", [-1.0, 1.0])
def test_closest_approach(charge):
    """A track that passes the beam line at a known point keeps d0, dz and direction from anywhere on it."""
    phi, pt, pz, d0, dz = 0.7, 2.0, 1.5, 0.12, 3.0  # mm
    on_beam = np.array([d0 * np.sin(phi), -d0 * np.cos(phi), dz])
    radius_mm = 1000 * pt / (0.29979 * charge * FIELD_TESLA)
    turned = -20.0 / radius_mm  # 20 mm further along the helix
    later = phi + turned
    centre = on_beam[:2] + radius_mm * np.array([np.sin(phi), -np.cos(phi)])
    point = [*(centre + radius_mm * np.array([-np.sin(later), np.cos(later)])), dz + 20.0 * pz / pt]
    momentum = np.array([[pt * np.cos(later), pt * np.sin(later), pz]])
    out = propagate(np.array([point]), momentum, np.array([charge]))
    assert out.d0[0] == pytest.approx(d0, abs=1e-6)
    assert out.dz[0] == pytest.approx(dz, abs=1e-6)
    assert out.track_phi[0] == pytest.approx(phi, abs=1e-9)


def test_a_prompt_track_has_no_impact_parameter():
    out = propagate(np.zeros((1, 3)), np.array([[3.0, 4.0, 1.0]]), np.array([1.0]))
    assert out.d0[0] == pytest.approx(0.0, abs=1e-9)
    assert out.dz[0] == pytest.approx(0.0, abs=1e-9)


def test_efficiency_is_zero_outside_the_tracker_and_follows_the_table():
    kind = np.full(6, cand.CHARGED_HADRON)
    pt = np.array([10.0, 0.05, 0.5, 10.0, 0.5, 10.0])
    eta = np.array([2.6, 0.0, 0.0, 0.0, 2.0, 2.0])
    assert efficiency(pt, eta, kind).tolist() == [0.0, 0.0, 0.70, 0.95, 0.60, 0.85]
    electron, muon = np.array([cand.ELECTRON]), np.array([cand.MUON])
    assert efficiency(np.array([150.0]), np.array([0.0]), electron)[0] == 0.99
    assert efficiency(np.array([150.0]), np.array([2.0]), electron)[0] == 0.90
    assert efficiency(np.array([5.0]), np.array([2.0]), muon)[0] == 0.98


def test_momentum_resolution_adds_both_terms_in_quadrature():
    sigma = momentum_resolution(np.array([100.0]), np.array([0.1]), np.array([cand.CHARGED_HADRON]))
    assert sigma[0] == pytest.approx(np.hypot(0.06, 0.13))


def test_impact_resolution_meets_the_table_and_ends_with_the_tracker():
    d0, dz = impact_resolution(np.array([1.0, 20.0, 0.1, 5.0]), np.array([0.1, 2.0, 0.1, 2.6]))
    assert d0 == pytest.approx([0.075, 0.020, 0.0, 0.0])
    assert dz == pytest.approx([0.110, 0.098, 0.0, 0.0])


def test_log_normal_has_the_asked_mean_and_width():
    drawn = log_normal(np.full(200_000, 10.0), np.full(200_000, 2.0), np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(10.0, rel=0.01)
    assert drawn.std() == pytest.approx(2.0, rel=0.02)
    assert log_normal(np.zeros(2), np.ones(2), np.random.default_rng(1)).tolist() == [0.0, 0.0]


def exact(layer):
    """The layer with perfect resolution."""
    return Layer(
        layer.eta_edges, layer.fine_phi_degrees, layer.fine_abs_eta, 0.5, 1.0, lambda e, eta: np.full_like(e, 1e-9)
    )


def run(layer, energies, is_track, track_energy):
    n = len(energies)
    deposit = (np.zeros(n, int), np.full(n, 0.01), np.full(n, 0.01), np.asarray(energies, float))
    track = np.asarray(is_track)
    return energy_flow(layer, deposit, track, np.asarray(track_energy, float), np.zeros(n), np.random.default_rng(0))


def test_excess_over_the_tracks_becomes_a_neutral_in_the_tower():
    flow = run(exact(HCAL), [10.0, 5.0], [True, False], [10.0, 0.0])
    assert flow.energy == pytest.approx([5.0], abs=1e-6)
    assert flow.track_scale == pytest.approx([1.0])
    assert 0.0 <= flow.eta[0] <= 0.087
    assert 0.0 <= flow.phi[0] <= np.radians(5)


def test_without_excess_the_tracks_take_the_calorimeter_energy():
    flow = run(exact(HCAL), [8.0], [True], [10.0])
    assert len(flow.energy) == 0
    assert flow.track_scale == pytest.approx([0.8])


def test_a_deposit_below_threshold_is_lost_and_its_track_with_it():
    flow = run(exact(ECAL), [0.3], [True], [0.3])
    assert len(flow.energy) == 0
    assert flow.track_scale == pytest.approx([0.0])


def test_towers_of_different_events_do_not_mix():
    deposit = (np.array([0, 1]), np.full(2, 0.01), np.full(2, 0.01), np.array([3.0, 7.0]))
    flow = energy_flow(exact(ECAL), deposit, np.zeros(2, bool), np.zeros(2), np.zeros(2), np.random.default_rng(0))
    assert flow.event.tolist() == [0, 1]
    assert flow.energy == pytest.approx([3.0, 7.0])


@pytest.mark.parametrize("layer", [ECAL, HCAL])
def test_towers_cover_everything_up_to_five(layer):
    assert (np.diff(layer.eta_edges) > 0).all()
    assert layer.eta_edges[[0, -1]].tolist() == [-5.0, 5.0]


def record(pids, momenta, masses):
    """A record of final particles from the origin, one event."""
    n = len(pids)
    p, m = np.array(momenta, float), np.array(masses, float)
    zero, none = np.zeros(n), np.zeros(n, int)
    energy = np.sqrt((p**2).sum(1) + m**2)
    return Record(np.array([n]), np.array(pids), np.ones(n, int), none, none, *p.T, energy, m, zero, zero, zero)


@pytest.mark.parametrize("card", ["jetclass", "cms"])
def test_species_and_loss_in_a_simple_event(card):
    n = 2000
    phi = np.linspace(-3.1, 3.1, 5)
    pids = [211, 22, 130, 13, -11] * n
    momenta = [(50 * np.cos(a), 50 * np.sin(a), 5.0) for a in phi] * n
    one = record(pids, momenta, [0.1396, 0.0, 0.4976, 0.1057, 0.0005] * n)
    events = Record(**{**vars(one), "counts": np.full(n, 5)})
    charge = np.array([1.0, 0.0, 0.0, -1.0, 1.0] * n)
    out = respond(events, np.arange(5 * n), charge, card, np.random.default_rng(3))
    share = np.bincount(out.species, minlength=cand.N_SPECIES) / n
    assert share[cand.CHARGED_HADRON] == pytest.approx(0.95, abs=0.02)
    assert share[cand.ELECTRON] == pytest.approx(0.95, abs=0.02)
    assert share[cand.MUON] == pytest.approx(0.99, abs=0.01)
    assert share[cand.PHOTON] >= 1.0  # the photon, electrons without track, upward fluctuations
    assert (np.diff(out.event) >= 0).all()
    muons = out.take(out.species == cand.MUON)
    if card == "jetclass":
        assert muons.pt == pytest.approx(np.full(len(muons.pt), 50.0))  # unsmeared, past the calorimeter
    else:
        assert muons.pt.std() / 50 == pytest.approx(np.hypot(0.01, 0.05), rel=0.1)
    assert (out.d0_error[out.charge == 0] == 0).all()
    assert (out.d0_error[out.charge != 0] > 0).all()


def test_no_track_beyond_the_tracker():
    momenta = [(5 * np.cos(a), 5 * np.sin(a), 5 * np.sinh(3.0)) for a in np.linspace(0, 6, 100)]
    out = respond(record([211] * 100, momenta, [0.14] * 100), np.arange(100), np.ones(100), "jetclass",
                  np.random.default_rng(0))  # fmt: skip
    assert len(out.pt) > 0
    assert (out.charge == 0).all()


def test_particle_level_card_keeps_the_particles():
    out = respond(record([211, 22], [(1, 0, 0), (0, 0.05, 0)], [0.14, 0]), np.arange(2), np.array([1.0, 0.0]), "gen",
                  np.random.default_rng(0))  # fmt: skip
    assert out.px.tolist() == [1.0]
