"""Which hard process makes which jet class, and Pythia set up for it.

Energies and masses in GeV, lengths in mm. ``pythia8mc`` is imported only inside ``require``.
"""

import difflib
import importlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from qformers.errors import DataError

EVENTS_PER_BATCH = 100  # fixed: it orders the detector's random draws, so jets depend on it

_HADRONIC = "onIfAny=1 2 3 4 5"
_HADRONIC_W = ("24:onMode=off", f"24:{_HADRONIC}")
_HADRONIC_Z = ("23:onMode=off", f"23:{_HADRONIC}")
_INVISIBLE_Z = ("WeakZ0:gmZmode=2", "23:onMode=off", "23:onIfAny=12 14 16")
_HZ = ("HiggsSM:ffbar2HZ=on", *_INVISIBLE_Z, "25:onMode=off")
_TOP = ("Top:gg2ttbar=on", "Top:qqbar2ttbar=on")
_ZZ = ("WeakDoubleBoson:ffbar2gmZgmZ=on", "WeakZ0:gmZmode=2", *_HADRONIC_Z)
_SEMILEPTONIC_PLUS = ("24:onMode=off", "24:onPosIfAny=1 2 3 4 5", "24:onNegIfAny=11 13")
_SEMILEPTONIC_MINUS = ("24:onMode=off", "24:onNegIfAny=1 2 3 4 5", "24:onPosIfAny=11 13")


@dataclass(frozen=True)
class Process:
    """One jet class: its file name, label, Pythia settings and the resonance to match (0: none)."""

    name: str
    label: str
    settings: tuple[str, ...]
    resonance: int = 0
    # Decay settings applied in turn, one per batch of events: HToWW2Q1L alternates the sign of the
    # W that decays to a lepton, or the lepton's charge would give the label away.
    alternate: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Preset:
    """A family of jet classes with one jet definition and one kinematic window."""

    name: str
    processes: tuple[Process, ...]
    radius: float  # anti-kT
    match_radius: float | None  # all decay products of the resonance lie this close to the jet; None: not asked
    pt_min: float  # GeV
    pt_max: float  # GeV
    abs_eta_max: float
    pt_hat: tuple[float, float]  # GeV, of the hard process
    cards: tuple[str, ...]  # detector choices, the first is the default
    settings: tuple[str, ...] = ()  # of Pythia, for all classes
    leading: bool = False  # of every event only the jet with the largest pT
    undecayed: bool = False  # hard events come without decays, as from a matrix-element generator: W and Z decay evenly
    hard_settings: tuple[str, ...] = ()  # of Pythia, where it makes such hard events
    track_efficiency: float = 1.0  # lhc5: share of charged particles that is kept
    particle_pt_min: float = 0.0  # GeV; lhc5: of the particles that jets are made of

    def process(self, name: str) -> Process:
        """The class called ``name`` (file name or label)."""
        for process in self.processes:
            if name in (process.name, process.label):
                return process
        raise unknown("class", name, [p.name for p in self.processes])


JETCLASS = Preset(
    name="jetclass",
    radius=0.8,
    match_radius=0.8,
    pt_min=500.0,
    pt_max=1000.0,
    abs_eta_max=2.0,
    pt_hat=(450.0, 1100.0),
    cards=("jetclass", "cms", "gen"),
    processes=(
        Process(
            "ZJetsToNuNu",
            "QCD",
            ("WeakBosonAndParton:qqbar2gmZg=on", "WeakBosonAndParton:qg2gmZq=on", *_INVISIBLE_Z),
        ),
        Process("HToBB", "Hbb", (*_HZ, "25:onIfMatch=5 -5"), 25),
        Process("HToCC", "Hcc", (*_HZ, "25:onIfMatch=4 -4"), 25),
        Process("HToGG", "Hgg", (*_HZ, "25:onIfMatch=21 21"), 25),
        Process("HToWW4Q", "H4q", (*_HZ, "25:onIfMatch=24 -24", *_HADRONIC_W), 25),
        Process(
            "HToWW2Q1L",
            "Hqql",
            (*_HZ, "25:onIfMatch=24 -24", *_SEMILEPTONIC_PLUS),
            25,
            (_SEMILEPTONIC_PLUS, _SEMILEPTONIC_MINUS),
        ),
        Process("ZToQQ", "Zqq", _ZZ, 23),
        Process("WToQQ", "Wqq", ("WeakDoubleBoson:ffbar2ZW=on", *_INVISIBLE_Z, *_HADRONIC_W), 24),
        Process("TTBar", "Tbqq", (*_TOP, *_HADRONIC_W), 6),
        Process("TTBarLep", "Tbl", (*_TOP, "24:onMode=off", "24:onIfAny=11 13"), 6),
    ),
)

# What the public set says of itself (arXiv:1709.08705, 1908.05318): partons and undecayed bosons of 1 TeV from a
# matrix-element generator, so on their mass shells, decayed and showered by Pythia 8 with underlying event. What its
# jets say (docs/generator.md has the table of each change): radius 0.4, since no constituent lies farther out; the
# leading jet of each event, in no window. The pT of the partons and the soft cut are tuned to the mean pT and the
# multiplicities.
ON_SHELL = ("PhaseSpace:useBreitWigners=off",)
LHC5 = Preset(
    name="lhc5",
    radius=0.4,
    match_radius=None,
    pt_min=200.0,
    pt_max=math.inf,
    abs_eta_max=2.5,
    pt_hat=(1060.0, 1080.0),
    cards=("particles",),
    leading=True,
    undecayed=True,
    hard_settings=ON_SHELL,
    particle_pt_min=0.28,
    processes=(
        Process("gluon", "g", ("HardQCD:gg2gg=on",)),
        Process("quark", "q", ("HardQCD:qq2qq=on", "HardQCD:qqbar2qqbarNew=on")),
        Process("WToQQ", "w", ("WeakDoubleBoson:ffbar2WW=on", *_HADRONIC_W), 24),
        Process("ZToQQ", "z", _ZZ, 23),
        Process("TTBar", "t", (*_TOP, *_HADRONIC_W), 6),
    ),
)

PRESETS = {preset.name: preset for preset in (JETCLASS, LHC5)}


def unknown(kind: str, name: str, choices: Iterable[str]) -> DataError:
    """The error for a name that is not in a table: all choices, and the nearest one."""
    names = list(choices)
    by_lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.4)
    hint = f" Did you mean '{by_lower[near[0]]}'?" if near else ""
    return DataError(f"unknown {kind}. Received: {name!r}. Choices: {', '.join(names)}.{hint}")


def preset(name: str) -> Preset:
    """The preset called ``name``."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def require(module: str) -> ModuleType:
    """Import a generator library, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"generating jets needs the module {module!r}, which cannot be imported ({error}). "
            'Install it with: pip install "qformers[datagen]"'
        ) from error
