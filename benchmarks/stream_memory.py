"""Peak memory of one streamed epoch, for a data set and for one several times larger.

    python benchmarks/stream_memory.py [--jets 40000] [--times 10] [--shuffle-jets 20000]

Writes a ROOT file with the branches of JetClass, hard-links it until the larger data set is reached (each name counts
as a file of its own), and streams both in fresh processes, decoding each time and from the cache. The peak is the
process's own high-water mark of resident memory (VmHWM), imports included.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import machine_words, table  # noqa: E402
from qformers.config.sections import DataConfig  # noqa: E402
from qformers.data import open_split  # noqa: E402
from qformers.data.jets.toy import jetclass_branches, write_tree  # noqa: E402
from qformers.files import write_json  # noqa: E402
from qformers.manifest import machine  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "stream_memory.json"
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
    """Measure, keep and print; non-zero when the larger data set needs over 10 % (at least 32 MiB) more memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jets", type=int, default=40_000, help="jets of the small data set, in four files")
    parser.add_argument("--times", type=int, default=10, help="how much larger the other one is")
    parser.add_argument("--shuffle-jets", type=int, default=20_000, help="data.shuffle_jets")
    parser.add_argument("--particles", type=int, default=16, help="data.num_particles")
    parser.add_argument("--show", action="store_true", help="measure nothing, print what is known")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(stream_once(DataConfig.model_validate_json(arguments.child))))
        return 0
    if not arguments.show:
        write_json(RESULTS, compared(arguments))
    content = json.loads(RESULTS.read_text())
    print(f"{text(content)}\n\n{conditions(content)}")
    return int(any(large > allowed(small) for small, large in pairs(content)))


def compared(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both data sets, decoding and from the cache."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        first = write_tree(Path(folder) / "jets_000.root", jetclass_branches(arguments.jets // 4))
        for number in range(1, 4 * arguments.times):
            os.link(first, Path(folder) / f"jets_{number:03d}.root")
        for cache in (None, str(Path(folder) / "cache")):
            for files in (4, 4 * arguments.times):
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
                    rows.append({"state": state, **measure(config)})
    return {
        "rows": rows,
        "particles": arguments.particles,
        "shuffle_jets": arguments.shuffle_jets,
        "machine": machine_words(machine()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def allowed(small_mib: float) -> float:
    """Memory that the larger data set may take, MiB."""
    return small_mib + max(0.1 * small_mib, 32.0)


def pairs(content: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """Peak memory of the small and of the large data set, MiB, in each state."""
    for state in dict.fromkeys(row["state"] for row in content["rows"]):
        rows = [row for row in content["rows"] if row["state"] == state]
        small, large = sorted(rows, key=lambda row: row["jets"])
        yield small["peak_mib"], large["peak_mib"]


def text(content: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    lines = [["", "jets", "jets/s", "memory after imports", "peak"]]
    for row in content["rows"]:
        numbers = (f"{row['jets']:,}", f"{row['jets_per_s']:,}", f"{row['imports_mib']} MiB", f"{row['peak_mib']} MiB")
        lines.append([row["state"], *numbers])
    return table(lines)


def conditions(content: Mapping[str, Any]) -> str:
    """What it was measured on."""
    return (
        f"N = {content['particles']}, {content['shuffle_jets']:,} jets mixed in memory, {content['machine']}, "
        f"{content['date']}."
    )


if __name__ == "__main__":
    raise SystemExit(main())
