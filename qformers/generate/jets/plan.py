"""What is to be generated, cut into chunks that can each be reproduced alone.

Chunks never mix splits: two jets of one event must not end up on both sides of a split.
"""

from dataclasses import asdict, dataclass

from qformers.errors import DataError
from qformers.generate.jets.processes import Preset, preset, unknown

MAX_CHUNK_JETS = 1000
SPLITS = {"train": range(900), "val": range(900, 950), "test": range(950, 1000)}  # chunk numbers
HELD_OUT_SHARE = 0.1  # of val, and of test
PARTICLE_CHOICES = (30, 50, 100, 150)
COMPRESSIONS = ("lz4", "zlib", "lzma")


@dataclass(frozen=True)
class JetSettings:
    """Everything the jets depend on; equal settings and versions give equal arrays."""

    preset: str
    jets: int  # over all classes and splits
    seed: int = 1
    card: str = ""  # detector, "" takes the preset's default
    classes: tuple[str, ...] = ()  # file names of processes, () takes all
    particles: int = 150  # lhc5 only: slots per jet in the file; the public files have as many
    compression: str = "lz4"  # jetclass only: of the ROOT files

    def __post_init__(self) -> None:
        chosen = preset(self.preset)
        object.__setattr__(self, "card", self.card or chosen.cards[0])
        if self.card not in chosen.cards:
            raise unknown(f"detector card of {self.preset}", self.card, chosen.cards)
        names = tuple(chosen.process(name).name for name in self.classes) or tuple(p.name for p in chosen.processes)
        if len(set(names)) != len(names):
            raise DataError(f"a class is named twice. Received: {' '.join(self.classes)}")
        object.__setattr__(self, "classes", names)
        if not 0 <= self.seed <= 44_999:  # keeps the Pythia seed below its limit of 9e8
            raise DataError(f"seed must lie in 0..44999. Received: seed={self.seed}")
        if self.particles not in PARTICLE_CHOICES:
            raise DataError(f"particles must be one of {PARTICLE_CHOICES}. Received: particles={self.particles}")
        if self.compression not in COMPRESSIONS:
            raise unknown("compression", self.compression, COMPRESSIONS)
        if self.jets < 3 * len(names):
            raise DataError(
                f"jets must be at least 3 per class, one for each of {', '.join(SPLITS)}, that is "
                f"{3 * len(names)}. Received: jets={self.jets}"
            )
        largest = len(SPLITS["val"]) * MAX_CHUNK_JETS
        if max(split_jets(-(-self.jets // len(names))).values()) > len(SPLITS["train"]) * MAX_CHUNK_JETS or (
            split_jets(-(-self.jets // len(names)))["val"] > largest
        ):
            raise DataError(
                f"at most {int(largest / HELD_OUT_SHARE)} jets per class fit the chunk numbers of one seed; take "
                f"another seed for more. Received: jets={self.jets} for {len(names)} classes"
            )

    @property
    def table(self) -> Preset:
        """The preset itself."""
        return preset(self.preset)

    def as_dict(self) -> dict[str, object]:
        """For the manifest."""
        return {**asdict(self), "classes": list(self.classes)}


@dataclass(frozen=True)
class Chunk:
    """At most 1000 jets of one class and one split."""

    split: str
    number: int  # 0..999, unique within a class
    process: str
    class_index: int  # in the preset's table, whatever classes were chosen
    jets: int


def split_jets(jets: int) -> dict[str, int]:
    """Jets of one class per split: 80 / 10 / 10 %, none empty."""
    held_out = max(1, round(HELD_OUT_SHARE * jets))
    return {"train": jets - 2 * held_out, "val": held_out, "test": held_out}


def chunks(settings: JetSettings) -> list[Chunk]:
    """All chunks, ordered by split and chunk number, all classes of a number together."""
    n_classes = len(settings.classes)
    planned: list[Chunk] = []
    for position, name in enumerate(settings.classes):
        class_jets = settings.jets // n_classes + (position < settings.jets % n_classes)
        index = [p.name for p in settings.table.processes].index(name)
        for split, jets in split_jets(class_jets).items():
            for offset, first in enumerate(range(0, jets, MAX_CHUNK_JETS)):
                size = min(MAX_CHUNK_JETS, jets - first)
                planned.append(Chunk(split, SPLITS[split][0] + offset, name, index, size))
    return sorted(planned, key=lambda c: (c.number, c.class_index))


def pythia_seed(run: int, class_index: int, chunk: int) -> int:
    """Seed of Pythia for one chunk; never 0, which Pythia reads as the clock."""
    return 1 + chunk + 1000 * class_index + 20_000 * run


def numpy_seed(run: int, class_index: int, chunk: int) -> list[int]:
    """Seed of NumPy's generator for one chunk."""
    return [run, class_index, chunk]
