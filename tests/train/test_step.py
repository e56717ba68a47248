"""The step under JAX: the bits of Keras's own."""

from __future__ import annotations

from pathlib import Path

from support import jax_step
from support.under_jax import under_jax


def test_a_step_under_jax_is_that_of_keras_bit_for_bit(tmp_path: Path) -> None:
    """Compiled, with Ranger too: no two variables share an array, which a compiled step would refuse."""
    for vocabulary, (own, keras) in under_jax(Path(jax_step.__file__), tmp_path).items():
        assert own == keras, vocabulary
        logs, variables = own
        assert len(logs) == 6
        assert logs[0]["loss"] != logs[-1]["loss"]
        assert set(logs[0]) == {"loss", "accuracy"}
        assert len(variables) > 10
