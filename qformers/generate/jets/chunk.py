"""Generate the jets of one chunk: events, detector, jets, truth, arrays of the preset's layout."""

from collections.abc import Callable
from typing import Any

import numpy as np

from qformers.errors import GenerateError
from qformers.generate.jets import truth
from qformers.generate.jets.candidates import Candidates
from qformers.generate.jets.clustering import Jets, find_jets
from qformers.generate.jets.plan import Chunk, JetSettings, numpy_seed, pythia_seed
from qformers.generate.jets.processes import EVENTS_PER_BATCH, Process, apply_settings, build_pythia
from qformers.generate.record import Arrays, Record, charges, detectable, from_pythia

Report = Callable[[int], None]

MAX_EMPTY_BATCHES = 100


def _respond(record: Record, pythia: Any, card: str, rng: np.random.Generator) -> Candidates:
    """Candidates of a batch for one detector card."""
    which = np.flatnonzero(detectable(record))
    charge = charges(record.pid[which], pythia.particleData)
    if card == "tracks95":
        from qformers.generate.jets.layout_lhc5 import particles_with_track_loss

        return particles_with_track_loss(record, which, charge, rng)
    from qformers.generate.jets.detector import respond

    return respond(record, which, charge, card, rng)


def _matched(record: Record, jets: Jets, process: Process, radius: float) -> tuple[Jets, truth.Match]:
    """The jets that contain their resonance's decay (all jets of a class without resonance)."""
    if not process.resonance:
        return jets, truth.match_nothing(len(jets.event))
    decays = truth.resonances(record, process.resonance)
    matched = truth.match(jets.event, jets.eta, jets.phi, decays, radius)
    kept = matched.code > 0
    return jets.take(kept), matched.take(kept)


def _layout(jets: Jets, match: truth.Match, settings: JetSettings, process: Process) -> Arrays:
    """Arrays of the preset's file layout."""
    radius = settings.table.radius
    if settings.preset == "lhc5":
        from qformers.generate.jets import layout_lhc5

        return dict(layout_lhc5.arrays(jets, process.label, radius, settings.particles))
    from qformers.generate.jets import layout_jetclass

    return layout_jetclass.arrays(jets, match, process.label, radius)


def _join(batches: list[Arrays], n_jets: int) -> Arrays:
    """Batches end to end, cut to ``n_jets``; arrays named ``part_*`` have one row per particle."""
    joined = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    n_particles = int(joined["counts"][:n_jets].sum()) if "counts" in joined else 0
    return {name: a[: n_particles if name.startswith("part_") else n_jets] for name, a in joined.items()}


def make(settings: JetSettings, chunk: Chunk, report: Report) -> Arrays:
    """Generate a chunk; ``report`` is called with the number of new jets after every batch."""
    table = settings.table
    process = table.process(chunk.process)
    seed = pythia_seed(settings.seed, chunk.class_index, chunk.number)
    pythia = build_pythia(table, process, seed, settings.card)
    rng = np.random.default_rng(numpy_seed(settings.seed, chunk.class_index, chunk.number))
    batches: list[Arrays] = []
    n_jets = n_batches = n_empty = 0
    while n_jets < chunk.jets:
        if process.alternate:
            apply_settings(pythia, process.alternate[n_batches % len(process.alternate)])
        record = from_pythia(pythia.nextBatch(EVENTS_PER_BATCH))
        n_batches += 1
        jets = find_jets(_respond(record, pythia, settings.card, rng), len(record.counts), table)
        jets, match = _matched(record, jets, process, table.match_radius)
        new = min(len(jets.event), chunk.jets - n_jets)
        n_empty = 0 if new else n_empty + 1
        if n_empty >= MAX_EMPTY_BATCHES:
            raise GenerateError(f"{process.name}: no jet in {n_empty * EVENTS_PER_BATCH} events, seed {seed}")
        if new:
            batches.append(_layout(jets, match, settings, process))
            n_jets += new
        report(new)
    return _join(batches, chunk.jets)
