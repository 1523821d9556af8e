"""The networks on which NeuroBench's metrics are compared: integers, no bias, three kinds of neurons and of input."""

from dataclasses import replace

import numpy as np

from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

THRESHOLD = 60
STEPS = 7
SAMPLES = 5
NEURONS = {
    "plain": IntegerNeuron(THRESHOLD, np.zeros(1, dtype=np.int64)),
    "leaky": IntegerNeuron(THRESHOLD, np.zeros(1, dtype=np.int64), decay_v=600, reset="subtract"),
    "synaptic": IntegerNeuron(3 * THRESHOLD, np.zeros(1, dtype=np.int64), decay_u=2500, decay_v=900),
}


def networks() -> dict[str, IntegerNetwork]:
    """Two convolutions and two dense layers, a fifth of the weights zero, no bias; the last with graded input."""
    plain = plain_network()
    events, direct = plain.input, InputSpec(plain.input_shape, "direct", bits=3)
    return {
        name: replace(
            plain,
            layers=tuple(replace(layer, neuron=_like(neuron, layer)) for layer in plain.layers),
            input=direct if name == "synaptic" else events,
            name=name,
        )
        for name, neuron in NEURONS.items()
    }


def _like(neuron: IntegerNeuron, layer: IntegerLayer) -> IntegerNeuron:
    return replace(neuron, bias_mantissa=np.zeros_like(layer.neuron.bias_mantissa))


def plain_network() -> IntegerNetwork:
    """The first of them."""
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


def inputs_of(network: IntegerNetwork) -> np.ndarray:
    """Messages int32 [T, N, 2, 8, 6]: spikes, or values up to 7 where the input is graded."""
    random = np.random.default_rng(12)
    spikes = (random.random((STEPS, SAMPLES, 2, 8, 6)) < 0.15).astype(np.int32)
    return spikes * random.integers(1, 8, spikes.shape).astype(np.int32) if network.input.bits else spikes
