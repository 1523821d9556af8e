"""The hint at why an engine and the golden twin differ."""

from dataclasses import replace

import numpy as np
import pytest
from networks import random_inputs, random_network

from spikecut.deploy.backends.kernels.reference import NeuronState, propagate, propagate_layer
from spikecut.deploy.verify.causes import Deviation, likely_cause
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron


def dense(weight, horizon=6, bits=8, **neuron):
    """One neuron behind `len(weight)` inputs, as a network."""
    weight = np.array([weight])
    shape = (weight.shape[1],)
    layer = IntegerLayer("only", "dense", weight, IntegerNeuron(bias_mantissa=np.zeros(1), **neuron), shape, (1,))
    return IntegerNetwork((layer,), InputSpec(shape, "events", bits=bits), "count", horizon)


def test_overflow():
    network = dense([254] * 5, bits=8, threshold=100)
    frames = np.full((6, 5), 255, dtype=np.int32)
    assert 254 * 255 * 5 * 64 > 2**23
    assert likely_cause(network, Deviation(1, 1, (0,), 1), frames).startswith("overflow")


def test_clipping():
    network = dense([254], bits=8, threshold=2**17 - 1)
    frames = np.full((6, 1), 255, dtype=np.int32)
    assert 254 * 255 * 64 < 2**23 < 3 * 254 * 255 * 64
    assert likely_cause(network, Deviation(1, 3, (0,), 1), frames).startswith("clipping")


def test_an_engine_that_errs_is_blamed_even_where_the_layer_overflows():
    network = dense([254] * 5, bits=8, threshold=100)
    frames = np.full((6, 5), 255, dtype=np.int32)
    assert likely_cause(network, Deviation(1, 1, (0,), 0, "batched"), frames).startswith("batched errs")


@pytest.fixture(scope="module")
def biased():
    """A network with biases, its inputs, and each layer's messages."""
    network = random_network(5)
    inputs = random_inputs(network, 1)
    return network, propagate(network, inputs)


def test_lead_in(biased):
    network, messages = biased
    layer, frames = network.layers[1], messages[1][:, 0]
    early = NeuronState.at_rest(layer, 1)
    early.step(layer, np.zeros((1, *layer.output_shape), dtype=np.int64))
    led = propagate_layer(layer, frames[:, None], early)[:, 0]
    place = tuple(np.argwhere(led != messages[2][:, 0])[0])
    assert likely_cause(network, Deviation(2, place[0] + 1, place[1:], led[place]), frames).startswith("lead-in")


def test_the_file_itself_or_the_engine(biased):
    network, messages = biased
    frames, expected = messages[1][:, 0], messages[2][:, 0]
    value = int(expected[(2, 0, 0, 0)])
    assert "file" in likely_cause(network, Deviation(2, 3, (0, 0, 0), value), frames)
    layers = tuple(
        replace(layer, neuron=replace(layer.neuron, bias_mantissa=np.zeros_like(layer.neuron.bias_mantissa)))
        for layer in network.layers
    )
    unbiased = replace(network, layers=layers)
    value = int(propagate(unbiased, messages[0])[2][(2, 0, 0, 0, 0)])
    frames = propagate(unbiased, messages[0])[1][:, 0]
    said = likely_cause(unbiased, Deviation(2, 3, (0, 0, 0), 1 - value, "lava"), frames)
    assert said.startswith(f"lava errs: plain integer arithmetic gives {value}")
