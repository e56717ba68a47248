"""`Pruning`: the callback that raises the thresholds, freezes the masks and lets the other weights settle."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.config.sections import PruneConfig
from qformers.errors import ConfigError
from qformers.quant.kinds import kind_of
from qformers.quant.prune.masks import Held, MaskedKernel
from qformers.quant.prune.mdmm import Multiplier
from qformers.quant.prune.scores import input_sizes, ramp, squares, thresholds
from qformers.quant.prune.targets import Kernel, dense_layers, kernels, letters

UPDATES = 200  # the thresholds rise in about so many steps over a whole phase


class Pruning(keras.callbacks.Callback):  # type: ignore[misc]
    """Prunes a model while it trains; for `Model.fit`, and for the loop of `qformers.train`, which calls `after_step`.

    Args:
        config: the prune section; None prunes nothing and only holds the zeros that are there.
        sample: inputs by name for the sizes of activations; method wanda needs them.
        hold: hold the weights that are zero at the start of the phase at zero (those of a pruned float model).
    """

    def __init__(
        self, config: PruneConfig | None, sample: dict[str, NDArray[Any]] | None = None, hold: bool = False
    ) -> None:
        super().__init__()
        if config is not None and config.method == "wanda" and sample is None:
            raise ConfigError("prune.method: wanda ranks weights by their inputs. Received: no sample of inputs")
        self.config, self.sample, self.hold = config, sample, hold
        self.masked: list[MaskedKernel] = []
        self._widths: dict[str, Held] = {}
        self._biases: dict[str, Held] = {}
        self._seen = 0

    def attach(self, model: Any, optimiser: Any, steps: int) -> None:
        """Put the constraints in place, before the first step is compiled.

        Args:
            model: functional, built.
            optimiser: built on the model's trainable variables.
            steps: of the whole phase.

        Raises:
            ConfigError: the section does not fit the model.
        """
        self._model, self._steps = model, steps
        config = self.config
        if config is not None and config.method == "mdmm" and keras.backend.backend() == "jax":
            raise ConfigError(
                "prune.method: mdmm needs the TensorFlow or PyTorch backend of Keras: under JAX a price that climbs "
                "would be compiled into the step as a constant. Received: KERAS_BACKEND=jax"
            )
        chosen = {} if config is None else {kernel.layer.name: kernel for kernel in kernels(model, config)}
        for layer in dense_layers(model):
            if layer.name in chosen or self.hold:
                self._constrain(chosen.get(layer.name, Kernel(layer, 0.0)), optimiser)

    def _constrain(self, kernel: Kernel, optimiser: Any) -> None:
        config, layer = self.config, kernel.layer
        multiplier, units, temperature = None, False, 1.0
        if config is not None:
            units, temperature = config.granularity == "unit", config.temperature
            if config.method == "mdmm" and kernel.sparsity:
                multiplier = Multiplier(kernel, config, optimiser)
        self.masked.append(MaskedKernel(kernel, optimiser, temperature, units, multiplier))
        width = _learned_width(layer)
        if width is not None:
            self._widths[layer.name] = Held(width, optimiser, f"{layer.name}_width")
        if units and layer.bias is not None:
            self._biases[layer.name] = Held(layer.bias, optimiser, f"{layer.name}_held_bias")

    def start(self) -> None:
        """Of a phase, not of one that goes on: freeze the zeros that are there, where they are to be held."""
        if self.hold:
            for masked in self.masked:
                self._freeze(masked, np.asarray(ops.convert_to_numpy(masked.kernel.variable)) != 0)

    def settled(self, step: int) -> bool:
        """Whether the masks are final after so many steps: only then is a model worth keeping."""
        return self.config is None or step >= self._last_step()

    def after_step(self, step: int) -> None:
        """Do what is due after so many steps of the phase, counted over all its epochs."""
        config = self.config
        if config is None or step > self._last_step() or step < self._first_step():
            return
        if step == self._first_step():
            self._begin(config)
        if step == self._last_step():
            for masked in self._pruned():
                self._freeze(masked, self._kept(masked, config))
        elif config.method != "mdmm" and (step - self._first_step()) % max(1, self._steps // UPDATES) == 0:
            share = ramp(config, step / self._steps)
            for masked in self._pruned():
                limits = thresholds(masked.kernel, config, _scores(masked, config), share)
                masked.threshold.assign(limits.astype(np.float32))
                masked.refresh()
                self._hold_widths(masked)

    def on_train_begin(self, logs: Any = None) -> None:
        """Keras: before `fit`."""
        optimiser = self.model.optimizer
        optimiser.build(self.model.trainable_variables)
        self.attach(self.model, optimiser, self.params["epochs"] * self.params["steps"])
        self.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keras: behind every step of `fit`."""
        self._seen += 1
        self.after_step(self._seen)

    def _first_step(self) -> int:
        return 0 if self.config is None else max(1, math.floor(self.config.start * self._steps))

    def _last_step(self) -> int:
        return 0 if self.config is None else max(1, math.ceil(self.config.end * self._steps))

    def _pruned(self) -> list[MaskedKernel]:
        return [masked for masked in self.masked if masked.kernel.sparsity]

    def _begin(self, config: PruneConfig) -> None:
        pruned = self._pruned()
        if config.method == "wanda":
            sizes = input_sizes(self._model, [masked.kernel for masked in pruned], self.sample or {})
            for masked, size in zip(pruned, sizes, strict=True):
                masked.scale.assign(size.astype(np.float32))
        for masked in pruned:
            if masked.multiplier is not None:
                masked.multiplier.switch(True)

    @staticmethod
    def _kept(masked: MaskedKernel, config: PruneConfig) -> NDArray[np.bool_]:
        """What lies above the final threshold."""
        scores = _scores(masked, config)
        return masked.kernel.tensor(scores) > thresholds(masked.kernel, config, scores, 1.0)

    def _freeze(self, masked: MaskedKernel, keep: NDArray[np.bool_]) -> None:
        if masked.multiplier is not None:
            masked.multiplier.switch(False)
        masked.freeze(keep)
        self._hold_widths(masked)
        bias = self._biases.get(masked.kernel.layer.name)
        if bias is not None:
            bias.hold(_of_bias(masked.kernel, np.asarray(ops.convert_to_numpy(masked.mask))))

    def _hold_widths(self, masked: MaskedKernel) -> None:
        """No bits for what is masked at the moment, so that a target of EBOPs is spent on the other weights."""
        widths = self._widths.get(masked.kernel.layer.name)
        if widths is not None:
            widths.hold(np.asarray(ops.convert_to_numpy(masked.kept(masked.dense))) > 0.5)


