"""The steps of `benchmarks/folded_sizes.py`, each a process: ``folded_sizes_steps.py FOLDER STEP EVENTS``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.toolchain_steps import timed  # noqa: E402

BACKEND = "folded"
LEVEL = "compiled"  # of simulation, without a clock


class Sized:
    """A model in a run folder, and its firmware where the commands of qformers have it; each method is one step."""

    def __init__(self, folder: Path, events: int) -> None:
        from qformers.builds.build import load
        from qformers.builds.models import load_model

        self.folder, self.events, self.build = folder, events, load(folder / "build.yaml")
        self.model = load_model(folder / "qat" / "model.keras")

    @property
    def place(self) -> Path:
        """Of the project."""
        return self.folder / "firmware" / BACKEND

    def project(self) -> Any:
        """As it was written."""
        from hls.backends import open_project

        return open_project(self.place)

    def write(self) -> dict[str, Any]:
        """Trace, cut, write."""
        from hls.backends import open_backend

        facts = open_backend(BACKEND).write(self.model, self.build, self.place).facts
        kept = ("lut_estimate", "ii_cycles", "latency_cycles", "register_bits", "store_bits", "products", "clock_ns")
        return {**{key: facts[key] for key in kept}, "kernels": len(facts["kernels"])}

    def verilate(self) -> dict[str, Any]:
        """Verilator, and g++ for what it writes."""
        self.project().compile("verilator")
        return {}

    def simulate(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Events back to back through the RTL in Verilator."""
        return {"clocked": self.project().clock(inputs, {}, "verilator")}

    def kernels(self) -> dict[str, Any]:
        """g++ for the arithmetic of the kernels."""
        self.project().compile(LEVEL)
        return {}

    def prove(self) -> dict[str, Any]:
        """Events through the compiled kernels, beside Keras: `qformers prove`."""
        from hls.stages.prove import prove

        proof = prove(self.build, self.folder, self.events, BACKEND, LEVEL, fresh=True)
        rates = {f"{side}_per_s": proof.rate(side) for side in ("firmware", "keras")}
        return {"events": proof.total("events"), "different": proof.total("values_different"), **rates}

    def drawn(self) -> dict[str, Any]:
        """Events as `qformers prove` draws them: real ones, those changed, adversarial ones, and over all ranges."""
        from hls.proof.draws import Draws
        from hls.proof.samples import sample
        from hls.stages.prove import POOL

        pool = sample(self.build, self.model, POOL)
        return Draws(self.model, pool.inputs, self.build.seed).chunk(0, self.events)[0]

    def compared(self, clocked: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs that are not those of Keras, and whether they came in time."""
        from hls.proof.agree import keras_outputs

        start = time.perf_counter()
        expected = keras_outputs(self.model, inputs)
        seconds = time.perf_counter() - start
        wrong = sum(int((clocked.outputs[name] != expected[name]).sum()) for name in expected)
        return {"events": self.events, "different": wrong, "on_time": clocked.on_time, "keras_s": seconds}


def main() -> None:
    """One step, in this process; its figures are the last line printed."""
    sized, step = Sized(Path(sys.argv[1]), int(sys.argv[3])), sys.argv[2]
    if step == "simulate":
        inputs = sized.drawn()
        timed(
            lambda: sized.simulate(inputs),
            outside=False,
            behind=lambda facts: sized.compared(facts["clocked"], inputs),
        )
    else:
        timed(getattr(sized, step), outside=step in ("verilate", "kernels"))


if __name__ == "__main__":
    main()
