"""Wall time of a hardware step on Lava's CPU simulator: stock, fast and fused models; streams against a rebuilt graph.

    python benchmarks/lava_runtime.py [--networks mlp convnet vgg] [--repetitions 5] [--out lava_runtime.json]

Random integer networks whose thresholds let about a tenth of the neurons fire, random input, T = 16. All graphs of a
network stand side by side and take turns, so that a slow moment of the machine meets all of them; medians, with the
least and the largest in brackets. "isolated" plays one sample at a time, "streaming" sends several through the
pipeline, "rebuild" compiles a fresh graph for each sample. Stock convolutions take about a second a step on the largest
network, which is therefore timed over one sample of few timesteps, without streams and rebuilding.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import RawArray
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np
from engine_networks import NAMES, network, spikes

from spikecut.deploy.backends.base import LavaModels
from spikecut.deploy.backends.kernels.reference import propagate
from spikecut.deploy.backends.lava.graph import LavaGraph
from spikecut.deploy.cutoff.topk import TopK
from spikecut.export.network.layers import IntegerNetwork

MODELS: tuple[LavaModels, ...] = get_args(LavaModels)
SAMPLES = {"mlp": 32, "convnet": 16, "vgg": 8}
SLOW_HORIZON = 2
MONITOR_ROUNDS = 5
TARGETS = {
    "vgg": {"fast over stock": 25, "fused over stock": 65},
    "convnet": {"fused over stock": 8},
    "mlp": {"fused over stock": 1.4, "streaming over rebuild": 20},
}
LARGEST_MONITOR_SHARE = 0.05
TIMES = ("per_step_s", "per_sample_s")
Seconds = dict[str, list[float]]


def measure(name: str, repetitions: int) -> dict[str, Any]:
    """Times of one network in seconds, per hardware step or per sample, one entry per repetition."""
    whole = network(name)
    shares = [float(messages.mean()) for messages in propagate(whole, spikes((whole.horizon, 2, *whole.input_shape)))]
    per_step: Seconds = {}
    per_sample: Seconds = {}
    with ExitStack() as stack:
        turns: list[Callable[[], None]] = []
        for models in MODELS:
            slow = name == "vgg" and models == "stock"
            here = replace(whole, horizon=SLOW_HORIZON) if slow else whole
            count = 1 if slow else SAMPLES[name]
            inputs = spikes((here.horizon, count, *here.input_shape))
            graph = stack.enter_context(LavaGraph(here, capacity=count, models=models))
            graph.play(inputs[:, :1])
            turns.append(isolated(graph, inputs, per_step.setdefault(f"{models} isolated", [])))
            if slow:
                continue
            times = [per_step.setdefault(f"{models} streaming", []), per_sample.setdefault(f"{models} streaming", [])]
            turns.append(streaming(graph, inputs, *times))
            turns.append(rebuild(whole, models, per_sample.setdefault(f"{models} rebuild", [])))
        for _ in range(repetitions):
            for turn in turns:
                turn()
    return {"shares": shares, "per_step_s": per_step, "per_sample_s": per_sample}


def isolated(graph: LavaGraph, inputs: Any, per_step: list[float]) -> Callable[[], None]:
    """A turn that plays the samples one at a time."""

    def turn() -> None:
        step, began = graph.step, time.perf_counter()
        for n in range(inputs.shape[1]):
            graph.play(inputs[:, n : n + 1])
        per_step.append((time.perf_counter() - began) / (graph.step - step))

    return turn


def streaming(graph: LavaGraph, inputs: Any, per_step: list[float], per_sample: list[float]) -> Callable[[], None]:
    """A turn that streams all samples."""

    def turn() -> None:
        step, began = graph.step, time.perf_counter()
        graph.play(inputs)
        seconds = time.perf_counter() - began
        per_step.append(seconds / (graph.step - step))
        per_sample.append(seconds / inputs.shape[1])

    return turn


def rebuild(whole: IntegerNetwork, models: LavaModels, per_sample: list[float]) -> Callable[[], None]:
    """A turn that compiles a graph, plays one sample and stops it."""
    inputs = spikes((whole.horizon, 1, *whole.input_shape))

    def turn() -> None:
        began = time.perf_counter()
        with LavaGraph(whole, models=models) as graph:
            graph.play(inputs)
        per_sample.append(time.perf_counter() - began)

    return turn


def passive_sink() -> Any:
    """A model of the monitor's Process that only receives, and pauses the run when all samples have gone through."""
    from spikecut.deploy.backends.lava.processes.cutoff_monitor import VERDICT_STEP, PyCutoffMonitorModel
    from spikecut.deploy.backends.lava.processes.source import SAMPLES as COUNT

    class PassiveSink(PyCutoffMonitorModel):  # type: ignore[misc]
        steps = 0

        def run_spk(self) -> None:
            self.s_in.recv()
            self.steps += 1
            if self.steps == self.control[COUNT] * self.horizon + self.depth:
                self.steps = 0
                self.results[:, VERDICT_STEP] = self.time_step
                self.verdicts[0] = self.control[COUNT]
                self._req_pause = True

    return PassiveSink


