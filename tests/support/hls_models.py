"""Small quantised models for the firmware tests, and the projects made from them (one compilation per test session)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hgq.layers import QAdd, QEinsum, QEinsumDense, QSoftmax, QUnaryFunctionLUT
from hgq.quantizer import Quantizer, QuantizerConfig

from hls.backends import open_backend, open_project
from hls.backends.protocol import Project
from hls.proof.agree import keras_outputs
from hls.stages.export import export, load_quantised
from qformers.builds.build import Build
from qformers.builds.models import build_model
from qformers.config.sections import QuantConfig
from qformers.data import Events, open_split
from qformers.models.inputs import host_inputs
from qformers.models.part import fixed_part
from qformers.models.part.config import PartConfig
from qformers.models.part.part import part
from qformers.models.sizes import Jet
from qformers.nn.hgq import Hgq
from qformers.precision.fixed import Fixed
from qformers.quant.fold import float_to_quantised
from support.paths import DATA

MIX = np.array([[1, 0.5, -1], [-1, 0.25, 1.5], [0.5, -2, 1]])
EYE = np.eye(3)


def build_of(name: str, **firmware: Any) -> Build:
    """A build whose name and firmware section are used and the rest is not."""
    data = {"dataset": "jetclass", "train": ["a"], "val": ["a"], "test": ["a"], "features": "kin", "num_particles": 4}
    return Build.model_validate({"spec": 1, "name": name, "data": data, "model": {}, "firmware": firmware})


def form(text: str, place: str = "datalane", per_element: bool = False) -> QuantizerConfig:
    """A fixed quantiser; with one format per element it can be changed by `scatter`."""
    fixed = Fixed.parse(text)
    axes: dict[str, Any] = {"homogeneous_axis": None, "heterogeneous_axis": ()}
    if per_element:
        axes = {"homogeneous_axis": (0,), "heterogeneous_axis": None}
    return QuantizerConfig(
        "kif",
        place,
        k0=fixed.signed,
        i0=fixed.integer_bits,
        f0=fixed.fraction_bits,
        round_mode=fixed.rounding,
        overflow_mode=fixed.overflow,
        trainable=False,
        **axes,
    )


def scatter(quantiser: Any, seed: int) -> None:
    """Give each element of a quantiser a format of its own; one of them gets no bit at all."""
    random, core = np.random.default_rng(seed), quantiser.quantizer
    for variable in (core._i, core._f):
        variable.assign(np.asarray(variable) + random.integers(-1, 2, tuple(variable.shape)))
    dead = np.asarray(core._f)
    dead.flat[0] = -float(np.asarray(core._i).flat[0]) - 1
    core._f.assign(dead)


def dense(x: Any, name: str, iq: str, kernel: Any, per_element: bool = False, **more: Any) -> Any:
    """(batch, i) -> (batch, o) with the given kernel."""
    array = np.asarray(kernel, np.float32)
    layer = QEinsumDense(
        more.pop("equation", "bi,io->bo"),
        more.pop("shape", (array.shape[-1],)),
        iq_conf=form(iq, per_element=per_element),
        kq_conf=form("fixed<8,4,RND,SAT>", "weight"),
        name=name,
        **more,
    )
    y = layer(x)
    layer._kernel.assign(array)
    if per_element:
        scatter(layer.iq, len(name))
    return y


PART: dict[str, Any] = {
    "embed_widths": (8,), "pair_widths": (4,), "pairs": "input", "heads": 2, "blocks": 1, "class_blocks": 0,
    "head": "mean", "norm": "batch", "activation": "relu", "pair_activation": "relu", "pre_activation_pair": True,
    "scale_resids": False, "dropout": 0, "attn_dropout": 0, "activation_dropout": 0, "ffn_ratio": 2,
}  # fmt: skip


def part_model(particles: int, **changes: Any) -> keras.Model:
    """A quantised Particle Transformer with pair bias, untrained, one block, five classes."""
    keras.utils.set_random_seed(5)
    return part(fixed_part(PartConfig(**{**PART, **changes})), Jet(particles, 3, 5), Hgq(QuantConfig()))


def jets(particles: int, count: int, seed: int = 0) -> dict[str, Any]:
    """Inputs of `part_model` that look like jets: 0..N particles, features of a few units."""
    random = np.random.default_rng(seed)
    mask = np.arange(particles) < random.integers(0, particles + 1, (count, 1))
    arrays = {
        "features": random.normal(size=(count, particles, 3)) * 3 * mask[:, :, None],
        "pairs": random.normal(size=(count, particles, particles, 4)) * 3,
        "mask": mask.astype(float),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


@dataclass(frozen=True)
class Compared:
    """A model, its project, events, and what Keras and the firmware make of them."""

    model: keras.Model
    project: Project
    inputs: dict[str, Any]
    keras: dict[str, Any]
    firmware: dict[str, Any]


def compared(model: keras.Model, build: Build, folder: Path, inputs: dict[str, Any]) -> Compared:
    """Write, compile and simulate."""
    project = open_backend(build.firmware.backend).write(model, build, folder / build.firmware.backend)
    return Compared(model, project, inputs, keras_outputs(model, inputs), project.outputs(inputs))


def run_build() -> Build:
    """A build of four particles on the jets of the repository."""
    jets_folder = DATA / "jets"
    splits = {split: [str(jets_folder / split / "*.root")] for split in ("train", "val", "test")}
    data = {"dataset": "jetclass", "features": "lnpt_eta_phi", "num_particles": 4, **splits}
    return Build.model_validate({"spec": 1, "name": "part4", "data": data, "model": PART, "quant": {}})


def models_of(build: Build, events: Events) -> tuple[keras.Model, keras.Model]:
    """An untrained float model and the quantised model made from it and calibrated."""
    keras.utils.set_random_seed(5)
    float_model, model = (build_model(build, events.feature_set, events.class_names, v) for v in ("float32", "hgq"))
    float_to_quantised(float_model, model, host_inputs(model, events))
    return float_model, model


def write_run4(run: Path) -> Path:
    """Run folder of `run_build`: untrained float model, quantised model made from it, Vitis project."""
    build = run_build()
    events = open_split(build.data, "train").load()
    float_model, model = models_of(build, events)
    for name, made in (("float", float_model), ("qat", model)):
        (run / name).mkdir()
        made.save(run / name / "model.keras")
    (run / "build.yaml").write_text(build.to_yaml())
    export(build, run / "qat" / "model.keras", run / "firmware" / "vitis")
    return run


def compared_run(run: Path) -> Compared:
    """ParT with four particles on Vitis, from `write_run4`, and 10,000 jets that fill its ranges."""
    model, project = load_quantised(run / "qat" / "model.keras"), open_project(run / "firmware" / "vitis")
    inputs = jets(4, 10_000)
    return Compared(model, project, inputs, keras_outputs(model, inputs), project.outputs(inputs))


def compared_formats(folder: Path) -> Compared:
    """All rounding and overflow modes, as one model with many outputs."""
    return compared(formats_model(), build_of("formats"), folder, {"x": numbers(3, 4000)})


def compared_operations(folder: Path) -> Compared:
    """Every layer of the table of handlers in several forms, as one model with many outputs."""
    inputs = {"x": numbers(3, 4000), "y": numbers(6, 4000, 1).reshape(-1, 2, 3)}
    return compared(operations_model(), build_of("operations"), folder, inputs)


def numbers(width: int, count: int, seed: int = 0) -> Any:
    """(count, width): normal ones, ties of rounding, ends of fixed<7,4> and far beyond."""
    random = np.random.default_rng(seed)
    third = count // 3
    ends = [-8, -8.0625, -7.9375, 7.875, 7.9375, 8, 1e6, -1e6, 0.0, -0.0, 0.0625]
    parts = [
        random.normal(size=(third, width)) * 3,
        random.integers(-160, 160, (third, width)) / 16,
        random.choice(ends, (count - 2 * third, width)),
    ]
    return np.concatenate(parts).astype(np.float32)


MODES = [(rounding, overflow) for rounding in ("TRN", "RND", "RND_CONV") for overflow in ("WRAP", "SAT", "SAT_SYM")]
SOURCE = "fixed<7,4,RND,SAT>"  # what every branch starts with: all values of [-8, 8) in steps of 1/8
VARIANTS = {
    "wide": "fixed<12,6,{}>",  # holds every value: hls4ml shrinks it to the source's format
    "fine": "fixed<8,3,{}>",  # fewer integer, more fraction bits than the values have
    "coarse": "fixed<4,2,{}>",  # overflows and rounds, one format per element
    "positive": "ufixed<5,3,{}>",
    "uneven": "fixed<14,6,{}>",  # one format for elements of different ranges and steps
    "far": "fixed<4,14,{}>",  # its lowest bit is above the highest of every value: negative ones are cut to -1024
    "dead": "fixed<5,-1,{}>",  # the same with an element that is always 0, outside of no format
}
SCALES = {"uneven": np.diag([0.25, 1, 2]), "dead": np.diag([0.25, 0, 2])}
BRANCHES = [  # one rounding mode is enough where nothing is rounded, or nothing new
    (rounding, overflow, variant)
    for rounding, overflow in MODES
    for variant in VARIANTS
    if variant in ("coarse", "positive") or rounding == ("TRN" if variant == "far" else "RND")
]
FORMAT_OUTPUTS = ["_".join(branch).lower() for branch in BRANCHES]


def formats_model() -> keras.Model:
    """One branch per rounding mode, overflow mode and relation of the format to the value that comes in."""
    x = keras.Input((3,), name="x")
    shared = dense(x, "shared", SOURCE, MIX)
    scaled = {variant: dense(x, variant, SOURCE, kernel) for variant, kernel in SCALES.items()}
    outputs = {}
    for rounding, overflow, variant in BRANCHES:
        name = f"{rounding}_{overflow}_{variant}".lower()
        own = variant in ("wide", "fine")
        source = dense(x, f"{name}_source", SOURCE, EYE) if own else scaled.get(variant, shared)
        iq = VARIANTS[variant].format(f"{rounding},{overflow}")
        outputs[name] = dense(source, name, iq, MIX[:, :2], per_element=variant == "coarse")
    return keras.Model(x, outputs)


OPERATION_OUTPUTS = [
    "table_fine", "table_wide", "table_positive", "table_one_bit", "table_rank3", "table_wraps", "softmax_plain",
    "softmax_middle", "softmax_scaled", "softmax_narrow", "add_two", "add_twice", "einsum_two", "einsum_twice",
    "dense_relu", "dense_two_quantisers", "reshaped", "quantised_twice", "batch_rank3", "out_reshaped", "out_quantised",
    "reshaped_wraps",
]  # fmt: skip


def table(x: Any, name: str, iq: str, oq: str = "fixed<8,3,RND,SAT>") -> Any:
    """A table of tanh(x) + 0.3."""
    alike = {"allow_heterogeneous_input": False, "allow_heterogeneous_table": False}
    return QUnaryFunctionLUT(bent, iq_conf=form(iq), oq_conf=form(oq, "table"), name=name, **alike)(x)


@keras.saving.register_keras_serializable(package="qformers_tests")
def bent(x: Any) -> Any:
    """Neither odd nor even, so that a table read in a wrong order shows."""
    return keras.ops.tanh(x) + 0.3


def softmax(
    x: Any,
    name: str,
    axis: int = -1,
    exp_iq: str = "ufixed<8,3,RND,SAT>",
    tables: str = "ufixed<9,1,RND_CONV,SAT>",
    inverse_iq: str = "ufixed<8,3,RND,SAT>",
    **more: Any,
) -> Any:
    """A table softmax."""
    layer = QSoftmax(
        axis=axis,
        exp_iq_conf=form(exp_iq),
        exp_oq_conf=form(tables, "table"),
        inv_iq_conf=form(inverse_iq),
        inv_oq_conf=form(tables, "table"),
        name=name,
        **more,
    )
    return layer(x)


def operations_model() -> keras.Model:
    """Each layer of the table of handlers, with what was found to be fragile in it."""
    x, y = keras.Input((3,), name="x"), keras.Input((2, 3), name="y")
    out: dict[str, Any] = {}
    base = dense(x, "base", SOURCE, MIX)  # (batch, 3)
    flat = dense(y, "flat", SOURCE, MIX, equation="bni,io->bno", shape=(2, 3))  # (batch, 2, 3)

    out["table_fine"] = table(dense(x, "t1", "fixed<5,4,RND,SAT>", EYE), "table_fine", "fixed<8,4,RND,SAT>")
    out["table_wide"] = table(dense(x, "t2", "fixed<5,2,RND,SAT>", EYE), "table_wide", "fixed<9,6,RND,SAT>")
    out["table_positive"] = table(base, "table_positive", "ufixed<5,3,RND,SAT>")
    out["table_one_bit"] = table(base, "table_one_bit", "ufixed<1,1,RND,SAT>")
    out["table_rank3"] = table(flat, "table_rank3", "fixed<6,3,RND,SAT>")
    out["table_wraps"] = table(base, "table_wraps", "fixed<5,2,TRN,WRAP>", "fixed<4,1,TRN,WRAP>")
    out["softmax_plain"] = softmax(base, "softmax_plain")
    out["softmax_middle"] = softmax(flat, "softmax_middle", axis=1)
    out["softmax_scaled"] = softmax(flat, "softmax_scaled", input_scaler=0.35)
    out["softmax_narrow"] = softmax(base, "softmax_narrow", exp_iq="ufixed<4,2,TRN,SAT>")
    two = ["fixed<6,3,RND,SAT>", "fixed<7,2,TRN,WRAP>"]
    out["add_two"] = QAdd(iq_confs=[form(t) for t in two], name="add_two")([base, dense(x, "a1", SOURCE, EYE)])
    out["add_twice"] = QAdd(iq_confs=[form(t) for t in two], name="add_twice")([base, base])
    sides = [form(t) for t in two]
    out["einsum_two"] = QEinsum("bni,bi->bn", iq_confs=sides, name="einsum_two")([flat, base])
    out["einsum_twice"] = QEinsum("bni,bmi->bnm", iq_confs=[form(t) for t in two], name="einsum_twice")([flat, flat])
    out["dense_relu"] = dense(base, "dense_relu", "fixed<8,4,RND,SAT>", MIX, activation="relu", bias_axes="o")
    first = dense(x, "d1", SOURCE, MIX, enable_oq=True, oq_conf=form("fixed<6,4,RND,SAT>"))
    out["dense_two_quantisers"] = dense(first, "dense_two_quantisers", "fixed<5,4,RND,SAT>", MIX)
    square = keras.layers.Reshape((3, 2), name="square")(flat)
    out["reshaped"] = dense(square, "reshaped", "fixed<6,3,RND,SAT>", MIX[:2], equation="bni,io->bno", shape=(3, 3))
    twice = [keras.layers.Reshape((3, 2), name=name)(flat) for name in ("rows", "columns")]
    forms = [form("fixed<7,4,RND,SAT>"), form("fixed<6,3,TRN,WRAP>")]
    out["reshaped_wraps"] = QAdd(iq_confs=forms, name="reshaped_wraps")(twice)
    rounded = Quantizer(form("fixed<8,4,RND,SAT>"), name="rounded")(base)
    out["quantised_twice"] = dense(rounded, "quantised_twice", "fixed<6,4,RND,SAT>", EYE)
    kernel = np.random.default_rng(0).integers(-8, 8, (2, 3, 4)) / 4
    out["batch_rank3"] = dense(flat, "batch_rank3", "fixed<6,3,RND,SAT>", kernel, equation="bni,nio->bno", shape=(2, 4))
    last = dense(y, "last", "fixed<6,3,RND,SAT>", MIX, equation="bni,io->bno", shape=(2, 3))
    out["out_reshaped"] = keras.layers.Reshape((6,), name="out_reshaped")(last)
    out["out_quantised"] = Quantizer(form("fixed<6,4,RND,SAT>"), name="out_quantised")(dense(x, "a2", SOURCE, MIX))
    return keras.Model({"x": x, "y": y}, out)
