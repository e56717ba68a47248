"""Run folders with made-up but valid files, for the tests of the comparison."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from hls.reports.report import Report
from qformers.builds.build import load
from qformers.files import sha256

YAML = """\
spec: 1
name: {name}
data: {{dataset: hls4ml_lhc, train: [a], val: [a], test: [a], features: lnpt_eta_phi, num_particles: {particles}}}
model: {{architecture: part, embed_widths: [16], heads: 2, blocks: 1, class_blocks: 0, head: mean, pairs: {pairs}}}
quant: {{}}
train: {{qat: {{epochs: {epochs}}}}}
firmware: {{clock_ns: 5.0}}
"""
EQUAL = {"events": 10000, "values": 50000, "values_different": 0, "equal": True}
HARD = {"events": 685, "values": 3425, "values_different": 0, "equal": True}
LAYERS = ("embed0", "b0_attn_q", "b0_attn_weights", "logits")


def put(path: Path, content: Any) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def bare(root: Path, name: str, pairs: str = "none", particles: int = 16, epochs: int = 25) -> Path:
    """A run with nothing but its build.yaml."""
    run = root / name
    run.mkdir(parents=True)
    text = YAML.format(name=name, pairs=pairs, particles=particles, epochs=epochs)
    (run / "build.yaml").write_text(text)
    return run


def trained(root: Path, name: str, accuracy: float = 0.70, ebops: int = 100_000, pairs: str = "none") -> Path:
    """A run that was trained and audited."""
    run = bare(root, name, pairs)
    build = load(run / "build.yaml")
    tree = json.loads(build.model_dump_json())
    settings = {key: tree[key] for key in ("spec", "seed", "data", "model", "train", "quant")}
    for phase, value, bits in (("float", accuracy + 0.01, 0), ("qat", accuracy, ebops)):
        metrics = {"accuracy": {"value": value, "error": 0.004}, "auc": {"value": value + 0.2, "error": 0.002}}
        put(run / phase / "metrics.json", {"jets": 13000, **metrics})
        facts = {"build_hash": build.hash, "date": "2026-11-22T06:16:36+00:00", "ebops": bits, "settings": settings}
        put(run / phase / "manifest.json", facts)
    (run / "qat" / "model.keras").write_bytes(f"weights of {name}".encode())
    put(run / "qat" / "audit.json", audited(run, audit(ebops / 20_000)))
    zeros = [{"layer": layer, "zeros": 10 + place} for place, layer in enumerate(LAYERS)]
    total = sum(row["zeros"] for row in zeros)
    put(run / "qat" / "sparsity.json", {"weights": 400, "zeros": total, "ebops_saved": 1234.5, "layers": zeros})
    return run


def two_classes(run: Path, signals: tuple[str, str] = ("top", "qcd"), limit: bool = False) -> Path:
    """The run with background rejections of two classes; with `limit` the quantised one at 30 % is a limit alone."""
    for phase in ("float", "qat"):
        path = run / phase / "metrics.json"
        if not path.is_file():
            continue
        made: dict[str, Any] = {"classes": list(signals)}
        for key, efficiency, scale in (("rejection", 0.5, 1.0), ("rejection_30", 0.3, 4.0)):
            made[key] = {}
            for place, signal in enumerate(signals):
                only = limit and phase == "qat" and key == "rejection_30"
                value = 34.6 if only else scale * (40.0 + place + (phase == "float"))
                error = None if only else 0.1 * value
                made[key][signal] = {"efficiency": efficiency, "value": value, "error": error, "limit": only}
        put(path, {**json.loads(path.read_text()), **made})
    return run


def float_only(root: Path, name: str, accuracy: float = 0.70) -> Path:
    """A run of a build without a section `quant`, trained."""
    run = trained(root, name, accuracy)
    shutil.rmtree(run / "qat")
    text = (run / "build.yaml").read_text()
    (run / "build.yaml").write_text(text.replace("quant: {}\n", "").replace("train: {qat: {epochs: 25}}\n", ""))
    manifest = json.loads((run / "float" / "manifest.json").read_text())
    build = load(run / "build.yaml")
    tree = json.loads(build.model_dump_json())
    settings = {key: tree[key] for key in ("spec", "seed", "data", "model", "train")}
    put(run / "float" / "manifest.json", {**manifest, "build_hash": build.hash, "settings": settings})
    return run


def audited(run: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What qformers audit writes of the model of a run."""
    return {"model_file_sha256": sha256(run / "qat" / "model.keras"), "quantisers": rows}


def audit(width: float) -> list[dict[str, Any]]:
    """Rows as qformers audit leaves them: some learned layers, one table, one constant layer."""
    rows = []
    places = {"input": LAYERS, "weight": (*LAYERS, "pool"), "bias": LAYERS[:2], "table": LAYERS[2:3]}
    for place, names in places.items():
        for index, layer in enumerate(names):
            mean = 1.0 if layer == "pool" else width + index / 2
            row = {"name": f"{layer}_{place}", "layer": layer, "place": place, "learned": layer != "pool"}
            rows.append(
                {**row, "formats": 16, "width_mean": mean, "width_max": int(mean) + 2, "widest": "fixed<8,3,RND,SAT>"}
            )
    return rows


