"""Generate the jets of one chunk: events, detector, jets, truth, arrays of the preset's layout."""

from collections.abc import Callable, Iterator

import numpy as np

from qformers.errors import GenerateError
from qformers.generate.jets import truth
from qformers.generate.jets.candidates import Candidates
from qformers.generate.jets.clustering import Jets, find_jets
from qformers.generate.jets.plan import Chunk, JetSettings, numpy_seed, pythia_seed
from qformers.generate.jets.processes import EVENTS_PER_BATCH, Preset, Process
from qformers.generate.jets.pythia import Events
from qformers.generate.record import Arrays, Record, charges, detectable

Report = Callable[[int], None]

MAX_EMPTY_BATCHES = 100


def _respond(record: Record, events: Events, preset: Preset, card: str, rng: np.random.Generator) -> Candidates:
    """Candidates of a batch for one detector card."""
    which = np.flatnonzero(detectable(record))
    charge = charges(record.pid[which], events.particles)
    if card == "particles":
        from qformers.generate.jets.layout_lhc5 import particles_of

        return particles_of(record, which, charge, preset, rng)
    from qformers.generate.jets.detector import respond

    return respond(record, which, charge, card, rng)


def _matched(record: Record, jets: Jets, process: Process, radius: float | None) -> tuple[Jets, truth.Match]:
    """The jets that contain their resonance's decay (all jets of a class without resonance, or without radius)."""
    if not process.resonance or radius is None:
        return jets, truth.match_nothing(len(jets.event))
    decays = truth.resonances(record, process.resonance)
    matched = truth.match(jets.event, jets.eta, jets.phi, decays, radius)
    kept = matched.code > 0
    return jets.take(kept), matched.take(kept)


def jets_of(
    preset: Preset, process: Process, seed: int, card: str, rng: np.random.Generator
) -> Iterator[tuple[Jets, truth.Match]]:
    """Jets of one class, a batch of events at a time, without end.

    Args:
        preset: jet definition and window.
        process: the class.
        seed: of Pythia.
        card: detector.
        rng: of the detector.

    Raises:
        GenerateError: Pythia does not start, or many batches in turn have no jet.
    """
    events, empty = Events(preset, process, seed, card), 0
    while True:
        record = events.batch()
        jets = find_jets(_respond(record, events, preset, card, rng), len(record.counts), preset)
        jets, match = _matched(record, jets, process, preset.match_radius)
        empty = 0 if len(jets.event) else empty + 1
        if empty >= MAX_EMPTY_BATCHES:
            raise GenerateError(f"{process.name}: no jet in {empty * EVENTS_PER_BATCH} events, seed {seed}")
        yield jets, match


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
    process = settings.table.process(chunk.process)
    seed = pythia_seed(settings.seed, chunk.class_index, chunk.number)
    rng = np.random.default_rng(numpy_seed(settings.seed, chunk.class_index, chunk.number))
    batches: list[Arrays] = []
    made = 0
    for jets, match in jets_of(settings.table, process, seed, settings.card, rng):
        new = min(len(jets.event), chunk.jets - made)
        if new:
            batches.append(_layout(jets, match, settings, process))
            made += new
        report(new)
        if made == chunk.jets:
            break
    return _join(batches, chunk.jets)
