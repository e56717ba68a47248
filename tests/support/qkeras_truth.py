"""What the real QKeras computes: golden files for the tests. Runs in an environment of its own (`make test-qkeras`).

    PYTHONPATH=tests python -m support.qkeras_truth v3 OUT       # qkeras-v3 on Keras 3
    PYTHONPATH=tests python -m support.qkeras_truth v0.9 OUT     # QKeras 0.9 on tf_keras, on that path too
    PYTHONPATH=tests python -m support.qkeras_truth v3 OUT wide  # many more widths: too large for the repository

Writes OUT/quantisers_<flavour>.npz and, for each model, its file and OUT/<model>_<flavour>.npz with input and output.
Model files are as Keras saved them, but compressed.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "v0.9" in sys.argv:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np

from support import qkeras_cases as cases

keras: Any = importlib.import_module("tf_keras" if "v0.9" in sys.argv else "keras")
qkeras: Any = importlib.import_module("qkeras")
tf: Any = importlib.import_module("tensorflow")

SIX = "quantized_bits(6, 0, alpha=1)"


def quantisers(flavour: str) -> dict[str, Any]:
    """For each of `cases.kernels` and for "flowing": outputs, one row for each spelling that QKeras can compute.

    The row numbers are those of ``<name>|spellings``; ``errors`` lists what QKeras itself cannot do.
    """
    found: dict[str, Any] = {}
    errors: list[str] = []
    for name, numbers in {"flowing": cases.numbers(), **cases.kernels()}.items():
        spellings = dict.fromkeys(cases.spellings(name, flavour == "v0.9", "wide" in sys.argv))
        rows = {}
        for spelling in spellings:
            try:
                quantiser = qkeras.get_quantizer(spelling)
                if name != "flowing" and hasattr(quantiser, "_set_trainable_parameter"):
                    quantiser._set_trainable_parameter()
                rows[spelling] = np.asarray(quantiser(tf.constant(numbers)), np.float32)
            except Exception as error:  # what QKeras itself cannot do is part of the truth
                errors.append(f"{name}|{spelling}: {type(error).__name__}")
        found[name] = np.stack(list(rows.values()))
        found[f"{name}|spellings"] = np.asarray(list(rows))
    return {**found, "errors": np.asarray(errors)}


def jet_mlp() -> Any:
    """The 16-64-32-32-5 classifier of the hls4ml tutorial, six bits."""
    x = inputs = keras.Input((16,), name="jet")
    for index, width in enumerate((64, 32, 32), 1):
        x = qkeras.QDense(width, kernel_quantizer=SIX, bias_quantizer=SIX, name=f"fc{index}")(x)
        x = qkeras.QActivation("quantized_relu(6)", name=f"relu{index}")(x)
    x = qkeras.QDense(5, kernel_quantizer=SIX, bias_quantizer=SIX, name="scores")(x)
    return keras.Model(inputs, keras.layers.Activation("softmax", name="softmax")(x))


def cnn() -> Any:
    """Convolutions, one with batch norm folded in, one depthwise; pooling, a residual, a dense layer."""
    layers = keras.layers
    inputs = keras.Input((9, 9, 1), name="image")
    x = qkeras.QActivation("quantized_bits(6, 2, alpha=1)", name="pixels")(inputs)
    x = qkeras.QConv2DBatchnorm(4, (3, 3), kernel_quantizer=SIX, bias_quantizer=SIX, name="conv1")(x)
    x = qkeras.QActivation("quantized_relu(5, 1)", name="relu_c1")(x)
    x = layers.MaxPooling2D((2, 2), name="pool1")(x)  # (3, 3, 4)
    kernel = "quantized_bits(4, 0)"  # without alpha: auto_po2
    y = qkeras.QConv2D(4, (2, 2), padding="same", kernel_quantizer=kernel, bias_quantizer=SIX,
                       activation="quantized_relu(5, 1)", name="conv2")(x)  # fmt: skip
    y = qkeras.QDepthwiseConv2D((3, 3), padding="same", depthwise_quantizer=SIX, bias_quantizer=SIX, name="depth")(y)
    y = qkeras.QActivation("quantized_tanh(6)", name="tanh1")(y)
    x = layers.Add(name="residual")([x, y])
    x = layers.Flatten(name="flat")(x)
    x = qkeras.QActivation("quantized_bits(6, 2, alpha=1)", name="flat_bits")(x)
    x = qkeras.QDense(8, kernel_quantizer="ternary(alpha=1)", bias_quantizer=SIX, name="hidden")(x)
    x = qkeras.QActivation("quantized_relu(6, 3)", name="relu_h")(x)
    return keras.Model(inputs, qkeras.QDense(3, kernel_quantizer=SIX, bias_quantizer=SIX, name="scores")(x))


def sequence(v3: bool) -> Any:
    """One-dimensional convolution, tables, sign bits, merges; two inputs, two outputs."""
    layers = keras.layers
    a, b = keras.Input((6, 2), name="hits"), keras.Input((4,), name="extra")
    x = qkeras.QActivation("quantized_bits(5, 1, 1, alpha=1)", name="hit_bits")(a)
    x = layers.ZeroPadding1D(1, name="pad")(x)
    x = qkeras.QConv1D(3, 3, strides=2, kernel_quantizer="binary(alpha=1)", bias_quantizer="quantized_po2(4, 1)",
                       name="conv")(x)  # fmt: skip
    x = qkeras.QActivation("quantized_bits(6, 3, alpha=1)", name="conv_bits")(x)
    x = qkeras.QActivation("quantized_tanh(5, use_real_tanh=True)", name="real_tanh")(x)
    x = layers.GlobalMaxPooling1D(name="largest")(x)  # (3,)
    y = qkeras.QActivation("quantized_sigmoid(4)", name="soft")(b)
    y = qkeras.QDense(3, kernel_quantizer="quantized_po2(4, 1)", bias_quantizer=SIX, name="mix")(y)
    y = qkeras.QActivation("binary(alpha=1)", name="signs")(y)
    z = layers.Multiply(name="product")([x, y])
    w = layers.Concatenate(name="both")([z, x])
    if v3:
        w = qkeras.QActivation("quantized_linear(5, 1)", name="linear_bits")(w)
        w = qkeras.QDenseBatchnorm(4, kernel_quantizer=SIX, bias_quantizer=SIX, name="bn_dense")(w)
        w = qkeras.QActivation("quantized_relu(6, 2, negative_slope=0.25)", name="leaky") (
            qkeras.QActivation("quantized_bits(8, 3, alpha=1)", name="leaky_in")(w))  # fmt: skip
    w = qkeras.QDense(2, kernel_quantizer="quantized_bits(4, 0, alpha=1)", use_bias=False, name="scores")(w)
    return keras.Model([a, b], [w, layers.Subtract(name="difference")([z, x])])


def norms(v3: bool) -> Any:
    """Batch norm by itself, with a factor on a grid, and inside a depthwise layer; averages."""
    factor: dict[str, Any] = {"epsilon": 1e-9}  # QKeras 0.9: variance and gamma are powers of two
    if v3:
        factor = {"variance_quantizer": None, "gamma_quantizer": None,
                  "inverse_quantizer": "quantized_bits(8, 1, alpha=1)"}  # fmt: skip
    inputs = keras.Input((6, 6, 2), name="image")
    x = qkeras.QActivation("quantized_bits(6, 2, alpha=1)", name="pixels")(inputs)
    x = qkeras.QBatchNormalization(name="norm", **factor)(x)
    x = qkeras.QActivation("quantized_bits(7, 3, alpha=1)", name="norm_bits")(x)
    x = qkeras.QDepthwiseConv2DBatchnorm((3, 3), depthwise_quantizer=SIX, bias_quantizer=SIX, name="depth")(x)
    x = qkeras.QActivation("quantized_relu(7, 2)", name="depth_bits")(x)  # (4, 4, 2)
    y = qkeras.QAveragePooling2D((2, 2), average_quantizer="quantized_bits(6, 0, alpha=1)", name="mean")(x)
    z = qkeras.QGlobalAveragePooling2D(average_quantizer="quantized_bits(8, 0, alpha=1)", name="global_mean")(x)
    return keras.Model(inputs, [y, qkeras.QActivation("quantized_bits(8, 2, alpha=1)", name="mean_bits")(z)])


def fill(model: Any, seed: int) -> None:
    """Weights that look trained: kernels inside the range of six bits, biases small, batch norms in motion."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        name, shape = variable.name.split("/")[-1].split(":")[0], tuple(variable.shape)
        if name == "iteration":
            continue
        if "kernel" in name:
            values = np.clip(random.normal(size=shape) * min(0.4, 1.6 / np.sqrt(np.prod(shape[:-1]))), -0.95, 0.95)
        elif name in ("moving_variance", "gamma"):
            values = random.uniform(0.5, 1.5, shape)
        else:
            values = np.clip(random.normal(size=shape) * 0.2, -0.95, 0.95)
        variable.assign(values.astype(np.float32))


