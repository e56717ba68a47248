"""The quark/gluon set: rows of packed arrays, charge and flags from PDG ids, and files that cannot be used."""

from __future__ import annotations

import math
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qformers.config.sections import DataConfig
from qformers.data import DataError, Events, open_split
from qformers.data.jets.npz_rows import open_rows
from qformers.data.jets.particles import KINDS
from qformers.data.jets.quark_gluon_writer import write
from qformers.data.jets.toy import zero_padded_momenta

Array = np.ndarray[Any, Any]
FLAGS = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
# written down independently: charge, and which of the flags
PARTICLES = {
    22: (0, 2), 11: (-1, 3), -11: (1, 3), 13: (-1, 4), -13: (1, 4), 211: (1, 0), -211: (-1, 0), 321: (1, 0),
    -321: (-1, 0), 2212: (1, 0), -2212: (-1, 0), 130: (0, 1), 2112: (0, 1), -2112: (0, 1), 310: (0, 1), 3112: (-1, 0),
    -3112: (1, 0), 3222: (1, 0), 3312: (-1, 0), -3334: (1, 0), 3122: (0, 1),
}  # fmt: skip


def load(path: Path, **changes: object) -> Events:
    base = {"dataset": "quark_gluon", "train": (str(path),), "val": (), "test": (), "features": "kinpid"}
    return open_split(DataConfig.model_validate(base | {"num_particles": 8} | changes), "train").load()


def refused(path: Path, match: str, **changes: object) -> None:
    with pytest.raises(DataError, match=match) as caught:
        load(path, **changes)
    assert str(path) in str(caught.value)


def jets(count: int, seed: int = 0, slots: int = 12) -> tuple[Array, Array]:
    return zero_padded_momenta(count, seed, slots)


def test_features_are_the_published_ones(tmp_path: Path) -> None:
    particles, quark = jets(30, seed=1)
    events = load(write(tmp_path / "QG_jets.npz", particles, quark), num_particles=20)
    assert events.class_names == ("quark", "gluon")
    assert events.labels.tolist() == [0 if flag else 1 for flag in quark]
    for number in range(30):
        real = [row for row in particles[number].tolist() if row[0] > 0]
        momenta = [(p * math.cos(f), p * math.sin(f), p * math.sinh(y), p * math.cosh(y)) for p, y, f, _ in real]
        px, py, pz, energy = (sum(row[place] for row in momenta) for place in range(4))
        jet_pt, jet_eta, jet_phi = math.hypot(px, py), math.asinh(pz / math.hypot(px, py)), math.atan2(py, px)
        assert events.mask[number].sum() == len(real)
        for slot, (row, vector) in enumerate(zip(real, momenta, strict=True)):  # the toy is in falling pT
            pt, eta, phi, pdgid = row
            charge, kind = PARTICLES[int(pdgid)]
            deta = (eta - jet_eta) * (1 if jet_eta >= 0 else -1)
            dphi = (phi - jet_phi + math.pi) % (2 * math.pi) - math.pi
            expected = [
                min(max((math.log(pt) - 1.7) * 0.7, -5), 5), min(max((math.log(vector[3]) - 2) * 0.7, -5), 5),
                min(max((math.log(pt / jet_pt) + 4.7) * 0.7, -5), 5),
                min(max((math.log(vector[3] / energy) + 4.7) * 0.7, -5), 5),
                min(max((math.hypot(deta, dphi) - 0.2) * 4, -5), 5),
                charge, *(float(kind == flag) for flag in range(5)), deta, dphi,
            ]  # fmt: skip
            np.testing.assert_allclose(events.features[number, slot], expected, rtol=1e-4, atol=2e-5)
            np.testing.assert_allclose(events.vectors[number, slot], vector, rtol=1e-5)
    assert events.feature_set.names[5:11] == ("part_charge", *(f"part_{flag}" for flag in FLAGS))


def test_every_particle_has_its_charge_and_one_flag(tmp_path: Path) -> None:
    assert {abs(number) for number in PARTICLES} <= set(KINDS)
    particles = np.zeros((len(PARTICLES), 1, 4))
    particles[:, 0] = [[10, 0.1, 0.2, number] for number in PARTICLES]
    events = load(write(tmp_path / "QG_jets.npz", particles, np.ones(len(particles))), num_particles=1)
    for (charge, kind), features in zip(PARTICLES.values(), events.features[:, 0], strict=True):
        assert features[5] == charge
        assert features[6:11].tolist() == [float(kind == flag) for flag in range(5)]


