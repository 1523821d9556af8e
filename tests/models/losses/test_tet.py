import numpy as np
import pytest
import torch

from spikecut.errors import InputError
from spikecut.models.losses.mean_output import mean_output_loss
from spikecut.models.losses.spike_rate import spike_rate_loss
from spikecut.models.losses.tet import firing_rate_logits, tet_loss


def test_loss_is_the_mean_cross_entropy_over_timesteps():
    random = np.random.default_rng(5)
    outputs, labels = random.normal(size=(4, 6, 3)), random.integers(0, 3, 6)
    log_sum = np.log(np.exp(outputs).sum(-1))
    entropy = (log_sum - outputs[:, np.arange(6), labels]).mean()
    square = ((outputs - 2.0) ** 2).mean()
    tensors = torch.from_numpy(outputs), torch.from_numpy(labels)
    assert tet_loss(*tensors).item() == pytest.approx(entropy, rel=1e-12)
    assert tet_loss(*tensors, 0.25, 2.0).item() == pytest.approx(0.75 * entropy + 0.25 * square, rel=1e-12)


def test_loss_differs_from_the_loss_of_the_mean_output():
    outputs = torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]]])
    labels = torch.tensor([0])
    assert tet_loss(outputs, labels) > tet_loss(outputs.mean(0, keepdim=True), labels) + 1


def test_rate_logits_are_the_scaled_running_mean():
    spikes = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]], [[1.0, 1.0]]])
    assert firing_rate_logits(spikes, 12.0).squeeze(1).tolist() == [[12, 0], [6, 6], [8, 4], [9, 6]]


def test_regulariser_outside_its_range_is_refused():
    with pytest.raises(InputError, match="between 0 and 1"):
        tet_loss(torch.zeros(1, 1, 2), torch.tensor([0]), 1.5)


def smoothed(logits, labels, smoothing):
    """Mean of -(1 - ε) log p[label] - ε mean over classes of log p."""
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -((1 - smoothing) * logs[np.arange(len(labels)), labels] + smoothing * logs.mean(-1)).mean()


def test_every_loss_smooths_labels():
    random = np.random.default_rng(6)
    outputs, labels = random.normal(size=(4, 6, 3)), random.integers(0, 3, 6)
    tensors = torch.from_numpy(outputs), torch.from_numpy(labels)
    every = np.mean([smoothed(step, labels, 0.2) for step in outputs])
    assert tet_loss(*tensors, label_smoothing=0.2).item() == pytest.approx(every, rel=1e-12)
    mean = smoothed(outputs.mean(0), labels, 0.2)
    assert mean_output_loss(*tensors, 0.2).item() == pytest.approx(mean, rel=1e-12)
    rates = smoothed(7 * outputs.mean(0), labels, 0.2)
    assert spike_rate_loss(*tensors, 7.0, 0.2).item() == pytest.approx(rates, rel=1e-12)
