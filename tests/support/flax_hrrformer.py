"""The weights of a Keras Hrrformer as upstream's flax script of a task has them: names and shapes, said one by one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.models import MODELS
from qformers.models.hrrformer.config import HrrformerConfig
from qformers.models.hrrformer.published import PUBLISHED
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32

TOKENS, CLASSES, ENTRIES, WIDTH, HEADS, BLOCKS = 6, 3, 5, 8, 2, 2
EMBEDDINGS = {
    "listops": "Encoder_0/EmbeddingLearned_0", "text": "Encoder_0/EmbeddingFixed_0", "retrieval": "EmbeddingFixed_0",
    "image": "Encoder_0/EmbeddingFixed_0", "path": "Encoder_0/EmbeddingLearned_0",
    "path_x": "Encoder_0/EmbeddingLearned_0", "ember": "Embedding_0",
}  # fmt: skip
LEARNED = ("listops", "path", "path_x", "ember")  # positions
NORMED = {"listops": "Encoder_0/LayerNorm_0", "retrieval": "LayerNorm_0"}  # embeddings
LAYERS = {"retrieval": "EncoderLayer_", "ember": "Encoder_"}
USUAL = "Encoder_0/EncoderLayer_"
PROJECTIONS = {"q": "query", "k": "key", "v": "value", "out": "output"}
ATTENTION_NORMED = ("text", "image", "ember")  # tasks whose LayerNorm_0 is that of attention


def small(task: str) -> HrrformerConfig:
    """The published form of a task at a small size."""
    sizes = {
        "vocabulary": ENTRIES, "embed_widths": (WIDTH,), "heads": HEADS, "blocks": BLOCKS, "ffn_width": 12,
        "fc_widths": (7,),
    }  # fmt: skip
    return PUBLISHED[task].model.model_copy(update=sizes)


def empty_model(config: HrrformerConfig, dtype: str = "float64", tokens: int = TOKENS) -> keras.Model:
    """In float; of a pair `tokens` counts both sequences."""
    return MODELS["hrrformer"].build(config, Jet(tokens, 1, CLASSES), Float32(dtype))


def params_of(model: keras.Model, task: str) -> dict[str, NDArray[Any]]:
    """Name -> array."""
    params: dict[str, NDArray[Any]] = {}

    def put(layer: str, names: dict[str, str], shapes: dict[str, tuple[int, ...]] | None = None) -> None:
        for variable in model.get_layer(layer).weights:
            array = np.asarray(keras.ops.convert_to_numpy(variable))
            params[names[variable.name]] = array.reshape((shapes or {}).get(variable.name, array.shape))

    def dense(layer: str, module: str, shape: tuple[int, ...] | None = None) -> None:
        shapes = None if shape is None else {"kernel": shape, "bias": (-1,)}
        put(layer, {"kernel": f"{module}/kernel", "bias": f"{module}/bias"}, shapes)

    def norm(layer: str, module: str) -> None:
        put(layer, {"gamma": f"{module}/scale", "beta": f"{module}/bias"})

    tables = EMBEDDINGS[task]
    put("embed", {"kernel": f"{tables}/Embed_0/embedding", "bias": f"{tables}/Embed_1/embedding"})
    if task in NORMED:
        norm("embed_norm", NORMED[task])
    if task == "ember":
        put("class_token", {"token": "cls_token"})
    for index in range(BLOCKS):
        place = f"{LAYERS.get(task, USUAL)}{index}"
        for number, (which, name) in enumerate(PROJECTIONS.items()):
            module = f"MHAttention_0/Dense_{number}" if task == "ember" else f"SelfAttention_0/{name}"
            dense(f"b{index}_attn_{which}", f"{place}/{module}", (WIDTH, WIDTH))
        if task in ATTENTION_NORMED:
            norm(f"b{index}_attn_norm", f"{place}/LayerNorm_0")
        norm(f"b{index}_ffn_norm", f"{place}/LayerNorm_{int(task in ATTENTION_NORMED)}")
        mlp = "FeedForwardLayer_0" if task == "ember" else "MLP_0"
        dense(f"b{index}_ffn_hidden", f"{place}/{mlp}/Dense_0")
        dense(f"b{index}_ffn_out", f"{place}/{mlp}/Dense_1")
    dense("fc0", "Dense_0")
    dense("logits", "Dense_1")
    return params