@pytest.mark.parametrize("packed", [True, False])
def test_pieces_are_read_alone(tmp_path: Path, packed: bool) -> None:
    particles, quark = jets(700, seed=4)
    path = tmp_path / "QG_jets.npz"
    (np.savez_compressed if packed else np.savez)(path, X=particles, y=quark)
    whole = load(path)
    np.testing.assert_array_equal(load(path, shuffle_jets=128).features, whole.features)
    gluons = load(path, classes=("gluon",))
    np.testing.assert_array_equal(gluons.features, whole.features[whole.labels == 1])
    np.testing.assert_array_equal(load(path, max_jets=300).features, whole.features[:300])


def test_files_may_have_fewer_slots_than_the_model(tmp_path: Path) -> None:
    for seed, slots in enumerate((5, 9)):
        write(tmp_path / f"QG_jets_{seed}.npz", *jets(20, seed, slots))
    events = load(tmp_path / "QG_jets_*.npz", num_particles=16)
    assert len(events) == 40
    assert not events.mask[:, 9:].any()


def test_other_types_of_numbers_are_the_same_jets(tmp_path: Path) -> None:
    particles, quark = jets(20, seed=5)
    straight = load(write(tmp_path / "a.npz", particles, quark))
    np.savez(tmp_path / "b.npz", X=particles.astype(np.float32), y=quark.astype(bool))
    turned = load(tmp_path / "b.npz")
    np.testing.assert_allclose(straight.features, turned.features, atol=1e-4)
    np.testing.assert_array_equal(straight.labels, turned.labels)


def test_an_array_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    particles = np.zeros((20_000, 100, 4))  # 64 MB
    particles[:, 0] = [10, 0.1, 0.2, 22]
    path = write(tmp_path / "QG_jets.npz", particles, np.ones(20_000))
    del particles
    tracemalloc.start()
    with open_rows(path) as rows:
        member = rows.member("X", 3)
        last = rows.read(member, 19_900, 20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last.shape == (100, 100, 4)
    assert last[-1, 0].tolist() == [10, 0.1, 0.2, 22]
    assert peak < 12e6


# what cannot be used


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("name", ["X", "y"])
def test_a_missing_array(tmp_path: Path, name: str) -> None:
    particles, quark = jets(3)
    arrays = {"X": particles, "y": quark, f"{name}x": quark}
    del arrays[name]
    refused(saved(tmp_path / "a.npz", **arrays), rf"array '{name}' is missing; ")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"X": np.zeros((3, 4))},
            r"array 'X' has the wrong type. Expected: real numbers with 3 axes. Received: float64 of",
        ),
        ({"X": np.zeros((3, 5, 4), complex)}, r"Received: complex128 of shape \(3, 5, 4\)"),
        ({"X": np.full((3, 5, 4), "a")}, r"Received: <U1 of shape \(3, 5, 4\)"),
        ({"X": np.zeros((3, 5, 3))}, r"'X' must have 4 numbers per particle, pt, rapidity, phi, pdgid. Received: 3"),
        ({"y": np.zeros((3, 1))}, r"array 'y' has the wrong type. Expected: real numbers with 1 axes"),
        ({"y": np.zeros(4)}, r"'y' has 4 jets and 'X' has 3"),
        (
            {"X": np.asfortranarray(np.ones((3, 5, 4)))},
            r"array 'X' is saved column after column.*np.ascontiguousarray\(X\)",
        ),
        ({"y": np.array([0, 1, 2])}, r"'y': must be 0 or 1. Received: 2 in jet 2"),
        ({"y": np.array([0, np.nan, 1])}, r"'y': must be 0 or 1. Received: nan in jet 1"),
        ({"y": np.array([0, 1, 1e-50])}, r"'y': must be 0 or 1. Received: 1e-50 in jet 2"),  # 0 in float32
        ({"y": np.array([1 + 1e-12, 1, 1])}, r"'y': must be 0 or 1. Received: 1 in jet 0"),
    ],
)
def test_arrays_of_another_type_or_shape(tmp_path: Path, arrays: dict[str, Array], words: str) -> None:
    particles, quark = jets(3)
    refused(saved(tmp_path / "a.npz", **({"X": particles, "y": quark} | arrays)), words)


def test_azimuths_may_begin_and_end_anywhere_near_a_turn(tmp_path: Path) -> None:
    """[-pi, pi] or [0, 2 pi), or what continues these so that a jet is in one piece."""
    particles, quark = jets(20, seed=6)
    straight = load(write(tmp_path / "a.npz", particles, quark))
    turned = particles.copy()
    turned[:, :, 2] += 2 * np.pi * (particles[:, :, 0] > 0)
    again = load(write(tmp_path / "b.npz", turned, quark))
    np.testing.assert_allclose(again.features, straight.features, atol=1e-5)


