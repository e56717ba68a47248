"""Truth matching on records written by hand, where the answer is known."""

import numpy as np
import pytest

from qformers.generate.jets import truth
from qformers.generate.record import Record


def make_record(rows):
    """rows: (pid, daughter1, daughter2, pt, eta, phi); index 0 is Pythia's system line."""
    pid, first, last, pt, eta, phi = (np.array(column, float) for column in zip(*rows, strict=True))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    zero = np.zeros(len(pid))
    whole = [a.astype(int) for a in (pid, np.where(first + last > 0, -1, 1), first, last)]
    return Record(np.array([len(pid)]), *whole, px, py, pz, np.sqrt(px**2 + py**2 + pz**2), zero, zero, zero, zero)


SYSTEM = (90, 0, 0, 1e-3, 0, 0)
# A top that radiates once, decays to W b; the W has a copy before it decays.
TOP = make_record(
    [
        SYSTEM,
        (6, 2, 2, 620, 0.1, 0.2),  # first copy
        (6, 3, 4, 600, 0.1, 0.2),  # last copy
        (5, 0, 0, 200, 0.4, 0.2),
        (24, 5, 5, 400, 0.0, 0.1),
        (24, 6, 7, 390, 0.0, 0.1),  # last copy of the W
        (4, 0, 0, 250, 0.0, 0.3),
        (-3, 0, 0, 150, 0.0, -0.2),
    ]
)


def test_last_copy_and_daughters_of_the_w_are_used():
    (top,) = truth.resonances(TOP, 6)
    assert (top.pid, top.code) == (6, 11)
    assert top.pt == pytest.approx(600)
    assert sorted(top.product_eta.round(6)) == [0.0, 0.0, 0.4]


@pytest.mark.parametrize(
    ("jet_eta", "jet_phi", "code"),
    [(0.1, 0.1, 11), (0.1, 2.0, 0), (-0.41, 0.2, 0), (-0.39, 0.2, 11)],  # the b at eta 0.4 is the one to lose
)
def test_every_product_must_lie_in_the_jet(jet_eta, jet_phi, code):
    found = truth.resonances(TOP, 6)
    match = truth.match(np.array([0]), np.array([jet_eta]), np.array([jet_phi]), found, 0.8)
    assert match.code.tolist() == [code]
    assert match.pid.tolist() == [6 if code else 0]


def test_a_jet_of_another_event_does_not_match():
    match = truth.match(np.array([1]), np.array([0.1]), np.array([0.1]), truth.resonances(TOP, 6), 0.8)
    assert match.code.tolist() == [0]


def test_matching_wraps_in_phi():
    record = make_record([SYSTEM, (24, 2, 3, 600, 0, 3.1), (1, 0, 0, 300, 0, 3.0), (-2, 0, 0, 300, 0, -3.05)])
    match = truth.match(np.array([0]), np.array([0.0]), np.array([-3.1]), truth.resonances(record, 24), 0.8)
    assert match.code.tolist() == [22]


def test_neutrinos_do_not_count_but_leptons_do():
    record = make_record(
        [
            SYSTEM,
            (-6, 2, 3, 700, 0, 0),
            (-5, 0, 0, 300, 0.1, 0),
            (-24, 4, 5, 400, 0, 0),
            (13, 0, 0, 300, 0, 0.1),
            (-14, 0, 0, 100, 3.0, 2.0),  # far away, invisible
        ]
    )
    (top,) = truth.resonances(record, 6)
    assert top.code == 16
    match = truth.match(np.array([0]), np.array([0.0]), np.array([0.0]), [top], 0.8)
    assert match.code.tolist() == [16]


@pytest.mark.parametrize(
    ("resonance", "products", "code"),
    [
        (6, [5, 1, -2], 12),
        (6, [5, -4, 3], 11),
        (6, [5, -11], 15),
        (24, [4, -3], 21),
        (24, [2, -1], 22),
        (24, [-11], 0),
        (23, [5, -5], 31),
        (23, [4, -4], 32),
        (23, [1, -1], 33),
        (23, [], 0),
        (25, [5, -5], 41),
        (25, [-4, 4], 42),
        (25, [21, 21], 44),
        (25, [1, -2, 4, -3], 45),
        (25, [1, -2, 11], 46),
        (25, [22, 22], 0),
    ],
)
def test_match_codes(resonance, products, code):
    assert truth.match_code(resonance, products) == code


def test_the_nearer_of_two_resonances_wins():
    rows = [SYSTEM]
    for eta in (0.0, 0.4):
        first = len(rows) + 1
        rows += [(23, first, first + 1, 600, eta, 0), (1, 0, 0, 300, eta, 0.1), (-1, 0, 0, 300, eta, -0.1)]
    match = truth.match(np.array([0]), np.array([0.35]), np.array([0.0]), truth.resonances(make_record(rows), 23), 0.8)
    assert match.eta[0] == pytest.approx(0.4)


def test_qcd_is_not_matched():
    assert truth.match_nothing(2).code.tolist() == [truth.QCD_CODE] * 2


def test_separate_daughters_are_two():
    record = make_record([SYSTEM, (25, 3, 2, 600, 0, 0), (5, 0, 0, 300, 0, 0), (-5, 0, 0, 300, 0, 0)])
    assert truth.daughters(record, 1, 0) == [2, 3]
