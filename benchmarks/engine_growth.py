"""The engine benchmark's smaller parts: event counting, input encoding, a whole test set, growth with the network."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
from engine_measure import alternate, spread, summary, written
from engine_networks import NAMES, build, network, spikes

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.export.encode import encode, encode_samples
from spikecut.export.network.arrays import Integers
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerNetwork

Row = dict[str, Any]
EVENT_BATCH = {"mlp": 4096, "convnet": 1024, "vgg": 64}
ENCODED = 1000
TEST_SET = 10_000
WIDTH = 512


def _run(net: IntegerNetwork, inputs: Integers, **options: Any) -> Callable[[], None]:
    def task() -> None:
        run_batched(net, inputs, **options)

    return task


def _uncounted(net: IntegerNetwork, inputs: Integers) -> Callable[[], None]:
    """The steps that counting needs (the pipeline runs on after T), without the counting."""

    def task() -> None:
        with patch("spikecut.deploy.backends.batched.engine.count_events", lambda *arguments: None):
            run_batched(net, inputs, record="events")

    return task


def events(repetitions: int) -> Row:
    """Time of counting events: the counting itself, and the steps of the emptying pipeline that are counted too."""
    print("\nCounting events, as a share of the whole run's time:")
    result: Row = {}
    for name in NAMES:
        net = network(name)
        inputs = spikes((net.horizon, EVENT_BATCH[name], *net.input_shape)).astype("uint8")
        taken = alternate(
            {
                "output": _run(net, inputs),
                "steps": _uncounted(net, inputs),
                "events": _run(net, inputs, record="events"),
            },
            repetitions,
        )
        median = {key: float(np.median(each)) for key, each in taken.items()}
        counting = 1 - median["steps"] / median["events"]
        tail = (median["steps"] - median["output"]) / median["events"]
        result[name] = {"seconds": taken, "share of counting": counting, "share of steps after T": tail}
        print(f"  {name:8} counting {counting:.1%}, steps of the pipeline after T {tail:.1%}")
    return result


def encoding(repetitions: int) -> Row:
    """Seconds to encode one sample at T = 16."""
    print("\nInput encoding, microseconds a sample at T = 16:")
    result: Row = {}
    for shape in ((784,), (3, 32, 32)):
        images = np.random.default_rng(0).random((ENCODED, *shape), dtype=np.float32)
        specs = {
            "direct, 8 bits": InputSpec(shape, "direct", bits=8, scale=1 / 255),
            "bernoulli": InputSpec(shape, "bernoulli"),
            "latency": InputSpec(shape, "latency"),
        }
        tasks = {
            key: (lambda spec=spec, images=images: encode_samples(images, spec, 16)) for key, spec in specs.items()
        }
        for key, taken in alternate(tasks, repetitions).items():
            microseconds = spread([each * 1e6 / ENCODED for each in taken])
            result[f"{key} {shape}"] = microseconds
            print(f"  {key:15} {shape!s:12} {written(microseconds)}")
    return result


def ten_thousand(repetitions: int) -> Row:
    """10,000 images through the convnet at T = 16, encoding included."""
    print("\n10,000 samples, T = 16, convnet, seconds with encoding:")
    result: Row = {}
    net = network("convnet")
    images = np.random.default_rng(0).random((TEST_SET, *net.input_shape), dtype=np.float32) * 0.2
    specs = {
        "bernoulli": InputSpec(net.input_shape, "bernoulli"),
        "direct, 8 bits": InputSpec(net.input_shape, "direct", bits=8, scale=1 / 255),
    }
    for key, spec in specs.items():
        coded = replace(net, input=spec)
        taken = alternate(
            {key: lambda coded=coded: run_batched(coded, encode(images, coded)) and None}, max(3, repetitions)
        )
        seconds = spread(taken[key])
        result[key] = seconds
        print(f"  {key:15} {written(seconds, ' s')}")
    return result


def growth(repetitions: int) -> Row:
    """Steps a second with batch, T, depth and width, one of them changed at a time."""
    print("\nGrowth, steps a second:")
    result: Row = {}
    mlp, convnet = network("mlp"), network("convnet")
    cases: dict[str, list[tuple[str, IntegerNetwork, int]]] = {
        "batch, mlp": [(str(n), mlp, n) for n in (1, 16, 256, 4096)],
        "batch, convnet": [(str(n), convnet, n) for n in (1, 16, 256, 2048)],
        "T, convnet": [(str(t), network("convnet", t), 512) for t in (4, 16, 64)],
        "depth, dense 512": [(str(d), build(((WIDTH,), (), (*(WIDTH,) * d, 10)), 16), 1024) for d in (1, 2, 4, 8)],
        "width, 2 dense": [(str(w), build(((w,), (), (w, w, 10)), 16), 1024) for w in (128, 512, 2048)],
    }
    for key, members in cases.items():
        tasks, amounts = {}, {}
        for label, net, samples in members:
            inputs = spikes((net.horizon, samples, *net.input_shape)).astype("uint8")
            tasks[label], amounts[label] = _run(net, inputs), float(net.horizon * samples)
        taken = alternate(tasks, repetitions)
        result[key] = {label: summary(each, amounts[label]) for label, each in taken.items()}
        print(f"  {key:17} " + "; ".join(f"{label}: {found['median']:,.0f}" for label, found in result[key].items()))
    return result
