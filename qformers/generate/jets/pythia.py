"""Pythia set up for one class: its events, straight from Pythia or from hard events that carry no decays.

``pythia8mc`` is imported only where a generator is built.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from qformers.errors import DataError, GenerateError
from qformers.generate.jets.processes import EVENTS_PER_BATCH, Preset, Process, require
from qformers.generate.record import Record, from_pythia

COLLISION_GEV = 13_000.0
HARD_SEEDS = 10_000  # what is added to the seed for the hard events: seeds of classes are 1,000 apart, at most ten
MOST_SEED = 900_000_000  # of Pythia
HARD_ONLY = ("PartonLevel:all=off", "HadronLevel:all=off", "ProcessLevel:resonanceDecays=off", "Check:event=off")
PROTON = 2212
TRIES = 10  # for a hard event; Pythia gives one up now and then


def apply_settings(pythia: Any, settings: Iterable[str]) -> None:
    """Send settings to Pythia; one that it does not take is an error, never a silent default."""
    for setting in settings:
        if not pythia.readString(setting):
            raise DataError(f"Pythia does not accept the setting. Received: {setting!r}")


def settings_for(preset: Preset, process: Process, seed: int, card: str) -> list[str]:
    """Every Pythia setting of one run whose hard process is Pythia's own, in the order in which they are applied."""
    return [*_common(seed), *_beams(preset), *preset.settings, *process.settings, *_volume(card)]


def hard_settings(preset: Preset, process: Process, seed: int) -> list[str]:
    """The same of the hard events alone, nothing decayed."""
    own = [one for one in process.settings if not _of_decay(one)]
    return [*_common(seed), *_beams(preset), *own, *HARD_ONLY, *preset.hard_settings]


def shower_settings(preset: Preset, process: Process, seed: int, card: str) -> list[str]:
    """The same of decays, showers and hadrons of hard events that are given."""
    decays = [one for one in process.settings if _of_decay(one)]
    return [*_common(seed), "Beams:frameType=5", *preset.settings, *decays, *_volume(card)]


def _common(seed: int) -> list[str]:
    return ["Print:quiet=on", "25:m0=125", "6:m0=173", "Random:setSeed=on", f"Random:seed={seed}"]


def _beams(preset: Preset) -> list[str]:
    low, high = preset.pt_hat
    return [f"Beams:eCM={COLLISION_GEV:g}", f"PhaseSpace:pTHatMin={low:g}", f"PhaseSpace:pTHatMax={high:g}"]


def _of_decay(setting: str) -> bool:
    """Whether a setting is one of a particle, ``24:onMode=off``."""
    return setting.split(":")[0].isdigit()


def _volume(card: str) -> tuple[str, ...]:
    # Only in `cms`: with limited decays in the JetClass card the Hbb median mass moves by 3 GeV.
    return (
        ("ParticleDecays:limitCylinder=on", "ParticleDecays:xyMax=1290", "ParticleDecays:zMax=3000")
        if card == "cms"
        else ()
    )


@functools.cache
def _hard_events() -> type:
    """The class that hands hard events of one Pythia to another, made where Pythia is there to derive it from."""
    pythia8mc = require("pythia8mc")

    class HardEvents(pythia8mc.LHAup):  # type: ignore[misc, name-defined]
        """Hard events as a matrix-element generator writes them: two partons in, the particles they make out.

        Pythia decays a W or Z of its own hard process by that process's matrix element, one that is given evenly in
        its rest frame: events of MadGraph that Pythia decays are of the second kind.
        """

        def __init__(self, pythia: Any) -> None:
            super().__init__(3)  # events have weight 1 and are all taken
            self._pythia = pythia

        def setInit(self) -> bool:
            for beam in (self.setBeamA, self.setBeamB):
                beam(PROTON, COLLISION_GEV / 2, 0, 0)
            self.setStrategy(3)
            self.addProcess(1, 1.0, 0.0, 1.0)
            return True

        def setEvent(self, process: int = 0) -> bool:
            if not any(self._pythia.next() for _ in range(TRIES)):
                return False
            event = self._pythia.process
            self.setProcess(1, 1.0, event.scale(), 1 / 128.0, 0.118)
            for place in range(3, event.size()):  # behind the system and the two protons
                one, into = event[place], place < 5
                self.addParticle(
                    one.id(), -1 if into else 1, 0 if into else 1, 0 if into else 2, one.col(), one.acol(),
                    one.px(), one.py(), one.pz(), one.e(), one.m(), 0.0, 9.0, one.scale(),
                )  # fmt: skip
            return True

    return HardEvents


class Events:
    """Events of one class and one seed, batch by batch.

    Attributes:
        particles: what Pythia knows of particles, by id.
    """

    def __init__(self, preset: Preset, process: Process, seed: int, card: str) -> None:
        """Starts Pythia.

        Args:
            preset: jet definition and window.
            process: the class.
            seed: 1 to 9e8: Pythia reads 0 as the clock.
            card: detector.

        Raises:
            DataError: a seed or a setting that Pythia does not take.
            GenerateError: Pythia does not start.
        """
        if not 1 <= seed <= MOST_SEED - HARD_SEEDS:
            raise DataError(f"the Pythia seed must lie in 1..{MOST_SEED - HARD_SEEDS}. Received: seed={seed}")
        self._process, self._batches = process, 0
        if preset.undecayed:
            # kept: Pythia only borrows what hands it events
            self._hard = _hard_events()(_started(process, hard_settings(preset, process, seed + HARD_SEEDS)))
            self._pythia = _started(process, shower_settings(preset, process, seed, card), self._hard)
        else:
            self._pythia = _started(process, settings_for(preset, process, seed, card))
        self.particles = self._pythia.particleData

    def batch(self) -> Record:
        """The next `EVENTS_PER_BATCH` events.

        Raises:
            GenerateError: Pythia stopped.
        """
        if self._process.alternate:
            apply_settings(self._pythia, self._process.alternate[self._batches % len(self._process.alternate)])
        self._batches += 1
        events = self._pythia.nextBatch(EVENTS_PER_BATCH)
        if not len(events):
            raise GenerateError(f"{self._process.name}: Pythia makes no events any more, after {self._batches} batches")
        return from_pythia(events)


def _started(process: Process, settings: list[str], hard: Any = None) -> Any:
    pythia = require("pythia8mc").Pythia("", False)
    apply_settings(pythia, settings)
    if hard is not None:
        pythia.setLHAupPtr(hard)
    if not pythia.init():
        raise GenerateError(f"Pythia cannot start {process.name}. Received the settings: {'; '.join(settings)}")
    return pythia
