"""A toy data set, written with nothing but what a new one needs: a reader of files, and the line of `DATASETS`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events
from qformers.data.jets.reader import choose_features
from qformers.data.jets.split import JetDataset
from qformers.data.jets.standardise import RAW, feature_set

TOY_CLASSES = ("near", "far")
TOY_FEATURES = {"plain": feature_set({"part_deta": RAW, "part_dphi": RAW})}


def write_toy_jets(folder: Path, jets: int, seed: int) -> None:
    """Two files of jets of four particles; the particles of class ``far`` lie apart from those of ``near``."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(2):
        labels = rng.integers(0, 2, jets // 2)
        particles = rng.normal(size=(jets // 2, 4, 2)) + 2.0 * labels[:, None, None]
        np.savez(folder / f"{number}.npz", particles=particles.astype(np.float32), labels=labels)


class ToyReader:
    """Reads the files of `write_toy_jets`."""

    def __init__(self, config: DataConfig) -> None:
        self.class_names = TOY_CLASSES
        self.feature_set = choose_features(config.features, TOY_FEATURES, "toy_jets")
        self._particles = config.num_particles

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """All."""
        with np.load(path) as file:
            return np.ones(len(file["labels"]), bool)

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Jets [start, stop)."""
        with np.load(path) as file:
            features, labels = file["particles"][start:stop, : self._particles], file["labels"][start:stop]
        vectors, mask = np.zeros((*features.shape[:2], 4), np.float32), np.ones(features.shape[:2], np.float32)
        return Events(features, vectors, mask, labels, self.class_names, self.feature_set)


TOY_JETS = JetDataset(ToyReader, ("[0-9].npz",), TOY_FEATURES)
