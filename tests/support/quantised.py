"""Small quantised ParTs and jets for the tests of the fixed-point vocabulary."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import QuantConfig
from qformers.data.events import FeatureSet
from qformers.models import part as architecture
from qformers.models.part import fixed_part
from qformers.models.part.config import PartConfig
from qformers.models.part.part import part
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.nn.index.pairs import triangle_index
from qformers.nn.vocabulary import Form

NATURAL = FeatureSet(("part_pt_log", "part_deta", "part_dphi"), (0.0,) * 3, (1.0,) * 3, (-np.inf,) * 3, (np.inf,) * 3)
N, CLASSES = 5, 3
JET = Jet(N, 3, CLASSES, NATURAL)

WIDE = QuantConfig(
    weight="fixed<18,3,RND,SAT_SYM>",
    bias="fixed<18,3>",
    activation="fixed<18,6>",
    logits="fixed<16,6>",
    exp_input_fraction_bits=8,
    exp_fraction_bits=10,
    inverse_input_fraction_bits=8,
    inverse_fraction_bits=12,
    max_bits=20,
    norm_bits=18,
    smooth_fraction_bits=10,
)


def small(pairs: str = "onchip", head: str = "mean", **changes: Any) -> PartConfig:
    """A ParT of one block that fixed point can say."""
    class_blocks = int(head == "class_token")
    return architecture.small(**{"pairs": pairs, "head": head, "class_blocks": class_blocks, **changes})


def jets(count: int = 200, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """pT-sorted jets of 0 to N particles, with host pair features; padded slots are zero."""
    random = np.random.default_rng(seed)
    mask = (np.arange(N) < random.integers(0, N + 1, count)[:, None]).astype(np.float32)
    features = random.normal(0.0, 0.2, (count, N, 3))
    features[..., 0] = np.sort(random.uniform(0, 6, (count, N)))[:, ::-1]
    pairs = random.normal(0.0, 1.0, (count, N, N, 4)) * (mask[:, :, None] * mask[:, None, :])[..., None]
    arrays = {"features": features * mask[..., None], "pairs": pairs, "mask": mask}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


SMALL = 0.05  # of kernels that are drawn around 0 and learn what they do


def shaken(model: keras.Model, seed: int = 1) -> keras.Model:
    """Move norms, running statistics and factors off their start: identities hide errors. So do kernels near 0."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name == "kernel" and 0 < np.sqrt(np.mean(np.square(variable))) < SMALL:
            variable.assign(random.normal(0.0, 0.5, variable.shape))
        if any(word in variable.path for word in ("variance", "gamma", "factor")) or variable.name == "scale":
            variable.assign(random.uniform(0.5, 2.0, variable.shape))
        elif any(word in variable.path for word in ("moving_mean", "beta", "bias")):
            variable.assign(random.normal(0.0, 0.3, variable.shape))
    return model


def float_part(cfg: PartConfig, dtype: str = "float32") -> keras.Model:
    """A shaken float model."""
    keras.utils.set_random_seed(3)
    return shaken(part(cfg, JET, Float32(dtype)))


def wired_symmetric(self: Hgq, x: Any, points: int, form: Form, name: str, self_pairs: bool = False) -> Any:
    """`Hgq.symmetric` as models had it before there was `QSymmetricFill`: wires, an entry for each pair and place."""
    index = triangle_index(points, self_pairs)
    kernel = index == np.arange(int(x.shape[1]))[:, None, None]  # (P, N, N)
    return self.wires(x, kernel, "bph,pij->bhij", name, form)


def quantised_part(cfg: PartConfig, quant: QuantConfig | None = None) -> keras.Model:
    """A quantised model, untrained."""
    keras.utils.set_random_seed(3)
    return part(fixed_part(cfg), JET, Hgq(quant or QuantConfig()))


def logits(model: keras.Model, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Outputs in inference, for the inputs the model has."""
    chosen = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
    return np.asarray(keras.ops.convert_to_numpy(model(chosen, training=False)))


def inputs_of(model: keras.Model, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Those of `inputs` that the model has."""
    return {tensor.name: inputs[tensor.name] for tensor in model.inputs}
