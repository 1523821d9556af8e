"""The general neuron against its equations, and its integers against the integer network."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikecut.deploy.backends.kernels.reference import propagate, scores_of
from spikecut.errors import InputError, UnsupportedError
from spikecut.export.importers.torch_network import trace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.quantise.integers import quantise
from spikecut.models.network import SpikingNetwork, Stage
from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.leaky import LeakyIntegrateFire
from spikecut.models.twin import quantised_twin


def spikes_by_hand(neuron, currents):
    """One neuron, one number at a time."""
    u = v = late = 0.0
    sent = []
    for x in currents:
        before = v
        u = (1 - neuron.decay_u) * u + x
        v = (1 - neuron.decay_v) * v + u - late
        if neuron.threshold is None:
            sent.append(v - before)
            continue
        fires = v >= neuron.threshold if neuron.at_equality else v > neuron.threshold
        late = neuron.threshold * fires if neuron.delayed_reset else 0.0
        if fires and not neuron.delayed_reset:
            v = v - neuron.threshold if neuron.reset == "subtract" else 0.0
        sent.append(float(fires))
    return sent


@pytest.mark.parametrize("decays", [(1.0, 0.0), (0.5, 0.25), (1.0, 1.0), (0.25, 0.0)])
@pytest.mark.parametrize(
    "kind",
    [
        {"reset": "zero"},
        {"reset": "subtract"},
        {"reset": "subtract", "at_equality": True},
        {"reset": "subtract", "delayed_reset": True},
        {"threshold": None},
    ],
)
def test_the_equations(decays, kind):
    neuron = CurrentBased(**{"threshold": 1.0, **kind}, decay_u=decays[0], decay_v=decays[1])
    currents = torch.randint(-2, 5, (30, 4, 3), generator=torch.Generator().manual_seed(0)).double() / 4
    sent = neuron(currents)
    for n, i in np.ndindex(4, 3):
        assert sent[:, n, i].tolist() == spikes_by_hand(neuron, currents[:, n, i].tolist())


def test_it_is_the_leaky_neuron_where_that_is_one():
    currents = torch.randn(40, 5, 7, generator=torch.Generator().manual_seed(0))
    for reset in ("zero", "subtract"):
        leaky, general = LeakyIntegrateFire(0.3, 0.8, reset=reset), CurrentBased(0.8, decay_v=0.3, reset=reset)
        assert torch.equal(leaky(currents), general(currents))


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"threshold": float("nan")},
        {"threshold": 1.0, "decay_u": 1.5},
        {"threshold": 1.0, "decay_v": -0.1},
        {"threshold": 1.0, "reset": "none"},
        {"threshold": 1.0, "delayed_reset": True},
    ],
)
def test_wrong_parameters(wrong):
    with pytest.raises(InputError):
        CurrentBased(**wrong)


@st.composite
def numbers(draw, outputs, one):
    """One number for all neurons, or one for each."""
    if draw(st.booleans()):
        return draw(one)
    return torch.tensor(draw(st.lists(one, min_size=outputs, max_size=outputs))).double()


@st.composite
def networks(draw):
    """A dense network with random neurons, with and without biases."""
    torch.manual_seed(draw(st.integers(0, 10**6)))
    stages = []
    readout = draw(st.sampled_from(["count", "membrane"]))
    for depth, (inputs, outputs) in enumerate([(6, 8), (8, 4)]):
        decay_u = draw(numbers(outputs, st.sampled_from([1.0, 0.5, 0.3])))
        decay_v = draw(numbers(outputs, st.sampled_from([0.0, 0.25, 0.1, 1.0])))
        reset = draw(st.sampled_from(["zero", "subtract"]))
        threshold = None if readout == "membrane" and depth else draw(numbers(outputs, st.floats(0.1, 2.0)))
        late = reset == "subtract" and bool((torch.as_tensor(decay_v) < 1).all()) and draw(st.booleans())
        start = 0.0 if threshold is None else draw(numbers(outputs, st.sampled_from([0.0, -0.7, 0.3])))
        if threshold is not None and draw(st.integers(0, 3)) == 0:
            start = threshold / 2
        neuron = CurrentBased(threshold, decay_u, decay_v, reset, draw(st.booleans()), late, start)
        if threshold is not None and draw(st.booleans()):
            neuron.recurrent = torch.randn(outputs, outputs).double() / 2
        stages.append(
            Stage(f"layer{depth}", nn.Linear(inputs, outputs, bias=draw(st.booleans())), nn.Identity(), neuron)
        )
    return SpikingNetwork(stages, readout, (6,)).double().eval()


@settings(max_examples=80)
@given(networks(), st.integers(1, 10), st.integers(0, 10**6))
def test_the_integer_network_is_the_twin(network, horizon, seed):
    spec = InputSpec((6,), "events")
    quantised = quantise(trace(network, spec, horizon), rounding=True)
    inputs = np.random.default_rng(seed).integers(0, 2, (horizon, 5, 6))
    twin = quantised_twin(network, quantised.plans).record(torch.tensor(inputs, dtype=torch.float64))
    messages = propagate(quantised.network, inputs)
    np.testing.assert_array_equal(messages[1], twin["layer0"].numpy())
    np.testing.assert_array_equal(scores_of(quantised.network, messages[-1]), twin["layer1"].numpy())
    for stage, entry in zip(network.chain(), quantised.report, strict=True):
        decay = torch.as_tensor(stage.neuron.decay_v, dtype=torch.float64)
        assert entry.decay_error_v == pytest.approx(float(((decay * 4096).round() / 4096 - decay).abs().max()))


def late(decay_v):
    neuron = CurrentBased(1.0, 0.75, decay_v, "subtract", delayed_reset=True)
    stage = Stage("late", nn.Linear(3, 2), nn.Identity(), neuron)
    return trace(SpikingNetwork([stage], "count", (3,)).double(), InputSpec((3,), "events"), 4)


@pytest.mark.parametrize("decay", [0.0, 0.25, 0.3, 0.99])
def test_a_reset_after_the_leak_is_one_by_more_before_it(decay):
    found = quantise(late(decay), rounding=True)
    neuron, kept = found.network.layers[0].neuron, 1 - round(4096 * decay) / 4096
    assert neuron.reset_amount == (None if decay == 0 else round(64 * found.plans[0].scale / kept))


@given(st.integers(1, 2**16), st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=40), st.integers(1, 12))
def test_in_rational_numbers_both_resets_fire_at_the_same_steps(threshold, currents, kept):
    """snnTorch's equation and the chip's, v[t] = β v[t-1] + x[t] - θ s[t-1], and a reset by θ / β at once."""
    beta = Fraction(kept, 12)
    late = soon = Fraction(0)
    fired = False
    for current in currents:
        late = beta * late + current - threshold * fired
        soon = beta * soon + current
        fired = late > threshold
        assert soon == late
        soon -= threshold / beta * fired


def test_a_delayed_reset_of_a_neuron_that_leaks_whole_is_refused():
    with pytest.raises(UnsupportedError, match="waits for the next timestep"):
        quantise(late(1.0), rounding=True)
