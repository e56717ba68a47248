"""The published forms of the Long Range Arena and of EMBER, by task (arXiv:2305.19534, section 4 and appendix)."""

from __future__ import annotations

from dataclasses import dataclass

from qformers.models.hrrformer.config import HrrformerConfig


@dataclass(frozen=True)
class Published:
    """A task and its model.

    Attributes:
        model: its configuration.
        length: T, tokens of a sequence (of each of the two of Retrieval).
        classes: of the output.
    """

    model: HrrformerConfig
    length: int
    classes: int


LISTOPS = HrrformerConfig(
    vocabulary=17,
    positions="learned",
    embed_norm=True,
    embed_widths=(512,),
    heads=8,
    blocks=6,
    ffn_width=256,
    fc_widths=(512,),
)
TEXT = HrrformerConfig(
    vocabulary=257,
    positions="fixed",
    embed_widths=(512,),
    heads=8,
    blocks=6,
    ffn_width=1024,
    residuals="pre",
    fc_widths=(512,),
)
RETRIEVAL = HrrformerConfig(
    vocabulary=257,
    positions="fixed",
    embed_norm=True,
    embed_widths=(128,),
    heads=4,
    blocks=4,
    ffn_width=64,
    pair=True,
    fc_widths=(128,),
)
IMAGE = HrrformerConfig(
    vocabulary=256,
    positions="fixed",
    embed_widths=(256,),
    heads=4,
    blocks=3,
    ffn_width=128,
    residuals="post",
    masked=False,
    fc_widths=(256,),
)
PATH = HrrformerConfig(
    vocabulary=256,
    positions="learned",
    embed_widths=(1024,),
    heads=8,
    blocks=2,
    ffn_width=256,
    masked=False,
    fc_widths=(1024,),
)
EMBER = HrrformerConfig(
    vocabulary=257,
    positions="learned",
    embed_widths=(256,),
    heads=8,
    blocks=1,
    ffn_width=512,
    residuals="pre",
    activation="relu",
    biases=True,
    head="class_token",
    fc_widths=(256,),
)

PUBLISHED = {
    "listops": Published(LISTOPS, 2000, 10),
    "text": Published(TEXT, 4000, 2),
    "retrieval": Published(RETRIEVAL, 4000, 2),
    "image": Published(IMAGE, 1024, 10),
    "path": Published(PATH, 1024, 2),
    "path_x": Published(PATH.model_copy(update={"blocks": 1}), 16384, 2),
    "ember": Published(EMBER, 16384, 2),
}
