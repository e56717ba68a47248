"""The losses of `qformers.tasks.losses.points` for `model.compile`: targets come as one array.

`qformers.data.points.targets` makes that array.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from qformers.tasks.losses.points import CMS_MULTIPLIER, SIGMA, TAU, focal_cms, focal_hept, info_nce_cms, info_nce_hept

Tensor = Any


@keras.saving.register_keras_serializable(package="qformers")
class PairInfoNce(keras.losses.Loss):  # type: ignore[misc]  # keras is untyped
    """InfoNCE on (n, P, 6) targets (first, second, positive, valid, particle, negative weight) and (n, N, D) outputs.

    Args:
        kind: ``hept`` (mean per particle, then over particles; weights of negatives ignored) or ``cms`` (weighted
            negatives, plain mean).
        tau: temperature.
        sigma: width of the similarity.
    """

    def __init__(self, kind: str = "hept", tau: float = TAU, sigma: float = SIGMA, name: str = "info_nce") -> None:
        super().__init__(name=name, reduction=None)
        if kind not in ("hept", "cms"):
            raise ValueError(f"kind must be hept or cms. Received: kind={kind}")
        self.kind, self.tau, self.sigma = kind, tau, sigma

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss, a scalar."""
        pairs = ops.cast(y_true[:, :, :2], "int32")
        positive, valid, weight = y_true[:, :, 2], y_true[:, :, 3], y_true[:, :, 5]
        if self.kind == "hept":
            particle = ops.cast(y_true[:, :, 4], "int32")
            return info_nce_hept(y_pred, pairs, positive, valid, particle, self.tau, self.sigma)
        return info_nce_cms(y_pred, pairs, positive, valid, weight, self.tau, self.sigma)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"kind": self.kind, "tau": self.tau, "sigma": self.sigma, "name": self.name}


@keras.saving.register_keras_serializable(package="qformers")
class PointFocal(keras.losses.Loss):  # type: ignore[misc]  # keras is untyped
    """Focal loss on (n, N, 2) targets (label, counts) and (n, N, 1) logits.

    Args:
        kind: ``hept`` or ``cms``.
        multiplier: m of ``cms``.
        static_ratio: m r of ``cms``, None = from each event.
    """

    def __init__(
        self,
        kind: str = "hept",
        multiplier: float = CMS_MULTIPLIER,
        static_ratio: float | None = None,
        name: str = "focal",
    ) -> None:
        super().__init__(name=name, reduction=None)
        if kind not in ("hept", "cms"):
            raise ValueError(f"kind must be hept or cms. Received: kind={kind}")
        self.kind, self.multiplier, self.static_ratio = kind, multiplier, static_ratio

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss, a scalar."""
        logits, labels, counts = y_pred[:, :, 0], y_true[:, :, 0], y_true[:, :, 1]
        if self.kind == "hept":
            return focal_hept(logits, labels, counts)
        return focal_cms(logits, labels, counts, self.multiplier, self.static_ratio)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {
            "kind": self.kind,
            "multiplier": self.multiplier,
            "static_ratio": self.static_ratio,
            "name": self.name,
        }
