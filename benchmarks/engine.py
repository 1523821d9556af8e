"""The batched engine against Lava's stock simulator and three torch libraries, and where its time goes.

    python benchmarks/engine.py [--sections speed,exit,...] [--repetitions 5] [--out engine.json]

Compares with snnTorch and SpikingJelly where they are installed (pip install --group benchmark), with SLAYER and Lava
from spikecut's extra "lava"; what is absent reads "not installed". Everything is wall time, measured here and now:
medians of repetitions in which all candidates take turns, with the least and the most. Nothing is asserted.
"engine auto" takes the fastest exact product of each layer, int8 where oneDNN has it; the table says which.
A step is one timestep of one sample; Lava's are its hardware steps, of which it takes depth more a sample.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine_growth import encoding, events, growth, ten_thousand
from engine_measure import alternate, machine, peaks, spread, summary, written
from engine_networks import CONVNET, MLP, NAMES, VGG, network, spikes
from engine_profile import profile
from engine_rivals import rivals

from spikecut.deploy.backends.batched.engine import Tuning, run_batched
from spikecut.deploy.backends.batched.slots import plan_network
from spikecut.deploy.backends.kernels.arithmetic import Arithmetic, import_torch
from spikecut.deploy.backends.lava.graph import LavaGraph
from spikecut.deploy.cutoff.base import apply_policy
from spikecut.deploy.cutoff.topk import TopK
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.layers import IntegerNetwork

Row = dict[str, Any]
ARCHITECTURES = {"mlp": MLP, "convnet": CONVNET, "vgg": VGG}
BATCH = {"mlp": 4096, "convnet": 1024, "vgg": 128}
LAVA_SAMPLES = {"mlp": (16, 40), "convnet": (16, 5), "vgg": (4, 1)}  # T, samples
EXIT_BATCH = {"mlp": 10_000, "convnet": 10_000, "vgg": 256}
EXIT_SHARE = 0.3
LIBRARIES = ("SLAYER", "snnTorch", "SpikingJelly")
FLOAT32 = Tuning("float32")
TARGETS = {"mlp": (500, 150), "convnet": (1500, 1000), "vgg": (2500, 800)}


def _sums(found: IntegerNetwork) -> int:
    """Multiply-accumulates of one step."""
    return sum(layer.weight.size * size(layer.output_shape[1:]) for layer in found.layers)


def _lava(name: str) -> Callable[[], float]:
    """A task that gives the seconds of one hardware step of Lava's own models."""
    horizon, samples = LAVA_SAMPLES[name]
    found = network(name, horizon)
    inputs = spikes((horizon, samples, *found.input_shape))

    def seconds() -> float:
        # A graph of its own each time: idle processes of a waiting graph must not disturb the others.
        with LavaGraph(found, capacity=samples, models="stock") as graph:
            graph.play(inputs[:, :1])
            began = time.perf_counter()
            played = graph.play(inputs)
            taken = time.perf_counter() - began
        return taken / float(played.verdicts[-1] - played.starts[0] + 1)

    return seconds


def speed(repetitions: int) -> Row:
    """Steps a second of engine, Lava and libraries on the three networks; ratios, and the share of the box's peak."""
    top = peaks(repetitions)
    print("\nSteps a second, one batch for all; GEMM peak in multiply-accumulates a second:")
    for name, found in top.items():
        print(f"  peak {name:8} {written(found)}")
    result: Row = {"peak": top}
    for name in NAMES:
        net = network(name)
        inputs = spikes((net.horizon, BATCH[name], *net.input_shape)).astype("uint8")
        libraries = rivals(ARCHITECTURES[name], inputs)
        tasks: dict[str, Any] = {
            "engine auto": lambda net=net, inputs=inputs: run_batched(net, inputs) and None,
            "engine float32": lambda net=net, inputs=inputs: run_batched(net, inputs, tuning=FLOAT32) and None,
            "Lava stock": _lava(name),
            **{library: task for library, task in libraries.items() if task is not None},
        }
        steps = float(net.horizon * BATCH[name])
        taken = alternate(tasks, repetitions)
        rates = {key: summary(each, 1.0 if key == "Lava stock" else steps) for key, each in taken.items()}
        fired = run_batched(net, inputs[:, :32], record="events")
        shares = {
            layer.name: float(layer.spikes[:, depth : depth + net.horizon].mean() / size(layer.shape))
            for depth, layer in enumerate(fired.events)
        }
        absent = [key for key, task in libraries.items() if task is None]
        result[name] = _compared(name, net, rates, top, shares, absent)
    return result


