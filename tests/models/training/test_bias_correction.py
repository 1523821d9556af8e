"""Bias correction after a conversion (Li et al., ICML 2021)."""

import copy

import pytest
import torch

from spikecut.errors import InputError
from spikecut.models.architectures import build
from spikecut.models.conversion import qcfs_to_spiking
from spikecut.models.training.bias_correction import correct_biases

TIMESTEPS = 4


def means(network, x, timesteps):
    """Per layer: what each channel sends, mean over samples, places and timesteps; by the layers' own calls."""
    inputs = x.expand(timesteps, *x.shape)
    found = []
    for stage in network.chain():
        inputs = stage(inputs)
        channels_last = inputs.movedim(2, -1) if inputs.ndim > 3 else inputs
        found.append(channels_last.flatten(0, -2).mean(0))
    return found


def distances(trained, spiking, x):
    pairs = zip(means(trained, x, 1), means(spiking, x, TIMESTEPS), strict=True)
    return [float((wanted - got).detach().abs().mean()) for wanted, got in pairs]


@pytest.fixture(scope="module")
def samples():
    return torch.rand(64, 1, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["none", "batch"])
def trained(request):
    torch.manual_seed(5)
    network = build("conv-qcfs", input_shape=(1, 12, 12), levels=TIMESTEPS, norm=request.param).eval()
    with torch.no_grad():
        for stage in network.chain():
            stage.synapse.weight.mul_(3)  # so that deep layers fire
    return network


@pytest.mark.slow
def test_channels_send_what_the_trained_ones_do(trained, samples):
    before = copy.deepcopy(trained.state_dict())
    spiking = qcfs_to_spiking(trained)
    uncorrected = distances(trained, spiking, samples)
    correct_biases(spiking, trained, samples, TIMESTEPS)
    corrected = distances(trained, spiking, samples)
    assert uncorrected[0] < 1e-6 and max(uncorrected[1:]) > 1e-3  # constant currents are exact, the others are not
    assert all(after < 0.6 * at_first for at_first, after in zip(uncorrected[2:], corrected[2:], strict=True))
    assert corrected[-1] < 1e-5  # the output does not fire: a shift of its bias is a shift of its mean
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.state_dict().items())
    assert not spiking.training


def test_only_biases_change(trained, samples):
    spiking = qcfs_to_spiking(trained)
    before = copy.deepcopy(spiking.state_dict())
    correct_biases(spiking, trained, samples, TIMESTEPS)
    changed = {name for name, tensor in spiking.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed and all(name.endswith(".bias") for name in changed)


def test_residual_blocks_are_corrected_too(samples):
    torch.manual_seed(5)
    network = build("residual-qcfs", input_shape=(1, 12, 12), levels=TIMESTEPS, norm="batch").eval()
    spiking = qcfs_to_spiking(network)
    before = {name: tensor.clone() for name, tensor in spiking.state_dict().items()}
    correct_biases(spiking, network, samples, TIMESTEPS)
    changed = {name for name, tensor in spiking.state_dict().items() if not torch.equal(before[name], tensor)}
    assert any(".first." in name for name in changed) and all(name.endswith(".bias") for name in changed)
    x = samples.expand(TIMESTEPS, *samples.shape)
    assert torch.allclose(spiking(x).mean((0, 1)), network(samples[None]).mean((0, 1)), atol=1e-5)


def test_a_layer_without_bias_is_named(samples):
    network = build("digits-qcfs", input_shape=(1, 12, 12)).eval()
    next(network.chain()).synapse.bias = None
    with pytest.raises(InputError, match="stage conv1 has no bias"):
        correct_biases(qcfs_to_spiking(network), network, samples, TIMESTEPS)
