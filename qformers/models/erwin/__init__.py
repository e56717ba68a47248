"""Erwin, the point transformer on ball trees (arXiv:2502.17019)."""

from __future__ import annotations

from qformers.models.arch import Arch
from qformers.models.erwin.config import ErwinConfig
from qformers.models.sizes import Sizes
from qformers.nn.vocabulary import Model, Vocabulary

MOST_POINTS = 500_000  # balls keep the work linear in them


def build_erwin(cfg: ErwinConfig, sizes: Sizes, nn: Vocabulary) -> Model:
    """See `qformers.models.erwin.erwin.erwin`; Keras is imported here and not before."""
    from qformers.models.erwin.erwin import erwin

    return erwin(cfg, sizes, nn)


ERWIN = Arch(
    config=ErwinConfig,
    build=build_erwin,
    forms={},  # none in fixed point yet
    particles=lambda cfg: (cfg.order.fewest // 2 + 1, MOST_POINTS),
)
