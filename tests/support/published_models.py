"""Stand-ins for models that others published: the same layers and shapes, random weights, formats like learned ones.

What a source is said to share is what its stand-in has; sizes that are smaller, so that a test ends, are named with the
true ones in front. Nothing here was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hgq import layers as q
from hgq.config import HardTanhConfig, QuantizerConfig, QuantizerConfigScope
from hgq.quantizer.internal import FixedPointQuantizerKBI, FixedPointQuantizerKIF
from hgq.utils import trace_minmax
from keras import layers, ops

EVENTS = 200
SHAKEN = ("bias", "bn_beta", "bn_gamma", "beta", "gamma", "moving_mean")  # variables of layers
MOST_WEIGHT_BITS = 3  # behind the sign; a trained kernel has fewer on average
LEAST_FRACTION = -9  # bits behind the point of a value that training took away
DEAD_SHARE = 0.1  # of formats

Inputs = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Published:
    """A stand-in.

    Attributes:
        source: the publication or repository, and what of it is the same.
        make: the model, untrained.
    """

    source: str
    make: Callable[[], Any]


@contextmanager
def formats(weight: str = "SAT_SYM", bias: str = "WRAP", lane: str = "WRAP", **more: Any) -> Iterator[None]:
    """Formats of a model by their place: how each overflows; `more` is of the data between layers."""
    with (
        QuantizerConfigScope(place="weight", overflow_mode=weight),
        QuantizerConfigScope(place="bias", overflow_mode=bias),
        QuantizerConfigScope(place="datalane", overflow_mode=lane, **more),
    ):
        yield


def normed(units: int | tuple[int, ...], equation: str = "bc,cC->bC", relu: bool = True, **more: Any) -> Any:
    """A dense layer with a norm within."""
    axes = equation[-1]
    return q.QEinsumDenseBatchnorm(equation, units, bias_axes=axes, activation="relu" if relu else None, **more)


def chain(x: Any, *made: Any) -> Any:
    """Layers behind each other."""
    for layer in made:
        x = layer(x)
    return x


# --- jets by their high-level features


def jets_by_features() -> Any:
    with formats(i0=1):
        given = keras.Input((16,))
        x = chain(given, normed(64, name="t1"), normed(64, name="t2"), normed(32, name="t3"))
        return keras.Model(given, q.QDense(5, name="out")(x))


def jets_by_features_saturating() -> Any:
    with formats(i0=1):
        first = normed(64, name="t1", iq_conf=QuantizerConfig(overflow_mode="SAT"))
        return keras.Sequential([keras.Input((16,)), first, normed(64, name="t2"), q.QDense(5, name="out")])


def jets_by_features_tables() -> Any:
    given = keras.Input((16,))
    return keras.Model(given, chain(given, q.QDenseT(16, batch_norm=True), q.QDenseT(5, batch_norm=True)))


def random_matrix() -> Any:
    with formats():
        given = keras.Input((64,))
        return keras.Model(given, q.QDense(64, use_bias=False)(given))


# --- jets by their particles


def jedi(particles: int, features: int, width: int, alike: bool = False, own: str = "") -> Any:
    """Sums over particles joined to each; `alike`: particles share formats; `own`: "n" for a kernel for each."""
    axes: dict[str, Any] = {"heterogeneous_axis": (-1,), "homogeneous_axis": None} if alike else {}
    with formats(bias="SAT_SYM", **axes):
        given = keras.Input((particles, features))
        each = f"bnc,{own}cC->bnC"
        x = normed((particles, width), each)(given)
        all_of_them = q.QSum(axes=1, scale=2.0 ** -round(np.log2(particles)), keepdims=True)(x)
        x = q.QAdd()([normed((particles, width), each)(x), normed((1, width), each)(all_of_them)])
        x = q.QSum(axes=1, scale=1 / 16)(normed((particles, width), each)(x))
        x = chain(x, normed(width), normed(width // 2), normed(16), normed(5, relu=False))
        return keras.Model(given, x)


def jedi_of_means() -> Any:
    with formats(bias="SAT_SYM"):
        given = keras.Input((16, 8), name="model_input")
        x = normed((16, 12), "bnc,cC->bnC")(given)
        mean = normed((1, 12), "bnc,cC->bnC")(layers.AveragePooling1D(16)(x))
        x = layers.ReLU()(q.QAdd()([normed((16, 12), "bnc,cC->bnC", relu=False)(x), mean]))
        x = layers.Flatten()(q.QGlobalAveragePooling1D(keepdims=True)(normed((16, 12), "bnc,cC->bnC")(x)))
        ends = [chain(x, normed(12), normed(n, relu=False), layers.Activation("linear", name=name))
                for name, n in (("jet_id_output", 8), ("pT_output", 1))]  # fmt: skip
        return keras.Model(given, ends)


def jedi_tables() -> Any:
    with formats():
        given = keras.Input((16, 3))
        x = q.QDenseT(8, batch_norm=False)(given)
        mean = q.QSum(axes=1, scale=1 / 16, keepdims=True)(x)
        x = q.QAdd()([q.QDenseT(8, batch_norm=False)(x), q.QDenseT(8, batch_norm=False)(mean)])
        return keras.Model(given, q.QDenseT(5, batch_norm=False)(q.QSum(axes=1, scale=1 / 16)(x)))


def mixer(particles: int) -> Any:
    rounded, plain = QuantizerConfig(place="datalane", round_mode="RND"), QuantizerConfig(place="datalane")
    with formats():
        given = keras.Input((particles, 16))
        x = normed((particles, 16), "bnc,cC->bnC", iq_conf=rounded)(given)
        x = normed((particles, 16), "bnc,cC->bnC")(x)
        x = q.QEinsumDenseBatchnorm("bnc,nN->bNc", (particles, 16), bias_axes="N")(x)
        x = q.QAdd(iq_confs=(rounded, plain))([given, x])
        x = chain(x, normed((particles, 16), "bnc,cC->bnC"), normed((particles, 16), "bnc,cC->bnC"))
        x = q.QEinsumDense("bnc,n->bc", 16)(x)
        return keras.Model(given, chain(x, normed(16), normed(16), normed(16), normed(5, relu=False)))


def particles_in_a_row() -> Any:
    with formats():
        given = keras.Input((8, 3))
        x = chain(layers.Flatten()(given), normed(64), normed(64), normed(64), normed(64), normed(5, relu=False))
        return keras.Model(given, x)


# --- attention


def attention(particles: int, make: Callable[[Any], Any], collapsed: bool) -> Any:
    """The trigger transformer: a block without norms, three residual sums; `collapsed`: no bit of a divisor is left."""
    with formats(bias="SAT_SYM", f0=3):
        given = keras.Input((particles, 3), name="inputs")
        x = chain(given, q.QDense(16, activation="relu"), q.QDense(16, activation="relu"))
        with QuantizerConfigScope(place="datalane", overflow_mode="SAT", round_mode="RND", i0=1, f0=2):
            attended = make(x)
        x = q.QAdd()([attended, x])
        for _ in range(2):
            x = q.QAdd()([chain(x, q.QDense(32, activation="relu"), q.QDense(16, activation="relu")), x])
        model = keras.Model(given, chain(layers.Flatten()(x), q.QDense(16, activation="relu"), q.QDense(5)))
    if collapsed:
        divisor = attended._keras_history.operation._softmax.inv_table.iq.quantizer
        divisor._i.assign(divisor._i - 14)
        divisor._f.assign(divisor._f + 8)
    return model


def full_attention(particles: int, collapsed: bool = False) -> Any:
    return attention(particles, lambda x: q.QMultiHeadAttention(1, 16, fuse="none")(x, x, x), collapsed)


def linformer(particles: int, collapsed: bool = False) -> Any:
    return attention(particles, lambda x: q.QLinformerAttention(1, 2, 16)(x, x, x), collapsed)


def linformer_of_two_blocks() -> Any:
    with formats(f0=3):
        given = keras.Input((8, 12))
        x = q.QDense(16, activation="relu")(given)
        for number in (1, 2):
            with QuantizerConfigScope(overflow_mode="SAT", place="datalane", round_mode="RND", i0=1, f0=2):
                attended = q.QLinformerAttention(2, 4, 8, name=f"attention{number}")(x, x, x)
            x = q.QAdd()([attended, x])
        x = chain(q.QSum(axes=1)(x) / 8, q.QDense(16, activation="relu"), q.QDense(16, activation="relu"))
        latent = q.QDense(12, name="latent")(x)
        hidden = q.QDense(16, activation="relu", name="cls_hidden")(latent)
        return keras.Model(given, {"latent": latent, "class_probs": q.QDense(5, name="class_probs")(hidden)})


def linformer_with_norms(softmax: bool) -> Any:
    with formats(f0=3):
        given = keras.Input((16, 20), name="model_input")
        x = q.QBatchNormalization(name="norm_input")(given)
        x = q.QDense(8, activation="relu", name="emb_1")(x)
        normal = q.QBatchNormalization(name="norm_mha_1")(x)
        with QuantizerConfigScope(place="datalane", overflow_mode="SAT", i0=1, f0=2):
            attended = q.QLinformerAttention(2, 4, 4, name="mha_1")(normal, normal)
        x = q.QAdd(name="res_mha_1")([x, attended])
        forward = q.QDense(8, name="dense_1_2")(q.QBatchNormDense(8, activation="relu", name="dense_1_1")(x))
        x = q.QAdd(name="res_ff_1")([x, forward])
        x = q.QBatchNormalization(name="norm_embedding")(q.QGlobalAveragePooling1D(name="pool", oq_conf=None)(x))
        label = q.QDense(8, name="Dense_output_jet_id")(q.QDense(16, activation="relu", name="Dense_1_jet_id")(x))
        label = layers.Activation("softmax" if softmax else "linear", name="jet_id")(label)
        energy = q.QDense(1, name="pT")(q.QDense(8, activation="relu", name="Dense_1_pT")(x))
        return keras.Model(given, {"jet_id_output": label, "pT_output": energy})


def patches() -> Any:
    """Attention within patches of particles and among patches, written with operators."""
    size, heads, width = 4, 2, 8
    with formats(lane="SAT", f0=2):
        given = keras.Input((16, 3), name="features")
        x = q.QDense(width, activation="relu", name="embed")(given)
        eta = q.QDense(width, name="by_eta")(ops.expand_dims(given[..., 1], -1))
        x = x + eta

        def attended(tokens: Any, count: int, outer: str, name: str) -> Any:
            head = (-1, *tokens.shape[1:-1], heads, width // heads)
            one, two, three = (ops.reshape(q.QDense(width, name=f"{name}_{w}")(tokens), head) for w in "qkv")
            scores = q.QEinsum(f"b{outer}phd,b{outer}qhd->b{outer}hpq", name=f"{name}_qk")([one, two])
            mixed = q.QEinsum(f"b{outer}hpq,b{outer}qhd->b{outer}phd")(
                [q.QSoftmax(name=f"{name}_softmax")(scores), three]
            )
            return q.QDense(width, name=f"{name}_wo")(ops.reshape(mixed, (-1, *tokens.shape[1:])))

        within = attended(ops.reshape(x, (-1, 16 // size, size, width)), size, "n", "local")
        x = x + ops.reshape(within, (-1, 16, width))
        tokens = q.QSum(axes=2, scale=1 / size, name="patch_tokens")(ops.reshape(x, (-1, 16 // size, size, width)))
        x = x + ops.repeat(attended(tokens, 16 // size, "", "patch"), size, axis=1)
        x = x + chain(x, q.QDense(2 * width, activation="relu", name="ffn1"), q.QDense(width, name="ffn2"))
        x = q.QSum(axes=1, scale=1 / 16, name="agg_mean")(x)
        return keras.Model(given, chain(x, q.QDense(width, activation="relu", name="head1"), q.QDense(5)))


def projected_attention() -> Any:
    """Kernels with heads as axes, residual sums and pooling of Keras."""
    with formats(lane="SAT", f0=3):
        given = keras.Input((8, 3))
        x = layers.ReLU()(q.QEinsumDense("btf,fd->btd", (8, 8), bias_axes="d", name="input_proj")(given))
        one, two, three = (q.QEinsumDense("btd,dhe->bthe", (8, 2, 4), name=f"W{w}")(x) for w in "qkv")
        scores = q.QSoftmax()(q.QEinsum("bthe,bshe->bhts")([one, two]))
        mixed = q.QEinsum("bhts,bshe->bthe")([scores, three])
        x = layers.Add()([x, q.QEinsumDense("bthe,hed->btd", (8, 8), bias_axes="d", name="Wo")(mixed)])
        hidden = layers.ReLU()(q.QEinsumDense("btd,df->btf", (8, 16), bias_axes="f", name="ffn_fc1")(x))
        x = layers.Add()([x, q.QEinsumDense("btf,fd->btd", (8, 8), bias_axes="d", name="ffn_fc2")(hidden)])
        x = q.QGlobalAveragePooling1D(enable_iq=False, name="gap")(x)
        return keras.Model(given, q.QDense(5, name="head_fc2")(layers.ReLU()(q.QDense(8, name="head_fc1")(x))))


# --- deep sets of the trigger


def deep_set() -> Any:
    with formats():
        given = keras.Input((16, 20), name="basic_input")
        x = q.QBatchNormalization(name="norm_input")(given)
        for number in (1, 2):
            x = q.QConv1D(10, 1, activation="relu", name=f"Conv1D_{number}")(x)
        x = layers.GlobalAveragePooling1D(name="avgpool")(x)
        label = chain(
            x, q.QDense(32, activation="relu"), q.QDense(16, activation="relu"), q.QDense(8, activation="relu")
        )
        energy = chain(x, q.QDense(10, activation="relu", name="Dense_1_pT"), q.QDense(1, name="pT_output"))
        return keras.Model(given, [layers.Activation("linear", name="jet_id_output")(label), energy])


def masked_deep_set() -> Any:
    with formats():
        given, mask = keras.Input((8, 6), name="x"), keras.Input((8,), dtype="bool", name="mask")
        x = layers.ReLU()(q.QBatchNormalization()(q.QDense(16)(given), mask=mask))
        x = layers.GlobalAveragePooling1D(name="masked_mean")(x, mask=mask)
        return keras.Model([given, mask], q.QDense(1, name="rho_output")(x))


def missing_energy() -> Any:
    """Weights for the momenta of particles; kinds of particles come in as zeros and a one."""
    with formats(lane="SAT"):
        shapes = {"continuous_inputs": 5, "momentum_inputs": 2, "pdgid_inputs": 6, "charge_inputs": 4}
        given = {name: keras.Input((8, size), name=name) for name, size in shapes.items()}
        kind = q.QDense(4, use_bias=False, name="emb_pdgid")(given["pdgid_inputs"])
        charge = q.QDense(2, use_bias=False, name="emb_charge")(given["charge_inputs"])
        x = layers.Concatenate(name="concat_features")(
            [layers.Concatenate(name="concat_cont_pdgid")([given["continuous_inputs"], kind]), charge]
        )
        for number in range(3):
            x = q.QBatchNormalization(name=f"qbn_{number}")(q.QDense(16, name=f"qdense_{number}")(x))
            x = layers.Activation("relu", name=f"qact_{number}")(x)
        weight = q.QDense(1, name="qbounded_scale")(
            q.QUnaryFunctionLUT("tanh", allow_heterogeneous_table=False, allow_heterogeneous_input=False, name="qtanh")(
                q.QDense(1, name="qmet_weight")(x)
            )
        )
        moved = q.QMultiply(name="qweight_pxpy")([weight, given["momentum_inputs"]])
        mean = q.QGlobalAveragePooling1D(name="qavg_over_particles")(moved)
        return keras.Model(list(given.values()), q.QDense(2, use_bias=False, name="output")(mean))


# --- muons


def muons(dense: Callable[..., Any], conv: Callable[..., Any], tables: str) -> Any:
    with formats(i0=1, f0=4):
        given = [keras.Input((50, depth), name=f"_M{n}") for n, depth in ((1, 3), (2, 2), (3, 2))]
        with QuantizerConfigScope(place="datalane", k0=0, i0=1, f0=0, trainable=False):
            one, two, three = (layers.Reshape((50,))(conv(1, 3, use_bias=False, padding="same")(x)) for x in given)
        bounded = HardTanhConfig(f0=4, heterogeneous_axis=(), homogeneous_axis=None)
        both = dense(100, iq_conf=bounded)(one)
        first, second = both[:, :50], both[:, 50:]
        x = dense(50, iq_conf=bounded)(q.QAdd()([first, two]))
        x = q.QAdd()([x, q.QAdd()([second, three])])
        if tables == "behind":
            x = chain(x, q.QDenseT(24, batch_norm=True), q.QDenseT(12, batch_norm=True))
            return keras.Model(given, q.QDense(1, name="theta_out")(x), name="TGCNN")
        if tables:
            x = chain(x, dense(24, iq_conf=bounded, name="t1"), dense(12, name="t2"), dense(1, name="theta_out"))
            return keras.Model(given, x + 229, name="TGCNN")
        x = chain(x, normed(32, name="t1", iq_conf=bounded), normed(16, name="t2"), normed(8, name="t3"))
        return keras.Model(given, dense(1, name="theta_out", bias_initializer="ones")(x), name="TGCNN")


# --- images and traces


def digits() -> Any:
    pixel = QuantizerConfig(place="datalane", trainable=False, i0=1, k0=0, f0=0, heterogeneous_axis=())
    pixel.config["homogeneous_axis"] = None
    with formats(i0=1):
        given = keras.Input((28, 28, 1))
        x = layers.Flatten()(q.QAveragePooling2D(2, iq_conf=pixel)(given))
        x = chain(x, normed(24, name="t1"), normed(24, name="t2"), normed(24, name="t3"))
        return keras.Model(given, q.QDense(10, name="out")(x))


def house_numbers() -> Any:
    with formats(heterogeneous_axis=(), homogeneous_axis=None):
        stages = [
            part
            for number, width in enumerate((4, 4, 6), 1)
            for part in (
                q.QConv2D(width, 3, activation="relu", name=f"conv{number}"),
                q.QMaxPooling2D(2, name=f"maxpool{number}"),
            )
        ]
        dense = [q.QDense(42, activation="relu", name="dense1"), q.QDense(64, activation="relu", name="dense2")]
        last = q.QDense(10, name="output")
        return keras.Sequential([keras.Input((22, 22, 3)), *stages, layers.Flatten(), *dense, last])


def postures() -> Any:
    with formats(f0=3):
        given = keras.Input((8, 8, 1), name="pressure_map")
        x = given
        for number, width in enumerate((20, 20, 28), 1):
            x = q.QConv2D(width, 3, use_bias=False, name=f"qconv_{number}")(x)
            x = layers.Activation("relu", name=f"qconv_act_{number}")(q.QBatchNormalization()(x))
        x = layers.Flatten()(q.QMaxPooling2D(2)(x))
        for number, width in enumerate((28, 24), 1):
            x = q.QBatchNormalization(name=f"qbn_dense_{number}")(q.QDense(width, use_bias=False)(x))
            x = layers.Activation("relu")(x)
        return keras.Model(given, q.QDense(3, name="output")(x), name="posture_classifier_qat")


def calorimeter_student() -> Any:
    with formats(lane="SAT_SYM", round_mode="RND"):
        made = [
            layers.Reshape((18, 14, 1), name="reshape"),
            q.QConv2D(4, 2, strides=2, padding="valid", activation="relu", use_bias=False, name="conv"),
            layers.Flatten(name="flatten"),
            layers.Dropout(1 / 9),
            q.QBatchNormDense(16, activation="relu", name="dense1"),
            layers.Dropout(1 / 8),
            q.QDense(1, use_bias=False, activation="relu", kernel_initializer="ones", name="dense2"),
        ]
        return keras.Sequential([keras.Input((252,), name="inputs_"), *made], name="hgq2_model")


def traces(last: str | None) -> Any:
    with formats(lane="SAT_SYM", round_mode="RND"):
        convolved = [q.QConv1D(20, 10, activation="relu"), q.QConv1D(10, 10, activation="relu")]
        end = [layers.Dropout(0.5), layers.Flatten(), q.QDense(1, activation=last)]
        return keras.Sequential([keras.Input((32, 4)), *convolved, *end])


def traces_with_a_norm_of_keras() -> Any:
    with formats():
        convolved = [q.QConv1D(8, size, padding="same", activation="relu") for size in (5, 15, 31)]
        norm = [layers.BatchNormalization(), layers.ReLU(), q.QConv1D(8, 7, padding="same", activation="relu")]
        end = [layers.GlobalAveragePooling1D(), q.QDense(8, activation="relu"), q.QDense(1)]
        return keras.Sequential([keras.Input((32, 4)), *convolved, *norm, *end])


# --- anomalies


def latent_of_events() -> Any:
    with formats(lane="SAT"):
        given = keras.Input((57,), name="input")
        x = chain(given, q.QDense(32, activation="relu", name="qdense_0"), q.QDense(16, activation="relu"))
        return keras.Model(given, {"mean": q.QDense(8, name="z_mean")(x), "log_var": q.QDense(8, name="z_log_var")(x)})


def reconstruction() -> Any:
    """Two models within one, and the difference of their output from the input."""
    with formats(lane="SAT"):
        sizes = {"encoder": (57, 16, 3), "decoder": (3, 16, 57)}
        parts = [
            keras.Sequential(
                [keras.Input((n[0],)), q.QDense(n[1], activation="relu"), q.QDense(n[2], name=f"{name}_end")], name=name
            )
            for name, n in sizes.items()
        ]
        given = keras.Input((57,), name="input")
        return keras.Model(given, q.QSubtract(name="error")([given, chain(given, *parts)]))


# --- sequences


def recurrent(layer: Callable[..., Any]) -> Any:
    with QuantizerConfigScope(b0=4, i0=2):
        given = keras.Input((8, 4))
        return keras.Model(given, q.QDense(2)(layer(4)(given)))


_HGQ = "calad0i/HGQ2-examples and calad0i/hgq-ae"
_TAGGER = "CMS Level-1 jet tagger (TrainTagger, HGQ2 models)"
PUBLISHED: dict[str, Published] = {
    "jets_by_features": Published(
        f"{_HGQ}, jsc: 16 features -> 64, 64, 32 with norms -> 5; all the same", jets_by_features
    ),
    "jets_by_features_saturating": Published(
        "calad0i/da4ml-ae, jsc/cernbox: Sequential, 16 -> 64 (saturating input) -> 64 -> 5; all the same",
        jets_by_features_saturating,
    ),
    "jets_by_features_tables": Published(
        "calad0i/HGQ-LUT-AE, jsc_hlf: 16 -> 16 -> 5 of tables; all the same", jets_by_features_tables
    ),
    "random_matrix": Published("calad0i/da4ml-ae, rand_mat: one dense layer 64 -> 64; all the same", random_matrix),
    "jedi_linear_8": Published(
        "calad0i/JEDI-linear (2508.15468), N=8, 3 features, pT-sorted: 64 channels; all the same",
        lambda: jedi(8, 3, 64),
    ),
    "jedi_linear_8_alike": Published(
        "calad0i/JEDI-linear (2508.15468), N=8, 16 features, permutation-invariant formats: channels 64 -> 16",
        lambda: jedi(8, 16, 16, alike=True),
    ),
    "jedi_linear_128": Published(
        "calad0i/JEDI-linear (2508.15468), N=128, 3 features, pT-sorted: channels 64 -> 4", lambda: jedi(128, 3, 4)
    ),
    "jedi_linear_own_kernels": Published(
        "calad0i/HGQ2-examples, jsc150, gnn_pk: a kernel per particle; N=64 -> 8, channels 24 -> 8",
        lambda: jedi(8, 3, 8, own="n"),
    ),
    "jedi_linear_tables": Published("calad0i/HGQ-LUT-AE, jsc_plf: tables; N=32 -> 16, 32 -> 8", jedi_tables),
    "jedi_linear_of_means": Published(
        f"{_TAGGER}, JEDILinearHGQ2: pooling of Keras, two outputs; N=16, features 20 -> 8, channels 64 -> 12",
        jedi_of_means,
    ),
    "mlp_mixer": Published(
        "calad0i/HGQ2-examples, jsc150, mlp_mixer (2503.03103): 16 features, mixing of particles; N=64 -> 16",
        lambda: mixer(16),
    ),
    "particles_in_a_row": Published(
        "calad0i/HGQ2-examples, jsc150, mlp: N=8, 3 features -> 64 four times -> 5; all the same", particles_in_a_row
    ),
    "attention_8": Published(
        "calad0i/alkaid-ae, mha8part (2510.24784): N=8, 3 features, width 16, one head, a softmax whose divisor has "
        "lost its bits; all the same",
        lambda: full_attention(8, collapsed=True),
    ),
    "attention_32": Published(
        "calad0i/alkaid-ae, mha32part (2510.24784): as attention_8, N=32 -> 12", lambda: full_attention(12)
    ),
    "linformer_8": Published(
        "calad0i/alkaid-ae, lin8part (2510.24784): N=8, 3 features, width 16, k=2, a softmax whose divisor has lost "
        "its bits; all the same",
        lambda: linformer(8, collapsed=True),
    ),
    "linformer_32": Published("calad0i/alkaid-ae, lin32part (2510.24784): N=32, all the same", lambda: linformer(32)),
    "linformer_of_two_blocks": Published(
        "CMS Level-1 embedding (ctl2_embedding): two blocks of two heads, a sum over its number, outputs by name; "
        "N=100 -> 8, width 32 -> 16, k=8 -> 4",
        linformer_of_two_blocks,
    ),
    "linformer_with_norms": Published(
        f"{_TAGGER}, LinformerModelHGQ2: norms, two heads, outputs by name, no softmax at the end; width 32 -> 8",
        lambda: linformer_with_norms(softmax=False),
    ),
    "linformer_with_softmax": Published(
        f"{_TAGGER}, LinformerModelHGQ2: as it is, with Keras' softmax", lambda: linformer_with_norms(softmax=True)
    ),
    "attention_of_patches": Published(
        "aaronw5/PHAT-JeT in HGQ2: operators, reshapes, repeats, QEinsum, QSoftmax; no grid, N=128 -> 16, width -> 8",
        patches,
    ),
    "projected_attention": Published(
        "attention with QEinsumDense per head, sums and ReLU of Keras (as in bnhgq2 and hepattn): N=8, no norms",
        projected_attention,
    ),
    "deep_set": Published(
        f"{_TAGGER}, DeepSetModelHGQ2: N=16, 20 features, norm, convolutions, pooling of Keras; all the same", deep_set
    ),
    "masked_deep_set": Published("PUPPI deep set in HGQ2: a mask of bits, a masked mean; N -> 8", masked_deep_set),
    "missing_energy": Published(
        "L1DeepMET in HGQ2: four inputs, joins, tanh, weighted momenta; N=128 -> 8, width 64 -> 16", missing_energy
    ),
    "muons": Published(
        f"{_HGQ}, tgc: inputs _M1, _M2, _M3, three convolutions, slices, bounded sums; all the same",
        lambda: muons(q.QDense, q.QConv1D, ""),
    ),
    "muons_tables": Published(
        "calad0i/HGQ-LUT-AE, tgc: as muons, of tables, and 229 added; all the same",
        lambda: muons(q.QDenseT, q.QConvT1D, "all"),
    ),
    "muons_half_tables": Published(
        "calad0i/HGQ2-examples, tgc, hybrid: as muons, tables behind; all the same",
        lambda: muons(q.QDense, q.QConv1D, "behind"),
    ),
    "digits": Published(
        "calad0i/HGQ2-examples, mnist: 28 x 28 pixels of a bit, means of four, 24, 24, 24 -> 10; all the same", digits
    ),
    "house_numbers": Published(
        "calad0i/HGQ-demos (2405.00645), svhn: three convolutions with maxima, 42, 64, 10; 32 x 32 -> 22 x 22, filters "
        "16, 16, 24 -> 4, 4, 6",
        house_numbers,
    ),
    "postures": Published(
        "bedposip: 8 x 8 pixels, convolutions of 20, 20, 28 with norms behind, 28, 24 -> 3; all the same", postures
    ),
    "calorimeter_student": Published(
        "CICADA v2 student in HGQ2: Sequential, 252 -> 18 x 14 -> convolution -> 16 -> 1; all the same",
        calorimeter_student,
    ),
    "traces": Published(
        "ARIANNA radio traces in HGQ2: Sequential, convolutions of 20 and 10, its sigmoid left out; length 256 -> 32",
        lambda: traces(None),
    ),
    "traces_with_sigmoid": Published("ARIANNA radio traces in HGQ2: as it is", lambda: traces("sigmoid")),
    "traces_with_a_norm_of_keras": Published(
        "ARIANNA radio traces in HGQ2, 1D CNN: BatchNormalization of Keras between; length 256 -> 32, filters 32 -> 8",
        traces_with_a_norm_of_keras,
    ),
    "latent_of_events": Published(
        "AXOL1TL-like encoder (CMS Level-1 anomaly detection in HGQ2): 57 -> 32 -> 16 -> mean and spread of 8, by name",
        latent_of_events,
    ),
    "reconstruction": Published(
        "CMS Level-1 anomaly detection in HGQ2: encoder and decoder as models within, their error; 57 -> 3 -> 57",
        reconstruction,
    ),
    "gated_sequence": Published("hls4ml's and HGQ2's QGRU: 8 steps of 4, all the same", lambda: recurrent(q.QGRU)),
    "plain_sequence": Published("HGQ2's QSimpleRNN: 8 steps of 4", lambda: recurrent(q.QSimpleRNN)),
}


def stand_in(name: str) -> tuple[Any, dict[str, Any]]:
    """A published model's stand-in, as if it were trained and calibrated, and events that go beyond its calibration."""
    keras.utils.set_random_seed(7)
    random = np.random.default_rng(7)
    model = PUBLISHED[name].make()
    learn(model, random)
    shapes = {tensor._keras_history.operation.name: tuple(tensor.shape[1:]) for tensor in model.inputs}
    events = {key: random.normal(0, 1, (EVENTS, *shape)).astype(np.float32) for key, shape in shapes.items()}
    calibration = [0.5 * array for array in events.values()]
    trace_minmax(model, calibration if len(calibration) > 1 else calibration[0], verbose=False)
    return model, events


