"""What a small network says, as a digest, however and wherever this Python was started.

`python surroundings.py` prints it as JSON: of the batched engine here, in four threads at once, in a forked and in a
spawned process without HOME, and of Lava.
"""

import hashlib
import json
import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import open_bundle
from spikecut.export.encode import encode

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "format_1"
THREADS = 4


def digest(run=run_batched):
    """Of everything that a run of the golden bundle gives for each sample."""
    bundle = open_bundle(GOLDEN / "bundle")
    with np.load(GOLDEN / "samples.npz") as arrays:
        inputs = encode(arrays["x_test"], bundle.network)
    trace = run(bundle.network, inputs, bundle.cutoff())
    found = hashlib.sha256(repr([reason.value for reason in trace.reason]).encode())
    for array in (trace.scores, trace.valid, trace.timesteps, trace.hardware_steps):
        found.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return found.hexdigest()


def elsewhere(method):
    """The same in a process that is forked or spawned."""
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply(digest)


def main():
    with ThreadPoolExecutor(THREADS) as pool:
        threads = list(pool.map(lambda _: digest(), range(THREADS)))
    found = {"optimised": sys.flags.optimize, "encoding": sys.stdout.encoding, "here": digest(), "threads": threads}
    home = os.environ.pop("HOME")
    found |= {"fork": elsewhere("fork"), "spawn": elsewhere("spawn"), "home": home}
    from spikecut.deploy.backends.lava.cpu import run_lava

    print(json.dumps({**found, "lava": digest(run_lava)}))


if __name__ == "__main__":
    main()
