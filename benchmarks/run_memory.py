"""Peak memory of `spikecut run` on a tiny network, by the number of samples; one process each.

    python benchmarks/run_memory.py [--samples 10000 200000] [--bundle BUNDLE]

Prints for each number of samples the largest resident memory of the process, in MB, without and with its own data, and
what it grew by since the first. The samples are random, the backend is "batched", and the costs are those of all
hardware files, as `spikecut run` estimates them.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.pipeline.run import RunOptions, RunTarget, RunTask, run_bundle
from spikecut.models.data import Split

TINY = Path(__file__).resolve().parent.parent / "tests" / "golden" / "format_1" / "bundle"


def run_once(bundle_path: Path, samples: int, also_full: bool) -> None:
    """Run random samples, and print the peak in MB and the seconds."""
    bundle = open_bundle(bundle_path)
    spec, random = bundle.network.input, np.random.default_rng(0)
    x = np.empty((samples, *spec.shape), dtype=np.float32)
    x[...] = spec.zero + spec.scale * random.integers(0, 2 ** (spec.bits or 1), (samples, *spec.shape), dtype=np.int16)
    split = Split(x, np.arange(samples) % bundle.network.classes, np.arange(samples))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        task = RunTask(bundle, split, "random", bundle.cutoff(), RunOptions("batched", also_full=also_full))
        run_bundle(task, RunTarget(Path(folder) / "run"))
        seconds = time.perf_counter() - began
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, x.nbytes / 1e6, seconds)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000, 200_000])
    parser.add_argument("--bundle", type=Path, default=TINY)
    parser.add_argument("--also-full", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        run_once(given.bundle, given.samples[0], given.also_full)
        return
    first = None
    for samples in given.samples:
        command = [sys.executable, __file__, "--one", "--samples", str(samples), "--bundle", str(given.bundle)]
        done = subprocess.run(
            [*command, *(["--also-full"] if given.also_full else [])], capture_output=True, text=True, check=True
        )
        peak, data, seconds = map(float, done.stdout.split())
        first = peak if first is None else first
        print(
            f"{samples:>9,} samples: {peak:,.0f} MB at the peak ({data:,.0f} MB of it samples), "
            f"{peak - first:+,.0f} MB, {seconds:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
