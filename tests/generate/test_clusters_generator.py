"""Lennard-Jones clusters: energies against plain loops, chains against Boltzmann's distribution, and their folders."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qformers.cli import generate as cli
from qformers.errors import DataError, GenerateError, QformersError
from qformers.generate.clusters import run
from qformers.generate.clusters.lennard_jones import Chains, Sphere, composition, draw, energies, pair_energies
from qformers.generate.clusters.run import ClusterSettings, generate

# (species, species) -> epsilon, sigma of Kob and Andersen, written down independently
MIXTURE = {(0, 0): (1.0, 1.0), (0, 1): (1.5, 0.8), (1, 0): (1.5, 0.8), (1, 1): (0.5, 0.88)}


def settings(**changes: Any) -> ClusterSettings:
    base: dict[str, Any] = {"clusters": 30, "held_out": 6, "atoms": 8, "sweeps": 40, "species": 2}
    return ClusterSettings(**{**base, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*/clusters_*.npz")}


def plain_energy(places: np.ndarray[Any, Any], kinds: list[int]) -> float:
    total = 0.0
    for i in range(len(kinds)):
        for j in range(i):
            epsilon, sigma = MIXTURE[kinds[i], kinds[j]]
            ratio = sigma / math.dist(places[i], places[j])
            total += 4 * epsilon * (ratio**12 - ratio**6)
    return total


def test_energies_are_those_of_a_plain_double_loop() -> None:
    kinds = composition(11, 2)
    assert kinds.tolist() == [0] * 9 + [1] * 2
    coords = np.random.default_rng(1).normal(0.0, 1.5, (5, 11, 3))
    np.testing.assert_allclose(energies(coords, kinds), [plain_energy(x, kinds.tolist()) for x in coords], rtol=1e-12)


def test_the_potential_has_its_minimum_and_its_zero_where_it_is_known() -> None:
    at = np.array([1.0, 2 ** (1 / 3), 4.0])  # squared distances
    np.testing.assert_allclose(pair_energies(at, np.ones(3), np.full(3, 2.0)), [0.0, -2.0, 8 * (2**-12 - 2**-6)])
    assert np.isfinite(pair_energies(np.zeros(1), np.ones(1), np.ones(1))).all()


def test_a_cluster_of_one_species_has_no_second() -> None:
    assert composition(10, 1).tolist() == [0] * 10


def test_two_atoms_follow_the_distribution_of_boltzmann() -> None:
    """Distances of two points in a sphere have a known density; times exp(-u / T) it gives the mean energy."""
    radius, temperature, chains = 1.6, 0.8, 4000
    r = np.linspace(0.5, 2 * radius, 20_001)
    u = pair_energies(r * r, np.ones_like(r), np.ones_like(r))
    density = r * r * (1 - 3 * r / (4 * radius) + r**3 / (16 * radius**3)) * np.exp(-u / temperature)
    mean = (u * density).sum() / density.sum()
    rng = np.random.default_rng(4)
    coords, accepted = draw(composition(2, 1), np.full(chains, temperature), Sphere(radius), 60, rng)
    drawn = energies(coords, composition(2, 1))
    assert abs(drawn.mean() - mean) < 4 * drawn.std() / math.sqrt(chains), (drawn.mean(), mean)
    assert 0.2 < accepted.mean() < 0.9
    assert (coords**2).sum(axis=-1).max() <= radius**2


def test_moves_change_the_energy_by_what_is_asked_for_them() -> None:
    """At no temperature nothing that costs energy is accepted."""
    kinds = composition(10, 2)
    chains = Chains(kinds, np.full(20, 1e-9), Sphere.of(10, 0.9), np.random.default_rng(2))
    before = energies(chains.coords, kinds)
    for _ in range(30):
        chains.sweep(adapt=True)
        after = energies(chains.coords, kinds)
        assert (after <= before + 1e-6 * np.abs(before)).all()
        before = after
    assert np.median(after) < 0


def test_hotter_clusters_have_more_energy() -> None:
    kinds, rng = composition(16, 2), np.random.default_rng(3)
    means = [energies(draw(kinds, np.full(60, t), Sphere.of(16, 1.0), 40, rng)[0], kinds).mean() for t in (0.5, 2.0)]
    assert means[0] < means[1] - 2


# folders


def test_files_have_what_the_manifest_says(tmp_path: Path) -> None:
    manifest = generate(settings(), tmp_path, "x")
    assert {name: entry["clusters"] for name, entry in manifest["files"].items()} == {
        "train/clusters_train.npz": 18,
        "val/clusters_val.npz": 6,
        "test/clusters_test.npz": 6,
    }
    with np.load(tmp_path / "train" / "clusters_train.npz") as file:
        arrays = dict(file)
    assert arrays["coords"].dtype == np.float32
    assert arrays["coords"].shape == (18, 8, 3)
    assert arrays["species"].tolist() == [[1] * 6 + [2] * 2] * 18
    assert ((arrays["temperature"] >= 0.5) & (arrays["temperature"] <= 2.0)).all()
    of_file = [plain_energy(x.astype(float), [0] * 6 + [1] * 2) / 8 for x in arrays["coords"]]
    np.testing.assert_allclose(arrays["energy"], of_file, rtol=1e-10)
    assert manifest["facts"]["of_second_species"] == 2


def test_equal_seeds_give_equal_files_and_others_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate(settings(seed=seed), tmp_path / name, "x")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not set(contents(tmp_path / "a").values()) & set(contents(tmp_path / "c").values())
    with np.load(tmp_path / "a/val/clusters_val.npz") as val, np.load(tmp_path / "a/test/clusters_test.npz") as test:
        assert not np.isclose(val["energy"][:, None], test["energy"]).any()


def test_lots_do_not_depend_on_how_many_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TOGETHER", 4)
    few, many = (run.sample(settings(), 0, clusters) for clusters in (8, 11))
    np.testing.assert_array_equal(few.coords, many.coords[:8])


def test_finished_files_are_kept_and_others_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = generate(settings(), tmp_path, "the first command")
    before = contents(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(run, "sample", lambda *arguments: 1 / 0)
        assert generate(settings(), tmp_path, "y") == manifest
    (tmp_path / "val" / "clusters_val.npz").unlink()
    generate(settings(), tmp_path, "x")
    assert contents(tmp_path) == before
    with pytest.raises(DataError, match=r"(?s)holds clusters of another run.*sweeps: 40 there, 41 now"):
        generate(settings(sweeps=41), tmp_path, "x")
    (tmp_path / "val" / "clusters_val.npz").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"clusters_val.npz is not the file that was generated \(sha256 differs\)"):
        generate(settings(), tmp_path, "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"atoms": 1}, r"atoms must lie in 2..1000. Received: atoms=1"),
        ({"species": 3}, r"species must lie in 1..2. Received: species=3"),
        ({"density": 3.0}, r"density must lie in 0.01..1.2. Received: density=3"),
        ({"density": math.nan}, r"density must lie in 0.01..1.2. Received: density=nan"),
        ({"coldest": 3.0}, r"coldest must be no more than hottest. Received: coldest=3, hottest=2"),
        ({"sweeps": 1}, r"sweeps must lie in 2..1e\+06. Received: sweeps=1"),
        ({"held_out": 15}, r"leave nothing for train: .* Received: clusters=30, held_out=15"),
        ({"seed": -1}, r"seed must lie in 0..2.14748e\+09. Received: seed=-1"),
    ],
)
def test_settings_are_refused_with_what_was_received(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        settings(**change)


def test_atoms_that_still_overlap_are_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(
        GenerateError, match=r"clusters atoms still overlap .*: raise --sweeps.* Received: --sweeps 2, -"
    ):
        generate(settings(atoms=40, sweeps=2), tmp_path, "x")
    assert not contents(tmp_path)


def test_the_command_writes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--clusters", "30", "--held-out", "5", "--atoms", "6", "--sweeps", "40", "--quiet"]
    assert cli.main(["clusters", *small, "--out", str(tmp_path / "a")]) == 0
    assert "30 clusters of 6 atoms within 1.13 sigma; energy" in capsys.readouterr().out
    with pytest.raises(QformersError, match=r"atoms must lie in"):
        cli.main(["clusters", "--atoms", "0", "--out", str(tmp_path / "b")])