def timed(model: Any) -> tuple[Any, Any]:
    """The model, and shared memory in which it sums the processor seconds of its steps, waiting left out."""
    seconds = RawArray("d", 1)

    class Timed(model):  # type: ignore[misc]
        def run_spk(self) -> None:
            began = time.thread_time()
            super().run_spk()
            seconds[0] += time.thread_time() - began

    return Timed, seconds


def monitor_cost(name: str, repetitions: int) -> dict[str, Any]:
    """Per stock step: wall seconds, and processor seconds of the monitor judging every step and of a passive sink."""
    from spikecut.deploy.backends.lava.processes.cutoff_monitor import CutoffMonitor, PyCutoffMonitorModel

    whole = network(name)
    inputs = spikes((whole.horizon, SAMPLES[name] // 2, *whole.input_shape))
    policy = TopK((10**9,) * whole.horizon)
    wall: Seconds = {}
    processor: Seconds = {}
    with ExitStack() as stack:
        turns = []
        for key, model in (("monitor", PyCutoffMonitorModel), ("passive sink", passive_sink())):
            graph = LavaGraph(whole, policy, capacity=inputs.shape[1], models="stock")
            chosen, seconds = timed(model)
            graph._chain.config.exception_proc_model_map[CutoffMonitor] = chosen
            stack.enter_context(graph).play(inputs)
            wall[key], processor[key] = [], []
            turns.append((graph, streaming(graph, inputs, wall[key], []), seconds, processor[key]))
        for _ in range(MONITOR_ROUNDS * repetitions):
            for graph, turn, seconds, times in turns:
                step, before = graph.step, seconds[0]
                turn()
                times.append((seconds[0] - before) / (graph.step - step))
            turns.reverse()
    step_s = median(wall["passive sink"])
    differences = np.subtract(wall["monitor"], wall["passive sink"]) / step_s
    return {
        "wall_s": wall,
        "processor_s": processor,
        "processor_share": (median(processor["monitor"]) - median(processor["passive sink"])) / step_s,
        "wall_share_quartiles": np.quantile(differences, [0.25, 0.5, 0.75]).tolist(),
    }


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Ratios of medians: steps of a set of models against stock, and a stream against a graph rebuilt per sample."""
    steps, samples = ({key: median(times) for key, times in result[part].items()} for part in TIMES)
    found = {f"{models} over stock": steps["stock isolated"] / steps[f"{models} isolated"] for models in MODELS[1:]}
    for models in MODELS:
        if f"{models} rebuild" in samples:
            quotient = samples[f"{models} rebuild"] / samples[f"{models} streaming"]
            found[f"{models}: streaming over rebuild"] = quotient
    quotients = [value for key, value in found.items() if key.endswith("streaming over rebuild")]
    return {**found, "streaming over rebuild": min(quotients)}


def spread(times: list[float]) -> str:
    """Median [least–largest] in milliseconds."""
    return f"{1e3 * median(times):8.2f} [{1e3 * min(times):.2f}–{1e3 * max(times):.2f}] ms"


def show(name: str, result: dict[str, Any]) -> None:
    """Print one network's table."""
    print(f"\n{name}: share of spikes, input first: {', '.join(f'{100 * share:.0f} %' for share in result['shares'])}")
    for part, unit in zip(TIMES, ("step", "sample"), strict=True):
        for key, times in result[part].items():
            print(f"  {key:16} per {unit:6} {spread(times)}")
    for key, value in result["ratios"].items():
        target = TARGETS[name].get(key)
        wanted = "" if target is None else f"   (target {target:g}: {'reached' if value >= target else 'MISSED'})"
        print(f"  {key:30} {value:7.1f} ×{wanted}")


def show_monitor(cost: dict[str, Any]) -> None:
    """Print what the monitor costs."""
    print("\nmonitor in a stock step of the convnet, against a passive sink:")
    for key, times in cost["wall_s"].items():
        print(f"  {key:12} {spread(times)} a step, of them {spread(cost['processor_s'][key])} of its processor")
    share = cost["processor_share"]
    verdict = "reached" if share <= LARGEST_MONITOR_SHARE else "MISSED"
    print(f"  processor time {100 * share:.1f} % of a step   (target {100 * LARGEST_MONITOR_SHARE:g} %: {verdict})")
    low, middle, high = (100 * share for share in cost["wall_share_quartiles"])
    print(f"  wall time, turn by turn {middle:.1f} % [quartiles {low:.1f}–{high:.1f} %]")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", choices=NAMES, default=list(NAMES))
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each graph (default: 5)")
    parser.add_argument("--no-monitor", action="store_true", help="leave the monitor's cost out")
    parser.add_argument("--out", type=Path, help="write everything as JSON")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "networks": {}}
    for name in arguments.networks:
        result = measure(name, arguments.repetitions)
        result["ratios"] = ratios(result)
        report["networks"][name] = result
        show(name, result)
    if not arguments.no_monitor:
        report["monitor"] = monitor_cost("convnet", arguments.repetitions)
        show_monitor(report["monitor"])
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