def test_pickled_arrays_are_not_unpickled(tmp_path: Path) -> None:
    ragged = np.empty(3, object)
    ragged[:] = [np.zeros((number + 1, 4)) for number in range(3)]
    path = tmp_path / "a.npz"
    np.savez(path, allow_pickle=True, X=ragged, y=np.zeros(3))
    refused(path, r"array 'X' has the wrong type.*Received: object, which would have to be unpickled of shape \(3,\)")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (0, np.nan, r"'X' column 0 \(pt\): non-finite value nan in jet 5"),
        (2, np.inf, r"'X' column 2 \(phi\): non-finite value inf in jet 5"),
        (0, 1e300, r"'X' column 0 \(pt\): value beyond 1e\+09 \(units are GeV\), 1e\+300 in jet 5"),
        (0, 1e-50, r"a particle's pT must be at least 1.2e-38 GeV to be told from 0. Received: 1e-50 in jet 5"),
        (1, 900.0, r"'X' column 1 \(rapidity\): value beyond 50 \(a rapidity, .*\), 900.0 in jet 5"),
        (1, 40.0, r"'X' columns 0 \(pt\), 1 \(rapidity\): value beyond 1e\+09 \(units are GeV\), .*e\+1"),  # cosh of it
        (2, 1e8, r"'X' column 2 \(phi\): value beyond 12.5664 \(an azimuth in rad\), 100000000.0 in jet 5"),
        (2, -180.0, r"'X' column 2 \(phi\): value beyond 12.5664 \(an azimuth in rad\), -180.0 in jet 5"),
        (3, 1e300, r"'X' column 3 \(pdgid\): value beyond 2.14748e\+09 \(a PDG id\), 1e\+300 in jet 5"),
        (0, -1.0, r"a particle's pT must be positive. Received: -1.0 in jet 5"),
        (0, 0.0, r"a particle's pT must be positive. Received: 0.0 in jet 5"),
        (
            3,
            24.0,
            r"'X' column 3 \(pdgid\): unknown PDG id 24 in jet 5 .*known are 11, 13, 22, .*or choose data.features",
        ),
        (3, -17.0, r"unknown PDG id -17 in jet 5"),
        (3, 0.0, r"unknown PDG id 0 in jet 5"),
        (3, 21.5, r"a PDG id is a whole number. Received: 21.5 in jet 5"),
    ],
)
def test_particles_that_cannot_be(tmp_path: Path, column: int, value: float, said: str) -> None:
    particles, quark = jets(10, seed=1)
    particles[5, 0, column] = value
    refused(write(tmp_path / "a.npz", particles, quark), said)


def test_ids_do_not_count_where_no_feature_needs_them(tmp_path: Path) -> None:
    particles, quark = jets(10, seed=1)
    particles[5, 0, 3] = 24
    assert len(load(write(tmp_path / "a.npz", particles, quark), features="kin")) == 10


def test_jets_without_particles(tmp_path: Path) -> None:
    particles, quark = jets(10, seed=1)
    particles[4] = 0
    refused(write(tmp_path / "a.npz", particles, quark), r"jet 4 has no particle \(1 such jets .*; drop them")
    with pytest.raises(DataError, match=r"data.train: no jet in 1 files"):
        load(write(tmp_path / "b.npz", *jets(0)))


def test_files_that_are_cut_damaged_or_something_else(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", *jets(300))
    content = path.read_bytes()
    for damaged in (b"", b"no zip" * 100, content[:-40], content[: len(content) // 2]):
        path.write_bytes(damaged)
        refused(
            path, r"cannot be read as arrays, the file is damaged, truncated or something else .*; fetch or write it"
        )
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 255
    path.write_bytes(bytes(flipped))
    with pytest.raises(DataError):  # of the packed bytes, or of the numbers that come of them
        load(path)


def test_arrays_that_claim_more_than_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in (("X", "(10**15, 5, 4)".replace("10**15", str(10**15))), ("y", "(3,)")):
            header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
            archive.writestr(
                f"{name}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(24)
            )
    refused(
        path, r"array 'X' of shape \(1000000000000000, 5, 4\) promises [\d,]+ bytes and has 152 \(\d+ packed\); fetch"
    )


def test_the_writer_refuses_other_shapes_and_leaves_no_half_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    particles, quark = jets(4)
    with pytest.raises(ValueError, match=r"particles must be \(jets, slots, 4\) and quark \(jets,\). Received"):
        write(tmp_path / "a.npz", particles[..., :3], quark)
    monkeypatch.setattr(np, "savez_compressed", lambda file, **arrays: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "a.npz", particles, quark)
    assert list(tmp_path.iterdir()) == []
