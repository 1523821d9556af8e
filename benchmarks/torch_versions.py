"""The batched engine in several environments side by side: Python 3.10 with torch 2.3.1 against today's.

    python benchmarks/torch_versions.py .venvs/3.10/bin/python .venv/bin/python [--repetitions 5] [--out FILE]

Each interpreter holds the three networks of benchmarks/engine.py in a process of its own, and they take turns: one
batch of one network with one product, then the next interpreter. Rates are timesteps of a sample a second, medians
with the least and the most; the ratio is that of the last interpreter to the first. Nothing is asserted.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NETWORKS = ("mlp", "convnet", "vgg")
BATCH = {"mlp": 4096, "convnet": 1024, "vgg": 64}
PRODUCTS = ("auto", "float32")


def answer() -> None:
    """In the child: say the versions, then the steps a second of each network and product asked for, a line each."""
    import numpy as np
    import torch
    from engine_networks import network, spikes

    from spikecut.deploy.backends.batched.engine import Tuning, run_batched

    print(
        json.dumps({"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__}), flush=True
    )
    inputs: dict[str, Any] = {}
    for line in sys.stdin:
        name, product = line.split()
        net = network(name)
        if name not in inputs:
            inputs[name] = spikes((net.horizon, BATCH[name], *net.input_shape)).astype("uint8")
        began = time.perf_counter()
        run_batched(net, inputs[name], tuning=Tuning(product))
        print(json.dumps(net.horizon * BATCH[name] / (time.perf_counter() - began)), flush=True)


class Answering:
    """A process of one interpreter that answers."""

    def __init__(self, python: str) -> None:
        command = [python, __file__, "--answer"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.versions = self._line()
        self.label = f"Python {self.versions['python']}, torch {self.versions['torch']}"

    def rate(self, name: str, product: str) -> float:
        """Steps a second of one batch."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name} {product}\n")
        self.process.stdin.flush()
        return float(self._line())

    def _line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The batched engine under several interpreters, side by side.")
    parser.add_argument("pythons", nargs="*")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer()
        return
    from engine_measure import machine, spread, written

    children = [Answering(python) for python in arguments.pythons]
    found: dict[str, Any] = {"machine": machine(), "rates": {}}
    print(f"{found['machine']['processor']}, {found['machine']['cores']} cores, load {found['machine']['load']:.1f}")
    for name in NETWORKS:
        for product in PRODUCTS:
            rates: dict[str, list[float]] = {child.label: [] for child in children}
            for repetition in range(-1, arguments.repetitions):
                for child in children:
                    rate = child.rate(name, product)
                    if repetition >= 0:
                        rates[child.label].append(rate)
            print(f"{name}, {product}: steps a second")
            for label, each in rates.items():
                print(f"  {label:32} {written(spread(each))}")
            first, last = (rates[children[index].label] for index in (0, -1))
            ratios = spread([new / old for old, new in zip(first, last, strict=True)])
            print(f"  last against first               {written(ratios, ' ×')}")
            found["rates"][f"{name} {product}"] = {**rates, "ratio": ratios}
    for child in children:
        child.process.terminate()
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