def _compared(name: str, net: IntegerNetwork, rates: Row, top: Row, shares: Row, absent: list[str]) -> Row:
    lava = rates["Lava stock"]["median"]
    fastest = max((rates[key]["median"] for key in LIBRARIES if key in rates), default=None)
    print(f"\n{name}: spikes " + ", ".join(f"{layer} {share:.1%}" for layer, share in shares.items()))
    products = [plan.product.name for plan in plan_network(net, net.horizon, Arithmetic(torch=import_torch()))]
    print(f"  products: {', '.join(products)}")
    row: Row = {"products": products, "rates": rates, "spike shares": shares, "not installed": absent}
    for key, found in rates.items():
        print(f"  {key:15} {written(found)}")
    for key in absent:
        print(f"  {key:15} not installed")
    for key, target in zip(("engine auto", "engine float32"), TARGETS[name], strict=True):
        median = rates[key]["median"]
        peak = top.get("int8" if key == "engine auto" else "float32", top["float32"])["median"]
        row[key] = {
            "against Lava stock": median / lava,
            "target": target,
            "against the fastest library": None if fastest is None else median / fastest,
            "share of peak": median * _sums(net) / peak,
        }
        library = "" if fastest is None else f", {median / fastest:.1f} × the fastest library"
        print(
            f"  {key}: {median / lava:,.0f} × Lava stock (target {target}){library}, "
            f"{row[key]['share of peak']:.0%} of the peak"
        )
    return row


def _policy(net: IntegerNetwork, scores: IntArray) -> tuple[TopK, float]:
    """A top-K cutoff whose mean exit is nearest to EXIT_SHARE of T, and that mean."""
    options = []
    for gap in range(12):
        for first in range(1, net.horizon):
            policy = TopK((None,) * (first - 1) + (gap,) * (net.horizon - first + 1))
            mean = float(apply_policy(policy, scores).timesteps.mean())
            options.append((abs(mean / net.horizon - EXIT_SHARE), first, gap, policy, mean))
    chosen = min(options, key=lambda each: each[:3])
    return chosen[3], chosen[4]


def early_exit(repetitions: int) -> Row:
    """Wall time saved by the cutoff against the share of steps saved."""
    print("\nEarly exit: time saved, as a share of the steps saved:")
    result: Row = {}
    for name in NAMES:
        net = network(name)
        inputs = spikes((net.horizon, EXIT_BATCH[name], *net.input_shape)).astype("uint8")
        full = run_batched(net, inputs)
        policy, mean = _policy(net, full.scores)
        tasks = {
            "full": lambda net=net, inputs=inputs: run_batched(net, inputs) and None,
            "cut": lambda net=net, inputs=inputs, policy=policy: run_batched(net, inputs, policy) and None,
        }
        taken = alternate(tasks, repetitions)
        saved = [1 - cut / whole for cut, whole in zip(taken["cut"], taken["full"], strict=True)]
        ideal = 1 - mean / net.horizon
        found = spread([each / ideal for each in saved])
        rates = {key: summary(each, EXIT_BATCH[name]) for key, each in taken.items()}
        result[name] = {"mean exit": mean / net.horizon, "share of ideal saving": found, "samples a second": rates}
        print(
            f"  {name:8} mean exit {mean / net.horizon:.1%} of T: {written(found)} of the ideal saving; "
            f"{rates['full']['median']:,.0f} → {rates['cut']['median']:,.0f} samples/s"
        )
    return result


SECTIONS: Mapping[str, Callable[[int], Row]] = {
    "speed": speed,
    "profile": profile,
    "exit": early_exit,
    "events": events,
    "encoding": encoding,
    "ten_thousand": ten_thousand,
    "growth": growth,
}


def main() -> None:
    """Print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/engine.json"))
    given = parser.parse_args()
    result: Row = {"machine": machine()}
    print(result["machine"])
    for name in given.sections.split(","):
        result[name] = SECTIONS[name](given.repetitions)
    result["load at the end"] = os.getloadavg()[0]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\n{given.out}; load {result['machine']['load']:.1f} to {result['load at the end']:.1f}")


if __name__ == "__main__":
    main()
