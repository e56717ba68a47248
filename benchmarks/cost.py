#!/usr/bin/env python3
"""Time and memory of an architecture against the number of points N, beside full attention of its width and heads.

    python benchmarks/cost.py hept                # measures, minutes
    python benchmarks/cost.py hrrformer
    python benchmarks/cost.py hept --show         # the table again

Float, one event. HEPT: one layer of the published tracking-60k (24 wide, 8 heads, 3 hashes, blocks of 100) with
encoder and head. Hrrformer: one block 128 wide with 4 heads and a feed-forward part of 128, tokens of 257 kinds with
fixed positions. Erwin: two blocks 32 wide with 4 heads in balls of 128, the second one in rotated balls, with
distances; the host's trees are not counted. Full attention is softmax(q k / sqrt(D)) v in the same place. A training
step is the gradient of the mean square of the output and Adam. Every measurement is a process of its own with a limit
on memory and time; what exceeds one is listed so. Time is the processor time of a step, which another load on the
machine changes little; memory is the peak of the process less what it had before the first step. The slope is that of
log(time) over log(N), by least squares. Not compiled by XLA, whose compilation takes longer than the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.logged import environment  # noqa: E402
from benchmarks.markdown import machine_words, table  # noqa: E402
from benchmarks.stream_memory import peak_mib  # noqa: E402

STEPS = {"forward": "forward", "train": "training step"}
FEATURES, COORDS = 15, 6
REPEATS, ENOUGH_S = 3, 10.0  # steps measured, fewer where they take longer than this together
MIB = 1024  # kB
POLL_S = 0.1
OUT_OF_MEMORY = "OOM when allocating"  # TensorFlow's words for a tensor that the machine has no place for
Row = dict[str, Any]
Made = tuple[Any, dict[str, Any]]  # a Keras model, and the arrays that it takes


@dataclass(frozen=True)
class Family:
    """What is compared.

    Attributes:
        name: of the architecture.
        models: name -> words, of it and of full attention.
        sizes: N.
        layers: of the published model; one is measured.
        make: from the name of a model, N and a number of layers to the model and its inputs.
    """

    name: str
    models: Mapping[str, str]
    sizes: tuple[int, ...]
    layers: int
    make: Callable[[str, int, int], Made]

    @property
    def results(self) -> Path:
        """Where its figures are kept."""
        return ROOT / "benchmarks" / "results" / f"{self.name}_cost.json"


def full_attention(points: int, layers: int) -> Any:
    """The tracking-60k model with full attention in place of hashed blocks, one event of `points` points."""
    import keras
    from keras import ops

    from qformers.models.hept.config import HeptConfig

    cfg = HeptConfig()
    width, heads = cfg.width, cfg.heads
    dense = keras.layers.Dense
    inputs = [keras.Input((points, size), name=name) for name, size in (("features", FEATURES), ("coords", COORDS))] + [
        keras.Input((points,), name="mask")
    ]

    def split(x: Any) -> Any:
        return ops.transpose(ops.reshape(x, (-1, points, heads, width)), (0, 2, 1, 3))

    x = dense(width)(dense(width, "relu")(keras.layers.Concatenate()(inputs[:2])))
    seen = [x]
    for _ in range(layers):
        y = keras.layers.LayerNormalization()(x)
        q, k, v = (split(dense(heads * width, use_bias=False)(y)) for _ in range(3))  # (B, H, N, D)
        weights = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) / width**0.5)  # (B, H, N, N)
        y = ops.reshape(ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3)), (-1, points, heads * width))
        x = x + dense(width)(y)
        x = x + dense(width)(dense(width, "relu")(keras.layers.LayerNormalization()(x)))
        seen.append(x)
    x = dense(cfg.head_width, use_bias=False)(keras.layers.Concatenate()(seen))
    for hidden in cfg.head_widths:
        x = ops.tanh(keras.layers.LayerNormalization()(dense(hidden)(x)))
    return keras.Model(inputs, dense(cfg.head_width)(x))


def _hept(name: str, points: int, layers: int) -> Made:
    import numpy as np

    random = np.random.default_rng(1)
    if name == "hept":
        from qformers.models.hept.config import HeptConfig
        from qformers.models.hept.hept import hept
        from qformers.models.sizes import Points
        from qformers.nn.float32 import Float32

        model = hept(HeptConfig(layers=layers, dropout=0.0), Points(points, FEATURES), Float32())
    else:
        model = full_attention(points, layers)
    shapes = {"features": (1, points, FEATURES), "coords": (1, points, COORDS)}
    inputs = {key: random.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    return model, {**inputs, "mask": np.ones((1, points), np.float32)}


def _hrrformer(name: str, points: int, layers: int) -> Made:
    import numpy as np

    from qformers.models.hrrformer import build_hrrformer
    from qformers.models.hrrformer.config import HrrformerConfig
    from qformers.models.sizes import Jet
    from qformers.nn.float32 import Float32

    cfg = HrrformerConfig(
        vocabulary=257,
        positions="fixed",
        embed_widths=(128,),
        heads=4,
        blocks=layers,
        attention="hrr" if name == "hrrformer" else "dot",
        mask_pool=True,
        dropout=0.0,
    )
    tokens = np.random.default_rng(1).integers(1, 257, (1, points)).astype(np.int32)
    model = build_hrrformer(cfg, Jet(points, 1, 2), Float32())
    return model, {"tokens": tokens, "mask": np.ones((1, points), np.float32)}


def _erwin(name: str, points: int, layers: int) -> Made:
    import numpy as np

    from qformers.models.erwin import build_erwin
    from qformers.models.erwin.config import ErwinConfig
    from qformers.models.sizes import Points
    from qformers.nn.float32 import Float32

    local = name == "erwin"
    cfg = ErwinConfig(
        widths=(32,),
        balls=(128 if local else points,),
        enc_heads=(4,),
        enc_depths=(2 * layers,),
        dec_heads=(),
        dec_depths=(),
        strides=(),
        mp_steps=0,
        rotate=45.0 if local else 0.0,
        distance="exact" if local else "none",
        outputs=1,
    )
    random = np.random.default_rng(1)
    coords = random.normal(size=(1, points, cfg.coords)).astype(np.float32)
    mask = np.ones((1, points), np.float32)
    features = random.normal(size=(1, points, FEATURES)).astype(np.float32)
    model = build_erwin(cfg, Points(points, FEATURES), Float32())
    return model, {"features": features, "coords": coords, "mask": mask, "order": cfg.ball_order(coords, mask)}


FULL = "full attention"
FAMILIES = {
    family.name: family
    for family in (
        Family("hept", {"hept": "HEPT", "full": FULL}, (1000, 4000, 16_000, 60_000), 4, _hept),
        Family("erwin", {"erwin": "Erwin", "full": FULL}, (1024, 4096, 16_384, 32_768), 1, _erwin),
        Family("hrrformer", {"hrrformer": "Hrrformer", "full": FULL}, (256, 1024, 4096, 16_384), 1, _hrrformer),
    )
}


def measure(family: Family, model_name: str, step: str, points: int, layers: int) -> Row:
    """Seconds of processor time and of the clock per step, and peak memory in MiB, in this process."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(1)
    model, inputs = family.make(model_name, points, layers)
    model.compile("adam", lambda _, y: keras.ops.mean(y * y), jit_compile=False)
    target = np.zeros((1, *[1 for _ in model.output.shape[1:]]), np.float32)  # is not read

    def once() -> tuple[float, float]:
        start, cpu = time.perf_counter(), time.process_time()
        if step == "forward":
            model.predict_on_batch(inputs)
        else:
            model.train_on_batch(inputs, target)
        return time.process_time() - cpu, time.perf_counter() - start

    before = peak_mib()
    once()  # traces the graph
    times = [once()]
    while len(times) < REPEATS and sum(clock for _, clock in times) < ENOUGH_S:
        times.append(once())
    cpu, clock = (statistics.median(column) for column in zip(*times, strict=True))
    return {"cpu_s": cpu, "clock_s": clock, "steps": len(times), "memory_mib": round(peak_mib() - before)}


