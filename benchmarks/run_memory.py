"""Peak memory of `spikecut run` on a tiny network, by the number of samples; one process each.

    python benchmarks/run_memory.py [--samples 1000 10000 200000 1000000] [--bundle BUNDLE] [--also-full]

Prints for each number of samples the largest resident memory of the process, in MB, and what it grew by since the
first. The samples are random and lie in a file (--suffix .npz or .h5), the backend is "batched", and the costs are
those of all hardware files, as `spikecut run` estimates them.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.pipeline.run import RunOptions, RunTarget, run_dataset

TINY = Path(__file__).resolve().parent.parent / "tests" / "golden" / "format_1" / "bundle"


def write_samples(path: Path, bundle_path: Path, samples: int) -> None:
    """Random samples and labels in the range of the bundle's input."""
    network, random = open_bundle(bundle_path).network, np.random.default_rng(0)
    spec = network.input
    x = np.empty((samples, *spec.shape), dtype=np.float32)
    x[...] = spec.zero + spec.scale * random.integers(0, 2 ** (spec.bits or 1), (samples, *spec.shape), dtype=np.int16)
    y = np.arange(samples) % network.classes
    if path.suffix == ".npz":
        np.savez(path, x=x, y=y)
    else:
        with h5py.File(path, "w") as file:
            file["x"], file["y"] = x, y


def run_once(bundle: Path, samples: Path, also_full: bool) -> None:
    """Run the samples of a file, and print the peak in MB and the seconds."""
    began = time.perf_counter()
    target = RunTarget(samples.with_name("run"))
    run_dataset(bundle, str(samples), RunOptions("batched", also_full=also_full), target=target)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, time.perf_counter() - began)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[1_000, 10_000, 200_000, 1_000_000])
    parser.add_argument("--bundle", type=Path, default=TINY)
    parser.add_argument("--also-full", action="store_true")
    parser.add_argument("--suffix", choices=(".npz", ".h5"), default=".npz")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        run_once(given.bundle, given.one, given.also_full)
        return
    first = None
    for samples in given.samples:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"random{given.suffix}"
            write_samples(path, given.bundle, samples)
            command = [sys.executable, __file__, "--one", str(path), "--bundle", str(given.bundle)]
            done = subprocess.run(
                [*command, *(["--also-full"] if given.also_full else [])], capture_output=True, text=True, check=True
            )
        peak, seconds = map(float, done.stdout.split())
        first = peak if first is None else first
        print(
            f"{samples:>9,} samples: {peak:,.0f} MB at the peak, {peak - first:+,.0f} MB, {seconds:.1f} s", flush=True
        )


if __name__ == "__main__":
    main()
