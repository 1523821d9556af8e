"""Ten thousand halted samples through one Lava graph: every count right, nothing grows, nothing slows down.

    python benchmarks/soak.py [--samples 10000] [--models fast] [--networks mlp convnet] [--out soak.json]

Samples are drawn at random from a pool and halted at random: the policy decides by a hash of the scores, so that the
batched engine halts them at the same steps. Each sample's timesteps and scores are compared with the engine's (==).
Memory (resident, all processes), file descriptors and wall time per sample are taken every hundredth of the way; they
are flat if the median of the last quarter is at most that of the second by the factors in FLAT, descriptors exactly.
Exit code 1 if a count is wrong or something is not flat.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import numpy as np
from engine_networks import network, spikes

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.lava.cpu import MODES
from spikecut.deploy.backends.lava.graph import LavaGraph, Played
from spikecut.deploy.cutoff.base import BoolArray, CutoffPolicy, IntArray, State
from spikecut.export.network.arrays import Integers

POOL = 200
STREAM = 50
LEAST = 20 * STREAM
FLAT = {"memory": 1.02, "wall time": 1.2}


@dataclass(frozen=True)
class RandomHalts(CutoffPolicy):
    """Halts by a hash of Y_t and t, at each timestep about every fourth sample."""

    name: ClassVar[str] = "random halts"
    timesteps: int

    @property
    def horizon(self) -> int:
        """T."""
        return self.timesteps

    def step(self, totals: IntArray, t: int, state: State) -> tuple[BoolArray, State]:
        """Judge timestep t."""
        weights = np.arange(1, totals.shape[1] + 1) * 2654435761
        return ((totals @ weights + 40503 * t) >> 11) % 4 == 0, state

    def to_dict(self) -> dict[str, Any]:
        """The policy as data."""
        return {"policy": self.name, "timesteps": self.timesteps}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RandomHalts":
        """The policy that `to_dict` described."""
        return cls(int(data["timesteps"]))


def processes(root: str = "self") -> Iterator[Path]:
    """/proc folders of a process and its descendants."""
    folder = Path("/proc") / root
    yield folder
    for task in (folder / "task").iterdir():
        for child in (task / "children").read_text().split():
            yield from processes(child)


def resident_mib() -> float:
    """Memory of this process and its descendants, each page shared by n of them counted as a 1/n, in MiB."""
    total = 0
    for folder in processes():
        rollup = (folder / "smaps_rollup").read_text()
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


def descriptors() -> int:
    """Open file descriptors of this process and its descendants."""
    return sum(len(list((folder / "fd").iterdir())) for folder in processes())


def wrong(played: Played, chosen: IntArray, timesteps: IntArray, scores: IntArray) -> int:
    """Samples whose timesteps or scores differ from the reference, in scores [T, pool, classes]."""
    differ = 0
    for n, index in enumerate(chosen):
        steps = timesteps[index]
        same = played.timesteps[n] == steps and np.array_equal(played.scores[n, :steps], scores[:steps, index])
        differ += not same
    return differ


def soak(name: str, mode: str, models: Any, samples: int) -> dict[str, Any]:
    """One network, one way to run: what came out."""
    whole = network(name)
    policy = RandomHalts(whole.horizon)
    pool: Integers = spikes((whole.horizon, POOL, *whole.input_shape))
    reference = run_batched(whole, pool, policy)
    order = np.random.default_rng(0).integers(0, POOL, samples)
    chunk = 1 if mode == "isolated" else STREAM
    every = max(samples // 100, chunk)
    taken: dict[str, list[float]] = {"memory": [], "descriptors": [], "wall time": []}
    differ, next_at, began, since = 0, every, time.perf_counter(), 0
    with LavaGraph(whole, policy, capacity=chunk, models=models) as graph:
        for start in range(0, samples, chunk):
            chosen = order[start : start + chunk]
            differ += wrong(graph.play(pool[:, chosen]), chosen, reference.timesteps, reference.scores)
            done = start + len(chosen)
            if done >= next_at:
                taken["wall time"].append((time.perf_counter() - began) / (done - since))
                taken["memory"].append(resident_mib())
                taken["descriptors"].append(descriptors())
                next_at, since, began = done + every, done, time.perf_counter()
    result: dict[str, Any] = {"network": name, "mode": mode, "models": models, "samples": samples, "wrong": differ}
    result["halted before T"] = int((reference.timesteps[order] < whole.horizon).sum())
    quarter = len(taken["memory"]) // 4
    for what, values in taken.items():
        early, late = median(values[quarter : 2 * quarter]), median(values[-quarter:])
        result[what] = {"second quarter": early, "last quarter": late}
        result[what]["flat"] = late <= early * FLAT.get(what, 1.0)
    return result


def line(result: dict[str, Any]) -> str:
    """One run in words."""

    def pair(what: str, factor: float, unit: str) -> str:
        early, late = (factor * result[what][key] for key in ("second quarter", "last quarter"))
        return f"{what} {early:.4g} → {late:.4g} {unit}{'' if result[what]['flat'] else ' NOT FLAT'}"

    return (
        f"{result['network']}, {result['mode']}, {result['models']}: {result['samples']:,} samples, "
        f"{result['halted before T']:,} halted before T, {result['wrong']} wrong; "
        f"{pair('memory', 1, 'MiB')}, {pair('descriptors', 1, '')}, {pair('wall time', 1e3, 'ms a sample')}"
    )


def main() -> int:
    """Exit code 0 if every count was right and everything flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--models", default="fast", choices=("stock", "fast", "fused"))
    parser.add_argument("--networks", nargs="+", default=["mlp", "convnet"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.samples < LEAST:
        parser.error(f"--samples {arguments.samples}: nothing can be said of fewer than {LEAST}")
    results = []
    for name in arguments.networks:
        for mode in MODES:
            results.append(soak(name, mode, arguments.models, arguments.samples))
            print(line(results[-1]), flush=True)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    fine = all(not each["wrong"] and all(each[what]["flat"] for what in FLAT | {"descriptors": 1}) for each in results)
    print("every count right, everything flat" if fine else "FAILED: see above")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
