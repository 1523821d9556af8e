"""The plain network on which NeuroBench's metrics are compared: integers, hard reset, no leak, no bias."""

import numpy as np

from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

THRESHOLD = 60
STEPS = 7
SAMPLES = 5


def plain_network() -> IntegerNetwork:
    """Two convolutions and two dense layers, a fifth of the weights zero, biases all zero."""
    random = np.random.default_rng(11)

    def weights(*shape: int) -> np.ndarray:
        return 2 * random.integers(-20, 41, shape) * (random.random(shape) < 0.8)

    def neuron(count: int) -> IntegerNeuron:
        return IntegerNeuron(THRESHOLD, np.zeros(count, dtype=np.int64))

    layers = (
        IntegerLayer("conv1", "conv", weights(4, 2, 3, 3), neuron(4), (2, 8, 6), (4, 8, 6), padding=(1, 1)),
        IntegerLayer(
            "conv2",
            "conv",
            weights(6, 2, 3, 3),
            neuron(6),
            (4, 8, 6),
            (6, 4, 3),
            stride=(2, 2),
            padding=(1, 1),
            groups=2,
        ),
        IntegerLayer("dense1", "dense", weights(16, 72), neuron(16), (6, 4, 3), (16,)),
        IntegerLayer("dense2", "dense", weights(5, 16), neuron(5), (16,), (5,)),
    )
    return IntegerNetwork(layers, InputSpec((2, 8, 6), "events"), "count", horizon=STEPS, name="plain")


def plain_inputs() -> np.ndarray:
    """Spikes int32 [T, N, 2, 8, 6]."""
    return (np.random.default_rng(12).random((STEPS, SAMPLES, 2, 8, 6)) < 0.15).astype(np.int32)