def resident_mib(process: int) -> float:
    """Resident memory of another process, MiB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / MIB for line in lines if line.startswith("VmRSS")), 0.0)


def in_a_process(arguments: Sequence[str], memory_mib: float, limit_s: float) -> Row:
    """`measure` in a process of its own, ended where it exceeds a limit; ``{"exceeded": ...}`` then."""
    name, *measured, layers = arguments
    command = [sys.executable, __file__, name, "--layers", layers, "--child", *measured]
    quiet = {**environment(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.monotonic()
    with subprocess.Popen(  # noqa: S603  our own file
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet
    ) as child:
        exceeded = ""
        while child.poll() is None and not exceeded:
            time.sleep(POLL_S)
            if resident_mib(child.pid) > memory_mib:
                exceeded = f"{memory_mib / MIB:g} GiB"
            elif time.monotonic() - start > limit_s:
                exceeded = f"{limit_s:g} s"
        if exceeded:
            child.kill()
        out, errors = child.communicate()
    refused = child.returncode not in (0, None) and OUT_OF_MEMORY in errors
    if exceeded or refused or child.returncode == -signal.SIGKILL:
        return {"exceeded": exceeded or "the memory of the machine"}
    if child.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {child.returncode}: {errors[-2000:]}")
    figures: Row = json.loads(out.splitlines()[-1])
    return figures


def slope(points: Sequence[float], seconds: Sequence[float]) -> float | None:
    """d log(t) / d log(N), by least squares; None with fewer than two sizes."""
    import numpy as np

    if len(points) < 2:
        return None
    return float(np.polyfit(np.log(points), np.log(seconds), 1)[0])


def run(family: Family, options: argparse.Namespace) -> None:
    """Measure all and write the results, one after the other; none larger than one that exceeded a limit."""
    from qformers.files import write_json
    from qformers.manifest import machine, versions
    from qformers.progress import bars

    facts = {"layers": options.layers, "machine": machine(), "versions": versions(), "date": time.strftime("%Y-%m-%d")}
    rows = kept_rows(family, options)
    done = {(row["model"], row["step"], row["points"]): row for row in rows}
    sizes = options.points or family.sizes
    cases = [(model, step) for model in family.models for step in STEPS]
    with bars() as reporter:
        tick = reporter.task("measurements", len(cases) * len(sizes))
        for model, step in cases:
            exceeded = ""
            for points in sorted(sizes):
                tick(0, f"{model} {step} {points}")
                row = done.get((model, step, points))
                if row is None and not exceeded:
                    arguments = (family.name, model, step, str(points), str(options.layers))
                    row = in_a_process(arguments, options.memory_gib * MIB, options.limit_s)
                    rows.append({"model": model, "step": step, "points": points, **row})
                    write_json(family.results, {**facts, "load": os.getloadavg()[0], "rows": rows})
                exceeded = exceeded or (row or {}).get("exceeded", "")
                tick()


def kept_rows(family: Family, options: argparse.Namespace) -> list[Row]:
    """What was measured before, of as many layers."""
    if options.fresh or not family.results.exists():
        return []
    content = json.loads(family.results.read_text())
    return list(content["rows"]) if content["layers"] == options.layers else []


def cell(row: Mapping[str, Any] | None) -> str:
    """``0.52 s, 310 MiB``, or the limit that was exceeded."""
    if row is None:
        return ""
    if "exceeded" in row:
        return f"over {row['exceeded']}"
    return f"{row['cpu_s']:.3g} s, {row['memory_mib']:,} MiB"


def slope_of(content: Mapping[str, Any], model: str, step: str) -> float | None:
    """The slope of a line of the table."""
    mine = [row for row in content["rows"] if (row["model"], row["step"]) == (model, step) and "cpu_s" in row]
    mine.sort(key=lambda row: row["points"])
    return slope([row["points"] for row in mine], [row["cpu_s"] for row in mine])


def text(family: Family, content: Mapping[str, Any]) -> str:
    """The table as Markdown, with the slopes."""
    rows, sizes = content["rows"], sorted({row["points"] for row in content["rows"]})
    lines = [["", "step", *(f"N = {size:,}" for size in sizes), "slope"]]
    for model, name in family.models.items():
        for step, words in STEPS.items():
            mine = {row["points"]: row for row in rows if (row["model"], row["step"]) == (model, step)}
            power = slope_of(content, model, step)
            lines.append(
                [name, words, *(cell(mine.get(size)) for size in sizes), "" if power is None else f"{power:.2f}"]
            )
    return table(lines) + (
        f"\n\nProcessor time of one event and memory beyond that before the first step; "
        f"{content['layers']} of {family.layers} layers, {machine_words(content['machine'])}, "
        f"load {content['load']:.1f} at the end, {content['date']}. Slope: d log(time) / d log(N)."
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES, help="architecture")
    parser.add_argument("--points", nargs="+", type=int, help="N (default: four, by the architecture)")
    parser.add_argument("--layers", type=int, default=1, help="(default: 1)")
    parser.add_argument("--memory-gib", type=float, default=10.0, help="limit per process (default: 10)")
    parser.add_argument("--limit-s", type=float, default=300.0, help="limit per process (default: 300)")
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured before")
    parser.add_argument("--show", action="store_true", help="measure nothing, print what is known")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> int:
    """Entry point."""
    options = parse()
    family = FAMILIES[options.family]
    if options.child:
        model, step, points = options.child
        print(json.dumps(measure(family, model, step, int(points), options.layers)))
        return 0
    if not options.show:
        run(family, options)
    if not family.results.exists():
        print(f"{family.results} is missing: run benchmarks/cost.py {family.name} without --show")
        return 1
    print(text(family, json.loads(family.results.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