def learn(model: Any, random: np.random.Generator) -> None:
    """Weights and formats as training may leave them: each value has its own, some have no bit."""
    for variable in model.variables:
        if variable.name in SHAKEN and variable.shape:
            variable.assign(random.normal(0.2, 0.4, variable.shape))
        if variable.name == "kernel" and "/einsum_dense" in variable.path:  # of small networks, which become tables
            variable.assign(4.0 * np.asarray(variable))
        if variable.name == "moving_variance":
            small = 1e-4 if "dense_t" in variable.path else 1.0  # what small networks that are not trained give out
            variable.assign(small * random.uniform(0.2, 1.0, variable.shape))
    for core in (core for core in inside(model) if core.trainable):
        shape = tuple(core._k.shape)
        of_each = int(np.prod(shape)) > 1
        dead = (random.random(shape) < DEAD_SHARE) & of_each
        if core._is_weight:
            bits = np.where(dead, 0, random.integers(1, MOST_WEIGHT_BITS + 1, shape))
            core._i.assign(random.integers(-1, 1, shape))
            if isinstance(core, FixedPointQuantizerKBI):
                core._b.assign(bits)
            else:
                core._f.assign(bits - np.asarray(core._i))
        else:
            variable = core._b if isinstance(core, FixedPointQuantizerKBI) else core._f
            least = 0 if isinstance(core, FixedPointQuantizerKBI) else LEAST_FRACTION
            variable.assign(np.where(dead, least, np.asarray(variable) + random.integers(-1, 2, shape)))


def inside(layer: Any) -> Iterator[Any]:
    """The quantisers of fixed point within a layer or model."""
    for part in layer._layers:
        if isinstance(part, FixedPointQuantizerKBI | FixedPointQuantizerKIF):
            yield part
        else:
            yield from inside(part)