def simulated(run: Path, equal: bool = True, rtl: bool = True, build_hash: str = "") -> None:
    """Add csim.json and rtl.json."""
    build = load(run / "build.yaml")
    wrong = {**EQUAL, "values_different": 3, "equal": False}
    facts = {"build": build.name, "build_hash": build_hash or build.hash}
    found = {"jets": EQUAL if equal else wrong, "adversarial": HARD, "equal": equal}
    put(run / "csim.json", {**facts, "backend": "vitis", **found})
    if rtl:
        level = {"jets": EQUAL, "adversarial": HARD, "latency_cycles": None, "ii_cycles": None}
        timed = {**level, "latency_cycles": 21, "ii_cycles": 1}
        levels = {"interpreter": level, "verilator": timed, "icarus": level}
        result = {"levels": levels, "latency_cycles_reported": 21, "equal": True}
        put(run / "rtl.json", {**facts, "backend": "alkaid", **result})


def reported(run: Path, lut: int = 90_000, part: str = "xcvu13p-flga2577-2-e") -> None:
    """Add reports of three sources and the costs of each layer."""
    times: dict[str, Any] = {"clock_ns": 5.0, "latency_cycles": 21, "latency_ns": 105.0, "ii_cycles": 1}
    alkaid = {"lut": lut, "ff": 40_000, "dsp": 0}
    bar = "estimated / routed LUT: mean 0.953, 0.883-1.032"
    Report("alkaid", "estimate", "alkaid 0.8.2", part, alkaid, **times, error_bar=bar).save(run)
    counted = {"lut": int(lut * 1.05), "ff": 31_000, "dsp": 0, "bram18": 4}
    Report("yosys", "synthesis", "Yosys 0.23", part, counted, error_bar="one design").save(run)
    routed = {"lut": int(lut * 1.04), "ff": 30_000, "dsp": 0, "bram18": 4}
    Report("vivado-route", "route", "Vivado 2025.1", part, routed, clock_ns=5.0, achieved_ns=4.87).save(run)
    costs = [{"layer": name, "lut": lut / 4, "ebops": lut / 5, "latency_ns": 26.0} for name in LAYERS]
    put(run / "firmware" / "alkaid" / "layers.json", {"layers": costs})


def complete(root: Path, name: str, accuracy: float, lut: int, pairs: str = "none") -> Path:
    """A run with everything."""
    run = trained(root, name, accuracy, int(lut * 1.2), pairs)
    simulated(run)
    reported(run, lut)
    return run


def folded(root: Path, name: str, accuracy: float, lut: int, together: int = 1, trained_for: int | None = None) -> Path:
    """A run with folded firmware that takes `together` of 16 points per clock, trained for it or for another."""
    run = trained(root, name, accuracy, lut)
    path = run / "build.yaml"
    said = f"firmware: {{clock_ns: 5.0, backend: folded, points_per_clock: {together}}}"
    path.write_text(path.read_text().replace("firmware: {clock_ns: 5.0}", said))
    build, beats, cycles = load(path), 16 // together, 40 + 16 // together
    facts = json.loads((run / "qat" / "manifest.json").read_text())
    hardware = {"backend": "folded", "points_per_clock": trained_for or together}
    put(run / "qat" / "manifest.json", {**facts, "settings": {**facts["settings"], "firmware": hardware}})
    project, section = run / "firmware" / "folded", build.firmware.model_dump(mode="json")
    said_of = {"build_hash": build.hash, "backend": "folded", "firmware": section, "ebops": lut + 7}
    put(project / "manifest.json", {**said_of, "ii_cycles": beats, "latency_cycles": cycles})
    kernels = [
        {"kernel": 0, "layers": ["embed0", "b0_attn_q", "b0_attn_k", "pool_count"], "beats": beats, "stages": 9,
         "lut_estimate": 0.25 * lut, "register_bits": 1200, "longest_path_ns": 4.31,
         "stores": {"streamed_bits": 640, "filled_bits": 2048, "running_bits": 12, "held_bits": 0, "spread_bits": 0}},
        {"kernel": 1, "layers": ["pool", "logits"], "beats": 1, "stages": 4, "lut_estimate": 0.75 * lut,
         "register_bits": 310, "longest_path_ns": 3.9, "rom_bits": 96, "stores": {}},
    ]  # fmt: skip
    plan = {"points": 16, "points_per_clock": together, "ii_cycles": beats, "latency_cycles": cycles, "clock_ns": 5.0}
    put(project / "plan.json", {**plan, "kernels": kernels})
    put(project / "layers.json", {"layers": [{"layer": layer, "kernel": 0, "ebops": lut // 4} for layer in LAYERS]})
    times: dict[str, Any] = {"clock_ns": 5.0, "latency_cycles": cycles, "latency_ns": 5.0 * cycles, "ii_cycles": beats}
    counted = {"lut": lut, "ff": 4210, "dsp": 0}
    Report("folded", "estimate", "alkaid 0.8.2", "xcvu13p", counted, **times, detail=said_of).save(run)
    synthesised = {"lut": int(1.1 * lut), "ff": 4000, "dsp": 0}
    Report("yosys", "synthesis", "Yosys 0.23", "xcvu13p", synthesised, detail=said_of).save(run)
    return run