def _scores(masked: MaskedKernel, config: PruneConfig) -> NDArray[np.float64]:
    """Squared scores of the weights behind the mask; 0 for those that are held at zero."""
    parts = (masked.dense, masked.mask, masked.scale)
    dense, mask, scale = (np.asarray(ops.convert_to_numpy(part), np.float64) for part in parts)
    return squares(masked.kernel, config, dense * mask, scale)


def _learned_width(layer: Any) -> Any:
    """The variable of learned bits per weight of an HGQ2 layer; None where there is none."""
    held = next((one for one in kind_of(layer).quantisers(layer) if one.place == "weight"), None)
    width = None if held is None else getattr(held.core, "_b", None)
    trained = width is not None and width.trainable and tuple(width.shape) == tuple(layer._kernel.shape)
    return width if trained else None


def _of_bias(kernel: Kernel, mask: NDArray[Any]) -> NDArray[Any]:
    """Which elements of the bias belong to a unit with a weight left."""
    inputs, axes, output = letters(kernel.layer)
    shape = tuple(kernel.layer.bias.shape)
    places = output[len(output) - len(shape) :]  # the last axes of the output; those without a bias of their own have 1
    units = {letter for letter, size in zip(places, shape, strict=True) if size > 1} & set(axes) - set(inputs)
    kept = "".join(letter for letter in places if letter in units)
    left = np.einsum(f"{axes}->{kept}", mask) > 0
    sizes = [size if letter in units else 1 for letter, size in zip(places, shape, strict=True)]
    return np.broadcast_to(left.reshape(sizes), shape)
