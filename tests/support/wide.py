"""Models whose sums need more than the 24 bits of a float32; run as a program, under JAX, it compares one of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hgq.layers import QAdd

from support import hls_models as h

FORMAT = "fixed<14,6,RND,SAT>"


def fine(x: Any, name: str) -> Any:
    """A dense layer with sums of 31 bits."""
    kernel = np.array([[1 + 2**-17, 0.5, -1], [2**-17, 0.25 - 2**-17, 1], [-1, 2**-16, 1 - 2**-17]])
    made = h.dense(x, name, FORMAT, kernel)
    fraction = made._keras_history.operation.kq.quantizer._f
    fraction.assign(np.full(fraction.shape, 17.0))
    return made


def sums() -> keras.Model:
    """Behind such sums a table and a softmax, and an output that is not rounded."""
    x = keras.Input((3,), name="x")
    inner = fine(x, "inner")
    outputs = {"sums": fine(x, "sums"), "soft": h.softmax(inner, "soft"), "bent": h.table(inner, "bent", h.SOURCE)}
    return keras.Model(x, outputs)


def added() -> keras.Model:
    """A coarse and a fine value are added."""
    x = keras.Input((3,), name="x")
    sides = [h.dense(x, "coarse", "fixed<12,11,RND,SAT>", h.EYE), h.dense(x, "fine", "fixed<20,2,RND,SAT>", h.EYE)]
    formats = [h.form("fixed<14,13,RND,SAT>"), h.form("fixed<22,2,RND,SAT>")]
    return keras.Model(x, {"add": QAdd(iq_confs=formats, name="add")(sides)})


def softmax() -> keras.Model:
    """Products of two tables of 15 bits."""
    x = keras.Input((3,), name="x")
    inner = h.dense(x, "first", h.SOURCE, h.MIX)
    return keras.Model(x, {"soft": h.softmax(inner, "soft", tables="ufixed<15,1,RND_CONV,SAT>")})


def table() -> keras.Model:
    """A table of 28 bits beside a wide sum."""
    x = keras.Input((3,), name="x")
    bent = h.table(h.dense(x, "first", h.SOURCE, h.MIX), "bent", "fixed<8,4,RND,SAT>", "fixed<28,3,RND,SAT>")
    return keras.Model(x, {"bent": bent, "sums": fine(x, "sums")})


MODELS = {"sums": sums, "added": added, "softmax": softmax, "table": table}


def main(folder: Path) -> None:
    """Write the first one with alkaid, compare it, write jax.json."""
    from hls.backends import open_backend
    from hls.proof.agree import agree

    model = sums()
    project = open_backend("alkaid").write(model, h.build_of("wide", backend="alkaid"), folder / "alkaid")
    agreement = agree(project, model, {"x": h.numbers(3, 300)})
    (folder / "jax.json").write_text(json.dumps({"backend": keras.backend.backend(), **agreement.to_json()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
