"""A campaign of random networks, engine against Lava's own models; `make fuzz` runs a long one."""

from collections import Counter
from dataclasses import replace

import fuzz
import numpy as np
import pytest
from fuzz import Different, campaign, compare, never, runtime_campaign
from fuzz_networks import maximum_of_spikes
from networks import random_inputs, random_network
from torch import tensor
from torch.nn.functional import max_pool2d

from spikecut.deploy.backends.kernels.reference import NeuronState, propagate_layer

SLOTS = 500_000
# Too seldom for so few slots; the long campaign asks for them, too.
RARE = {
    "groups of 128 or more",
    "sums of a convolution from 2^23 on by int8",
    "sums of a dense layer from 2^31 on",
}
# What the networks of the next test have, and those of tests/deploy/backends/lava/test_models.py.
ELSEWHERE = {"recurrent convolution", "recurrent convolution in groups", "maximum of spikes"}


def test_half_a_million_slots():
    tally, digests = campaign(seed=24, slots=SLOTS, looped=0, pooled=0)
    assert tally["slots"] >= SLOTS
    assert len(digests) >= 20
    assert set(never(tally)) <= RARE | ELSEWHERE


@pytest.mark.parametrize("seed", range(4))
def test_a_maximum_of_spikes_is_torchs_max_pooling(seed):
    rng = np.random.default_rng(seed)
    layer = maximum_of_spikes(rng, "pool", (3, 7, 6))
    spikes = (rng.random((5, 2, 3, 7, 6)) < 0.2).astype(np.int32)
    kernel = layer.weight.shape[2:]
    expected = max_pool2d(tensor(spikes).double().flatten(0, 1), kernel, layer.stride, layer.padding)
    sent = propagate_layer(layer, spikes, NeuronState.at_rest(layer, 2), [])
    assert np.array_equal(sent, expected.reshape(sent.shape)) and 0 < sent.mean() < 1


def test_networks_in_the_runtime():
    assert runtime_campaign(seed=5, networks=6, largest=24, samples=2)["networks in the runtime"] == 6


@pytest.mark.parametrize("what", ["weight", "threshold", "bias", "decay"])
def test_a_comparison_notices_the_smallest_change(monkeypatch, what):
    network = random_network(3, bias=True)
    inputs = random_inputs(network, 3)
    layer = network.layers[1]
    weight, neuron = np.array(layer.weight), layer.neuron
    if what == "weight":
        weight[0, 0, 0, 0] += 2
    bias = np.array(neuron.bias_mantissa)
    bias[0] += what == "bias"
    changed = replace(
        layer,
        weight=weight,
        neuron=replace(
            neuron,
            threshold=neuron.threshold + (what == "threshold"),
            bias_mantissa=bias,
            decay_v=neuron.decay_v + (what == "decay"),
        ),
    )
    original = fuzz.LayerPlan

    def other(each, *arguments):
        return original(changed if each is layer else each, *arguments)

    compare(network, inputs, "auto", None, Counter())
    monkeypatch.setattr(fuzz, "LayerPlan", other)
    with pytest.raises(Different, match=layer.name):
        compare(network, inputs, "auto", None, Counter())
