import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate2d
from torch import nn

from spikecut.errors import InputError, RangeError, UnsupportedError
from spikecut.models.architectures import build
from spikecut.models.integer_neurons import IntegerLeaky
from spikecut.models.network import SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import IntegrateFire, MembraneReadout
from spikecut.models.neurons.leaky import LeakyIntegrateFire
from spikecut.models.twin import StagePlan, quantised_twin


@given(
    decay=st.integers(0, 4096),
    threshold=st.integers(1, 2000),
    currents=st.lists(st.integers(-(2**18), 2**18), min_size=1, max_size=12),
    reset=st.sampled_from(["zero", "subtract"]),
)
def test_integer_leak_rounds_towards_zero(decay, threshold, currents, reset):
    potential, expected = 0, []
    for current in currents:
        magnitude = abs(potential) * (4096 - decay) >> 12
        potential = (magnitude if potential >= 0 else -magnitude) + current
        expected.append(int(potential > threshold << 6))
        if expected[-1]:
            potential = 0 if reset == "zero" else potential - (threshold << 6)
    frames = torch.tensor(currents, dtype=torch.float64).view(-1, 1, 1)
    assert IntegerLeaky(decay, threshold, reset)(frames).flatten().tolist() == expected


def trained_like(seed):
    """A small network with random batch norm statistics."""
    torch.manual_seed(seed)
    stages = [
        Stage("conv", nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), LeakyIntegrateFire(0.3)),
        Stage("output", nn.Linear(48, 4), nn.BatchNorm1d(4), LeakyIntegrateFire(0.3)),
    ]
    network = SpikingNetwork(stages, "count", (2, 4, 4))
    for stage in network.chain():
        nn.init.normal_(stage.norm.running_mean, 0, 0.3)
        nn.init.uniform_(stage.norm.running_var, 0.05, 0.5)
        nn.init.normal_(stage.norm.weight, 1, 0.2)
        nn.init.normal_(stage.norm.bias, 0, 0.3)
    return network.eval()


PLANS = (StagePlan(40.0, 4, 1.0), StagePlan(50.0, 6, 1.0))


def reference(network, plans, frames):
    """The integer network again in numpy and scipy, sample by sample, neuron by neuron."""
    sent = frames.astype(np.int64)
    for stage, plan in zip(network.chain(), plans, strict=True):
        state = {name: tensor.double().numpy() for name, tensor in stage.state_dict().items()}
        gain = state["norm.weight"] / np.sqrt(state["norm.running_var"] + stage.norm.eps)
        weight = state["synapse.weight"]
        weight = weight * gain.reshape(-1, *[1] * (weight.ndim - 1)) * plan.input_factor
        bias = (state.get("synapse.bias", 0) - state["norm.running_mean"]) * gain + state["norm.bias"]
        weight = 2 * np.round(weight * plan.scale / 2).astype(np.int64)
        bias = np.round(bias * plan.scale * 64 / 2**plan.bias_exponent).astype(np.int64) << plan.bias_exponent
        threshold, decay = round(stage.neuron.threshold * plan.scale), round(stage.neuron.decay * 4096)
        result = []
        for sample in range(sent.shape[1]):
            potential = 0
            for t in range(sent.shape[0]):
                frame = sent[t, sample]
                if weight.ndim == 4:
                    sums = [sum(map(lambda x, k: correlate2d(np.pad(x, 1), k, "valid"), frame, w)) for w in weight]
                    current = np.stack(sums) * 64 + bias[:, None, None]
                else:
                    current = weight @ frame.ravel() * 64 + bias
                potential = np.sign(potential) * (np.abs(potential) * (4096 - decay) >> 12) + current
                spikes = potential > threshold << 6
                potential = np.where(spikes, 0, potential)
                result.append(spikes)
        sent = np.stack(result).reshape(frames.shape[1], frames.shape[0], *result[0].shape).swapaxes(0, 1).astype(int)
        yield sent


@pytest.mark.parametrize("seed", range(4))
def test_twin_equals_a_reference_written_without_torch(seed):
    network = trained_like(seed)
    frames = np.random.default_rng(seed).integers(0, 2, (6, 5, 2, 4, 4))
    twin = quantised_twin(network, PLANS)
    recorded = twin.record(torch.from_numpy(frames))
    assert list(recorded) == ["conv", "output"]
    for spikes, expected in zip(recorded.values(), reference(network, PLANS, frames), strict=True):
        assert np.array_equal(spikes.numpy(), expected) and 0 < expected.mean() < 1
    scores = twin(torch.from_numpy(frames))
    assert scores.dtype == torch.float64 and torch.equal(scores, recorded["output"])


def test_twin_of_representable_numbers_equals_the_float_network():
    torch.manual_seed(1)
    hidden = Stage("hidden", nn.Linear(6, 9), nn.Identity(), IntegrateFire(2.5, 1.25))
    output = Stage("output", nn.Linear(9, 3), nn.Identity(), MembraneReadout())
    network = SpikingNetwork([hidden, output], "membrane", (6,)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * 64).round() / 32)
    plans = (StagePlan(128.0, 6, 0.5), StagePlan(64 / 2.5, 0, 2.5))
    frames = torch.randint(0, 8, (9, 20, 6)).double()
    currents = network(frames * 0.5)
    recorded = quantised_twin(network, plans).record(frames)
    assert torch.equal(recorded["hidden"] * 2.5, hidden(frames * 0.5)) and 0 < recorded["hidden"].mean() < 1
    bias = torch.round(output.synapse.bias * 64 * 64 / 2.5)
    assert torch.equal(recorded["output"], recorded["hidden"] @ output.synapse.weight.T * 64 * 64 + bias)
    assert torch.allclose(recorded["output"] * 2.5 / 64 / 64, currents, atol=1e-3)


def test_the_users_network_is_left_alone():
    network = trained_like(0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    quantised_twin(network, PLANS)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert isinstance(next(network.chain()).neuron, LeakyIntegrateFire)


def test_what_has_no_twin_is_refused():
    network = trained_like(0)
    with pytest.raises(InputError, match="1 plans for 2 stages"):
        quantised_twin(network, PLANS[:1])
    with pytest.raises(RangeError, match="stage conv: a weight becomes"):
        quantised_twin(network, (StagePlan(1e4, 6, 1.0), PLANS[1]))
    with pytest.raises(InputError, match="takes integers"):
        quantised_twin(network, PLANS)(torch.full((1, 1, 2, 4, 4), 0.5))
    with pytest.raises(UnsupportedError, match="must be converted first"):
        quantised_twin(build("mlp-qcfs", input_shape=(3,)), PLANS)
    next(network.chain()).norm = nn.BatchNorm2d(3, affine=False)
    with pytest.raises(UnsupportedError, match="stage conv: its batch norm"):
        quantised_twin(network, PLANS)
    uneven = Stage("hidden", nn.Linear(2, 2), nn.Identity(), IntegrateFire(1.0, 0.25))
    with pytest.raises(UnsupportedError, match="half the threshold"):
        quantised_twin(SpikingNetwork([uneven], "count", (2,)), PLANS[:1])


@pytest.mark.parametrize("arguments", [(0.0, 6, 1.0), (1.0, -1, 1.0), (1.0, 6, float("nan"))])
def test_plans_check_themselves(arguments):
    with pytest.raises(InputError, match="stage plan"):
        StagePlan(*arguments)
