"""CPU time until Lava runs: as it comes, and as spikecut starts it.

    python benchmarks/lava_start.py [--repetitions 5]

"import" is Lava's first import in a process; "graph" compiles and starts a second graph of a three-layer network in a
process that has run one, and ends it. "as it comes" leaves out what spikecut.lava_repairs puts off, and lets Lava's
compiler search for the ProcessModels. Each measurement has a process of its own, and the two take turns; medians, with
the least and the largest in brackets, children included.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

SUPPORT = Path(__file__).resolve().parent.parent / "tests" / "support"
AS_IT_COMES = """
from spikecut import lava_repairs
lava_repairs.DEFERRALS = ()
from spikecut.deploy.backends.lava import models
class Models(dict):
    pass
models.Models = Models
"""
MEASURED = """
import os, sys
def seconds():
    return sum(os.times()[:4])
from spikecut.deploy.backends.lava.blocks import require_lava
before = seconds()
require_lava()
imported = seconds() - before
from networks import random_inputs, random_network
from spikecut.deploy.backends.lava.cpu import run_lava
network = random_network(4)
inputs = random_inputs(network, 1)
for each in ("fused", "fast", "stock"):
    run_lava(network, inputs, models=each)
    before = seconds()
    run_lava(network, inputs, models=each)
    print(each, seconds() - before)
print("import", imported)
"""


def measure(code: str) -> dict[str, float]:
    """CPU seconds of the import, and of a graph of each set of models."""
    surroundings = os.environ | {"PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=surroundings)
    return {name: float(seconds) for name, seconds in map(str.split, done.stdout.splitlines())}


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    repetitions = parser.parse_args().repetitions
    pairs = [(measure(AS_IT_COMES + MEASURED), measure(MEASURED)) for _ in range(repetitions)]
    for name in ("import", "stock", "fast", "fused"):
        before, after = ([each[name] for each in sides] for sides in zip(*pairs, strict=True))
        what = name if name == "import" else f"graph, {name}"
        print(f"{what:14} {shown(before)} → {shown(after)} s, {median(before) / median(after):.1f} times faster")


def shown(seconds: list[float]) -> str:
    """The median, the least and the largest."""
    return f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    main()
