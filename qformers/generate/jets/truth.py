"""Truth matching: is the whole decay of a resonance inside the jet?

As in JetClass: take the last copy of the resonance, its daughters (a W or Z replaced by the daughters
of its own last copy), forget neutrinos, and ask that all of them lie within the jet radius.
"""

from dataclasses import dataclass

import numpy as np

from qformers.generate.record import NEUTRINO_IDS, Bools, Floats, Ints, Record, pseudorapidity, wrap_phi

QCD_CODE = 50
_TOP, _Z, _W, _HIGGS = 6, 23, 24, 25


@dataclass(frozen=True)
class Resonance:
    """A decayed resonance: kinematics, its visible decay products, and the JetClass match code."""

    event: int
    pid: int
    pt: float  # GeV
    eta: float
    phi: float
    product_eta: Floats  # (products,)
    product_phi: Floats
    code: int


@dataclass(frozen=True)
class Match:
    """Per jet: the match code (0: no match) and the matched resonance's pid, pT (GeV), eta, phi."""

    code: Ints
    pid: Ints
    pt: Floats
    eta: Floats
    phi: Floats

    def take(self, which: Bools) -> "Match":
        """The matches where ``which`` is true."""
        return Match(self.code[which], self.pid[which], self.pt[which], self.eta[which], self.phi[which])


def daughters(record: Record, index: int, start: int) -> list[int]:
    """Global indices of a particle's daughters (Pythia's rules for daughter1 and daughter2)."""
    first, last = int(record.daughter1[index]), int(record.daughter2[index])
    if first == 0 and last == 0:
        return []
    if last == 0 or last == first:
        return [start + first]
    if last > first:
        return list(range(start + first, start + last + 1))
    return [start + last, start + first]


def last_copy(record: Record, index: int, start: int) -> int:
    """Follow a particle through its shower copies to the one that decays."""
    while True:
        same = [d for d in daughters(record, index, start) if record.pid[d] == record.pid[index]]
        if not same:
            return index
        index = same[0]


def visible_products(record: Record, index: int, start: int) -> list[int]:
    """Decay products of a resonance, W and Z replaced by theirs, neutrinos dropped."""
    products: list[int] = []
    for daughter in daughters(record, index, start):
        if abs(int(record.pid[daughter])) in (_Z, _W):
            products += daughters(record, last_copy(record, daughter, start), start)
        else:
            products.append(daughter)
    return [p for p in products if abs(int(record.pid[p])) not in NEUTRINO_IDS]


def match_code(resonance_pid: int, product_pids: list[int]) -> int:
    """JetClass ``aux_truth_match`` of a decay, 0 if it is none of the known ones."""
    kinds = sorted(abs(pid) for pid in product_pids)
    quarks = [k for k in kinds if k <= 5]
    leptons = [k for k in kinds if k in (11, 13)]
    resonance = abs(resonance_pid)
    charm = 4 in quarks
    if resonance == _TOP and len(quarks) == 3 and len(kinds) == 3:
        return 11 if charm else 12
    if resonance == _TOP and len(quarks) == 1 and len(leptons) == 1:
        return {11: 15, 13: 16}[leptons[0]]
    if resonance == _W and len(quarks) == 2:
        return 21 if charm else 22
    if resonance == _Z and len(quarks) == 2:
        return {5: 31, 4: 32}.get(quarks[0], 33)
    if resonance == _HIGGS:
        if kinds in ([5, 5], [4, 4], [21, 21]):
            return {5: 41, 4: 42, 21: 44}[kinds[0]]
        if len(quarks) == 4:
            return 45
        if len(quarks) == 2 and len(leptons) == 1:
            return 46
    return 0


def resonances(record: Record, pid: int) -> list[Resonance]:
    """All decayed particles |id| = ``pid`` of a batch whose decay has a match code."""
    decays: list[Resonance] = []
    starts, event = record.starts, record.event
    for index in np.flatnonzero(np.abs(record.pid) == pid):
        start = int(starts[event[index]])
        if last_copy(record, int(index), start) != index:
            continue
        products = visible_products(record, int(index), start)
        code = match_code(pid, [int(record.pid[p]) for p in products])
        if code == 0:
            continue
        which = np.array([int(index), *products])
        px, py, pz = record.px[which], record.py[which], record.pz[which]
        eta, phi = pseudorapidity(px, py, pz), np.arctan2(py, px)
        decays.append(
            Resonance(
                event=int(event[index]),
                pid=int(record.pid[index]),
                pt=float(np.hypot(px[0], py[0])),
                eta=float(eta[0]),
                phi=float(phi[0]),
                product_eta=eta[1:],
                product_phi=phi[1:],
                code=code,
            )
        )
    return decays


def match(jet_event: Ints, jet_eta: Floats, jet_phi: Floats, decays: list[Resonance], radius: float) -> Match:
    """Match jets to resonances; of several that fit, the nearest in dR wins."""
    n_jets = len(jet_event)
    code, pid = np.zeros(n_jets, dtype=np.int64), np.zeros(n_jets, dtype=np.int64)
    pt, eta, phi = np.zeros(n_jets), np.zeros(n_jets), np.zeros(n_jets)
    best = np.full(n_jets, np.inf)
    for one in decays:
        for jet in np.flatnonzero(jet_event == one.event):
            spread = np.hypot(one.product_eta - jet_eta[jet], wrap_phi(one.product_phi - jet_phi[jet]))
            distance = float(np.hypot(one.eta - jet_eta[jet], wrap_phi(np.asarray(one.phi - jet_phi[jet]))))
            if spread.max() < radius and distance < best[jet]:
                best[jet] = distance
                code[jet], pid[jet] = one.code, one.pid
                pt[jet], eta[jet], phi[jet] = one.pt, one.eta, one.phi
    return Match(code=code, pid=pid, pt=pt, eta=eta, phi=phi)


def match_nothing(n_jets: int) -> Match:
    """The match of QCD jets: every jet is taken, with the QCD code and no resonance."""
    zeros = np.zeros(n_jets)
    return Match(code=np.full(n_jets, QCD_CODE), pid=np.zeros(n_jets, dtype=np.int64), pt=zeros, eta=zeros, phi=zeros)
