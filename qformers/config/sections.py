"""The sections of a build file, a frozen record each: data, quantisation, training, firmware.

Every field says its unit and who reads it; the model section is the record of an architecture (`qformers.models`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from qformers.config.layers import Format, LayerFirmware, LayerFormats, WeightFormat, mapping, unsaid
from qformers.config.section import (
    Count,
    Epochs,
    Factor,
    Few,
    FilePath,
    Files,
    LayerGlob,
    LayerType,
    Many,
    Nanoseconds,
    Part,
    Rate,
    Section,
    Share,
    Word,
)

Edges = Annotated[tuple[Annotated[float, Field(ge=-20, le=20)], ...], Field(max_length=1024)]
Names = Annotated[tuple[Word, ...], Field(max_length=1000)]
Integers = Annotated[tuple[Annotated[int, Field(ge=-(2**31), lt=2**31)], ...], Field(max_length=1000)]
LayerGlobs = Annotated[tuple[LayerGlob, ...], Field(max_length=1000)]
Particles = Annotated[int, Field(gt=0, le=500_000)]
Ebops = Annotated[float, Field(gt=0, le=1e15)]
Reuse = Annotated[int, Field(gt=0, le=65536)]
Granularity = Annotated[str, Field(pattern=r"^(weight|unit|[1-9][0-9]{0,3}:[1-9][0-9]{0,3})$", max_length=9)]
YES = (1,)  # default of data.labels: values
NORMED = 11  # default of quant.norm_bits
SMOOTH = 6  # default of quant.smooth_fraction_bits
TRACE_HOURS = 2.0  # default of firmware.trace_hours
EBOPS_ARRIVAL = 0.7  # default of train.qat.ebops_arrival


class PointsConfig(Section):
    """What is read of events of points, and what is asked of each point (read by `qformers.data.points`)."""

    task: Literal["tracking", "pileup"] = "tracking"  # what is learned, a key of qformers.tasks.TASKS:
    # tracking: an embedding in which the points of a particle lie together; pileup: a score that keeps or drops a point
    layers: Literal["pixel", "all"] = "pixel"  # trackml, acts_*: which detectors
    phi_sectors: Few = 1  # windows that an event is cut into, in phi of the point; 1 = no cut
    eta_edges: Edges = ()  # the same in eta, the edges of the windows in rising order; () = no cut.
    # An event has phi_sectors * (edges - 1) windows, each of which is one input of the model
    overlap: Annotated[float, Field(ge=1, le=16)] = 1.1  # windows see more than their core, by this factor in each
    # direction;
    # a particle counts in the window whose core holds half of it, a point of a pile-up task in the core it lies in
    local: Annotated[bool, Field(exclude_if=lambda local: not local)] = False  # coordinates eta and phi are counted
    # from the middle of the window: they need fewer bits, and phi has no seam there. Features stay as they are
    too_many: Literal["refuse", "cut"] = "refuse"  # windows of more than data.num_particles points: an error, or the
    # points behind the first num_particles are dropped
    lda: FilePath | None = None  # line_segments: JSON file of the LDA that gives the coordinates, fitted on training
    # events
    fakes_per_true: Rate = 0.0  # line_segments, tracking: fake segments kept per true one
    loss: Literal["hept", "cms"] = "hept"  # as published with HEPT or with HEPT-CMS: InfoNCE for tracking (which pairs,
    # which of them are positive, weights of negatives), focal loss for pile-up
    num_pairs: Many = 20_000  # tracking: pairs per window in the loss; more are thinned at random, positives last


class LabelConfig(Section):
    """A class of jets, and which jets of a file are of it (read by `qformers.data.jets.labels`).

    A name alone stands for ``{name: ...}``.
    """

    name: Word  # of the class
    branch: Annotated[Word | None, Field(exclude_if=lambda branch: branch is None)] = None  # a branch with one number
    # per jet, e.g. FatJet_hadronFlavour; None = jetclass: label_NAME; nanoaod: all jets of `files`
    values: Annotated[Integers, Field(min_length=1, exclude_if=lambda values: values == YES)] = YES  # nanoaod: jets
    # whose branch has one of these values are of the class
    files: Annotated[Files, Field(exclude_if=lambda files: not files)] = ()  # nanoaod: only jets of files whose name
    # one of these globs matches, e.g. "TTto*"; () = of all files

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class DataConfig(Section):
    """Which jets or events, which of their particles or points and which numbers of each (read by `qformers.data`)."""

    dataset: Word  # a key of qformers.data.DATASETS; data sets of points need the section `points` below
    train: Files  # globs, relative to the working directory; a file that two of them match counts once
    val: Files  # the same, for the choice of epochs
    test: Files  # the same, for what is reported
    features: Word  # name of a feature set of the data set, e.g. "kin" or "lnpt_eta_phi"; line_segments have one only
    num_particles: Particles  # N: slots of the model. Of jets the N particles of highest pT are kept, of a window of
    # points all, see points.too_many; sequences of more tokens are refused
    classes: Names = ()  # jets: subset and order of the labels; empty = all of the data set
    labels: Annotated[tuple[LabelConfig, ...], Field(max_length=1000, exclude_if=lambda labels: not labels)] = ()
    # jetclass, nanoaod: the classes of files that have others than JetClass, in label order, and how a file says of
    # which class a jet is; empty = jetclass: the ten of JetClass. token_rows: names of the classes; empty = those in
    # the files. `classes` then selects among these
    padding: Literal["zero", "wrap"] = "zero"  # jets: what stands in empty slots of features and vectors:
    # zeros, or the particles of the jet over again (the mask is 0 in both cases)
    max_jets: Count | None = None  # per split, None = all. Jets: shared evenly among the files;
    # points: so many files
    cache: FilePath | None = None  # folder of decoded arrays, None = decode each time. A folder is checked before it is
    # used
    # and made again where a file or one of these settings has changed
    shuffle_jets: Many = 100_000  # jets or windows mixed in memory at a time, which bounds the memory of a stream;
    # a split of fewer jets is decoded once and stays in memory
    points: Annotated[PointsConfig | None, Field(exclude_if=lambda points: points is None)] = None  # None = jets


class QuantConfig(Section):
    """Fixed-point arithmetic of the quantised model (read by `qformers.nn.hgq`).

    Widths are spelt as ``ap_fixed`` does, sign bit counted among the integer bits: ``fixed<W,I>``, ``ufixed<W,I>``,
    optionally followed by rounding and overflow words, e.g. ``fixed<8,3,RND,SAT>``; or as QKeras does:
    ``quantized_bits(6, 0, alpha=1)``, ``quantized_relu(6, 2)``, ``quantized_tanh(8)``.
    """

    learn: bool = True  # true: bit widths are trained with the weights (HGQ) and the formats below are where they
    # start; false: the widths below are kept and only weights are trained, as with QKeras
    weight: WeightFormat = "fixed<8,2,RND,SAT_SYM>"  # of every kernel; SAT_SYM leaves out the most negative value, so
    # that w and -w are both in reach. With learn, each weight has a width of its own and may end at 0 bits
    bias: Format = "fixed<10,3,RND,SAT>"  # of every bias; with learn, a width for each as for weights
    activation: Format = "fixed<10,4,RND,SAT>"  # of the values that flow between layers: each layer rounds what it
    # reads. Integer bits are set by calibration before training; with learn, widths are per `granularity`
    logits: Format = "fixed<10,4,RND,SAT>"  # of attention scores q.k and of the pair bias U, which are added before the
    # softmax. Kept as written, also with learn, so that scores saturate at a known value and padding stays below it
    coords: Format = "fixed<8,3,RND,SAT>"  # hept, erwin: of the coordinates of points, a model input. Kept as written,
    # since host and chip must round them alike to agree on the order
    differences: Format = "fixed<8,4,RND,SAT>"  # hept, erwin: of differences of coordinates; hept: of query - key too.
    # Each is looked up in a table of squares, so every bit more doubles that table
    exp_input_fraction_bits: Annotated[int, Field(ge=0, le=8)] = 5  # softmax: step 2^-5 of the argument of the
    # exponential. It has 3 integer bits, so the table has 2^(3 + this) entries; 6 address bits fit one LUT per bit
    exp_fraction_bits: Annotated[int, Field(ge=2, le=10)] = 8  # softmax: step of the values of the exponential, 0 to 1
    inverse_input_fraction_bits: Annotated[int, Field(ge=0, le=8)] = 5  # softmax: step of the sum of exponentials, the
    # argument of the table of 1/sum; its integer bits follow from the number of keys
    inverse_fraction_bits: Annotated[int, Field(ge=2, le=12)] = 8  # softmax: step of the values of 1/sum
    norm_bits: Annotated[int, Field(ge=4, le=24, exclude_if=lambda bits: bits == NORMED)] = (
        NORMED  # layer and RMS norms
    )
    # that are computed: of values shifted into (-1, 1), sign included; sums of squares take one bit less of each
    smooth_fraction_bits: Annotated[int, Field(ge=2, le=10, exclude_if=lambda bits: bits == SMOOTH)] = SMOOTH  # GELU,
    # SiLU, tanh: step 2^-6 of the argument of their tables, which have 2^(3 or 4 + this) entries; the step of the
    # values is a 32nd of it. Values not much larger than the step lose the curvature
    granularity: Literal["element", "channel", "tensor"] = "channel"  # with learn, how many values share one width:
    # element: none, each place of each particle has its own; channel: all particles of a channel (particles stay
    # interchangeable, what hardware wants); tensor: all values that a layer reads
    layers: Mapping[LayerGlob, LayerFormats] = mapping()  # layer name or glob -> formats, e.g. b0_ffn_*: {weight:
    # "fixed<4,1>"};
    # counts before `types`. `precision.json` of a run lists names and the rule that gave each format
    types: Mapping[LayerType, LayerFormats] = unsaid()  # layer type, e.g. QAdd -> formats; counts before the defaults
    # above
    max_bits: Annotated[int, Field(gt=0, le=64)] = 12  # no learned number of integer or fraction bits grows beyond this


class PruneConfig(Section):
    """Weights that are brought to zero in a phase and held there (read by `qformers.quant.prune`)."""

    method: Literal["magnitude", "wanda", "mdmm"] = "magnitude"  # which weights go:
    # magnitude: small weights, by a soft threshold that rises (PDP); wanda: small weight times size of its input;
    # mdmm: a penalty whose price climbs until enough weights are small, then as magnitude
    sparsity: Annotated[float, Field(gt=0, lt=1)]  # share of each layer's weights that ends at zero; with N:M it is
    # 1 - N/M and anything else is refused
    granularity: Granularity = "weight"  # what goes at a time:
    # weight: single weights; unit: whole output units (structured); "2:4": all but 2 of every 4 inputs
    scope: Literal["layer", "output"] = "layer"  # what is ranked together: a layer, or the inputs of one output unit.
    # In the quantised phase norms are folded into kernels, whose rows differ in size: use method: wanda with
    # scope: output there (compared in benchmarks/precision_routes.py)
    start: Share = 0.1  # share of the phase before which nothing is pruned
    end: Annotated[float, Field(gt=0, lt=1)] = 0.6  # share of the phase from which on the masks are final; the rest is
    # fine-tuning, and only its epochs can be exported
    ramp: Literal["cubic", "linear", "step"] = "cubic"  # how the sparsity rises from start to end: cubic fast at
    # first, linear evenly, step all at once at start. mdmm has no ramp: it makes its masks at end
    layers: Mapping[LayerGlob, Share] = mapping()  # layer name or glob -> a sparsity of its own, 0 = leave it alone
    temperature: Factor = 1e-5  # magnitude: width of the soft threshold, in squared weights;
    # smaller is closer to a hard cut
    mdmm_rate: Factor = 1e-3  # mdmm: the price climbs by rate * scale * violation per step
    mdmm_scale: Factor = 10.0  # mdmm: weight of the penalty in the loss
    mdmm_damping: Rate = 1.0  # mdmm: quadratic part of the penalty, which stops oscillation
    mdmm_epsilon: Factor = 1e-3  # mdmm: weights up to this size count as zero

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

    epochs: Annotated[int, Field(gt=0, le=100_000)] = 50  # passes over the train split, or over `jets_per_epoch` of it
    batch_size: Many = 512  # events per optimiser step; what is left of an epoch beyond whole batches is dropped
    micro_batch: Annotated[int | None, Field(gt=0, le=10**9, exclude_if=lambda size: size is None)] = None  # events in
    # memory at a time: the gradients of so many are summed up to a step of batch_size, which it divides (or is not
    # below). Batch norms take their statistics from it. None = the whole batch
    jets_per_epoch: Count | None = None  # an epoch ends after so many events, None = all of the train split. For
    # data sets of millions, so that validation and checkpoints come often enough
    optimiser: Literal["adam", "adamw", "ranger"] = "adam"  # ranger: RAdam with lookahead, as ParT was published
    learning_rate: Factor = 1e-3  # the largest of the schedule
    weight_decay: Rate = 0.0  # decoupled: w loses rate * this * w per step; of kernels only
    schedule: Literal["constant", "cosine", "flat_decay"] = "cosine"  # cosine: half a cosine down to the final rate;
    # flat_decay: constant, then exponentially down in the last 30 % of the epochs, as ParT was published
    warmup_epochs: Epochs = 0  # the rate rises linearly from 0 in these, before the schedule
    final_learning_rate: Rate = 0.01  # as a share of learning_rate
    label_smoothing: Share = 0.0  # classification: share of the target spread over all classes
    clip_norm: Factor | None = None  # largest norm of a gradient step, None = no limit
    ebops_target: Ebops | None = None  # quantised phase with learned widths: EBOPs (effective
    # bit operations: bits of weight times bits of value, summed) to arrive at; only epochs at or below it are
    # exported. None = no pressure on widths. They are those of the hardware that section firmware describes: with
    # backend folded a product that is made point after point counts points_per_clock times, not num_particles times
    ebops_arrival: Annotated[float, Field(gt=0, lt=1, exclude_if=lambda share: share == EBOPS_ARRIVAL)] = EBOPS_ARRIVAL
    # share of the phase by which EBOPs are to be at their target; what is left is for the accuracy
    beta_start: Rate = 1e-8  # weight of EBOPs in the loss at the start, nats per EBOP; a
    # controller moves it so that ln EBOPs goes straight to the target
    beta_warmup_epochs: Epochs = 1  # epochs before that controller starts
    width_travel: Factor = 16.0  # bits that a learned width can move in the phase at most: sets
    # the learning rate of widths. Larger where EBOPs do not arrive
    prune: Annotated[PruneConfig | None, Field(exclude_if=lambda prune: prune is None)] = None  # None = no pruning; the
    # quantised phase holds the zeros of a pruned float model in any case
    jit_compile: bool = True  # XLA: faster, and the same bits in every process; without it QAT resumes to rounding only
    start: Annotated[FilePath | None, Field(exclude_if=lambda path: path is None)] = None  # float phase, fine-tuning:
    # model file (FILE.keras) or run folder of a float model whose weights are taken, layer by layer, by name and shape;
    # None = random numbers
    new_layers: Annotated[LayerGlobs | None, Field(exclude_if=lambda names: names is None)] = None  # with start: names
    # or globs of layers that begin with random numbers all the same; None = the last one with weights, which gives the
    # classes
    new_layers_rate: Annotated[float, Field(gt=0, le=1e6, exclude_if=lambda rate: rate == 1.0)] = 1.0  # with start:
    # learning rate of these layers over learning_rate; 50 where ParT was fine-tuned
    frozen_layers: Annotated[LayerGlobs, Field(exclude_if=lambda names: not names)] = ()  # with start: names or
    # globs of layers that are not trained; their batch norms keep their statistics

    @property
    def at_once(self) -> int:
        """Events in memory at a time."""
        return min(self.micro_batch or self.batch_size, self.batch_size)

    @property
    def pieces(self) -> int:
        """Micro-batches of an optimiser step."""
        return self.batch_size // self.at_once

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.at_once:
            raise ValueError(
                f"micro_batch must divide batch_size={self.batch_size}. Received: micro_batch={self.micro_batch}"
            )
        if self.pieces > 1 and self.prune is not None and self.prune.method == "mdmm":
            raise ValueError(
                "prune.method: mdmm moves its price with every gradient and takes whole batches only; leave "
                f"micro_batch out. Received: micro_batch={self.micro_batch}"
            )
        for key in ("new_layers", "new_layers_rate", "frozen_layers"):
            value = getattr(self, key)
            if self.start is None and value != type(self).model_fields[key].default:
                raise ValueError(f"{key} goes with start, a trained model. Received: {key}={value}")
        return self


class TrainConfig(Section):
    """The two phases; the quantised one starts from the weights of the float one."""

    float: PhaseConfig = PhaseConfig()
    qat: PhaseConfig | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.qat is not None and self.qat.start is not None:
            raise ValueError(
                "qat.start: the quantised phase starts from the float model of its run; say train.float.start. "
                f"Received: qat.start={self.qat.start}"
            )
        return self


class FirmwareConfig(Section):
    """The project that `qformers export` writes (read by `hls`)."""

    backend: Word = "vitis"  # a key of hls.backends.BACKENDS: vitis or vivado (HLS by hls4ml), alkaid (RTL),
    # folded (RTL that takes some points per clock)
    points_per_clock: Annotated[int, Field(ge=1, le=4096, exclude_if=lambda points: points == 1)] = (
        1  # folded: a divisor
    )
    # of data.num_particles; the initiation interval is num_particles / points_per_clock
    keys_per_clock: Annotated[int | None, Field(ge=1, le=4096, exclude_if=lambda keys: keys is None)] = (
        None  # folded: how
    )
    # many keys of attention meet the points of a clock, a divisor of num_particles; null = all of them. Layers on pairs
    # of points then take num_particles / keys_per_clock clocks for each beat, and the initiation interval grows by that
    moved_rows: Annotated[Literal["registers", "banks"], Field(exclude_if=lambda kind: kind == "registers")] = (
        "registers"  # folded: where rows lie that an order moves: registers and multiplexers, which take the numbers of
    )
    # any order; or, for orders of the host, memory banks, for which it says in which bank each row lies (flavour:
    # verilog)
    multipliers: Annotated[Literal["lut", "dsp", "auto"], Field(exclude_if=lambda what: what == "auto")] = (
        "auto"  # alkaid, folded: what
    )
    # products of two variables are made of: LUTs, DSP blocks (those of few bits stay in LUTs), or what the synthesis
    # tool likes
    part: Part = "xcvu13p-flga2577-2-e"  # device, as the vendor tool spells it; tables give shares of its resources
    clock_ns: Nanoseconds = 5.0  # clock period that the project is written for, ns
    strategy: Literal["latency", "resource"] = "latency"  # hls4ml's word for how products are laid out; its einsum
    # layers have latency (all in parallel) alone, so a model with attention is refused with resource
    reuse_factor: Reuse = 1  # products per multiplier: 1 = fully parallel, an event per clock cycle. More saves
    # logic and raises the initiation interval; alkaid takes 1 alone
    flavour: Literal["verilog", "vhdl", "vitis"] = "verilog"  # what backends alkaid and folded write (folded: no vhdl);
    # vitis is C++ for Vitis HLS, RTL simulation needs verilog
    stage_ns: Nanoseconds | None = None  # alkaid: longest path between two registers, in its delay
    # model; None = 0.9 clock periods. Smaller: more cycles, more registers, easier timing
    trace_hours: Annotated[float, Field(gt=0, le=1000, exclude_if=lambda hours: hours == TRACE_HOURS)] = (
        TRACE_HOURS  # alkaid: a model
    )
    # whose RTL is estimated to take more hours to trace than this is refused before it is traced
    types: Mapping[LayerType, LayerFirmware] = unsaid()  # layer type -> accumulator, reuse_factor, ...; before those
    # above
    layers: Mapping[LayerGlob, LayerFirmware] = unsaid()  # layer name or glob -> the same; counts before `types`

    @property
    def together(self) -> int | None:
        """Points per clock of a backend that takes an event beat by beat; None where all of it comes in one clock."""
        return self.points_per_clock if self.backend == "folded" else None
