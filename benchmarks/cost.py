"""Time of the cost model: 10,000 samples × 20 steps of a small convnet's counts. Prints seconds, asserts nothing.

    python benchmarks/cost.py [samples]

The counts (spikes and synaptic operations per layer and step) are random and given; only `estimate` is timed. This is
wall time of the program, measured; what it computes is estimated.
"""

import sys
import time

import numpy as np

from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.placement.hardware import load_hardware
from spikecut.deploy.placement.place import place
from spikecut.deploy.run_trace import LayerEvents, RunTrace
from spikecut.export.network.arrays import Shape, size
from spikecut.export.network.connectivity import fan_out
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

STEPS = 20


def convnet() -> IntegerNetwork:
    """28×28 input, convolutions 32, 32 (stride 2), 64, 64 (stride 2), dense 128 and 10."""
    random = np.random.default_rng(0)
    layers: list[IntegerLayer] = []
    shape: Shape = (1, 28, 28)
    for number, (channels, stride) in enumerate(((32, 1), (32, 2), (64, 1), (64, 2))):
        weight = 2 * random.integers(-100, 100, (channels, shape[0], 3, 3))
        output = (channels, (shape[1] - 1) // stride + 1, (shape[2] - 1) // stride + 1)
        neuron = IntegerNeuron(100, np.zeros(channels, dtype=np.int64))
        strides = (stride, stride)
        layers.append(
            IntegerLayer(f"conv{number + 1}", "conv", weight, neuron, shape, output, stride=strides, padding=(1, 1))
        )
        shape = output
    for number, features in enumerate((128, 10)):
        weight = 2 * random.integers(-100, 100, (features, size(shape)))
        neuron = IntegerNeuron(100, np.zeros(features, dtype=np.int64))
        layers.append(IntegerLayer(f"dense{number + 1}", "dense", weight, neuron, shape, (features,)))
        shape = (features,)
    return IntegerNetwork(tuple(layers), InputSpec((1, 28, 28), "events"), "count", STEPS, "convnet")


def counts(network: IntegerNetwork, samples: int) -> RunTrace:
    """A run of STEPS hardware steps in which a tenth of the neurons send."""
    random = np.random.default_rng(1)
    events = []
    shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
    arriving = np.zeros((samples, STEPS), dtype=np.int64)
    for depth, shape in enumerate(shapes):
        spikes = random.binomial(size(shape), 0.1, (samples, STEPS))
        name = "input" if depth == 0 else network.layers[depth - 1].name
        events.append(LayerEvents(name, shape, spikes, arriving))
        if depth < len(network.layers):
            arriving = np.rint(spikes * fan_out(network.layers[depth]).mean()).astype(np.int64)
    return RunTrace(
        scores=np.zeros((STEPS, samples, 10), dtype=np.int64),
        valid=np.ones((STEPS, samples), dtype=bool),
        timesteps=np.full(samples, STEPS),
        hardware_steps=np.full(samples, STEPS),
        reason=(ExitReason.HORIZON,) * samples,
        network=network,
        backend="benchmark",
        events=tuple(events),
    )


def main() -> None:
    """Print the seconds per hardware file."""
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    network = convnet()
    trace = counts(network, samples)
    for name in ("loihi1", "loihi1_davies2018", "loihi2"):
        hardware = load_hardware(name)
        begin = time.perf_counter()
        placement = place(network, hardware)
        middle = time.perf_counter()
        estimate(trace, hardware, placement=placement)
        end = time.perf_counter()
        print(
            f"{name}: {samples:,} samples × {STEPS} steps on {placement.cores} cores: estimate {end - middle:.2f} s, "
            f"placement {middle - begin:.2f} s"
        )


if __name__ == "__main__":
    main()
