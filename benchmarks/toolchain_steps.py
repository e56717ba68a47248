"""The steps of `benchmarks/toolchain.py`, one per process: ``python benchmarks/toolchain_steps.py FOLDER STEP``."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

JETS = 2_000
ICARUS_EVENTS = 100
COMPILED = {  # step -> what is compiled
    "compile": ("vitis", "csim"),
    "alkaid compile": ("alkaid", "csim"),
    "verilate": ("alkaid", "verilator"),
    "fold compile": ("folded", "compiled"),
    "fold verilate": ("folded", "verilator"),
}
WRITTEN = {"convert": "vitis", "trace": "alkaid", "fold": "folded"}  # step -> backend that writes
LEVELS = {"alkaid csim": "csim", "fold kernels": "compiled"}  # step -> level of simulation, where the name is another
OUTSIDE = (
    "compile",
    "alkaid compile",
    "verilate",
    "icarus",
    "yosys",
    "fold compile",
    "fold verilate",
    "fold icarus",
    "fold yosys",
    "hls4ml alone",
)  # the work is done by other programs


def resized(run: Path, particles: int, folder: Path, *changes: str) -> None:
    """Write ``build.yaml`` and ``qat/model.keras`` of a run's model with another N, weights and formats kept.

    `changes` are KEY=VALUE on which no weight depends either.

    Raises:
        SystemExit: a trained weight depends on N, so that there is no such model.
    """
    import keras
    import numpy as np

    from qformers.builds.build import load
    from qformers.builds.models import build_model, load_model
    from qformers.data import open_split

    trained = load_model(run / "qat" / "model.keras")
    build = changed(run, folder, f"data.num_particles={particles}", *changes)
    source = open_split(build.data, "test")
    model, before = (
        build_model(one, source.feature_set, source.class_names, "hgq") for one in (build, load(run / "build.yaml"))
    )
    for layer in model.layers:
        news, olds = layer.variables, trained.get_layer(layer.name).variables
        if not layer.trainable_variables and len(news) != len(olds):
            continue  # constants, which an older model has in another form
        built = before.get_layer(layer.name).variables
        for new, old, first in zip(news, olds, built, strict=True):
            if tuple(new.shape) == tuple(old.shape):
                by_size = not new.trainable and not np.array_equal(np.asarray(new), np.asarray(first))
                if not by_size:  # formats of counts and of 1/N stay those of this N
                    new.assign(old)
            elif layer.trainable_variables:
                raise SystemExit(f"{run}: '{new.path}' has {old.shape} for its N and {new.shape} for N = {particles}")
    keep(model, build, folder)
    keras.backend.clear_session()


def widened(run: Path, width: int, folder: Path) -> None:
    """Write ``build.yaml`` and ``qat/model.keras`` of a model of another width: random weights, ranges of jets."""
    import keras

    from qformers.builds.models import build_model
    from qformers.data import open_split
    from qformers.models.inputs import host_inputs
    from qformers.quant.fold import float_to_quantised

    build = changed(run, folder, f"model.embed_widths=[{width}]")
    source = open_split(build.data, "test")
    keras.utils.set_random_seed(build.seed)
    floating, model = (build_model(build, source.feature_set, source.class_names, form) for form in ("float32", "hgq"))
    float_to_quantised(floating, model, host_inputs(model, source.load()[:JETS]))
    keep(model, build, folder)
    keras.backend.clear_session()


def changed(run: Path, folder: Path, *changes: str) -> Any:
    """The build of a run with settings (KEY=VALUE) changed, named like `folder`."""
    from qformers.builds.build import load

    return load(run / "build.yaml", [*changes, f"name={folder.name}"])


def keep(model: Any, build: Any, folder: Path) -> None:
    """Write a model and its build where a run has them."""
    from qformers.builds.saved import save_model
    from qformers.files import replacing

    (folder / "qat").mkdir(parents=True, exist_ok=True)
    save_model(model, folder / "qat" / "model.keras")
    with replacing(folder / "build.yaml") as temporary:
        temporary.write_text(build.to_yaml())


class Bench:
    """The steps of one model; each method is one step and returns what is worth a remark."""

    def __init__(self, folder: Path) -> None:
        from qformers.builds.build import load
        from qformers.builds.models import load_model

        self.folder, self.build = folder, load(folder / "build.yaml")
        self.model = load_model(folder / "qat" / "model.keras")

    def jets(self) -> dict[str, Any]:
        """Test jets, again and again if there are too few."""
        import numpy as np

        from qformers.data import open_split
        from qformers.models.inputs import host_inputs

        inputs = host_inputs(self.model, open_split(self.build.data, "test").load()[:JETS])
        return {name: np.resize(array, (JETS, *array.shape[1:])) for name, array in inputs.items()}

    def project(self, backend: str) -> Any:
        """A written project."""
        from hls.backends import open_project

        return open_project(self.folder / backend)

    def prepare(self, step: str) -> Callable[[], dict[str, Any]]:
        """What the clock is to see of a step; all else is done here."""
        from hls.backends import open_backend

        if step in WRITTEN:
            backend = WRITTEN[step]
            return lambda: self.written(open_backend(backend).write(self.model, self.build, self.folder / backend))
        if step in COMPILED:
            backend, level = COMPILED[step]
            project = self.project(backend)
            return lambda: project.compile(level) or {}
        own = "folded" if step.startswith("fold ") else "vitis" if step == "csim" else "alkaid"
        if step.endswith("yosys"):
            return lambda: self.yosys(own)
        jets = self.jets()
        if step == "hls4ml alone":
            return lambda: self.hls4ml_alone(jets)
        if step.endswith("icarus"):
            jets = {name: array[:ICARUS_EVENTS] for name, array in jets.items()}
        project, level = self.project(own), LEVELS.get(step, step.removeprefix("fold "))
        return lambda: {"outputs": project.outputs(jets, level), "jets": jets}

    def written(self, project: Any) -> dict[str, Any]:
        """LUT estimate and latency, where the project has them."""
        facts = getattr(project, "facts", {})
        return {key: facts[key] for key in ("lut_estimate", "latency_cycles") if key in facts}

    def compared(self, outputs: Mapping[str, Any], jets: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs that are not those of Keras."""
        from hls.proof.agree import keras_outputs

        expected = keras_outputs(self.model, jets)
        wrong = sum(int((outputs[name].reshape(expected[name].shape) != expected[name]).sum()) for name in expected)
        return {"events": len(next(iter(jets.values()))), "different": wrong}

    def yosys(self, backend: str) -> dict[str, Any]:
        """Logic synthesis without DSP."""
        from hls.reports.yosys.synthesis import synthesise

        project = self.project(backend)
        folder = self.folder / ("yosys" if backend == "alkaid" else f"yosys_{backend}")
        place = {"folder": folder, "dsp": False, "time_limit_s": 1e6}
        report = synthesise(project.sources, project.layout.top, **place)
        return {"lut": report.resources["lut"], "peak_mib": report.detail["peak_mib"]}

    def hls4ml_alone(self, jets: Mapping[str, Any]) -> dict[str, Any]:
        """The route of hls4ml's own documentation for a model of HGQ2."""
        import hls4ml
        import numpy as np

        from hls.proof.agree import keras_outputs

        start = time.perf_counter()
        graph = hls4ml.converters.convert_from_keras_model(
            self.model,
            output_dir=str(self.folder / "hls4ml_alone"),
            project_name="alone",
            backend="Vitis",
            io_type="io_parallel",
            hls_config={"Model": {"Precision": "ap_fixed<16,6>", "ReuseFactor": 1, "Strategy": "latency"}},
        )
        converted = time.perf_counter() - start
        graph.compile()
        compiled = time.perf_counter() - start - converted
        arrays = [np.ascontiguousarray(jets[tensor.name]) for tensor in self.model.inputs]
        outputs = np.asarray(graph.predict(arrays if len(arrays) > 1 else arrays[0]))
        expected = next(iter(keras_outputs(self.model, jets).values()))
        return {
            "convert_s": converted,
            "compile_s": compiled,
            "predict_s": time.perf_counter() - start - converted - compiled,
            "different": int((outputs.reshape(expected.shape) != expected).sum()),
        }


def timed(
    action: Callable[[], dict[str, Any]],
    outside: bool,
    behind: Callable[[dict[str, Any]], dict[str, Any]] = lambda facts: facts,
) -> None:
    """Print the figures of a step as the last line.

    Args:
        action: the step; returns what is worth a remark.
        outside: the work is done by other programs, so that the memory is theirs.
        behind: makes the remarks of what the step returned, beyond the clock.
    """
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    facts = action()
    seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": sum(os.times()[:4]) - cpu}
    facts = behind(facts)
    who = resource.RUSAGE_CHILDREN if outside else resource.RUSAGE_SELF
    print(json.dumps({"peak_mib": resource.getrusage(who).ru_maxrss / 1024, **seconds, **facts}))


def main() -> None:
    """One step, in this process; its figures are the last line printed."""
    folder, step = Path(sys.argv[1]), sys.argv[2]
    bench = Bench(folder)
    timed(
        bench.prepare(step),
        step in OUTSIDE,
        lambda facts: bench.compared(facts["outputs"], facts["jets"]) if "outputs" in facts else facts,
    )


if __name__ == "__main__":
    main()
