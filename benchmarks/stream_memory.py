"""Peak memory of one streamed epoch, for a data set and for one several times larger.

    python benchmarks/stream_memory.py [--jets 40000] [--times 10] [--shuffle-jets 20000]

Writes a ROOT file with the branches of JetClass, hard-links it until the larger data set is reached (each name counts
as a file of its own), and streams both in fresh processes, decoding each time and from the cache. The peak is the
process's own high-water mark of resident memory (VmHWM), imports included.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from qformers.config.sections import DataConfig
from qformers.data import open_split
from qformers.data.jets.toy import jetclass_branches, write_tree

MIB = 1 / 1024  # of VmHWM's kB


def peak_mib() -> float:
    """High-water mark of this process's resident memory, MiB (Linux)."""
    line = next(text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) * MIB


def stream_once(config: DataConfig) -> dict[str, float]:
    """Stream one epoch of the training split; jets seen, jets per second, peak memory before and after (MiB)."""
    for name in ("awkward", "uproot"):  # loaded on first use otherwise; here they belong to the baseline
        importlib.import_module(name)
    before = peak_mib()
    source = open_split(config, "train")
    start = time.perf_counter()
    jets = sum(len(batch) for batch in source.stream(512, seed=1, epoch=0, drop_last=False))
    rate = jets / (time.perf_counter() - start)
    return {"jets": jets, "jets_per_s": round(rate), "imports_mib": round(before), "peak_mib": round(peak_mib())}


def measure(config: DataConfig) -> dict[str, float]:
    """`stream_once` in a process of its own."""
    command = [sys.executable, __file__, "--child", config.model_dump_json()]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own file
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def main() -> int:
    """Print the table; non-zero when the larger data set needs over 10 % (at least 32 MiB) more memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jets", type=int, default=40_000, help="jets of the small data set, in four files")
    parser.add_argument("--times", type=int, default=10, help="how much larger the other one is")
    parser.add_argument("--shuffle-jets", type=int, default=20_000, help="data.shuffle_jets")
    parser.add_argument("--particles", type=int, default=16, help="data.num_particles")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(stream_once(DataConfig.model_validate_json(arguments.child))))
        return 0
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        first = write_tree(Path(folder) / "jets_000.root", jetclass_branches(arguments.jets // 4))
        for number in range(1, 4 * arguments.times):
            os.link(first, Path(folder) / f"jets_{number:03d}.root")
        print(f"{'':24}{'jets':>10}{'jets/s':>10}{'imports':>10}{'peak MiB':>10}")
        for cache in (None, str(Path(folder) / "cache")):
            peaks = []
            for label, files in (("1x", 4), (f"{arguments.times}x", 4 * arguments.times)):
                config = DataConfig(
                    dataset="jetclass",
                    train=tuple(str(Path(folder) / f"jets_{i:03d}.root") for i in range(files)),
                    val=(),
                    test=(),
                    features="kin",
                    num_particles=arguments.particles,
                    shuffle_jets=arguments.shuffle_jets,
                    cache=cache,
                )
                for state in ("decoding",) if cache is None else ("filling the cache", "from the cache"):
                    found = measure(config)
                    peaks.append((state, found["peak_mib"]))
                    print(
                        f"{label:>4} {state:19}{found['jets']:10,}{found['jets_per_s']:10,}"
                        f"{found['imports_mib']:10}{found['peak_mib']:10}"
                    )
            half = len(peaks) // 2
            for (state, small), (_, large) in zip(peaks[:half], peaks[half:], strict=True):
                worst = max(worst, large - small - max(0.1 * small, 32))
                print(f"     {state}: {arguments.times} times the jets need {large - small:+.0f} MiB")
    return int(worst > 0)


if __name__ == "__main__":
    raise SystemExit(main())
