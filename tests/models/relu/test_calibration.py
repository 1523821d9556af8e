"""Thresholds and biases for a horizon: against their definitions, and against plain conversion."""

import numpy as np
import pytest
import torch
from torch import nn

from spikecut.models.relu.calibration import SHARES, corrected, lowered
from spikecut.models.relu.network import ReluNetwork, SpikingWitness, balanced_thresholds

TIMESTEPS = 8


@pytest.fixture(scope="module")
def network():
    """Two convolutions, one of them depthwise, batch norms and pooling, and a hidden vector; and samples."""
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
        nn.BatchNorm2d(6, affine=False),
        nn.AvgPool2d(2, divisor_override=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(54, 12, bias=False),
        nn.ReLU(),
        nn.Linear(12, 4),
    )
    images = torch.rand(160, 1, 6, 6)
    module.train()
    module(images)  # running statistics that fit
    return ReluNetwork.of(module, (1, 6, 6)), images


def test_lowered_thresholds_have_the_least_squared_error(network):
    chain, images = network
    highest = balanced_thresholds(chain, images, 99)
    found = lowered(chain, highest, images, TIMESTEPS)
    with torch.no_grad():
        activations = dict(chain.activations(images.double()))
    below = False
    for name, threshold in found.items():
        values = activations[name].numpy()
        channels = threshold.numel()
        rows = values.swapaxes(0, 1).reshape(channels, -1) if channels > 1 else values.reshape(1, -1)
        for row, chosen, most in zip(rows, threshold.flatten().tolist(), highest[name].flatten().tolist(), strict=True):
            errors = {}
            for share in SHARES:
                unit = share * most / TIMESTEPS
                errors[share * most] = np.sum((unit * np.clip(np.floor(row / unit + 0.5), 0, TIMESTEPS) - row) ** 2)
            assert errors[min(errors, key=lambda one: abs(one - chosen))] == pytest.approx(min(errors.values()))
            below |= chosen < most
    assert below


def test_corrected_channels_send_the_activations_means(network):
    """The means of some channels are off where activations are cut at λ; in the end the scores are right, too."""
    chain, images = network
    thresholds = balanced_thresholds(chain, images, 90)
    kept = {key: value.clone() for key, value in chain.state_dict().items()}
    better = corrected(chain, thresholds, images, TIMESTEPS)
    assert all(torch.equal(value, kept[key]) for key, value in chain.state_dict().items())
    frames = images.double().expand(TIMESTEPS, *images.shape)
    with torch.no_grad():
        wanted = dict(chain.activations(images.double()))
        plain, found = (SpikingWitness(one, thresholds).record(frames) for one in (chain, better))
    errors = []
    for name, activations in wanted.items():
        axes = tuple(n for n in range(activations.ndim) if n != 1)
        unit = float(thresholds[name].max()) if name else float(activations.abs().max())
        off = [(sent[name].mean(0).mean(axes) - activations.mean(axes)).abs().max() / unit for sent in (plain, found)]
        errors.append([float(each) for each in off])
    before, after = zip(*errors, strict=True)
    assert max(before) > 0.04 and max(after) < max(before) / 3, errors
    assert errors[-1][1] < 1e-6
