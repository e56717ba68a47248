"""The sections of a build file, a frozen record each: data, quantisation, training, firmware.

Every field says its unit and who reads it; the model section is the record of an architecture (`qformers.models`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qformers.config.layers import Format, LayerFirmware, LayerFormats, WeightFormat, unsaid
from qformers.config.section import Positive, Section, Share

EBOPS_ARRIVAL = 0.7  # default of train.qat.ebops_arrival


class PointsConfig(Section):
    """What is read of events of points, and what is asked of each point (read by `qformers.data.points`)."""

    task: Literal["tracking", "pileup"] = "tracking"  # a key of qformers.tasks.TASKS:
    # tracking: an embedding in which the points of a particle lie together; pileup: a score that keeps or drops a point
    layers: Literal["pixel", "all"] = "pixel"  # trackml: which detectors
    phi_sectors: Positive = 1  # windows that an event is cut into, in phi of the point; 1 = no cut
    eta_edges: tuple[float, ...] = ()  # the same in eta, the edges of the windows in rising order; () = no cut.
    # An event has phi_sectors * (edges - 1) windows, each of which is one input of the model
    overlap: Annotated[float, Field(ge=1)] = 1.1  # windows see more than their core, by this factor in each direction;
    # a particle counts in the window whose core holds half of it, a point of a pile-up task in the core it lies in
    too_many: Literal["refuse", "cut"] = "refuse"  # windows of more than data.num_particles points: an error, or the
    # points behind the first num_particles are dropped
    lda: str | None = None  # line_segments: JSON file of the LDA that gives the coordinates, fitted on training events
    fakes_per_true: Annotated[float, Field(ge=0)] = 0.0  # line_segments, tracking: fake segments kept per true one
    loss: Literal["hept", "cms"] = "hept"  # as published with HEPT or with HEPT-CMS: InfoNCE for tracking (which pairs,
    # which of them are positive, weights of negatives), focal loss for pile-up
    num_pairs: Positive = 20_000  # tracking: pairs per window in the loss; more are thinned at random, positives last


class DataConfig(Section):
    """Which jets or events, which of their particles or points and which numbers of each (read by `qformers.data`)."""

    dataset: str  # a key of qformers.data.DATASETS; data sets of points need the section `points` below
    train: tuple[str, ...]  # globs, relative to the working directory; a file that two of them match counts once
    val: tuple[str, ...]
    test: tuple[str, ...]
    features: str  # name of a feature set of the data set, e.g. "kin" or "lnpt_eta_phi"; line_segments have one only
    num_particles: Positive  # N: slots of the model. Of jets the N particles of highest pT are kept, of a window of
    # points all, see points.too_many
    classes: tuple[str, ...] = ()  # jets: subset and order of the labels; empty = all of the data set
    padding: Literal["zero", "wrap"] = "zero"  # jets: what stands in empty slots of features and vectors:
    # zeros, or the particles of the jet over again (the mask is 0 in both cases)
    max_jets: Positive | None = (
        None  # per split, None = all. Jets: shared evenly among the files; points: so many files
    )
    cache: str | None = None  # folder of decoded arrays, None = decode each time. A folder is checked before it is used
    # and made again where a file or one of these settings has changed
    shuffle_jets: Positive = (
        100_000  # jets or windows mixed in memory at a time, which bounds the memory of a stream; a
    )
    # split of fewer jets is decoded once and stays in memory
    points: Annotated[PointsConfig | None, Field(exclude_if=lambda points: points is None)] = None  # None = jets


class QuantConfig(Section):
    """Fixed-point arithmetic of the quantised model (read by `qformers.nn.hgq`).

    Widths are spelt as ``ap_fixed`` does, sign bit counted among the integer bits: ``fixed<W,I>``, ``ufixed<W,I>``,
    optionally followed by rounding and overflow words, e.g. ``fixed<8,3,RND,SAT>``; or as QKeras does:
    ``quantized_bits(6, 0, alpha=1)``, ``quantized_relu(6, 2)``, ``quantized_tanh(8)``.
    """

    learn: bool = True  # widths learned per weight (HGQ); False = the widths below are kept
    weight: WeightFormat = "fixed<8,2,RND,SAT_SYM>"  # start (learn) or format (fixed) of weights
    bias: Format = "fixed<10,3,RND,SAT>"
    activation: Format = "fixed<10,4,RND,SAT>"  # of every value that flows between layers
    logits: Format = "fixed<10,4,RND,SAT>"  # attention scores q.k and the pair bias U; never learned in their range
    coords: Format = "fixed<8,3,RND,SAT>"  # of the coordinates of points (hept), which are never learned
    differences: Format = "fixed<8,4,RND,SAT>"  # of queries from keys and of coordinates (hept), in front of a square
    exp_input_fraction_bits: Annotated[int, Field(ge=0, le=8)] = 5  # grid of the exponential table, 3 integer bits
    exp_fraction_bits: Annotated[int, Field(ge=2, le=10)] = 8  # grid of its output
    inverse_input_fraction_bits: Annotated[int, Field(ge=0, le=8)] = 5  # grid of the table of 1/sum
    inverse_fraction_bits: Annotated[int, Field(ge=2, le=12)] = 8
    granularity: Literal["element", "channel", "tensor"] = "channel"  # one activation width per ...
    layers: Mapping[str, LayerFormats] = {}  # layer name (or glob) -> formats; counts before `types`
    types: Mapping[str, LayerFormats] = unsaid()  # layer type, e.g. QAdd -> formats; counts before those above
    max_bits: Positive = 12  # no learned width grows beyond


class PruneConfig(Section):
    """Weights that are brought to zero in a phase and held there (read by `qformers.quant.prune`)."""

    method: Literal["magnitude", "wanda", "mdmm"] = "magnitude"
    # magnitude: small weights, by a soft threshold that rises (PDP); wanda: small weight times size of its input;
    # mdmm: a penalty whose price climbs until enough weights are small, then as magnitude
    sparsity: Annotated[float, Field(gt=0, lt=1)]  # share of each layer's weights that ends at zero
    granularity: Annotated[str, Field(pattern=r"^(weight|unit|[1-9]\d*:[1-9]\d*)$")] = "weight"
    # what goes at a time: single weights; whole output units (structured); all but N of every M inputs, e.g. "2:4"
    scope: Literal["layer", "output"] = "layer"  # what is ranked together: a layer, or the inputs of one output unit
    # (in the quantised phase norms are folded into kernels: wanda with scope output lost 2.6 points where magnitude
    # lost 9, benchmarks/precision_routes.py)
    start: Share = 0.1  # share of the phase before which nothing is pruned
    end: Annotated[float, Field(gt=0, lt=1)] = 0.6  # and from which on the masks are final; the rest is fine-tuning
    ramp: Literal["cubic", "linear", "step"] = "cubic"  # how the sparsity rises in between (mdmm: at the end)
    layers: Mapping[str, Share] = {}  # layer name (or glob) -> a sparsity of its own, 0 = leave it alone
    temperature: Annotated[float, Field(gt=0)] = 1e-5  # of the soft threshold on squared weights
    mdmm_rate: Annotated[float, Field(gt=0)] = 1e-3  # the price climbs by rate * scale * violation per step
    mdmm_scale: Annotated[float, Field(gt=0)] = 10.0
    mdmm_damping: Annotated[float, Field(ge=0)] = 1.0
    mdmm_epsilon: Annotated[float, Field(gt=0)] = 1e-3  # weights up to this size count as zero

    @property
    def group(self) -> tuple[int, int] | None:
        """(N, M) where N of every M inputs are kept."""
        if ":" not in self.granularity:
            return None
        kept, size = self.granularity.split(":")
        return int(kept), int(size)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"start must be before end={self.end:g}. Received: start={self.start:g}")
        if self.granularity != "weight" and self.scope == "output":
            raise ValueError(f"scope: output goes with granularity: weight. Received: granularity={self.granularity}")
        group = self.group
        if group is not None and abs(self.sparsity - (1 - group[0] / group[1])) > 1e-9:
            raise ValueError(
                f"granularity {self.granularity} means sparsity {1 - group[0] / group[1]:g}. "
                f"Received: sparsity={self.sparsity:g}"
            )
        return self


class PhaseConfig(Section):
    """One training phase (read by `qformers.train`)."""

    epochs: Positive = 50
    batch_size: Positive = 512
    jets_per_epoch: Positive | None = None  # an epoch ends after so many jets, None = all of the train split
    optimiser: Literal["adam", "adamw", "ranger"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "flat_decay"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    final_learning_rate: Annotated[float, Field(ge=0)] = 0.01  # as a share of learning_rate
    label_smoothing: Share = 0.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    ebops_target: Annotated[float, Field(gt=0)] | None = None  # quantised phase only; None = no pressure on widths
    ebops_arrival: Annotated[float, Field(gt=0, lt=1, exclude_if=lambda share: share == EBOPS_ARRIVAL)] = EBOPS_ARRIVAL
    # share of the phase by which EBOPs are to be at their target; what is left is for the accuracy
    beta_start: Annotated[float, Field(ge=0)] = 1e-8  # weight of EBOPs in the loss at the start
    beta_warmup_epochs: Annotated[int, Field(ge=0)] = 1  # epochs before the controller moves beta
    width_travel: Annotated[float, Field(gt=0)] = 16.0  # bits a learned width can move in the phase: sets its rate
    prune: Annotated[PruneConfig | None, Field(exclude_if=lambda prune: prune is None)] = None  # None = no pruning; the
    # quantised phase holds the zeros of a pruned float model in any case
    jit_compile: bool = True  # XLA: faster, and the same bits in every process; without it QAT resumes to rounding only


class TrainConfig(Section):
    """The two phases; the quantised one starts from the weights of the float one."""

    float: PhaseConfig = PhaseConfig()
    qat: PhaseConfig | None = None


class FirmwareConfig(Section):
    """What `scripts/export_hls.py` writes (read by `hls`)."""

    backend: str = "vitis"  # a key of hls.backends.BACKENDS
    part: str = "xcvu13p-flga2577-2-e"
    clock_ns: Annotated[float, Field(gt=0)] = 5.0
    strategy: Literal["latency", "resource"] = "latency"
    reuse_factor: Positive = 1
    flavour: Literal["verilog", "vhdl", "vitis"] = "verilog"  # what backend alkaid writes; RTL simulation needs verilog
    stage_ns: Annotated[float, Field(gt=0)] | None = None  # longest path between two registers of backend alkaid, in
    # its delay model; None = 0.9 clock periods. Smaller: more cycles, more registers, easier timing
    types: Mapping[str, LayerFirmware] = unsaid()  # layer type -> accumulator, reuse_factor, ...; before those above
    layers: Mapping[str, LayerFirmware] = unsaid()  # layer name (or glob) -> the same; counts before `types`