def models(flavour: str, out: Path) -> None:
    """Save each model, its inputs and its outputs (of the layer before a final softmax)."""
    old = flavour == "v0.9"
    made = {"jet_mlp": jet_mlp(), "cnn": cnn(), "sequence": sequence(not old), "norms": norms(not old)}
    for seed, (name, model) in enumerate(made.items(), 21):
        fill(model, seed)
        inputs = [cases.on_grid((48, *tensor.shape[1:]), seed + 10 * i) for i, tensor in enumerate(model.inputs)]
        outputs = model.outputs
        if "softmax" in [layer.name for layer in model.layers]:
            outputs = [model.get_layer("scores").output]
        exact = keras.Model(model.inputs, outputs)
        answers = exact([tf.constant(array) for array in inputs] if len(inputs) > 1 else tf.constant(inputs[0]))
        answers = answers if isinstance(answers, (list, tuple)) else [answers]
        arrays = {f"input{i}": array for i, array in enumerate(inputs)}
        arrays |= {f"output{i}": np.asarray(array) for i, array in enumerate(answers)}
        np.savez_compressed(out / f"{name}_{flavour}.npz", **arrays)
        for suffix in (".h5",) if old else (".keras", ".h5") if name == "jet_mlp" else (".keras",):
            with tempfile.TemporaryDirectory() as folder:
                saved = Path(folder) / f"model{suffix}"
                model.save(saved)
                packed(saved, out / f"{name}_{flavour}{suffix}")


def packed(saved: Path, target: Path) -> None:
    """What Keras saved, compressed: ``.keras`` with its members deflated, ``.h5`` as ``.h5.gz``."""
    if saved.suffix == ".h5":
        target.with_name(f"{target.name}.gz").write_bytes(gzip.compress(saved.read_bytes(), 9, mtime=0))
        return
    with zipfile.ZipFile(saved) as given, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for name in given.namelist():
            made.writestr(name, given.read(name))


def main(flavour: str, out: Path) -> None:
    """Write everything, and which versions it comes from."""
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / f"quantisers_{flavour}.npz", **quantisers(flavour))
    models(flavour, out)
    from importlib.metadata import version

    package = {"v3": "qkeras-v3", "v0.9": "QKeras"}[flavour]
    versions = {"qkeras": f"{package} {version(package)}", "tensorflow": tf.__version__, "numpy": np.__version__}
    versions["keras"] = f"{'tf_keras' if flavour == 'v0.9' else 'keras'} {keras.__version__}"
    record = {"command": f"python -m support.qkeras_truth {flavour} tests/data/qkeras", "versions": versions}
    (out / f"manifest_{flavour}.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
